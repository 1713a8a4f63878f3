//! The functions
//! (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html#metric-math-syntax-functions-list>).

/// Functions that make one series or number of several.
mod aggregate;
/// Functions that look at a point's neighbours, or at its time.
mod along;

use super::{
    operators,
    parser::Expression,
    value::{Line, Span, Value},
};
use crate::model::time::Timestamp;

/// Name, least and most number of arguments.
const KNOWN: &[(&str, usize, usize)] = &[
    ("ABS", 1, 1),
    ("AVG", 1, 1),
    ("CEIL", 1, 1),
    ("DATAPOINT_COUNT", 1, 1),
    ("DATE", 1, 1),
    ("DAY", 1, 1),
    ("DIFF", 1, 1),
    ("DIFF_TIME", 1, 1),
    ("EPOCH", 1, 1),
    ("FILL", 2, 2),
    ("FIRST", 1, 1),
    ("FLOOR", 1, 1),
    ("HOUR", 1, 1),
    ("IF", 2, 3),
    ("LAST", 1, 1),
    ("LOG", 1, 1),
    ("LOG10", 1, 1),
    ("MAX", 1, 1),
    ("METRIC_COUNT", 1, 1),
    ("MIN", 1, 1),
    ("MINUTE", 1, 1),
    ("MONTH", 1, 1),
    ("PERIOD", 1, 1),
    ("RATE", 1, 1),
    ("REMOVE_EMPTY", 1, 1),
    ("RUNNING_SUM", 1, 1),
    ("SLICE", 2, 3),
    ("SORT", 3, 4),
    ("STDDEV", 1, 1),
    ("SUM", 1, 1),
    ("TIME_SERIES", 1, 1),
    ("YEAR", 1, 1),
];

/// What AWS has and this cloud has not.
const UNSUPPORTED: &[&str] =
    &["ANOMALY_DETECTION_BAND", "DB_PERF_INSIGHTS", "INSIGHT_RULE_METRIC", "LAMBDA", "SEARCH", "SERVICE_QUOTA"];

pub(super) fn check(name: &str, arguments: &[Expression]) -> Result<(), String> {
    if UNSUPPORTED.contains(&name) {
        return Err(format!("The function {name} is not supported by this cloud"));
    }
    let Some((_, least, most)) = KNOWN.iter().find(|(known, ..)| *known == name) else {
        return Err(format!("Unrecognized function '{name}'"));
    };
    if (*least..=*most).contains(&arguments.len()) {
        return Ok(());
    }
    Err(match least == most {
        true => format!("{name} takes {least} argument(s), not {}", arguments.len()),
        false => format!("{name} takes {least} to {most} arguments, not {}", arguments.len()),
    })
}

pub(super) fn call(name: &str, arguments: Vec<Value>, span: Span, period_secs: u32) -> Result<Value, String> {
    let mut arguments = arguments.into_iter();
    let Some(first) = arguments.next() else { return Err(format!("{name} needs an argument")) };
    let mut more = arguments;
    match name {
        "ABS" => operators::each(first, name, f64::abs),
        "CEIL" => operators::each(first, name, f64::ceil),
        "FLOOR" => operators::each(first, name, f64::floor),
        "LOG" => operators::each(first, name, f64::ln),
        "LOG10" => operators::each(first, name, f64::log10),
        "AVG" | "MAX" | "MIN" | "STDDEV" | "SUM" | "DATAPOINT_COUNT" => aggregate::aggregate(name, first),
        "METRIC_COUNT" => Ok(Value::Number(count(first.into_lines(name)?.len()))),
        "FIRST" | "LAST" => {
            let mut lines = first.into_lines(name)?.into_iter();
            let line = if name == "FIRST" { lines.next() } else { lines.next_back() };
            Ok(Value::Line(line.unwrap_or_else(|| Line::empty(period_secs))))
        }
        "PERIOD" => match first {
            Value::Line(line) => Ok(Value::Number(f64::from(line.period_secs))),
            other => Err(format!("PERIOD takes a time series, not {}", other.kind())),
        },
        "REMOVE_EMPTY" => {
            let lines = first.into_lines(name)?;
            Ok(Value::Lines(lines.into_iter().filter(|line| !line.points.is_empty()).collect()))
        }
        "DIFF" | "DIFF_TIME" | "RATE" | "RUNNING_SUM" => along::along(name, first),
        "DATE" | "DAY" | "EPOCH" | "HOUR" | "MINUTE" | "MONTH" | "YEAR" => along::calendar(name, first),
        "FILL" => {
            let with = more.next().unwrap_or(Value::Number(0.0));
            per_line(first, name, |line| along::fill(line, &with, span))
        }
        "IF" => condition(first, more.next().unwrap_or(Value::Number(0.0)), more.next()),
        "SLICE" => slice(first.into_lines(name)?, more.next(), more.next(), period_secs),
        "SORT" => sort(first.into_lines(name)?, more.next(), more.next(), more.next()),
        "TIME_SERIES" => match first {
            Value::Number(number) => Ok(Value::Line(Line::level(number, span, period_secs))),
            other => Err(format!("TIME_SERIES takes a number, not {}", other.kind())),
        },
        other => Err(format!("Unrecognized function '{other}'")),
    }
}

/// A series becomes a series, a list of series a list.
fn per_line(value: Value, name: &str, change: impl Fn(Line) -> Result<Line, String>) -> Result<Value, String> {
    match value {
        Value::Line(line) => change(line).map(Value::Line),
        Value::Lines(lines) => lines.into_iter().map(change).collect::<Result<_, _>>().map(Value::Lines),
        other => Err(format!("{name} takes time series, not {}", other.kind())),
    }
}

#[expect(clippy::cast_precision_loss, reason = "lists are far shorter than 2^53")]
fn count(length: usize) -> f64 {
    length as f64
}

/// `IF(condition, then, else)`: without the third, a false condition leaves a gap.
fn condition(condition: Value, then: Value, otherwise: Option<Value>) -> Result<Value, String> {
    let at = |value: &Value, time: Timestamp| match value {
        Value::Number(number) => Ok(Some(*number)),
        Value::Line(line) => Ok(line.at(time)),
        other => Err(format!("IF chooses between numbers and time series, not {}", other.kind())),
    };
    match condition {
        Value::Number(number) if number.is_nan() => Ok(Value::Number(number)),
        Value::Number(number) if number != 0.0 => Ok(then),
        Value::Number(_) => Ok(otherwise.unwrap_or(Value::Number(f64::NAN))),
        Value::Line(line) => {
            let mut points = Vec::new();
            for (time, value) in &line.points {
                let chosen = if *value != 0.0 { Some(&then) } else { otherwise.as_ref() };
                if let Some(value) = chosen.map(|chosen| at(chosen, *time)).transpose()?.flatten() {
                    points.push((*time, value));
                }
            }
            Ok(Value::Line(line.with(points)))
        }
        other => Err(format!("the condition of IF is a time series or a number, not {}", other.kind())),
    }
}

/// A whole number that counts lines; from the end where it is negative.
fn position(value: Option<Value>, length: usize) -> Result<Option<usize>, String> {
    match value {
        None => Ok(None),
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a whole number within the list")]
        Some(Value::Number(number)) if number.fract() == 0.0 => {
            let place = if number < 0.0 { count(length) + number } else { number };
            Ok(Some(place.clamp(0.0, count(length)) as usize))
        }
        Some(other) => Err(format!("a place in a list is a whole number, not {}", other.kind())),
    }
}

/// `SLICE(list, from)` is one series, `SLICE(list, from, to)` those before `to`.
fn slice(lines: Vec<Line>, from: Option<Value>, to: Option<Value>, period_secs: u32) -> Result<Value, String> {
    let from = position(from, lines.len())?.unwrap_or(0);
    match position(to, lines.len())? {
        None => Ok(Value::Line(lines.into_iter().nth(from).unwrap_or_else(|| Line::empty(period_secs)))),
        Some(to) => Ok(Value::Lines(lines.into_iter().take(to).skip(from).collect())),
    }
}

/// `SORT(list, AVG, DESC, 10)`
fn sort(lines: Vec<Line>, by: Option<Value>, order: Option<Value>, most: Option<Value>) -> Result<Value, String> {
    let word = |value: Option<Value>| match value {
        Some(Value::Text(word)) => Ok(word),
        _ => Err("SORT takes a function (AVG, MIN, MAX, SUM) and an order (ASC, DESC)".to_owned()),
    };
    let (by, order) = (word(by)?, word(order)?);
    if !matches!(by.as_str(), "AVG" | "MIN" | "MAX" | "SUM") || !matches!(order.as_str(), "ASC" | "DESC") {
        return Err(format!("SORT takes AVG, MIN, MAX or SUM, and ASC or DESC, not {by} and {order}"));
    }
    let most = position(most, lines.len())?.unwrap_or(lines.len());
    let mut keyed: Vec<(Option<f64>, Line)> =
        lines.into_iter().map(|line| (aggregate::of_values(&by, line.values()), line)).collect();
    // Series without data come last, whatever the order.
    keyed.sort_by(|(left, _), (right, _)| match (left, right) {
        (Some(left), Some(right)) if order == "ASC" => left.total_cmp(right),
        (Some(left), Some(right)) => right.total_cmp(left),
        (left, right) => right.is_some().cmp(&left.is_some()),
    });
    Ok(Value::Lines(keyed.into_iter().map(|(_, line)| line).take(most).collect()))
}
