//! Which members an instance refresh replaces next: as many as its percentages allow. Pure.

use super::View;
use crate::model::auto_scaling::{
    Lifecycle, Member,
    refresh::{InstanceRefresh, RefreshStatus},
};

/// What a refresh comes to in one pass.
#[derive(Default)]
pub(super) struct Refreshed {
    pub(super) retiring: Vec<String>,
    /// How many members there may be above the desired capacity.
    pub(super) surplus: usize,
    /// The refresh, if it has changed.
    pub(super) changed: Option<InstanceRefresh>,
}

impl View<'_> {
    /// `staying` are the group's members in or on their way into service.
    pub(super) fn refresh(&self, staying: &[&Member]) -> Refreshed {
        let held = ["InstanceRefresh", "Terminate"].iter().any(|process| self.group.is_suspended(process));
        let Some(refresh) = self.group.active_refresh().filter(|_| !held) else { return Refreshed::default() };
        let mut next = refresh.clone();
        let retiring = self.advance(&mut next, staying);
        for id in &retiring {
            next.targets.remove(id);
        }
        let surplus = if next.status.is_active() { self.surplus(&next) } else { 0 };
        Refreshed { retiring, surplus, changed: (next != *refresh).then_some(next) }
    }

    fn advance(&self, refresh: &mut InstanceRefresh, staying: &[&Member]) -> Vec<String> {
        match refresh.status {
            RefreshStatus::Cancelling => {
                refresh.finish(RefreshStatus::Cancelled, "Cancelled due to user request.", self.now);
                return Vec::new();
            }
            RefreshStatus::Pending => {
                refresh.status = RefreshStatus::InProgress;
                refresh.progressed = self.now;
            }
            _ => {}
        }
        refresh.targets.retain(|id| {
            let member = self.group.members.iter().find(|member| member.instance_id == *id);
            member.is_some_and(|member| !member.lifecycle.is_terminating() && member.lifecycle != Lifecycle::Detaching)
        });
        let ready = staying.iter().filter(|member| self.is_ready(refresh, member)).count();
        let desired = self.group.desired_capacity as usize;
        self.count(refresh, desired.saturating_sub(ready));
        if self.rests(refresh) {
            return Vec::new();
        }
        let is_done = refresh.percentage >= refresh.last_percentage() && staying.len() >= desired;
        if is_done {
            refresh.succeed(self.now);
            return Vec::new();
        }
        if refresh.gives_up() <= self.now {
            refresh.fail(
                "Instance refresh failed: the replacement of instances made no progress for an hour. There are instances that do not come into service, are protected from scale in, or are in standby.",
                self.group,
                self.now,
            );
            return Vec::new();
        }
        self.retiring(refresh, staying, ready)
    }

    fn is_ready(&self, refresh: &InstanceRefresh, member: &Member) -> bool {
        member.healthy && member.is_warm(refresh.preferences.warmup_secs, self.now)
    }

    /// Counts what is left, of which those are part whose replacements are not ready.
    fn count(&self, refresh: &mut InstanceRefresh, not_ready: usize) {
        let left = u32::try_from(refresh.targets.len() + not_ready).unwrap_or(u32::MAX).min(refresh.total);
        if left < refresh.to_update {
            refresh.progressed = self.now;
        }
        refresh.to_update = left;
        refresh.percentage = ((refresh.total - left) * 100).checked_div(refresh.total).unwrap_or(100);
    }

    /// Whether it rests at a checkpoint.
    fn rests(&self, refresh: &mut InstanceRefresh) -> bool {
        let checkpoints = &refresh.preferences.checkpoint_percentages;
        if let Some(until) = refresh.resting_until {
            if self.now < until {
                return true;
            }
            refresh.resting_until = None;
            refresh.status_reason = None;
            refresh.checkpoints_passed += 1;
            refresh.progressed = self.now;
            return false;
        }
        let is_last = refresh.checkpoints_passed + 1 >= checkpoints.len();
        let Some(checkpoint) = checkpoints.get(refresh.checkpoints_passed).filter(|_| !is_last) else { return false };
        if refresh.percentage < *checkpoint {
            return false;
        }
        let delay = refresh.preferences.checkpoint_delay_secs;
        refresh.status_reason = Some(format!("Waiting for checkpoint delay of {delay} seconds at {checkpoint}%."));
        refresh.resting_until = Some(self.now.plus_secs(delay.into()));
        true
    }

    fn retiring(&self, refresh: &InstanceRefresh, staying: &[&Member], ready: usize) -> Vec<String> {
        let preferences = &refresh.preferences;
        let desired = self.group.desired_capacity as usize;
        let mut free = ready.saturating_sub(self.least(refresh));
        // Where the percentages leave no room, one at a time goes: a refresh comes to an end.
        if free == 0 && !self.launches_first(refresh) && ready >= desired {
            free = 1;
        }
        let mut candidates: Vec<&Member> = staying.to_vec();
        if preferences.standby_instances == "Terminate" {
            let standing_by = self.group.members.iter().filter(|member| member.lifecycle == Lifecycle::Standby);
            candidates.extend(standing_by);
        }
        candidates.retain(|member| {
            refresh.targets.contains(&member.instance_id)
                && (!member.protected_from_scale_in || preferences.protected_instances == "Refresh")
        });
        candidates.sort_by_key(|member| (self.is_ready(refresh, member), member.joined));
        let mut retiring = Vec::new();
        for member in candidates.into_iter().take(room(refresh)) {
            // One that does no work can go freely.
            if self.is_ready(refresh, member) {
                if free == 0 {
                    break;
                }
                free -= 1;
            }
            retiring.push(member.instance_id.clone());
        }
        retiring
    }

    /// How many members must be ready.
    fn least(&self, refresh: &InstanceRefresh) -> usize {
        (self.group.desired_capacity as usize * refresh.preferences.min_healthy_percentage as usize).div_ceil(100)
    }

    /// Whether it launches before it terminates: it may grow the group, or a most of 100 that was asked for leaves no
    /// other way (<https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_RefreshPreferences.html>).
    fn launches_first(&self, refresh: &InstanceRefresh) -> bool {
        let no_other_way = self.least(refresh) >= self.group.desired_capacity as usize;
        refresh.preferences.max_healthy_percentage.is_some_and(|most| most > 100 || no_other_way)
    }

    fn surplus(&self, refresh: &InstanceRefresh) -> usize {
        if !self.launches_first(refresh) {
            return 0;
        }
        let desired = self.group.desired_capacity as usize;
        let most = desired * refresh.preferences.max_healthy_percentage.unwrap_or(100) as usize / 100;
        refresh.targets.len().min(room(refresh)).min(most.saturating_sub(desired).max(1))
    }
}

/// How many it may still begin to replace before its next checkpoint.
fn room(refresh: &InstanceRefresh) -> usize {
    let total = refresh.total as usize;
    let until_checkpoint = (total * refresh.next_percentage() as usize).div_ceil(100);
    until_checkpoint.saturating_sub(total.saturating_sub(refresh.targets.len()))
}
