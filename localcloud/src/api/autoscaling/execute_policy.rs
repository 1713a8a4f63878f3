//! A policy is carried out: the desired capacity changes, within the group's bounds and after its cooldown.

use serde::Deserialize;

use super::{capacity, find_changeable, membership::spoken, policies::find_policy};
use crate::{
    api::{
        error::ApiError,
        operation::{Caller, Done, Operation},
    },
    model::{
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
}

impl Operation for ExecutePolicy {
    const ACTION: &'static str = "ExecutePolicy";
    type Output = Done;

    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Done, ApiError> {
        let policy = find_policy(tx, self.auto_scaling_group_name.as_deref(), &self.policy_name)?;
        let mut group = find_changeable(tx, &policy.group_name)?;
        let now = Timestamp::now();
        if self.honor_cooldown.unwrap_or(false) {
            capacity::check_cooldown(&group, now)?;
        }
        scale(tx, &mut group, &policy, &format!("a user request executed policy {}", policy.name), now);
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

/// Carries a policy out as an alarm's action. The group's cooldown is honoured, as the action is repeated for as long as
/// the state lasts.
///
/// # Errors
/// When there is no such policy, its group is going, or its cooldown lasts.
pub fn execute_for_alarm(
    tx: &mut Transaction<'_>,
    policy_arn: &str,
    signal: &Signal<'_>,
    now: Timestamp,
) -> Result<(), ApiError> {
    let policy = find_policy(tx, None, policy_arn)?;
    let mut group = find_changeable(tx, &policy.group_name)?;
    if group.is_suspended("AlarmNotification") {
        return Err(ApiError::new("ScalingActivityInProgress", "The process AlarmNotification is suspended"));
    }
    capacity::check_cooldown(&group, now)?;
    let by =
        format!("a monitor alarm {} in state {} triggered policy {}", signal.alarm_name, signal.state, policy.name);
    scale(tx, &mut group, &policy, &by, now);
    Ok(())
}

fn scale(tx: &mut Transaction<'_>, group: &mut AutoScalingGroup, policy: &ScalingPolicy, by: &str, now: Timestamp) {
    let (current, desired) = (group.desired_capacity, adjusted(group, policy));
    if desired == current {
        return;
    }
    let cause = format!("At {} {by} changing the desired capacity from {current} to {desired}.", spoken(now));
    let cooldown = policy.cooldown_secs.unwrap_or(group.default_cooldown_secs);
    capacity::set(group, desired, cause, Some(cooldown), now);
    tx.put(group.clone());
}

/// The capacity that a policy asks for, within the group's bounds
/// (<https://docs.aws.amazon.com/autoscaling/ec2/userguide/as-scaling-simple-step.html>).
fn adjusted(group: &AutoScalingGroup, policy: &ScalingPolicy) -> u32 {
    let current = i64::from(group.desired_capacity);
    let adjustment = i64::from(policy.scaling_adjustment);
    let wanted = match policy.adjustment_type.as_str() {
        "ExactCapacity" => adjustment,
        "PercentChangeInCapacity" => current + percentage(current, adjustment, policy.min_adjustment_magnitude),
        _ => current + adjustment,
    };
    let within = wanted.clamp(group.min_size.into(), group.max_size.into());
    u32::try_from(within).unwrap_or(group.desired_capacity)
}

/// Rounded towards zero, but never to zero.
fn percentage(current: i64, percent: i64, magnitude: Option<u32>) -> i64 {
    if percent == 0 {
        return 0;
    }
    let least = i64::from(magnitude.unwrap_or(1).max(1));
    let change = current * percent / 100;
    change.abs().max(least) * percent.signum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_round_towards_zero_but_never_to_it() {
        // The user guide's own figures.
        assert_eq!(percentage(100, 12, None), 12);
        assert_eq!(percentage(10, 127, None), 12);
        assert_eq!(percentage(4, 10, None), 1);
        assert_eq!(percentage(10, -58, None), -5);
        assert_eq!(percentage(4, -10, None), -1);
        assert_eq!(percentage(4, 25, Some(2)), 2);
    }
}
