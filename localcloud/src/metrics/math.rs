//! Metric math: queries that read a metric, and expressions over them
//! (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html>). GetMetricData and alarms
//! ask the same way.

/// What the functions do.
mod functions;
/// `+`, `<`, `AND`: operators on numbers and series.
mod operators;
/// An expression as a tree.
mod parser;
/// An expression as tokens.
mod tokens;
/// Numbers, series and lists of series.
mod value;

use std::collections::BTreeMap;

use super::{Metric, Metrics, statistic::Statistic};
use crate::model::time::Timestamp;
use parser::Expression;
use value::{Line, Span, Value};

/// One thing that is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    /// By this name others refer to it.
    pub id: String,
    pub label: String,
    pub source: Source,
    /// Whether its data is part of the answer, or only material for others.
    pub return_data: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    Metric {
        metric: Metric,
        statistic: Statistic,
        unit: Option<String>,
        period_secs: u32,
    },
    Expression {
        text: String,
        /// For an expression that reads no metric, such as `TIME_SERIES(1)`.
        period_secs: Option<u32>,
    },
}

/// One line of the answer. An expression may come to several, all of its id.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    pub id: String,
    pub label: String,
    pub period_secs: u32,
    /// Oldest first. A time is the begin of a period; periods without a value are not there.
    pub points: Vec<(Timestamp, f64)>,
}

/// Why an expression cannot be computed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Error in expression '{id}': {reason}")]
pub struct MathError {
    pub id: String,
    pub reason: String,
}

/// For expressions that read no metric and name no period.
const DEFAULT_PERIOD_SECS: u32 = 60;

/// All that is computed for one request together holds so many points at most.
const MOST_POINTS: usize = 5_000_000;

/// The series that the queries come to between `start` and `end`, in the order of the queries. Periods lie on multiples of
/// their length, so the first one may begin before `start`; it holds all of its data.
///
/// # Errors
/// When an expression cannot be read, refers to what is not there or to itself, or joins what cannot be joined.
pub fn evaluate(
    metrics: &Metrics,
    queries: &[Query],
    (start, end): (Timestamp, Timestamp),
) -> Result<Vec<Series>, MathError> {
    evaluate_span(metrics, queries, Span { start, end, origin: Timestamp::from_millis(0) })
}

/// As [`evaluate`], with periods of which the first begins at `start`, as GetMetricData has it.
///
/// # Errors
/// As [`evaluate`].
pub fn evaluate_from(
    metrics: &Metrics,
    queries: &[Query],
    (start, end): (Timestamp, Timestamp),
) -> Result<Vec<Series>, MathError> {
    evaluate_span(metrics, queries, Span { start, end, origin: start })
}

fn evaluate_span(metrics: &Metrics, queries: &[Query], span: Span) -> Result<Vec<Series>, MathError> {
    let mut evaluation = Evaluation { metrics, queries, span, known: BTreeMap::new(), points: 0 };
    let mut answer = Vec::new();
    for query in queries.iter().filter(|query| query.return_data) {
        let value = evaluation.query(query)?;
        let lines = match value {
            Value::Line(line) => vec![Line { label: query.label.clone(), ..line }],
            Value::Lines(lines) => {
                lines.into_iter().map(|line| Line { label: joined_label(query, &line.label), ..line }).collect()
            }
            // A number is a level line, as AWS draws it.
            Value::Number(number) => {
                let level = Line::level(number, span, evaluation.period_of(query));
                vec![Line { label: query.label.clone(), ..level }]
            }
            Value::Text(_) => {
                return Err(MathError { id: query.id.clone(), reason: "the result is a text".to_owned() });
            }
        };
        answer.extend(lines.into_iter().map(|line| Series {
            id: query.id.clone(),
            label: line.label,
            period_secs: line.period_secs,
            points: line.points,
        }));
    }
    Ok(answer)
}

/// Reads every expression and looks up what it refers to, without any data: what must be refused is refused before an
/// alarm is kept.
///
/// # Errors
/// As [`evaluate`].
pub fn check(queries: &[Query]) -> Result<(), MathError> {
    let zero = Timestamp::from_millis(0);
    let span = Span { start: zero, end: zero, origin: zero };
    let metrics = Metrics::default();
    let mut evaluation = Evaluation { metrics: &metrics, queries, span, known: BTreeMap::new(), points: 0 };
    queries.iter().try_for_each(|query| evaluation.query(query).map(|_| ()))
}

/// As in AWS's answers: the expression's label before that of the line it was made of.
fn joined_label(query: &Query, line: &str) -> String {
    if line.is_empty() || line == query.label { query.label.clone() } else { format!("{} {line}", query.label) }
}

struct Evaluation<'a> {
    metrics: &'a Metrics,
    queries: &'a [Query],
    span: Span,
    /// What the queries seen so far came to; `None` while one is being computed.
    known: BTreeMap<&'a str, Option<Value>>,
    /// Of all that is known.
    points: usize,
}

impl<'a> Evaluation<'a> {
    fn query(&mut self, query: &'a Query) -> Result<Value, MathError> {
        let wrong = |reason: String| MathError { id: query.id.clone(), reason };
        match self.known.get(query.id.as_str()) {
            Some(Some(value)) => return Ok(value.clone()),
            Some(None) => return Err(wrong("the expression refers to itself".to_owned())),
            None => {}
        }
        self.known.insert(&query.id, None);
        let value = match &query.source {
            Source::Metric { metric, statistic, unit, period_secs } => {
                Value::Line(self.measured(query, metric, *statistic, unit.as_deref(), *period_secs))
            }
            Source::Expression { text, .. } => {
                let expression = parser::parse(text).map_err(wrong)?;
                self.expression(query, &expression)?
            }
        };
        self.points += value.points();
        if self.points > MOST_POINTS {
            return Err(wrong(format!("the request comes to more than {MOST_POINTS} datapoints")));
        }
        self.known.insert(&query.id, Some(value.clone()));
        Ok(value)
    }

    fn measured(
        &self,
        query: &Query,
        metric: &Metric,
        statistic: Statistic,
        unit: Option<&str>,
        period_secs: u32,
    ) -> Line {
        let range = (self.span.first(period_secs), self.span.end);
        let points = self.metrics.datapoints_from(metric, unit, range, period_secs, self.span.origin);
        let points = points.iter().filter_map(|point| Some((point.time, statistic.of(&point.values)?))).collect();
        Line { label: query.label.clone(), period_secs, points }
    }

    fn expression(&mut self, query: &'a Query, expression: &Expression) -> Result<Value, MathError> {
        let wrong = |reason: String| MathError { id: query.id.clone(), reason };
        match expression {
            Expression::Number(number) => Ok(Value::Number(*number)),
            Expression::Text(text) => Ok(Value::Text(text.clone())),
            Expression::Name(name) => {
                let queries = self.queries;
                match queries.iter().find(|known| known.id == *name) {
                    Some(referred) => self.query(referred),
                    None => Err(wrong(format!("Unrecognized identifier '{name}'"))),
                }
            }
            Expression::Negative(inner) => {
                let inner = self.expression(query, inner)?;
                operators::each(inner, "-", |value| -value).map_err(wrong)
            }
            Expression::Binary(left, operator, right) => {
                let (left, right) = (self.expression(query, left)?, self.expression(query, right)?);
                operators::apply(*operator, left, right).map_err(wrong)
            }
            Expression::List(items) => {
                let mut lines = Vec::new();
                for item in items {
                    let value = self.expression(query, item)?;
                    lines.extend(value.into_lines("[]").map_err(wrong)?);
                }
                Ok(Value::Lines(lines))
            }
            Expression::Call(name, arguments) => self.call(query, name, arguments),
        }
    }

    fn call(&mut self, query: &'a Query, name: &str, arguments: &[Expression]) -> Result<Value, MathError> {
        let wrong = |reason: String| MathError { id: query.id.clone(), reason };
        if name == "METRICS" {
            return self.all_metrics(query, arguments);
        }
        functions::check(name, arguments).map_err(wrong)?;
        let period_secs = self.period_of(query);
        let mut values = Vec::new();
        for argument in arguments {
            values.push(match argument {
                // `FILL(m1, REPEAT)`, `SORT(METRICS(), SUM, DESC)`: words, not the names of queries, which begin in lower case.
                Expression::Name(word) if word.starts_with(|c: char| c.is_ascii_uppercase()) => {
                    Value::Text(word.clone())
                }
                argument => self.expression(query, argument)?,
            });
        }
        functions::call(name, values, self.span, period_secs).map_err(wrong)
    }

    /// `METRICS()`, `METRICS("part of an id")`: the metrics of the request, not its expressions.
    fn all_metrics(&mut self, query: &'a Query, arguments: &[Expression]) -> Result<Value, MathError> {
        let part = match arguments {
            [] => "",
            [Expression::Text(part)] => part,
            _ => {
                return Err(MathError {
                    id: query.id.clone(),
                    reason: "METRICS takes no argument, or a text that the ids have in them".to_owned(),
                });
            }
        };
        let queries = self.queries;
        let mut lines = Vec::new();
        for metric in queries {
            if matches!(metric.source, Source::Metric { .. }) && metric.id.contains(part) {
                let value = self.query(metric)?;
                lines.extend(value.into_lines("METRICS").map_err(|reason| MathError { id: query.id.clone(), reason })?);
            }
        }
        Ok(Value::Lines(lines))
    }

    /// The period of what has no data of its own: its own word, or the longest one of the request's metrics.
    fn period_of(&self, query: &Query) -> u32 {
        let own = match &query.source {
            Source::Metric { period_secs, .. } => Some(*period_secs),
            Source::Expression { period_secs, .. } => *period_secs,
        };
        let longest = || {
            let of_metrics = self.queries.iter().filter_map(|query| match &query.source {
                Source::Metric { period_secs, .. } => Some(*period_secs),
                Source::Expression { .. } => None,
            });
            of_metrics.max()
        };
        own.or_else(longest).unwrap_or(DEFAULT_PERIOD_SECS)
    }
}

#[cfg(test)]
mod tests;
