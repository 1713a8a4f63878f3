//! Members on their way out, and the activities that tell of it. Actions and the reconciler share these steps; each is
//! part of a transaction of theirs.

use crate::{
    model::{
        auto_scaling::{Activity, AutoScalingGroup, Lifecycle},
        id,
        load_balancer::LoadBalancer,
        site::Site,
        time::Timestamp,
    },
    store::Transaction,
};

/// How many activities of a group are remembered.
const REMEMBERED_ACTIVITIES: usize = 100;

/// A point in time as sentences in activities have it: to the second.
#[must_use]
pub fn spoken(time: Timestamp) -> String {
    let text = time.to_string();
    match text.split_once('.') {
        Some((seconds, _)) => format!("{seconds}Z"),
        None => text,
    }
}

/// A new activity of the group in a zone, not yet kept.
#[must_use]
pub fn activity(
    group: &AutoScalingGroup,
    (site, zone): (&Site, &str),
    description: String,
    cause: String,
    now: Timestamp,
) -> Activity {
    let subnet = site.subnet_in(zone);
    Activity {
        id: id::uuid(),
        group_name: group.name.clone(),
        description,
        cause,
        start: now,
        end: None,
        status: "InProgress".to_owned(),
        status_message: None,
        progress: 0,
        details: format!("{{\"Subnet ID\":\"{subnet}\",\"Availability Zone\":\"{zone}\"}}"),
        starts_cooldown: false,
    }
}

/// Keeps an activity, and forgets the oldest ones of its group.
pub fn record(tx: &mut Transaction<'_>, activity: Activity) {
    use crate::store::Record as _;
    let group_name = activity.group_name.clone();
    tx.put(activity);
    let of_group = tx.list_below::<Activity>(&Activity::keys_of(&group_name));
    let surplus = of_group.len().saturating_sub(REMEMBERED_ACTIVITIES);
    for old in of_group.iter().filter(|known| known.end.is_some()).take(surplus) {
        tx.delete::<Activity>(&old.key());
    }
}

/// Changes an activity that is still under way.
pub fn change_activity(
    tx: &mut Transaction<'_>,
    group_name: &str,
    activity_id: Option<&str>,
    change: impl FnOnce(&mut Activity),
) -> Option<Activity> {
    let activity_id = activity_id?;
    let activities = tx.list_below::<Activity>(&Activity::keys_of(group_name));
    // What is changed is mostly new.
    let found = activities.iter().rev().find(|known| known.id == activity_id)?;
    let mut activity = Activity::clone(found);
    if activity.end.is_some() {
        return None;
    }
    change(&mut activity);
    tx.put(activity.clone());
    Some(activity)
}

/// Ends a member's activity well. Cooldown counts from here if a policy caused it.
pub fn complete_activity(
    tx: &mut Transaction<'_>,
    group: &mut AutoScalingGroup,
    activity_id: Option<&str>,
    now: Timestamp,
) {
    let completed = change_activity(tx, &group.name, activity_id, |activity| {
        "Successful".clone_into(&mut activity.status);
        activity.progress = 100;
        activity.end = Some(now);
    });
    if completed.is_some_and(|activity| activity.starts_cooldown) {
        group.last_scaled = Some(now);
    }
}

/// Ends a member's activity because of something that came between.
pub fn end_activity(
    tx: &mut Transaction<'_>,
    group_name: &str,
    activity_id: Option<&str>,
    status: &str,
    message: &str,
    now: Timestamp,
) {
    change_activity(tx, group_name, activity_id, |activity| {
        status.clone_into(&mut activity.status);
        activity.status_message = Some(message.to_owned());
        activity.progress = 100;
        activity.end = Some(now);
    });
}

/// Takes an instance out of its group's balancers. Tells whether one of them still drains it.
pub fn deregister(tx: &mut Transaction<'_>, group: &AutoScalingGroup, instance_id: &str, now: Timestamp) -> bool {
    let mut draining = false;
    for name in &group.load_balancer_names {
        tx.update::<LoadBalancer>(name, |balancer| {
            balancer.deregister(instance_id, now);
            draining |= balancer.backends.contains_key(instance_id);
        });
    }
    draining
}

/// The first step of a member's end: it leaves the group's balancers and counts no more. What its balancers do not let go
/// at once is drained; then the reconciler terminates the instance. Returns the activity that tells of it.
pub fn begin_termination(
    tx: &mut Transaction<'_>,
    site: &Site,
    group: &mut AutoScalingGroup,
    instance_id: &str,
    cause: String,
    now: Timestamp,
) -> Activity {
    let draining = deregister(tx, group, instance_id, now);
    let place = (site, group.zone_of(instance_id));
    let mut activity = activity(group, place, format!("Terminating EC2 instance: {instance_id}"), cause, now);
    if draining {
        "WaitingForELBConnectionDraining".clone_into(&mut activity.status);
    }
    let group_name = group.name.clone();
    if let Some(member) = group.member_mut(instance_id) {
        // What it was about to become it does not become any more.
        let former = member.activity_id.replace(activity.id.clone());
        let message = if member.lifecycle.is_pending() {
            "The instance was terminated before it came into service."
        } else {
            "The instance was terminated."
        };
        end_activity(tx, &group_name, former.as_deref(), "Cancelled", message, now);
        member.lifecycle = Lifecycle::Terminating;
        member.holds_cooldown = false;
        member.lifecycle_actions.clear();
    }
    record(tx, activity.clone());
    activity
}
