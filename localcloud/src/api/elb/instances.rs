//! Which instances a balancer sends its requests to.

use serde::{Deserialize, Serialize};

use super::{change, limits};
use crate::{
    api::{
        error::ApiError,
        operation::{Caller, Operation},
    },
    model::{instance::Instance, load_balancer::LoadBalancer, time::Timestamp},
    store::Transaction,
};

/// An instance as requests and answers name it.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct InstanceName {
    pub instance_id: String,
}

/// Those that are registered; not those on their way out, though they may still finish requests.
pub fn registered(balancer: &LoadBalancer) -> Vec<InstanceName> {
    balancer
        .backends
        .iter()
        .filter(|(_, backend)| backend.draining_since.is_none())
        .map(|(instance_id, _)| InstanceName { instance_id: instance_id.clone() })
        .collect()
}

pub fn invalid_instance(instance_id: &str) -> ApiError {
    ApiError::new("InvalidInstance", format!("Could not find EC2 instance {instance_id}."))
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct InstancesOutput {
    instances: Vec<InstanceName>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct RegisterInstancesWithLoadBalancer {
    load_balancer_name: String,
    instances: Vec<InstanceName>,
}

impl Operation for RegisterInstancesWithLoadBalancer {
    const ACTION: &'static str = "RegisterInstancesWithLoadBalancer";
    type Output = InstancesOutput;

    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        super::find(tx, &self.load_balancer_name)?;
        for InstanceName { instance_id } in &self.instances {
            if !tx.get::<Instance>(instance_id).is_some_and(|instance| instance.state.is_alive()) {
                return Err(invalid_instance(instance_id));
            }
        }
        change(tx, &self.load_balancer_name, |balancer| {
            let now = Timestamp::now();
            for InstanceName { instance_id } in &self.instances {
                balancer.register(instance_id, now);
            }
            limits::check_instances(balancer.backends.len())?;
            Ok(InstancesOutput { instances: registered(balancer) })
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DeregisterInstancesFromLoadBalancer {
    load_balancer_name: String,
    instances: Vec<InstanceName>,
}

impl Operation for DeregisterInstancesFromLoadBalancer {
    const ACTION: &'static str = "DeregisterInstancesFromLoadBalancer";
    type Output = InstancesOutput;

    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        let balancer = super::find(tx, &self.load_balancer_name)?;
        for InstanceName { instance_id } in &self.instances {
            // Deregistering twice is harmless, also after the instance was terminated.
            if !balancer.backends.contains_key(instance_id) && tx.get::<Instance>(instance_id).is_none() {
                return Err(invalid_instance(instance_id));
            }
        }
        change(tx, &self.load_balancer_name, |balancer| {
            let now = Timestamp::now();
            for InstanceName { instance_id } in &self.instances {
                balancer.deregister(instance_id, now);
            }
            Ok(InstancesOutput { instances: registered(balancer) })
        })
    }
}
