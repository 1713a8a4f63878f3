//! Where policies are in force: on listeners, and on ports of the instances.

use serde::Deserialize;

use super::{negotiation, policy_not_found};
use crate::{
    api::{
        elb::{change, invalid_configuration, listeners::on_port},
        error::ApiError,
        operation::{Caller, Done, Operation},
    },
    model::{
        balancer_policy::{PROXY_PROTOCOL, Policy, TLS_NEGOTIATION},
        load_balancer::{Listener, LoadBalancer},
        tls_policy::Predefined,
    },
    store::Transaction,
};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct SetLoadBalancerPoliciesOfListener {
    load_balancer_name: String,
    load_balancer_port: u16,
    #[serde(default)]
    policy_names: Vec<String>,
}

impl Operation for SetLoadBalancerPoliciesOfListener {
    const ACTION: &'static str = "SetLoadBalancerPoliciesOfListener";
    type Output = Done;

    /// The names replace those of before; none at all switches them off.
    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Done, ApiError> {
        let names: Vec<String> = self.policy_names.into_iter().filter(|name| !name.is_empty()).collect();
        change(tx, &self.load_balancer_name, |balancer| {
            let listener = on_port(balancer, self.load_balancer_port)?.clone();
            for name in names.iter().filter(|name| Predefined::find(name).is_some()) {
                negotiation::install(&mut balancer.policies, name)?;
            }
            let policies = named(balancer, &names)?;
            for policy in &policies {
                check_suits(policy, &listener)?;
            }
            let sticky = policies.iter().filter(|policy| policy.is_stickiness()).count();
            let negotiations = policies.iter().filter(|policy| policy.type_name == TLS_NEGOTIATION).count();
            if sticky > 1 || negotiations > 1 {
                return Err(invalid_configuration(
                    "A listener can have only one policy for stickiness and one for SSL negotiation",
                ));
            }
            on_port(balancer, self.load_balancer_port)?.policy_names = names;
            Ok(Done {})
        })
    }
}

fn named<'a>(balancer: &'a LoadBalancer, names: &[String]) -> Result<Vec<&'a Policy>, ApiError> {
    let find =
        |name: &String| balancer.policies.by_name.get(name).ok_or_else(|| policy_not_found(name, Some(&balancer.name)));
    names.iter().map(find).collect()
}

fn check_suits(policy: &Policy, listener: &Listener) -> Result<(), ApiError> {
    let suits = match policy.type_name.as_str() {
        TLS_NEGOTIATION => listener.is_encrypted(),
        _ if policy.is_stickiness() => listener.is_http(),
        _ => false,
    };
    if suits {
        return Ok(());
    }
    Err(invalid_configuration(format!(
        "A policy of the type {} can't be set on the {} listener of port {}",
        policy.type_name, listener.protocol, listener.load_balancer_port
    )))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct SetLoadBalancerPoliciesForBackendServer {
    load_balancer_name: String,
    instance_port: u16,
    #[serde(default)]
    policy_names: Vec<String>,
}

impl Operation for SetLoadBalancerPoliciesForBackendServer {
    const ACTION: &'static str = "SetLoadBalancerPoliciesForBackendServer";
    type Output = Done;

    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Done, ApiError> {
        let names: Vec<String> = self.policy_names.into_iter().filter(|name| !name.is_empty()).collect();
        change(tx, &self.load_balancer_name, |balancer| {
            if !balancer.listeners.iter().any(|listener| listener.instance_port == self.instance_port) {
                return Err(invalid_configuration(format!(
                    "No listener of load balancer {} sends to instance port {}",
                    balancer.name, self.instance_port
                )));
            }
            if let Some(policy) = named(balancer, &names)?.iter().find(|policy| policy.type_name != PROXY_PROTOCOL) {
                return Err(invalid_configuration(format!(
                    "A policy of the type {} can't be set on a port of the instances",
                    policy.type_name
                )));
            }
            if names.is_empty() {
                balancer.policies.of_instance_ports.remove(&self.instance_port);
            } else {
                balancer.policies.of_instance_ports.insert(self.instance_port, names);
            }
            Ok(Done {})
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DeleteLoadBalancerPolicy {
    load_balancer_name: String,
    policy_name: String,
}

impl Operation for DeleteLoadBalancerPolicy {
    const ACTION: &'static str = "DeleteLoadBalancerPolicy";
    type Output = Done;

    /// One that is not there is no error.
    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Done, ApiError> {
        change(tx, &self.load_balancer_name, |balancer| {
            let name = &self.policy_name;
            let of_listeners = balancer.listeners.iter().any(|listener| listener.policy_names.contains(name));
            let of_ports = balancer.policies.of_instance_ports.values().any(|names| names.contains(name));
            if of_listeners || of_ports {
                return Err(invalid_configuration(format!(
                    "Policy {name} is still set on a listener or on a port of the instances; it can't be deleted"
                )));
            }
            balancer.policies.by_name.remove(name);
            Ok(Done {})
        })
    }
}
