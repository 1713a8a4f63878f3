//! `[scaling]`: what the group grows and shrinks by, and when.

use serde::Deserialize;

use crate::config::settings::{Lines, Mistake};

/// What the group grows and shrinks by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ScalingMetric {
    /// The CPU use of its instances.
    #[default]
    Cpu,
    /// Requests per second and instance.
    Requests,
    /// How long answers take.
    Latency,
}

/// When the group grows and shrinks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScalingConfig {
    /// By what.
    pub by: ScalingMetric,
    /// Add an instance above so many requests per second and instance.
    pub requests_high: Option<u32>,
    /// Take one away below so many.
    pub requests_low: Option<u32>,
    /// Add an instance when answers take longer on average.
    pub latency_high_ms: Option<u32>,
    /// Take one away when they are quicker.
    pub latency_low_ms: Option<u32>,
    /// Add an instance above this CPU use.
    pub cpu_high_percent: Option<u32>,
    /// Take one away below this.
    pub cpu_low_percent: Option<u32>,
    /// Over how many seconds the alarms average; they ring after two such periods.
    pub period_secs: Option<u32>,
}

impl ScalingConfig {
    /// Below the first the group shrinks, above the second it grows.
    pub fn thresholds(&self, metric: ScalingMetric) -> (u32, u32) {
        let (low, high) = match metric {
            ScalingMetric::Cpu => (self.cpu_low_percent, self.cpu_high_percent),
            ScalingMetric::Requests => (self.requests_low, self.requests_high),
            ScalingMetric::Latency => (self.latency_low_ms, self.latency_high_ms),
        };
        let (default_low, default_high) = match metric {
            ScalingMetric::Cpu => (25, 70),
            ScalingMetric::Requests => (10, 50),
            ScalingMetric::Latency => (100, 500),
        };
        (low.unwrap_or(default_low), high.unwrap_or(default_high))
    }

    /// The alarms' period.
    pub fn period_secs(&self) -> u32 {
        self.period_secs.unwrap_or(60)
    }

    pub(super) fn contradictions(&self, lines: &Lines) -> Vec<Mistake> {
        let mut mistakes = Vec::new();
        for (metric, keys) in [
            (ScalingMetric::Cpu, ["scaling.cpu_low_percent", "scaling.cpu_high_percent"]),
            (ScalingMetric::Requests, ["scaling.requests_low", "scaling.requests_high"]),
            (ScalingMetric::Latency, ["scaling.latency_low_ms", "scaling.latency_high_ms"]),
        ] {
            let (low, high) = self.thresholds(metric);
            if low >= high {
                let what = format!("{} ({low}) must be below {} ({high})", keys[0], keys[1]);
                mistakes.push(lines.mistake(&keys, what, "between the two the group keeps its size"));
            }
        }
        mistakes
    }
}
