//! Which metrics of a group's sizes are collected.

use serde::{Deserialize, Serialize};

use super::find_changeable;
use crate::{
    api::{
        error::ApiError,
        operation::{Caller, Done, Operation},
    },
    store::Transaction,
};

/// What is collected of a group that has no warm pool
/// (<https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-metrics.html>).
pub const GROUP_METRICS: &[&str] = &[
    "GroupMinSize",
    "GroupMaxSize",
    "GroupDesiredCapacity",
    "GroupInServiceInstances",
    "GroupPendingInstances",
    "GroupStandbyInstances",
    "GroupTerminatingInstances",
    "GroupTotalInstances",
    "GroupInServiceCapacity",
    "GroupPendingCapacity",
    "GroupStandbyCapacity",
    "GroupTerminatingCapacity",
    "GroupTotalCapacity",
];
const WARM_POOL_METRICS: &[&str] = &[
    "WarmPoolDesiredCapacity",
    "WarmPoolWarmedCapacity",
    "WarmPoolPendingCapacity",
    "WarmPoolTerminatingCapacity",
    "WarmPoolTotalCapacity",
    "GroupAndWarmPoolDesiredCapacity",
    "GroupAndWarmPoolTotalCapacity",
];
/// The only one that AWS takes. Samples are taken more often here, as of everything.
const GRANULARITY: &str = "1Minute";

/// The metrics of these names, or all.
fn chosen(names: Vec<String>) -> Result<Vec<String>, ApiError> {
    if let Some(name) = names.iter().find(|name| WARM_POOL_METRICS.contains(&name.as_str())) {
        return Err(ApiError::unsupported(format!("{name}: warm pools are not supported by this cloud.")));
    }
    if let Some(unknown) = names.iter().find(|name| !GROUP_METRICS.contains(&name.as_str())) {
        return Err(ApiError::validation(format!("Metric type {unknown} is not valid.")));
    }
    Ok(if names.is_empty() { GROUP_METRICS.iter().map(|&name| name.to_owned()).collect() } else { names })
}

/// <https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_EnableMetricsCollection.html>
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct EnableMetricsCollection {
    auto_scaling_group_name: String,
    granularity: String,
    #[serde(default)]
    metrics: Vec<String>,
}

impl Operation for EnableMetricsCollection {
    const ACTION: &'static str = "EnableMetricsCollection";
    type Output = Done;

    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Done, ApiError> {
        if self.granularity != GRANULARITY {
            return Err(ApiError::validation(format!(
                "Granularity {} is not valid. The only valid value is {GRANULARITY}.",
                self.granularity
            )));
        }
        let metrics = chosen(self.metrics)?;
        let mut group = find_changeable(tx, &self.auto_scaling_group_name)?;
        group.enabled_metrics.extend(metrics);
        tx.put(group);
        Ok(Done {})
    }
}

/// <https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_DisableMetricsCollection.html>
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DisableMetricsCollection {
    auto_scaling_group_name: String,
    #[serde(default)]
    metrics: Vec<String>,
}

impl Operation for DisableMetricsCollection {
    const ACTION: &'static str = "DisableMetricsCollection";
    type Output = Done;

    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Done, ApiError> {
        let metrics = chosen(self.metrics)?;
        let mut group = find_changeable(tx, &self.auto_scaling_group_name)?;
        group.enabled_metrics.retain(|name| !metrics.contains(name));
        tx.put(group);
        Ok(Done {})
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DescribeMetricCollectionTypes {}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct DescribeMetricCollectionTypesOutput {
    metrics: Vec<MetricType>,
    granularities: Vec<GranularityType>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct MetricType {
    metric: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct GranularityType {
    granularity: &'static str,
}

impl Operation for DescribeMetricCollectionTypes {
    const ACTION: &'static str = "DescribeMetricCollectionTypes";
    type Output = DescribeMetricCollectionTypesOutput;

    fn run(self, _tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        Ok(DescribeMetricCollectionTypesOutput {
            metrics: GROUP_METRICS.iter().map(|&metric| MetricType { metric }).collect(),
            granularities: vec![GranularityType { granularity: GRANULARITY }],
        })
    }
}

/// As part of a group's description.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct EnabledMetric {
    metric: String,
    granularity: &'static str,
}

impl EnabledMetric {
    pub fn of(name: &str) -> Self {
        Self { metric: name.to_owned(), granularity: GRANULARITY }
    }
}
