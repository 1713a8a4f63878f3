//! What kinds of policies there are, and what is said in each.

use serde::{Deserialize, Serialize};

use crate::{
    api::{
        error::ApiError,
        operation::{Caller, Operation},
    },
    model::{
        balancer_policy::{APP_COOKIE, LB_COOKIE, PROXY_PROTOCOL, TLS_NEGOTIATION},
        tls_policy::{CIPHERS, REFERENCE, SERVER_ORDER, VERSIONS},
    },
    store::Transaction,
};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DescribeLoadBalancerPolicyTypes {
    #[serde(default)]
    policy_type_names: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct PolicyType {
    policy_type_name: &'static str,
    description: &'static str,
    policy_attribute_type_descriptions: Vec<AttributeType>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct AttributeType {
    attribute_name: &'static str,
    attribute_type: &'static str,
    cardinality: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct DescribeLoadBalancerPolicyTypesOutput {
    policy_type_descriptions: Vec<PolicyType>,
}

impl Operation for DescribeLoadBalancerPolicyTypes {
    const ACTION: &'static str = "DescribeLoadBalancerPolicyTypes";
    type Output = DescribeLoadBalancerPolicyTypesOutput;

    fn run(self, _tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        let wanted = self.policy_type_names;
        let mut types = all();
        if let Some(unknown) = wanted.iter().find(|name| !types.iter().any(|known| known.policy_type_name == *name)) {
            return Err(ApiError::new("PolicyTypeNotFound", format!("Policy type {unknown} does not exist")));
        }
        types.retain(|known| wanted.is_empty() || wanted.iter().any(|name| name == known.policy_type_name));
        Ok(DescribeLoadBalancerPolicyTypesOutput { policy_type_descriptions: types })
    }
}

fn all() -> Vec<PolicyType> {
    let attribute =
        |attribute_name, attribute_type, cardinality| AttributeType { attribute_name, attribute_type, cardinality };
    let negotiated = VERSIONS.iter().map(|(name, _)| *name).chain([SERVER_ORDER]).chain(CIPHERS.iter().copied());
    let mut negotiation = vec![attribute(REFERENCE, "String", "ZERO_OR_ONE")];
    negotiation.extend(negotiated.map(|name| attribute(name, "Boolean", "ZERO_OR_ONE")));
    vec![
        PolicyType {
            policy_type_name: TLS_NEGOTIATION,
            description: "TLS versions and ciphers of an HTTPS or SSL listener.",
            policy_attribute_type_descriptions: negotiation,
        },
        PolicyType {
            policy_type_name: LB_COOKIE,
            description: "Clients come back to their instance by a cookie of the load balancer's. For HTTP and HTTPS listeners.",
            policy_attribute_type_descriptions: vec![attribute("CookieExpirationPeriod", "Long", "ZERO_OR_ONE")],
        },
        PolicyType {
            policy_type_name: APP_COOKIE,
            description: "Clients come back to their instance while they have a cookie of the application's. For HTTP and HTTPS listeners.",
            policy_attribute_type_descriptions: vec![attribute("CookieName", "String", "ONE")],
        },
        PolicyType {
            policy_type_name: PROXY_PROTOCOL,
            description: "Instances are told the client's address and port by the PROXY protocol, version 1.",
            policy_attribute_type_descriptions: vec![attribute("ProxyProtocol", "Boolean", "ONE")],
        },
    ]
}
