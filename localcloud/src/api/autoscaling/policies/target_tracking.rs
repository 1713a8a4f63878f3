//! What a target tracking policy holds where, and the two alarms that it makes for it
//! (<https://docs.aws.amazon.com/autoscaling/ec2/userguide/as-scaling-target-tracking.html>).

use serde::{Deserialize, Serialize, de::IgnoredAny};

use crate::{
    api::{
        cloudwatch::put_metric_alarm::{Dimension, PutMetricAlarm},
        error::ApiError,
        operation::{Caller, Operation as _},
    },
    model::{
        alarm::Alarm,
        auto_scaling::policy::{TargetTracking, TrackedMetric},
        id,
    },
    store::Transaction,
    wire::value,
};

/// The alarms that AWS makes look at 3 periods above the target and at 15 below nine tenths of it.
const HIGH_PERIODS: u32 = 3;
const LOW_PERIODS: u32 = 15;
const LOW_SHARE: f64 = 0.9;
const DEFAULT_PERIOD_SECS: u32 = 60;
const HIGH_RESOLUTION_PERIOD_SECS: u32 = 10;

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct TargetTrackingConfiguration {
    predefined_metric_specification: Option<PredefinedMetric>,
    customized_metric_specification: Option<CustomizedMetric>,
    target_value: f64,
    disable_scale_in: Option<bool>,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct PredefinedMetric {
    predefined_metric_type: String,
    resource_label: Option<String>,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct CustomizedMetric {
    metric_name: Option<String>,
    namespace: Option<String>,
    #[serde(default)]
    dimensions: Vec<Dimension>,
    statistic: Option<String>,
    unit: Option<String>,
    period: Option<u32>,
    #[serde(default, skip_serializing)]
    metrics: Vec<IgnoredAny>,
}

impl TargetTrackingConfiguration {
    pub fn of(tracking: &TargetTracking) -> Self {
        let (predefined, customized) = match &tracking.metric {
            TrackedMetric::Predefined(kind) => {
                (Some(PredefinedMetric { predefined_metric_type: kind.clone(), resource_label: None }), None)
            }
            TrackedMetric::Customized { namespace, name, dimensions, statistic, unit, period_secs } => {
                let customized = CustomizedMetric {
                    metric_name: Some(name.clone()),
                    namespace: Some(namespace.clone()),
                    dimensions: described(dimensions),
                    statistic: Some(statistic.clone()),
                    unit: unit.clone(),
                    period: *period_secs,
                    metrics: Vec::new(),
                };
                (None, Some(customized))
            }
        };
        Self {
            predefined_metric_specification: predefined,
            customized_metric_specification: customized,
            target_value: tracking.target,
            disable_scale_in: Some(tracking.scale_in_disabled),
        }
    }

    fn metric(&self) -> Result<TrackedMetric, ApiError> {
        match (&self.predefined_metric_specification, &self.customized_metric_specification) {
            (Some(predefined), None) => predefined.metric(),
            (None, Some(customized)) => customized.metric(),
            _ => Err(ApiError::validation(
                "TargetTrackingConfiguration must have exactly one of PredefinedMetricSpecification and CustomizedMetricSpecification",
            )),
        }
    }
}

impl PredefinedMetric {
    fn metric(&self) -> Result<TrackedMetric, ApiError> {
        let kind = self.predefined_metric_type.as_str();
        if kind == "ALBRequestCountPerTarget" {
            return Err(ApiError::unsupported(
                "ALBRequestCountPerTarget is not supported by this cloud, which has no Application Load Balancers; track the metrics of a Classic Load Balancer with CustomizedMetricSpecification.",
            ));
        }
        if predefined(kind).is_none() {
            return Err(ApiError::validation(format!("PredefinedMetricType '{kind}' is not a valid one")));
        }
        if self.resource_label.is_some() {
            return Err(ApiError::validation(format!("ResourceLabel is not supported for {kind}")));
        }
        Ok(TrackedMetric::Predefined(kind.to_owned()))
    }
}

impl CustomizedMetric {
    fn metric(&self) -> Result<TrackedMetric, ApiError> {
        if !self.metrics.is_empty() {
            return Err(ApiError::unsupported(
                "Metric math (Metrics) in target tracking policies is not supported by this cloud; name one metric with MetricName, Namespace and Statistic.",
            ));
        }
        let (Some(name), Some(namespace), Some(statistic)) = (&self.metric_name, &self.namespace, &self.statistic)
        else {
            return Err(ApiError::validation(
                "CustomizedMetricSpecification must have MetricName, Namespace and Statistic",
            ));
        };
        if !matches!(self.period, None | Some(10 | 20 | 30 | 60)) {
            return Err(ApiError::validation("Period of CustomizedMetricSpecification must be 10, 20, 30 or 60"));
        }
        Ok(TrackedMetric::Customized {
            namespace: namespace.clone(),
            name: name.clone(),
            dimensions: self.dimensions.iter().map(|known| (known.name.clone(), known.value.clone())).collect(),
            statistic: statistic.clone(),
            unit: self.unit.clone(),
            period_secs: self.period,
        })
    }
}

/// Name and period of the metric of all of a group's instances.
fn predefined(kind: &str) -> Option<(&'static str, u32)> {
    match kind {
        "ASGAverageCPUUtilization" => Some(("CPUUtilization", DEFAULT_PERIOD_SECS)),
        "ASGAverageCPUUtilizationHighResolution" => Some(("CPUUtilization", HIGH_RESOLUTION_PERIOD_SECS)),
        "ASGAverageNetworkIn" => Some(("NetworkIn", DEFAULT_PERIOD_SECS)),
        "ASGAverageNetworkOut" => Some(("NetworkOut", DEFAULT_PERIOD_SECS)),
        _ => None,
    }
}

fn described(dimensions: &[(String, String)]) -> Vec<Dimension> {
    let dimension = |(name, value): &(String, String)| Dimension { name: name.clone(), value: value.clone() };
    dimensions.iter().map(dimension).collect()
}

/// An alarm as PutMetricAlarm takes it: those of a policy are put like any other.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct OwnAlarm {
    alarm_name: String,
    alarm_description: String,
    alarm_actions: Vec<String>,
    metric_name: String,
    namespace: String,
    statistic: String,
    dimensions: Vec<Dimension>,
    unit: Option<String>,
    period: u32,
    evaluation_periods: u32,
    threshold: f64,
    comparison_operator: &'static str,
}

/// Makes a policy's alarms. Those that it had stay what they are as far as they are needed, or go.
///
/// # Errors
/// When the configuration is wrong.
pub fn put(
    tx: &mut Transaction<'_>,
    caller: &Caller<'_>,
    group_name: &str,
    policy_arn: &str,
    configuration: &TargetTrackingConfiguration,
    existing: Option<&TargetTracking>,
) -> Result<TargetTracking, ApiError> {
    let target = configuration.target_value;
    if !target.is_finite() || target <= 0.0 {
        return Err(ApiError::validation("TargetValue must be a number above 0"));
    }
    let metric = configuration.metric()?;
    let scale_in_disabled = configuration.disable_scale_in.unwrap_or(false);
    let new_name = |end: &str| format!("TargetTracking-{group_name}-{end}-{}", id::uuid());
    let known_high = existing.map(|existing| existing.alarm_high.clone());
    let known_low = existing.and_then(|existing| existing.alarm_low.clone());
    if let Some(known) = known_low.as_ref().filter(|_| scale_in_disabled) {
        tx.delete::<Alarm>(known);
    }
    let alarm_high = known_high.unwrap_or_else(|| new_name("AlarmHigh"));
    let alarm_low = (!scale_in_disabled).then(|| known_low.unwrap_or_else(|| new_name("AlarmLow")));
    let mut put = |alarm_name: &str, comparison_operator, threshold, evaluation_periods| {
        let alarm = OwnAlarm {
            alarm_name: alarm_name.to_owned(),
            alarm_description: format!("DO NOT EDIT OR DELETE. For TargetTrackingScaling policy {policy_arn}."),
            alarm_actions: vec![policy_arn.to_owned()],
            threshold,
            comparison_operator,
            evaluation_periods,
            ..watching(&metric, group_name)
        };
        value::from_node::<PutMetricAlarm>(value::to_node(&alarm)?)?.run(tx, caller)
    };
    put(&alarm_high, "GreaterThanThreshold", target, HIGH_PERIODS)?;
    if let Some(alarm_low) = &alarm_low {
        put(alarm_low, "LessThanThreshold", target * LOW_SHARE, LOW_PERIODS)?;
    }
    Ok(TargetTracking { metric, target, scale_in_disabled, alarm_high, alarm_low })
}

/// The part of an alarm that says what it looks at.
fn watching(metric: &TrackedMetric, group_name: &str) -> OwnAlarm {
    let (namespace, metric_name, dimensions, statistic, unit, period) = match metric {
        TrackedMetric::Predefined(kind) => {
            let (name, period) = predefined(kind).unwrap_or_default();
            let dimension = Dimension { name: "AutoScalingGroupName".to_owned(), value: group_name.to_owned() };
            ("AWS/EC2", name, vec![dimension], "Average", None, period)
        }
        TrackedMetric::Customized { namespace, name, dimensions, statistic, unit, period_secs } => {
            let period = period_secs.unwrap_or(DEFAULT_PERIOD_SECS);
            (namespace.as_str(), name.as_str(), described(dimensions), statistic.as_str(), unit.clone(), period)
        }
    };
    OwnAlarm {
        alarm_name: String::new(),
        alarm_description: String::new(),
        alarm_actions: Vec::new(),
        metric_name: metric_name.to_owned(),
        namespace: namespace.to_owned(),
        statistic: statistic.to_owned(),
        dimensions,
        unit,
        period,
        evaluation_periods: 0,
        threshold: 0.0,
        comparison_operator: "",
    }
}

/// Removes the alarms that a policy made.
pub fn delete_alarms(tx: &mut Transaction<'_>, tracking: &TargetTracking) {
    for name in std::iter::once(&tracking.alarm_high).chain(&tracking.alarm_low) {
        tx.delete::<Alarm>(name);
    }
}
