//! Scaling policies: how a group's desired capacity follows alarms.

use serde::{Deserialize, Serialize};

use crate::store::Record;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScalingPolicy {
    pub group_name: String,
    pub name: String,
    pub arn: String,
    /// `SimpleScaling`, `StepScaling`, `TargetTrackingScaling`
    pub policy_type: String,
    /// `ChangeInCapacity`, `ExactCapacity`, `PercentChangeInCapacity`; none for target tracking.
    pub adjustment_type: String,
    /// Of a simple policy.
    pub scaling_adjustment: i32,
    pub min_adjustment_magnitude: Option<u32>,
    /// Of a simple policy.
    pub cooldown_secs: Option<u32>,
    /// One that is not enabled is kept, and alarms do not move it.
    #[serde(default = "enabled")]
    pub enabled: bool,
    /// Of a step policy, from the lowest to the highest.
    #[serde(default)]
    pub steps: Vec<StepAdjustment>,
    /// Of a step policy: `Average`, `Minimum`, `Maximum`.
    #[serde(default)]
    pub metric_aggregation: Option<String>,
    #[serde(default)]
    pub warmup_secs: Option<u32>,
    #[serde(default)]
    pub tracking: Option<TargetTracking>,
}

fn enabled() -> bool {
    true
}

/// Bounds are differences from the alarm's threshold; none is infinity.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct StepAdjustment {
    pub lower: Option<f64>,
    pub upper: Option<f64>,
    pub adjustment: i32,
}

/// What a target tracking policy holds where.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TargetTracking {
    pub metric: TrackedMetric,
    pub target: f64,
    pub scale_in_disabled: bool,
    /// Names of the alarms that it made; it alone changes and deletes them.
    pub alarm_high: String,
    pub alarm_low: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum TrackedMetric {
    /// `ASGAverageCPUUtilization`
    Predefined(String),
    Customized {
        namespace: String,
        name: String,
        dimensions: Vec<(String, String)>,
        statistic: String,
        unit: Option<String>,
        /// As requested.
        period_secs: Option<u32>,
    },
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
