//! Alarms are made, and replaced.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{
    STATISTICS, check_one_of,
    tags::{Tag, checked},
};
use crate::{
    api::{
        error::ApiError,
        operation::{Caller, Done, Operation},
    },
    model::{alarm::Alarm, time::Timestamp},
    store::Transaction,
};

const COMPARISONS: &[&str] =
    &["GreaterThanOrEqualToThreshold", "GreaterThanThreshold", "LessThanThreshold", "LessThanOrEqualToThreshold"];
const MISSING_DATA: &[&str] = &["breaching", "notBreaching", "ignore", "missing"];
pub(super) const UNITS: &[&str] = &[
    "Seconds",
    "Microseconds",
    "Milliseconds",
    "Bytes",
    "Kilobytes",
    "Megabytes",
    "Gigabytes",
    "Terabytes",
    "Bits",
    "Kilobits",
    "Megabits",
    "Gigabits",
    "Terabits",
    "Percent",
    "Count",
    "Bytes/Second",
    "Kilobytes/Second",
    "Megabytes/Second",
    "Gigabytes/Second",
    "Terabytes/Second",
    "Bits/Second",
    "Kilobits/Second",
    "Megabits/Second",
    "Gigabits/Second",
    "Terabits/Second",
    "Count/Second",
    "None",
];
/// An alarm looks back a week at most, a day where its period is shorter than an hour.
const DAY_SECS: u64 = 86_400;
const MOST_ACTIONS: usize = 5;
const MOST_DIMENSIONS: usize = 30;

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Dimension {
    pub name: String,
    pub value: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct PutMetricAlarm {
    alarm_name: String,
    alarm_description: Option<String>,
    actions_enabled: Option<bool>,
    #[serde(default, rename = "OKActions")]
    ok_actions: Vec<String>,
    #[serde(default)]
    alarm_actions: Vec<String>,
    #[serde(default)]
    insufficient_data_actions: Vec<String>,
    metric_name: Option<String>,
    namespace: Option<String>,
    statistic: Option<String>,
    extended_statistic: Option<String>,
    #[serde(default)]
    dimensions: Vec<Dimension>,
    period: Option<u32>,
    unit: Option<String>,
    evaluation_periods: Option<u32>,
    datapoints_to_alarm: Option<u32>,
    threshold: Option<f64>,
    comparison_operator: String,
    treat_missing_data: Option<String>,
    #[serde(default)]
    tags: Vec<Tag>,
}

impl Operation for PutMetricAlarm {
    const ACTION: &'static str = "PutMetricAlarm";
    type Output = Done;

    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Done, ApiError> {
        self.check()?;
        let now = Timestamp::now();
        let existing = tx.get::<Alarm>(&self.alarm_name);
        // Replacing an alarm keeps its state and its tags.
        let (state, state_reason, state_updated) = match &existing {
            Some(alarm) => (alarm.state.clone(), alarm.state_reason.clone(), alarm.state_updated),
            None => ("INSUFFICIENT_DATA".to_owned(), "Unchecked: Initial alarm creation".to_owned(), now),
        };
        let tags = match &existing {
            Some(alarm) => alarm.tags.clone(),
            None => checked(self.tags)?,
        };
        let required = |name: &str| ApiError::missing_parameter(name);
        tx.put(Alarm {
            name: self.alarm_name,
            description: self.alarm_description,
            actions_enabled: self.actions_enabled.unwrap_or(true),
            ok_actions: self.ok_actions,
            alarm_actions: self.alarm_actions,
            insufficient_data_actions: self.insufficient_data_actions,
            state,
            state_reason,
            state_updated,
            updated: now,
            metric_name: self.metric_name.ok_or_else(|| required("MetricName"))?,
            namespace: self.namespace.ok_or_else(|| required("Namespace"))?,
            statistic: self.statistic,
            extended_statistic: self.extended_statistic,
            dimensions: self.dimensions.into_iter().map(|dimension| (dimension.name, dimension.value)).collect(),
            period_secs: self.period.ok_or_else(|| required("Period"))?,
            unit: self.unit,
            evaluation_periods: self.evaluation_periods.ok_or_else(|| required("EvaluationPeriods"))?,
            datapoints_to_alarm: self.datapoints_to_alarm,
            threshold: self.threshold.ok_or_else(|| required("Threshold"))?,
            comparison_operator: self.comparison_operator,
            treat_missing_data: self.treat_missing_data,
            tags,
        });
        Ok(Done {})
    }
}

impl PutMetricAlarm {
    fn check(&self) -> Result<(), ApiError> {
        let length = |parameter: &str, value: &str, most: usize| {
            if value.is_empty() || value.chars().count() > most {
                return Err(ApiError::validation(format!("{parameter} must have 1 to {most} characters")));
            }
            Ok(())
        };
        length("AlarmName", &self.alarm_name, 255)?;
        let (Some(metric_name), Some(namespace)) = (&self.metric_name, &self.namespace) else {
            return Err(ApiError::validation(
                "MetricName and Namespace must be specified; alarms on expressions are not supported by this cloud",
            ));
        };
        length("MetricName", metric_name, 255)?;
        length("Namespace", namespace, 255)?;
        check_one_of("comparisonOperator", &self.comparison_operator, COMPARISONS)?;
        match (&self.statistic, &self.extended_statistic) {
            (Some(statistic), None) => check_one_of("statistic", statistic, STATISTICS)?,
            (None, Some(extended)) => check_percentile(extended)?,
            _ => return Err(ApiError::validation("Exactly one of Statistic and ExtendedStatistic must be specified")),
        }
        if let Some(unit) = &self.unit {
            check_one_of("unit", unit, UNITS)?;
        }
        if let Some(treatment) = &self.treat_missing_data {
            check_one_of("treatMissingData", treatment, MISSING_DATA)?;
        }
        self.check_periods()?;
        if !self.threshold.is_some_and(f64::is_finite) {
            return Err(ApiError::validation("Threshold must be specified, and be a number"));
        }
        let names: BTreeSet<&str> = self.dimensions.iter().map(|dimension| dimension.name.as_str()).collect();
        if self.dimensions.len() > MOST_DIMENSIONS || names.len() < self.dimensions.len() {
            return Err(ApiError::invalid_parameter_value(format!(
                "Dimensions must have different names, and be {MOST_DIMENSIONS} at most"
            )));
        }
        for actions in [&self.ok_actions, &self.alarm_actions, &self.insufficient_data_actions] {
            if actions.len() > MOST_ACTIONS {
                return Err(ApiError::validation(format!(
                    "An alarm may have {MOST_ACTIONS} actions per state at most"
                )));
            }
            if let Some(action) = actions.iter().find(|action| !action.starts_with("arn:")) {
                return Err(ApiError::validation(format!("Invalid arn syntax: {action}")));
            }
        }
        Ok(())
    }

    fn check_periods(&self) -> Result<(), ApiError> {
        let (Some(period), Some(periods)) = (self.period, self.evaluation_periods) else {
            return Err(ApiError::validation("Period and EvaluationPeriods must be specified"));
        };
        if !(matches!(period, 10 | 20 | 30) || period >= 60 && period.is_multiple_of(60)) {
            return Err(ApiError::validation(format!("Period {period} must be 10, 20, 30 or a multiple of 60")));
        }
        if periods == 0 {
            return Err(ApiError::validation("EvaluationPeriods must be 1 or more"));
        }
        let most = if period >= 3600 { 7 * DAY_SECS } else { DAY_SECS };
        if u64::from(period) * u64::from(periods) > most {
            return Err(ApiError::validation(format!(
                "Metrics cannot be checked across more than {most} seconds (EvaluationPeriods * Period must be <= {most})."
            )));
        }
        match self.datapoints_to_alarm {
            Some(points) if points == 0 || points > periods => Err(ApiError::validation(format!(
                "DatapointsToAlarm {points} must be from 1 to EvaluationPeriods ({periods})"
            ))),
            _ => Ok(()),
        }
    }
}

/// `p0` to `p100`, with decimals.
fn check_percentile(extended: &str) -> Result<(), ApiError> {
    let percentile = extended.strip_prefix('p').and_then(|number| number.parse::<f64>().ok());
    if percentile.is_some_and(|number| (0.0..=100.0).contains(&number)) {
        return Ok(());
    }
    Err(ApiError::invalid_parameter_value(format!(
        "ExtendedStatistic {extended} is not a percentile between p0 and p100"
    )))
}
