//! Where a balancer stands: zones, subnets and security groups.

use serde::{Deserialize, Serialize};

use super::{change, find, invalid_configuration};
use crate::{
    api::{
        error::ApiError,
        operation::{Caller, Operation},
    },
    model::{load_balancer::LoadBalancer, security_group::SecurityGroup, site::Site},
    store::Transaction,
};

/// # Errors
/// When a zone is not this cloud's.
pub fn check_zones(site: &Site, zones: &[String]) -> Result<(), ApiError> {
    match zones.iter().find(|zone| site.zone(zone).is_none()) {
        Some(zone) => Err(ApiError::validation(format!(
            "Requested Availability Zone {zone} is not valid; this cloud has {}",
            site.zone_names()
        ))),
        None => Ok(()),
    }
}

/// The zones of these subnets.
///
/// # Errors
/// When a subnet is not this cloud's, or is named twice.
pub fn zones_of(site: &Site, subnets: &[String]) -> Result<Vec<String>, ApiError> {
    let mut zones: Vec<String> = Vec::new();
    for subnet in subnets {
        let missing = || ApiError::new("SubnetNotFound", format!("The subnet ID '{subnet}' does not exist"));
        let zone = site.zone_of_subnet(subnet).ok_or_else(missing)?;
        if zones.contains(&zone.name) {
            return Err(ApiError::new("InvalidSubnet", format!("The subnet '{subnet}' is named twice")));
        }
        zones.push(zone.name.clone());
    }
    Ok(zones)
}

/// Lets a balancer stand in these zones too.
fn enter(balancer: &mut LoadBalancer, site: &Site, zones: Vec<String>) {
    for zone in zones {
        if !balancer.zones.contains(&zone) {
            balancer.zones.push(zone);
        }
    }
    balancer.subnets = site.subnets_in(&balancer.zones);
}

/// Takes it out of these zones. Whatever is in one of them and registered gets nothing any more.
fn leave(balancer: &mut LoadBalancer, site: &Site, zones: &[String]) {
    balancer.zones.retain(|zone| !zones.contains(zone));
    balancer.subnets = site.subnets_in(&balancer.zones);
}

/// # Errors
/// When a group does not exist.
pub fn check_security_groups(tx: &mut Transaction<'_>, ids: &[String]) -> Result<(), ApiError> {
    for id in ids {
        if tx.get::<SecurityGroup>(id).is_none() {
            return Err(ApiError::new("InvalidSecurityGroup", format!("The security group '{id}' does not exist")));
        }
    }
    Ok(())
}

/// The default VPC's group of the name `default`.
///
/// # Errors
/// When there is none.
pub fn default_security_group(tx: &mut Transaction<'_>, site: &Site) -> Result<String, ApiError> {
    let groups = tx.list::<SecurityGroup>();
    let default = groups.iter().find(|group| group.name == "default" && group.vpc_id == site.vpc_id);
    default.map(|group| group.id.clone()).ok_or_else(|| {
        ApiError::new(
            "InvalidSecurityGroup",
            format!("The VPC {} has no default security group; name one", site.vpc_id),
        )
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ApplySecurityGroupsToLoadBalancer {
    load_balancer_name: String,
    security_groups: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct SecurityGroupsOutput {
    security_groups: Vec<String>,
}

impl Operation for ApplySecurityGroupsToLoadBalancer {
    const ACTION: &'static str = "ApplySecurityGroupsToLoadBalancer";
    type Output = SecurityGroupsOutput;

    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        find(tx, &self.load_balancer_name)?;
        if self.security_groups.is_empty() {
            return Err(invalid_configuration("A load balancer in a VPC must have at least one security group"));
        }
        check_security_groups(tx, &self.security_groups)?;
        change(tx, &self.load_balancer_name, |balancer| {
            balancer.security_group_ids = self.security_groups;
            Ok(SecurityGroupsOutput { security_groups: balancer.security_group_ids.clone() })
        })
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct SubnetsOutput {
    subnets: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct AttachLoadBalancerToSubnets {
    load_balancer_name: String,
    subnets: Vec<String>,
}

impl Operation for AttachLoadBalancerToSubnets {
    const ACTION: &'static str = "AttachLoadBalancerToSubnets";
    type Output = SubnetsOutput;

    fn run(self, tx: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        change(tx, &self.load_balancer_name, |balancer| {
            enter(balancer, caller.site, zones_of(caller.site, &self.subnets)?);
            Ok(SubnetsOutput { subnets: balancer.subnets.clone() })
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DetachLoadBalancerFromSubnets {
    load_balancer_name: String,
    subnets: Vec<String>,
}

impl Operation for DetachLoadBalancerFromSubnets {
    const ACTION: &'static str = "DetachLoadBalancerFromSubnets";
    type Output = SubnetsOutput;

    fn run(self, tx: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        change(tx, &self.load_balancer_name, |balancer| {
            // One that is none of its subnets is ignored.
            let zones = self.subnets.iter().filter_map(|subnet| caller.site.zone_of_subnet(subnet));
            leave(balancer, caller.site, &zones.map(|zone| zone.name.clone()).collect::<Vec<_>>());
            if balancer.subnets.is_empty() {
                return Err(invalid_configuration("The load balancer must be attached to at least one subnet"));
            }
            Ok(SubnetsOutput { subnets: balancer.subnets.clone() })
        })
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ZonesOutput {
    availability_zones: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct EnableAvailabilityZonesForLoadBalancer {
    load_balancer_name: String,
    availability_zones: Vec<String>,
}

impl Operation for EnableAvailabilityZonesForLoadBalancer {
    const ACTION: &'static str = "EnableAvailabilityZonesForLoadBalancer";
    type Output = ZonesOutput;

    fn run(self, tx: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        change(tx, &self.load_balancer_name, |balancer| {
            check_zones(caller.site, &self.availability_zones)?;
            enter(balancer, caller.site, self.availability_zones);
            Ok(ZonesOutput { availability_zones: balancer.zones.clone() })
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DisableAvailabilityZonesForLoadBalancer {
    load_balancer_name: String,
    availability_zones: Vec<String>,
}

impl Operation for DisableAvailabilityZonesForLoadBalancer {
    const ACTION: &'static str = "DisableAvailabilityZonesForLoadBalancer";
    type Output = ZonesOutput;

    fn run(self, tx: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        change(tx, &self.load_balancer_name, |balancer| {
            leave(balancer, caller.site, &self.availability_zones);
            if balancer.zones.is_empty() {
                return Err(invalid_configuration(
                    "The load balancer must have at least one Availability Zone enabled",
                ));
            }
            Ok(ZonesOutput { availability_zones: balancer.zones.clone() })
        })
    }
}
