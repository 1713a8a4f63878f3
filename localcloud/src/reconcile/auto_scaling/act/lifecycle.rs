//! Members on their way: held by hooks, to standby, out of the group.

use super::Pass;
use crate::{
    api::autoscaling::membership::{self, spoken},
    model::{
        auto_scaling::{AutoScalingGroup, GROUP_TAG, Lifecycle, hook::Transition},
        id,
        instance::Instance,
    },
    reconcile::auto_scaling::decide::{Retirement, Verdict},
    store::Transaction,
};

impl Pass<'_> {
    pub(super) fn wait(
        &self,
        tx: &mut Transaction<'_>,
        group: &mut AutoScalingGroup,
        id: &str,
        transition: Transition,
    ) {
        let hooks = group.hooks.iter().filter(|hook| hook.transition == transition);
        let actions = hooks.map(|hook| hook.begin(id::uuid(), self.now)).collect();
        let Some(member) = group.member_mut(id) else { return };
        member.lifecycle_actions = actions;
        let (lifecycle, progress) = match transition {
            Transition::Launching => (Lifecycle::PendingWait, 40),
            Transition::Terminating => (Lifecycle::TerminatingWait, 60),
        };
        member.lifecycle = lifecycle;
        let activity_id = member.activity_id.clone();
        membership::change_activity(tx, &group.name, activity_id.as_deref(), |activity| {
            "MidLifecycleAction".clone_into(&mut activity.status);
            activity.progress = progress;
        });
    }

    pub(super) fn proceed(&self, group: &mut AutoScalingGroup, id: &str) {
        let Some(member) = group.member_mut(id) else { return };
        member.lifecycle_actions.clear();
        member.lifecycle = match member.lifecycle {
            Lifecycle::PendingWait => Lifecycle::PendingProceed,
            Lifecycle::TerminatingWait => Lifecycle::TerminatingProceed,
            other => other,
        };
    }

    pub(super) fn abandon(
        &mut self,
        tx: &mut Transaction<'_>,
        group: &mut AutoScalingGroup,
        id: &str,
        verdict: &Verdict,
    ) {
        let Verdict::Abandon { token, how } = verdict else { return };
        let message = format!(
            "Instance failed to complete user's Lifecycle Action: Lifecycle Action with token {token} was abandoned: {how}"
        );
        let launching = group.member_mut(id).and_then(|member| member.activity_id.take());
        membership::end_activity(tx, &group.name, launching.as_deref(), "Cancelled", &message, self.now);
        // The next one may fare the same: one after the other, not faster and faster.
        self.hold_back(group, message);
        let cause = format!(
            "At {} an instance was taken out of service in response to a lifecycle action that was abandoned.",
            spoken(self.now)
        );
        membership::begin_termination(tx, self.site, group, id, cause, self.now);
    }

    pub(super) fn stand_by(&self, tx: &mut Transaction<'_>, group: &mut AutoScalingGroup, id: &str) {
        let Some(member) = group.member_mut(id) else { return };
        member.lifecycle = Lifecycle::Standby;
        member.in_service_since = None;
        let activity_id = member.activity_id.take();
        membership::complete_activity(tx, group, activity_id.as_deref(), self.now);
    }

    pub(super) fn detach(&self, tx: &mut Transaction<'_>, group: &mut AutoScalingGroup, id: &str) {
        self.forget(tx, group, id);
        tx.update::<Instance>(id, |instance| {
            instance.tags.remove(GROUP_TAG);
        });
    }

    pub(super) fn retire(&self, tx: &mut Transaction<'_>, group: &mut AutoScalingGroup, id: &str, why: Retirement) {
        let words = match why {
            Retirement::Refreshed => "an instance refresh",
            Retirement::TooOld => "its having reached the maximum instance lifetime",
        };
        let cause = format!("At {} an instance was taken out of service in response to {words}.", spoken(self.now));
        membership::begin_termination(tx, self.site, group, id, cause, self.now);
    }
}
