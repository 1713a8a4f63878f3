//! What a period's samples come to: average, sum, percentile.

use super::StatisticSet;

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
            _ => {
                let percentile = text.strip_prefix('p')?.parse().ok()?;
                (0.0..=100.0).contains(&percentile).then_some(Self::Percentile(percentile))
            }
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
            Self::Percentile(percentile) => percentile_of(&set.values, percentile),
        }
    }
}

/// The least value that is not below the given share of all values (nearest rank).
fn percentile_of(values: &[(f64, f64)], percentile: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(|left, right| left.0.total_cmp(&right.0));
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
}
