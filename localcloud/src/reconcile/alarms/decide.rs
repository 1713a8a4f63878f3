//! In which state an alarm is, given what was measured. Pure.

use super::{
    windows::{Measured, Window},
    words,
};
use crate::{
    metrics::statistic::Statistic,
    model::{
        alarm::{ALARM, Alarm, INSUFFICIENT_DATA, OK},
        time::Timestamp,
    },
};

/// A state, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evaluation {
    pub state: &'static str,
    pub reason: String,
    /// JSON
    pub reason_data: String,
}

/// How an alarm treats a period without data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    Breaching,
    NotBreaching,
    Ignore,
    Missing,
}

impl Missing {
    #[must_use]
    pub fn of(alarm: &Alarm) -> Self {
        match alarm.treat_missing_data.as_deref() {
            Some("breaching") => Self::Breaching,
            Some("notBreaching") => Self::NotBreaching,
            Some("ignore") => Self::Ignore,
            _ => Self::Missing,
        }
    }
}

/// What is evaluated of the range: the newest real datapoints, and how many had to be filled in.
pub struct Evaluated {
    /// Oldest first.
    pub points: Vec<(Timestamp, Measured)>,
    pub missing: usize,
    /// The periods themselves, newest first.
    pub periods: Vec<Window>,
}

/// The state that an alarm goes into; `None` where it stays in the one it has. The windows are its evaluation range, oldest
/// first.
#[must_use]
pub fn decide(alarm: &Alarm, windows: &[Window], now: Timestamp) -> Option<Evaluation> {
    let wanted = usize::try_from(alarm.evaluation_periods).unwrap_or(usize::MAX).max(1);
    let evaluated = evaluated(windows, wanted);
    if let Some(warm_up) = &alarm.warm_up
        && now < warm_up.ends
        && (warm_up.whole || evaluated.missing > 0)
    {
        return None;
    }
    if has_too_few_samples(alarm, &evaluated) {
        return None;
    }
    let marks: Vec<Option<bool>> =
        windows.iter().map(|window| window.measured.map(|measured| breaches(alarm, measured.value))).collect();
    let needed = usize::try_from(alarm.needed()).unwrap_or(usize::MAX);
    let state = judge(&marks, wanted, needed, Missing::of(alarm))?;
    if state == alarm.state {
        return None;
    }
    Some(Evaluation {
        state,
        reason: words::reason(alarm, state, &evaluated),
        reason_data: words::reason_data(alarm, &evaluated, now),
    })
}

/// The newest value, which a policy's steps are measured by.
#[must_use]
pub fn newest(windows: &[Window]) -> Option<f64> {
    windows.iter().rev().find_map(|window| window.measured).map(|measured| measured.value)
}

#[must_use]
pub fn breaches(alarm: &Alarm, value: f64) -> bool {
    match alarm.comparison_operator.as_str() {
        "GreaterThanOrEqualToThreshold" => value >= alarm.threshold,
        "GreaterThanThreshold" => value > alarm.threshold,
        "LessThanThreshold" => value < alarm.threshold,
        _ => value <= alarm.threshold,
    }
}

fn evaluated(windows: &[Window], wanted: usize) -> Evaluated {
    let real: Vec<(Timestamp, Measured)> =
        windows.iter().filter_map(|window| Some((window.begin, window.measured?))).collect();
    let missing = wanted.saturating_sub(real.len());
    let periods = match missing {
        0 => windows.iter().rev().filter(|window| window.measured.is_some()).take(wanted).copied().collect(),
        _ => windows.iter().rev().take(wanted).copied().collect(),
    };
    let surplus = real.len().saturating_sub(wanted);
    Evaluated { points: real.into_iter().skip(surplus).collect(), missing, periods }
}

/// The rule for data that is missing. `range` is the evaluation range, oldest first: whether each period's value breaches.
///
/// Real datapoints count before missing ones, also those from before the evaluation periods; only what then still lacks is
/// filled in (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html>).
fn judge(range: &[Option<bool>], periods: usize, needed: usize, missing: Missing) -> Option<&'static str> {
    let real: Vec<bool> = range.iter().rev().filter_map(|mark| *mark).take(periods).collect();
    let breaching = real.iter().filter(|breaches| **breaches).count();
    let lacking = periods - real.len();
    let by_count = |breaching: usize| Some(if breaching >= needed { ALARM } else { OK });
    if lacking == 0 || breaching >= needed {
        return by_count(breaching);
    }
    match missing {
        Missing::Breaching => by_count(breaching + lacking),
        Missing::NotBreaching => Some(OK),
        Missing::Missing if real.is_empty() => Some(INSUFFICIENT_DATA),
        Missing::Ignore if real.is_empty() => None,
        _ if breaching < real.len() => Some(OK),
        Missing::Ignore => None,
        // All that there is breaches. A datapoint alone may be the first of better ones, so the alarm waits until the oldest
        // is as old as the number of datapoints to alarm.
        Missing::Missing => {
            let age = range.iter().position(Option::is_some).map_or(0, |oldest| range.len() - oldest);
            (age >= needed).then_some(ALARM)
        }
    }
}

/// Whether a percentile comes from too few samples to mean something, and the alarm is to ignore such
/// (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/percentiles-with-low-samples.html>).
fn has_too_few_samples(alarm: &Alarm, evaluated: &Evaluated) -> bool {
    if alarm.low_sample_percentile.as_deref() != Some("ignore") || evaluated.points.is_empty() {
        return false;
    }
    let statistic = alarm.extended_statistic.as_deref().and_then(Statistic::parse);
    let Some(Statistic::Percentile(percentile)) = statistic else { return false };
    let share = percentile / 100.0;
    let least = if share >= 1.0 || share <= 0.0 {
        return false;
    } else if share >= 0.5 {
        10.0 / (1.0 - share)
    } else {
        10.0 / share
    };
    let samples: f64 = evaluated.points.iter().filter_map(|(_, measured)| measured.samples).sum();
    // 1 - 0.9 is a little less than a tenth.
    samples + 1e-6 < least
}

#[cfg(test)]
mod tests;
