//! ModifyInstanceMetadataOptions, ModifyInstancePlacement, DescribeInstanceCreditSpecifications, GetPasswordData and
//! ReportInstanceStatus.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    super::{
        dry_run,
        filters::{self, Column, Filter},
        identifiers, pagination,
    },
    item::MetadataOptionsItem,
    parameters::MetadataOptions,
};
use crate::{
    api::{
        error::ApiError,
        operation::{Caller, Operation, Return},
    },
    model::{
        instance::{Instance, InstanceState},
        time::Timestamp,
    },
    store::Transaction,
};

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ModifyInstanceMetadataOptions.html>
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ModifyInstanceMetadataOptions {
    instance_id: String,
    #[serde(default)]
    http_tokens: Option<String>,
    #[serde(default)]
    http_endpoint: Option<String>,
    #[serde(default)]
    http_put_response_hop_limit: Option<u32>,
    #[serde(default)]
    http_protocol_ipv6: Option<String>,
    #[serde(default)]
    instance_metadata_tags: Option<String>,
    #[serde(default)]
    dry_run: Option<bool>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ModifiedMetadataOptions {
    instance_id: String,
    instance_metadata_options: MetadataOptionsItem,
}

impl Operation for ModifyInstanceMetadataOptions {
    const ACTION: &'static str = "ModifyInstanceMetadataOptions";
    type Output = ModifiedMetadataOptions;

    fn run(self, tx: &mut Transaction<'_>, _: &Caller<'_>) -> Result<ModifiedMetadataOptions, ApiError> {
        let mut instance = Instance::clone(&*identifiers::instance(tx, &self.instance_id)?);
        let options = MetadataOptions {
            http_tokens: self.http_tokens,
            http_endpoint: self.http_endpoint,
            http_put_response_hop_limit: self.http_put_response_hop_limit,
            http_protocol_ipv6: self.http_protocol_ipv6,
            instance_metadata_tags: self.instance_metadata_tags,
        };
        if let Some(required) = options.tokens_required()? {
            instance.metadata_tokens_required = required;
        }
        dry_run::check(self.dry_run)?;
        let instance_metadata_options = MetadataOptionsItem::new(&instance);
        let instance_id = instance.id.clone();
        tx.put(instance);
        Ok(ModifiedMetadataOptions { instance_id, instance_metadata_options })
    }
}

/// There is one machine, so that only the default can be asked for
/// (<https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ModifyInstancePlacement.html>).
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ModifyInstancePlacement {
    instance_id: String,
    #[serde(default)]
    tenancy: Option<String>,
    #[serde(default)]
    affinity: Option<String>,
    #[serde(default)]
    group_name: Option<String>,
}

impl Operation for ModifyInstancePlacement {
    const ACTION: &'static str = "ModifyInstancePlacement";
    type Output = Return;

    fn run(self, tx: &mut Transaction<'_>, _: &Caller<'_>) -> Result<Return, ApiError> {
        let instance = identifiers::instance(tx, &self.instance_id)?;
        let default = |value: &Option<String>| value.as_deref().is_none_or(|value| value == "default");
        if !default(&self.tenancy) || !default(&self.affinity) {
            return Err(ApiError::unsupported("The only tenancy and affinity of this cloud are 'default'."));
        }
        if self.group_name.as_deref().is_some_and(|name| !name.is_empty()) {
            return Err(ApiError::unsupported("Placement groups are not available in this cloud."));
        }
        super::modify::must_be_stopped(&instance)?;
        Ok(Return::TRUE)
    }
}

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeInstanceCreditSpecifications.html>
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DescribeInstanceCreditSpecifications {
    #[serde(default, rename = "InstanceId")]
    instance_ids: Vec<String>,
    #[serde(default, rename = "Filter")]
    filters: Vec<Filter>,
    #[serde(default)]
    max_results: Option<u32>,
    #[serde(default)]
    next_token: Option<String>,
    #[serde(default)]
    dry_run: Option<bool>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CreditSpecifications {
    instance_credit_specification_set: Vec<CreditSpecification>,
    next_token: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct CreditSpecification {
    instance_id: String,
    /// Nothing is ever slowed down for want of credits.
    cpu_credits: &'static str,
}

const CREDIT_COLUMNS: &[Column<Arc<Instance>>] = &[("instance-id", |instance| vec![instance.id.clone()])];

impl Operation for DescribeInstanceCreditSpecifications {
    const ACTION: &'static str = "DescribeInstanceCreditSpecifications";
    type Output = CreditSpecifications;

    fn run(self, tx: &mut Transaction<'_>, _: &Caller<'_>) -> Result<CreditSpecifications, ApiError> {
        dry_run::check(self.dry_run)?;
        let is_burstable = |instance: &Instance| instance.instance_type.starts_with('t');
        let mut instances = if self.instance_ids.is_empty() {
            tx.list::<Instance>()
        } else {
            identifiers::instances(tx, &self.instance_ids)?
        };
        if let Some(other) = instances.iter().find(|instance| !is_burstable(instance))
            && !self.instance_ids.is_empty()
        {
            return Err(ApiError::new(
                "InvalidInstanceID",
                format!("The instance '{}' is not of a burstable performance type.", other.id),
            ));
        }
        instances.retain(|instance| is_burstable(instance) && instance.state != InstanceState::Terminated);
        let instances = filters::retain(&self.filters, CREDIT_COLUMNS, None, instances)?;
        let key = |instance: &Arc<Instance>| instance.id.clone();
        let (instances, next_token) = pagination::page(instances, key, self.max_results, self.next_token.as_deref())?;
        let item = |instance: Arc<Instance>| CreditSpecification {
            instance_id: instance.id.clone(),
            cpu_credits: "unlimited",
        };
        Ok(CreditSpecifications {
            instance_credit_specification_set: instances.into_iter().map(item).collect(),
            next_token,
        })
    }
}

/// Empty, as on AWS for every instance that is not Windows
/// (<https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_GetPasswordData.html>).
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct GetPasswordData {
    instance_id: String,
    #[serde(default)]
    dry_run: Option<bool>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PasswordData {
    instance_id: String,
    timestamp: Timestamp,
    password_data: &'static str,
}

impl Operation for GetPasswordData {
    const ACTION: &'static str = "GetPasswordData";
    type Output = PasswordData;

    fn run(self, tx: &mut Transaction<'_>, _: &Caller<'_>) -> Result<PasswordData, ApiError> {
        let instance = identifiers::instance(tx, &self.instance_id)?;
        dry_run::check(self.dry_run)?;
        Ok(PasswordData { instance_id: instance.id.clone(), timestamp: Timestamp::now(), password_data: "" })
    }
}

const REASON_CODES: &[&str] = &[
    "instance-stuck-in-state",
    "unresponsive",
    "not-accepting-credentials",
    "password-not-available",
    "performance-network",
    "performance-instance-store",
    "performance-ebs-volume",
    "performance-other",
    "other",
];

/// A report to the cloud's operator, who reads it in the daemon's log. It does not change what DescribeInstanceStatus says
/// (<https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ReportInstanceStatus.html>).
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ReportInstanceStatus {
    #[serde(default, rename = "InstanceId")]
    instance_ids: Vec<String>,
    status: String,
    #[serde(default, rename = "ReasonCode")]
    reason_codes: Vec<String>,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    start_time: Option<Timestamp>,
    #[serde(default)]
    end_time: Option<Timestamp>,
    #[serde(default)]
    dry_run: Option<bool>,
}

impl Operation for ReportInstanceStatus {
    const ACTION: &'static str = "ReportInstanceStatus";
    type Output = Return;

    fn run(self, tx: &mut Transaction<'_>, _: &Caller<'_>) -> Result<Return, ApiError> {
        if self.instance_ids.is_empty() {
            return Err(ApiError::missing_parameter("InstanceId"));
        }
        if self.reason_codes.is_empty() {
            return Err(ApiError::missing_parameter("ReasonCode"));
        }
        let invalid = |value: &str, parameter: &str| {
            ApiError::invalid_parameter_value(format!("Value ({value}) for parameter {parameter} is invalid."))
        };
        if !["ok", "impaired"].contains(&self.status.as_str()) {
            return Err(invalid(&self.status, "status"));
        }
        if let Some(unknown) = self.reason_codes.iter().find(|code| !REASON_CODES.contains(&code.as_str())) {
            return Err(invalid(unknown, "reasonCode"));
        }
        let instances = identifiers::instances(tx, &self.instance_ids)?;
        if let Some(other) = instances.iter().find(|instance| instance.state != InstanceState::Running) {
            return Err(ApiError::new(
                "IncorrectInstanceState",
                format!("The instance '{}' is not in the 'running' state.", other.id),
            ));
        }
        dry_run::check(self.dry_run)?;
        let time = |time: Option<Timestamp>| time.map_or_else(|| "?".to_owned(), |time| time.to_string());
        tracing::warn!(
            "reported of {}: {} ({}), {} to {}: {}",
            self.instance_ids.join(", "),
            self.status,
            self.reason_codes.join(", "),
            time(self.start_time),
            time(self.end_time),
            self.description.unwrap_or_default()
        );
        Ok(Return::TRUE)
    }
}
