//! Groups end: at once when they are empty, else with their members when that is asked for.

use serde::Deserialize;

use super::{find, membership, policies};
use crate::{
    api::{
        error::ApiError,
        operation::{Caller, Done, Operation},
    },
    model::{
        auto_scaling::{Activity, AutoScalingGroup, Lifecycle, ScalingPolicy},
        time::Timestamp,
    },
    store::{Record as _, Transaction},
};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DeleteAutoScalingGroup {
    auto_scaling_group_name: String,
    force_delete: Option<bool>,
}

impl Operation for DeleteAutoScalingGroup {
    const ACTION: &'static str = "DeleteAutoScalingGroup";
    type Output = Done;

    fn run(self, tx: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<Done, ApiError> {
        let mut group = AutoScalingGroup::clone(&*find(tx, &self.auto_scaling_group_name)?);
        if group.members.is_empty() {
            remove(tx, &group.name);
            return Ok(Done {});
        }
        if group.deleting {
            return Ok(Done {});
        }
        if !self.force_delete.unwrap_or(false) {
            return Err(match group.members.iter().find(|member| !member.lifecycle.is_terminating()) {
                Some(_) => ApiError::new(
                    "ResourceInUse",
                    "You cannot delete an AutoScalingGroup while there are instances or pending Spot instance request(s) still in the group.",
                ),
                None => ApiError::new(
                    "ScalingActivityInProgress",
                    "You cannot delete an AutoScalingGroup while there are scaling activities in progress for that group.",
                ),
            });
        }
        let now = Timestamp::now();
        group.deleting = true;
        (group.min_size, group.desired_capacity) = (0, 0);
        group.capacity_change = None;
        // Nothing waits for hooks any more, as on AWS.
        group.hooks.clear();
        for member in group.members.iter_mut().filter(|member| member.lifecycle == Lifecycle::TerminatingWait) {
            member.lifecycle = Lifecycle::TerminatingProceed;
        }
        let stays = |lifecycle: Lifecycle| lifecycle.is_terminating() || lifecycle == Lifecycle::Detaching;
        let leaving: Vec<String> = group
            .members
            .iter()
            .filter(|member| !stays(member.lifecycle))
            .map(|member| member.instance_id.clone())
            .collect();
        for instance_id in leaving {
            let cause = format!(
                "At {} a user request force deleted AutoScalingGroup changing the desired capacity to 0.",
                membership::spoken(now)
            );
            membership::begin_termination(tx, caller.site, &mut group, &instance_id, cause, now);
        }
        tx.put(group);
        Ok(Done {})
    }
}

/// Removes a group that has no members, with its policies, the alarms that these made, and activities. Alarms of users that
/// point at its policies stay, as they do on AWS.
pub fn remove(tx: &mut Transaction<'_>, name: &str) {
    for policy in tx.list_below::<ScalingPolicy>(&ScalingPolicy::key_of(name, "")) {
        policies::remove(tx, &policy);
    }
    for activity in tx.list_below::<Activity>(&Activity::keys_of(name)) {
        tx.delete::<Activity>(&activity.key());
    }
    tx.delete::<AutoScalingGroup>(name);
}
