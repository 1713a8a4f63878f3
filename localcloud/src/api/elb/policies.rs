//! Policies: this cloud has none, as sessions are not bound to an instance and there are no certificates.

use serde::{Deserialize, Serialize};

use super::find;
use crate::{
    api::{
        error::ApiError,
        operation::{Caller, Operation},
    },
    store::Transaction,
};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DescribeLoadBalancerPolicies {
    load_balancer_name: Option<String>,
    #[serde(default)]
    policy_names: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct DescribeLoadBalancerPoliciesOutput {
    policy_descriptions: Vec<String>,
}

impl Operation for DescribeLoadBalancerPolicies {
    const ACTION: &'static str = "DescribeLoadBalancerPolicies";
    type Output = DescribeLoadBalancerPoliciesOutput;

    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        if let Some(name) = &self.load_balancer_name {
            find(tx, name)?;
        }
        match self.policy_names.first() {
            Some(policy) => Err(ApiError::new("PolicyNotFound", format!("There is no policy with name {policy}"))),
            None => Ok(DescribeLoadBalancerPoliciesOutput { policy_descriptions: Vec::new() }),
        }
    }
}
