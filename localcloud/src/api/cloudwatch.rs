//! Amazon CloudWatch: metrics, and alarms that follow them.

use super::{constraints::Constraints, error::ApiError, operation::Service};
use crate::{model::alarm::Alarm, store::Transaction, wire::xml::Dialect};

pub mod alarm_metrics;
/// What the actions on metrics have in common: metrics as they are named, times, periods, statistics.
mod asked;
pub mod change_alarms;
pub mod describe_alarms;
pub mod get_metric_data;
pub mod get_metric_statistics;
pub mod history;
pub mod list_metrics;
/// Queries of metrics and expressions, as requests carry them.
pub mod metric_query;
pub mod put_composite_alarm;
pub mod put_metric_alarm;
pub mod put_metric_data;
pub mod tags;

#[must_use]
pub fn service() -> Service {
    Service::new(
        "monitoring",
        &["cloudwatch", "monitoring"],
        Dialect::Query,
        "http://monitoring.amazonaws.com/doc/2010-08-01/",
        Some("GraniteServiceVersion20100801"),
    )
    .constrained(Constraints::parse(include_str!("constraints/monitoring.txt"), false))
    .with::<put_metric_alarm::PutMetricAlarm>()
    .with::<put_composite_alarm::PutCompositeAlarm>()
    .with::<describe_alarms::DescribeAlarms>()
    .with::<describe_alarms::DescribeAlarmsForMetric>()
    .with::<history::DescribeAlarmHistory>()
    .with::<change_alarms::DeleteAlarms>()
    .with::<change_alarms::SetAlarmState>()
    .with::<change_alarms::EnableAlarmActions>()
    .with::<change_alarms::DisableAlarmActions>()
    .with::<put_metric_data::PutMetricData>()
    .with::<list_metrics::ListMetrics>()
    .with::<get_metric_statistics::GetMetricStatistics>()
    .with::<get_metric_data::GetMetricData>()
    .with::<tags::TagResource>()
    .with::<tags::UntagResource>()
    .with::<tags::ListTagsForResource>()
}

/// The ARN of an alarm.
#[must_use]
pub fn arn(region: &str, account_id: &str, alarm: &str) -> String {
    format!("arn:aws:cloudwatch:{region}:{account_id}:alarm:{alarm}")
}

/// The alarm of an ARN.
fn find_by_arn(tx: &mut Transaction<'_>, arn: &str) -> Result<std::sync::Arc<Alarm>, ApiError> {
    let mut parts = arn.splitn(7, ':');
    let is_alarm = parts.next() == Some("arn") && parts.nth(1) == Some("cloudwatch") && parts.nth(2) == Some("alarm");
    let name = parts.next().filter(|_| is_alarm);
    let name = name.ok_or_else(|| ApiError::invalid_parameter_value(format!("'{arn}' is not the ARN of an alarm")))?;
    tx.get::<Alarm>(name).ok_or_else(|| {
        ApiError::new("ResourceNotFoundException", format!("The alarm {arn} does not exist")).status(404)
    })
}

/// Statistics of a period
/// (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricAlarm.html>).
const STATISTICS: &[&str] = &["SampleCount", "Average", "Sum", "Minimum", "Maximum"];
const STATES: &[&str] = &["OK", "ALARM", "INSUFFICIENT_DATA"];

fn check_one_of(parameter: &str, value: &str, allowed: &[&str]) -> Result<(), ApiError> {
    if allowed.contains(&value) {
        return Ok(());
    }
    // The service's own words begin so for every enumeration.
    Err(ApiError::validation(format!(
        "1 validation error detected: Value '{value}' at '{parameter}' failed to satisfy constraint: Member must satisfy enum value set: [{}]",
        allowed.join(", ")
    )))
}
