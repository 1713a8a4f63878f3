//! Policies: stickiness, TLS, the PROXY protocol.

use serde::{Deserialize, Serialize};

use super::find;
use crate::{
    api::{
        error::ApiError,
        operation::{Caller, Operation},
    },
    model::{
        balancer_policy::{Policy, TLS_NEGOTIATION},
        tls_policy::PREDEFINED,
    },
    store::Transaction,
};

/// Where policies are in force.
pub mod apply;
/// Policies come.
pub mod create;
/// What of TLS may be chosen.
pub mod negotiation;
/// What kinds there are.
pub mod types;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DescribeLoadBalancerPolicies {
    load_balancer_name: Option<String>,
    #[serde(default)]
    policy_names: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct PolicyDescription {
    policy_name: String,
    policy_type_name: String,
    policy_attribute_descriptions: Vec<AttributeDescription>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct AttributeDescription {
    attribute_name: String,
    attribute_value: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct DescribeLoadBalancerPoliciesOutput {
    policy_descriptions: Vec<PolicyDescription>,
}

impl Operation for DescribeLoadBalancerPolicies {
    const ACTION: &'static str = "DescribeLoadBalancerPolicies";
    type Output = DescribeLoadBalancerPoliciesOutput;

    /// Without a balancer it describes what AWS has defined for all.
    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        let known: Vec<(String, Policy)> = match &self.load_balancer_name {
            Some(name) => {
                let balancer = find(tx, name)?;
                balancer.policies.by_name.iter().map(|(name, policy)| (name.clone(), policy.clone())).collect()
            }
            None => PREDEFINED.iter().map(|policy| (policy.name.to_owned(), predefined(policy.attributes()))).collect(),
        };
        if let Some(missing) = self.policy_names.iter().find(|name| !known.iter().any(|(known, _)| known == *name)) {
            return Err(policy_not_found(missing, self.load_balancer_name.as_deref()));
        }
        let wanted = |name: &str| self.policy_names.is_empty() || self.policy_names.iter().any(|wanted| wanted == name);
        let policy_descriptions =
            known.into_iter().filter(|(name, _)| wanted(name)).map(|(name, policy)| describe(name, policy)).collect();
        Ok(DescribeLoadBalancerPoliciesOutput { policy_descriptions })
    }
}

fn predefined(attributes: Vec<(String, String)>) -> Policy {
    Policy { type_name: TLS_NEGOTIATION.to_owned(), attributes }
}

fn describe(policy_name: String, policy: Policy) -> PolicyDescription {
    PolicyDescription {
        policy_name,
        policy_type_name: policy.type_name,
        policy_attribute_descriptions: policy
            .attributes
            .into_iter()
            .map(|(attribute_name, attribute_value)| AttributeDescription { attribute_name, attribute_value })
            .collect(),
    }
}

fn policy_not_found(name: &str, balancer: Option<&str>) -> ApiError {
    let of = balancer.map(|balancer| format!(" for load balancer {balancer}")).unwrap_or_default();
    ApiError::new("PolicyNotFound", format!("There is no policy with name {name}{of}"))
}
