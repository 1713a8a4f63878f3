//! Classic load balancers.

use std::{collections::BTreeMap, net::Ipv4Addr};

use serde::{Deserialize, Serialize};

use crate::{
    model::{balancer_policy::Policies, tag::Tags, time::Timestamp},
    store::Record,
};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoadBalancer {
    pub name: String,
    /// `NAME-123456789.elb.localhost`
    pub dns_name: String,
    pub created: Timestamp,
    /// Its own address on the instances' network.
    pub address: Ipv4Addr,
    pub scheme: String,
    pub zones: Vec<String>,
    pub subnets: Vec<String>,
    pub security_group_ids: Vec<String>,
    pub listeners: Vec<Listener>,
    pub health_check: HealthCheck,
    pub backends: BTreeMap<String, Backend>,
    pub connection_draining: ConnectionDraining,
    pub idle_timeout_secs: u32,
    pub cross_zone: bool,
    #[serde(default)]
    pub policies: Policies,
    #[serde(default)]
    pub access_log: AccessLog,
    #[serde(default)]
    pub desync_mitigation: DesyncMitigation,
    #[serde(default)]
    pub tags: Tags,
    /// Why the proxy does not serve it, such as a port that another program holds.
    #[serde(default)]
    pub trouble: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    /// `HTTP`, `HTTPS`, `TCP`, `SSL`
    pub protocol: String,
    pub load_balancer_port: u16,
    pub instance_protocol: String,
    pub instance_port: u16,
    /// The server certificate's ARN, for `HTTPS` and `SSL`.
    #[serde(default)]
    pub certificate_id: Option<String>,
    #[serde(default)]
    pub policy_names: Vec<String>,
}

impl Listener {
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        is_encrypted(&self.protocol)
    }

    #[must_use]
    pub fn is_http(&self) -> bool {
        is_http(&self.protocol)
    }

    /// Whether both were asked for in the same words; policies come later.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        Self { policy_names: Vec::new(), ..self.clone() } == Self { policy_names: Vec::new(), ..other.clone() }
    }
}

/// Whether this protocol has TLS below.
#[must_use]
pub fn is_encrypted(protocol: &str) -> bool {
    matches!(protocol, "HTTPS" | "SSL")
}

/// Whether the balancer looks into requests of this protocol.
#[must_use]
pub fn is_http(protocol: &str) -> bool {
    matches!(protocol, "HTTP" | "HTTPS")
}

/// Where each request is written down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessLog {
    pub enabled: bool,
    pub bucket: Option<String>,
    pub prefix: Option<String>,
    pub emit_interval_mins: u32,
    /// The object by which the bucket is tried is still to be written.
    pub test_file_due: bool,
}

impl Default for AccessLog {
    fn default() -> Self {
        Self { enabled: false, bucket: None, prefix: None, emit_interval_mins: 60, test_file_due: false }
    }
}

/// What becomes of requests that servers could read differently.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DesyncMitigation {
    Monitor,
    #[default]
    Defensive,
    Strictest,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheck {
    /// `HTTP:80/healthz`
    pub target: String,
    pub interval_secs: u32,
    pub timeout_secs: u32,
    pub unhealthy_threshold: u32,
    pub healthy_threshold: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionDraining {
    pub enabled: bool,
    pub timeout_secs: u32,
}

/// A registered instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Backend {
    pub registered: Timestamp,
    /// Since when it is being deregistered; it goes when its sessions have ended or the draining time is over.
    #[serde(default)]
    pub draining_since: Option<Timestamp>,
    /// What the proxy last reported. `None` until the first check has ended.
    #[serde(default)]
    pub healthy: Option<bool>,
    #[serde(default)]
    pub last_check: String,
    #[serde(default)]
    pub current_sessions: u64,
}

impl Backend {
    /// Whether it has failed as many checks in a row as make it unhealthy. One that has just been registered has not,
    /// whatever its first check saw.
    #[must_use]
    pub fn is_failing(&self, check: &HealthCheck, now: Timestamp) -> bool {
        let first_verdict_secs = check.unhealthy_threshold.saturating_mul(check.interval_secs);
        self.healthy == Some(false) && self.registered.age_secs(now) >= f64::from(first_verdict_secs)
    }
}

impl LoadBalancer {
    /// Adds an instance, or calls back one that is being deregistered.
    pub fn register(&mut self, instance_id: &str, now: Timestamp) {
        self.backends.entry(instance_id.to_owned()).and_modify(|backend| backend.draining_since = None).or_insert_with(
            || Backend {
                registered: now,
                draining_since: None,
                healthy: None,
                last_check: String::new(),
                current_sessions: 0,
            },
        );
    }

    /// Takes an instance out: at once, or after its connections have ended where draining is on.
    pub fn deregister(&mut self, instance_id: &str, now: Timestamp) {
        if self.connection_draining.enabled {
            if let Some(backend) = self.backends.get_mut(instance_id) {
                backend.draining_since.get_or_insert(now);
            }
        } else {
            self.backends.remove(instance_id);
        }
    }
}

impl Record for LoadBalancer {
    const KIND: &'static str = "load-balancer";

    fn key(&self) -> String {
        self.name.clone()
    }
}
