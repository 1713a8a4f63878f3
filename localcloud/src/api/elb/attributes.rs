//! Attributes: draining, idle timeout, cross-zone balancing, access logs, strictness about requests.

use serde::{Deserialize, Serialize};

use super::{change, find, invalid_configuration};
use crate::{
    api::{
        error::ApiError,
        operation::{Caller, Observer, Operation},
    },
    model::load_balancer::{self, DesyncMitigation, LoadBalancer},
    store::Transaction,
};

const LONGEST_SECS: u32 = 3600;

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct CrossZoneLoadBalancing {
    enabled: bool,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct AccessLog {
    enabled: bool,
    s3_bucket_name: Option<String>,
    s3_bucket_prefix: Option<String>,
    emit_interval: Option<u32>,
}

impl AccessLog {
    fn of(log: &load_balancer::AccessLog) -> Self {
        if !log.enabled {
            return Self { enabled: false, s3_bucket_name: None, s3_bucket_prefix: None, emit_interval: None };
        }
        Self {
            enabled: true,
            s3_bucket_name: log.bucket.clone(),
            s3_bucket_prefix: Some(log.prefix.clone().unwrap_or_default()),
            emit_interval: Some(log.emit_interval_mins),
        }
    }

    /// <https://docs.aws.amazon.com/elasticloadbalancing/2012-06-01/APIReference/API_AccessLog.html>
    fn apply(self, log: &mut load_balancer::AccessLog, observer: &dyn Observer) -> Result<(), ApiError> {
        if !self.enabled {
            log.enabled = false;
            return Ok(());
        }
        let emit_interval_mins = self.emit_interval.unwrap_or(60);
        if !matches!(emit_interval_mins, 5 | 60) {
            return Err(ApiError::validation(format!(
                "AccessLog EmitInterval must be 5 or 60 minutes, not {emit_interval_mins}"
            )));
        }
        let bucket = self
            .s3_bucket_name
            .filter(|bucket| !bucket.is_empty())
            .ok_or_else(|| ApiError::validation("S3Bucket name cannot be empty"))?;
        let prefix = self.s3_bucket_prefix.filter(|prefix| !prefix.is_empty());
        if prefix.as_ref().is_some_and(|prefix| prefix.starts_with('/') || prefix.contains("AWSLogs")) {
            return Err(ApiError::validation("S3BucketPrefix must not begin with a slash, nor contain AWSLogs"));
        }
        if !observer.has_bucket(&bucket) {
            return Err(invalid_configuration(format!(
                "Access Denied for bucket: {bucket}. Please check S3bucket permission (this cloud has no bucket of this name)"
            )));
        }
        let is_new = !log.enabled || log.bucket.as_ref() != Some(&bucket) || log.prefix != prefix;
        *log = load_balancer::AccessLog {
            enabled: true,
            bucket: Some(bucket),
            prefix,
            emit_interval_mins,
            test_file_due: is_new || log.test_file_due,
        };
        Ok(())
    }
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct ConnectionDraining {
    enabled: bool,
    timeout: Option<u32>,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct ConnectionSettings {
    idle_timeout: u32,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct AdditionalAttribute {
    key: String,
    value: Option<String>,
}

/// The one attribute of its kind
/// (<https://docs.aws.amazon.com/elasticloadbalancing/latest/classic/config-desync-mitigation-mode.html>).
const DESYNC_MITIGATION: &str = "elb.http.desyncmitigationmode";
const MODES: [(&str, DesyncMitigation); 3] = [
    ("monitor", DesyncMitigation::Monitor),
    ("defensive", DesyncMitigation::Defensive),
    ("strictest", DesyncMitigation::Strictest),
];

impl AdditionalAttribute {
    fn of(mode: DesyncMitigation) -> Self {
        let value = MODES.iter().find(|(_, known)| *known == mode).map(|(word, _)| (*word).to_owned());
        Self { key: DESYNC_MITIGATION.to_owned(), value }
    }

    fn apply(self, balancer: &mut LoadBalancer) -> Result<(), ApiError> {
        if self.key != DESYNC_MITIGATION {
            return Err(ApiError::new(
                "LoadBalancerAttributeNotFound",
                format!("The load balancer attribute {} does not exist", self.key),
            ));
        }
        let value = self.value.unwrap_or_default();
        let (_, mode) = MODES.iter().find(|(word, _)| *word == value).ok_or_else(|| {
            ApiError::validation(format!("{DESYNC_MITIGATION} must be monitor, defensive or strictest, not '{value}'"))
        })?;
        balancer.desync_mitigation = *mode;
        Ok(())
    }
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct LoadBalancerAttributes {
    cross_zone_load_balancing: Option<CrossZoneLoadBalancing>,
    access_log: Option<AccessLog>,
    connection_draining: Option<ConnectionDraining>,
    connection_settings: Option<ConnectionSettings>,
    #[serde(default)]
    additional_attributes: Vec<AdditionalAttribute>,
}

impl LoadBalancerAttributes {
    fn of(balancer: &LoadBalancer) -> Self {
        let draining = &balancer.connection_draining;
        Self {
            cross_zone_load_balancing: Some(CrossZoneLoadBalancing { enabled: balancer.cross_zone }),
            access_log: Some(AccessLog::of(&balancer.access_log)),
            connection_draining: Some(ConnectionDraining {
                enabled: draining.enabled,
                timeout: Some(draining.timeout_secs),
            }),
            connection_settings: Some(ConnectionSettings { idle_timeout: balancer.idle_timeout_secs }),
            additional_attributes: vec![AdditionalAttribute::of(balancer.desync_mitigation)],
        }
    }

    fn apply(self, balancer: &mut LoadBalancer, observer: &dyn Observer) -> Result<(), ApiError> {
        for attribute in self.additional_attributes {
            attribute.apply(balancer)?;
        }
        if let Some(log) = self.access_log {
            log.apply(&mut balancer.access_log, observer)?;
        }
        if let Some(cross_zone) = self.cross_zone_load_balancing {
            balancer.cross_zone = cross_zone.enabled;
        }
        if let Some(draining) = self.connection_draining {
            if let Some(timeout) = draining.timeout {
                check_range("ConnectionDraining Timeout", timeout)?;
                balancer.connection_draining.timeout_secs = timeout;
            }
            balancer.connection_draining.enabled = draining.enabled;
        }
        if let Some(settings) = self.connection_settings {
            check_range("ConnectionSettings IdleTimeout", settings.idle_timeout)?;
            balancer.idle_timeout_secs = settings.idle_timeout;
        }
        Ok(())
    }
}

fn check_range(name: &str, seconds: u32) -> Result<(), ApiError> {
    if (1..=LONGEST_SECS).contains(&seconds) {
        return Ok(());
    }
    Err(ApiError::validation(format!("{name} must be between 1 and {LONGEST_SECS} seconds, not {seconds}")))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ModifyLoadBalancerAttributes {
    load_balancer_name: String,
    load_balancer_attributes: LoadBalancerAttributes,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ModifyLoadBalancerAttributesOutput {
    load_balancer_name: String,
    load_balancer_attributes: LoadBalancerAttributes,
}

impl Operation for ModifyLoadBalancerAttributes {
    const ACTION: &'static str = "ModifyLoadBalancerAttributes";
    type Output = ModifyLoadBalancerAttributesOutput;

    fn run(self, tx: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        change(tx, &self.load_balancer_name, |balancer| {
            self.load_balancer_attributes.apply(balancer, caller.observer)?;
            Ok(ModifyLoadBalancerAttributesOutput {
                load_balancer_name: balancer.name.clone(),
                load_balancer_attributes: LoadBalancerAttributes::of(balancer),
            })
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DescribeLoadBalancerAttributes {
    load_balancer_name: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct DescribeLoadBalancerAttributesOutput {
    load_balancer_attributes: LoadBalancerAttributes,
}

impl Operation for DescribeLoadBalancerAttributes {
    const ACTION: &'static str = "DescribeLoadBalancerAttributes";
    type Output = DescribeLoadBalancerAttributesOutput;

    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        let balancer = find(tx, &self.load_balancer_name)?;
        Ok(DescribeLoadBalancerAttributesOutput { load_balancer_attributes: LoadBalancerAttributes::of(&balancer) })
    }
}
