//! Metrics: samples under a namespace, a name and dimensions. They are no records: a sample is written once and never
//! changed, and a kill may cost the last ten seconds. The newest are in memory, packed; older ones are on disk, and become
//! coarser with age.

/// Samples of one series, packed.
mod chunk;
/// Samples on disk.
mod disk;
/// Keeps the disk up with what is recorded.
mod keeper;
/// Metric math: expressions over metrics.
pub mod math;
/// Samples in memory.
mod recent;
/// Many values in few.
mod sketch;
/// What a period's samples come to: average, sum, percentile.
pub mod statistic;
/// For how long samples are kept at which resolution.
mod tier;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::model::time::Timestamp;
use chunk::Point;
use keeper::Keeper;
pub use keeper::keep;
use recent::Recent;

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
        if self.values.len() > MOST_VALUES_IN_MEMORY {
            sketch::bound(&mut self.values, MOST_VALUES_IN_MEMORY / 2);
        }
    }

    /// Whether the values are all that was measured, as percentiles need them.
    #[must_use]
    pub fn has_all_values(&self) -> bool {
        let known: f64 = self.values.iter().map(|(_, count)| count).sum();
        (known - self.count).abs() <= self.count.abs() * 1e-9
    }
}

/// Of different values, while a period is put together. Beyond this, near ones become one.
const MOST_VALUES_IN_MEMORY: usize = 1024;

/// What was measured in one period.
#[derive(Debug, Clone, PartialEq)]
pub struct Datapoint {
    /// When the period begins.
    pub time: Timestamp,
    pub values: StatisticSet,
}

/// All metrics of one cloud. The default one is in memory only.
#[derive(Default)]
pub struct Metrics {
    recent: Mutex<Recent>,
    keeper: Option<Keeper>,
}

impl Metrics {
    /// Takes a sample. A value beyond what a number can say of a time or a measure is not taken.
    pub fn record(&self, samples: Vec<Sample>) {
        let mut recent = self.lock();
        for Sample { metric, time, unit, mut values } in samples {
            let numbers = [values.count, values.sum, values.minimum, values.maximum];
            if numbers.iter().all(|number| number.is_finite()) {
                tier::bound(&mut values, tier::RAW.most_values());
                recent.record(metric, unit, time.millis(), &values);
            }
        }
    }

    /// Everything that is known of a metric from a time on, oldest first.
    #[must_use]
    pub fn since(&self, metric: &Metric, start: Timestamp) -> Vec<Sample> {
        let mut samples: Vec<Sample> = Vec::new();
        for (unit, points) in self.read(metric, None, (start.millis(), i64::MAX), 0) {
            samples.extend(points.into_iter().map(|point| Sample {
                metric: metric.clone(),
                time: Timestamp::from_millis(point.time),
                unit: unit.clone(),
                values: point.values,
            }));
        }
        samples.sort_by_key(|sample| sample.time);
        samples
    }

    /// A metric by periods, oldest first: those in which something was measured. A period begins at a multiple of its
    /// length, and holds what was measured from there until the next one begins. Without a unit, samples of all units count.
    /// Samples that have become coarser than the period with age do not.
    #[must_use]
    pub fn datapoints(
        &self,
        metric: &Metric,
        unit: Option<&str>,
        (start, end): (Timestamp, Timestamp),
        period_secs: u32,
    ) -> Vec<Datapoint> {
        self.datapoints_from(metric, unit, (start, end), period_secs, Timestamp::from_millis(0))
    }

    /// As [`Self::datapoints`], with periods that are counted from `origin`.
    fn datapoints_from(
        &self,
        metric: &Metric,
        unit: Option<&str>,
        (start, end): (Timestamp, Timestamp),
        period_secs: u32,
        origin: Timestamp,
    ) -> Vec<Datapoint> {
        let of_units = self.read(metric, unit, (start.millis(), end.millis()), period_secs.into());
        by_period(of_units.into_iter().flat_map(|(_, points)| points), origin, period_secs)
    }

    /// As [`Self::datapoints`], for each unit on its own, with periods that begin at `start`, as GetMetricStatistics counts
    /// them.
    #[must_use]
    pub fn datapoints_by_unit(
        &self,
        metric: &Metric,
        unit: Option<&str>,
        (start, end): (Timestamp, Timestamp),
        period_secs: u32,
    ) -> Vec<(String, Vec<Datapoint>)> {
        let of_units = self.read(metric, unit, (start.millis(), end.millis()), period_secs.into()).into_iter();
        of_units.map(|(unit, points)| (unit, by_period(points, start, period_secs))).collect()
    }

    /// Metrics of a namespace and a name that have a sample since a time, in their order.
    #[must_use]
    pub fn list(&self, namespace: Option<&str>, name: Option<&str>, since: Timestamp) -> Vec<Arc<Metric>> {
        self.lock().list(namespace, name, since.millis())
    }

    /// Samples between two times, oldest first, by unit; without those that have become too coarse for such a period.
    fn read(
        &self,
        metric: &Metric,
        unit: Option<&str>,
        range: (i64, i64),
        period_secs: i64,
    ) -> Vec<(String, Vec<Point>)> {
        let (found, older) = {
            let recent = self.lock();
            let wanted = recent.of(metric).filter(|(_, series)| unit.is_none_or(|unit| unit == series.unit));
            let found: Vec<(u64, String, Vec<Point>)> =
                wanted.map(|(id, series)| (id, series.unit.clone(), series.points(range))).collect();
            // Taken while nothing can move from memory to disk: each sample is seen once.
            let older = self
                .keeper
                .as_ref()
                .filter(|_| !found.is_empty())
                .and_then(|keeper| keeper.snapshot(range, period_secs));
            (found, older)
        };
        let whole = found.into_iter().map(|(id, unit, mut points)| {
            if let Some(older) = &older {
                points.extend(keeper::or_log(older.points(id, range)).unwrap_or_default());
            }
            points.sort_by_key(|point| point.time);
            (unit, points)
        });
        whole.collect()
    }

    fn lock(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Puts points together by period; periods are counted from `origin`.
fn by_period(points: impl IntoIterator<Item = Point>, origin: Timestamp, period_secs: u32) -> Vec<Datapoint> {
    let period_millis = i64::from(period_secs.max(1)) * 1000;
    let mut periods: BTreeMap<i64, StatisticSet> = BTreeMap::new();
    for point in points {
        let whole = point.time.saturating_sub(origin.millis()).div_euclid(period_millis);
        let begin = whole.saturating_mul(period_millis).saturating_add(origin.millis());
        match periods.get_mut(&begin) {
            Some(values) => values.merge(&point.values),
            None => {
                periods.insert(begin, point.values);
            }
        }
    }
    let datapoints = periods.into_iter();
    datapoints.map(|(time, values)| Datapoint { time: Timestamp::from_millis(time), values }).collect()
}

#[cfg(test)]
mod tests;
