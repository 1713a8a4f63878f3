//! Policies come. They do nothing until they are set on a listener or a port of the instances.

use serde::Deserialize;

use super::negotiation;
use crate::{
    api::{
        elb::{change, invalid_configuration},
        error::ApiError,
        operation::{Caller, Done, Operation},
    },
    model::{
        balancer_policy::{APP_COOKIE, LB_COOKIE, PROXY_PROTOCOL, Policy, TLS_NEGOTIATION},
        load_balancer::LoadBalancer,
    },
    store::Transaction,
};

/// <https://docs.aws.amazon.com/elasticloadbalancing/2012-06-01/APIReference/API_CreateLoadBalancerPolicy.html>
const MOST_POLICIES: usize = 100;
const EXPIRATION: &str = "CookieExpirationPeriod";

fn add(balancer: &mut LoadBalancer, name: &str, policy: Policy) -> Result<Done, ApiError> {
    let well_formed = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if !well_formed {
        return Err(ApiError::validation(format!(
            "Policy name '{name}' must contain only alphanumeric characters or hyphens"
        )));
    }
    let policies = &mut balancer.policies.by_name;
    if policies.contains_key(name) {
        return Err(ApiError::new(
            "DuplicatePolicyName",
            format!("Policy with name '{name}' already exists for load balancer '{}'", balancer.name),
        ));
    }
    if policies.len() >= MOST_POLICIES {
        return Err(ApiError::new(
            "TooManyPolicies",
            format!("The quota for policies of a load balancer has been reached: {MOST_POLICIES}"),
        ));
    }
    policies.insert(name.to_owned(), policy);
    Ok(Done {})
}

fn lb_cookie(period: Option<&str>) -> Result<Policy, ApiError> {
    let period = period.unwrap_or("0");
    if period.parse::<u64>().is_err() {
        return Err(ApiError::validation(format!("{EXPIRATION} '{period}' is not a number of seconds")));
    }
    Ok(Policy::new(LB_COOKIE, &[(EXPIRATION, period)]))
}

fn app_cookie(cookie: &str) -> Result<Policy, ApiError> {
    // A token of RFC 6265, and nothing that would end a word of the proxy's configuration.
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"!#%&*+-.^_|~".contains(&byte);
    if cookie.is_empty() || !cookie.bytes().all(allowed) {
        return Err(ApiError::validation(format!(
            "The cookie name '{cookie}' has characters that no cookie's name has"
        )));
    }
    Ok(Policy::new(APP_COOKIE, &[("CookieName", cookie)]))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct CreateLBCookieStickinessPolicy {
    load_balancer_name: String,
    policy_name: String,
    cookie_expiration_period: Option<u64>,
}

impl Operation for CreateLBCookieStickinessPolicy {
    const ACTION: &'static str = "CreateLBCookieStickinessPolicy";
    type Output = Done;

    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Done, ApiError> {
        let period = self.cookie_expiration_period.map(|secs| secs.to_string());
        let policy = lb_cookie(period.as_deref())?;
        change(tx, &self.load_balancer_name, |balancer| add(balancer, &self.policy_name, policy))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct CreateAppCookieStickinessPolicy {
    load_balancer_name: String,
    policy_name: String,
    cookie_name: String,
}

impl Operation for CreateAppCookieStickinessPolicy {
    const ACTION: &'static str = "CreateAppCookieStickinessPolicy";
    type Output = Done;

    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Done, ApiError> {
        let policy = app_cookie(&self.cookie_name)?;
        change(tx, &self.load_balancer_name, |balancer| add(balancer, &self.policy_name, policy))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Attribute {
    attribute_name: String,
    attribute_value: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct CreateLoadBalancerPolicy {
    load_balancer_name: String,
    policy_name: String,
    policy_type_name: String,
    #[serde(default)]
    policy_attributes: Vec<Attribute>,
}

impl Operation for CreateLoadBalancerPolicy {
    const ACTION: &'static str = "CreateLoadBalancerPolicy";
    type Output = Done;

    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Done, ApiError> {
        let attributes: Vec<(String, String)> = self
            .policy_attributes
            .into_iter()
            .map(|attribute| (attribute.attribute_name, attribute.attribute_value.unwrap_or_default()))
            .collect();
        let policy = policy(&self.policy_type_name, attributes)?;
        change(tx, &self.load_balancer_name, |balancer| add(balancer, &self.policy_name, policy))
    }
}

fn policy(type_name: &str, attributes: Vec<(String, String)>) -> Result<Policy, ApiError> {
    match type_name {
        TLS_NEGOTIATION => {
            Ok(Policy { type_name: type_name.to_owned(), attributes: negotiation::attributes(attributes)? })
        }
        LB_COOKIE => lb_cookie(only(type_name, EXPIRATION, &attributes)?),
        APP_COOKIE => app_cookie(only(type_name, "CookieName", &attributes)?.unwrap_or_default()),
        PROXY_PROTOCOL => match only(type_name, "ProxyProtocol", &attributes)? {
            Some(value) if matches!(value.to_ascii_lowercase().as_str(), "true" | "false") => {
                Ok(Policy::new(PROXY_PROTOCOL, &[("ProxyProtocol", &value.to_ascii_lowercase())]))
            }
            _ => Err(ApiError::validation("The attribute ProxyProtocol must be given, as true or false")),
        },
        "PublicKeyPolicyType" | "BackendServerAuthenticationPolicyType" => Err(ApiError::unsupported(format!(
            "{type_name} is not supported by this cloud: it does not hold the certificates of instances against known public keys."
        ))),
        _ => Err(ApiError::new("PolicyTypeNotFound", format!("Policy type {type_name} does not exist"))),
    }
}

/// The value of the one attribute that the type has.
fn only<'a>(type_name: &str, name: &str, attributes: &'a [(String, String)]) -> Result<Option<&'a str>, ApiError> {
    match attributes {
        [] => Ok(None),
        [(known, value)] if known == name => Ok(Some(value)),
        _ => Err(invalid_configuration(format!(
            "A policy of the type {type_name} has the attribute {name} and no other"
        ))),
    }
}
