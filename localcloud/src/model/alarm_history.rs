//! What has happened to an alarm: its configuration, its states, its actions. It outlives the alarm.

use serde::{Deserialize, Serialize};

use crate::{model::time::Timestamp, store::Record};

/// One alarm's history, oldest first. It is one record, so that it stays bounded without a look at those of others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AlarmHistory {
    pub alarm_name: String,
    pub items: Vec<HistoryItem>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryItem {
    /// Rises by one with each item of the alarm.
    pub number: u64,
    pub time: Timestamp,
    /// `MetricAlarm`, `CompositeAlarm`
    pub alarm_kind: String,
    /// `ConfigurationUpdate`, `StateUpdate`, `Action`
    pub kind: String,
    pub summary: String,
    /// JSON
    pub data: String,
}

/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_AlarmHistoryItem.html>
const LONGEST_SUMMARY: usize = 255;
const LONGEST_DATA: usize = 4095;
const MOST_ITEMS: usize = 100;
const KEPT_SECS: i64 = 14 * 86_400;

impl AlarmHistory {
    #[must_use]
    pub fn new(alarm_name: &str) -> Self {
        Self { alarm_name: alarm_name.to_owned(), items: Vec::new() }
    }

    /// Adds an item, and drops those that are too old or too many.
    pub fn add(&mut self, time: Timestamp, alarm_kind: &str, kind: &str, summary: &str, data: &str) {
        self.items.push(HistoryItem {
            number: self.items.last().map_or(1, |item| item.number + 1),
            time,
            alarm_kind: alarm_kind.to_owned(),
            kind: kind.to_owned(),
            summary: summary.chars().take(LONGEST_SUMMARY).collect(),
            data: data.chars().take(LONGEST_DATA).collect(),
        });
        let surplus = self.items.len().saturating_sub(MOST_ITEMS);
        self.items.drain(..surplus);
        self.items.retain(|item| !item.is_old(time));
    }
}

impl HistoryItem {
    #[must_use]
    pub fn is_old(&self, now: Timestamp) -> bool {
        self.time < now.plus_secs(-KEPT_SECS)
    }
}

impl Record for AlarmHistory {
    const KIND: &'static str = "alarm-history";

    fn key(&self) -> String {
        self.alarm_name.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_is_bounded_by_number_and_by_age() {
        let mut history = AlarmHistory::new("busy");
        let begin = Timestamp::from_seconds(0.0);
        for second in 0..150 {
            history.add(begin.plus_secs(second), "MetricAlarm", "StateUpdate", "s", "{}");
        }
        assert_eq!(history.items.len(), MOST_ITEMS);
        assert_eq!(history.items.first().map(|item| item.number), Some(51));
        history.add(begin.plus_secs(KEPT_SECS + 140), "MetricAlarm", "StateUpdate", "s", "{}");
        assert_eq!(history.items.first().map(|item| item.time), Some(begin.plus_secs(140)));
    }
}
