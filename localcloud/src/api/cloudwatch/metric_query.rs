//! Queries of metrics and expressions, as requests carry them.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::asked::{NamedMetric, Wrong};
use crate::{
    api::error::ApiError,
    metrics::{
        math::{Query, Source},
        statistic::Statistic,
    },
};

const MOST_QUERIES: usize = 500;
const LONGEST_ID: usize = 255;
const LONGEST_EXPRESSION: usize = 2048;

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct MetricDataQuery {
    pub id: String,
    pub metric_stat: Option<MetricStat>,
    pub expression: Option<String>,
    pub label: Option<String>,
    pub return_data: Option<bool>,
    pub period: Option<u32>,
    pub account_id: Option<String>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct MetricStat {
    pub metric: NamedMetric,
    pub period: u32,
    pub stat: String,
    pub unit: Option<String>,
}

/// The queries of the parameter of this name, ready to be evaluated.
///
/// # Errors
/// With a line for each thing that is wrong.
pub fn queries(parameter: &str, asked: Vec<MetricDataQuery>, account_id: &str) -> Result<Vec<Query>, ApiError> {
    let mut wrong = Wrong::default();
    if asked.is_empty() {
        wrong.say_missing(parameter);
    }
    wrong.check_size(parameter, asked.len(), MOST_QUERIES);
    let ids: BTreeSet<&str> = asked.iter().map(|query| query.id.as_str()).collect();
    if ids.len() < asked.len() {
        wrong.say(format!("The values for parameter id in {parameter} are not unique."));
    }
    let mut sources = Vec::new();
    for (index, query) in asked.iter().enumerate() {
        sources.push(query.source(&format!("{parameter}.member.{}", index + 1), account_id, &mut wrong));
    }
    wrong.refuse_as_invalid()?;
    let labels = default_labels(&asked);
    let whole = asked.into_iter().zip(sources).zip(labels).filter_map(|((query, source), label)| {
        Some(Query {
            label: query.label.unwrap_or(label),
            source: source?,
            return_data: query.return_data.unwrap_or(true),
            id: query.id,
        })
    });
    Ok(whole.collect())
}

impl MetricDataQuery {
    /// What it asks for; `None` where something is wrong with it.
    fn source(&self, path: &str, account_id: &str, wrong: &mut Wrong) -> Option<Source> {
        let id = &self.id;
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if !id.starts_with(|c: char| c.is_ascii_lowercase()) || !id.chars().all(word) || id.len() > LONGEST_ID {
            wrong.say(format!(
                "The value {id} for parameter {path}.Id is not matching the expected pattern ^[a-z][a-zA-Z0-9_]*$."
            ));
        }
        if let Some(account) = self.account_id.as_ref().filter(|account| *account != account_id) {
            wrong.say(format!(
                "The value {account} for parameter {path}.AccountId is not this account, and no other is linked."
            ));
        }
        if self.label.as_ref().is_some_and(|label| label.contains("${")) {
            wrong.say(format!("Dynamic labels as in {path}.Label are not supported by this cloud."));
        }
        if let Some(period) = self.period {
            wrong.check_period(&format!("{path}.Period"), period);
        }
        match (&self.metric_stat, &self.expression) {
            (Some(stat), None) => stat.source(&format!("{path}.MetricStat"), wrong),
            (None, Some(text)) => {
                if text.is_empty() || text.len() > LONGEST_EXPRESSION {
                    wrong.say(format!(
                        "The parameter {path}.Expression must have 1 to {LONGEST_EXPRESSION} characters."
                    ));
                }
                if text.trim_start().to_ascii_uppercase().starts_with("SELECT ") {
                    wrong.say(format!(
                        "Error in expression '{id}': Metrics Insights queries are not supported by this cloud"
                    ));
                }
                Some(Source::Expression { text: text.clone(), period_secs: self.period })
            }
            (None, None) => {
                wrong.say_missing(&format!("{path}.MetricStat"));
                None
            }
            (Some(_), Some(_)) => {
                wrong.say(format!(
                    "The parameters {path}.Expression and {path}.MetricStat are mutually exclusive and you have specified both."
                ));
                None
            }
        }
    }
}

impl MetricStat {
    fn source(&self, path: &str, wrong: &mut Wrong) -> Option<Source> {
        self.metric.check(&format!("{path}.Metric."), wrong);
        wrong.check_period(&format!("{path}.Period"), self.period);
        wrong.check_unit(&format!("{path}.Unit"), self.unit.as_deref());
        let statistic = Statistic::parse(&self.stat);
        if statistic.is_none() {
            wrong.say(format!("The value for parameter {path}.Stat is not a valid statistic."));
        }
        Some(Source::Metric {
            metric: self.metric.metric(),
            statistic: statistic?,
            unit: self.unit.clone(),
            period_secs: self.period,
        })
    }
}

/// An expression is called by its id, a metric by its name, with what tells it from the request's other metrics before it.
fn default_labels(asked: &[MetricDataQuery]) -> Vec<String> {
    let stats: Vec<&MetricStat> = asked.iter().filter_map(|query| query.metric_stat.as_ref()).collect();
    let dimensions = |stat: &MetricStat| {
        let values: Vec<String> = stat.metric.metric().dimensions.values().cloned().collect();
        values.join(" ")
    };
    let one =
        |text: &dyn Fn(&MetricStat) -> String| stats.iter().map(|stat| text(stat)).collect::<BTreeSet<_>>().len() <= 1;
    let (one_name, one_stat) = (one(&|stat| stat.metric.metric_name.clone()), one(&|stat| stat.stat.clone()));
    let one_place = one(&dimensions);
    let label = |query: &MetricDataQuery| {
        let Some(stat) = &query.metric_stat else { return query.id.clone() };
        let mut parts = Vec::new();
        if !one_place {
            parts.push(dimensions(stat));
        }
        // A metric's name stands alone, or where it says something.
        if !one_name || one_place {
            parts.push(stat.metric.metric_name.clone());
        }
        if !one_stat {
            parts.push(stat.stat.clone());
        }
        parts.retain(|part| !part.is_empty());
        if parts.is_empty() { stat.metric.metric_name.clone() } else { parts.join(" ") }
    };
    asked.iter().map(label).collect()
}
