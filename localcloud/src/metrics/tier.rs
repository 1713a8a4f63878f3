//! For how long samples are kept at which resolution
//! (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch_concepts.html#metrics-retention>).

use super::{StatisticSet, chunk::Point, sketch};

/// Samples of one resolution. They lie in windows, which are written, made coarser and deleted as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tier {
    pub number: u8,
    /// All samples of a step are one; in the finest tier each stays what it is.
    step_secs: Option<i64>,
    window_secs: i64,
    /// How long they must stay so; then they go to the next tier.
    keep_secs: i64,
    /// Of how many different values a sample may be.
    most_values: usize,
}

const DAY_SECS: i64 = 86_400;

/// As it was measured.
pub(super) const RAW: Tier =
    Tier { number: 0, step_secs: None, window_secs: 900, keep_secs: 3 * 3600, most_values: 150 };
/// From the finest to the coarsest. Each window lies within one of the next tier.
pub(super) const TIERS: [Tier; 4] = [
    RAW,
    Tier { number: 1, step_secs: Some(60), window_secs: 6 * 3600, keep_secs: 15 * DAY_SECS, most_values: 32 },
    Tier { number: 2, step_secs: Some(300), window_secs: DAY_SECS, keep_secs: 63 * DAY_SECS, most_values: 48 },
    Tier { number: 3, step_secs: Some(3600), window_secs: 30 * DAY_SECS, keep_secs: 455 * DAY_SECS, most_values: 64 },
];

impl Tier {
    /// Begin of the window that a time lies in; both in milliseconds.
    pub(super) fn window_of(self, time: i64) -> i64 {
        let length = self.window_secs * 1000;
        time.div_euclid(length).saturating_mul(length)
    }

    pub(super) fn end_of(self, window: i64) -> i64 {
        window.saturating_add(self.window_secs * 1000)
    }

    /// Whether a period of this length, in seconds, is made of whole steps.
    pub(super) fn serves(self, period_secs: i64) -> bool {
        self.step_secs.is_none_or(|step| period_secs % step == 0)
    }

    pub(super) fn most_values(self) -> usize {
        self.most_values
    }

    pub(super) fn keep_millis(self) -> i64 {
        self.keep_secs * 1000
    }

    /// The next coarser one.
    pub(super) fn coarser(self) -> Option<Self> {
        TIERS.get(usize::from(self.number) + 1).copied()
    }

    /// Points as this tier keeps them, by time.
    pub(super) fn merged(self, mut points: Vec<Point>) -> Vec<Point> {
        points.sort_by_key(|point| point.time);
        let Some(step) = self.step_secs.map(|step| step * 1000) else { return points };
        let mut merged: Vec<Point> = Vec::new();
        for point in points {
            let time = point.time.div_euclid(step).saturating_mul(step);
            match merged.last_mut() {
                Some(last) if last.time == time => last.values.merge(&point.values),
                _ => merged.push(Point { time, ..point }),
            }
        }
        for point in &mut merged {
            bound(&mut point.values, self.most_values);
        }
        merged
    }
}

/// Keeps what a sample says of its single values small.
pub(super) fn bound(set: &mut StatisticSet, most: usize) {
    if set.has_all_values() {
        sketch::bound(&mut set.values, most);
    } else {
        // Values that are not all of them would lead percentiles astray.
        set.values.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_window_lies_within_one_of_the_next_tier() {
        for pair in TIERS.windows(2) {
            assert_eq!(pair[1].window_secs % pair[0].window_secs, 0);
            assert_eq!(pair[0].coarser(), Some(pair[1]));
        }
        assert_eq!(RAW.window_of(-1), -900_000);
        assert_eq!(RAW.window_of(900_000), 900_000);
    }

    #[test]
    fn a_step_holds_the_sum_of_its_samples() {
        let points = (0..12).map(|index| Point {
            time: 10_000 * (11 - index),
            #[expect(clippy::cast_precision_loss, reason = "small")]
            values: StatisticSet::of(index as f64),
        });
        let merged = TIERS[1].merged(points.collect());
        assert_eq!(merged.iter().map(|point| point.time).collect::<Vec<_>>(), [0, 60_000]);
        let first = &merged[0].values;
        assert_eq!((first.count, first.sum, first.minimum, first.maximum), (6.0, 51.0, 6.0, 11.0));
        assert_eq!(merged[1].values.values.len(), 6);
    }

    #[test]
    fn a_sample_that_is_only_sums_takes_the_others_percentiles_away() {
        let sums = StatisticSet { count: 2.0, sum: 3.0, minimum: 1.0, maximum: 2.0, values: Vec::new() };
        let points = vec![Point { time: 0, values: sums }, Point { time: 1, values: StatisticSet::of(5.0) }];
        let merged = TIERS[1].merged(points);
        assert_eq!(merged.len(), 1);
        assert_eq!(merged[0].values.sum, 8.0);
        assert!(merged[0].values.values.is_empty());
    }
}
