//! Elastic Load Balancing, classic: what it can do, action by action. It writes records; the proxy is brought to them
//! elsewhere.

use std::sync::Arc;

use super::{constraints::Constraints, error::ApiError, operation::Service};
use crate::{model::load_balancer::LoadBalancer, store::Transaction, wire::xml::Dialect};

pub mod attributes;
pub mod create;
pub mod describe;
pub mod health;
pub mod instances;
pub mod limits;
pub mod listeners;
pub mod placement;
pub mod policies;
pub mod tags;

#[must_use]
pub fn service() -> Service {
    Service::new(
        "elasticloadbalancing",
        &["loadbalancing", "elasticloadbalancing"],
        Dialect::Query,
        "http://elasticloadbalancing.amazonaws.com/doc/2012-06-01/",
        None,
    )
    .constrained(Constraints::parse(include_str!("constraints/elasticloadbalancing.txt"), false))
    .with::<create::CreateLoadBalancer>()
    .with::<create::DeleteLoadBalancer>()
    .with::<describe::DescribeLoadBalancers>()
    .with::<listeners::CreateLoadBalancerListeners>()
    .with::<listeners::DeleteLoadBalancerListeners>()
    .with::<health::ConfigureHealthCheck>()
    .with::<health::DescribeInstanceHealth>()
    .with::<instances::RegisterInstancesWithLoadBalancer>()
    .with::<instances::DeregisterInstancesFromLoadBalancer>()
    .with::<attributes::ModifyLoadBalancerAttributes>()
    .with::<attributes::DescribeLoadBalancerAttributes>()
    .with::<placement::ApplySecurityGroupsToLoadBalancer>()
    .with::<placement::AttachLoadBalancerToSubnets>()
    .with::<placement::DetachLoadBalancerFromSubnets>()
    .with::<placement::EnableAvailabilityZonesForLoadBalancer>()
    .with::<placement::DisableAvailabilityZonesForLoadBalancer>()
    .with::<listeners::SetLoadBalancerListenerSSLCertificate>()
    .with::<limits::DescribeAccountLimits>()
    .with::<policies::DescribeLoadBalancerPolicies>()
    .with::<policies::types::DescribeLoadBalancerPolicyTypes>()
    .with::<policies::create::CreateLoadBalancerPolicy>()
    .with::<policies::create::CreateLBCookieStickinessPolicy>()
    .with::<policies::create::CreateAppCookieStickinessPolicy>()
    .with::<policies::apply::SetLoadBalancerPoliciesOfListener>()
    .with::<policies::apply::SetLoadBalancerPoliciesForBackendServer>()
    .with::<policies::apply::DeleteLoadBalancerPolicy>()
    .with::<tags::AddTags>()
    .with::<tags::RemoveTags>()
    .with::<tags::DescribeTags>()
}

fn find(tx: &mut Transaction<'_>, name: &str) -> Result<Arc<LoadBalancer>, ApiError> {
    tx.get::<LoadBalancer>(name).ok_or_else(|| {
        ApiError::new("LoadBalancerNotFound", format!("There is no ACTIVE Load Balancer named '{name}'"))
    })
}

/// Finds a balancer, lets `change` work on it and keeps it.
fn change<T>(
    tx: &mut Transaction<'_>,
    name: &str,
    change: impl FnOnce(&mut LoadBalancer) -> Result<T, ApiError>,
) -> Result<T, ApiError> {
    let mut balancer = LoadBalancer::clone(&*find(tx, name)?);
    let outcome = change(&mut balancer)?;
    tx.put(balancer);
    Ok(outcome)
}

/// A request that does not fit the balancer as it is.
fn invalid_configuration(message: impl Into<String>) -> ApiError {
    ApiError::new("InvalidConfigurationRequest", message).status(409)
}
