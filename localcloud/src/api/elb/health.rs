//! How a balancer checks its instances, and what it found.

use serde::{Deserialize, Serialize};

use super::{
    change, find,
    instances::{InstanceName, invalid_instance},
};
use crate::{
    api::{
        error::ApiError,
        operation::{Caller, Operation},
    },
    model::{
        instance::{Instance, InstanceState},
        load_balancer::{Backend, HealthCheck, LoadBalancer},
        time::Timestamp,
    },
    store::Transaction,
};

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct HealthCheckShape {
    target: String,
    interval: u32,
    timeout: u32,
    unhealthy_threshold: u32,
    healthy_threshold: u32,
}

impl From<&HealthCheck> for HealthCheckShape {
    fn from(check: &HealthCheck) -> Self {
        Self {
            target: check.target.clone(),
            interval: check.interval_secs,
            timeout: check.timeout_secs,
            unhealthy_threshold: check.unhealthy_threshold,
            healthy_threshold: check.healthy_threshold,
        }
    }
}

impl HealthCheckShape {
    /// <https://docs.aws.amazon.com/elasticloadbalancing/2012-06-01/APIReference/API_HealthCheck.html>
    fn check(self) -> Result<HealthCheck, ApiError> {
        let ranges = [
            ("Interval", self.interval, 5, 300),
            ("Timeout", self.timeout, 2, 60),
            ("UnhealthyThreshold", self.unhealthy_threshold, 2, 10),
            ("HealthyThreshold", self.healthy_threshold, 2, 10),
        ];
        for (name, value, least, most) in ranges {
            if !(least..=most).contains(&value) {
                return Err(ApiError::validation(format!(
                    "HealthCheck {name} must be between {least} and {most}, not {value}"
                )));
            }
        }
        if self.timeout >= self.interval {
            return Err(ApiError::validation(format!(
                "HealthCheck timeout ({}) must be less than the interval ({})",
                self.timeout, self.interval
            )));
        }
        Ok(HealthCheck {
            target: check_target(&self.target)?,
            interval_secs: self.interval,
            timeout_secs: self.timeout,
            unhealthy_threshold: self.unhealthy_threshold,
            healthy_threshold: self.healthy_threshold,
        })
    }
}

/// `HTTP:80/healthz` or `TCP:80`, with the protocol in capitals.
fn check_target(target: &str) -> Result<String, ApiError> {
    let invalid = |why: &str| ApiError::validation(format!("HealthCheck Target '{target}' {why}"));
    let (protocol, rest) = target
        .split_once(':')
        .ok_or_else(|| invalid("must specify a protocol and a port, e.g. TCP:80 or HTTP:80/ping"))?;
    let protocol = protocol.to_ascii_uppercase();
    let (port, path) = match rest.find('/') {
        Some(slash) => rest.split_at(slash),
        None => (rest, ""),
    };
    if !port.parse::<u16>().is_ok_and(|port| port > 0) {
        return Err(invalid("must specify a port from 1 to 65535"));
    }
    match protocol.as_str() {
        "HTTP" | "HTTPS" if path.is_empty() => {
            Err(invalid("must specify a port followed by a path that begins with a slash, e.g. HTTP:80/ping/this/path"))
        }
        "HTTP" | "HTTPS" if path.len() > 1024 => Err(invalid("has a path of more than 1024 bytes")),
        "HTTP" | "HTTPS" if !path.bytes().all(is_of_url) => Err(invalid("has a character in its path that no URL has")),
        "HTTP" | "HTTPS" => Ok(format!("{protocol}:{port}{path}")),
        "TCP" | "SSL" if path.is_empty() => Ok(format!("{protocol}:{port}")),
        "TCP" | "SSL" => Err(invalid("has a path, which only HTTP and HTTPS have")),
        _ => Err(invalid("has a protocol that is not TCP, HTTP, HTTPS or SSL")),
    }
}

/// A path's character; the path becomes a word of the proxy's configuration.
fn is_of_url(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~:/?@!$&()*+,;=%".contains(&byte)
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ConfigureHealthCheck {
    load_balancer_name: String,
    health_check: HealthCheckShape,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ConfigureHealthCheckOutput {
    health_check: HealthCheckShape,
}

impl Operation for ConfigureHealthCheck {
    const ACTION: &'static str = "ConfigureHealthCheck";
    type Output = ConfigureHealthCheckOutput;

    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        change(tx, &self.load_balancer_name, |balancer| {
            balancer.health_check = self.health_check.check()?;
            Ok(ConfigureHealthCheckOutput { health_check: (&balancer.health_check).into() })
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DescribeInstanceHealth {
    load_balancer_name: String,
    #[serde(default)]
    instances: Vec<InstanceName>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct DescribeInstanceHealthOutput {
    instance_states: Vec<InstanceHealth>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct InstanceHealth {
    instance_id: String,
    state: &'static str,
    reason_code: &'static str,
    description: String,
}

impl Operation for DescribeInstanceHealth {
    const ACTION: &'static str = "DescribeInstanceHealth";
    type Output = DescribeInstanceHealthOutput;

    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        let balancer = find(tx, &self.load_balancer_name)?;
        let ids: Vec<String> = if self.instances.is_empty() {
            balancer.backends.keys().cloned().collect()
        } else {
            self.instances.into_iter().map(|instance| instance.instance_id).collect()
        };
        let mut instance_states = Vec::new();
        for instance_id in ids {
            let instance = tx.get::<Instance>(&instance_id);
            let (state, reason_code, description) = match (balancer.backends.get(&instance_id), instance) {
                (Some(backend), instance) => verdict(&balancer, backend, instance.as_deref()),
                (None, Some(instance)) if instance.state.is_alive() => (
                    "OutOfService",
                    "Instance",
                    "Instance is not currently registered with the LoadBalancer.".to_owned(),
                ),
                (None, _) => return Err(invalid_instance(&instance_id)),
            };
            instance_states.push(InstanceHealth { instance_id, state, reason_code, description });
        }
        Ok(DescribeInstanceHealthOutput { instance_states })
    }
}

/// State, reason code and description
/// (<https://docs.aws.amazon.com/elasticloadbalancing/2012-06-01/APIReference/API_InstanceState.html>).
fn verdict(
    balancer: &LoadBalancer,
    backend: &Backend,
    instance: Option<&Instance>,
) -> (&'static str, &'static str, String) {
    let words = |state, code, description: &str| (state, code, description.to_owned());
    if let Some(trouble) = &balancer.trouble {
        return ("Unknown", "ELB", format!("A transient error occurred. Please try again later. ({trouble})"));
    }
    if backend.draining_since.is_some() {
        return words("InService", "N/A", "Instance deregistration currently in progress.");
    }
    match instance.map_or(InstanceState::Terminated, |instance| instance.state) {
        InstanceState::Stopping | InstanceState::Stopped => {
            return words("OutOfService", "Instance", "Instance is in stopped state.");
        }
        InstanceState::ShuttingDown | InstanceState::Terminated => {
            return words("OutOfService", "Instance", "Instance is in terminated state.");
        }
        InstanceState::Pending => return words("OutOfService", "Instance", "Instance is in pending state."),
        InstanceState::Running => {}
    }
    if instance.is_some_and(|instance| !balancer.zones.contains(&instance.zone)) {
        return words(
            "OutOfService",
            "Instance",
            "Instance is in the EC2 Availability Zone for which LoadBalancer is not configured to route traffic to.",
        );
    }
    match backend.healthy {
        Some(true) => words("InService", "N/A", "N/A"),
        Some(false) if backend.is_failing(&balancer.health_check, Timestamp::now()) => words(
            "OutOfService",
            "Instance",
            "Instance has failed at least the UnhealthyThreshold number of health checks consecutively.",
        ),
        Some(false) if backend.is_recovering(&balancer.health_check, Timestamp::now()) => words(
            "OutOfService",
            "Instance",
            "Instance has not passed the configured HealthyThreshold number of health checks consecutively.",
        ),
        _ => words("OutOfService", "ELB", "Instance registration is still in progress."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_must_be_one_that_the_proxy_can_check() {
        assert_eq!(check_target("http:80/healthz").expect("valid"), "HTTP:80/healthz");
        assert_eq!(check_target("TCP:3306").expect("valid"), "TCP:3306");
        for target in
            ["80", "HTTP:80", "HTTP:0/x", "TCP:80/x", "FTP:21", "HTTP:80/a b", "HTTP:80/a\nserver x", "TCP:99999"]
        {
            assert_eq!(check_target(target).expect_err(target).code, "ValidationError", "{target}");
        }
        assert_eq!(check_target("https:443/").expect("valid"), "HTTPS:443/");
        assert_eq!(check_target("SSL:443").expect("valid"), "SSL:443");
    }
}
