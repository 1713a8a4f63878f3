//! Alarms as they are described.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    STATES, arn, check_one_of,
    history::ALARM_TYPES,
    metric_query::MetricDataQuery,
    put_metric_alarm::{Dimension, WarmUpConfiguration},
};
use crate::{
    api::{
        error::ApiError,
        operation::{Caller, Operation},
        page::page,
    },
    model::{alarm::Alarm, alarm_rule::AlarmRule, time::Timestamp},
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
    children_of_alarm_name: Option<String>,
    parents_of_alarm_name: Option<String>,
    max_records: Option<usize>,
    next_token: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct DescribeAlarmsOutput {
    composite_alarms: Vec<CompositeAlarm>,
    metric_alarms: Vec<MetricAlarm>,
    next_token: Option<String>,
}

/// What every alarm has. Of a relative of another alarm little more than the name is told.
#[derive(Serialize, Default)]
#[serde(rename_all = "PascalCase")]
struct Common {
    alarm_name: String,
    alarm_arn: String,
    alarm_description: Option<String>,
    alarm_configuration_updated_timestamp: Option<Timestamp>,
    actions_enabled: Option<bool>,
    #[serde(rename = "OKActions")]
    ok_actions: Option<Vec<String>>,
    alarm_actions: Option<Vec<String>>,
    insufficient_data_actions: Option<Vec<String>>,
    state_value: Option<String>,
    state_reason: Option<String>,
    state_reason_data: Option<String>,
    state_updated_timestamp: Option<Timestamp>,
    state_transitioned_timestamp: Option<Timestamp>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct CompositeAlarm {
    #[serde(flatten)]
    common: Common,
    alarm_rule: Option<String>,
}

#[derive(Serialize, Default)]
#[serde(rename_all = "PascalCase")]
struct MetricAlarm {
    #[serde(flatten)]
    common: Common,
    metric_name: Option<String>,
    namespace: Option<String>,
    statistic: Option<String>,
    extended_statistic: Option<String>,
    dimensions: Vec<Dimension>,
    period: Option<u32>,
    unit: Option<String>,
    evaluation_periods: Option<u32>,
    datapoints_to_alarm: Option<u32>,
    threshold: Option<f64>,
    comparison_operator: Option<String>,
    treat_missing_data: Option<String>,
    evaluate_low_sample_count_percentile: Option<String>,
    metrics: Option<Vec<MetricDataQuery>>,
    warm_up_configuration: Option<WarmUpConfiguration>,
}

/// How much is told of an alarm.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Detail {
    All,
    /// Of the alarms that a composite alarm names.
    Child,
    /// Of the composite alarms that name an alarm.
    Parent,
}

fn common(alarm: &Alarm, caller: &Caller<'_>, detail: Detail) -> Common {
    let named = Common {
        alarm_name: alarm.name.clone(),
        alarm_arn: arn(&caller.region, &caller.account_id, &alarm.name),
        ..Common::default()
    };
    if detail == Detail::Parent {
        return named;
    }
    let child =
        Common { state_value: Some(alarm.state.clone()), state_updated_timestamp: Some(alarm.state_updated), ..named };
    if detail == Detail::Child {
        return child;
    }
    Common {
        alarm_description: alarm.description.clone(),
        alarm_configuration_updated_timestamp: Some(alarm.updated),
        actions_enabled: Some(alarm.actions_enabled),
        ok_actions: Some(alarm.ok_actions.clone()),
        alarm_actions: Some(alarm.alarm_actions.clone()),
        insufficient_data_actions: Some(alarm.insufficient_data_actions.clone()),
        state_reason: Some(alarm.state_reason.clone()),
        state_reason_data: alarm.state_reason_data.clone(),
        state_transitioned_timestamp: Some(alarm.state_transitioned.unwrap_or(alarm.state_updated)),
        ..child
    }
}

fn describe(alarm: &Alarm, caller: &Caller<'_>, detail: Detail) -> MetricAlarm {
    let common = common(alarm, caller, detail);
    if detail != Detail::All {
        return MetricAlarm { common, ..MetricAlarm::default() };
    }
    // An alarm on metric math has no metric of its own.
    let of_metric = |value: &String| alarm.metrics.is_empty().then(|| value.clone());
    MetricAlarm {
        common,
        metric_name: of_metric(&alarm.metric_name),
        namespace: of_metric(&alarm.namespace),
        statistic: alarm.statistic.clone(),
        extended_statistic: alarm.extended_statistic.clone(),
        dimensions: alarm.dimensions.iter().map(Dimension::from).collect(),
        period: alarm.metrics.is_empty().then_some(alarm.period_secs),
        unit: alarm.unit.clone(),
        evaluation_periods: Some(alarm.evaluation_periods),
        datapoints_to_alarm: alarm.datapoints_to_alarm,
        threshold: Some(alarm.threshold),
        comparison_operator: Some(alarm.comparison_operator.clone()),
        treat_missing_data: alarm.treat_missing_data.clone(),
        evaluate_low_sample_count_percentile: alarm.low_sample_percentile.clone(),
        metrics: (!alarm.metrics.is_empty()).then(|| alarm.metrics.iter().map(MetricDataQuery::from).collect()),
        warm_up_configuration: alarm.warm_up.as_ref().map(|warm_up| WarmUpConfiguration {
            warm_up_period_duration_in_minutes: warm_up.minutes,
            only_start_evaluating_after_warm_up_period_ends: Some(warm_up.whole),
        }),
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
        let (alarms, detail) = self.find(tx)?;
        let (alarms, next_token) = page(alarms, |alarm| alarm.name.clone(), self.next_token.as_deref(), size)?;
        let (composite, metric): (Vec<_>, Vec<_>) = alarms.iter().partition(|alarm| alarm.rule.is_some());
        let composite = composite.into_iter().map(|alarm| CompositeAlarm {
            common: common(alarm, caller, detail),
            alarm_rule: alarm.rule.clone().filter(|_| detail == Detail::All),
        });
        Ok(DescribeAlarmsOutput {
            composite_alarms: composite.collect(),
            metric_alarms: metric.into_iter().map(|alarm| describe(alarm, caller, detail)).collect(),
            next_token,
        })
    }
}

impl DescribeAlarms {
    fn find(&self, tx: &mut Transaction<'_>) -> Result<(Vec<Arc<Alarm>>, Detail), ApiError> {
        let is_filtered = !self.alarm_names.is_empty()
            || self.alarm_name_prefix.is_some()
            || !self.alarm_types.is_empty()
            || self.state_value.is_some()
            || self.action_prefix.is_some();
        let mut alarms = tx.list::<Alarm>();
        let rule_of = |alarm: &Alarm| alarm.rule.as_deref().and_then(|rule| AlarmRule::parse(rule).ok());
        match (&self.children_of_alarm_name, &self.parents_of_alarm_name) {
            (None, None) => {}
            (Some(parent), None) if !is_filtered => {
                let rule = alarms.iter().find(|alarm| alarm.name == *parent).and_then(|alarm| rule_of(alarm));
                let children = rule.as_ref().map(AlarmRule::alarms).unwrap_or_default();
                alarms.retain(|alarm| children.contains(alarm.name.as_str()));
                return Ok((alarms, Detail::Child));
            }
            (None, Some(child)) if !is_filtered => {
                alarms.retain(|alarm| rule_of(alarm).is_some_and(|rule| rule.alarms().contains(child.as_str())));
                return Ok((alarms, Detail::Parent));
            }
            _ => {
                return Err(ApiError::validation(
                    "ChildrenOfAlarmName and ParentsOfAlarmName cannot be given with any other parameter but MaxRecords and NextToken",
                ));
            }
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
        for kind in &self.alarm_types {
            check_one_of("alarmTypes", kind, ALARM_TYPES)?;
        }
        alarms.retain(|alarm| {
            // Without types, metric alarms are meant.
            let is_of_type = match self.alarm_types.as_slice() {
                [] => alarm.rule.is_none(),
                kinds => kinds.iter().any(|kind| kind == alarm.kind()),
            };
            is_of_type
                && (self.alarm_names.is_empty() || self.alarm_names.contains(&alarm.name))
                && self.alarm_name_prefix.as_ref().is_none_or(|prefix| alarm.name.starts_with(prefix.as_str()))
                && self.state_value.as_ref().is_none_or(|state| alarm.state == *state)
                && self.action_prefix.as_ref().is_none_or(|prefix| {
                    let actions = [&alarm.alarm_actions, &alarm.ok_actions, &alarm.insufficient_data_actions];
                    actions.into_iter().flatten().any(|action| action.starts_with(prefix.as_str()))
                })
        });
        Ok((alarms, Detail::All))
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
            alarm.metrics.is_empty()
                && alarm.rule.is_none()
                && alarm.metric_name == self.metric_name
                && alarm.namespace == self.namespace
                && dimensions == wanted
                && (self.statistic.is_none() || alarm.statistic == self.statistic)
                && (self.extended_statistic.is_none() || alarm.extended_statistic == self.extended_statistic)
                && self.period.is_none_or(|period| alarm.period_secs == period)
                && (self.unit.is_none() || alarm.unit == self.unit)
        });
        Ok(DescribeAlarmsForMetricOutput {
            metric_alarms: alarms.iter().map(|alarm| describe(alarm, caller, Detail::All)).collect(),
        })
    }
}
