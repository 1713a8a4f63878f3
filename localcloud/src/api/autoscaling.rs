//! EC2 Auto Scaling: what it can do, action by action. It writes records; groups launch and terminate elsewhere.

use std::sync::Arc;

use super::{constraints::Constraints, error::ApiError, operation::Service};
use crate::{model::auto_scaling::AutoScalingGroup, store::Transaction, wire::xml::Dialect};

pub mod activities;
pub mod attachment;
pub mod capacity;
pub mod catalogue;
pub mod create_group;
/// Groups end.
pub mod delete_group;
pub mod describe_groups;
pub mod describe_instances;
pub mod execute_policy;
pub mod filters;
pub mod instance_health;
pub mod instance_refresh;
pub mod launch_configurations;
pub mod lifecycle_actions;
pub mod lifecycle_hooks;
pub mod load_balancers;
pub mod metrics_collection;
pub mod policies;
pub mod processes;
pub mod scheduled_actions;
pub mod standby;
pub mod tags;
pub mod terminate_instance;
pub mod traffic_sources;
pub mod update_group;
pub mod warm_pools;

/// What a group launches from: a configuration, or a version of a template.
pub mod launch_source;
/// Members on their way out, and the activities that tell of it: for actions and for the reconciler alike.
pub mod membership;

#[must_use]
pub fn service() -> Service {
    Service::new(
        "autoscaling",
        &["autoscaling"],
        Dialect::Query,
        "http://autoscaling.amazonaws.com/doc/2011-01-01/",
        None,
    )
    .constrained(Constraints::parse(include_str!("constraints/autoscaling.txt"), false))
    .with::<launch_configurations::CreateLaunchConfiguration>()
    .with::<launch_configurations::DeleteLaunchConfiguration>()
    .with::<launch_configurations::DescribeLaunchConfigurations>()
    .with::<create_group::CreateAutoScalingGroup>()
    .with::<update_group::UpdateAutoScalingGroup>()
    .with::<delete_group::DeleteAutoScalingGroup>()
    .with::<describe_groups::DescribeAutoScalingGroups>()
    .with::<describe_instances::DescribeAutoScalingInstances>()
    .with::<capacity::SetDesiredCapacity>()
    .with::<terminate_instance::TerminateInstanceInAutoScalingGroup>()
    .with::<instance_health::SetInstanceHealth>()
    .with::<instance_health::SetInstanceProtection>()
    .with::<standby::EnterStandby>()
    .with::<standby::ExitStandby>()
    .with::<attachment::AttachInstances>()
    .with::<attachment::DetachInstances>()
    .with::<lifecycle_hooks::PutLifecycleHook>()
    .with::<lifecycle_hooks::DescribeLifecycleHooks>()
    .with::<lifecycle_hooks::DescribeLifecycleHookTypes>()
    .with::<lifecycle_hooks::DeleteLifecycleHook>()
    .with::<lifecycle_actions::CompleteLifecycleAction>()
    .with::<lifecycle_actions::RecordLifecycleActionHeartbeat>()
    .with::<scheduled_actions::PutScheduledUpdateGroupAction>()
    .with::<scheduled_actions::BatchPutScheduledUpdateGroupAction>()
    .with::<scheduled_actions::describe::DescribeScheduledActions>()
    .with::<scheduled_actions::DeleteScheduledAction>()
    .with::<scheduled_actions::BatchDeleteScheduledAction>()
    .with::<instance_refresh::StartInstanceRefresh>()
    .with::<instance_refresh::describe::DescribeInstanceRefreshes>()
    .with::<instance_refresh::CancelInstanceRefresh>()
    .with::<instance_refresh::RollbackInstanceRefresh>()
    .with::<policies::put::PutScalingPolicy>()
    .with::<policies::describe::DescribePolicies>()
    .with::<policies::DeletePolicy>()
    .with::<execute_policy::ExecutePolicy>()
    .with::<activities::DescribeScalingActivities>()
    .with::<load_balancers::AttachLoadBalancers>()
    .with::<load_balancers::DetachLoadBalancers>()
    .with::<load_balancers::DescribeLoadBalancers>()
    .with::<traffic_sources::AttachTrafficSources>()
    .with::<traffic_sources::DetachTrafficSources>()
    .with::<traffic_sources::DescribeTrafficSources>()
    .with::<warm_pools::PutWarmPool>()
    .with::<warm_pools::DescribeWarmPool>()
    .with::<warm_pools::DeleteWarmPool>()
    .with::<tags::CreateOrUpdateTags>()
    .with::<tags::DeleteTags>()
    .with::<tags::DescribeTags>()
    .with::<processes::SuspendProcesses>()
    .with::<processes::ResumeProcesses>()
    .with::<processes::DescribeScalingProcessTypes>()
    .with::<metrics_collection::EnableMetricsCollection>()
    .with::<metrics_collection::DisableMetricsCollection>()
    .with::<metrics_collection::DescribeMetricCollectionTypes>()
    .with::<catalogue::DescribeAutoScalingNotificationTypes>()
    .with::<catalogue::DescribeAdjustmentTypes>()
    .with::<catalogue::DescribeTerminationPolicyTypes>()
    .with::<catalogue::DescribeAccountLimits>()
    .with::<catalogue::DescribeNotificationConfigurations>()
    .with::<catalogue::DescribeLoadBalancerTargetGroups>()
}

/// Pages, where the request names no size.
const DEFAULT_PAGE: usize = 50;
const LARGEST_PAGE: usize = 100;

fn page_size(max_records: Option<usize>) -> Result<usize, ApiError> {
    match max_records.unwrap_or(DEFAULT_PAGE) {
        size @ 1..=LARGEST_PAGE => Ok(size),
        size => Err(ApiError::validation(format!("MaxRecords {size} is not between 1 and {LARGEST_PAGE}"))),
    }
}

fn find(tx: &mut Transaction<'_>, name: &str) -> Result<Arc<AutoScalingGroup>, ApiError> {
    tx.get::<AutoScalingGroup>(name).ok_or_else(|| {
        ApiError::validation(format!("AutoScalingGroup name not found - AutoScalingGroup {name} not found"))
    })
}

/// A group that may still be changed.
fn find_changeable(tx: &mut Transaction<'_>, name: &str) -> Result<AutoScalingGroup, ApiError> {
    let group = find(tx, name)?;
    if group.deleting {
        return Err(ApiError::new(
            "ScalingActivityInProgress",
            format!("AutoScalingGroup {name} is pending delete and cannot be changed"),
        ));
    }
    Ok(AutoScalingGroup::clone(&group))
}

/// The group of which an instance is a member.
fn find_group_of(tx: &mut Transaction<'_>, instance_id: &str) -> Result<AutoScalingGroup, ApiError> {
    let groups = tx.find::<AutoScalingGroup>(AutoScalingGroup::BY_MEMBER, instance_id);
    groups.first().map(|group| AutoScalingGroup::clone(group)).ok_or_else(|| {
        ApiError::validation(format!("Instance Id not found - No managed instance found for instance ID {instance_id}"))
    })
}
