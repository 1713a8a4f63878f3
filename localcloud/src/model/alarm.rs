//! Alarms. They are kept as they were put.

use serde::{Deserialize, Serialize};

use crate::{
    model::{tag::Tags, time::Timestamp},
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
    pub state_updated: Timestamp,
    pub updated: Timestamp,
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
    #[serde(default)]
    pub tags: Tags,
}

impl Record for Alarm {
    const KIND: &'static str = "alarm";

    fn key(&self) -> String {
        self.name.clone()
    }
}
