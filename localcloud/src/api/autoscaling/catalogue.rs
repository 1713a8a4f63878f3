//! Listings of what there is to choose from, and of what this cloud has none of.

use serde::{Deserialize, Serialize};

use super::{create_group::TERMINATION_POLICIES, find, policies::ADJUSTMENT_TYPES};
use crate::{
    api::{
        error::ApiError,
        operation::{Caller, Operation},
    },
    model::auto_scaling::{AutoScalingGroup, LaunchConfiguration},
    store::Transaction,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DescribeAdjustmentTypes {}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct DescribeAdjustmentTypesOutput {
    adjustment_types: Vec<AdjustmentType>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct AdjustmentType {
    adjustment_type: &'static str,
}

impl Operation for DescribeAdjustmentTypes {
    const ACTION: &'static str = "DescribeAdjustmentTypes";
    type Output = DescribeAdjustmentTypesOutput;

    fn run(self, _tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        let adjustment_types =
            ADJUSTMENT_TYPES.iter().map(|&adjustment_type| AdjustmentType { adjustment_type }).collect();
        Ok(DescribeAdjustmentTypesOutput { adjustment_types })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DescribeTerminationPolicyTypes {}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct DescribeTerminationPolicyTypesOutput {
    termination_policy_types: &'static [&'static str],
}

impl Operation for DescribeTerminationPolicyTypes {
    const ACTION: &'static str = "DescribeTerminationPolicyTypes";
    type Output = DescribeTerminationPolicyTypesOutput;

    fn run(self, _tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        Ok(DescribeTerminationPolicyTypesOutput { termination_policy_types: TERMINATION_POLICIES })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DescribeAccountLimits {}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct DescribeAccountLimitsOutput {
    max_number_of_auto_scaling_groups: usize,
    max_number_of_launch_configurations: usize,
    number_of_auto_scaling_groups: usize,
    number_of_launch_configurations: usize,
}

impl Operation for DescribeAccountLimits {
    const ACTION: &'static str = "DescribeAccountLimits";
    type Output = DescribeAccountLimitsOutput;

    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        Ok(DescribeAccountLimitsOutput {
            // AWS's defaults; nothing here sets a limit.
            max_number_of_auto_scaling_groups: 500,
            max_number_of_launch_configurations: 200,
            number_of_auto_scaling_groups: tx.list::<AutoScalingGroup>().len(),
            number_of_launch_configurations: tx.list::<LaunchConfiguration>().len(),
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DescribeNotificationConfigurations {
    #[serde(default)]
    auto_scaling_group_names: Vec<String>,
    #[serde(rename = "NextToken")]
    _next_token: Option<String>,
    #[serde(rename = "MaxRecords")]
    _max_records: Option<u32>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct DescribeNotificationConfigurationsOutput {
    notification_configurations: Vec<String>,
}

impl Operation for DescribeNotificationConfigurations {
    const ACTION: &'static str = "DescribeNotificationConfigurations";
    type Output = DescribeNotificationConfigurationsOutput;

    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        for name in &self.auto_scaling_group_names {
            find(tx, name)?;
        }
        Ok(DescribeNotificationConfigurationsOutput { notification_configurations: Vec::new() })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DescribeLoadBalancerTargetGroups {
    auto_scaling_group_name: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct DescribeLoadBalancerTargetGroupsOutput {
    load_balancer_target_groups: Vec<String>,
}

impl Operation for DescribeLoadBalancerTargetGroups {
    const ACTION: &'static str = "DescribeLoadBalancerTargetGroups";
    type Output = DescribeLoadBalancerTargetGroupsOutput;

    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        find(tx, &self.auto_scaling_group_name)?;
        Ok(DescribeLoadBalancerTargetGroupsOutput { load_balancer_target_groups: Vec::new() })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DescribeAutoScalingNotificationTypes {}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct DescribeAutoScalingNotificationTypesOutput {
    auto_scaling_notification_types: &'static [&'static str],
}

impl Operation for DescribeAutoScalingNotificationTypes {
    const ACTION: &'static str = "DescribeAutoScalingNotificationTypes";
    type Output = DescribeAutoScalingNotificationTypesOutput;

    /// AWS's; there is no topic here to which they could be sent.
    fn run(self, _tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        Ok(DescribeAutoScalingNotificationTypesOutput {
            auto_scaling_notification_types: &[
                "autoscaling:EC2_INSTANCE_LAUNCH",
                "autoscaling:EC2_INSTANCE_LAUNCH_ERROR",
                "autoscaling:EC2_INSTANCE_TERMINATE",
                "autoscaling:EC2_INSTANCE_TERMINATE_ERROR",
                "autoscaling:TEST_NOTIFICATION",
            ],
        })
    }
}
