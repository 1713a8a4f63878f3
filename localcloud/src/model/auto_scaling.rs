//! AutoScaling groups, launch configurations, policies and activities.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{
    model::{launch_template::LaunchData, time::Timestamp},
    store::Record,
};

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
}

/// <https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-lifecycle.html>
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Lifecycle {
    Pending,
    InService,
    Terminating,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LaunchConfiguration {
    pub name: String,
    pub arn: String,
    pub created: Timestamp,
    pub data: LaunchData,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScalingPolicy {
    pub group_name: String,
    pub name: String,
    pub arn: String,
    /// `SimpleScaling`
    pub policy_type: String,
    /// `ChangeInCapacity`, `ExactCapacity`, `PercentChangeInCapacity`
    pub adjustment_type: String,
    pub scaling_adjustment: i32,
    pub min_adjustment_magnitude: Option<u32>,
    pub cooldown_secs: Option<u32>,
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
        self.members.iter().filter(|member| member.lifecycle != Lifecycle::Terminating)
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

impl Record for ScalingPolicy {
    const KIND: &'static str = "scaling-policy";

    fn key(&self) -> String {
        Self::key_of(&self.group_name, &self.name)
    }
}

impl ScalingPolicy {
    #[must_use]
    pub fn key_of(group_name: &str, name: &str) -> String {
        format!("{group_name}/{name}")
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
