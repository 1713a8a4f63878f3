//! How many members a group should have, by request, and the cooldown between changes.

use serde::Deserialize;

use super::{find_changeable, membership::spoken};
use crate::{
    api::{
        error::ApiError,
        operation::{Caller, Done, Operation},
    },
    model::{
        auto_scaling::{AutoScalingGroup, CapacityChange},
        time::Timestamp,
    },
    store::Transaction,
};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct SetDesiredCapacity {
    auto_scaling_group_name: String,
    desired_capacity: u32,
    honor_cooldown: Option<bool>,
}

impl Operation for SetDesiredCapacity {
    const ACTION: &'static str = "SetDesiredCapacity";
    type Output = Done;

    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Done, ApiError> {
        let mut group = find_changeable(tx, &self.auto_scaling_group_name)?;
        let (desired, now) = (self.desired_capacity, Timestamp::now());
        let honor_cooldown = self.honor_cooldown.unwrap_or(false);
        if honor_cooldown {
            check_cooldown(&group, now)?;
        }
        let bound = if desired > group.max_size {
            Some(("above max", group.max_size))
        } else if desired < group.min_size {
            Some(("below min", group.min_size))
        } else {
            None
        };
        if let Some((relation, bound)) = bound {
            return Err(ApiError::validation(format!(
                "New SetDesiredCapacity value {desired} is {relation} value {bound} for the AutoScalingGroup."
            )));
        }
        if desired == group.desired_capacity {
            return Ok(Done {});
        }
        let cause = format!(
            "At {} a user request explicitly set group desired capacity changing the desired capacity from {} to {desired}.",
            spoken(now),
            group.desired_capacity
        );
        let cooldown = honor_cooldown.then_some(group.default_cooldown_secs);
        set(&mut group, desired, cause, cooldown, now);
        tx.put(group);
        Ok(Done {})
    }
}

/// A cooldown begins when what a simple policy caused has ended, which lifecycle hooks may put off
/// (<https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-scaling-cooldowns.html>).
///
/// # Errors
/// While the last scaling is under way, or its cooldown lasts.
pub fn check_cooldown(group: &AutoScalingGroup, now: Timestamp) -> Result<(), ApiError> {
    if group.members.iter().any(|member| member.holds_cooldown) {
        return Err(ApiError::new(
            "ScalingActivityInProgress",
            format!("Scaling activity of a policy is in progress for AutoScalingGroup {}", group.name),
        ));
    }
    let Some(scaled) = group.last_scaled else { return Ok(()) };
    let until = scaled.plus_secs(group.last_cooldown_secs.into());
    if now >= until {
        return Ok(());
    }
    Err(ApiError::new(
        "ScalingActivityInProgress",
        format!("AutoScalingGroup {} is in its cooldown period, which ends at {}", group.name, spoken(until)),
    ))
}

/// Sets the desired capacity. A cooldown begins now, and again when the activities that follow have ended.
pub fn set(group: &mut AutoScalingGroup, desired: u32, cause: String, cooldown_secs: Option<u32>, now: Timestamp) {
    group.desired_capacity = desired;
    group.launch_trouble = None;
    group.capacity_change = Some(CapacityChange { cause, starts_cooldown: cooldown_secs.is_some() });
    if let Some(seconds) = cooldown_secs {
        group.last_scaled = Some(now);
        group.last_cooldown_secs = seconds;
    }
}
