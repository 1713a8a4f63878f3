//! What a period's samples come to: average, sum, percentile.

/// Statistics of a part of the values.
mod trimmed;

use super::StatisticSet;
pub use trimmed::Trimmed;

/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Statistics-definitions.html>
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Statistic {
    SampleCount,
    Average,
    Sum,
    Minimum,
    Maximum,
    /// 0 to 100.
    Percentile(f64),
    /// `tm99`, `PR(:300)`
    Trimmed(Trimmed),
}

impl Statistic {
    /// `Average`, `p99.9`
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "SampleCount" => Some(Self::SampleCount),
            "Average" => Some(Self::Average),
            "Sum" => Some(Self::Sum),
            "Minimum" => Some(Self::Minimum),
            "Maximum" => Some(Self::Maximum),
            _ => match text.strip_prefix('p') {
                Some(number) => percent(number).map(Self::Percentile),
                None => Trimmed::parse(text).map(Self::Trimmed),
            },
        }
    }

    /// `None` where the values are not known, as for a percentile of a metric that was put as a statistic set.
    #[must_use]
    pub fn of(self, set: &StatisticSet) -> Option<f64> {
        match self {
            Self::SampleCount => Some(set.count),
            Self::Average => (set.count > 0.0).then(|| set.sum / set.count),
            Self::Sum => Some(set.sum),
            Self::Minimum => Some(set.minimum),
            Self::Maximum => Some(set.maximum),
            Self::Percentile(percentile) => percentile_of(&sorted(set)?, percentile),
            Self::Trimmed(trimmed) => trimmed.of(&sorted(set)?),
        }
    }
}

/// Digits and a point: no `1e1`, no `+5`, no `nan`.
fn number(text: &str) -> Option<f64> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    text.parse().ok().filter(|_| plain)
}

fn percent(text: &str) -> Option<f64> {
    number(text).filter(|number| (0.0..=100.0).contains(number))
}

/// The values in rising order. There are none where not all values are known, or one is negative
/// (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_GetMetricStatistics.html>).
fn sorted(set: &StatisticSet) -> Option<Vec<(f64, f64)>> {
    if set.minimum < 0.0 || !set.has_all_values() {
        return None;
    }
    let mut sorted = set.values.clone();
    sorted.sort_by(|left, right| left.0.total_cmp(&right.0));
    Some(sorted)
}

/// The least value that is not below the given share of all values (nearest rank).
fn percentile_of(sorted: &[(f64, f64)], percentile: f64) -> Option<f64> {
    let total: f64 = sorted.iter().map(|(_, count)| count).sum();
    let rank = (percentile / 100.0 * total).max(f64::MIN_POSITIVE);
    let mut seen = 0.0;
    let found = sorted.iter().find(|(_, count)| {
        seen += count;
        seen >= rank
    });
    found.or(sorted.last()).map(|(value, _)| *value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_a_value_that_was_measured() {
        let set = StatisticSet::of_all([(10.0, 1.0), (1.0, 98.0), (20.0, 1.0)]).expect("values");
        assert_eq!(Statistic::parse("p50").and_then(|p50| p50.of(&set)), Some(1.0));
        assert_eq!(Statistic::parse("p99").and_then(|p99| p99.of(&set)), Some(10.0));
        assert_eq!(Statistic::parse("p100").and_then(|p100| p100.of(&set)), Some(20.0));
        assert_eq!(Statistic::parse("p101"), None);
    }

    #[test]
    fn there_is_no_percentile_of_sums_or_of_negative_values() {
        let p50 = Statistic::Percentile(50.0);
        let mut set = StatisticSet::of(5.0);
        set.merge(&StatisticSet { count: 2.0, sum: 3.0, minimum: 1.0, maximum: 2.0, values: Vec::new() });
        assert_eq!(p50.of(&set), None);
        assert_eq!(Statistic::Average.of(&set), Some(8.0 / 3.0));
        assert_eq!(p50.of(&StatisticSet::of_all([(-1.0, 1.0), (5.0, 9.0)]).expect("values")), None);
    }
}
