//! Which periods of a metric an alarm looks at, and when; what was measured in them.

use crate::{
    metrics::{Metric, Metrics, StatisticSet, statistic::Statistic},
    model::{
        alarm::{Alarm, QuerySource},
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
            Self { step_secs: 10, delay_secs: 1, retry_secs: 1 }
        } else if u64::from(period_secs) * u64::from(evaluation_periods) > DAY_SECS {
            Self { step_secs: 3600, delay_secs: 5, retry_secs: 60 }
        } else {
            Self { step_secs: 60, delay_secs: 2, retry_secs: 5 }
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
    let Some((metric, statistic, unit)) = watched(alarm) else { return Vec::new() };
    let period = alarm.period_secs.max(1);
    let mut sets: Vec<Option<StatisticSet>> = vec![None; range(alarm.evaluation_periods)];
    let start = end.plus_secs(-i64::from(period) * i64::try_from(sets.len()).unwrap_or_default());
    // Sliding periods begin where stored ones need not: they are put together from smaller ones.
    let step = Pace::of(period, alarm.evaluation_periods).step_secs;
    for point in metrics.datapoints(&metric, unit, (start, end), common_divisor(period, step)) {
        let index = (point.time.millis() - start.millis()).div_euclid(i64::from(period) * 1000);
        let Some(set) = usize::try_from(index).ok().and_then(|index| sets.get_mut(index)) else { continue };
        match set {
            Some(set) => set.merge(&point.values),
            None => *set = Some(point.values),
        }
    }
    let mut begin = start;
    let mut windows = Vec::with_capacity(sets.len());
    for set in sets {
        let measured = set.and_then(|set| statistic.of(&set).map(|value| Measured { value, samples: Some(set.count) }));
        windows.push(Window { begin, measured });
        begin = begin.plus_secs(period.into());
    }
    windows
}

/// The metric, statistic and unit of an alarm that watches a single metric.
fn watched(alarm: &Alarm) -> Option<(Metric, Statistic, Option<&str>)> {
    let result = alarm.metrics.iter().find(|query| query.return_data).map(|query| &query.source);
    let (namespace, name, dimensions, statistic, unit) = match result {
        Some(QuerySource::Metric { namespace, name, dimensions, statistic, unit, .. }) => {
            (namespace, name, dimensions, Some(statistic), unit)
        }
        Some(QuerySource::Expression { .. }) => return None,
        None => {
            let statistic = alarm.extended_statistic.as_ref().or(alarm.statistic.as_ref());
            (&alarm.namespace, &alarm.metric_name, &alarm.dimensions, statistic, &alarm.unit)
        }
    };
    let dimensions: Vec<(&str, &str)> =
        dimensions.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    Some((Metric::new(namespace, name, &dimensions), Statistic::parse(statistic?)?, unit.as_deref()))
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
        assert_eq!(fast.next(at(121.0), true), at(122.0), "late data is seen soon");
        let slow = Pace::of(300, 2);
        assert_eq!(slow.last_end(at(122.5)), at(120.0), "periods of five minutes slide by a minute");
        assert_eq!(slow.next(at(130.0), false), at(182.0));
        assert_eq!(Pace::of(3600, 48).step_secs, 3600);
    }
}
