//! Traffic sources: the newer name of what sends a group's members their work. Here that is Classic Load Balancers.

use serde::{Deserialize, Serialize};

use super::{
    lifecycle_hooks::Nothing,
    load_balancers::{AttachLoadBalancers, DetachLoadBalancers, state_of},
    page_size,
};
use crate::{
    api::{
        autoscaling::find,
        error::ApiError,
        operation::{Caller, Operation},
        page::page,
    },
    store::Transaction,
};

const CLASSIC: &str = "elb";

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct TrafficSource {
    identifier: String,
    r#type: Option<String>,
}

impl TrafficSource {
    pub fn balancer(name: &str) -> Self {
        Self { identifier: name.to_owned(), r#type: Some(CLASSIC.to_owned()) }
    }

    /// The name of the balancer. Without a type AWS takes an identifier for the ARN of a target group.
    ///
    /// # Errors
    /// When it is none of a Classic Load Balancer.
    pub fn balancer_name(self) -> Result<String, ApiError> {
        check_type(self.r#type.as_deref().unwrap_or("elbv2"))?;
        Ok(self.identifier)
    }
}

fn check_type(given: &str) -> Result<(), ApiError> {
    match given {
        CLASSIC => Ok(()),
        "elbv2" | "vpc-lattice" => Err(ApiError::unsupported(format!(
            "Traffic sources of type {given} are not supported by this cloud; use type {CLASSIC} with the name of a Classic Load Balancer."
        ))),
        other => Err(ApiError::validation(format!(
            "Invalid traffic source type: {other}. Valid values are: elb, elbv2, vpc-lattice"
        ))),
    }
}

fn names(sources: Vec<TrafficSource>) -> Result<Vec<String>, ApiError> {
    sources.into_iter().map(TrafficSource::balancer_name).collect()
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct AttachTrafficSources {
    auto_scaling_group_name: String,
    traffic_sources: Vec<TrafficSource>,
    /// There is one zone, and no zonal shift to validate.
    #[serde(rename = "SkipZonalShiftValidation")]
    _skip_zonal_shift_validation: Option<bool>,
}

impl Operation for AttachTrafficSources {
    const ACTION: &'static str = "AttachTrafficSources";
    type Output = Nothing;

    fn run(self, tx: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<Nothing, ApiError> {
        let attach = AttachLoadBalancers {
            auto_scaling_group_name: self.auto_scaling_group_name,
            load_balancer_names: names(self.traffic_sources)?,
        };
        attach.run(tx, caller).map(|_| Nothing {})
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DetachTrafficSources {
    auto_scaling_group_name: String,
    traffic_sources: Vec<TrafficSource>,
}

impl Operation for DetachTrafficSources {
    const ACTION: &'static str = "DetachTrafficSources";
    type Output = Nothing;

    fn run(self, tx: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<Nothing, ApiError> {
        let detach = DetachLoadBalancers {
            auto_scaling_group_name: self.auto_scaling_group_name,
            load_balancer_names: names(self.traffic_sources)?,
        };
        detach.run(tx, caller).map(|_| Nothing {})
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DescribeTrafficSources {
    auto_scaling_group_name: String,
    traffic_source_type: Option<String>,
    next_token: Option<String>,
    max_records: Option<usize>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct DescribeTrafficSourcesOutput {
    traffic_sources: Vec<TrafficSourceState>,
    next_token: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct TrafficSourceState {
    /// What Identifier was called once.
    traffic_source: String,
    state: &'static str,
    identifier: String,
    r#type: &'static str,
}

impl Operation for DescribeTrafficSources {
    const ACTION: &'static str = "DescribeTrafficSources";
    type Output = DescribeTrafficSourcesOutput;

    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        let size = page_size(self.max_records)?;
        let group = find(tx, &self.auto_scaling_group_name)?;
        let wanted = match self.traffic_source_type.as_deref() {
            None | Some(CLASSIC) => true,
            Some("elbv2" | "vpc-lattice") => false,
            Some(other) => {
                check_type(other)?;
                false
            }
        };
        let mut traffic_sources = Vec::new();
        for name in group.load_balancer_names.iter().filter(|_| wanted) {
            traffic_sources.push(TrafficSourceState {
                traffic_source: name.clone(),
                state: state_of(tx, &group, name),
                identifier: name.clone(),
                r#type: CLASSIC,
            });
        }
        traffic_sources.sort_by(|a, b| a.identifier.cmp(&b.identifier));
        let key = |source: &TrafficSourceState| source.identifier.clone();
        let (traffic_sources, next_token) = page(traffic_sources, key, self.next_token.as_deref(), size)?;
        Ok(DescribeTrafficSourcesOutput { traffic_sources, next_token })
    }
}
