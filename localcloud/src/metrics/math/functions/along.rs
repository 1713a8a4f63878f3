//! Functions that look at a point's neighbours, or at its time.

use super::per_line;
use crate::{
    metrics::math::value::{Line, Span, Value},
    model::time::Timestamp,
};

pub(super) fn along(name: &str, value: Value) -> Result<Value, String> {
    per_line(value, name, |line| {
        let pairs = line.points.windows(2).filter_map(|pair| match pair {
            [(before, old), (time, new)] => Some((*time, new - old, time.seconds() - before.seconds())),
            _ => None,
        });
        let points = match name {
            "DIFF" => pairs.map(|(time, change, _)| (time, change)).collect(),
            "DIFF_TIME" => pairs.map(|(time, _, seconds)| (time, seconds)).collect(),
            "RATE" => pairs.map(|(time, change, seconds)| (time, change / seconds)).collect(),
            _ => {
                let sums = line.points.iter().scan(0.0, |sum, (time, value)| {
                    *sum += value;
                    Some((*time, *sum))
                });
                sums.collect()
            }
        };
        Ok(line.with(points))
    })
}

/// What the calendar says of each point, in UTC. Monday is day 1.
pub(super) fn calendar(name: &str, value: Value) -> Result<Value, String> {
    per_line(value, name, |line| {
        let points = line.points.iter().filter_map(|(time, _)| Some((*time, of_time(name, *time)?))).collect();
        Ok(line.with(points))
    })
}

fn of_time(name: &str, time: Timestamp) -> Option<f64> {
    let instant = jiff::Timestamp::from_millisecond(time.millis()).ok()?;
    let date = jiff::tz::Offset::UTC.to_datetime(instant);
    Some(match name {
        "DATE" => f64::from(date.day()),
        "DAY" => f64::from(date.weekday().to_monday_one_offset()),
        "EPOCH" => time.seconds(),
        "HOUR" => f64::from(date.hour()),
        "MINUTE" => f64::from(date.minute()),
        "MONTH" => f64::from(date.month()),
        _ => f64::from(date.year()),
    })
}

/// Points for the periods that have none: a number, another series' value, the last known one (`REPEAT`), or one between
/// those around the gap (`LINEAR`).
pub(super) fn fill(line: Line, with: &Value, span: Span) -> Result<Line, String> {
    let wanted = "FILL takes a number, a time series, REPEAT or LINEAR";
    match with {
        Value::Text(word) if word != "REPEAT" && word != "LINEAR" => return Err(format!("{wanted}, not {word}")),
        Value::Lines(_) => return Err(format!("{wanted}, not an array of time series")),
        _ => {}
    }
    let mut points = Vec::new();
    let mut known = line.points.iter().peekable();
    let mut last: Option<(Timestamp, f64)> = None;
    for time in span.periods(line.period_secs) {
        while let Some(point) = known.next_if(|(at, _)| *at <= time) {
            last = Some(*point);
        }
        if let Some((at, value)) = last
            && at == time
        {
            points.push((time, value));
            continue;
        }
        let filled = match with {
            Value::Number(number) => Some(*number),
            Value::Line(other) => other.at(time),
            Value::Text(word) if word == "REPEAT" => last.map(|(_, value)| value),
            _ => last.zip(known.peek()).map(|((before, old), (after, new))| {
                let share = (time.seconds() - before.seconds()) / (after.seconds() - before.seconds());
                old + (new - old) * share
            }),
        };
        points.extend(filled.map(|value| (time, value)));
    }
    Ok(line.with(points))
}
