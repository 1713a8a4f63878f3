//! Members go into standby and come back: they stay members, serve nobody and are not watched
//! (<https://docs.aws.amazon.com/autoscaling/ec2/userguide/as-enter-exit-standby.html>).

use serde::{Deserialize, Serialize};

use super::{
    activities::ActivityDescription,
    attachment::{check_sizes_after, find_member},
    find_changeable,
    membership::{self, spoken},
};
use crate::{
    api::{
        error::ApiError,
        operation::{Caller, Operation},
    },
    model::{auto_scaling::Lifecycle, time::Timestamp},
    store::Transaction,
};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct EnterStandby {
    #[serde(default)]
    instance_ids: Vec<String>,
    auto_scaling_group_name: String,
    should_decrement_desired_capacity: bool,
}

/// What each of the members does.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ActivitiesOutput {
    pub activities: Vec<ActivityDescription>,
}

impl Operation for EnterStandby {
    const ACTION: &'static str = "EnterStandby";
    type Output = ActivitiesOutput;

    fn run(self, tx: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        let mut group = find_changeable(tx, &self.auto_scaling_group_name)?;
        let now = Timestamp::now();
        for id in &self.instance_ids {
            if find_member(&group, id)?.lifecycle != Lifecycle::InService {
                return Err(ApiError::validation(format!("The instance {id} is not in InService.")));
            }
        }
        let decrement = self.should_decrement_desired_capacity;
        if decrement {
            check_sizes_after(&group, -1, &self.instance_ids, "place into standby")?;
        }
        let mut activities = Vec::new();
        for id in &self.instance_ids {
            let mut cause =
                format!("At {} instance {id} was moved to standby in response to a user request", spoken(now));
            if decrement {
                let desired = group.desired_capacity.saturating_sub(1);
                cause.push_str(&format!(", shrinking the capacity from {} to {desired}", group.desired_capacity));
                group.desired_capacity = desired;
            }
            cause.push('.');
            membership::deregister(tx, &group, id, now);
            let mut activity = membership::activity(
                &group,
                (caller.site, group.zone_of(id)),
                format!("Moving EC2 instance to Standby: {id}"),
                cause,
                now,
            );
            activity.progress = 50;
            if let Some(member) = group.member_mut(id) {
                member.lifecycle = Lifecycle::EnteringStandby;
                member.activity_id = Some(activity.id.clone());
            }
            membership::record(tx, activity.clone());
            activities.push(ActivityDescription::of(&activity, Some(group.arn.clone())));
        }
        tx.put(group);
        Ok(ActivitiesOutput { activities })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ExitStandby {
    #[serde(default)]
    instance_ids: Vec<String>,
    auto_scaling_group_name: String,
}

impl Operation for ExitStandby {
    const ACTION: &'static str = "ExitStandby";
    type Output = ActivitiesOutput;

    /// The desired capacity grows by those that come back, whether or not it shrank when they went.
    fn run(self, tx: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        let mut group = find_changeable(tx, &self.auto_scaling_group_name)?;
        let now = Timestamp::now();
        for id in &self.instance_ids {
            if find_member(&group, id)?.lifecycle != Lifecycle::Standby {
                return Err(ApiError::validation(format!("The instance {id} is not in Standby.")));
            }
        }
        check_sizes_after(&group, 1, &self.instance_ids, "move out of standby")?;
        let mut activities = Vec::new();
        for id in &self.instance_ids {
            let desired = group.desired_capacity + 1;
            let cause = format!(
                "At {} instance {id} was moved out of standby in response to a user request, increasing the capacity from {} to {desired}.",
                spoken(now),
                group.desired_capacity
            );
            group.desired_capacity = desired;
            let description = format!("Moving EC2 instance out of Standby: {id}");
            let mut activity = membership::activity(&group, (caller.site, group.zone_of(id)), description, cause, now);
            "PreInService".clone_into(&mut activity.status);
            activity.progress = 30;
            if let Some(member) = group.member_mut(id) {
                member.lifecycle = Lifecycle::Pending;
                member.activity_id = Some(activity.id.clone());
            }
            membership::record(tx, activity.clone());
            activities.push(ActivityDescription::of(&activity, Some(group.arn.clone())));
        }
        tx.put(group);
        Ok(ActivitiesOutput { activities })
    }
}
