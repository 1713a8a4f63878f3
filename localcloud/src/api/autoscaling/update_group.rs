//! Groups are changed. Members stay as they were launched; what is launched from now on follows the change.

use serde::{Deserialize, de::IgnoredAny};

use super::{
    create_group::{
        check_deletion_protection, check_health_check_type, check_lifetime, check_no_maintenance_policy,
        check_placement, check_single_kind, check_sizes, check_termination_policies, check_warmup, mixed_instances,
    },
    find_changeable,
    launch_source::{self, LaunchTemplateSpecification},
    membership::spoken,
};
use crate::{
    api::{
        error::ApiError,
        operation::{Caller, Done, Operation},
    },
    model::{auto_scaling::CapacityChange, time::Timestamp},
    store::Transaction,
};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct UpdateAutoScalingGroup {
    auto_scaling_group_name: String,
    launch_configuration_name: Option<String>,
    launch_template: Option<LaunchTemplateSpecification>,
    mixed_instances_policy: Option<IgnoredAny>,
    min_size: Option<u32>,
    max_size: Option<u32>,
    desired_capacity: Option<u32>,
    default_cooldown: Option<u32>,
    #[serde(default)]
    availability_zones: Vec<String>,
    health_check_type: Option<String>,
    health_check_grace_period: Option<u32>,
    #[serde(rename = "VPCZoneIdentifier")]
    vpc_zone_identifier: Option<String>,
    #[serde(default)]
    termination_policies: Vec<String>,
    new_instances_protected_from_scale_in: Option<bool>,
    max_instance_lifetime: Option<u32>,
    default_instance_warmup: Option<i64>,
    context: Option<String>,
    deletion_protection: Option<String>,
    capacity_rebalance: Option<bool>,
    desired_capacity_type: Option<String>,
    instance_maintenance_policy: Option<IgnoredAny>,
}

impl Operation for UpdateAutoScalingGroup {
    const ACTION: &'static str = "UpdateAutoScalingGroup";
    type Output = Done;

    fn run(self, tx: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<Done, ApiError> {
        let mut group = find_changeable(tx, &self.auto_scaling_group_name)?;
        if self.mixed_instances_policy.is_some() {
            return Err(mixed_instances());
        }
        check_no_maintenance_policy(self.instance_maintenance_policy.is_some())?;
        check_single_kind(self.capacity_rebalance, self.desired_capacity_type.as_deref())?;
        if self.launch_configuration_name.is_some() || self.launch_template.is_some() {
            group.launch_source = launch_source::requested(tx, self.launch_configuration_name, self.launch_template)?;
        }
        let min_size = self.min_size.unwrap_or(group.min_size);
        let max_size = self.max_size.unwrap_or(group.max_size);
        // Bounds given without a desired capacity move it within them.
        let desired = match self.desired_capacity {
            Some(desired) => desired,
            None => group.desired_capacity.max(min_size).min(max_size),
        };
        check_sizes(min_size, max_size, desired)?;
        if desired != group.desired_capacity {
            group.capacity_change = Some(CapacityChange {
                cause: format!(
                    "At {} a user request update of AutoScalingGroup constraints to min: {min_size}, max: {max_size}, desired: {desired} changing the desired capacity from {} to {desired}.",
                    spoken(Timestamp::now()),
                    group.desired_capacity
                ),
                starts_cooldown: false,
            });
        }
        (group.min_size, group.max_size, group.desired_capacity) = (min_size, max_size, desired);
        if let Some(seconds) = self.default_cooldown {
            group.default_cooldown_secs = seconds;
        }
        if !self.availability_zones.is_empty() || self.vpc_zone_identifier.is_some() {
            let subnets_given = self.vpc_zone_identifier.is_some();
            let (zones, subnets) = check_placement(caller.site, self.availability_zones, self.vpc_zone_identifier)?;
            if subnets_given {
                group.subnets = subnets;
            } else if !group.subnets.is_empty() {
                group.subnets = caller.site.subnets_in(&zones);
            }
            group.zones = zones;
        }
        if self.health_check_type.is_some() {
            group.health_check_type = check_health_check_type(self.health_check_type)?;
        }
        if let Some(seconds) = self.health_check_grace_period {
            group.health_check_grace_secs = seconds;
        }
        if !self.termination_policies.is_empty() {
            group.termination_policies = check_termination_policies(self.termination_policies)?;
        }
        if let Some(protected) = self.new_instances_protected_from_scale_in {
            group.new_instances_protected = protected;
        }
        if self.max_instance_lifetime.is_some() {
            group.max_lifetime_secs = check_lifetime(self.max_instance_lifetime)?;
        }
        if self.default_instance_warmup.is_some() {
            group.default_warmup_secs = check_warmup(self.default_instance_warmup)?;
        }
        if self.deletion_protection.is_some() {
            group.deletion_protection = check_deletion_protection(self.deletion_protection)?;
        }
        if self.context.is_some() {
            group.context = self.context;
        }
        // What kept it from launching may have been mended by this.
        group.launch_trouble = None;
        tx.put(group);
        Ok(Done {})
    }
}
