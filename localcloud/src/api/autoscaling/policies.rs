//! Scaling policies: simple ones. The others need metrics that are evaluated.

use serde::{Deserialize, Serialize};

use super::{create_group::check_name, find, find_changeable, page_size};
use crate::{
    api::{
        error::ApiError,
        operation::{Caller, Done, Operation},
        page::page,
    },
    model::{alarm::Alarm, auto_scaling::ScalingPolicy, id},
    store::{Record as _, Transaction},
};

pub const ADJUSTMENT_TYPES: &[&str] = &["ChangeInCapacity", "ExactCapacity", "PercentChangeInCapacity"];

/// Finds a policy by ARN, or by name within a group.
pub fn find_policy(
    tx: &mut Transaction<'_>,
    group: Option<&str>,
    name_or_arn: &str,
) -> Result<ScalingPolicy, ApiError> {
    let policies = tx.list::<ScalingPolicy>();
    let mut found = policies.iter().filter(|policy| {
        policy.arn == name_or_arn || policy.name == name_or_arn && group.is_some_and(|group| policy.group_name == group)
    });
    match found.next() {
        Some(policy) => Ok(ScalingPolicy::clone(policy)),
        None if group.is_none() && !name_or_arn.starts_with("arn:") => {
            Err(ApiError::validation("AutoScalingGroupName is needed where PolicyName is not an ARN"))
        }
        None => Err(ApiError::validation(format!("PolicyName not found - policy {name_or_arn} not found"))),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct PutScalingPolicy {
    auto_scaling_group_name: String,
    policy_name: String,
    policy_type: Option<String>,
    adjustment_type: Option<String>,
    scaling_adjustment: Option<i32>,
    min_adjustment_step: Option<u32>,
    min_adjustment_magnitude: Option<u32>,
    cooldown: Option<u32>,
    enabled: Option<bool>,
    target_tracking_configuration: Option<serde::de::IgnoredAny>,
    predictive_scaling_configuration: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    step_adjustments: Vec<serde::de::IgnoredAny>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct PutScalingPolicyOutput {
    #[serde(rename = "PolicyARN")]
    arn: String,
    alarms: Vec<AlarmName>,
}

impl Operation for PutScalingPolicy {
    const ACTION: &'static str = "PutScalingPolicy";
    type Output = PutScalingPolicyOutput;

    fn run(self, tx: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        find_changeable(tx, &self.auto_scaling_group_name)?;
        check_name("PolicyName", &self.policy_name)?;
        let policy_type = self.policy_type.unwrap_or_else(|| "SimpleScaling".to_owned());
        let other_kind = self.target_tracking_configuration.is_some()
            || self.predictive_scaling_configuration.is_some()
            || !self.step_adjustments.is_empty();
        if policy_type != "SimpleScaling" || other_kind {
            return Err(ApiError::unsupported(format!(
                "Policies of type {policy_type} with these parameters are not supported by this cloud; use SimpleScaling with ScalingAdjustment."
            )));
        }
        if self.enabled == Some(false) {
            return Err(ApiError::unsupported(
                "Disabled policies are not supported by this cloud; delete the policy instead.",
            ));
        }
        let adjustment_type =
            self.adjustment_type.ok_or_else(|| ApiError::validation("You must specify an AdjustmentType"))?;
        if !ADJUSTMENT_TYPES.contains(&adjustment_type.as_str()) {
            return Err(ApiError::validation(format!(
                "AdjustmentType '{adjustment_type}' is not one of {}",
                ADJUSTMENT_TYPES.join(", ")
            )));
        }
        let scaling_adjustment = self.scaling_adjustment.ok_or_else(|| {
            ApiError::validation("You must specify a ScalingAdjustment for policy type: SimpleScaling")
        })?;
        if adjustment_type == "ExactCapacity" && scaling_adjustment < 0 {
            return Err(ApiError::validation("ScalingAdjustment must not be negative for ExactCapacity"));
        }
        let min_adjustment_magnitude = self.min_adjustment_magnitude.or(self.min_adjustment_step);
        if min_adjustment_magnitude.is_some() && adjustment_type != "PercentChangeInCapacity" {
            return Err(ApiError::validation("MinAdjustmentMagnitude is valid for PercentChangeInCapacity only"));
        }
        let key = ScalingPolicy::key_of(&self.auto_scaling_group_name, &self.policy_name);
        let arn = match tx.get::<ScalingPolicy>(&key) {
            Some(existing) => existing.arn.clone(),
            None => format!(
                "arn:aws:autoscaling:{}:{}:scalingPolicy:{}:autoScalingGroupName/{}:policyName/{}",
                caller.region,
                caller.account_id,
                id::uuid(),
                self.auto_scaling_group_name,
                self.policy_name
            ),
        };
        let alarms = alarms_of(tx, &arn, caller);
        tx.put(ScalingPolicy {
            group_name: self.auto_scaling_group_name,
            name: self.policy_name,
            arn: arn.clone(),
            policy_type,
            adjustment_type,
            scaling_adjustment,
            min_adjustment_magnitude,
            cooldown_secs: self.cooldown,
        });
        Ok(PutScalingPolicyOutput { arn, alarms })
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct AlarmName {
    alarm_name: String,
    #[serde(rename = "AlarmARN")]
    arn: String,
}

/// The alarms that act through a policy.
fn alarms_of(tx: &mut Transaction<'_>, policy_arn: &str, caller: &Caller<'_>) -> Vec<AlarmName> {
    let acts = |alarm: &Alarm| {
        let actions = [&alarm.alarm_actions, &alarm.ok_actions, &alarm.insufficient_data_actions];
        actions.into_iter().flatten().any(|action| action == policy_arn)
    };
    let alarms = tx.list::<Alarm>();
    let acting = alarms.iter().filter(|alarm| acts(alarm));
    acting
        .map(|alarm| AlarmName {
            alarm_name: alarm.name.clone(),
            arn: format!("arn:aws:cloudwatch:{}:{}:alarm:{}", caller.region, caller.account_id, alarm.name),
        })
        .collect()
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DescribePolicies {
    auto_scaling_group_name: Option<String>,
    #[serde(default)]
    policy_names: Vec<String>,
    #[serde(default)]
    policy_types: Vec<String>,
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
    adjustment_type: String,
    min_adjustment_magnitude: Option<u32>,
    scaling_adjustment: i32,
    cooldown: Option<u32>,
    step_adjustments: Vec<String>,
    alarms: Vec<AlarmName>,
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
        let mut scaling_policies = Vec::new();
        for policy in &policies {
            scaling_policies.push(PolicyDescription {
                auto_scaling_group_name: policy.group_name.clone(),
                policy_name: policy.name.clone(),
                arn: policy.arn.clone(),
                policy_type: policy.policy_type.clone(),
                adjustment_type: policy.adjustment_type.clone(),
                min_adjustment_magnitude: policy.min_adjustment_magnitude,
                scaling_adjustment: policy.scaling_adjustment,
                cooldown: policy.cooldown_secs,
                step_adjustments: Vec::new(),
                alarms: alarms_of(tx, &policy.arn, caller),
                enabled: true,
            });
        }
        Ok(DescribePoliciesOutput { scaling_policies, next_token })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DeletePolicy {
    auto_scaling_group_name: Option<String>,
    policy_name: String,
}

impl Operation for DeletePolicy {
    const ACTION: &'static str = "DeletePolicy";
    type Output = Done;

    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Done, ApiError> {
        let policy = find_policy(tx, self.auto_scaling_group_name.as_deref(), &self.policy_name)?;
        tx.delete::<ScalingPolicy>(&policy.key());
        Ok(Done {})
    }
}
