//! Samples are put by those who measure.

use serde::Deserialize;

use super::{
    asked::{NamedMetric, Wrong, whole_second},
    put_metric_alarm::Dimension,
};
use crate::{
    api::{
        error::ApiError,
        operation::{Caller, Done, Operation},
    },
    metrics::{Sample, StatisticSet},
    model::time::Timestamp,
    store::Transaction,
};

/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricData.html>
const MOST_DATA: usize = 1000;
const MOST_VALUES: usize = 150;
const OLDEST_SECS: i64 = 14 * 86_400;
const NEWEST_SECS: i64 = 2 * 3600;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct PutMetricData {
    namespace: String,
    metric_data: Vec<Datum>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Datum {
    metric_name: String,
    #[serde(default)]
    dimensions: Vec<Dimension>,
    timestamp: Option<Timestamp>,
    value: Option<f64>,
    statistic_values: Option<StatisticValues>,
    #[serde(default)]
    values: Vec<f64>,
    #[serde(default)]
    counts: Vec<f64>,
    unit: Option<String>,
    storage_resolution: Option<u32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct StatisticValues {
    sample_count: f64,
    sum: f64,
    minimum: f64,
    maximum: f64,
}

impl Operation for PutMetricData {
    const ACTION: &'static str = "PutMetricData";
    type Output = Done;

    fn run(self, _tx: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<Done, ApiError> {
        let now = Timestamp::now();
        let mut wrong = Wrong::default();
        wrong.check_namespace("", &self.namespace);
        if self.namespace.starts_with("AWS/") {
            wrong.say("The value AWS/ for parameter Namespace is invalid.".to_owned());
        }
        if self.metric_data.is_empty() {
            wrong.say_missing("MetricData");
        }
        wrong.check_size("MetricData", self.metric_data.len(), MOST_DATA);
        let mut samples = Vec::with_capacity(self.metric_data.len());
        for (index, datum) in self.metric_data.into_iter().enumerate() {
            let path = format!("MetricData.member.{}", index + 1);
            datum.check(&path, now, &mut wrong)?;
            samples.push(datum.into_sample(&self.namespace, now));
        }
        wrong.refuse()?;
        caller.metrics.record(samples);
        Ok(Done {})
    }
}

impl Datum {
    fn check(&self, path: &str, now: Timestamp, wrong: &mut Wrong) -> Result<(), ApiError> {
        self.check_forms(path)?;
        wrong.check_name(&format!("{path}."), &self.metric_name, &self.dimensions);
        for value in self.value.iter().chain(&self.values) {
            let parameter = if self.value.is_some() { "Value" } else { "Values" };
            if !is_in_range(*value) {
                wrong.say(format!("The value {} for parameter {path}.{parameter} is invalid.", said(*value)));
            }
        }
        wrong.check_size(&format!("{path}.Values"), self.values.len(), MOST_VALUES);
        if !self.counts.is_empty() && self.counts.len() != self.values.len() {
            wrong.say(format!("The parameters {path}.Values and {path}.Counts must be of the same size."));
        }
        for count in self.counts.iter().filter(|count| !is_in_range(**count) || **count <= 0.0) {
            wrong.say(format!("The value {} for parameter {path}.Counts is invalid.", said(*count)));
        }
        if let Some(set) = &self.statistic_values {
            set.check(path, wrong);
        }
        wrong.check_unit(&format!("{path}.Unit"), self.unit.as_deref());
        if let Some(resolution) = self.storage_resolution
            && !matches!(resolution, 1 | 60)
        {
            wrong.say(format!("The value {resolution} for parameter {path}.StorageResolution is invalid."));
        }
        if let Some(time) = self.timestamp {
            if time > now.plus_secs(NEWEST_SECS) {
                wrong.say(format!(
                    "The parameter {path}.Timestamp must specify a time no more than two hours in the future."
                ));
            } else if time < now.plus_secs(-OLDEST_SECS) {
                wrong.say(format!("The parameter {path}.Timestamp must specify a time within the past two weeks."));
            }
        }
        Ok(())
    }

    /// A value comes in one of three forms.
    fn check_forms(&self, path: &str) -> Result<(), ApiError> {
        let exclusive = |left: &str, right: &str| {
            format!(
                "The parameters {path}.{left} and {path}.{right} are mutually exclusive and you have specified both."
            )
        };
        match (self.value.is_some(), !self.values.is_empty(), self.statistic_values.is_some()) {
            (true, true, _) => Err(ApiError::new("InvalidParameterCombination", exclusive("Value", "Values"))),
            (true, _, true) => Err(ApiError::new("InvalidParameterCombination", exclusive("Value", "StatisticValues"))),
            (_, true, true) => {
                Err(ApiError::new("InvalidParameterCombination", exclusive("Values", "StatisticValues")))
            }
            (false, false, false) => Err(ApiError::new(
                "InvalidParameterCombination",
                format!("At least one of the parameters {path}.Value and {path}.StatisticValues must be specified."),
            )),
            _ => Ok(()),
        }
    }

    fn into_sample(self, namespace: &str, now: Timestamp) -> Sample {
        let time = whole_second(self.timestamp.unwrap_or(now));
        // What is not of high resolution is kept by the minute.
        let time = if self.storage_resolution == Some(1) { time } else { time.floor_to(60) };
        let counts = self.counts.into_iter().chain(std::iter::repeat(1.0));
        let values = match (self.value, self.statistic_values) {
            (Some(value), _) => StatisticSet::of(value),
            (None, Some(set)) => set.into_set(),
            // Without a value nothing is recorded: the request is refused.
            (None, None) => {
                StatisticSet::of_all(self.values.into_iter().zip(counts)).unwrap_or(StatisticSet::of(f64::NAN))
            }
        };
        let name =
            NamedMetric { namespace: namespace.to_owned(), metric_name: self.metric_name, dimensions: self.dimensions };
        Sample { metric: name.metric(), time, unit: self.unit.unwrap_or_else(|| "None".to_owned()), values }
    }
}

impl StatisticValues {
    fn check(&self, path: &str, wrong: &mut Wrong) {
        let path = format!("{path}.StatisticValues");
        for (name, value) in [("Sum", self.sum), ("Minimum", self.minimum), ("Maximum", self.maximum)] {
            if !is_in_range(value) {
                wrong.say(format!("The value {} for parameter {path}.{name} is invalid.", said(value)));
            }
        }
        if !is_in_range(self.sample_count) || self.sample_count <= 0.0 {
            wrong.say(format!("The value {} for parameter {path}.SampleCount is invalid.", said(self.sample_count)));
        }
        if self.minimum > self.maximum {
            wrong.say(format!("The parameter {path}.Minimum must not be greater than {path}.Maximum."));
        }
    }

    fn into_set(self) -> StatisticSet {
        let (count, sum, minimum, maximum) = (self.sample_count, self.sum, self.minimum, self.maximum);
        // All values are the same: so they are known, and percentiles are.
        let values = if minimum.to_bits() == maximum.to_bits() { vec![(minimum, count)] } else { Vec::new() };
        StatisticSet { count, sum, minimum, maximum, values }
    }
}

/// -2^360 to 2^360.
fn is_in_range(value: f64) -> bool {
    value.abs() <= 2_f64.powi(360)
}

/// As AWS, whose services are written in Java, prints it.
fn said(value: f64) -> String {
    if value.is_infinite() {
        return if value > 0.0 { "Infinity".to_owned() } else { "-Infinity".to_owned() };
    }
    format!("{value:?}")
}
