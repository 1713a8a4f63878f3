//! Lifecycle hooks: members stop on their way into or out of service until someone lets them go on, or time is over
//! (<https://docs.aws.amazon.com/autoscaling/ec2/userguide/lifecycle-hooks.html>).

use serde::{Deserialize, Serialize};

use crate::model::time::Timestamp;

/// At most 48 hours or a hundred heartbeats, whichever is less.
const LONGEST_WAIT_SECS: u32 = 172_800;
const MOST_HEARTBEATS: u32 = 100;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LifecycleHook {
    pub name: String,
    pub transition: Transition,
    pub heartbeat_timeout_secs: u32,
    pub default_result: LifecycleResult,
    pub notification_metadata: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Transition {
    Launching,
    Terminating,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum LifecycleResult {
    Continue,
    Abandon,
}

/// One hook's hold on one member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LifecycleAction {
    pub hook: String,
    pub token: String,
    /// When the hook's default result counts, unless a heartbeat comes.
    pub deadline: Timestamp,
    /// No heartbeat puts the deadline off beyond this.
    pub last_deadline: Timestamp,
    /// How it was completed.
    #[serde(default)]
    pub result: Option<LifecycleResult>,
}

impl LifecycleHook {
    #[must_use]
    pub fn global_timeout_secs(&self) -> u32 {
        self.heartbeat_timeout_secs.saturating_mul(MOST_HEARTBEATS).min(LONGEST_WAIT_SECS)
    }

    /// Its hold on a member that comes by now.
    #[must_use]
    pub fn begin(&self, token: String, now: Timestamp) -> LifecycleAction {
        LifecycleAction {
            hook: self.name.clone(),
            token,
            deadline: now.plus_secs(self.heartbeat_timeout_secs.into()),
            last_deadline: now.plus_secs(self.global_timeout_secs().into()),
            result: None,
        }
    }
}

impl Transition {
    #[must_use]
    pub fn wire(self) -> &'static str {
        match self {
            Self::Launching => "autoscaling:EC2_INSTANCE_LAUNCHING",
            Self::Terminating => "autoscaling:EC2_INSTANCE_TERMINATING",
        }
    }

    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Launching, Self::Terminating].into_iter().find(|transition| transition.wire() == text)
    }
}

impl LifecycleResult {
    #[must_use]
    pub fn wire(self) -> &'static str {
        match self {
            Self::Continue => "CONTINUE",
            Self::Abandon => "ABANDON",
        }
    }

    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Continue, Self::Abandon].into_iter().find(|result| result.wire() == text)
    }
}
