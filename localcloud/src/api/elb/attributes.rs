//! Attributes: draining, idle timeout, cross-zone balancing.

use serde::{Deserialize, Serialize};

use super::{change, find, invalid_configuration};
use crate::{
    api::{
        error::ApiError,
        operation::{Caller, Operation},
    },
    model::load_balancer::LoadBalancer,
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
    #[serde(skip_serializing)]
    s3_bucket_name: Option<String>,
    #[serde(skip_serializing)]
    s3_bucket_prefix: Option<String>,
    #[serde(skip_serializing)]
    emit_interval: Option<u32>,
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

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct LoadBalancerAttributes {
    cross_zone_load_balancing: Option<CrossZoneLoadBalancing>,
    access_log: Option<AccessLog>,
    connection_draining: Option<ConnectionDraining>,
    connection_settings: Option<ConnectionSettings>,
    #[serde(default, skip_serializing)]
    additional_attributes: Vec<AdditionalAttribute>,
}

impl LoadBalancerAttributes {
    fn of(balancer: &LoadBalancer) -> Self {
        let draining = &balancer.connection_draining;
        Self {
            cross_zone_load_balancing: Some(CrossZoneLoadBalancing { enabled: balancer.cross_zone }),
            access_log: Some(AccessLog {
                enabled: false,
                s3_bucket_name: None,
                s3_bucket_prefix: None,
                emit_interval: None,
            }),
            connection_draining: Some(ConnectionDraining {
                enabled: draining.enabled,
                timeout: Some(draining.timeout_secs),
            }),
            connection_settings: Some(ConnectionSettings { idle_timeout: balancer.idle_timeout_secs }),
            additional_attributes: Vec::new(),
        }
    }

    fn apply(self, balancer: &mut LoadBalancer) -> Result<(), ApiError> {
        if let Some(attribute) = self.additional_attributes.first() {
            return Err(invalid_configuration(format!(
                "The attribute {} is not supported by this cloud",
                attribute.key
            )));
        }
        if let Some(log) = self.access_log
            && (log.enabled
                || log.s3_bucket_name.is_some()
                || log.s3_bucket_prefix.is_some()
                || log.emit_interval.is_some())
        {
            return Err(invalid_configuration("Access logs are not supported by this cloud; leave AccessLog disabled"));
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

    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        change(tx, &self.load_balancer_name, |balancer| {
            self.load_balancer_attributes.apply(balancer)?;
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
