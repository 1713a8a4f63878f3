//! Balancers come and go.

use std::{collections::BTreeSet, net::Ipv4Addr};

use rand::RngExt as _;
use serde::{Deserialize, Serialize};

use super::{
    limits::MOST_BALANCERS,
    listeners::{self, ListenerInput},
    placement,
    tags::{self, Tag},
};
use crate::{
    api::{
        error::ApiError,
        operation::{Caller, Done, Operation},
    },
    model::{
        balancer_policy::Policies,
        load_balancer::{ConnectionDraining, HealthCheck, LoadBalancer},
        site::Site,
        time::Timestamp,
    },
    store::Transaction,
};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct CreateLoadBalancer {
    load_balancer_name: String,
    listeners: Vec<ListenerInput>,
    #[serde(default)]
    availability_zones: Vec<String>,
    #[serde(default)]
    subnets: Vec<String>,
    #[serde(default)]
    security_groups: Vec<String>,
    scheme: Option<String>,
    #[serde(default)]
    tags: Vec<Tag>,
}

#[derive(Serialize)]
pub struct CreateLoadBalancerOutput {
    #[serde(rename = "DNSName")]
    dns_name: String,
}

impl Operation for CreateLoadBalancer {
    const ACTION: &'static str = "CreateLoadBalancer";
    type Output = CreateLoadBalancerOutput;

    fn run(self, tx: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        check_name(&self.load_balancer_name)?;
        let scheme = self.scheme.unwrap_or_else(|| "internet-facing".to_owned());
        if !matches!(scheme.as_str(), "internet-facing" | "internal") {
            return Err(ApiError::new(
                "InvalidScheme",
                format!("The scheme '{scheme}' is not valid: it is internet-facing or internal."),
            ));
        }
        if self.listeners.is_empty() {
            return Err(ApiError::validation("At least one Listener must be specified"));
        }
        let (mut listeners, mut policies) = (Vec::new(), Policies::default());
        for input in self.listeners {
            let listener = input.check(tx, caller.site)?;
            listeners::add(&mut listeners, &mut policies, listener, &self.load_balancer_name)?;
        }
        let (zones, subnets) = match (self.availability_zones.is_empty(), self.subnets.is_empty()) {
            (true, true) => {
                return Err(ApiError::validation("Either AvailabilityZones or SubnetIds must be specified"));
            }
            (false, false) => {
                return Err(ApiError::validation("Only one of SubnetIds or AvailabilityZones may be specified"));
            }
            (false, true) => {
                placement::check_zones(caller.site, &self.availability_zones)?;
                let subnets = caller.site.subnets_in(&self.availability_zones);
                (self.availability_zones, subnets)
            }
            (true, false) => (placement::zones_of(caller.site, &self.subnets)?, self.subnets),
        };
        let security_group_ids = if self.security_groups.is_empty() {
            vec![placement::default_security_group(tx, caller.site)?]
        } else {
            placement::check_security_groups(tx, &self.security_groups)?;
            self.security_groups
        };
        let tags = tags::checked(self.tags)?;

        if let Some(existing) = tx.get::<LoadBalancer>(&self.load_balancer_name) {
            let same_listeners = existing.listeners.len() == listeners.len()
                && existing.listeners.iter().zip(&listeners).all(|(known, listener)| known.is_like(listener));
            let same = same_listeners
                && existing.zones == zones
                && existing.subnets == subnets
                && existing.security_group_ids == security_group_ids
                && existing.scheme == scheme
                && existing.tags == tags;
            if same {
                return Ok(CreateLoadBalancerOutput { dns_name: existing.dns_name.clone() });
            }
            return Err(ApiError::new(
                "DuplicateLoadBalancerName",
                format!(
                    "Load Balancer named '{}' already exists and it is configured with different parameters.",
                    existing.name
                ),
            ));
        }
        let balancer = LoadBalancer {
            dns_name: dns_name(caller.site, &self.load_balancer_name, &scheme),
            address: free_address(tx, caller.site)?,
            created: Timestamp::now(),
            health_check: HealthCheck {
                target: format!("TCP:{}", listeners[0].instance_port),
                interval_secs: 30,
                timeout_secs: 5,
                unhealthy_threshold: 2,
                healthy_threshold: 10,
            },
            name: self.load_balancer_name,
            scheme,
            zones,
            subnets,
            security_group_ids,
            listeners,
            backends: Default::default(),
            connection_draining: ConnectionDraining { enabled: false, timeout_secs: 300 },
            idle_timeout_secs: 60,
            cross_zone: false,
            policies,
            access_log: Default::default(),
            desync_mitigation: Default::default(),
            tags,
            trouble: None,
        };
        let dns_name = balancer.dns_name.clone();
        tx.put(balancer);
        Ok(CreateLoadBalancerOutput { dns_name })
    }
}

/// <https://docs.aws.amazon.com/elasticloadbalancing/2012-06-01/APIReference/API_CreateLoadBalancer.html>
fn check_name(name: &str) -> Result<(), ApiError> {
    let well_formed = (1..=32).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-');
    if well_formed {
        return Ok(());
    }
    Err(ApiError::validation(format!(
        "LoadBalancer name '{name}' must have 1 to 32 characters, only alphanumeric characters or hyphens, and must not begin or end with a hyphen"
    )))
}

/// A name that no earlier balancer of the same name had, as clients may keep an old one.
fn dns_name(site: &Site, name: &str, scheme: &str) -> String {
    let number: u64 = rand::rng().random_range(100_000_000..10_000_000_000);
    let prefix = if scheme == "internal" { "internal-" } else { "" };
    format!("{prefix}{name}-{number}.elb.{}", site.dns_suffix)
}

/// The last 254 addresses of the instances' network are the balancers'.
fn free_address(tx: &mut Transaction<'_>, site: &Site) -> Result<Ipv4Addr, ApiError> {
    let taken: BTreeSet<Ipv4Addr> = tx.list::<LoadBalancer>().iter().map(|balancer| balancer.address).collect();
    (1..=MOST_BALANCERS)
        .map(|last| Ipv4Addr::new(site.subnet.0, site.subnet.1, 255, last))
        .find(|address| !taken.contains(address))
        .ok_or_else(|| {
            let message = format!("The quota for load balancers has been reached: {MOST_BALANCERS}.");
            ApiError::new("TooManyLoadBalancers", message)
        })
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DeleteLoadBalancer {
    load_balancer_name: String,
}

impl Operation for DeleteLoadBalancer {
    const ACTION: &'static str = "DeleteLoadBalancer";
    type Output = Done;

    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Done, ApiError> {
        tx.delete::<LoadBalancer>(&self.load_balancer_name);
        Ok(Done {})
    }
}
