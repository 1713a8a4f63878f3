//! Groups are born. What is common to creating and updating one is here too.

use std::collections::BTreeSet;

use serde::{Deserialize, de::IgnoredAny};

use super::{
    launch_source::{self, LaunchTemplateSpecification},
    lifecycle_hooks::{LifecycleHookSpecification, check_hooks},
    membership::spoken,
    tags::{self, TagInput},
    traffic_sources::TrafficSource,
};
use crate::{
    api::{
        error::ApiError,
        operation::{Caller, Done, Operation},
    },
    model::{
        auto_scaling::{AutoScalingGroup, CapacityChange},
        id,
        load_balancer::LoadBalancer,
        site::Site,
        time::Timestamp,
    },
    store::Transaction,
};

const LONGEST_WARMUP_SECS: u32 = 7200;
pub const DEFAULT_COOLDOWN_SECS: u32 = 300;
/// An instance here boots in seconds; the quota is the machine's.
const LARGEST_GROUP: u32 = 40;

/// What `decide` can order members by.
pub const TERMINATION_POLICIES: &[&str] = &[
    "ClosestToNextInstanceHour",
    "Default",
    "NewestInstance",
    "OldestInstance",
    "OldestLaunchConfiguration",
    "OldestLaunchTemplate",
];

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct CreateAutoScalingGroup {
    auto_scaling_group_name: String,
    launch_configuration_name: Option<String>,
    launch_template: Option<LaunchTemplateSpecification>,
    mixed_instances_policy: Option<IgnoredAny>,
    instance_id: Option<String>,
    min_size: u32,
    max_size: u32,
    desired_capacity: Option<u32>,
    default_cooldown: Option<u32>,
    #[serde(default)]
    availability_zones: Vec<String>,
    #[serde(default)]
    load_balancer_names: Vec<String>,
    #[serde(default, rename = "TargetGroupARNs")]
    target_group_arns: Vec<String>,
    health_check_type: Option<String>,
    health_check_grace_period: Option<u32>,
    #[serde(rename = "VPCZoneIdentifier")]
    vpc_zone_identifier: Option<String>,
    #[serde(default)]
    termination_policies: Vec<String>,
    new_instances_protected_from_scale_in: Option<bool>,
    #[serde(default)]
    tags: Vec<TagInput>,
    #[serde(default)]
    lifecycle_hook_specification_list: Vec<LifecycleHookSpecification>,
    #[serde(default)]
    traffic_sources: Vec<TrafficSource>,
    max_instance_lifetime: Option<u32>,
    default_instance_warmup: Option<i64>,
    context: Option<String>,
    deletion_protection: Option<String>,
    capacity_rebalance: Option<bool>,
    desired_capacity_type: Option<String>,
    instance_maintenance_policy: Option<IgnoredAny>,
}

impl Operation for CreateAutoScalingGroup {
    const ACTION: &'static str = "CreateAutoScalingGroup";
    type Output = Done;

    fn run(self, tx: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<Done, ApiError> {
        let name = self.auto_scaling_group_name;
        check_name("AutoScalingGroupName", &name)?;
        if self.mixed_instances_policy.is_some() {
            return Err(mixed_instances());
        }
        if self.instance_id.is_some() {
            return Err(ApiError::unsupported(
                "Groups made after an instance (InstanceId) are not supported by this cloud; use a launch template or configuration.",
            ));
        }
        if !self.target_group_arns.is_empty() {
            return Err(ApiError::unsupported("Target groups are not supported by this cloud; use LoadBalancerNames."));
        }
        if let Some(existing) = tx.get::<AutoScalingGroup>(&name) {
            let pending = if existing.deleting { " and is pending delete" } else { "" };
            return Err(ApiError::new(
                "AlreadyExists",
                format!(
                    "AutoScalingGroup by this name already exists - A group with the name {name} already exists{pending}"
                ),
            ));
        }
        check_no_maintenance_policy(self.instance_maintenance_policy.is_some())?;
        check_single_kind(self.capacity_rebalance, self.desired_capacity_type.as_deref())?;
        let mut load_balancer_names = self.load_balancer_names;
        for source in self.traffic_sources {
            let balancer = source.balancer_name()?;
            if !load_balancer_names.contains(&balancer) {
                load_balancer_names.push(balancer);
            }
        }
        let hooks = self.lifecycle_hook_specification_list.into_iter().map(LifecycleHookSpecification::check);
        let mut hooks = hooks.collect::<Result<Vec<_>, _>>()?;
        check_hooks(&mut hooks)?;
        let desired_capacity = self.desired_capacity.unwrap_or(self.min_size);
        check_sizes(self.min_size, self.max_size, desired_capacity)?;
        let launch_source = launch_source::requested(tx, self.launch_configuration_name, self.launch_template)?;
        let (zones, subnets) = check_placement(caller.site, self.availability_zones, self.vpc_zone_identifier)?;
        check_load_balancers(tx, &load_balancer_names)?;
        let tags = self.tags.into_iter().map(|tag| tag.check(Some(&name))).collect::<Result<Vec<_>, _>>()?;
        tags::check_distinct(&tags)?;
        let now = Timestamp::now();
        let group = AutoScalingGroup {
            arn: format!(
                "arn:aws:autoscaling:{}:{}:autoScalingGroup:{}:autoScalingGroupName/{name}",
                caller.region,
                caller.account_id,
                id::uuid()
            ),
            created: now,
            launch_source,
            min_size: self.min_size,
            max_size: self.max_size,
            desired_capacity,
            default_cooldown_secs: self.default_cooldown.unwrap_or(DEFAULT_COOLDOWN_SECS),
            zones,
            subnets,
            load_balancer_names,
            health_check_type: check_health_check_type(self.health_check_type)?,
            health_check_grace_secs: self.health_check_grace_period.unwrap_or(0),
            termination_policies: check_termination_policies(self.termination_policies)?,
            new_instances_protected: self.new_instances_protected_from_scale_in.unwrap_or(false),
            tags,
            members: Vec::new(),
            deleting: false,
            enabled_metrics: Default::default(),
            launch_trouble: None,
            last_scaled: None,
            last_cooldown_secs: 0,
            capacity_change: Some(CapacityChange {
                cause: format!(
                    "At {} a user request created an AutoScalingGroup changing the desired capacity from 0 to {desired_capacity}.",
                    spoken(now)
                ),
                starts_cooldown: false,
            }),
            suspended: Default::default(),
            default_warmup_secs: check_warmup(self.default_instance_warmup)?,
            max_lifetime_secs: check_lifetime(self.max_instance_lifetime)?,
            deletion_protection: check_deletion_protection(self.deletion_protection)?,
            context: self.context,
            hooks,
            schedule: Vec::new(),
            refreshes: Vec::new(),
            name,
        };
        tx.put(group);
        Ok(Done {})
    }
}

/// # Errors
/// When a name is empty, too long, or has a character that would make other things ambiguous.
pub fn check_name(parameter: &str, name: &str) -> Result<(), ApiError> {
    if name.is_empty() || name.len() > 255 || name.contains([':', '/']) || name.chars().any(char::is_control) {
        return Err(ApiError::validation(format!(
            "{parameter} '{name}' must have 1 to 255 characters, without colons, slashes and control characters"
        )));
    }
    Ok(())
}

pub fn mixed_instances() -> ApiError {
    ApiError::unsupported(
        "MixedInstancesPolicy is not supported by this cloud; use LaunchTemplate or LaunchConfigurationName.",
    )
}

/// What only groups of several instance types have.
///
/// # Errors
/// When it is asked for.
pub fn check_single_kind(capacity_rebalance: Option<bool>, capacity_type: Option<&str>) -> Result<(), ApiError> {
    if capacity_rebalance == Some(true) {
        return Err(ApiError::unsupported(
            "CapacityRebalance is not supported by this cloud, which has no Spot Instances.",
        ));
    }
    match capacity_type {
        None | Some("units") => Ok(()),
        Some(other) => Err(ApiError::unsupported(format!(
            "DesiredCapacityType {other} is not supported by this cloud; use units."
        ))),
    }
}

/// # Errors
/// When it is none of AWS's values.
pub fn check_deletion_protection(given: Option<String>) -> Result<Option<String>, ApiError> {
    match given.as_deref() {
        None | Some("none") => Ok(None),
        Some("prevent-force-deletion" | "prevent-all-deletion") => Ok(given),
        Some(other) => Err(ApiError::validation(format!(
            "DeletionProtection '{other}' is not one of none, prevent-force-deletion, prevent-all-deletion"
        ))),
    }
}

/// # Errors
/// When one is given.
pub fn check_no_maintenance_policy(given: bool) -> Result<(), ApiError> {
    if given {
        return Err(ApiError::unsupported(
            "InstanceMaintenancePolicy is not supported by this cloud; give MinHealthyPercentage and MaxHealthyPercentage to StartInstanceRefresh.",
        ));
    }
    Ok(())
}

/// A warm-up of -1 takes a former one away.
///
/// # Errors
/// When it is longer than two hours.
pub fn check_warmup(seconds: Option<i64>) -> Result<Option<u32>, ApiError> {
    match seconds {
        None | Some(-1) => Ok(None),
        Some(seconds) => u32::try_from(seconds)
            .ok()
            .filter(|seconds| *seconds <= LONGEST_WARMUP_SECS)
            .map(Some)
            .ok_or_else(|| ApiError::validation(format!("DefaultInstanceWarmup {seconds} is not from 0 to 7200"))),
    }
}

/// A lifetime of 0 takes a former one away.
///
/// # Errors
/// When it is shorter than a day, or longer than a year.
pub fn check_lifetime(seconds: Option<u32>) -> Result<Option<u32>, ApiError> {
    match seconds {
        None | Some(0) => Ok(None),
        Some(seconds @ 86_400..=31_536_000) => Ok(Some(seconds)),
        Some(seconds) => Err(ApiError::validation(format!(
            "MaxInstanceLifetime {seconds} must be 0, or from 86400 (1 day) to 31536000 seconds (365 days)"
        ))),
    }
}

/// # Errors
/// When the bounds exclude each other or the desired capacity.
pub fn check_sizes(min_size: u32, max_size: u32, desired_capacity: u32) -> Result<(), ApiError> {
    if max_size < min_size {
        return Err(ApiError::validation(format!(
            "Max bound, {max_size}, must be greater than or equal to min bound, {min_size}"
        )));
    }
    if max_size > LARGEST_GROUP {
        return Err(ApiError::validation(format!(
            "Max bound, {max_size}, is above {LARGEST_GROUP}, the most this cloud runs"
        )));
    }
    if !(min_size..=max_size).contains(&desired_capacity) {
        return Err(ApiError::validation(format!(
            "Desired capacity:{desired_capacity} must be between the specified min size:{min_size} and max size:{max_size}"
        )));
    }
    Ok(())
}

/// Zones and subnets of a group; at least one of them must be named.
///
/// # Errors
/// When one is not this cloud's.
pub fn check_placement(
    site: &Site,
    zones: Vec<String>,
    vpc_zone_identifier: Option<String>,
) -> Result<(Vec<String>, Vec<String>), ApiError> {
    if let Some(zone) = zones.iter().find(|zone| site.zone(zone).is_none()) {
        return Err(ApiError::validation(format!(
            "Invalid Availability Zone(s) [{zone}]: this cloud has {}",
            site.zone_names()
        )));
    }
    let subnets: Vec<String> = vpc_zone_identifier
        .unwrap_or_default()
        .split(',')
        .map(|subnet| subnet.trim().to_owned())
        .filter(|subnet| !subnet.is_empty())
        .collect();
    let mut of_subnets: Vec<String> = Vec::new();
    for subnet in &subnets {
        let missing = || ApiError::validation(format!("The subnet ID '{subnet}' does not exist"));
        of_subnets.push(site.zone_of_subnet(subnet).ok_or_else(missing)?.name.clone());
    }
    if zones.is_empty() && subnets.is_empty() {
        return Err(ApiError::validation("At least one Availability Zone or VPC Subnet is required."));
    }
    if subnets.is_empty() {
        return Ok((zones, subnets));
    }
    let as_set = |names: &[String]| names.iter().cloned().collect::<BTreeSet<String>>();
    if !zones.is_empty() && as_set(&zones) != as_set(&of_subnets) {
        return Err(ApiError::validation(
            "The availability zones of the specified subnets and the Auto Scaling group do not match",
        ));
    }
    Ok((of_subnets, subnets))
}

/// # Errors
/// When a balancer does not exist.
pub fn check_load_balancers(tx: &mut Transaction<'_>, names: &[String]) -> Result<(), ApiError> {
    for name in names {
        if tx.get::<LoadBalancer>(name).is_none() {
            return Err(ApiError::validation(format!(
                "Provided Load Balancers may not be valid. Please ensure they exist and try again. ({name})"
            )));
        }
    }
    Ok(())
}

/// # Errors
/// When it is neither `EC2` nor `ELB`.
pub fn check_health_check_type(health_check_type: Option<String>) -> Result<String, ApiError> {
    match health_check_type.as_deref() {
        None | Some("EC2") => Ok("EC2".to_owned()),
        Some("ELB") => Ok("ELB".to_owned()),
        Some(other) => {
            Err(ApiError::validation(format!("Invalid health check type: {other}. Valid types are EC2 and ELB.")))
        }
    }
}

/// # Errors
/// When this cloud does not know one.
pub fn check_termination_policies(policies: Vec<String>) -> Result<Vec<String>, ApiError> {
    if let Some(unknown) = policies.iter().find(|policy| !TERMINATION_POLICIES.contains(&policy.as_str())) {
        return Err(ApiError::validation(format!(
            "Invalid termination policy: {unknown}. Valid ones are {}.",
            TERMINATION_POLICIES.join(", ")
        )));
    }
    Ok(if policies.is_empty() { vec!["Default".to_owned()] } else { policies })
}
