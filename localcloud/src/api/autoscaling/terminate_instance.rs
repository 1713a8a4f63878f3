//! One member is sent away by request.

use serde::{Deserialize, Serialize};

use super::{activities::ActivityDescription, find_group_of, membership};
use crate::{
    api::{
        error::ApiError,
        operation::{Caller, Operation},
    },
    model::time::Timestamp,
    store::Transaction,
};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct TerminateInstanceInAutoScalingGroup {
    instance_id: String,
    should_decrement_desired_capacity: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct TerminateInstanceInAutoScalingGroupOutput {
    activity: ActivityDescription,
}

impl Operation for TerminateInstanceInAutoScalingGroup {
    const ACTION: &'static str = "TerminateInstanceInAutoScalingGroup";
    type Output = TerminateInstanceInAutoScalingGroupOutput;

    fn run(self, tx: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        let mut group = find_group_of(tx, &self.instance_id)?;
        let now = Timestamp::now();
        if group.member_mut(&self.instance_id).is_some_and(|member| member.lifecycle.is_terminating()) {
            return Err(ApiError::new(
                "ScalingActivityInProgress",
                format!("The instance {} is being terminated already", self.instance_id),
            ));
        }
        let mut cause = format!(
            "At {} instance {} was taken out of service in response to a user request",
            membership::spoken(now),
            self.instance_id
        );
        let is_capacity = group.capacity().any(|member| member.instance_id == self.instance_id);
        if self.should_decrement_desired_capacity && is_capacity {
            let desired = group.desired_capacity.saturating_sub(1);
            if desired < group.min_size {
                return Err(ApiError::validation(format!(
                    "Currently, desiredSize equals minSize ({}). Terminating instance without replacement will violate group's min size constraint. Either set shouldDecrementDesiredCapacity flag to false or lower group's min size.",
                    group.min_size
                )));
            }
            cause.push_str(&format!(", shrinking the capacity from {} to {desired}", group.desired_capacity));
            group.desired_capacity = desired;
        }
        cause.push('.');
        let activity = membership::begin_termination(tx, caller.site, &mut group, &self.instance_id, cause, now);
        tx.put(group);
        Ok(TerminateInstanceInAutoScalingGroupOutput { activity: ActivityDescription::of(&activity, None) })
    }
}
