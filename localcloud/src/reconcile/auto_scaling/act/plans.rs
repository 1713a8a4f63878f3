//! What was planned for a group: scheduled actions and instance refreshes.

use super::Pass;
use crate::{
    api::autoscaling::{
        create_group::check_sizes,
        membership::{self, spoken},
    },
    model::auto_scaling::{
        AutoScalingGroup, CapacityChange,
        refresh::{InstanceRefresh, RefreshStatus},
        schedule::ScheduledAction,
    },
    store::Transaction,
};

impl Pass<'_> {
    /// Carries a scheduled action out, and sets its next time in the same step: it is carried out once.
    pub(super) fn run_schedule(
        &self,
        tx: &mut Transaction<'_>,
        group: &mut AutoScalingGroup,
        name: &str,
        missed: bool,
    ) {
        let Some(place) = group.schedule.iter().position(|action| action.name == name) else { return };
        let action = group.schedule.remove(place);
        if let Some(following) = action.following(self.now) {
            group.schedule.insert(place, following);
        }
        if missed {
            tracing::info!(group = group.name, action = name, "a scheduled action was missed");
            return;
        }
        if let Err(refusal) = resize(group, &action, &spoken(self.now)) {
            let description = format!("Executing scheduled action {name}.  Status Reason: {refusal}");
            let cause = format!("At {} the scheduled action {name} executed.", spoken(self.now));
            let mut activity =
                membership::activity(group, (self.site, group.first_zone()), description, cause, self.now);
            "Failed".clone_into(&mut activity.status);
            activity.status_message = Some(refusal);
            activity.progress = 100;
            activity.end = Some(self.now);
            membership::record(tx, activity);
        }
    }

    /// A refresh that has succeeded makes the group launch from what it brought.
    pub(super) fn refresh(&self, group: &mut AutoScalingGroup, refresh: InstanceRefresh) {
        if refresh.status == RefreshStatus::Successful
            && let Some(desired) = &refresh.desired
        {
            group.launch_source = desired.clone();
        }
        if let Some(known) = group.refreshes.iter_mut().find(|known| known.id == refresh.id) {
            *known = refresh;
        }
    }
}

/// Sizes that are not given stay; a desired capacity that is not given moves within new bounds.
fn resize(group: &mut AutoScalingGroup, action: &ScheduledAction, now: &str) -> Result<(), String> {
    let min_size = action.min_size.unwrap_or(group.min_size);
    let max_size = action.max_size.unwrap_or(group.max_size);
    let current = group.desired_capacity;
    let desired = action.desired_capacity.unwrap_or_else(|| current.max(min_size).min(max_size));
    check_sizes(min_size, max_size, desired).map_err(|error| error.message)?;
    if desired != current {
        let cause = format!(
            "At {now} the scheduled action {} executed.  At {now} a scheduled action update of AutoScalingGroup constraints to min: {min_size}, max: {max_size}, desired: {desired} changing the desired capacity from {current} to {desired}.",
            action.name
        );
        group.capacity_change = Some(CapacityChange { cause, starts_cooldown: false });
        group.launch_trouble = None;
    }
    (group.min_size, group.max_size, group.desired_capacity) = (min_size, max_size, desired);
    Ok(())
}
