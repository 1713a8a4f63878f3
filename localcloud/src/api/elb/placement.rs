//! Where a balancer stands: zones, subnets and security groups.

use serde::{Deserialize, Serialize};

use super::{change, find, invalid_configuration};
use crate::{
    api::{
        error::ApiError,
        operation::{Caller, Operation},
    },
    model::{security_group::SecurityGroup, site::Site},
    store::Transaction,
};

/// # Errors
/// When a zone is not this cloud's.
pub fn check_zones(site: &Site, zones: &[String]) -> Result<(), ApiError> {
    match zones.iter().find(|zone| **zone != site.zone) {
        Some(zone) => Err(ApiError::validation(format!(
            "Requested Availability Zone {zone} is not valid; this cloud has {}",
            site.zone
        ))),
        None => Ok(()),
    }
}

/// # Errors
/// When a subnet is not this cloud's.
pub fn check_subnets(site: &Site, subnets: &[String]) -> Result<(), ApiError> {
    match subnets.iter().find(|subnet| **subnet != site.subnet_id) {
        Some(subnet) => Err(ApiError::new("SubnetNotFound", format!("The subnet ID '{subnet}' does not exist"))),
        None if subnets.len() > 1 => Err(ApiError::new("InvalidSubnet", "A subnet is named twice")),
        None => Ok(()),
    }
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
            check_subnets(caller.site, &self.subnets)?;
            for subnet in self.subnets {
                if !balancer.subnets.contains(&subnet) {
                    balancer.subnets.push(subnet);
                }
            }
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

    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        change(tx, &self.load_balancer_name, |balancer| {
            balancer.subnets.retain(|subnet| !self.subnets.contains(subnet));
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
            for zone in self.availability_zones {
                if !balancer.zones.contains(&zone) {
                    balancer.zones.push(zone);
                }
            }
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

    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        change(tx, &self.load_balancer_name, |balancer| {
            balancer.zones.retain(|zone| !self.availability_zones.contains(zone));
            if balancer.zones.is_empty() {
                return Err(invalid_configuration(
                    "The load balancer must have at least one Availability Zone enabled",
                ));
            }
            Ok(ZonesOutput { availability_zones: balancer.zones.clone() })
        })
    }
}
