//! Alarms are made, and replaced.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{
    STATISTICS, alarm_metrics, check_one_of,
    history::{self, Change},
    metric_query::MetricDataQuery,
    tags::{Tag, checked},
};
use crate::{
    api::{
        constraints,
        error::ApiError,
        operation::{Caller, Done, Operation},
    },
    metrics::statistic::Statistic,
    model::{
        alarm::{Alarm, MetricQuery, WarmUp, instance_action},
        time::Timestamp,
    },
    store::Transaction,
};

const COMPARISONS: &[&str] =
    &["GreaterThanOrEqualToThreshold", "GreaterThanThreshold", "LessThanThreshold", "LessThanOrEqualToThreshold"];
const ANOMALY_COMPARISONS: &[&str] =
    &["LessThanLowerOrGreaterThanUpperThreshold", "LessThanLowerThreshold", "GreaterThanUpperThreshold"];
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

const LOW_SAMPLES: &[&str] = &["evaluate", "ignore"];
const LONGEST_WARM_UP_MINUTES: u32 = 2880;

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Dimension {
    pub name: String,
    pub value: String,
}

impl From<&(String, String)> for Dimension {
    fn from((name, value): &(String, String)) -> Self {
        Self { name: name.clone(), value: value.clone() }
    }
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
    comparison_operator: Option<String>,
    treat_missing_data: Option<String>,
    evaluate_low_sample_count_percentile: Option<String>,
    #[serde(default)]
    metrics: Vec<MetricDataQuery>,
    #[serde(default)]
    tags: Vec<Tag>,
    warm_up_configuration: Option<WarmUpConfiguration>,
    evaluation_window: Option<EvaluationWindow>,
    threshold_metric_id: Option<String>,
    evaluation_criteria: Option<serde::de::IgnoredAny>,
    evaluation_interval: Option<serde::de::IgnoredAny>,
    action_configuration: Option<serde::de::IgnoredAny>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct WarmUpConfiguration {
    pub warm_up_period_duration_in_minutes: u32,
    pub only_start_evaluating_after_warm_up_period_ends: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct EvaluationWindow {
    #[serde(rename = "SlidingWindow")]
    _sliding_window: Option<serde::de::IgnoredAny>,
    wall_clock_window: Option<serde::de::IgnoredAny>,
}

impl Operation for PutMetricAlarm {
    const ACTION: &'static str = "PutMetricAlarm";
    type Output = Done;

    fn run(mut self, tx: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<Done, ApiError> {
        let now = Timestamp::now();
        let metrics = alarm_metrics::checked(std::mem::take(&mut self.metrics), &caller.account_id)?;
        self.check(&metrics)?;
        let existing = tx.get::<Alarm>(&self.alarm_name);
        if existing.as_ref().is_some_and(|alarm| alarm.rule.is_some()) {
            return Err(ApiError::validation(format!("A composite alarm has the name {} already", self.alarm_name)));
        }
        let period_secs = self.period_of(&metrics);
        let required = |name: &str| constraints::missing(name);
        let alarm = Alarm {
            description: self.alarm_description,
            actions_enabled: self.actions_enabled.unwrap_or(true),
            ok_actions: self.ok_actions,
            alarm_actions: self.alarm_actions,
            insufficient_data_actions: self.insufficient_data_actions,
            metric_name: self.metric_name.unwrap_or_default(),
            namespace: self.namespace.unwrap_or_default(),
            statistic: self.statistic,
            extended_statistic: self.extended_statistic,
            dimensions: self.dimensions.into_iter().map(|dimension| (dimension.name, dimension.value)).collect(),
            period_secs,
            unit: self.unit,
            evaluation_periods: self.evaluation_periods.ok_or_else(|| required("EvaluationPeriods"))?,
            datapoints_to_alarm: self.datapoints_to_alarm,
            threshold: self.threshold.ok_or_else(|| required("Threshold"))?,
            comparison_operator: self.comparison_operator.ok_or_else(|| required("ComparisonOperator"))?,
            treat_missing_data: self.treat_missing_data,
            low_sample_percentile: self.evaluate_low_sample_count_percentile,
            warm_up: warm_up(self.warm_up_configuration, existing.as_deref(), now)?,
            metrics,
            ..Alarm::new(self.alarm_name, now)
        };
        let (alarm, change) = match existing {
            Some(existing) => (alarm.replacing(&existing), Change::Update),
            None => (Alarm { tags: checked(self.tags)?, ..alarm }, Change::Create),
        };
        history::configuration(tx, &alarm, change, now);
        tx.put(alarm);
        Ok(Done {})
    }
}

/// A warm-up that is over is not begun again by another length
/// (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_WarmUpConfiguration.html>).
fn warm_up(
    wanted: Option<WarmUpConfiguration>,
    existing: Option<&Alarm>,
    now: Timestamp,
) -> Result<Option<WarmUp>, ApiError> {
    let Some(wanted) = wanted else { return Ok(None) };
    let minutes = wanted.warm_up_period_duration_in_minutes;
    if !(1..=LONGEST_WARM_UP_MINUTES).contains(&minutes) {
        return Err(ApiError::validation(format!(
            "WarmUpPeriodDurationInMinutes {minutes} is not between 1 and {LONGEST_WARM_UP_MINUTES}"
        )));
    }
    let over = existing.and_then(|alarm| alarm.warm_up.as_ref()).map(|known| known.ends).filter(|ends| *ends <= now);
    Ok(Some(WarmUp {
        minutes,
        whole: wanted.only_start_evaluating_after_warm_up_period_ends.unwrap_or(false),
        ends: over.unwrap_or_else(|| now.plus_secs(i64::from(minutes) * 60)),
    }))
}

impl PutMetricAlarm {
    fn check(&self, metrics: &[MetricQuery]) -> Result<(), ApiError> {
        check_length("AlarmName", &self.alarm_name, 255)?;
        if self.alarm_name.chars().any(|letter| letter.is_ascii_control()) {
            return Err(ApiError::validation("AlarmName must not contain control characters"));
        }
        if self.alarm_description.as_ref().is_some_and(|description| description.chars().count() > 1024) {
            return Err(ApiError::validation("AlarmDescription must have 1024 characters at most"));
        }
        self.check_supported()?;
        if metrics.is_empty() {
            self.check_metric()?
        } else {
            self.check_math()?
        }
        let operator = self.comparison_operator.as_deref().ok_or_else(|| constraints::missing("ComparisonOperator"))?;
        if ANOMALY_COMPARISONS.contains(&operator) {
            return Err(anomaly_detection());
        }
        check_one_of("comparisonOperator", operator, COMPARISONS)?;
        if let Some(treatment) = &self.treat_missing_data {
            check_one_of("treatMissingData", treatment, MISSING_DATA)?;
        }
        if let Some(choice) = &self.evaluate_low_sample_count_percentile {
            check_one_of("evaluateLowSampleCountPercentile", choice, LOW_SAMPLES)?;
        }
        self.check_periods(self.period_of(metrics))?;
        if !self.threshold.is_some_and(f64::is_finite) {
            return Err(ApiError::validation("Threshold must be specified, and be a number"));
        }
        for actions in [&self.ok_actions, &self.alarm_actions, &self.insufficient_data_actions] {
            check_actions(actions)?;
            let names_instance = self.dimensions.iter().any(|dimension| dimension.name == "InstanceId");
            if let Some(action) = actions.iter().find(|action| instance_action(action).is_some() && !names_instance) {
                return Err(ApiError::validation(format!(
                    "The action {action} needs a metric with the dimension InstanceId"
                )));
            }
        }
        Ok(())
    }

    /// An expression is as coarse as the coarsest metric in it.
    fn period_of(&self, metrics: &[MetricQuery]) -> u32 {
        self.period.or_else(|| metrics.iter().filter_map(MetricQuery::period_secs).max()).unwrap_or(60)
    }

    /// What AWS has and this cloud has not.
    fn check_supported(&self) -> Result<(), ApiError> {
        if self.threshold_metric_id.is_some() {
            return Err(anomaly_detection());
        }
        if self.evaluation_criteria.is_some() || self.evaluation_interval.is_some() {
            return Err(ApiError::unsupported(
                "EvaluationCriteria, EvaluationInterval: alarms on PromQL queries are not supported by this cloud.",
            ));
        }
        if self.action_configuration.is_some() {
            return Err(ApiError::unsupported(
                "ActionConfiguration is not supported: this cloud has no SNS and Lambda to which an alarm's tags could go.",
            ));
        }
        if self.evaluation_window.as_ref().is_some_and(|window| window.wall_clock_window.is_some()) {
            return Err(ApiError::unsupported(
                "WallClockWindow is not supported by this cloud; its alarms have sliding windows.",
            ));
        }
        Ok(())
    }

    fn check_metric(&self) -> Result<(), ApiError> {
        let metric_name = self.metric_name.as_ref().ok_or_else(|| must_not_be_null("MetricName"))?;
        let namespace = self.namespace.as_ref().ok_or_else(|| must_not_be_null("Namespace"))?;
        check_length("MetricName", metric_name, 255)?;
        check_length("Namespace", namespace, 255)?;
        match (&self.statistic, &self.extended_statistic) {
            (Some(statistic), None) => check_one_of("statistic", statistic, STATISTICS)?,
            (None, Some(extended)) => check_extended(extended)?,
            _ => return Err(ApiError::validation("Exactly one of Statistic and ExtendedStatistic must be specified")),
        }
        if let Some(unit) = &self.unit {
            check_one_of("unit", unit, UNITS)?;
        }
        check_period(self.period.ok_or_else(|| must_not_be_null("Period"))?)?;
        check_dimensions(&self.dimensions)
    }

    fn check_math(&self) -> Result<(), ApiError> {
        let of_one_metric = [
            ("MetricName", self.metric_name.is_some()),
            ("Namespace", self.namespace.is_some()),
            ("Dimensions", !self.dimensions.is_empty()),
            ("Period", self.period.is_some()),
            ("Unit", self.unit.is_some()),
            ("Statistic", self.statistic.is_some()),
            ("ExtendedStatistic", self.extended_statistic.is_some()),
        ];
        match of_one_metric.iter().find(|(_, is_set)| *is_set) {
            Some((name, _)) => {
                Err(ApiError::validation(format!("{name} should not be set if list of Metrics is set.")))
            }
            None => Ok(()),
        }
    }

    fn check_periods(&self, period: u32) -> Result<(), ApiError> {
        let Some(periods) = self.evaluation_periods else {
            return Err(ApiError::validation("Period and EvaluationPeriods must be specified"));
        };
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

/// <https://github.com/aws-cloudformation/cfn-lint/pull/771>
fn must_not_be_null(name: &str) -> ApiError {
    ApiError::validation(format!("{name} must not be null"))
}

fn anomaly_detection() -> ApiError {
    ApiError::unsupported("Alarms on anomaly detection are not supported by this cloud; use a Threshold.")
}

pub fn check_length(parameter: &str, value: &str, most: usize) -> Result<(), ApiError> {
    if value.is_empty() || value.chars().count() > most {
        return Err(ApiError::validation(format!("{parameter} must have 1 to {most} characters")));
    }
    Ok(())
}

pub fn check_period(period: u32) -> Result<(), ApiError> {
    if matches!(period, 10 | 20 | 30) || period >= 60 && period.is_multiple_of(60) {
        return Ok(());
    }
    Err(ApiError::validation(format!("Period {period} must be 10, 20, 30 or a multiple of 60")))
}

pub fn check_dimensions(dimensions: &[Dimension]) -> Result<(), ApiError> {
    let names: BTreeSet<&str> = dimensions.iter().map(|dimension| dimension.name.as_str()).collect();
    if dimensions.len() > MOST_DIMENSIONS || names.len() < dimensions.len() {
        return Err(ApiError::invalid_parameter_value(format!(
            "Dimensions must have different names, and be {MOST_DIMENSIONS} at most"
        )));
    }
    Ok(())
}

pub fn check_actions(actions: &[String]) -> Result<(), ApiError> {
    if actions.len() > MOST_ACTIONS {
        return Err(ApiError::validation(format!("An alarm may have {MOST_ACTIONS} actions per state at most")));
    }
    match actions.iter().find(|action| !action.starts_with("arn:")) {
        Some(action) => Err(ApiError::validation(format!("Invalid arn syntax: {action}"))),
        None => Ok(()),
    }
}

/// A percentile, or what else is computed from the values.
fn check_extended(extended: &str) -> Result<(), ApiError> {
    if !STATISTICS.contains(&extended) && Statistic::parse(extended).is_some() {
        return Ok(());
    }
    Err(ApiError::invalid_parameter_value(format!(
        "ExtendedStatistic {extended} is not a percentile between p0 and p100"
    )))
}
