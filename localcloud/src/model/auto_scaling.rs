//! AutoScaling groups, launch configurations and activities.

/// Lifecycle hooks, and the actions of theirs that members wait for.
pub mod hook;
/// Scaling policies.
pub mod policy;
/// When a schedule recurs.
pub mod recurrence;
/// Instance refreshes.
pub mod refresh;
/// Scheduled actions.
pub mod schedule;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

pub use self::policy::ScalingPolicy;
use self::{
    hook::{LifecycleAction, LifecycleHook, Transition},
    refresh::InstanceRefresh,
    schedule::ScheduledAction,
};
use crate::{
    model::{launch_template::LaunchData, site::Zone, time::Timestamp},
    store::Record,
};

/// Tells an instance's group, on AWS as here.
pub const GROUP_TAG: &str = "aws:autoscaling:groupName";

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AutoScalingGroup {
    pub name: String,
    pub arn: String,
    pub created: Timestamp,
    pub launch_source: LaunchSource,
    pub min_size: u32,
    pub max_size: u32,
    pub desired_capacity: u32,
    pub default_cooldown_secs: u32,
    pub zones: Vec<String>,
    pub subnets: Vec<String>,
    pub load_balancer_names: Vec<String>,
    /// `EC2` or `ELB`
    pub health_check_type: String,
    pub health_check_grace_secs: u32,
    pub termination_policies: Vec<String>,
    pub new_instances_protected: bool,
    pub tags: Vec<GroupTag>,
    pub members: Vec<Member>,
    /// DeleteAutoScalingGroup was called: its members go, then it goes.
    #[serde(default)]
    pub deleting: bool,
    /// Names of the metrics that are collected of it.
    #[serde(default)]
    pub enabled_metrics: BTreeSet<String>,
    /// Why its last launch failed, and when it is tried again.
    #[serde(default)]
    pub launch_trouble: Option<(String, Timestamp)>,
    /// End of the last scaling activity of a simple policy; cooldown counts from it.
    #[serde(default)]
    pub last_scaled: Option<Timestamp>,
    /// Cooldown of what scaled it last: the policy's own, or the group's.
    #[serde(default)]
    pub last_cooldown_secs: u32,
    /// Why the desired capacity was changed, until the members follow it.
    #[serde(default)]
    pub capacity_change: Option<CapacityChange>,
    /// Suspended processes, and why.
    #[serde(default)]
    pub suspended: BTreeMap<String, String>,
    /// How long a new member takes until it does its full work.
    #[serde(default)]
    pub default_warmup_secs: Option<u32>,
    /// Members are replaced when they have been in service for so long.
    #[serde(default)]
    pub max_lifetime_secs: Option<u32>,
    /// `prevent-force-deletion`, `prevent-all-deletion`; none protects from nothing.
    #[serde(default)]
    pub deletion_protection: Option<String>,
    /// Reserved by AWS: kept and told.
    #[serde(default)]
    pub context: Option<String>,
    #[serde(default)]
    pub hooks: Vec<LifecycleHook>,
    #[serde(default)]
    pub schedule: Vec<ScheduledAction>,
    /// Oldest first; the last one may be under way.
    #[serde(default)]
    pub refreshes: Vec<InstanceRefresh>,
}

/// What changed the desired capacity: the first sentence of the activities that follow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CapacityChange {
    pub cause: String,
    /// Cooldown counts from the end of the activities that a policy caused.
    pub starts_cooldown: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum LaunchSource {
    /// Name.
    Configuration(String),
    /// Id, and version: a number, `$Latest` or `$Default`.
    Template { id: String, version: String },
    /// The member was attached, not launched by the group.
    Elsewhere,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupTag {
    pub key: String,
    pub value: String,
    pub propagate_at_launch: bool,
}

/// An instance of the group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Member {
    pub instance_id: String,
    #[serde(default = "Zone::first_name")]
    pub zone: String,
    pub lifecycle: Lifecycle,
    pub healthy: bool,
    pub protected_from_scale_in: bool,
    /// What it was launched from: configuration name, or template id and version number.
    pub launched_from: LaunchSource,
    pub joined: Timestamp,
    /// When it came into service; the health check's grace counts from it.
    #[serde(default)]
    pub in_service_since: Option<Timestamp>,
    /// The activity that launches or terminates it.
    #[serde(default)]
    pub activity_id: Option<String>,
    /// That activity was caused by a simple policy, whose cooldown begins at its end.
    #[serde(default)]
    pub holds_cooldown: bool,
    /// What it waits for in `PendingWait` and `TerminatingWait`.
    #[serde(default)]
    pub lifecycle_actions: Vec<LifecycleAction>,
}

/// <https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-lifecycle.html>
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Lifecycle {
    Pending,
    PendingWait,
    PendingProceed,
    InService,
    EnteringStandby,
    Standby,
    Detaching,
    Terminating,
    TerminatingWait,
    TerminatingProceed,
}

impl Lifecycle {
    /// As answers have it.
    #[must_use]
    pub fn wire(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::PendingWait => "Pending:Wait",
            Self::PendingProceed => "Pending:Proceed",
            Self::InService => "InService",
            Self::EnteringStandby => "EnteringStandby",
            Self::Standby => "Standby",
            Self::Detaching => "Detaching",
            Self::Terminating => "Terminating",
            Self::TerminatingWait => "Terminating:Wait",
            Self::TerminatingProceed => "Terminating:Proceed",
        }
    }

    /// Where a member is heading, as its metadata service tells it
    /// (<https://docs.aws.amazon.com/autoscaling/ec2/userguide/retrieving-target-lifecycle-state-through-imds.html>).
    #[must_use]
    pub fn target(self) -> &'static str {
        match self {
            _ if self.is_pending() => "InService",
            _ if self.is_terminating() => "Terminated",
            Self::EnteringStandby | Self::Standby => "Standby",
            Self::Detaching => "Detached",
            _ => "InService",
        }
    }

    /// On its way into service.
    #[must_use]
    pub fn is_pending(self) -> bool {
        matches!(self, Self::Pending | Self::PendingWait | Self::PendingProceed)
    }

    /// On its way to its end.
    #[must_use]
    pub fn is_terminating(self) -> bool {
        matches!(self, Self::Terminating | Self::TerminatingWait | Self::TerminatingProceed)
    }

    /// Launching or in service.
    #[must_use]
    pub fn is_capacity(self) -> bool {
        self.is_pending() || self == Self::InService
    }
}

impl AutoScalingGroup {
    /// The zone of a member; of what is none, the group's first.
    #[must_use]
    pub fn zone_of(&self, instance_id: &str) -> &str {
        let member = self.members.iter().find(|member| member.instance_id == instance_id);
        member.map_or_else(|| self.first_zone(), |member| &member.zone)
    }

    #[must_use]
    pub fn first_zone(&self) -> &str {
        self.zones.first().map_or("", String::as_str)
    }
}

impl Member {
    /// One that is to come into service, by an activity of this id.
    #[must_use]
    pub fn joining(
        instance_id: String,
        zone: String,
        launched_from: LaunchSource,
        activity_id: &str,
        now: Timestamp,
    ) -> Self {
        Self {
            instance_id,
            zone,
            lifecycle: Lifecycle::Pending,
            healthy: true,
            protected_from_scale_in: false,
            launched_from,
            joined: now,
            in_service_since: None,
            activity_id: Some(activity_id.to_owned()),
            holds_cooldown: false,
            lifecycle_actions: Vec::new(),
        }
    }

    /// When it will do its full work, if it takes so long from coming into service; `None` before that.
    #[must_use]
    pub fn warm_at(&self, warmup_secs: u32) -> Option<Timestamp> {
        (self.lifecycle == Lifecycle::InService)
            .then(|| self.in_service_since.unwrap_or(self.joined).plus_secs(warmup_secs.into()))
    }

    #[must_use]
    pub fn is_warm(&self, warmup_secs: u32, now: Timestamp) -> bool {
        self.warm_at(warmup_secs).is_some_and(|warm| warm <= now)
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LaunchConfiguration {
    pub name: String,
    pub arn: String,
    pub created: Timestamp,
    pub data: LaunchData,
}

/// One thing that a group did, in AWS's words.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Activity {
    pub id: String,
    pub group_name: String,
    pub description: String,
    pub cause: String,
    pub start: Timestamp,
    pub end: Option<Timestamp>,
    /// `PreInService` (launching), `InProgress` (terminating), `Successful`, `Failed`, `Cancelled`, `WaitingForELBConnectionDraining`
    pub status: String,
    pub status_message: Option<String>,
    pub progress: u32,
    pub details: String,
    /// A policy caused it: cooldown counts from its end.
    #[serde(default)]
    pub starts_cooldown: bool,
}

impl AutoScalingGroup {
    /// An instance's id.
    pub const BY_MEMBER: &'static str = "member";
    pub const BY_LOAD_BALANCER: &'static str = "load-balancer";

    /// Those that count as capacity: launching or in service.
    pub fn capacity(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| member.lifecycle.is_capacity())
    }

    /// Whether members stop on this way until hooks let them go on.
    #[must_use]
    pub fn has_hook(&self, transition: Transition) -> bool {
        self.hooks.iter().any(|hook| hook.transition == transition)
    }

    /// The instance refresh that is under way.
    #[must_use]
    pub fn active_refresh(&self) -> Option<&InstanceRefresh> {
        self.refreshes.last().filter(|refresh| refresh.status.is_active())
    }

    pub fn active_refresh_mut(&mut self) -> Option<&mut InstanceRefresh> {
        self.refreshes.last_mut().filter(|refresh| refresh.status.is_active())
    }

    /// What instances are launched from now: a refresh may be bringing the group something else than it names.
    #[must_use]
    pub fn launches_from(&self) -> &LaunchSource {
        self.active_refresh().and_then(InstanceRefresh::brings).unwrap_or(&self.launch_source)
    }

    #[must_use]
    pub fn is_suspended(&self, process: &str) -> bool {
        self.suspended.contains_key(process)
    }

    pub fn member_mut(&mut self, instance_id: &str) -> Option<&mut Member> {
        self.members.iter_mut().find(|member| member.instance_id == instance_id)
    }
}

impl Record for AutoScalingGroup {
    const KIND: &'static str = "auto-scaling-group";

    fn key(&self) -> String {
        self.name.clone()
    }

    fn indexed(&self) -> Vec<(&'static str, String)> {
        let members = self.members.iter().map(|member| (Self::BY_MEMBER, member.instance_id.clone()));
        members.chain(self.load_balancer_names.iter().map(|name| (Self::BY_LOAD_BALANCER, name.clone()))).collect()
    }
}

impl Record for LaunchConfiguration {
    const KIND: &'static str = "launch-configuration";

    fn key(&self) -> String {
        self.name.clone()
    }
}

impl Activity {
    /// What the keys of a group's activities begin with.
    #[must_use]
    pub fn keys_of(group_name: &str) -> String {
        format!("{group_name}/")
    }
}

impl Record for Activity {
    const KIND: &'static str = "activity";

    /// Sorts by group, then by time.
    fn key(&self) -> String {
        format!("{}{:016}/{}", Self::keys_of(&self.group_name), self.start.millis(), self.id)
    }
}
