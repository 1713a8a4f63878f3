//! When the next of a group's times comes: until then nothing is to be done for it unless a record changes. Pure.

use super::View;
use crate::model::{auto_scaling::Member, time::Timestamp};

/// The first time to come at which [`super::decide`] may decide otherwise than now.
#[must_use]
pub fn next_due(view: &View<'_>) -> Option<Timestamp> {
    let group = view.group;
    let mut times: Vec<Timestamp> = group.schedule.iter().map(|action| action.next).collect();
    times.extend(group.launch_trouble.as_ref().map(|(_, next)| *next));
    for member in &group.members {
        let open = member.lifecycle_actions.iter().filter(|action| action.result.is_none());
        times.extend(open.map(|action| action.deadline));
        times.extend(group.max_lifetime_secs.filter(|seconds| *seconds > 0).and_then(|life| member.warm_at(life)));
        times.extend(verdicts(view, member));
    }
    if let Some(refresh) = group.active_refresh() {
        times.extend(refresh.resting_until);
        times.push(refresh.gives_up());
        times.extend(group.members.iter().filter_map(|member| member.warm_at(refresh.preferences.warmup_secs)));
    }
    times.into_iter().filter(|time| *time > view.now).min()
}

/// When balancers' verdicts on a member begin to count.
fn verdicts(view: &View<'_>, member: &Member) -> impl Iterator<Item = Timestamp> {
    let grace_over = member.warm_at(view.group.health_check_grace_secs);
    let first_verdicts = view.balancers.iter().filter_map(|balancer| {
        let check = &balancer.health_check;
        let backend = balancer.backends.get(&member.instance_id)?;
        Some(backend.registered.plus_secs((check.unhealthy_threshold.saturating_mul(check.interval_secs)).into()))
    });
    grace_over.into_iter().chain(first_verdicts)
}
