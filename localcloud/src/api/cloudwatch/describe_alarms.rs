//! Alarms as they are described.

use serde::{Deserialize, Serialize};

use super::{STATES, arn, check_one_of, put_metric_alarm::Dimension};
use crate::{
    api::{
        error::ApiError,
        operation::{Caller, Operation},
        page::page,
    },
    model::{alarm::Alarm, time::Timestamp},
    store::Transaction,
};

const DEFAULT_PAGE: usize = 50;
const LARGEST_PAGE: usize = 100;
const MOST_NAMES: usize = 100;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DescribeAlarms {
    #[serde(default)]
    alarm_names: Vec<String>,
    alarm_name_prefix: Option<String>,
    #[serde(default)]
    alarm_types: Vec<String>,
    state_value: Option<String>,
    action_prefix: Option<String>,
    max_records: Option<usize>,
    next_token: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct DescribeAlarmsOutput {
    composite_alarms: Vec<String>,
    metric_alarms: Vec<MetricAlarm>,
    next_token: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct MetricAlarm {
    alarm_name: String,
    alarm_arn: String,
    alarm_description: Option<String>,
    alarm_configuration_updated_timestamp: Timestamp,
    actions_enabled: bool,
    #[serde(rename = "OKActions")]
    ok_actions: Vec<String>,
    alarm_actions: Vec<String>,
    insufficient_data_actions: Vec<String>,
    state_value: String,
    state_reason: String,
    state_updated_timestamp: Timestamp,
    metric_name: String,
    namespace: String,
    statistic: Option<String>,
    extended_statistic: Option<String>,
    dimensions: Vec<Dimension>,
    period: u32,
    unit: Option<String>,
    evaluation_periods: u32,
    datapoints_to_alarm: Option<u32>,
    threshold: f64,
    comparison_operator: String,
    treat_missing_data: Option<String>,
}

fn describe(alarm: &Alarm, caller: &Caller<'_>) -> MetricAlarm {
    MetricAlarm {
        alarm_name: alarm.name.clone(),
        alarm_arn: arn(&caller.region, &caller.account_id, &alarm.name),
        alarm_description: alarm.description.clone(),
        alarm_configuration_updated_timestamp: alarm.updated,
        actions_enabled: alarm.actions_enabled,
        ok_actions: alarm.ok_actions.clone(),
        alarm_actions: alarm.alarm_actions.clone(),
        insufficient_data_actions: alarm.insufficient_data_actions.clone(),
        state_value: alarm.state.clone(),
        state_reason: alarm.state_reason.clone(),
        state_updated_timestamp: alarm.state_updated,
        metric_name: alarm.metric_name.clone(),
        namespace: alarm.namespace.clone(),
        statistic: alarm.statistic.clone(),
        extended_statistic: alarm.extended_statistic.clone(),
        dimensions: alarm
            .dimensions
            .iter()
            .map(|(name, value)| Dimension { name: name.clone(), value: value.clone() })
            .collect(),
        period: alarm.period_secs,
        unit: alarm.unit.clone(),
        evaluation_periods: alarm.evaluation_periods,
        datapoints_to_alarm: alarm.datapoints_to_alarm,
        threshold: alarm.threshold,
        comparison_operator: alarm.comparison_operator.clone(),
        treat_missing_data: alarm.treat_missing_data.clone(),
    }
}

impl Operation for DescribeAlarms {
    const ACTION: &'static str = "DescribeAlarms";
    type Output = DescribeAlarmsOutput;

    fn run(self, tx: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        let size = self.max_records.unwrap_or(DEFAULT_PAGE);
        if !(1..=LARGEST_PAGE).contains(&size) {
            return Err(ApiError::validation(format!("MaxRecords {size} is not between 1 and {LARGEST_PAGE}")));
        }
        if self.alarm_names.len() > MOST_NAMES {
            return Err(ApiError::validation(format!("AlarmNames may hold {MOST_NAMES} names at most")));
        }
        if !self.alarm_names.is_empty() && self.alarm_name_prefix.is_some() {
            return Err(ApiError::new(
                "InvalidParameterCombination",
                "AlarmNames and AlarmNamePrefix cannot be given together",
            ));
        }
        if let Some(state) = &self.state_value {
            check_one_of("stateValue", state, STATES)?;
        }
        let wants_metric_alarms =
            self.alarm_types.is_empty() || self.alarm_types.iter().any(|kind| kind == "MetricAlarm");
        let mut alarms = if wants_metric_alarms { tx.list::<Alarm>() } else { Vec::new() };
        alarms.retain(|alarm| {
            (self.alarm_names.is_empty() || self.alarm_names.contains(&alarm.name))
                && self.alarm_name_prefix.as_ref().is_none_or(|prefix| alarm.name.starts_with(prefix.as_str()))
                && self.state_value.as_ref().is_none_or(|state| alarm.state == *state)
                && self.action_prefix.as_ref().is_none_or(|prefix| {
                    let actions = [&alarm.alarm_actions, &alarm.ok_actions, &alarm.insufficient_data_actions];
                    actions.into_iter().flatten().any(|action| action.starts_with(prefix.as_str()))
                })
        });
        let (alarms, next_token) = page(alarms, |alarm| alarm.name.clone(), self.next_token.as_deref(), size)?;
        Ok(DescribeAlarmsOutput {
            composite_alarms: Vec::new(),
            metric_alarms: alarms.iter().map(|alarm| describe(alarm, caller)).collect(),
            next_token,
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DescribeAlarmsForMetric {
    metric_name: String,
    namespace: String,
    statistic: Option<String>,
    extended_statistic: Option<String>,
    #[serde(default)]
    dimensions: Vec<Dimension>,
    period: Option<u32>,
    unit: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct DescribeAlarmsForMetricOutput {
    metric_alarms: Vec<MetricAlarm>,
}

impl Operation for DescribeAlarmsForMetric {
    const ACTION: &'static str = "DescribeAlarmsForMetric";
    type Output = DescribeAlarmsForMetricOutput;

    /// The dimensions must be the alarm's very own, in any order.
    fn run(self, tx: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        let mut wanted: Vec<(String, String)> =
            self.dimensions.into_iter().map(|dimension| (dimension.name, dimension.value)).collect();
        wanted.sort();
        let mut alarms = tx.list::<Alarm>();
        alarms.retain(|alarm| {
            let mut dimensions = alarm.dimensions.clone();
            dimensions.sort();
            alarm.metric_name == self.metric_name
                && alarm.namespace == self.namespace
                && dimensions == wanted
                && (self.statistic.is_none() || alarm.statistic == self.statistic)
                && (self.extended_statistic.is_none() || alarm.extended_statistic == self.extended_statistic)
                && self.period.is_none_or(|period| alarm.period_secs == period)
                && (self.unit.is_none() || alarm.unit == self.unit)
        });
        Ok(DescribeAlarmsForMetricOutput {
            metric_alarms: alarms.iter().map(|alarm| describe(alarm, caller)).collect(),
        })
    }
}
