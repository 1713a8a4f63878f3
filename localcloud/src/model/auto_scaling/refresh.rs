//! Instance refreshes: a group's members are replaced, few at a time
//! (<https://docs.aws.amazon.com/autoscaling/ec2/userguide/instance-refresh-overview.html>).

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{AutoScalingGroup, LaunchSource};
use crate::model::time::Timestamp;

/// AWS gives a refresh up that has come no nearer to its end for so long.
const PATIENCE_SECS: i64 = 3600;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InstanceRefresh {
    pub id: String,
    pub status: RefreshStatus,
    pub status_reason: Option<String>,
    pub start: Timestamp,
    pub end: Option<Timestamp>,
    pub preferences: RefreshPreferences,
    /// What the group launches from when it has succeeded, as requested; none leaves it.
    pub desired: Option<LaunchSource>,
    /// Members that are still to be replaced.
    pub targets: BTreeSet<String>,
    /// How many there were at the beginning.
    pub total: u32,
    pub percentage: u32,
    /// Members that are to be replaced, or whose replacements are not ready.
    pub to_update: u32,
    /// How many checkpoints it has passed.
    #[serde(default)]
    pub checkpoints_passed: usize,
    /// It rests at a checkpoint until then.
    #[serde(default)]
    pub resting_until: Option<Timestamp>,
    /// When it last came nearer to its end.
    pub progressed: Timestamp,
    #[serde(default)]
    pub rollback: Option<Rollback>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rollback {
    pub reason: String,
    pub start: Timestamp,
    pub percentage: u32,
    pub to_update: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RefreshStatus {
    Pending,
    InProgress,
    Successful,
    Failed,
    Cancelling,
    Cancelled,
    RollbackInProgress,
    RollbackFailed,
    RollbackSuccessful,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RefreshPreferences {
    pub min_healthy_percentage: u32,
    /// As requested: 100 and none are not the same.
    pub max_healthy_percentage: Option<u32>,
    pub warmup_secs: u32,
    pub checkpoint_percentages: Vec<u32>,
    pub checkpoint_delay_secs: u32,
    pub skip_matching: bool,
    pub auto_rollback: bool,
    /// `Refresh`, `Ignore`, `Wait`
    pub protected_instances: String,
    /// `Terminate`, `Ignore`, `Wait`
    pub standby_instances: String,
}

impl InstanceRefresh {
    /// What its launches use, where that is not what the group names. A rollback launches what the group had before.
    #[must_use]
    pub fn brings(&self) -> Option<&LaunchSource> {
        if self.rollback.is_some() { None } else { self.desired.as_ref() }
    }

    /// When it fails unless it comes nearer to its end.
    #[must_use]
    pub fn gives_up(&self) -> Timestamp {
        self.progressed.plus_secs(PATIENCE_SECS)
    }

    /// How far it goes before its next checkpoint.
    #[must_use]
    pub fn next_percentage(&self) -> u32 {
        self.preferences.checkpoint_percentages.get(self.checkpoints_passed).copied().unwrap_or(100)
    }

    /// How far it goes at all: a last checkpoint below 100 is its end.
    #[must_use]
    pub fn last_percentage(&self) -> u32 {
        self.preferences.checkpoint_percentages.last().copied().unwrap_or(100)
    }

    pub fn finish(&mut self, status: RefreshStatus, reason: &str, now: Timestamp) {
        self.status = status;
        self.status_reason = Some(reason.to_owned()).filter(|reason| !reason.is_empty());
        self.resting_until = None;
        self.end = Some(now);
    }

    pub fn succeed(&mut self, now: Timestamp) {
        let rolled_back = self.rollback.is_some();
        let status = if rolled_back { RefreshStatus::RollbackSuccessful } else { RefreshStatus::Successful };
        self.finish(status, "", now);
    }

    /// It fails, or goes back to where it came from if it was told so.
    pub fn fail(&mut self, reason: &str, group: &AutoScalingGroup, now: Timestamp) {
        if self.rollback.is_some() {
            self.finish(RefreshStatus::RollbackFailed, reason, now);
        } else if self.preferences.auto_rollback {
            self.roll_back(reason, group, now);
        } else {
            self.finish(RefreshStatus::Failed, reason, now);
        }
    }

    /// Replaces again what it has launched.
    pub fn roll_back(&mut self, reason: &str, group: &AutoScalingGroup, now: Timestamp) {
        self.rollback = Some(Rollback {
            reason: reason.to_owned(),
            start: now,
            percentage: self.percentage,
            to_update: self.to_update,
        });
        self.status = RefreshStatus::RollbackInProgress;
        self.status_reason = Some(reason.to_owned());
        let launched = group.capacity().filter(|member| member.joined >= self.start);
        self.targets = launched.map(|member| member.instance_id.clone()).collect();
        self.total = u32::try_from(self.targets.len()).unwrap_or(u32::MAX);
        (self.to_update, self.percentage) = (self.total, 0);
        self.preferences.checkpoint_percentages.clear();
        self.resting_until = None;
        self.progressed = now;
    }
}

impl RefreshStatus {
    #[must_use]
    pub fn wire(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::InProgress => "InProgress",
            Self::Successful => "Successful",
            Self::Failed => "Failed",
            Self::Cancelling => "Cancelling",
            Self::Cancelled => "Cancelled",
            Self::RollbackInProgress => "RollbackInProgress",
            Self::RollbackFailed => "RollbackFailed",
            Self::RollbackSuccessful => "RollbackSuccessful",
        }
    }

    #[must_use]
    pub fn is_active(self) -> bool {
        matches!(self, Self::Pending | Self::InProgress | Self::Cancelling | Self::RollbackInProgress)
    }
}
