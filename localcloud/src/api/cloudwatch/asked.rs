//! What the actions on metrics have in common: metrics as they are named, times, periods, statistics. Wrong parameters are
//! collected, as CloudWatch names all of them at once, a line each.

use serde::{Deserialize, Serialize};

use super::put_metric_alarm::{Dimension, UNITS};
use crate::{api::error::ApiError, metrics::Metric, model::time::Timestamp};

const MOST_DIMENSIONS: usize = 30;
pub(super) const LONGEST_NAME: usize = 255;
pub(super) const LONGEST_VALUE: usize = 1024;
const DAY_SECS: i64 = 86_400;

/// A metric, as it is named in requests and answers.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct NamedMetric {
    pub namespace: String,
    pub metric_name: String,
    #[serde(default)]
    pub dimensions: Vec<Dimension>,
}

impl NamedMetric {
    pub(super) fn of(metric: &Metric) -> Self {
        let dimensions = metric.dimensions.iter();
        Self {
            namespace: metric.namespace.clone(),
            metric_name: metric.name.clone(),
            dimensions: dimensions
                .map(|(name, value)| Dimension { name: name.clone(), value: value.clone() })
                .collect(),
        }
    }

    /// Checks it as the parameter at `path`, which ends with a dot if it is not empty.
    pub(super) fn check(&self, path: &str, wrong: &mut Wrong) {
        wrong.check_namespace(path, &self.namespace);
        wrong.check_name(path, &self.metric_name, &self.dimensions);
    }

    pub(super) fn metric(&self) -> Metric {
        let dimensions = self.dimensions.iter().map(|dimension| (dimension.name.clone(), dimension.value.clone()));
        Metric { namespace: self.namespace.clone(), name: self.metric_name.clone(), dimensions: dimensions.collect() }
    }
}

/// All that is wrong with a request.
#[derive(Default)]
pub(super) struct Wrong {
    missing: Vec<String>,
    others: Vec<String>,
}

impl Wrong {
    pub(super) fn say(&mut self, sentence: String) {
        self.others.push(sentence);
    }

    pub(super) fn say_missing(&mut self, parameter: &str) {
        self.missing.push(format!("The parameter {parameter} is required."));
    }

    pub(super) fn check_text(&mut self, parameter: &str, text: &str, longest: usize) {
        if text.trim().is_empty() {
            self.say_missing(parameter);
        } else if text.chars().count() > longest {
            self.say(format!("The parameter {parameter} must be shorter than {} characters.", longest + 1));
        } else if !text.is_ascii() {
            self.say(format!("The value {text} for parameter {parameter} contains non-ASCII characters."));
        } else if text.chars().any(|c| c.is_ascii_control()) {
            self.say(format!("The value for parameter {parameter} contains control characters."));
        }
    }

    pub(super) fn check_namespace(&mut self, path: &str, namespace: &str) {
        self.check_text(&format!("{path}Namespace"), namespace, LONGEST_NAME);
        if namespace.starts_with(':') {
            self.say(format!("The value {namespace} for parameter {path}Namespace is invalid."));
        }
    }

    pub(super) fn check_name(&mut self, path: &str, metric_name: &str, dimensions: &[Dimension]) {
        self.check_text(&format!("{path}MetricName"), metric_name, LONGEST_NAME);
        self.check_size(&format!("{path}Dimensions"), dimensions.len(), MOST_DIMENSIONS);
        for (index, dimension) in dimensions.iter().enumerate() {
            let place = format!("{path}Dimensions.member.{}", index + 1);
            self.check_text(&format!("{place}.Name"), &dimension.name, LONGEST_NAME);
            self.check_text(&format!("{place}.Value"), &dimension.value, LONGEST_VALUE);
            if dimensions[..index].iter().any(|other| other.name == dimension.name) {
                self.say(format!("The dimension {} for parameter {place}.Name is given twice.", dimension.name));
            }
        }
    }

    pub(super) fn check_size(&mut self, parameter: &str, size: usize, most: usize) {
        if size > most {
            self.say(format!("The collection {parameter} must not have a size greater than {most}."));
        }
    }

    pub(super) fn check_one_of(&mut self, parameter: &str, value: &str, allowed: &[&str]) {
        if !allowed.contains(&value) {
            self.say(format!("The parameter {parameter} must be a value in the set [ {} ].", allowed.join(", ")));
        }
    }

    pub(super) fn check_unit(&mut self, parameter: &str, unit: Option<&str>) {
        if let Some(unit) = unit {
            self.check_one_of(parameter, unit, UNITS);
        }
    }

    /// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_MetricStat.html>
    pub(super) fn check_period(&mut self, parameter: &str, period_secs: u32) {
        if !(matches!(period_secs, 1 | 5 | 10 | 20 | 30) || period_secs > 0 && period_secs.is_multiple_of(60)) {
            self.say(format!("The parameter {parameter} must be 1, 5, 10, 20, 30 or a multiple of 60."));
        }
    }

    /// As the actions on metrics say it: what is missing has a code of its own, and is said first.
    ///
    /// # Errors
    /// When something is wrong.
    pub(super) fn refuse(self) -> Result<(), ApiError> {
        match (self.missing.is_empty(), self.others.is_empty()) {
            (true, true) => Ok(()),
            (false, _) => Err(ApiError::new("MissingParameter", self.missing.join("\n"))),
            (true, false) => Err(ApiError::invalid_parameter_value(self.others.join("\n"))),
        }
    }

    /// As GetMetricData says it, and PutMetricAlarm of what it has in common with it.
    ///
    /// # Errors
    /// When something is wrong.
    pub(super) fn refuse_as_invalid(self) -> Result<(), ApiError> {
        let all: Vec<String> = self.missing.into_iter().chain(self.others).collect();
        if all.is_empty() { Ok(()) } else { Err(ApiError::validation(all.join("\n"))) }
    }
}

/// CloudWatch drops milliseconds.
pub(super) fn whole_second(time: Timestamp) -> Timestamp {
    time.floor_to(1)
}

/// A start is rounded down, the more so the older it is
/// (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_GetMetricStatistics.html>).
pub(super) fn rounded_start(start: Timestamp, period_secs: u32, now: Timestamp) -> Timestamp {
    let age = now.millis().saturating_sub(start.millis());
    let days = |number: i64| number * DAY_SECS * 1000;
    start.floor_to(match age {
        age if age > days(63) => 3600,
        age if age > days(15) => 300,
        _ => period_secs.min(60),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_is_rounded_down_by_its_age_and_the_period() {
        let time =
            |text: &str| Timestamp::from_millis(text.parse::<jiff::Timestamp>().expect("a time").as_millisecond());
        let now = time("2026-11-24T12:32:34Z");
        for (start, period, rounded) in [
            ("2026-11-24T10:32:34Z", 300, "2026-11-24T10:32:00Z"),
            ("2026-11-24T10:32:34Z", 10, "2026-11-24T10:32:30Z"),
            ("2026-11-24T10:32:34Z", 1, "2026-11-24T10:32:34Z"),
            ("2026-11-04T10:32:34Z", 300, "2026-11-04T10:30:00Z"),
            ("2026-06-04T10:32:34Z", 3600, "2026-06-04T10:00:00Z"),
        ] {
            assert_eq!(rounded_start(time(start), period, now), time(rounded), "{start} {period}");
        }
    }
}
