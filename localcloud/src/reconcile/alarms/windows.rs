//! Which periods of a metric an alarm looks at, and when; what was measured in them.

use std::collections::BTreeMap;

use crate::{
    metrics::{Metric, Metrics, StatisticSet, math, statistic::Statistic},
    model::{
        alarm::{Alarm, MetricQuery, QuerySource},
        time::Timestamp,
    },
};

/// A period, and what was measured in it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Window {
    pub begin: Timestamp,
    pub measured: Option<Measured>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measured {
    pub value: f64,
    /// How many samples the value comes from. Not known of an expression.
    pub samples: Option<f64>,
}

/// Beyond the evaluation periods an alarm looks at this many earlier ones, in case some have no data. AWS gives one example
/// (three periods, a range of five)
/// (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html>).
const EXTRA_PERIODS: u32 = 2;
const DAY_SECS: u64 = 86_400;

/// When an alarm is evaluated. Its periods slide: each evaluation looks at whole periods up to the last step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// 10 s with a period of 10, 20 or 30 s, else a minute; an hour for alarms that look back more than a day
    /// (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-evaluation.html>).
    pub step_secs: u32,
    /// What is measured in a period is recorded a little after its end.
    delay_secs: i64,
    /// A period without data is looked at again this soon, as its data may just be late.
    retry_secs: i64,
}

impl Pace {
    #[must_use]
    pub fn of(period_secs: u32, evaluation_periods: u32) -> Self {
        if period_secs < 60 {
            Self { step_secs: 10, delay_secs: 1, retry_secs: 2 }
        } else if u64::from(period_secs) * u64::from(evaluation_periods) > DAY_SECS {
            Self { step_secs: 3600, delay_secs: 5, retry_secs: 60 }
        } else {
            Self { step_secs: 60, delay_secs: 2, retry_secs: 10 }
        }
    }

    /// The end of the newest period that is over.
    #[must_use]
    pub fn last_end(self, now: Timestamp) -> Timestamp {
        now.plus_secs(-self.delay_secs).floor_to(self.step_secs)
    }

    /// When to look again after a look at `now`.
    #[must_use]
    pub fn next(self, now: Timestamp, newest_is_missing: bool) -> Timestamp {
        let regular = self.last_end(now).plus_secs(i64::from(self.step_secs) + self.delay_secs);
        if newest_is_missing { regular.min(now.plus_secs(self.retry_secs)) } else { regular }
    }
}

/// The evaluation range of an alarm, oldest period first.
#[must_use]
pub fn read(alarm: &Alarm, metrics: &Metrics, end: Timestamp) -> Vec<Window> {
    let period = i64::from(alarm.period_secs.max(1));
    let count = range(alarm.evaluation_periods);
    let length = period.saturating_mul(i64::try_from(count).unwrap_or(i64::MAX));
    // Expressions are computed on the clock's own periods; those of a single metric slide.
    let end = if alarm.metrics.is_empty() { end } else { end.floor_to(alarm.period_secs) };
    let start = end.plus_secs(-length);
    let mut measured: Vec<Option<Measured>> = vec![None; count];
    let values = if alarm.metrics.is_empty() {
        sliding(alarm, metrics, start, end)
    } else {
        computed(alarm, metrics, start, end)
    };
    for (time, value) in values {
        let index = (time.millis() - start.millis()).div_euclid(period * 1000);
        if let Some(place) = usize::try_from(index).ok().and_then(|index| measured.get_mut(index)) {
            *place = Some(value);
        }
    }
    let mut begin = start;
    let mut windows = Vec::with_capacity(count);
    for measured in measured {
        windows.push(Window { begin, measured });
        begin = begin.plus_secs(period);
    }
    windows
}

/// Periods that begin where stored ones need not are put together from smaller ones.
fn sliding(alarm: &Alarm, metrics: &Metrics, start: Timestamp, end: Timestamp) -> Vec<(Timestamp, Measured)> {
    let statistic = alarm.extended_statistic.as_ref().or(alarm.statistic.as_ref());
    let Some(statistic) = statistic.and_then(|name| Statistic::parse(name)) else { return Vec::new() };
    let metric = metric(&alarm.namespace, &alarm.metric_name, &alarm.dimensions);
    let step = Pace::of(alarm.period_secs, alarm.evaluation_periods).step_secs;
    let period_millis = i64::from(alarm.period_secs.max(1)) * 1000;
    let mut sets: BTreeMap<i64, StatisticSet> = BTreeMap::new();
    let finer = common_divisor(alarm.period_secs, step);
    for point in metrics.datapoints(&metric, alarm.unit.as_deref(), (start, end), finer) {
        let index = (point.time.millis() - start.millis()).div_euclid(period_millis);
        match sets.get_mut(&index) {
            Some(set) => set.merge(&point.values),
            None => {
                sets.insert(index, point.values);
            }
        }
    }
    let begin = |index: i64| start.plus_secs(index * period_millis / 1000);
    sets.into_iter()
        .filter_map(|(index, set)| {
            Some((begin(index), Measured { value: statistic.of(&set)?, samples: Some(set.count) }))
        })
        .collect()
}

/// What an alarm's queries come to. An expression that cannot be computed has no data.
fn computed(alarm: &Alarm, metrics: &Metrics, start: Timestamp, end: Timestamp) -> Vec<(Timestamp, Measured)> {
    let queries: Option<Vec<math::Query>> = alarm.metrics.iter().map(query).collect();
    let series = queries.and_then(|queries| math::evaluate(metrics, &queries, (start, end)).ok()).unwrap_or_default();
    let points = series.into_iter().next().map(|series| series.points).unwrap_or_default();
    points.into_iter().map(|(time, value)| (time, Measured { value, samples: None })).collect()
}

fn query(query: &MetricQuery) -> Option<math::Query> {
    let source = match &query.source {
        QuerySource::Metric { namespace, name, dimensions, period_secs, statistic, unit } => math::Source::Metric {
            metric: metric(namespace, name, dimensions),
            statistic: Statistic::parse(statistic)?,
            unit: unit.clone(),
            period_secs: *period_secs,
        },
        QuerySource::Expression { expression, period_secs } => {
            math::Source::Expression { text: expression.clone(), period_secs: *period_secs }
        }
    };
    let label = query.label.clone().unwrap_or_else(|| query.id.clone());
    Some(math::Query { id: query.id.clone(), label, source, return_data: query.return_data })
}

fn metric(namespace: &str, name: &str, dimensions: &[(String, String)]) -> Metric {
    let dimensions: Vec<(&str, &str)> =
        dimensions.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    Metric::new(namespace, name, &dimensions)
}

/// How many periods an evaluation looks at.
#[must_use]
pub fn range(evaluation_periods: u32) -> usize {
    usize::try_from(evaluation_periods.saturating_add(EXTRA_PERIODS)).unwrap_or(usize::MAX)
}

fn common_divisor(left: u32, right: u32) -> u32 {
    if right == 0 { left } else { common_divisor(right, left % right) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: f64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    #[test]
    fn only_periods_that_are_over_are_looked_at() {
        let fast = Pace::of(10, 3);
        assert_eq!(fast.last_end(at(120.9)), at(110.0), "what was just recorded may not be there yet");
        assert_eq!(fast.last_end(at(121.0)), at(120.0));
        assert_eq!(fast.next(at(121.0), false), at(131.0));
        assert_eq!(fast.next(at(121.0), true), at(123.0), "late data is seen soon");
        let slow = Pace::of(300, 2);
        assert_eq!(slow.last_end(at(122.5)), at(120.0), "periods of five minutes slide by a minute");
        assert_eq!(slow.next(at(130.0), false), at(182.0));
        assert_eq!(Pace::of(3600, 48).step_secs, 3600);
    }
}
