//! Listeners: which port of the balancer goes to which port of its instances.

use serde::{Deserialize, Serialize};

use super::{change, invalid_configuration};
use crate::{
    api::{
        error::ApiError,
        operation::{Caller, Done, Operation},
    },
    model::{load_balancer::Listener, site::Site},
    store::Transaction,
};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ListenerInput {
    protocol: String,
    load_balancer_port: u32,
    instance_protocol: Option<String>,
    instance_port: u32,
    #[serde(rename = "SSLCertificateId")]
    certificate_id: Option<String>,
}

/// A listener as answers have it.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ListenerOutput {
    protocol: String,
    load_balancer_port: u16,
    instance_protocol: String,
    instance_port: u16,
}

impl From<&Listener> for ListenerOutput {
    fn from(listener: &Listener) -> Self {
        Self {
            protocol: listener.protocol.clone(),
            load_balancer_port: listener.load_balancer_port,
            instance_protocol: listener.instance_protocol.clone(),
            instance_port: listener.instance_port,
        }
    }
}

impl ListenerInput {
    /// # Errors
    /// When the cloud cannot serve such a listener.
    pub fn check(self, site: &Site) -> Result<Listener, ApiError> {
        if self.certificate_id.is_some_and(|id| !id.is_empty()) {
            return Err(no_certificates("SSLCertificateId"));
        }
        let protocol = check_protocol(&self.protocol)?;
        let instance_protocol = match &self.instance_protocol {
            Some(instance_protocol) => check_protocol(instance_protocol)?,
            None => protocol.clone(),
        };
        if protocol != instance_protocol {
            return Err(ApiError::validation(format!(
                "Protocol {protocol} and InstanceProtocol {instance_protocol} are not at the same layer of the protocol stack"
            )));
        }
        let load_balancer_port = check_port(self.load_balancer_port, "LoadBalancerPort")?;
        if load_balancer_port == site.port {
            return Err(invalid_configuration(format!(
                "Port {load_balancer_port} of 127.0.0.1 is where this cloud's API listens; choose another LoadBalancerPort."
            )));
        }
        Ok(Listener {
            protocol,
            load_balancer_port,
            instance_protocol,
            instance_port: check_port(self.instance_port, "InstancePort")?,
        })
    }
}

fn check_protocol(protocol: &str) -> Result<String, ApiError> {
    let protocol = protocol.to_ascii_uppercase();
    match protocol.as_str() {
        "HTTP" | "TCP" => Ok(protocol),
        "HTTPS" | "SSL" => Err(no_certificates(&protocol)),
        _ => Err(ApiError::validation(format!("Listener Protocol '{protocol}' is not HTTP, HTTPS, TCP or SSL"))),
    }
}

fn no_certificates(what: &str) -> ApiError {
    ApiError::new(
        "UnsupportedProtocol",
        format!("{what} is not supported: this cloud keeps no certificates. Use HTTP or TCP."),
    )
}

fn check_port(port: u32, name: &str) -> Result<u16, ApiError> {
    u16::try_from(port)
        .ok()
        .filter(|port| *port > 0)
        .ok_or_else(|| ApiError::validation(format!("{name} {port} is not between 1 and 65535")))
}

/// Adds a listener; the same one again changes nothing.
///
/// # Errors
/// When the balancer's port goes elsewhere already.
pub fn add(listeners: &mut Vec<Listener>, listener: Listener, balancer: &str) -> Result<(), ApiError> {
    match listeners.iter().find(|existing| existing.load_balancer_port == listener.load_balancer_port) {
        Some(existing) if *existing == listener => Ok(()),
        Some(existing) => Err(ApiError::new(
            "DuplicateListener",
            format!(
                "A listener already exists for {balancer} with LoadBalancerPort {}, but with a different InstancePort, Protocol, or SSLCertificateId",
                existing.load_balancer_port
            ),
        )),
        None => {
            listeners.push(listener);
            Ok(())
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct CreateLoadBalancerListeners {
    load_balancer_name: String,
    listeners: Vec<ListenerInput>,
}

impl Operation for CreateLoadBalancerListeners {
    const ACTION: &'static str = "CreateLoadBalancerListeners";
    type Output = Done;

    fn run(self, tx: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<Done, ApiError> {
        change(tx, &self.load_balancer_name, |balancer| {
            for input in self.listeners {
                add(&mut balancer.listeners, input.check(caller.site)?, &balancer.name)?;
            }
            Ok(Done {})
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DeleteLoadBalancerListeners {
    load_balancer_name: String,
    load_balancer_ports: Vec<u16>,
}

impl Operation for DeleteLoadBalancerListeners {
    const ACTION: &'static str = "DeleteLoadBalancerListeners";
    type Output = Done;

    /// A port without a listener is no error.
    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Done, ApiError> {
        change(tx, &self.load_balancer_name, |balancer| {
            balancer.listeners.retain(|listener| !self.load_balancer_ports.contains(&listener.load_balancer_port));
            Ok(Done {})
        })
    }
}
