//! What a group does next, from the group, its instances and its balancers. Pure: the same view yields the same steps.

/// When the next of a group's times comes.
pub mod due;
/// What lifecycle hooks let a member do.
mod hooks;
/// Which members an instance refresh replaces next.
mod refresh;
/// Over which zones a group spreads.
mod zones;

use std::{collections::BTreeMap, sync::Arc};

pub use self::hooks::Verdict;
use crate::model::{
    auto_scaling::{AutoScalingGroup, LaunchSource, Lifecycle, Member, hook::Transition, refresh::InstanceRefresh},
    instance::InstanceState,
    load_balancer::LoadBalancer,
    time::Timestamp,
};

/// All that a decision looks at.
pub struct View<'a> {
    pub group: &'a AutoScalingGroup,
    /// States of the members' instances. One that is not there is forgotten, or never was.
    pub instances: BTreeMap<String, InstanceState>,
    /// The group's balancers that exist.
    pub balancers: Vec<Arc<LoadBalancer>>,
    /// When each launch configuration that members come from was made.
    pub configurations: BTreeMap<String, Timestamp>,
    pub now: Timestamp,
}

/// Why a member is unhealthy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Illness {
    /// Its instance was terminated or stopped by someone else.
    Gone,
    /// A balancer's health checks failed.
    FailsAtBalancer,
    /// A user said so.
    UserSaysSo,
}

/// Why the group launches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Need {
    /// There are fewer than it wants.
    Capacity,
    /// One was unhealthy.
    Replacement,
    /// A zone has too few of them, as these words tell.
    Balance(String),
}

/// Why a healthy member is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retirement {
    /// An instance refresh is under way.
    Refreshed,
    /// It was in service for as long as a member may be.
    TooOld,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// The time of a scheduled action has come, or has gone by.
    RunSchedule { action: String, missed: bool },
    /// Lifecycle hooks hold it from now on.
    Wait(String, Transition),
    /// Its lifecycle hooks let it go on.
    Proceed(String),
    /// A lifecycle hook does not let it into service.
    Abandon(String, Verdict),
    /// Its balancers have let it go: it is in standby.
    StandBy(String),
    /// Its balancers have let it go: it is no member any more, and runs on.
    Detach(String),
    /// It is healthy, and another one takes its place.
    Retire(String, Retirement),
    /// The instance refresh has come on.
    Refresh(Box<InstanceRefresh>),
    /// The instance runs: it is in service from now on, and registered with the balancers.
    EnterService(String),
    /// It counts as unhealthy, and stays, as replacing is suspended.
    MarkUnhealthy(String),
    /// It is unhealthy: it leaves, and another one takes its place.
    Replace(String, Illness),
    /// There is one too many: it leaves.
    Release { instance_id: String, from: usize, to: u32 },
    /// The group is being deleted: it leaves.
    Withdraw(String),
    /// Its balancers have let it go: the instance is terminated.
    Terminate(String),
    /// Its instance is terminated: it is no member any more.
    Forget(String),
    /// One is missing in each of these zones, which may repeat.
    Launch { zones: Vec<String>, from: usize, need: Need },
    /// The desired capacity was changed, and there is nothing to do for it.
    ForgetCause,
    /// The group is being deleted and has no members any more.
    Remove,
}

#[must_use]
pub fn decide(view: &View<'_>) -> Vec<Step> {
    let group = view.group;
    let mut steps = view.schedule();
    if !steps.is_empty() {
        // They change what the rest is decided by.
        return steps;
    }
    let mut staying: Vec<&Member> = Vec::new();
    let mut stillborn = false;
    let mut replacing = group.members.iter().any(|member| member.lifecycle.is_terminating() && !member.healthy);
    for member in &group.members {
        let id = &member.instance_id;
        match view.fate(member) {
            Fate::Stays => staying.push(member),
            Fate::Waits(transition) => {
                if transition == Transition::Launching {
                    staying.push(member);
                }
                steps.push(Step::Wait(id.clone(), transition));
            }
            Fate::Proceeds => {
                if member.lifecycle.is_pending() {
                    staying.push(member);
                }
                steps.push(Step::Proceed(id.clone()));
            }
            Fate::Abandoned(verdict) => {
                stillborn = true;
                steps.push(Step::Abandon(id.clone(), verdict));
            }
            Fate::StandsBy => steps.push(Step::StandBy(id.clone())),
            Fate::Detached => steps.push(Step::Detach(id.clone())),
            Fate::EntersService => {
                staying.push(member);
                steps.push(Step::EnterService(id.clone()));
            }
            Fate::Unhealthy(_) if group.is_suspended("ReplaceUnhealthy") || group.is_suspended("Terminate") => {
                staying.push(member);
                if member.healthy {
                    steps.push(Step::MarkUnhealthy(id.clone()));
                }
            }
            Fate::Unhealthy(illness) => {
                replacing = true;
                stillborn |= member.lifecycle.is_pending() && illness == Illness::Gone;
                steps.push(Step::Replace(id.clone(), illness));
            }
            Fate::Withdrawn => steps.push(Step::Withdraw(id.clone())),
            Fate::Leaving => {}
            Fate::Drained => steps.push(Step::Terminate(id.clone())),
            Fate::Over => steps.push(Step::Forget(id.clone())),
        }
    }
    if group.deleting {
        if group.members.is_empty() {
            steps.push(Step::Remove);
        }
        return steps;
    }
    let refreshed = view.refresh(&staying);
    let mut retiring: Vec<(String, Retirement)> =
        refreshed.retiring.into_iter().map(|id| (id, Retirement::Refreshed)).collect();
    if let Some(refresh) = refreshed.changed {
        steps.push(Step::Refresh(Box::new(refresh)));
    }
    if retiring.is_empty() && !group.is_suspended("Terminate") {
        retiring.extend(view.too_old(&staying).map(|id| (id, Retirement::TooOld)));
    }
    staying.retain(|member| retiring.iter().all(|(id, _)| *id != member.instance_id));
    steps.extend(retiring.into_iter().map(|(id, why)| Step::Retire(id, why)));
    // A refresh may launch before it terminates, and so may what evens the zones out.
    let imbalance = view.imbalance(&staying);
    let desired = group.desired_capacity as usize + refreshed.surplus.max(usize::from(imbalance.is_some()));
    if staying.len() < desired {
        // After one that did not even come up the next one is launched after a pause, which that step sets.
        let held_back = stillborn || group.launch_trouble.as_ref().is_some_and(|(_, next)| *next > view.now);
        if !held_back && !group.is_suspended("Launch") {
            let need = match imbalance {
                Some(words) => Need::Balance(words),
                None if replacing => Need::Replacement,
                None => Need::Capacity,
            };
            let zones = view.zones_of_launches(&staying, desired - staying.len());
            steps.push(Step::Launch { zones, from: staying.len(), need });
        }
    } else if staying.len() > desired {
        if !group.is_suspended("Terminate") {
            let from = staying.len();
            for member in view.victims(staying, from - desired) {
                steps.push(Step::Release { instance_id: member.instance_id.clone(), from, to: group.desired_capacity });
            }
        }
    } else if group.capacity_change.is_some() {
        steps.push(Step::ForgetCause);
    }
    steps
}

/// What becomes of one member.
enum Fate {
    Stays,
    EntersService,
    Unhealthy(Illness),
    /// Goes with its group.
    Withdrawn,
    /// On its way out; others are at work.
    Leaving,
    /// Hooks hold it from now on.
    Waits(Transition),
    /// Hooks held it, and let it go on.
    Proceeds,
    Abandoned(Verdict),
    StandsBy,
    Detached,
    Drained,
    Over,
}

impl View<'_> {
    fn fate(&self, member: &Member) -> Fate {
        use InstanceState::{Pending, Running};
        let state = self.instances.get(&member.instance_id).copied();
        if member.lifecycle.is_terminating() {
            return self.fate_of_leaving(member, state);
        }
        let exists = state.is_some_and(InstanceState::is_alive);
        match member.lifecycle {
            Lifecycle::EnteringStandby | Lifecycle::Detaching | Lifecycle::Standby if !exists => return Fate::Over,
            Lifecycle::Detaching if self.is_registered(member) => return Fate::Leaving,
            Lifecycle::Detaching => return Fate::Detached,
            _ if self.group.deleting => return Fate::Withdrawn,
            Lifecycle::Standby => return Fate::Leaving,
            Lifecycle::EnteringStandby if self.is_registered(member) => return Fate::Leaving,
            Lifecycle::EnteringStandby => return Fate::StandsBy,
            _ => {}
        }
        let checks = !self.group.is_suspended("HealthCheck");
        match (member.lifecycle, state) {
            (_, Some(Running)) if !member.healthy => Fate::Unhealthy(Illness::UserSaysSo),
            (Lifecycle::Pending, Some(Running)) if self.group.has_hook(Transition::Launching) => {
                Fate::Waits(Transition::Launching)
            }
            (Lifecycle::PendingWait, Some(Running)) => match hooks::verdict(self.group, member, self.now) {
                None => Fate::Stays,
                Some(Verdict::Continue) => Fate::Proceeds,
                Some(abandoned) => Fate::Abandoned(abandoned),
            },
            (Lifecycle::Pending | Lifecycle::PendingProceed, Some(Running)) => Fate::EntersService,
            (_, Some(Running)) if checks && self.fails_at_balancer(member) => Fate::Unhealthy(Illness::FailsAtBalancer),
            (_, Some(Running | Pending)) => Fate::Stays,
            _ if checks => Fate::Unhealthy(Illness::Gone),
            _ => Fate::Stays,
        }
    }

    /// Drained first, held by hooks then, terminated at last.
    fn fate_of_leaving(&self, member: &Member, state: Option<InstanceState>) -> Fate {
        match (member.lifecycle, state) {
            (_, None | Some(InstanceState::Terminated)) => Fate::Over,
            (_, Some(InstanceState::ShuttingDown)) => Fate::Leaving,
            (Lifecycle::Terminating, _) if self.is_registered(member) => Fate::Leaving,
            (Lifecycle::Terminating, _) if self.group.has_hook(Transition::Terminating) => {
                Fate::Waits(Transition::Terminating)
            }
            // Whatever the hooks say, it goes; one that says so first keeps the others from saying more.
            (Lifecycle::TerminatingWait, _) => match hooks::verdict(self.group, member, self.now) {
                None => Fate::Leaving,
                Some(_) => Fate::Proceeds,
            },
            _ => Fate::Drained,
        }
    }

    fn schedule(&self) -> Vec<Step> {
        if self.group.deleting {
            return Vec::new();
        }
        // What comes due while the process is suspended is not made up for.
        let held = self.group.is_suspended("ScheduledActions");
        let due = self.group.schedule.iter().filter(|action| action.is_due(self.now));
        due.map(|action| Step::RunSchedule { action: action.name.clone(), missed: held || action.is_missed(self.now) })
            .collect()
    }

    /// The longest-serving of those that have served their time; one at a time, and only while the group is complete.
    fn too_old(&self, staying: &[&Member]) -> Option<String> {
        let lifetime = self.group.max_lifetime_secs.filter(|seconds| *seconds > 0)?;
        let complete = staying.len() >= self.group.desired_capacity as usize
            && self.group.members.iter().all(|member| member.is_warm(0, self.now));
        let expired = staying.iter().filter(|member| complete && member.is_warm(lifetime, self.now));
        expired.min_by_key(|member| member.in_service_since).map(|member| member.instance_id.clone())
    }

    fn is_registered(&self, member: &Member) -> bool {
        self.balancers.iter().any(|balancer| balancer.backends.contains_key(&member.instance_id))
    }

    /// Grace counts from the moment the member came into service.
    fn fails_at_balancer(&self, member: &Member) -> bool {
        let grace_secs = f64::from(self.group.health_check_grace_secs);
        let past_grace = member.in_service_since.is_some_and(|since| since.age_secs(self.now) >= grace_secs);
        let fails = |balancer: &LoadBalancer| {
            balancer.backends.get(&member.instance_id).is_some_and(|backend| {
                backend.draining_since.is_none() && backend.is_failing(&balancer.health_check, self.now)
            })
        };
        // A balancer that the proxy does not serve says nothing of its instances.
        let mut serving = self.balancers.iter().filter(|balancer| balancer.trouble.is_none());
        self.group.health_check_type == "ELB" && past_grace && serving.any(|balancer| fails(balancer))
    }

    /// Those that go when the group shrinks: from where the most are, and there by its termination policies, in their
    /// order; protected ones never.
    fn victims<'m>(&'m self, members: Vec<&'m Member>, count: usize) -> Vec<&'m Member> {
        let mut spread = self.spread(&members);
        let mut left: Vec<(Vec<i64>, &Member)> = members
            .into_iter()
            .filter(|member| !member.protected_from_scale_in)
            .map(|member| {
                (self.group.termination_policies.iter().flat_map(|of| self.ranks(of, member)).collect(), member)
            })
            .collect();
        // Whatever the policies leave open is decided the same way each time.
        left.sort_by(|(ranks, member), (others, other)| {
            (ranks, member.joined, &member.instance_id).cmp(&(others, other.joined, &other.instance_id))
        });
        let mut victims = Vec::with_capacity(count);
        while victims.len() < count && !left.is_empty() {
            let most = left.iter().map(|(_, member)| spread.crowd(&member.zone)).max();
            let first = left.iter().position(|(_, member)| Some(spread.crowd(&member.zone)) == most).unwrap_or(0);
            let (_, victim) = left.remove(first);
            spread.remove(&victim.zone);
            victims.push(victim);
        }
        victims
    }

    /// By which a policy orders members; the least go first
    /// (<https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-termination-policies.html>).
    fn ranks(&self, policy: &str, member: &Member) -> Vec<i64> {
        let joined = member.joined.millis();
        match policy {
            "OldestInstance" => vec![joined],
            "NewestInstance" => vec![joined.saturating_neg()],
            "OldestLaunchConfiguration" | "OldestLaunchTemplate" => self.source_age(member),
            "ClosestToNextInstanceHour" => {
                const HOUR_MILLIS: i64 = 3_600_000;
                let into_hour = (self.now.millis() - joined).rem_euclid(HOUR_MILLIS);
                vec![HOUR_MILLIS - into_hour]
            }
            _ => [self.source_age(member), vec![joined]].concat(),
        }
    }

    /// Launch configurations before templates, other templates before the group's own, old versions before new ones.
    fn source_age(&self, member: &Member) -> Vec<i64> {
        match (&member.launched_from, &self.group.launch_source) {
            (LaunchSource::Elsewhere, _) => vec![0, 0],
            (LaunchSource::Configuration(name), _) => {
                vec![0, self.configurations.get(name).map_or(0, |created| created.millis())]
            }
            (LaunchSource::Template { id, version }, LaunchSource::Template { id: current, .. }) if id == current => {
                vec![2, version.parse().unwrap_or(0)]
            }
            (LaunchSource::Template { version, .. }, _) => vec![1, version.parse().unwrap_or(0)],
        }
    }
}

#[cfg(test)]
mod tests;
