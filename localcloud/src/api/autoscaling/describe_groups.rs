//! Groups as they are described.

use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};

use super::{
    filters::Filter,
    launch_source::{self, LaunchTemplateSpecification},
    metrics_collection::EnabledMetric,
    page_size,
    tags::TagDescription,
    traffic_sources::TrafficSource,
};
use crate::{
    api::{
        error::ApiError,
        operation::{Caller, Operation},
        page::page,
    },
    model::{
        auto_scaling::{AutoScalingGroup, Member},
        instance::Instance,
        time::Timestamp,
    },
    store::Transaction,
};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DescribeAutoScalingGroups {
    #[serde(default)]
    auto_scaling_group_names: Vec<String>,
    include_instances: Option<bool>,
    next_token: Option<String>,
    max_records: Option<usize>,
    #[serde(default)]
    filters: Vec<Filter>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct DescribeAutoScalingGroupsOutput {
    auto_scaling_groups: Vec<GroupDescription>,
    next_token: Option<String>,
}

/// Serialised from the group's record: an answer has many of them, and copies none.
struct GroupDescription {
    group: Arc<AutoScalingGroup>,
    launch_configuration_name: Option<String>,
    launch_template: Option<LaunchTemplateSpecification>,
    instances: Vec<MemberDescription>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct GroupShape<'g> {
    auto_scaling_group_name: &'g str,
    #[serde(rename = "AutoScalingGroupARN")]
    arn: &'g str,
    launch_configuration_name: Option<&'g str>,
    launch_template: Option<&'g LaunchTemplateSpecification>,
    min_size: u32,
    max_size: u32,
    desired_capacity: u32,
    default_cooldown: u32,
    availability_zones: &'g [String],
    load_balancer_names: &'g [String],
    #[serde(rename = "TargetGroupARNs")]
    target_group_arns: &'g [String],
    health_check_type: &'g str,
    health_check_grace_period: u32,
    instances: &'g [MemberDescription],
    created_time: Timestamp,
    suspended_processes: Vec<SuspendedProcess<'g>>,
    #[serde(rename = "VPCZoneIdentifier")]
    vpc_zone_identifier: String,
    enabled_metrics: Vec<EnabledMetric>,
    status: Option<&'static str>,
    tags: Vec<TagDescription>,
    termination_policies: &'g [String],
    new_instances_protected_from_scale_in: bool,
    max_instance_lifetime: Option<u32>,
    default_instance_warmup: Option<u32>,
    capacity_rebalance: bool,
    context: Option<&'g str>,
    deletion_protection: &'g str,
    traffic_sources: Vec<TrafficSource>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct SuspendedProcess<'g> {
    process_name: &'g str,
    suspension_reason: &'g str,
}

/// A member, as part of its group.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct MemberDescription {
    pub instance_id: String,
    pub instance_type: Option<String>,
    pub availability_zone: String,
    pub lifecycle_state: &'static str,
    pub health_status: &'static str,
    pub launch_configuration_name: Option<String>,
    pub launch_template: Option<LaunchTemplateSpecification>,
    pub protected_from_scale_in: bool,
}

pub fn describe_member(tx: &mut Transaction<'_>, member: &Member) -> MemberDescription {
    let (launch_configuration_name, launch_template) = launch_source::described(tx, &member.launched_from);
    MemberDescription {
        instance_id: member.instance_id.clone(),
        instance_type: tx.get::<Instance>(&member.instance_id).map(|instance| instance.instance_type.clone()),
        availability_zone: member.zone.clone(),
        lifecycle_state: member.lifecycle.wire(),
        health_status: if member.healthy { "Healthy" } else { "Unhealthy" },
        launch_configuration_name,
        launch_template,
        protected_from_scale_in: member.protected_from_scale_in,
    }
}

impl Operation for DescribeAutoScalingGroups {
    const ACTION: &'static str = "DescribeAutoScalingGroups";
    type Output = DescribeAutoScalingGroupsOutput;

    /// A name that no group has is no error: the answer is without it.
    fn run(self, tx: &mut Transaction<'_>, _: &Caller<'_>) -> Result<Self::Output, ApiError> {
        let size = page_size(self.max_records)?;
        let mut groups = tx.list::<AutoScalingGroup>();
        groups.retain(|group| {
            self.auto_scaling_group_names.is_empty()
                || self.auto_scaling_group_names.iter().any(|name| *name == group.name || *name == group.arn)
        });
        for filter in &self.filters {
            let test = tag_test(filter)?;
            groups.retain(|group| group.tags.iter().any(|tag| test(&tag.key, &tag.value)));
        }
        let (groups, next_token) = page(groups, |group| group.name.clone(), self.next_token.as_deref(), size)?;
        let with_instances = self.include_instances.unwrap_or(true);
        let auto_scaling_groups =
            groups.into_iter().map(|group| GroupDescription::of(tx, group, with_instances)).collect();
        Ok(DescribeAutoScalingGroupsOutput { auto_scaling_groups, next_token })
    }
}

type TagTest<'a> = Box<dyn Fn(&str, &str) -> bool + 'a>;

fn tag_test(filter: &Filter) -> Result<TagTest<'_>, ApiError> {
    match filter.name.as_str() {
        "tag-key" => Ok(Box::new(|key, _| filter.admits(key))),
        "tag-value" => Ok(Box::new(|_, value| filter.admits(value))),
        name => match name.strip_prefix("tag:") {
            Some(wanted) => Ok(Box::new(move |key, value| key == wanted && filter.admits(value))),
            None => Err(ApiError::validation(format!(
                "Filter type {name} is not correct. Allowed Filter types are: tag-key, tag-value, tag:<key>"
            ))),
        },
    }
}

impl GroupDescription {
    fn of(tx: &mut Transaction<'_>, group: Arc<AutoScalingGroup>, with_instances: bool) -> Self {
        let (launch_configuration_name, launch_template) = launch_source::described(tx, &group.launch_source);
        let members = group.members.iter().filter(|_| with_instances);
        let instances = members.map(|member| describe_member(tx, member)).collect();
        Self { group, launch_configuration_name, launch_template, instances }
    }
}

impl Serialize for GroupDescription {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let group = &self.group;
        let suspended = group.suspended.iter();
        let shape = GroupShape {
            auto_scaling_group_name: &group.name,
            arn: &group.arn,
            launch_configuration_name: self.launch_configuration_name.as_deref(),
            launch_template: self.launch_template.as_ref(),
            min_size: group.min_size,
            max_size: group.max_size,
            desired_capacity: group.desired_capacity,
            default_cooldown: group.default_cooldown_secs,
            availability_zones: &group.zones,
            load_balancer_names: &group.load_balancer_names,
            target_group_arns: &[],
            health_check_type: &group.health_check_type,
            health_check_grace_period: group.health_check_grace_secs,
            instances: &self.instances,
            created_time: group.created,
            suspended_processes: suspended
                .map(|(process_name, suspension_reason)| SuspendedProcess { process_name, suspension_reason })
                .collect(),
            vpc_zone_identifier: group.subnets.join(","),
            enabled_metrics: group.enabled_metrics.iter().map(|name| EnabledMetric::of(name)).collect(),
            status: group.deleting.then_some("Delete in progress"),
            tags: group.tags.iter().map(|tag| TagDescription::of(&group.name, tag)).collect(),
            termination_policies: &group.termination_policies,
            new_instances_protected_from_scale_in: group.new_instances_protected,
            max_instance_lifetime: group.max_lifetime_secs,
            default_instance_warmup: group.default_warmup_secs,
            capacity_rebalance: false,
            context: group.context.as_deref(),
            deletion_protection: group.deletion_protection.as_deref().unwrap_or("none"),
            traffic_sources: group.load_balancer_names.iter().map(|name| TrafficSource::balancer(name)).collect(),
        };
        shape.serialize(serializer)
    }
}
