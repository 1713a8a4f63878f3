//! Why an alarm is in its state, in CloudWatch's words and as its JSON.

use serde::Serialize;

use super::{
    decide::{Evaluated, Missing, breaches},
    windows::Measured,
};
use crate::{
    api::cloudwatch::history::zoned,
    model::{
        alarm::{ALARM, Alarm, INSUFFICIENT_DATA},
        time::Timestamp,
    },
};

/// From this number of datapoints on, only the newest are listed.
const MOST_LISTED: usize = 5;
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_MetricAlarm.html>
const LONGEST_REASON: usize = 1023;
/// Reason data of more datapoints would be longer than the 4,000 characters that clients expect at most.
const MOST_IN_DATA: usize = 30;

/// `Threshold Crossed: 2 out of the last 2 datapoints […] were greater than the threshold (70.0) (minimum 2 datapoints for
/// OK -> ALARM transition).`; the numbers are left out where the alarm has no DatapointsToAlarm.
pub fn reason(alarm: &Alarm, state: &str, evaluated: &Evaluated) -> String {
    let periods = alarm.evaluation_periods;
    if state == INSUFFICIENT_DATA {
        return format!(
            "Insufficient Data: {} unknown.",
            counted(u64::from(periods), "datapoint", Some(("was", "were")))
        );
    }
    let is_alarm = state == ALARM;
    let filled = filled(alarm, evaluated.missing);
    // Newest first.
    let supporting: Vec<(Timestamp, Measured)> = evaluated
        .points
        .iter()
        .rev()
        .filter(|(_, measured)| breaches(alarm, measured.value) == is_alarm)
        .copied()
        .collect();
    if supporting.is_empty() {
        let received = match evaluated.points.len() {
            0 => "no datapoints were".to_owned(),
            some => counted(some as u64, "datapoint", Some(("was", "were"))),
        };
        return format!(
            "Threshold Crossed: {received} received for {}{filled}.",
            counted(periods.into(), "period", None)
        );
    }
    let count = supporting.len();
    let (datapoints, minimum) = match alarm.datapoints_to_alarm {
        None => (counted(count as u64, "datapoint", None), String::new()),
        Some(needed) => {
            let (least, transition) =
                if is_alarm { (needed, "OK -> ALARM") } else { (periods.saturating_sub(needed) + 1, "ALARM -> OK") };
            (
                format!("{count} out of the last {periods} datapoints"),
                format!(" (minimum {} for {transition} transition)", counted(least.into(), "datapoint", None)),
            )
        }
    };
    let verb = if count == 1 { "was" } else { "were" };
    let not = if is_alarm { "" } else { "not " };
    let listed: Vec<String> = supporting.iter().take(MOST_LISTED).map(|point| spoken(*point)).collect();
    let listed = listed.join(", ");
    let compared = format!("{verb} {not}{} the threshold ({})", comparison(alarm), number(alarm.threshold));
    let said = if count < MOST_LISTED {
        format!("Threshold Crossed: {datapoints} [{listed}] {compared}{filled}{minimum}.")
    } else {
        let which = if is_alarm { " which crossed the threshold" } else { "" };
        format!(
            "Threshold Crossed: {datapoints} {compared}{filled}. The most recent datapoints{which}: [{listed}]{minimum}."
        )
    };
    said.chars().take(LONGEST_REASON).collect()
}

fn filled(alarm: &Alarm, missing: usize) -> String {
    let treated = match Missing::of(alarm) {
        Missing::Breaching => "Breaching",
        Missing::NotBreaching => "NonBreaching",
        Missing::Ignore | Missing::Missing => return String::new(),
    };
    if missing == 0 {
        return String::new();
    }
    format!(" and {} treated as [{treated}]", counted(missing as u64, "missing datapoint", Some(("was", "were"))))
}

/// `1 datapoint was`, `2 datapoints were`
fn counted(count: u64, noun: &str, verbs: Option<(&str, &str)>) -> String {
    let (plural, verb) = if count == 1 { ("", verbs.map(|verbs| verbs.0)) } else { ("s", verbs.map(|verbs| verbs.1)) };
    match verb {
        Some(verb) => format!("{count} {noun}{plural} {verb}"),
        None => format!("{count} {noun}{plural}"),
    }
}

fn comparison(alarm: &Alarm) -> &'static str {
    match alarm.comparison_operator.as_str() {
        "GreaterThanOrEqualToThreshold" => "greater than or equal to",
        "GreaterThanThreshold" => "greater than",
        "LessThanThreshold" => "less than",
        _ => "less than or equal to",
    }
}

/// `71.5 (24/11/26 03:04:00)`
fn spoken((time, measured): (Timestamp, Measured)) -> String {
    let time = match jiff::Timestamp::from_millisecond(time.millis()) {
        Ok(time) => time.strftime("%d/%m/%y %H:%M:%S").to_string(),
        Err(_) => time.to_string(),
    };
    format!("{} ({time})", number(measured.value))
}

/// As CloudWatch, which is written in Java, prints a number: `70.0`, `1.5E7`.
fn number(value: f64) -> String {
    if value == 0.0 || (1e-3..1e7).contains(&value.abs()) || !value.is_finite() {
        return format!("{value:?}");
    }
    let scientific = format!("{value:E}");
    match scientific.split_once('E') {
        Some((digits, exponent)) if !digits.contains('.') => format!("{digits}.0E{exponent}"),
        _ => scientific,
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ReasonData<'a> {
    version: &'static str,
    query_date: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_date: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unit: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    statistic: Option<&'a str>,
    period: u32,
    recent_datapoints: Vec<f64>,
    threshold: f64,
    evaluated_datapoints: Vec<EvaluatedDatapoint>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EvaluatedDatapoint {
    timestamp: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    sample_count: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<f64>,
}

/// The datapoints oldest first, the evaluated periods newest first, as CloudWatch has them.
pub fn reason_data(alarm: &Alarm, evaluated: &Evaluated, now: Timestamp) -> String {
    let surplus = evaluated.points.len().saturating_sub(MOST_IN_DATA);
    let recent = evaluated.points.get(surplus..).unwrap_or_default();
    let data = ReasonData {
        version: "1.0",
        query_date: zoned(now),
        start_date: recent.first().map(|(time, _)| zoned(*time)),
        unit: alarm.unit.as_deref(),
        statistic: alarm.extended_statistic.as_deref().or(alarm.statistic.as_deref()),
        period: alarm.period_secs,
        recent_datapoints: recent.iter().map(|(_, measured)| measured.value).collect(),
        threshold: alarm.threshold,
        evaluated_datapoints: evaluated
            .periods
            .iter()
            .take(MOST_IN_DATA)
            .map(|window| EvaluatedDatapoint {
                timestamp: zoned(window.begin),
                sample_count: window.measured.and_then(|measured| measured.samples),
                value: window.measured.map(|measured| measured.value),
            })
            .collect(),
    };
    serde_json::to_string(&data).unwrap_or_default()
}

/// `Sunday 30 October, 2022 20:47:35 UTC`
pub fn long(time: Timestamp) -> String {
    match jiff::Timestamp::from_millisecond(time.millis()) {
        Ok(time) => time.strftime("%A %d %B, %Y %H:%M:%S UTC").to_string(),
        Err(_) => time.to_string(),
    }
}
