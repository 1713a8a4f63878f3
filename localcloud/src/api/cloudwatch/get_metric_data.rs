//! Many metrics' values, and what expressions make of them.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

use super::{
    asked::{Wrong, rounded_start, whole_second},
    metric_query::{self, MetricDataQuery},
};
use crate::{
    api::{
        error::ApiError,
        operation::{Caller, Operation},
    },
    metrics::math::{self, Query, Series, Source},
    model::time::Timestamp,
    store::Transaction,
};

const MOST_DATAPOINTS: usize = 100_800;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct GetMetricData {
    metric_data_queries: Vec<MetricDataQuery>,
    start_time: Timestamp,
    end_time: Timestamp,
    next_token: Option<String>,
    scan_by: Option<String>,
    max_datapoints: Option<usize>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct GetMetricDataOutput {
    metric_data_results: Vec<MetricDataResult>,
    next_token: Option<String>,
    messages: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct MetricDataResult {
    id: String,
    label: String,
    timestamps: Vec<Timestamp>,
    values: Vec<f64>,
    status_code: &'static str,
}

impl Operation for GetMetricData {
    const ACTION: &'static str = "GetMetricData";
    type Output = GetMetricDataOutput;

    fn run(self, _tx: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        let mut wrong = Wrong::default();
        let (start, end) = (whole_second(self.start_time), whole_second(self.end_time));
        if start == end {
            wrong.say("The parameter StartTime must not equal parameter EndTime.".to_owned());
        } else if start > end {
            wrong.say("The parameter EndTime must be greater than StartTime.".to_owned());
        }
        if let Some(word) = &self.scan_by {
            wrong.check_one_of("ScanBy", word, &["TimestampDescending", "TimestampAscending"]);
        }
        let most = self.max_datapoints.unwrap_or(MOST_DATAPOINTS);
        if !(1..=MOST_DATAPOINTS).contains(&most) {
            wrong.say(format!("The value {most} for parameter MaxDatapoints is not between 1 and {MOST_DATAPOINTS}."));
        }
        wrong.refuse_as_invalid()?;
        let queries = metric_query::queries("MetricDataQueries", self.metric_data_queries, &caller.account_id)?;
        if !queries.iter().any(|query| query.return_data) {
            return Err(ApiError::validation(
                "At least one of the MetricDataQueries must have ReturnData set to true.",
            ));
        }
        let shortest = queries.iter().filter_map(period).min().unwrap_or(60);
        let start = rounded_start(start, shortest, Timestamp::now());
        math::check(&queries).map_err(|error| ApiError::validation(error.to_string()))?;
        check_amount(&queries, (start, end))?;
        let series = math::evaluate_from(caller.metrics, &queries, (start, end));
        let mut series = series.map_err(|error| ApiError::validation(error.to_string()))?;
        let descending = self.scan_by.as_deref() != Some("TimestampAscending");
        if descending {
            series.iter_mut().for_each(|series| series.points.reverse());
        }
        let token = self.next_token.filter(|token| !token.is_empty());
        let position = match token {
            Some(token) => Position::of(&token)
                .filter(|position| position.series < series.len())
                .ok_or_else(|| ApiError::new("InvalidNextToken", "The token is not valid."))?,
            None => Position { series: 0, after: None },
        };
        let (metric_data_results, next) = page(series, position, most, descending);
        Ok(GetMetricDataOutput {
            metric_data_results,
            next_token: next.map(|position| position.token()),
            messages: Vec::new(),
        })
    }
}

fn period(query: &Query) -> Option<u32> {
    match &query.source {
        Source::Metric { period_secs, .. } => Some(*period_secs),
        Source::Expression { period_secs, .. } => *period_secs,
    }
}

/// A request for more periods than could ever be held is refused before it is begun: an answer may be paged, but
/// expressions are computed as a whole.
fn check_amount(queries: &[Query], (start, end): (Timestamp, Timestamp)) -> Result<(), ApiError> {
    const MOST_PERIODS: i64 = 3_000_000;
    let length = end.millis().saturating_sub(start.millis()) / 1000;
    let periods: i64 =
        queries.iter().map(|query| length / i64::from(period(query).unwrap_or(60))).fold(0, i64::saturating_add);
    if periods <= MOST_PERIODS {
        return Ok(());
    }
    Err(ApiError::validation(format!(
        "You have requested up to {periods} datapoints. You may reduce the datapoints requested by increasing Period, or decreasing the time range."
    )))
}

/// Where a page begins. It names a time and not a number, as new datapoints come in between two pages.
struct Position {
    series: usize,
    /// The last datapoint of the page before.
    after: Option<Timestamp>,
}

impl Position {
    fn token(&self) -> String {
        let after = self.after.map(|time| time.millis().to_string()).unwrap_or_default();
        URL_SAFE_NO_PAD.encode(format!("{}:{after}", self.series))
    }

    fn of(token: &str) -> Option<Self> {
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(token).ok()?).ok()?;
        let (series, after) = text.split_once(':')?;
        let after = match after {
            "" => None,
            millis => Some(Timestamp::from_millis(millis.parse().ok()?)),
        };
        Some(Self { series: series.parse().ok()?, after })
    }
}

/// The next `most` datapoints, and where the rest begins. A series that goes on there has partial data here.
fn page(
    series: Vec<Series>,
    from: Position,
    most: usize,
    descending: bool,
) -> (Vec<MetricDataResult>, Option<Position>) {
    let mut results = Vec::new();
    let mut left = most;
    for (index, series) in series.into_iter().enumerate().skip(from.series) {
        let skipped = match from.after.filter(|_| index == from.series) {
            Some(after) => {
                series.points.partition_point(|(time, _)| if descending { *time >= after } else { *time <= after })
            }
            None => 0,
        };
        let points = &series.points[skipped..];
        if left == 0 && !points.is_empty() {
            return (results, Some(Position { series: index, after: None }));
        }
        let taken = &points[..points.len().min(left)];
        left -= taken.len();
        let (timestamps, values) = taken.iter().copied().unzip();
        let rest = taken.len() < points.len();
        let status_code = if rest { "PartialData" } else { "Complete" };
        results.push(MetricDataResult { id: series.id, label: series.label, timestamps, values, status_code });
        if rest {
            return (results, Some(Position { series: index, after: taken.last().map(|(time, _)| *time) }));
        }
    }
    (results, None)
}
