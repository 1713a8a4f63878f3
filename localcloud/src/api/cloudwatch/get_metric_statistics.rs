//! One metric's statistics.

use serde::{Deserialize, Serialize};

use super::{
    STATISTICS,
    asked::{NamedMetric, Wrong, rounded_start, whole_second},
    put_metric_alarm::Dimension,
};
use crate::{
    api::{
        error::ApiError,
        operation::{Caller, Operation},
    },
    metrics::{self, statistic::Statistic},
    model::time::Timestamp,
    store::Transaction,
    wire::value::Dictionary,
};

const MOST_DATAPOINTS: i64 = 1440;
const MOST_EXTENDED: usize = 10;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct GetMetricStatistics {
    namespace: String,
    metric_name: String,
    #[serde(default)]
    dimensions: Vec<Dimension>,
    start_time: Timestamp,
    end_time: Timestamp,
    period: u32,
    #[serde(default)]
    statistics: Vec<String>,
    #[serde(default)]
    extended_statistics: Vec<String>,
    unit: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct GetMetricStatisticsOutput {
    label: String,
    datapoints: Vec<Datapoint>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Datapoint {
    timestamp: Timestamp,
    sample_count: Option<f64>,
    average: Option<f64>,
    sum: Option<f64>,
    minimum: Option<f64>,
    maximum: Option<f64>,
    unit: String,
    extended_statistics: Option<Dictionary<f64>>,
}

impl Operation for GetMetricStatistics {
    const ACTION: &'static str = "GetMetricStatistics";
    type Output = GetMetricStatisticsOutput;

    fn run(self, _tx: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        let name =
            NamedMetric { namespace: self.namespace, metric_name: self.metric_name, dimensions: self.dimensions };
        let mut wrong = Wrong::default();
        name.check("", &mut wrong);
        let extended = statistics(&self.statistics, &self.extended_statistics, &mut wrong)?;
        wrong.check_unit("Unit", self.unit.as_deref());
        wrong.check_period("Period", self.period);
        let (start, end) = (whole_second(self.start_time), whole_second(self.end_time));
        if start == end {
            wrong.say("The parameter StartTime must not equal parameter EndTime.".to_owned());
        } else if start > end {
            wrong.say("The parameter StartTime must be less than the parameter EndTime.".to_owned());
        }
        wrong.refuse()?;
        check_number((start, end), self.period)?;
        let start = rounded_start(start, self.period, Timestamp::now());
        let metric = name.metric();
        let by_unit = caller.metrics.datapoints_by_unit(&metric, self.unit.as_deref(), (start, end), self.period);
        let mut datapoints: Vec<Datapoint> = by_unit
            .iter()
            .flat_map(|(unit, points)| points.iter().map(move |point| (unit, point)))
            .map(|(unit, point)| describe(point, unit, &self.statistics, &extended))
            .collect();
        datapoints.sort_by_key(|datapoint| datapoint.timestamp);
        Ok(GetMetricStatisticsOutput { label: metric.name, datapoints })
    }
}

/// The extended statistics, with their names.
fn statistics(plain: &[String], extended: &[String], wrong: &mut Wrong) -> Result<Vec<(String, Statistic)>, ApiError> {
    if plain.is_empty() == extended.is_empty() {
        return Err(ApiError::new(
            "InvalidParameterCombination",
            "Must specify either Statistics or ExtendedStatistics, but not both.",
        ));
    }
    for (index, statistic) in plain.iter().enumerate() {
        wrong.check_one_of(&format!("Statistics.member.{}", index + 1), statistic, STATISTICS);
    }
    wrong.check_size("Statistics", plain.len(), STATISTICS.len());
    wrong.check_size("ExtendedStatistics", extended.len(), MOST_EXTENDED);
    let mut known = Vec::new();
    for (index, text) in extended.iter().enumerate() {
        match Statistic::parse(text).filter(|_| !STATISTICS.contains(&text.as_str())) {
            Some(statistic) => known.push((text.clone(), statistic)),
            None => wrong.say(format!(
                "The value {text} for parameter ExtendedStatistics.member.{} is not supported.",
                index + 1
            )),
        }
    }
    Ok(known)
}

fn check_number((start, end): (Timestamp, Timestamp), period_secs: u32) -> Result<(), ApiError> {
    let length = end.millis().saturating_sub(start.millis()) / 1000;
    let number = length.saturating_add(i64::from(period_secs) - 1) / i64::from(period_secs);
    if number <= MOST_DATAPOINTS {
        return Ok(());
    }
    Err(ApiError::new(
        "InvalidParameterCombination",
        format!(
            "You have requested up to {number} datapoints, which exceeds the limit of {MOST_DATAPOINTS}. You may reduce the datapoints requested by increasing Period, or decreasing the time range."
        ),
    ))
}

fn describe(point: &metrics::Datapoint, unit: &str, asked: &[String], extended: &[(String, Statistic)]) -> Datapoint {
    let plain = |name: &str| {
        let is_asked = asked.iter().any(|asked| asked == name);
        Statistic::parse(name).filter(|_| is_asked).and_then(|statistic| statistic.of(&point.values))
    };
    let values = extended.iter().filter_map(|(name, statistic)| Some((name.clone(), statistic.of(&point.values)?)));
    Datapoint {
        timestamp: point.time,
        sample_count: plain("SampleCount"),
        average: plain("Average"),
        sum: plain("Sum"),
        minimum: plain("Minimum"),
        maximum: plain("Maximum"),
        unit: unit.to_owned(),
        extended_statistics: (!extended.is_empty()).then(|| Dictionary(values.collect())),
    }
}
