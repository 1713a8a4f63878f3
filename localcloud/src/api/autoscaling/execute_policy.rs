//! A policy is carried out: the desired capacity changes, within the group's bounds.

/// The capacity that a policy asks for. Pure.
mod adjustment;

use serde::Deserialize;

use self::adjustment::{Breach, Scene};
use super::{capacity, find_changeable, membership::spoken, policies::find_policy};
use crate::{
    api::{
        error::ApiError,
        operation::{Caller, Done, Operation},
    },
    model::{
        alarm::Alarm,
        auto_scaling::{AutoScalingGroup, ScalingPolicy},
        time::Timestamp,
    },
    store::Transaction,
};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ExecutePolicy {
    auto_scaling_group_name: Option<String>,
    policy_name: String,
    honor_cooldown: Option<bool>,
    metric_value: Option<f64>,
    breach_threshold: Option<f64>,
}

impl Operation for ExecutePolicy {
    const ACTION: &'static str = "ExecutePolicy";
    type Output = Done;

    /// <https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_ExecutePolicy.html>
    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Done, ApiError> {
        let policy = find_policy(tx, self.auto_scaling_group_name.as_deref(), &self.policy_name)?;
        let mut group = find_changeable(tx, &policy.group_name)?;
        let now = Timestamp::now();
        let breach = match (policy.policy_type.as_str(), self.metric_value, self.breach_threshold) {
            ("TargetTrackingScaling", ..) => {
                return Err(ApiError::validation(
                    "ExecutePolicy is not supported for policy type: TargetTrackingScaling",
                ));
            }
            ("StepScaling", Some(value), Some(threshold)) => {
                if self.honor_cooldown.is_some() {
                    return Err(ApiError::validation("HonorCooldown is not supported for policy type: StepScaling"));
                }
                Some(Breach { value, threshold })
            }
            ("StepScaling", ..) => {
                return Err(ApiError::validation(
                    "You must specify MetricValue and BreachThreshold for policy type: StepScaling",
                ));
            }
            (_, None, None) => None,
            (kind, ..) => {
                return Err(ApiError::validation(format!(
                    "MetricValue and BreachThreshold are not supported for policy type: {kind}"
                )));
            }
        };
        if self.honor_cooldown.unwrap_or(false) {
            capacity::check_cooldown(&group, now)?;
        }
        let by = format!("a user request executed policy {}", policy.name);
        scale(tx, &mut group, &policy, breach, &by, now)?;
        Ok(Done {})
    }
}

/// An alarm that stands in the state in whose actions a policy is named.
#[derive(Debug, Clone, Copy)]
pub struct Signal<'a> {
    pub alarm_name: &'a str,
    /// `ALARM`
    pub state: &'a str,
    /// The newest value that brought the alarm into its state. Without data there is none.
    pub metric_value: Option<f64>,
    /// Step adjustments count from it.
    pub threshold: f64,
}

/// Carries a policy out as an alarm's action. The action is repeated for as long as the state lasts: a simple policy
/// honours the group's cooldown, the others count what is warming up as capacity already.
///
/// # Errors
/// When there is no such policy, its group is going, or the policy cannot be carried out now.
pub fn execute_for_alarm(
    tx: &mut Transaction<'_>,
    policy_arn: &str,
    signal: &Signal<'_>,
    now: Timestamp,
) -> Result<(), ApiError> {
    let policy = find_policy(tx, None, policy_arn)?;
    let mut group = find_changeable(tx, &policy.group_name)?;
    if !policy.enabled {
        return Err(ApiError::new("ScalingActivityInProgress", format!("The policy {} is disabled", policy.name)));
    }
    if group.is_suspended("AlarmNotification") {
        return Err(ApiError::new("ScalingActivityInProgress", "The process AlarmNotification is suspended"));
    }
    let is_simple = policy.tracking.is_none() && policy.steps.is_empty();
    let breach = match signal.metric_value {
        _ if is_simple => {
            capacity::check_cooldown(&group, now)?;
            None
        }
        Some(value) => Some(Breach { value, threshold: signal.threshold }),
        None => {
            return Err(ApiError::validation(format!(
                "The alarm {} has no metric value, which the policy {} needs",
                signal.alarm_name, policy.name
            )));
        }
    };
    let by =
        format!("a monitor alarm {} in state {} triggered policy {}", signal.alarm_name, signal.state, policy.name);
    scale(tx, &mut group, &policy, breach, &by, now)
}

fn scale(
    tx: &mut Transaction<'_>,
    group: &mut AutoScalingGroup,
    policy: &ScalingPolicy,
    breach: Option<Breach>,
    by: &str,
    now: Timestamp,
) -> Result<(), ApiError> {
    let current = group.desired_capacity;
    let warmup_secs = policy.warmup_secs.or(group.default_warmup_secs).unwrap_or(group.default_cooldown_secs);
    let scene = Scene::of(group, warmup_secs, now);
    let (desired, cooldown) = match (breach, &policy.tracking) {
        (Some(breach), Some(tracking)) => {
            let desired = scene.tracked(tracking, breach);
            if desired < current && !others_agree(tx, policy) {
                return Ok(());
            }
            (desired, None)
        }
        (Some(breach), None) => (scene.stepped(policy, breach)?, None),
        (None, _) => (scene.adjusted(policy), Some(policy.cooldown_secs.unwrap_or(group.default_cooldown_secs))),
    };
    if desired == current {
        return Ok(());
    }
    let cause = format!("At {} {by} changing the desired capacity from {current} to {desired}.", spoken(now));
    capacity::set(group, desired, cause, cooldown, now);
    tx.put(group.clone());
    Ok(())
}

/// A group scales in only when all its target tracking policies that may do so are ready to
/// (<https://docs.aws.amazon.com/autoscaling/ec2/userguide/as-scaling-target-tracking.html>).
fn others_agree(tx: &mut Transaction<'_>, policy: &ScalingPolicy) -> bool {
    let policies = tx.list::<ScalingPolicy>();
    let others = policies
        .iter()
        .filter(|other| other.group_name == policy.group_name && other.name != policy.name && other.enabled);
    let lows: Vec<String> = others.filter_map(|other| other.tracking.as_ref()?.alarm_low.clone()).collect();
    lows.iter().all(|low| tx.get::<Alarm>(low).is_none_or(|alarm| alarm.state == "ALARM"))
}
