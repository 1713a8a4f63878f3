//! Alarms, their states, and what has happened to them.

use serde::{Deserialize, Serialize};

use crate::{
    model::{id, tag::Tags, time::Timestamp},
    store::Record,
};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alarm {
    pub name: String,
    pub description: Option<String>,
    pub actions_enabled: bool,
    pub ok_actions: Vec<String>,
    pub alarm_actions: Vec<String>,
    pub insufficient_data_actions: Vec<String>,
    /// `OK`, `ALARM`, `INSUFFICIENT_DATA`
    pub state: String,
    pub state_reason: String,
    /// The same as JSON: the data that led to the state.
    #[serde(default)]
    pub state_reason_data: Option<String>,
    pub state_updated: Timestamp,
    /// When it last went from one state into another.
    #[serde(default)]
    pub state_transitioned: Option<Timestamp>,
    #[serde(default)]
    pub acted: Acted,
    pub updated: Timestamp,
    /// Another one with each put: two puts within a millisecond have the same time.
    #[serde(default)]
    pub definition: String,
    pub metric_name: String,
    pub namespace: String,
    pub statistic: Option<String>,
    pub extended_statistic: Option<String>,
    /// Name and value, in the order given.
    pub dimensions: Vec<(String, String)>,
    pub period_secs: u32,
    pub unit: Option<String>,
    pub evaluation_periods: u32,
    pub datapoints_to_alarm: Option<u32>,
    pub threshold: f64,
    pub comparison_operator: String,
    pub treat_missing_data: Option<String>,
    /// `ignore`: a percentile of too few samples leaves the state as it is.
    #[serde(default)]
    pub low_sample_percentile: Option<String>,
    /// What an alarm on metric math is computed from. Such an alarm has no metric, statistic and period of its own.
    #[serde(default)]
    pub metrics: Vec<MetricQuery>,
    /// A composite alarm's rule. Such an alarm has no metric at all.
    #[serde(default)]
    pub rule: Option<String>,
    #[serde(default)]
    pub warm_up: Option<WarmUp>,
    #[serde(default)]
    pub tags: Tags,
}

pub const OK: &str = "OK";
pub const ALARM: &str = "ALARM";
pub const INSUFFICIENT_DATA: &str = "INSUFFICIENT_DATA";

/// How far the actions of an alarm's state are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Acted {
    /// It has been in this state from its creation: that is no transition, so nothing is to be done.
    #[default]
    Never,
    /// It was brought into its state, and its actions are still to be carried out.
    Due,
    /// When they were, for the last time.
    At(Timestamp),
}

/// Evaluation waits for a new resource's first data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WarmUp {
    pub minutes: u32,
    /// Even if the data is there earlier.
    pub whole: bool,
    pub ends: Timestamp,
}

/// A metric, or an expression over those.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MetricQuery {
    pub id: String,
    pub source: QuerySource,
    pub label: Option<String>,
    pub return_data: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum QuerySource {
    Metric {
        namespace: String,
        name: String,
        /// Name and value, in the order given.
        dimensions: Vec<(String, String)>,
        period_secs: u32,
        statistic: String,
        unit: Option<String>,
    },
    Expression {
        expression: String,
        period_secs: Option<u32>,
    },
}

impl Alarm {
    /// A new one that watches nothing and does nothing yet.
    #[must_use]
    pub fn new(name: String, now: Timestamp) -> Self {
        Self {
            name,
            description: None,
            actions_enabled: true,
            ok_actions: Vec::new(),
            alarm_actions: Vec::new(),
            insufficient_data_actions: Vec::new(),
            state: INSUFFICIENT_DATA.to_owned(),
            state_reason: "Unchecked: Initial alarm creation".to_owned(),
            state_reason_data: None,
            state_updated: now,
            state_transitioned: None,
            acted: Acted::Never,
            updated: now,
            definition: id::uuid(),
            metric_name: String::new(),
            namespace: String::new(),
            statistic: None,
            extended_statistic: None,
            dimensions: Vec::new(),
            period_secs: 0,
            unit: None,
            evaluation_periods: 0,
            datapoints_to_alarm: None,
            threshold: 0.0,
            comparison_operator: String::new(),
            treat_missing_data: None,
            low_sample_percentile: None,
            metrics: Vec::new(),
            rule: None,
            warm_up: None,
            tags: Tags::new(),
        }
    }

    /// Put in the place of another, it keeps that one's state and tags.
    #[must_use]
    pub fn replacing(self, existing: &Self) -> Self {
        let existing = existing.clone();
        Self {
            state: existing.state,
            state_reason: existing.state_reason,
            state_reason_data: existing.state_reason_data,
            state_updated: existing.state_updated,
            state_transitioned: existing.state_transitioned,
            acted: existing.acted,
            tags: existing.tags,
            ..self
        }
    }

    /// The actions of a state.
    #[must_use]
    pub fn actions_of(&self, state: &str) -> &[String] {
        match state {
            OK => &self.ok_actions,
            ALARM => &self.alarm_actions,
            _ => &self.insufficient_data_actions,
        }
    }

    /// Brings it into another state, for a reason. Its actions are then due, if they are enabled.
    pub fn enter(&mut self, state: &str, reason: String, reason_data: Option<String>, now: Timestamp) {
        self.state = state.to_owned();
        self.state_reason = reason;
        self.state_reason_data = reason_data;
        self.state_updated = now;
        self.state_transitioned = Some(now);
        self.acted = if self.actions_enabled { Acted::Due } else { Acted::At(now) };
    }

    /// `MetricAlarm` or `CompositeAlarm`
    #[must_use]
    pub fn kind(&self) -> &'static str {
        if self.rule.is_some() { "CompositeAlarm" } else { "MetricAlarm" }
    }

    /// How many of its periods must breach.
    #[must_use]
    pub fn needed(&self) -> u32 {
        self.datapoints_to_alarm.unwrap_or(self.evaluation_periods)
    }
}

impl MetricQuery {
    #[must_use]
    pub fn period_secs(&self) -> Option<u32> {
        match &self.source {
            QuerySource::Metric { period_secs, .. } => Some(*period_secs),
            QuerySource::Expression { period_secs, .. } => *period_secs,
        }
    }
}

impl Record for Alarm {
    const KIND: &'static str = "alarm";

    fn key(&self) -> String {
        self.name.clone()
    }
}

/// `stop`, `terminate`, `reboot` or `recover`, by either of the two forms of such an action
/// (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricAlarm.html>).
#[must_use]
pub fn instance_action(action: &str) -> Option<String> {
    let verb = match service_of(action) {
        "automate" => action.split_once(":ec2:").map(|(_, verb)| verb.to_owned()),
        "swf" => {
            let rest = action.split_once("AWS_EC2.InstanceId.").map(|(_, rest)| rest);
            rest.and_then(|rest| rest.split('/').next()).map(str::to_ascii_lowercase)
        }
        _ => None,
    };
    verb.filter(|verb| matches!(verb.as_str(), "stop" | "terminate" | "reboot" | "recover"))
}

/// The service of an action: `autoscaling` of `arn:aws:autoscaling:…`
#[must_use]
pub fn service_of(action: &str) -> &str {
    action.split(':').nth(2).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_an_instance_action_are_known() {
        assert_eq!(instance_action("arn:aws:automate:eu-west-1:ec2:stop").as_deref(), Some("stop"));
        let form = "arn:aws:swf:eu-west-1:1:action/actions/AWS_EC2.InstanceId.Terminate/1.0";
        assert_eq!(instance_action(form).as_deref(), Some("terminate"));
        assert_eq!(instance_action("arn:aws:automate:eu-west-1:ec2:explode"), None);
        assert_eq!(instance_action("arn:aws:sns:eu-west-1:1:ec2:stop"), None);
    }
}
