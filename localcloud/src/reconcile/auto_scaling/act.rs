//! Carries a group's steps out: members, activities, instances and registrations, all in the pass's one transaction.

/// Members on their way: held by hooks, to standby, out of the group.
mod lifecycle;
/// Scheduled actions and instance refreshes.
mod plans;

use std::collections::BTreeMap;

use super::decide::{Illness, Need, Step};
use crate::{
    api::{
        autoscaling::{
            delete_group, launch_source,
            membership::{self, spoken},
        },
        ec2::launch::launch,
        error::ApiError,
    },
    model::{
        auto_scaling::{AutoScalingGroup, GROUP_TAG, Lifecycle, Member},
        instance::{Instance, InstanceState},
        load_balancer::LoadBalancer,
        site::Site,
        tag::Tags,
        time::Timestamp,
    },
    store::{StoreError, Transaction},
};

/// Pause after a failed launch, doubled with each further one.
const FIRST_PAUSE_SECS: i64 = 1;
const LONGEST_PAUSE_SECS: i64 = 60;

/// Why a pass over a group came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum PassError {
    #[error("launching: {0}")]
    Launch(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

pub struct Pass<'a> {
    pub site: &'a Site,
    pub now: Timestamp,
    /// Launches of this group that failed in a row.
    pub failures: &'a mut u32,
    /// Why the launch of this pass failed already.
    pub refusal: Option<&'a str>,
}

impl Pass<'_> {
    /// # Errors
    /// When a launch is refused: then the transaction must be dropped.
    pub fn run(
        mut self,
        tx: &mut Transaction<'_>,
        mut group: AutoScalingGroup,
        steps: Vec<Step>,
    ) -> Result<(), PassError> {
        for step in steps {
            match step {
                Step::RunSchedule { action, missed } => self.run_schedule(tx, &mut group, &action, missed),
                Step::Refresh(refresh) => self.refresh(&mut group, *refresh),
                Step::Wait(id, transition) => self.wait(tx, &mut group, &id, transition),
                Step::Proceed(id) => self.proceed(&mut group, &id),
                Step::Abandon(id, verdict) => self.abandon(tx, &mut group, &id, &verdict),
                Step::StandBy(id) => self.stand_by(tx, &mut group, &id),
                Step::Detach(id) => self.detach(tx, &mut group, &id),
                Step::Retire(id, why) => self.retire(tx, &mut group, &id, why),
                Step::EnterService(id) => self.enter_service(tx, &mut group, &id),
                Step::MarkUnhealthy(id) => {
                    if let Some(member) = group.member_mut(&id) {
                        member.healthy = false;
                    }
                }
                Step::Replace(id, illness) => self.replace(tx, &mut group, &id, illness),
                Step::Release { instance_id, from, to } => self.release(tx, &mut group, &instance_id, from, to),
                Step::Withdraw(id) => {
                    let cause = format!("At {} the group was deleted.", spoken(self.now));
                    membership::begin_termination(tx, self.site, &mut group, &id, cause, self.now);
                }
                Step::Terminate(id) => self.terminate(tx, &group, &id),
                Step::Forget(id) => self.forget(tx, &mut group, &id),
                Step::Launch { zones, from, need } => {
                    let cause = self.launch_cause(&group, from, zones.len(), &need);
                    match self.refusal {
                        Some(refusal) => self.note_failed_launch(tx, &mut group, &zones, cause, refusal),
                        None => self.launch(tx, &mut group, &zones, &cause)?,
                    }
                }
                Step::ForgetCause => group.capacity_change = None,
                Step::Remove => {
                    delete_group::remove(tx, &group.name);
                    return Ok(());
                }
            }
        }
        tx.put(group);
        Ok(())
    }

    fn enter_service(&mut self, tx: &mut Transaction<'_>, group: &mut AutoScalingGroup, id: &str) {
        if !group.is_suspended("AddToLoadBalancer") {
            for name in &group.load_balancer_names {
                tx.update::<LoadBalancer>(name, |balancer| balancer.register(id, self.now));
            }
        }
        let mut activity_id = None;
        if let Some(member) = group.member_mut(id) {
            member.lifecycle = Lifecycle::InService;
            member.in_service_since = Some(self.now);
            member.holds_cooldown = false;
            member.lifecycle_actions.clear();
            activity_id = member.activity_id.take();
        }
        membership::complete_activity(tx, group, activity_id.as_deref(), self.now);
        *self.failures = 0;
        group.launch_trouble = None;
    }

    fn replace(&mut self, tx: &mut Transaction<'_>, group: &mut AutoScalingGroup, id: &str, illness: Illness) {
        let words = match illness {
            Illness::Gone => "an EC2 health check indicating it has been terminated or stopped",
            Illness::FailsAtBalancer => "an ELB system health check failure",
            Illness::UserSaysSo => "a user health-check",
        };
        let mut stillborn = None;
        if let Some(member) = group.member_mut(id) {
            member.healthy = false;
            if member.lifecycle.is_pending() && illness == Illness::Gone {
                stillborn = member.activity_id.take();
            }
        }
        if let Some(activity_id) = stillborn {
            // Launching the next one at once could fail as quickly, for ever.
            let reason = tx.get::<Instance>(id).and_then(|instance| instance.state_reason.clone());
            let message = reason.map_or_else(|| "The instance did not come up.".to_owned(), |(_, message)| message);
            membership::end_activity(tx, &group.name, Some(&activity_id), "Failed", &message, self.now);
            self.hold_back(group, message);
        }
        let cause = format!("At {} an instance was taken out of service in response to {words}.", spoken(self.now));
        membership::begin_termination(tx, self.site, group, id, cause, self.now);
    }

    fn release(&self, tx: &mut Transaction<'_>, group: &mut AutoScalingGroup, id: &str, from: usize, to: u32) {
        let now = spoken(self.now);
        let change = group.capacity_change.clone();
        let mut cause = change.as_ref().map(|change| format!("{}  ", change.cause)).unwrap_or_default();
        cause.push_str(&format!(
            "At {now} an instance was taken out of service in response to a difference between desired and actual capacity, shrinking the capacity from {from} to {to}.  At {now} instance {id} was selected for termination."
        ));
        let activity = membership::begin_termination(tx, self.site, group, id, cause, self.now);
        if change.is_some_and(|change| change.starts_cooldown) {
            membership::change_activity(tx, &group.name, Some(&activity.id), |activity| {
                activity.starts_cooldown = true
            });
            if let Some(member) = group.member_mut(id) {
                member.holds_cooldown = true;
            }
        }
    }

    fn terminate(&self, tx: &mut Transaction<'_>, group: &AutoScalingGroup, id: &str) {
        tx.update::<Instance>(id, |instance| {
            instance.state = InstanceState::ShuttingDown;
            instance.state_changed = self.now;
            let code = "Client.UserInitiatedShutdown";
            instance.state_reason = Some((code.to_owned(), format!("{code}: User initiated shutdown")));
            instance.trouble = None;
        });
        let member = group.members.iter().find(|member| member.instance_id == id);
        let activity_id = member.and_then(|member| member.activity_id.as_deref());
        membership::change_activity(tx, &group.name, activity_id, |activity| {
            "InProgress".clone_into(&mut activity.status);
            activity.progress = 50;
        });
    }

    fn forget(&self, tx: &mut Transaction<'_>, group: &mut AutoScalingGroup, id: &str) {
        let activity_id = group.member_mut(id).and_then(|member| member.activity_id.clone());
        membership::complete_activity(tx, group, activity_id.as_deref(), self.now);
        group.members.retain(|member| member.instance_id != id);
    }

    fn launch(
        &self,
        tx: &mut Transaction<'_>,
        group: &mut AutoScalingGroup,
        zones: &[String],
        cause: &str,
    ) -> Result<(), PassError> {
        let refused = |error: ApiError| PassError::Launch(error.message);
        let (launched_from, mut data) = launch_source::resolve(tx, group.launches_from()).map_err(refused)?;
        let mut tags: Tags = group
            .tags
            .iter()
            .filter(|tag| tag.propagate_at_launch)
            .map(|tag| (tag.key.clone(), tag.value.clone()))
            .collect();
        tags.insert(GROUP_TAG.to_owned(), group.name.clone());
        let mut counts: BTreeMap<&String, u32> = BTreeMap::new();
        for zone in zones {
            *counts.entry(zone).or_default() += 1;
        }
        let mut instances = Vec::with_capacity(zones.len());
        for (zone, count) in counts {
            data.zone = Some(zone.clone());
            instances.extend(launch(tx, self.site, &data, count, &tags, None).map_err(refused)?);
        }
        let starts_cooldown = group.capacity_change.take().is_some_and(|change| change.starts_cooldown);
        for instance in instances {
            let description = format!("Launching a new EC2 instance: {}", instance.id);
            let mut activity =
                membership::activity(group, (self.site, &instance.zone), description, cause.to_owned(), self.now);
            "PreInService".clone_into(&mut activity.status);
            activity.progress = 30;
            activity.starts_cooldown = starts_cooldown;
            group.members.push(Member {
                protected_from_scale_in: group.new_instances_protected,
                holds_cooldown: starts_cooldown,
                ..Member::joining(instance.id, instance.zone, launched_from.clone(), &activity.id, self.now)
            });
            membership::record(tx, activity);
        }
        group.launch_trouble = None;
        Ok(())
    }

    fn launch_cause(&self, group: &AutoScalingGroup, from: usize, count: usize, need: &Need) -> String {
        let now = spoken(self.now);
        let difference = format!(
            "At {now} an instance was started in response to a difference between desired and actual capacity, increasing the capacity from {from} to {}.",
            from + count
        );
        match (&group.capacity_change, need) {
            (Some(change), _) => format!("{}  {difference}", change.cause),
            (None, Need::Balance(words)) => {
                format!(
                    "At {now} availability zones {words} respectively. An instance was launched to aid in balancing the group's zones."
                )
            }
            (None, Need::Replacement) => {
                format!(
                    "At {now} an instance was launched in response to an unhealthy instance needing to be replaced."
                )
            }
            (None, Need::Capacity) => difference,
        }
    }

    fn note_failed_launch(
        &mut self,
        tx: &mut Transaction<'_>,
        group: &mut AutoScalingGroup,
        zones: &[String],
        cause: String,
        refusal: &str,
    ) {
        let description =
            format!("Launching a new EC2 instance.  Status Reason: {refusal}  Launching EC2 instance failed.");
        let zone = zones.first().map_or("", String::as_str);
        let mut activity = membership::activity(group, (self.site, zone), description, cause, self.now);
        "Failed".clone_into(&mut activity.status);
        activity.status_message = Some(format!("{refusal}  Launching EC2 instance failed."));
        activity.progress = 100;
        activity.end = Some(self.now);
        membership::record(tx, activity);
        self.hold_back(group, refusal.to_owned());
    }

    fn hold_back(&mut self, group: &mut AutoScalingGroup, why: String) {
        let pause = (FIRST_PAUSE_SECS << (*self.failures).min(10)).min(LONGEST_PAUSE_SECS);
        *self.failures = self.failures.saturating_add(1);
        group.launch_trouble = Some((why, self.now.plus_secs(pause)));
    }
}
