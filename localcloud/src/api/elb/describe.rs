//! Balancers as they are described.

use serde::{Deserialize, Serialize};

use super::{
    find,
    health::HealthCheckShape,
    instances::{InstanceName, registered},
    listeners::ListenerOutput,
};
use crate::{
    api::{
        error::ApiError,
        operation::{Caller, Operation},
        page::page,
    },
    model::{
        balancer_policy::{APP_COOKIE, LB_COOKIE},
        load_balancer::LoadBalancer,
        security_group::SecurityGroup,
        time::Timestamp,
    },
    store::Transaction,
};

const LARGEST_PAGE: usize = 400;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DescribeLoadBalancers {
    #[serde(default)]
    load_balancer_names: Vec<String>,
    marker: Option<String>,
    page_size: Option<usize>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct DescribeLoadBalancersOutput {
    load_balancer_descriptions: Vec<LoadBalancerDescription>,
    next_marker: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct LoadBalancerDescription {
    load_balancer_name: String,
    #[serde(rename = "DNSName")]
    dns_name: String,
    canonical_hosted_zone_name: String,
    #[serde(rename = "CanonicalHostedZoneNameID")]
    canonical_hosted_zone_name_id: String,
    listener_descriptions: Vec<ListenerDescription>,
    policies: Policies,
    backend_server_descriptions: Vec<BackendServerDescription>,
    availability_zones: Vec<String>,
    subnets: Vec<String>,
    #[serde(rename = "VPCId")]
    vpc_id: String,
    instances: Vec<InstanceName>,
    health_check: HealthCheckShape,
    source_security_group: Option<SourceSecurityGroup>,
    security_groups: Vec<String>,
    created_time: Timestamp,
    scheme: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ListenerDescription {
    listener: ListenerOutput,
    policy_names: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Policies {
    app_cookie_stickiness_policies: Vec<AppCookieStickinessPolicy>,
    #[serde(rename = "LBCookieStickinessPolicies")]
    lb_cookie_stickiness_policies: Vec<LbCookieStickinessPolicy>,
    other_policies: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct AppCookieStickinessPolicy {
    policy_name: String,
    cookie_name: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct LbCookieStickinessPolicy {
    policy_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    cookie_expiration_period: Option<u64>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct BackendServerDescription {
    instance_port: u16,
    policy_names: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct SourceSecurityGroup {
    owner_alias: String,
    group_name: String,
}

impl Operation for DescribeLoadBalancers {
    const ACTION: &'static str = "DescribeLoadBalancers";
    type Output = DescribeLoadBalancersOutput;

    fn run(self, tx: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        let size = self.page_size.unwrap_or(LARGEST_PAGE);
        if !(1..=LARGEST_PAGE).contains(&size) {
            return Err(ApiError::validation(format!("PageSize {size} is not between 1 and {LARGEST_PAGE}")));
        }
        let balancers = if self.load_balancer_names.is_empty() {
            tx.list::<LoadBalancer>()
        } else {
            let mut named = Vec::new();
            for name in &self.load_balancer_names {
                named.push(find(tx, name)?);
            }
            named.sort_by(|a, b| a.name.cmp(&b.name));
            named.dedup_by(|a, b| a.name == b.name);
            named
        };
        let (balancers, next_marker) = page(balancers, |balancer| balancer.name.clone(), self.marker.as_deref(), size)?;
        let load_balancer_descriptions =
            balancers.iter().map(|balancer| description(tx, balancer, &caller.site.vpc_id)).collect();
        Ok(DescribeLoadBalancersOutput { load_balancer_descriptions, next_marker })
    }
}

fn description(tx: &mut Transaction<'_>, balancer: &LoadBalancer, vpc_id: &str) -> LoadBalancerDescription {
    let source = balancer.security_group_ids.first().and_then(|id| tx.get::<SecurityGroup>(id));
    LoadBalancerDescription {
        load_balancer_name: balancer.name.clone(),
        dns_name: balancer.dns_name.clone(),
        canonical_hosted_zone_name: balancer.dns_name.clone(),
        canonical_hosted_zone_name_id: "Z00000000LOCAL".to_owned(),
        listener_descriptions: balancer
            .listeners
            .iter()
            .map(|listener| ListenerDescription {
                listener: listener.into(),
                policy_names: listener.policy_names.clone(),
            })
            .collect(),
        policies: policies(balancer),
        backend_server_descriptions: balancer
            .policies
            .of_instance_ports
            .iter()
            .map(|(port, names)| BackendServerDescription { instance_port: *port, policy_names: names.clone() })
            .collect(),
        availability_zones: balancer.zones.clone(),
        subnets: balancer.subnets.clone(),
        vpc_id: vpc_id.to_owned(),
        instances: registered(balancer),
        health_check: (&balancer.health_check).into(),
        source_security_group: source
            .map(|group| SourceSecurityGroup { owner_alias: group.owner_id.clone(), group_name: group.name.clone() }),
        security_groups: balancer.security_group_ids.clone(),
        created_time: balancer.created,
        scheme: balancer.scheme.clone(),
    }
}

fn policies(balancer: &LoadBalancer) -> Policies {
    let mut sorted = Policies {
        app_cookie_stickiness_policies: Vec::new(),
        lb_cookie_stickiness_policies: Vec::new(),
        other_policies: Vec::new(),
    };
    for (name, policy) in &balancer.policies.by_name {
        let policy_name = name.clone();
        match policy.type_name.as_str() {
            LB_COOKIE => sorted
                .lb_cookie_stickiness_policies
                .push(LbCookieStickinessPolicy { policy_name, cookie_expiration_period: policy.cookie_expires_secs() }),
            APP_COOKIE => sorted.app_cookie_stickiness_policies.push(AppCookieStickinessPolicy {
                policy_name,
                cookie_name: policy.attribute("CookieName").unwrap_or_default().to_owned(),
            }),
            _ => sorted.other_policies.push(policy_name),
        }
    }
    sorted
}
