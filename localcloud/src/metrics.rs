//! Metrics: samples under a namespace, a name and dimensions. They are no records: a sample is written once and never
//! changed, and a power cut may cost the last seconds.

/// Metric math: expressions over metrics.
pub mod math;
/// What a period's samples come to: average, sum, percentile.
pub mod statistic;

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::model::time::Timestamp;

/// What is measured (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch_concepts.html#Metric>).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Metric {
    /// `AWS/EC2`
    pub namespace: String,
    /// `CPUUtilization`
    pub name: String,
    /// By name: `InstanceId` → `i-…`. Other dimensions are another metric.
    pub dimensions: BTreeMap<String, String>,
}

impl Metric {
    #[must_use]
    pub fn new(namespace: &str, name: &str, dimensions: &[(&str, &str)]) -> Self {
        let dimensions = dimensions.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self { namespace: namespace.to_owned(), name: name.to_owned(), dimensions }
    }
}

/// What was measured at one point in time.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    pub metric: Metric,
    pub time: Timestamp,
    /// `Percent`, `Bytes`, `Count`, `Seconds`, `None`.
    pub unit: String,
    pub values: StatisticSet,
}

impl Sample {
    /// A single value.
    #[must_use]
    pub fn of(metric: Metric, time: Timestamp, unit: &str, value: f64) -> Self {
        Self { metric, time, unit: unit.to_owned(), values: StatisticSet::of(value) }
    }
}

/// Many values in one.
#[derive(Debug, Clone, PartialEq)]
pub struct StatisticSet {
    pub count: f64,
    pub sum: f64,
    pub minimum: f64,
    pub maximum: f64,
    /// The values themselves with how often each occurred, where they are known: percentiles come from them.
    pub values: Vec<(f64, f64)>,
}

impl StatisticSet {
    #[must_use]
    pub fn of(value: f64) -> Self {
        Self { count: 1.0, sum: value, minimum: value, maximum: value, values: vec![(value, 1.0)] }
    }

    /// Values, each with how often it occurred; `None` if there are none.
    #[must_use]
    pub fn of_all(values: impl IntoIterator<Item = (f64, f64)>) -> Option<Self> {
        let mut sets = values.into_iter().map(|(value, count)| Self {
            count,
            sum: value * count,
            minimum: value,
            maximum: value,
            values: vec![(value, count)],
        });
        let first = sets.next()?;
        Some(sets.fold(first, |mut all, set| {
            all.merge(&set);
            all
        }))
    }

    pub fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.sum += other.sum;
        self.minimum = self.minimum.min(other.minimum);
        self.maximum = self.maximum.max(other.maximum);
        self.values.extend_from_slice(&other.values);
    }
}

/// What was measured in one period.
#[derive(Debug, Clone, PartialEq)]
pub struct Datapoint {
    /// When the period begins.
    pub time: Timestamp,
    pub values: StatisticSet,
}

/// All metrics of one cloud.
#[derive(Default)]
pub struct Metrics {
    inner: Mutex<BTreeMap<Metric, Vec<Sample>>>,
}

impl Metrics {
    pub fn record(&self, samples: Vec<Sample>) {
        let mut inner = self.lock();
        for sample in samples {
            inner.entry(sample.metric.clone()).or_default().push(sample);
        }
    }

    /// Everything that is known of a metric from a time on, oldest first.
    #[must_use]
    pub fn since(&self, metric: &Metric, start: Timestamp) -> Vec<Sample> {
        let inner = self.lock();
        let samples = inner.get(metric).map(Vec::as_slice).unwrap_or_default();
        samples.iter().filter(|sample| sample.time >= start).cloned().collect()
    }

    /// A metric by periods, oldest first: those in which something was measured. A period begins at a multiple of its
    /// length, and holds what was measured from there until the next one begins. Without a unit, samples of all units count.
    #[must_use]
    pub fn datapoints(
        &self,
        metric: &Metric,
        unit: Option<&str>,
        (start, end): (Timestamp, Timestamp),
        period_secs: u32,
    ) -> Vec<Datapoint> {
        let mut periods: BTreeMap<Timestamp, StatisticSet> = BTreeMap::new();
        for sample in self.since(metric, start) {
            if sample.time >= end || unit.is_some_and(|unit| unit != sample.unit) {
                continue;
            }
            let begin = sample.time.floor_to(period_secs);
            match periods.get_mut(&begin) {
                Some(values) => values.merge(&sample.values),
                None => {
                    periods.insert(begin, sample.values);
                }
            }
        }
        periods.into_iter().map(|(time, values)| Datapoint { time, values }).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Metric, Vec<Sample>>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
