//! Policies of a load balancer: what binds clients to instances, which TLS listeners speak, who is told the client's
//! address (<https://docs.aws.amazon.com/elasticloadbalancing/2012-06-01/APIReference/API_PolicyDescription.html>).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::tls_policy::TlsPolicy;

pub const LB_COOKIE: &str = "LBCookieStickinessPolicyType";
pub const APP_COOKIE: &str = "AppCookieStickinessPolicyType";
pub const TLS_NEGOTIATION: &str = "SSLNegotiationPolicyType";
pub const PROXY_PROTOCOL: &str = "ProxyProtocolPolicyType";

/// A balancer's own, and where those of back ends are in force. A listener's stand with the listener.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policies {
    pub by_name: BTreeMap<String, Policy>,
    /// Names by instance port.
    pub of_instance_ports: BTreeMap<u16, Vec<String>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    pub type_name: String,
    /// Name and value, as they are described.
    pub attributes: Vec<(String, String)>,
}

impl Policy {
    #[must_use]
    pub fn new(type_name: &str, attributes: &[(&str, &str)]) -> Self {
        let attributes = attributes.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self { type_name: type_name.to_owned(), attributes }
    }

    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    #[must_use]
    pub fn is_stickiness(&self) -> bool {
        matches!(self.type_name.as_str(), LB_COOKIE | APP_COOKIE)
    }

    /// The age of the balancer's cookie.
    #[must_use]
    pub fn cookie_expires_secs(&self) -> Option<u64> {
        self.attribute("CookieExpirationPeriod").and_then(|secs| secs.parse().ok())
    }

    /// What TLS is spoken under it, if it is about that.
    #[must_use]
    pub fn tls(&self) -> Option<TlsPolicy> {
        (self.type_name == TLS_NEGOTIATION).then(|| TlsPolicy::of(&self.attributes))
    }
}

impl Policies {
    /// Whether instances are told the client's address on this port.
    #[must_use]
    pub fn has_proxy_protocol(&self, instance_port: u16) -> bool {
        let names = self.of_instance_ports.get(&instance_port).map(Vec::as_slice).unwrap_or_default();
        names.iter().filter_map(|name| self.by_name.get(name)).any(|policy| {
            policy.type_name == PROXY_PROTOCOL
                && policy.attribute("ProxyProtocol").is_some_and(|value| value.eq_ignore_ascii_case("true"))
        })
    }
}
