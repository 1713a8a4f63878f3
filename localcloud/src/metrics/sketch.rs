//! Many values in few: values that lie near each other become one, their mean. Percentiles stay within a percent or so.

use std::collections::BTreeMap;

/// Values in one group differ by this factor at most; groups become coarser until they are few enough.
const FINEST: f64 = 1.01;

/// At most `most` different values with how often each occurred, in rising order.
pub(super) fn bound(values: &mut Vec<(f64, f64)>, most: usize) {
    if values.len() < 2 {
        return;
    }
    values.sort_by(|left, right| left.0.total_cmp(&right.0));
    values.dedup_by(|next, kept| {
        let same = next.0.to_bits() == kept.0.to_bits();
        if same {
            kept.1 += next.1;
        }
        same
    });
    let mut factor = FINEST;
    while values.len() > most {
        *values = grouped(values, factor);
        // Squaring keeps the old groups' borders, so that nothing is split that was joined.
        factor *= factor;
    }
}

fn grouped(values: &[(f64, f64)], factor: f64) -> Vec<(f64, f64)> {
    let mut groups: BTreeMap<(i8, i64), (f64, f64)> = BTreeMap::new();
    for (value, count) in values {
        let group = groups.entry(place(*value, factor)).or_default();
        group.0 += value * count;
        group.1 += count;
    }
    let mut grouped: Vec<_> =
        groups.into_values().filter(|(_, count)| *count > 0.0).map(|(sum, count)| (sum / count, count)).collect();
    grouped.sort_by(|left, right| left.0.total_cmp(&right.0));
    grouped
}

/// Sign, and the power of the factor that the value reaches.
#[expect(clippy::cast_possible_truncation, reason = "logarithms of finite numbers are small")]
fn place(value: f64, factor: f64) -> (i8, i64) {
    if value == 0.0 {
        return (0, 0);
    }
    let power = (value.abs().ln() / factor.ln()).floor() as i64;
    if value > 0.0 { (1, power) } else { (-1, -power) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_values_are_kept_as_they_are() {
        let mut values = vec![(3.0, 1.0), (1.0, 2.0), (3.0, 4.0)];
        bound(&mut values, 2);
        assert_eq!(values, [(1.0, 2.0), (3.0, 5.0)]);
    }

    #[test]
    fn many_values_become_few_and_their_ranks_stay_near() {
        let mut values: Vec<_> = (1..=100_000).map(|number| (f64::from(number), 1.0)).collect();
        bound(&mut values, 150);
        assert!(values.len() <= 150, "{}", values.len());
        assert_eq!(values.iter().map(|(_, count)| count).sum::<f64>(), 100_000.0);
        let mut seen = 0.0;
        let median = values.iter().find(|(_, count)| {
            seen += count;
            seen >= 50_000.0
        });
        let median = median.expect("a median").0;
        assert!((median / 50_000.0 - 1.0).abs() < 0.1, "{median}");
    }

    #[test]
    fn the_widest_range_of_both_signs_fits() {
        let mut values: Vec<_> =
            (-300..300).flat_map(|power| [(10_f64.powi(power), 1.0), (-10_f64.powi(power), 1.0)]).collect();
        values.push((0.0, 1.0));
        bound(&mut values, 10);
        assert!(values.len() <= 10);
        assert!(values.is_sorted_by(|left, right| left.0 < right.0));
    }
}
