//! Scaling policies: found, and deleted with the alarms that they made.

/// Policies as they are described.
pub mod describe;
/// Policies are made, and replaced.
pub mod put;
/// What a target tracking policy holds where, and the alarms that it makes for it.
pub mod target_tracking;

use serde::{Deserialize, Serialize};

use crate::{
    api::{
        error::ApiError,
        operation::{Caller, Done, Operation},
    },
    model::{alarm::Alarm, auto_scaling::ScalingPolicy},
    store::{Record as _, Transaction},
};

pub const ADJUSTMENT_TYPES: &[&str] = &["ChangeInCapacity", "ExactCapacity", "PercentChangeInCapacity"];

/// Finds a policy by ARN, or by name within a group.
///
/// # Errors
/// When there is none.
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

/// Removes a policy, and the alarms that it made. Alarms that users made stay, and point at nothing.
pub fn remove(tx: &mut Transaction<'_>, policy: &ScalingPolicy) {
    if let Some(tracking) = &policy.tracking {
        target_tracking::delete_alarms(tx, tracking);
    }
    tx.delete::<ScalingPolicy>(&policy.key());
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
        remove(tx, &policy);
        Ok(Done {})
    }
}
