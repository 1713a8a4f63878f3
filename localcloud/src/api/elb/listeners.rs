//! Listeners: which port of the balancer goes to which port of its instances.

use serde::{Deserialize, Serialize};

use super::{change, invalid_configuration, limits, policies::negotiation};
use crate::{
    api::{
        error::ApiError,
        operation::{Caller, Done, Operation},
    },
    model::{
        balancer_policy::Policies,
        load_balancer::{Listener, LoadBalancer, is_encrypted, is_http},
        server_certificate::ServerCertificate,
        site::Site,
        tls_policy,
    },
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
    #[serde(rename = "SSLCertificateId", skip_serializing_if = "Option::is_none")]
    certificate_id: Option<String>,
}

impl From<&Listener> for ListenerOutput {
    fn from(listener: &Listener) -> Self {
        Self {
            protocol: listener.protocol.clone(),
            load_balancer_port: listener.load_balancer_port,
            instance_protocol: listener.instance_protocol.clone(),
            instance_port: listener.instance_port,
            certificate_id: listener.certificate_id.clone(),
        }
    }
}

impl ListenerInput {
    /// # Errors
    /// When the cloud cannot serve such a listener.
    pub fn check(self, tx: &mut Transaction<'_>, site: &Site) -> Result<Listener, ApiError> {
        let protocol = check_protocol(&self.protocol)?;
        let instance_protocol = match &self.instance_protocol {
            Some(instance_protocol) => check_protocol(instance_protocol)?,
            None => protocol.clone(),
        };
        if is_http(&protocol) != is_http(&instance_protocol) {
            return Err(ApiError::validation(format!(
                "Protocol {protocol} and InstanceProtocol {instance_protocol} are not at the same layer of the protocol stack"
            )));
        }
        let certificate_id = self.certificate_id.filter(|id| !id.is_empty());
        match &certificate_id {
            None if is_encrypted(&protocol) => {
                return Err(ApiError::validation("Secure Listeners need to specify a SSLCertificateId"));
            }
            Some(_) if !is_encrypted(&protocol) => {
                return Err(ApiError::validation(format!(
                    "SSLCertificateId can only be specified for HTTPS and SSL listeners, not for {protocol}"
                )));
            }
            Some(arn) => check_certificate(tx, site, arn)?,
            None => {}
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
            certificate_id,
            policy_names: Vec::new(),
        })
    }
}

fn check_certificate(tx: &mut Transaction<'_>, site: &Site, arn: &str) -> Result<(), ApiError> {
    let certificates = tx.list::<ServerCertificate>();
    if certificates.iter().any(|certificate| certificate.arn(&site.account_id) == arn) {
        return Ok(());
    }
    Err(ApiError::new("CertificateNotFound", format!("Server Certificate not found for the key: {arn}")))
}

fn check_protocol(protocol: &str) -> Result<String, ApiError> {
    let protocol = protocol.to_ascii_uppercase();
    match protocol.as_str() {
        "HTTP" | "HTTPS" | "TCP" | "SSL" => Ok(protocol),
        _ => Err(ApiError::validation(format!("Listener Protocol '{protocol}' is not HTTP, HTTPS, TCP or SSL"))),
    }
}

fn check_port(port: u32, name: &str) -> Result<u16, ApiError> {
    u16::try_from(port)
        .ok()
        .filter(|port| *port > 0)
        .ok_or_else(|| ApiError::validation(format!("{name} {port} is not between 1 and 65535")))
}

/// Adds a listener; the same one again changes nothing. An encrypted one begins with the default policy.
///
/// # Errors
/// When the balancer's port goes elsewhere already, or the instances' port speaks another protocol.
pub fn add(
    listeners: &mut Vec<Listener>,
    policies: &mut Policies,
    mut listener: Listener,
    balancer: &str,
) -> Result<(), ApiError> {
    if let Some(existing) = listeners.iter().find(|known| known.load_balancer_port == listener.load_balancer_port) {
        if existing.is_like(&listener) {
            return Ok(());
        }
        return Err(ApiError::new(
            "DuplicateListener",
            format!(
                "A listener already exists for {balancer} with LoadBalancerPort {}, but with a different InstancePort, Protocol, or SSLCertificateId",
                existing.load_balancer_port
            ),
        ));
    }
    // https://docs.aws.amazon.com/elasticloadbalancing/2012-06-01/APIReference/API_Listener.html, InstanceProtocol
    let is_encrypted_there = is_encrypted(&listener.instance_protocol);
    if let Some(other) = listeners.iter().find(|known| {
        known.instance_port == listener.instance_port && is_encrypted(&known.instance_protocol) != is_encrypted_there
    }) {
        return Err(ApiError::validation(format!(
            "InstancePort {} is used with InstanceProtocol {} already; {} does not agree with that",
            other.instance_port, other.instance_protocol, listener.instance_protocol
        )));
    }
    limits::check_listeners(listeners.len() + 1)?;
    if listener.is_encrypted() {
        let name = negotiation::install(policies, tls_policy::DEFAULT)?;
        listener.policy_names = vec![name];
    }
    listeners.push(listener);
    Ok(())
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
        let mut listeners = Vec::new();
        for input in self.listeners {
            listeners.push(input.check(tx, caller.site)?);
        }
        change(tx, &self.load_balancer_name, |balancer| {
            for listener in listeners {
                add(&mut balancer.listeners, &mut balancer.policies, listener, &balancer.name)?;
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

/// The listener on a port.
///
/// # Errors
/// When there is none.
pub fn on_port(balancer: &mut LoadBalancer, port: u16) -> Result<&mut Listener, ApiError> {
    let name = balancer.name.clone();
    balancer.listeners.iter_mut().find(|listener| listener.load_balancer_port == port).ok_or_else(|| {
        ApiError::new("ListenerNotFound", format!("There is no listener with port {port} for load balancer {name}"))
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct SetLoadBalancerListenerSSLCertificate {
    load_balancer_name: String,
    load_balancer_port: u16,
    #[serde(rename = "SSLCertificateId")]
    certificate_id: String,
}

impl Operation for SetLoadBalancerListenerSSLCertificate {
    const ACTION: &'static str = "SetLoadBalancerListenerSSLCertificate";
    type Output = Done;

    fn run(self, tx: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<Done, ApiError> {
        super::find(tx, &self.load_balancer_name)?;
        check_certificate(tx, caller.site, &self.certificate_id)?;
        change(tx, &self.load_balancer_name, |balancer| {
            let listener = on_port(balancer, self.load_balancer_port)?;
            if !listener.is_encrypted() {
                return Err(invalid_configuration(format!(
                    "The listener on port {} speaks {}; only HTTPS and SSL listeners have a certificate",
                    listener.load_balancer_port, listener.protocol
                )));
            }
            listener.certificate_id = Some(self.certificate_id);
            Ok(Done {})
        })
    }
}
