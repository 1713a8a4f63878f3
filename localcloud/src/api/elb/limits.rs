//! How many of what an account may have.

use serde::{Deserialize, Serialize};

use crate::{
    api::{
        error::ApiError,
        operation::{Caller, Operation},
        page::page,
    },
    store::Transaction,
};

/// This cloud has addresses for as many balancers; the others are AWS's quotas
/// (<https://docs.aws.amazon.com/elasticloadbalancing/latest/classic/elb-limits.html>).
pub const MOST_BALANCERS: u8 = 254;
const MOST_LISTENERS: usize = 100;
const MOST_INSTANCES: usize = 1000;
const LARGEST_PAGE: usize = 400;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DescribeAccountLimits {
    marker: Option<String>,
    page_size: Option<usize>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Limit {
    name: &'static str,
    max: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct DescribeAccountLimitsOutput {
    limits: Vec<Limit>,
    next_marker: Option<String>,
}

impl Operation for DescribeAccountLimits {
    const ACTION: &'static str = "DescribeAccountLimits";
    type Output = DescribeAccountLimitsOutput;

    fn run(self, _tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        let size = self.page_size.unwrap_or(LARGEST_PAGE);
        if !(1..=LARGEST_PAGE).contains(&size) {
            return Err(ApiError::validation(format!("PageSize {size} is not between 1 and {LARGEST_PAGE}")));
        }
        let limits = [
            ("classic-listeners", MOST_LISTENERS),
            ("classic-load-balancers", usize::from(MOST_BALANCERS)),
            ("classic-registered-instances", MOST_INSTANCES),
        ];
        let limits = limits.into_iter().map(|(name, max)| Limit { name, max: max.to_string() }).collect();
        let (limits, next_marker) = page(limits, |limit: &Limit| limit.name.to_owned(), self.marker.as_deref(), size)?;
        Ok(DescribeAccountLimitsOutput { limits, next_marker })
    }
}

/// # Errors
/// When a balancer would get more listeners than it may have.
pub fn check_listeners(count: usize) -> Result<(), ApiError> {
    if count > MOST_LISTENERS {
        return Err(super::invalid_configuration(format!(
            "The quota for listeners of a load balancer has been reached: {MOST_LISTENERS}"
        )));
    }
    Ok(())
}

/// # Errors
/// When a balancer would get more instances than it may have.
pub fn check_instances(count: usize) -> Result<(), ApiError> {
    if count > MOST_INSTANCES {
        return Err(super::invalid_configuration(format!(
            "The quota for registered instances of a load balancer has been reached: {MOST_INSTANCES}"
        )));
    }
    Ok(())
}
