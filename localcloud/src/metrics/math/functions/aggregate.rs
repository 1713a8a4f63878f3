//! Functions that make one series or number of several.

use std::collections::BTreeMap;

use super::count;
use crate::{
    metrics::math::value::{Line, Value},
    model::time::Timestamp,
};

/// Of one series a number; of several a series, with a point wherever one of them has one.
pub(super) fn aggregate(name: &str, value: Value) -> Result<Value, String> {
    match value {
        // A series without points adds up to nothing, which is no zero.
        Value::Line(line) => Ok(Value::Number(of_values(name, line.values()).unwrap_or(f64::NAN))),
        Value::Lines(lines) => Ok(Value::Line(across(name, &lines))),
        other => Err(format!("{name} takes time series, not {}", other.kind())),
    }
}

fn across(name: &str, lines: &[Line]) -> Line {
    let mut by_time: BTreeMap<Timestamp, Vec<f64>> = BTreeMap::new();
    for (time, value) in lines.iter().flat_map(|line| &line.points) {
        by_time.entry(*time).or_default().push(*value);
    }
    let points = by_time.into_iter().filter_map(|(time, values)| Some((time, of_values(name, values.into_iter())?)));
    let period_secs = lines.iter().map(|line| line.period_secs).max().unwrap_or(super::super::DEFAULT_PERIOD_SECS);
    Line::empty(period_secs).with(points.collect())
}

/// `None` where there is no value.
pub(super) fn of_values(name: &str, values: impl Iterator<Item = f64>) -> Option<f64> {
    let values: Vec<f64> = values.collect();
    let number = count(values.len());
    if values.is_empty() {
        return (name == "DATAPOINT_COUNT").then_some(0.0);
    }
    let sum: f64 = values.iter().sum();
    Some(match name {
        "DATAPOINT_COUNT" => number,
        "AVG" => sum / number,
        "MIN" => values.iter().copied().fold(f64::INFINITY, f64::min),
        "MAX" => values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        "STDDEV" => {
            let mean = sum / number;
            (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / number).sqrt()
        }
        _ => sum,
    })
}
