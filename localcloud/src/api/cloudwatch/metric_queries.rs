//! What an alarm on metric math is computed from
//! (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_MetricDataQuery.html>).

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::put_metric_alarm::{Dimension, UNITS, check_dimensions, check_period};
use crate::{
    api::{cloudwatch::check_one_of, error::ApiError},
    metrics::statistic::Statistic,
    model::alarm::{MetricQuery, QuerySource},
};

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct MetricDataQuery {
    id: String,
    metric_stat: Option<MetricStat>,
    expression: Option<String>,
    label: Option<String>,
    return_data: Option<bool>,
    period: Option<u32>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct MetricStat {
    metric: QueriedMetric,
    period: u32,
    stat: String,
    unit: Option<String>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct QueriedMetric {
    namespace: String,
    metric_name: String,
    #[serde(default)]
    dimensions: Vec<Dimension>,
}

const MOST_QUERIES: usize = 20;

/// The queries of an alarm, none for one that has a metric of its own.
///
/// # Errors
/// When they cannot be evaluated, or do not name one result.
pub fn checked(queries: Vec<MetricDataQuery>) -> Result<Vec<MetricQuery>, ApiError> {
    if queries.len() > MOST_QUERIES {
        return Err(ApiError::validation(format!("Metrics may hold {MOST_QUERIES} queries at most")));
    }
    let queries = queries.into_iter().map(MetricDataQuery::checked).collect::<Result<Vec<_>, _>>()?;
    let ids: BTreeSet<&str> = queries.iter().map(|query| query.id.as_str()).collect();
    if ids.len() < queries.len() {
        return Err(ApiError::validation("The values for parameter id in Metrics are not unique."));
    }
    match queries.iter().filter(|query| query.return_data).count() {
        1 => Ok(queries),
        0 if queries.is_empty() => Ok(queries),
        0 => Err(ApiError::validation("One of the Metrics must have ReturnData set to true")),
        _ => Err(ApiError::validation("Only one of the Metrics may have ReturnData set to true")),
    }
}

impl MetricDataQuery {
    fn checked(self) -> Result<MetricQuery, ApiError> {
        let mut letters = self.id.chars();
        let is_id = letters.next().is_some_and(|first| first.is_ascii_lowercase())
            && letters.all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
            && self.id.len() <= 255;
        if !is_id {
            return Err(ApiError::validation(format!(
                "The value {} for parameter id is not matching the expected pattern ^[a-z][a-zA-Z0-9_]*$.",
                self.id
            )));
        }
        let source = match (self.metric_stat, self.expression) {
            (Some(stat), None) => stat.checked()?,
            (None, Some(expression)) if !expression.is_empty() && expression.chars().count() <= 2048 => {
                if let Some(period) = self.period {
                    check_period(period)?;
                }
                QuerySource::Expression { expression, period_secs: self.period }
            }
            (None, Some(_)) => return Err(ApiError::validation("Expression must have 1 to 2048 characters")),
            _ => {
                return Err(ApiError::validation(format!(
                    "Exactly one of MetricStat and Expression must be specified for {}",
                    self.id
                )));
            }
        };
        Ok(MetricQuery { id: self.id, source, label: self.label, return_data: self.return_data.unwrap_or(true) })
    }
}

impl MetricStat {
    fn checked(self) -> Result<QuerySource, ApiError> {
        check_period(self.period)?;
        if Statistic::parse(&self.stat).is_none() {
            return Err(ApiError::validation(format!(
                "The value {} for parameter Stat is not a statistic.",
                self.stat
            )));
        }
        if let Some(unit) = &self.unit {
            check_one_of("unit", unit, UNITS)?;
        }
        check_dimensions(&self.metric.dimensions)?;
        Ok(QuerySource::Metric {
            namespace: self.metric.namespace,
            name: self.metric.metric_name,
            dimensions: self.metric.dimensions.into_iter().map(|dimension| (dimension.name, dimension.value)).collect(),
            period_secs: self.period,
            statistic: self.stat,
            unit: self.unit,
        })
    }
}

impl From<&MetricQuery> for MetricDataQuery {
    fn from(query: &MetricQuery) -> Self {
        let (metric_stat, expression, period) = match &query.source {
            QuerySource::Expression { expression, period_secs } => (None, Some(expression.clone()), *period_secs),
            QuerySource::Metric { namespace, name, dimensions, period_secs, statistic, unit } => {
                let metric = QueriedMetric {
                    namespace: namespace.clone(),
                    metric_name: name.clone(),
                    dimensions: dimensions.iter().map(Dimension::from).collect(),
                };
                (
                    Some(MetricStat { metric, period: *period_secs, stat: statistic.clone(), unit: unit.clone() }),
                    None,
                    None,
                )
            }
        };
        Self {
            id: query.id.clone(),
            metric_stat,
            expression,
            label: query.label.clone(),
            return_data: Some(query.return_data),
            period,
        }
    }
}
