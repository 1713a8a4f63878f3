//! Policies as they are described.

use serde::{Deserialize, Serialize};

use super::{AlarmName, alarms_of, put::StepAdjustment, target_tracking::TargetTrackingConfiguration};
use crate::{
    api::{
        autoscaling::{find, page_size},
        error::ApiError,
        operation::{Caller, Operation},
        page::page,
    },
    model::auto_scaling::ScalingPolicy,
    store::{Record as _, Transaction},
};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DescribePolicies {
    auto_scaling_group_name: Option<String>,
    #[serde(default)]
    policy_names: Vec<String>,
    #[serde(default)]
    policy_types: Vec<String>,
    /// Of policies that other services manage there are none here.
    #[serde(rename = "IncludeManagedResources")]
    _include_managed_resources: Option<bool>,
    next_token: Option<String>,
    max_records: Option<usize>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct DescribePoliciesOutput {
    scaling_policies: Vec<PolicyDescription>,
    next_token: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct PolicyDescription {
    auto_scaling_group_name: String,
    policy_name: String,
    #[serde(rename = "PolicyARN")]
    arn: String,
    policy_type: String,
    adjustment_type: Option<String>,
    min_adjustment_magnitude: Option<u32>,
    scaling_adjustment: Option<i32>,
    cooldown: Option<u32>,
    step_adjustments: Vec<StepAdjustment>,
    metric_aggregation_type: Option<String>,
    estimated_instance_warmup: Option<u32>,
    alarms: Vec<AlarmName>,
    target_tracking_configuration: Option<TargetTrackingConfiguration>,
    enabled: bool,
}

impl Operation for DescribePolicies {
    const ACTION: &'static str = "DescribePolicies";
    type Output = DescribePoliciesOutput;

    fn run(self, tx: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        let size = page_size(self.max_records)?;
        if let Some(group) = &self.auto_scaling_group_name {
            find(tx, group)?;
        }
        let mut policies = tx.list::<ScalingPolicy>();
        policies.retain(|policy| {
            self.auto_scaling_group_name.as_ref().is_none_or(|group| policy.group_name == *group)
                && (self.policy_names.is_empty()
                    || self.policy_names.iter().any(|name| *name == policy.name || *name == policy.arn))
                && (self.policy_types.is_empty() || self.policy_types.contains(&policy.policy_type))
        });
        let (policies, next_token) = page(policies, |policy| policy.key(), self.next_token.as_deref(), size)?;
        let scaling_policies =
            policies.iter().map(|policy| describe(policy, alarms_of(tx, &policy.arn, caller))).collect();
        Ok(DescribePoliciesOutput { scaling_policies, next_token })
    }
}

fn describe(policy: &ScalingPolicy, alarms: Vec<AlarmName>) -> PolicyDescription {
    let is_step = policy.policy_type == "StepScaling";
    PolicyDescription {
        auto_scaling_group_name: policy.group_name.clone(),
        policy_name: policy.name.clone(),
        arn: policy.arn.clone(),
        policy_type: policy.policy_type.clone(),
        adjustment_type: Some(policy.adjustment_type.clone()).filter(|kind| !kind.is_empty()),
        min_adjustment_magnitude: policy.min_adjustment_magnitude,
        scaling_adjustment: (policy.policy_type == "SimpleScaling").then_some(policy.scaling_adjustment),
        cooldown: policy.cooldown_secs,
        step_adjustments: policy.steps.iter().map(StepAdjustment::of).collect(),
        metric_aggregation_type: policy.metric_aggregation.clone().or_else(|| is_step.then(|| "Average".to_owned())),
        estimated_instance_warmup: policy.warmup_secs,
        alarms,
        target_tracking_configuration: policy.tracking.as_ref().map(TargetTrackingConfiguration::of),
        enabled: policy.enabled,
    }
}
