//! What has happened to alarms: written down here, and described.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{arn, check_one_of};
use crate::{
    api::{
        error::ApiError,
        operation::{Caller, Operation},
        page::page,
    },
    model::{
        alarm::Alarm,
        alarm_history::{AlarmHistory, HistoryItem},
        site::Site,
        time::Timestamp,
    },
    store::Transaction,
};

const KINDS: &[&str] = &["ConfigurationUpdate", "StateUpdate", "Action"];
const ORDERS: &[&str] = &["TimestampDescending", "TimestampAscending"];
pub const ALARM_TYPES: &[&str] = &["CompositeAlarm", "MetricAlarm", "LogAlarm"];
const LARGEST_PAGE: usize = 100;
/// What clients take of an item's data at most.
const LONGEST_DATA: usize = 4095;

fn add(tx: &mut Transaction<'_>, alarm: &Alarm, kind: &str, summary: &str, data: &Value, now: Timestamp) {
    let known = tx.get::<AlarmHistory>(&alarm.name);
    let mut history = known.map_or_else(|| AlarmHistory::new(&alarm.name), |known| AlarmHistory::clone(&known));
    history.add(now, alarm.kind(), kind, summary, &data.to_string());
    tx.put(history);
}

/// What became of an alarm's configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    Create,
    Update,
    Delete,
}

/// An alarm was put, switched or deleted.
pub fn configuration(tx: &mut Transaction<'_>, alarm: &Alarm, change: Change, now: Timestamp) {
    let (kind, member, done) = match change {
        Change::Create => ("Create", "createdAlarm", "created"),
        Change::Update => ("Update", "updatedAlarm", "updated"),
        Change::Delete => ("Delete", "deletedAlarm", "deleted"),
    };
    let site = tx.get::<Site>(Site::KEY);
    let arn = site.map(|site| arn(&site.region, &site.account_id, &alarm.name));
    let mut described = json!({
        "alarmName": alarm.name,
        "alarmArn": arn,
        "alarmDescription": alarm.description,
        "alarmConfigurationUpdatedTimestamp": zoned(alarm.updated),
        "stateValue": alarm.state,
        "stateUpdatedTimestamp": zoned(alarm.state_updated),
        "actionsEnabled": alarm.actions_enabled,
        "alarmActions": alarm.alarm_actions,
        "insufficientDataActions": alarm.insufficient_data_actions,
        "okactions": alarm.ok_actions,
    });
    let of_its_kind = match &alarm.rule {
        Some(rule) => json!({ "alarmRule": rule }),
        None => json!({
            "namespace": alarm.namespace,
            "metricName": alarm.metric_name,
            "statistic": alarm.statistic,
            "extendedStatistic": alarm.extended_statistic,
            "period": alarm.period_secs,
            "dimensions": alarm
                .dimensions
                .iter()
                .map(|(name, value)| json!({ "name": name, "value": value }))
                .collect::<Vec<_>>(),
            "evaluationPeriods": alarm.evaluation_periods,
            "datapointsToAlarm": alarm.datapoints_to_alarm,
            "threshold": alarm.threshold,
            "comparisonOperator": alarm.comparison_operator,
            "treatMissingData": alarm.treat_missing_data,
        }),
    };
    if let (Value::Object(described), Value::Object(more)) = (&mut described, of_its_kind) {
        described.extend(more);
        described.retain(|_, value| !value.is_null());
    }
    let data = json!({ "version": "1.0", "type": kind, member: described });
    add(tx, alarm, "ConfigurationUpdate", &format!("Alarm \"{}\" {done}", alarm.name), &data, now);
}

/// An alarm went from one state into another.
pub fn state_update(tx: &mut Transaction<'_>, old: &Alarm, new: &Alarm, now: Timestamp) {
    let state = |alarm: &Alarm, with_data: bool| {
        let mut state = json!({ "stateValue": alarm.state, "stateReason": alarm.state_reason });
        let data = alarm.state_reason_data.as_deref().filter(|_| with_data);
        if let Some(data) = data.and_then(|data| serde_json::from_str::<Value>(data).ok()) {
            state["stateReasonData"] = data;
        }
        state
    };
    let both = |old_data: bool, new_data: bool| json!({ "version": "1.0", "oldState": state(old, old_data), "newState": state(new, new_data) });
    // What would be too long together is told of the new state first.
    let all = [both(true, true), both(false, true)].into_iter().find(|data| data.to_string().len() <= LONGEST_DATA);
    let data = all.unwrap_or_else(|| both(false, false));
    add(tx, new, "StateUpdate", &format!("Alarm updated from {} to {}", old.state, new.state), &data, now);
}

/// An action of a state was carried out, or could not be.
pub fn action(tx: &mut Transaction<'_>, alarm: &Alarm, action: &str, outcome: &Result<(), ApiError>, now: Timestamp) {
    let summary = match outcome {
        Ok(()) => format!("Successfully executed action {action}"),
        Err(error) if action.starts_with("arn:aws:autoscaling:") => {
            format!("Failed to execute AutoScaling action: {}", error.message)
        }
        Err(error) => format!("Failed to execute action {action}. Received error: \"{}\"", error.message),
    };
    let mut data = json!({
        "actionState": if outcome.is_ok() { "Succeeded" } else { "Failed" },
        "notificationResource": action,
        "stateUpdateTimestamp": alarm.state_updated.millis(),
    });
    if let Err(error) = outcome {
        data["error"] = json!(error.message);
    }
    add(tx, alarm, "Action", &summary, &data, now);
}

/// `2026-11-24T03:04:05.678+0000`, as CloudWatch writes times within JSON.
#[must_use]
pub fn zoned(time: Timestamp) -> String {
    time.to_string().replace('Z', "+0000")
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DescribeAlarmHistory {
    alarm_name: Option<String>,
    #[serde(default)]
    alarm_types: Vec<String>,
    history_item_type: Option<String>,
    start_date: Option<Timestamp>,
    end_date: Option<Timestamp>,
    scan_by: Option<String>,
    max_records: Option<usize>,
    next_token: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct DescribeAlarmHistoryOutput {
    alarm_history_items: Vec<AlarmHistoryItem>,
    next_token: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct AlarmHistoryItem {
    alarm_name: String,
    alarm_type: String,
    timestamp: Timestamp,
    history_item_type: String,
    history_summary: String,
    history_data: String,
}

impl Operation for DescribeAlarmHistory {
    const ACTION: &'static str = "DescribeAlarmHistory";
    type Output = DescribeAlarmHistoryOutput;

    /// Without types, metric alarms are meant.
    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        let size = self.max_records.unwrap_or(LARGEST_PAGE);
        if !(1..=LARGEST_PAGE).contains(&size) {
            return Err(ApiError::validation(format!("MaxRecords {size} is not between 1 and {LARGEST_PAGE}")));
        }
        for kind in &self.alarm_types {
            check_one_of("alarmTypes", kind, ALARM_TYPES)?;
        }
        if let Some(kind) = &self.history_item_type {
            check_one_of("historyItemType", kind, KINDS)?;
        }
        if let Some(order) = &self.scan_by {
            check_one_of("scanBy", order, ORDERS)?;
        }
        let (start, end) = (self.start_date, self.end_date);
        if start.zip(end).is_some_and(|(start, end)| start > end) {
            return Err(ApiError::validation("StartDate must not be later than EndDate"));
        }
        let histories = match &self.alarm_name {
            Some(name) => tx.get::<AlarmHistory>(name).into_iter().collect(),
            None => tx.list::<AlarmHistory>(),
        };
        let now = Timestamp::now();
        let wanted = |item: &HistoryItem| {
            !item.is_old(now)
                && match self.alarm_types.as_slice() {
                    [] => item.alarm_kind == "MetricAlarm",
                    kinds => kinds.contains(&item.alarm_kind),
                }
                && self.history_item_type.as_ref().is_none_or(|kind| item.kind == *kind)
                && start.is_none_or(|start| item.time >= start)
                && end.is_none_or(|end| item.time <= end)
        };
        let ascending = self.scan_by.as_deref() == Some("TimestampAscending");
        // A key that rises in the order asked for, so that a page goes on rightly while items are added.
        let key = |(name, item): &(&str, &HistoryItem)| {
            let (time, number) = (u64::try_from(item.time.millis()).unwrap_or(0), item.number);
            if ascending {
                format!("{time:020}/{name}/{number:020}")
            } else {
                format!("{:020}/{name}/{:020}", u64::MAX - time, u64::MAX - number)
            }
        };
        let mut items: Vec<(&str, &HistoryItem)> = histories
            .iter()
            .flat_map(|history| history.items.iter().map(|item| (history.alarm_name.as_str(), item)))
            .filter(|(_, item)| wanted(item))
            .collect();
        items.sort_by_cached_key(key);
        let (items, next_token) = page(items, key, self.next_token.as_deref(), size)?;
        let alarm_history_items = items
            .into_iter()
            .map(|(name, item)| AlarmHistoryItem {
                alarm_name: name.to_owned(),
                alarm_type: item.alarm_kind.clone(),
                timestamp: item.time,
                history_item_type: item.kind.clone(),
                history_summary: item.summary.clone(),
                history_data: item.data.clone(),
            })
            .collect();
        Ok(DescribeAlarmHistoryOutput { alarm_history_items, next_token })
    }
}
