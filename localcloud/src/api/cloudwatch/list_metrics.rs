//! Metrics are listed.

use serde::{Deserialize, Serialize};

use super::asked::{LONGEST_NAME, LONGEST_VALUE, NamedMetric, Wrong};
use crate::{
    api::{
        error::ApiError,
        operation::{Caller, Operation},
        page::page,
    },
    metrics::Metric,
    model::time::Timestamp,
    store::Transaction,
};

const PAGE: usize = 500;
const MOST_FILTERS: usize = 10;
/// What has had no sample for so long is not listed.
const TWO_WEEKS_SECS: i64 = 14 * 86_400;
const RECENTLY_SECS: i64 = 3 * 3600;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ListMetrics {
    namespace: Option<String>,
    metric_name: Option<String>,
    #[serde(default)]
    dimensions: Vec<DimensionFilter>,
    next_token: Option<String>,
    recently_active: Option<String>,
    #[serde(default)]
    include_linked_accounts: bool,
    owning_account: Option<String>,
}

/// Without a value, metrics that have the dimension at all.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct DimensionFilter {
    name: String,
    value: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ListMetricsOutput {
    metrics: Vec<NamedMetric>,
    next_token: Option<String>,
    owning_accounts: Option<Vec<String>>,
}

impl Operation for ListMetrics {
    const ACTION: &'static str = "ListMetrics";
    type Output = ListMetricsOutput;

    fn run(self, _tx: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        let mut wrong = Wrong::default();
        for (parameter, text) in
            [("Namespace", &self.namespace), ("MetricName", &self.metric_name), ("OwningAccount", &self.owning_account)]
        {
            if let Some(text) = text {
                wrong.check_text(parameter, text, LONGEST_NAME);
            }
        }
        wrong.check_size("Dimensions", self.dimensions.len(), MOST_FILTERS);
        for (index, filter) in self.dimensions.iter().enumerate() {
            let place = format!("Dimensions.member.{}", index + 1);
            wrong.check_text(&format!("{place}.Name"), &filter.name, LONGEST_NAME);
            if let Some(value) = &filter.value {
                wrong.check_text(&format!("{place}.Value"), value, LONGEST_VALUE);
            }
        }
        if let Some(word) = &self.recently_active {
            wrong.check_one_of("RecentlyActive", word, &["PT3H"]);
        }
        wrong.refuse()?;
        let age = if self.recently_active.is_some() { RECENTLY_SECS } else { TWO_WEEKS_SECS };
        // There are no linked accounts: all that there is, is the caller's own.
        let others = self.owning_account.as_ref().is_some_and(|account| *account != caller.account_id);
        let mut found = Vec::new();
        if !others {
            let since = Timestamp::now().plus_secs(-age);
            found = caller.metrics.list(self.namespace.as_deref(), self.metric_name.as_deref(), since);
        }
        found.retain(|metric| {
            self.dimensions.iter().all(|filter| match (metric.dimensions.get(&filter.name), &filter.value) {
                (Some(value), Some(wanted)) => value == wanted,
                (Some(_), None) => true,
                (None, _) => false,
            })
        });
        let token = self.next_token.as_deref().filter(|token| !token.is_empty());
        let (metrics, next_token) = page(found, |metric| key(metric), token, PAGE).map_err(|_| {
            ApiError::invalid_parameter_value("The value for parameter NextToken is not a token that was returned.")
        })?;
        let metrics: Vec<NamedMetric> = metrics.iter().map(|metric| NamedMetric::of(metric)).collect();
        let owning_accounts = self.include_linked_accounts.then(|| vec![caller.account_id.clone(); metrics.len()]);
        Ok(ListMetricsOutput { metrics, next_token, owning_accounts })
    }
}

/// In the order of the metrics: no name has the character that keeps the names apart.
fn key(metric: &Metric) -> String {
    let mut key = format!("{}\0{}", metric.namespace, metric.name);
    for (name, value) in &metric.dimensions {
        key.push('\0');
        key.push_str(name);
        key.push('\0');
        key.push_str(value);
    }
    key
}
