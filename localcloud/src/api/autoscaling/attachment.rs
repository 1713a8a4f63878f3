//! Instances become members though their group did not launch them, and leave it without their end
//! (<https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-detach-attach-instances.html>).

use serde::Deserialize;

use super::{
    find_changeable,
    membership::{self, spoken},
    standby::ActivitiesOutput,
};
use crate::{
    api::{
        autoscaling::activities::ActivityDescription,
        error::ApiError,
        operation::{Caller, Done, Operation},
    },
    model::{
        auto_scaling::{AutoScalingGroup, GROUP_TAG, LaunchSource, Lifecycle, Member},
        instance::{Instance, InstanceState},
        time::Timestamp,
    },
    store::Transaction,
};

/// # Errors
/// When the group has no such member.
pub fn find_member<'group>(group: &'group AutoScalingGroup, id: &str) -> Result<&'group Member, ApiError> {
    let found = group.members.iter().find(|member| member.instance_id == id);
    found.ok_or_else(|| {
        ApiError::validation(format!("The instance {id} is not part of Auto Scaling group {}.", group.name))
    })
}

/// Checks the desired capacity after so many instances have come (`1`) or gone (`-1`).
///
/// # Errors
/// When it would leave the group's bounds, or an instance is named twice.
pub fn check_sizes_after(
    group: &AutoScalingGroup,
    direction: i64,
    instance_ids: &[String],
    what: &str,
) -> Result<(), ApiError> {
    let count = instance_ids.len();
    if instance_ids.iter().enumerate().any(|(place, id)| instance_ids[..place].contains(id)) {
        return Err(ApiError::validation("Duplicate instance ids are not allowed"));
    }
    let desired = i64::from(group.desired_capacity) + direction * i64::try_from(count).unwrap_or(i64::MAX);
    if (i64::from(group.min_size)..=i64::from(group.max_size)).contains(&desired) {
        return Ok(());
    }
    let (more, plural) = (if direction > 0 { " more" } else { "" }, if count == 1 { "" } else { "s" });
    Err(ApiError::validation(format!(
        "AutoScalingGroup {} has min-size={}, max-size={}, and desired-size={}. To {what} {count}{more} instance{plural}, please update the AutoScalingGroup sizes appropriately.",
        group.name, group.min_size, group.max_size, group.desired_capacity
    )))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct AttachInstances {
    #[serde(default)]
    instance_ids: Vec<String>,
    auto_scaling_group_name: String,
}

impl Operation for AttachInstances {
    const ACTION: &'static str = "AttachInstances";
    type Output = Done;

    fn run(self, tx: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<Done, ApiError> {
        let mut group = find_changeable(tx, &self.auto_scaling_group_name)?;
        check_sizes_after(&group, 1, &self.instance_ids, "attach")?;
        let now = Timestamp::now();
        for id in &self.instance_ids {
            let zone = check_attachable(tx, &group, id)?;
            let desired = group.desired_capacity + 1;
            let cause = format!(
                "At {} an instance was attached in response to a user request, increasing the capacity from {} to {desired}.",
                spoken(now),
                group.desired_capacity
            );
            group.desired_capacity = desired;
            let description = format!("Attaching an existing EC2 instance: {id}");
            let mut activity = membership::activity(&group, (caller.site, &zone), description, cause, now);
            "PreInService".clone_into(&mut activity.status);
            activity.progress = 30;
            group.members.push(Member::joining(id.clone(), zone, LaunchSource::Elsewhere, &activity.id, now));
            membership::record(tx, activity);
            tx.update::<Instance>(id, |instance| {
                instance.tags.insert(GROUP_TAG.to_owned(), group.name.clone());
            });
        }
        tx.put(group);
        Ok(Done {})
    }
}

/// An instance must run, in a zone of the group's, and be no group's member. Returns its zone.
fn check_attachable(tx: &mut Transaction<'_>, group: &AutoScalingGroup, id: &str) -> Result<String, ApiError> {
    let Some(instance) = tx.get::<Instance>(id) else {
        return Err(ApiError::validation(format!("Invalid Instance ID(s): [{id}]. The instance does not exist.")));
    };
    if instance.state != InstanceState::Running {
        return Err(ApiError::validation(format!(
            "Instance {id} is not in correct state. It must be in the state: running"
        )));
    }
    if !group.zones.contains(&instance.zone) {
        return Err(ApiError::validation(format!(
            "Instance {id} is not in an availability zone of the group: it is in {}, the group in {}",
            instance.zone,
            group.zones.join(", ")
        )));
    }
    let groups = tx.list::<AutoScalingGroup>();
    let holder = groups.iter().find(|group| group.members.iter().any(|member| member.instance_id == id));
    match holder {
        Some(holder) => {
            Err(ApiError::validation(format!("Instance {id} is already part of AutoScalingGroup:{}", holder.name)))
        }
        None => Ok(instance.zone.clone()),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DetachInstances {
    #[serde(default)]
    instance_ids: Vec<String>,
    auto_scaling_group_name: String,
    should_decrement_desired_capacity: bool,
}

impl Operation for DetachInstances {
    const ACTION: &'static str = "DetachInstances";
    type Output = ActivitiesOutput;

    fn run(self, tx: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        let mut group = find_changeable(tx, &self.auto_scaling_group_name)?;
        let now = Timestamp::now();
        let mut serving = Vec::new();
        for id in &self.instance_ids {
            match find_member(&group, id)?.lifecycle {
                Lifecycle::InService => serving.push(id.clone()),
                Lifecycle::EnteringStandby | Lifecycle::Standby => {}
                _ => {
                    return Err(ApiError::validation(format!(
                        "The instance {id} is not in InService or EnteringStandby or Standby."
                    )));
                }
            }
        }
        let decrement = self.should_decrement_desired_capacity;
        if decrement {
            check_sizes_after(&group, -1, &serving, "detach")?;
        }
        let mut activities = Vec::new();
        for id in &self.instance_ids {
            let mut cause = format!("At {} instance {id} was detached in response to a user request", spoken(now));
            // One in standby is not part of the capacity.
            if decrement && serving.contains(id) {
                let desired = group.desired_capacity.saturating_sub(1);
                cause.push_str(&format!(", shrinking the capacity from {} to {desired}", group.desired_capacity));
                group.desired_capacity = desired;
            }
            cause.push('.');
            membership::deregister(tx, &group, id, now);
            let mut activity = membership::activity(
                &group,
                (caller.site, group.zone_of(id)),
                format!("Detaching EC2 instance: {id}"),
                cause,
                now,
            );
            activity.progress = 50;
            let group_name = group.name.clone();
            if let Some(member) = group.member_mut(id) {
                member.lifecycle = Lifecycle::Detaching;
                let moving = member.activity_id.replace(activity.id.clone());
                let why = "The instance was detached.";
                membership::end_activity(tx, &group_name, moving.as_deref(), "Cancelled", why, now);
            }
            membership::record(tx, activity.clone());
            activities.push(ActivityDescription::of(&activity, Some(group.arn.clone())));
        }
        tx.put(group);
        Ok(ActivitiesOutput { activities })
    }
}
