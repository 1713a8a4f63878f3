//! What an alarm on metric math is computed from: checked, kept and described.

use super::{
    asked::NamedMetric,
    metric_query::{self, MetricDataQuery, MetricStat},
    put_metric_alarm::{Dimension, check_period},
};
use crate::{
    api::error::ApiError,
    metrics::{Metrics, math},
    model::{
        alarm::{MetricQuery, QuerySource},
        time::Timestamp,
    },
};

const MOST_QUERIES: usize = 20;

/// The queries of an alarm, none for one that has a metric of its own.
///
/// # Errors
/// When they cannot be evaluated, or do not come to one series.
pub fn checked(asked: Vec<MetricDataQuery>, account_id: &str) -> Result<Vec<MetricQuery>, ApiError> {
    if asked.is_empty() {
        return Ok(Vec::new());
    }
    if asked.len() > MOST_QUERIES {
        return Err(ApiError::validation(format!("Metrics may hold {MOST_QUERIES} queries at most")));
    }
    let kept: Vec<MetricQuery> = asked.iter().map(MetricQuery::from).collect();
    let queries = metric_query::queries("Metrics", asked, account_id)?;
    for period in kept.iter().filter_map(MetricQuery::period_secs) {
        check_period(period)?;
    }
    let in_words = |error: math::MathError| ApiError::validation(error.to_string());
    math::check(&queries).map_err(in_words)?;
    if queries.iter().filter(|query| query.return_data).count() != 1 {
        return Err(ApiError::validation("Exactly one element of the metrics list should return data"));
    }
    let (start, end) = (Timestamp::from_seconds(0.0), Timestamp::from_seconds(60.0));
    let series = math::evaluate(&Metrics::default(), &queries, (start, end)).map_err(in_words)?;
    if series.len() > 1 {
        return Err(ApiError::validation("The expression of an alarm must come to a single time series"));
    }
    Ok(kept)
}

impl From<&MetricDataQuery> for MetricQuery {
    fn from(query: &MetricDataQuery) -> Self {
        let source = match &query.metric_stat {
            Some(stat) => QuerySource::Metric {
                namespace: stat.metric.namespace.clone(),
                name: stat.metric.metric_name.clone(),
                dimensions: stat
                    .metric
                    .dimensions
                    .iter()
                    .map(|dimension| (dimension.name.clone(), dimension.value.clone()))
                    .collect(),
                period_secs: stat.period,
                statistic: stat.stat.clone(),
                unit: stat.unit.clone(),
            },
            None => QuerySource::Expression {
                expression: query.expression.clone().unwrap_or_default(),
                period_secs: query.period,
            },
        };
        Self {
            id: query.id.clone(),
            source,
            label: query.label.clone(),
            return_data: query.return_data.unwrap_or(true),
        }
    }
}

impl From<&MetricQuery> for MetricDataQuery {
    fn from(query: &MetricQuery) -> Self {
        let (metric_stat, expression, period) = match &query.source {
            QuerySource::Expression { expression, period_secs } => (None, Some(expression.clone()), *period_secs),
            QuerySource::Metric { namespace, name, dimensions, period_secs, statistic, unit } => {
                let metric = NamedMetric {
                    namespace: namespace.clone(),
                    metric_name: name.clone(),
                    dimensions: dimensions.iter().map(Dimension::from).collect(),
                };
                let stat = MetricStat { metric, period: *period_secs, stat: statistic.clone(), unit: unit.clone() };
                (Some(stat), None, None)
            }
        };
        Self {
            id: query.id.clone(),
            metric_stat,
            expression,
            label: query.label.clone(),
            return_data: Some(query.return_data),
            period,
            account_id: None,
        }
    }
}
