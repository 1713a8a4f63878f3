//! Statistics of a part of the values
//! (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Statistics-definitions.html>).

use super::{number, percent, percentile_of};

/// `tm99` and `TM(:99%)` leave out the highest hundredth, `TM(100:2000)` what is not above 100 or is above 2000.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Trimmed {
    kind: Kind,
    bounds: Bounds,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Mean,
    /// What lies outside counts as if it lay on the bound.
    WinsorizedMean,
    /// The share of values between the bounds, in percent.
    PercentileRank,
    Count,
    Sum,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Bounds {
    /// Shares of all values, 0 to 100.
    Percents(f64, f64),
    /// Above the lower, up to the upper.
    Values(f64, f64),
}

impl Trimmed {
    pub(super) fn parse(text: &str) -> Option<Self> {
        if text == "IQM" {
            return Some(Self { kind: Kind::Mean, bounds: Bounds::Percents(25.0, 75.0) });
        }
        let (name, rest) = text.split_at_checked(2)?;
        let kind = match name.to_ascii_uppercase().as_str() {
            "TM" => Kind::Mean,
            "WM" => Kind::WinsorizedMean,
            "PR" => Kind::PercentileRank,
            "TC" => Kind::Count,
            "TS" => Kind::Sum,
            _ => return None,
        };
        let bounds = match rest.strip_prefix('(') {
            Some(inner) => bounds(inner.strip_suffix(')')?)?,
            None => Bounds::Percents(0.0, percent(rest)?),
        };
        // A rank in percent of values in percent says nothing.
        let is_idle = kind == Kind::PercentileRank && matches!(bounds, Bounds::Percents(..));
        (!is_idle).then_some(Self { kind, bounds })
    }

    /// Of values in rising order, each with how often it occurred.
    pub(super) fn of(self, sorted: &[(f64, f64)]) -> Option<f64> {
        let total: f64 = sorted.iter().map(|(_, count)| count).sum();
        let kept: Vec<(f64, f64)> = match self.kind {
            Kind::WinsorizedMean => self.winsorized(sorted)?,
            _ => self.between(sorted, total),
        };
        let count: f64 = kept.iter().map(|(_, count)| count).sum();
        let sum: f64 = kept.iter().map(|(value, count)| value * count).sum();
        match self.kind {
            Kind::Count => Some(count),
            Kind::Sum => Some(sum),
            Kind::PercentileRank => (total > 0.0).then(|| count / total * 100.0),
            Kind::Mean | Kind::WinsorizedMean => (count > 0.0).then(|| sum / count),
        }
    }

    fn between(self, sorted: &[(f64, f64)], total: f64) -> Vec<(f64, f64)> {
        match self.bounds {
            Bounds::Values(low, high) => {
                sorted.iter().copied().filter(|(value, _)| *value > low && *value <= high).collect()
            }
            Bounds::Percents(low, high) => {
                let (low, high) = (low / 100.0 * total, high / 100.0 * total);
                let mut seen = 0.0;
                let kept = sorted.iter().map(|(value, count)| {
                    let (from, to) = (f64::max(seen, low), f64::min(seen + count, high));
                    seen += count;
                    (*value, (to - from).max(0.0))
                });
                kept.filter(|(_, count)| *count > 0.0).collect()
            }
        }
    }

    fn winsorized(self, sorted: &[(f64, f64)]) -> Option<Vec<(f64, f64)>> {
        let (low, high) = match self.bounds {
            Bounds::Values(low, high) => (low, high),
            Bounds::Percents(low, high) => (percentile_of(sorted, low)?, percentile_of(sorted, high)?),
        };
        Some(sorted.iter().map(|(value, count)| (value.max(low).min(high), *count)).collect())
    }
}

/// `10%:90%`, `:99%`, `100:2000`, `100:`
fn bounds(text: &str) -> Option<Bounds> {
    let (low, high) = text.split_once(':')?;
    if low.is_empty() && high.is_empty() {
        return None;
    }
    let in_percent = low.ends_with('%') || high.ends_with('%');
    let bound = |text: &str, none: f64| match (text, in_percent) {
        ("", _) => Some(none),
        (text, true) => percent(text.strip_suffix('%')?),
        (text, false) => number(text),
    };
    let (low, high) = if in_percent {
        (bound(low, 0.0)?, bound(high, 100.0)?)
    } else {
        (bound(low, f64::NEG_INFINITY)?, bound(high, f64::INFINITY)?)
    };
    (low < high).then_some(if in_percent { Bounds::Percents(low, high) } else { Bounds::Values(low, high) })
}

#[cfg(test)]
mod tests {
    use crate::metrics::{StatisticSet, statistic::Statistic};

    #[test]
    fn a_part_of_the_values_is_counted_added_and_ranked() {
        // 1 to 10, and 100 once in ten.
        let values = (1..=9).map(|number| (f64::from(number), 1.0)).chain([(100.0, 1.0)]);
        let set = StatisticSet::of_all(values).expect("values");
        for (text, expected) in [
            ("tm90", 5.0),
            ("TM(:90%)", 5.0),
            ("TM(10%:90%)", 5.5),
            ("TM(2:4)", 3.5),
            ("TM(9:)", 100.0),
            ("IQM", 5.5),
            ("wm90", 5.4),
            ("WM(:9)", 5.4),
            ("tc90", 9.0),
            ("TC(2:4)", 2.0),
            ("ts90", 45.0),
            ("TS(80%:)", 109.0),
            ("PR(:9)", 90.0),
            ("PR(4:9)", 50.0),
        ] {
            let statistic = Statistic::parse(text).unwrap_or_else(|| panic!("{text} is a statistic"));
            let found = statistic.of(&set).unwrap_or_else(|| panic!("{text} has a value"));
            assert!((found - expected).abs() < 1e-9, "{text}: {found}");
        }
    }

    #[test]
    fn what_is_no_statistic_is_told() {
        for text in [
            "tm",
            "tm101",
            "TM(90%:10%)",
            "TM(10%:90)",
            "TM(:)",
            "PR(10%:20%)",
            "pr90",
            "p1e1",
            "pnan",
            "p-1",
            "p",
            "xm90",
            "é",
        ] {
            assert_eq!(Statistic::parse(text), None, "{text}");
        }
    }
}
