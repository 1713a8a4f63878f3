//! Members of all groups.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    describe_groups::{MemberDescription, describe_member},
    launch_source::LaunchTemplateSpecification,
    page_size,
};
use crate::{
    api::{
        error::ApiError,
        operation::{Caller, Operation},
        page::page,
    },
    model::auto_scaling::AutoScalingGroup,
    store::Transaction,
};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DescribeAutoScalingInstances {
    #[serde(default)]
    instance_ids: Vec<String>,
    max_records: Option<usize>,
    next_token: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct DescribeAutoScalingInstancesOutput {
    auto_scaling_instances: Vec<InstanceDetails>,
    next_token: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct InstanceDetails {
    instance_id: String,
    instance_type: Option<String>,
    auto_scaling_group_name: String,
    availability_zone: String,
    lifecycle_state: &'static str,
    /// In capitals here, other than in a group's description; AWS is the same.
    health_status: String,
    launch_configuration_name: Option<String>,
    launch_template: Option<LaunchTemplateSpecification>,
    protected_from_scale_in: bool,
}

impl Operation for DescribeAutoScalingInstances {
    const ACTION: &'static str = "DescribeAutoScalingInstances";
    type Output = DescribeAutoScalingInstancesOutput;

    fn run(self, tx: &mut Transaction<'_>, _: &Caller<'_>) -> Result<Self::Output, ApiError> {
        let size = page_size(self.max_records)?;
        let mut details = Vec::new();
        let groups = if self.instance_ids.is_empty() {
            tx.list::<AutoScalingGroup>()
        } else {
            let find = |id: &String| tx.find::<AutoScalingGroup>(AutoScalingGroup::BY_MEMBER, id);
            let found: Vec<_> = self.instance_ids.iter().flat_map(find).collect();
            found
                .into_iter()
                .map(|group| (group.name.clone(), group))
                .collect::<BTreeMap<_, _>>()
                .into_values()
                .collect()
        };
        for group in groups {
            for member in &group.members {
                if self.instance_ids.is_empty() || self.instance_ids.contains(&member.instance_id) {
                    details.push(of(&group.name, describe_member(tx, member)));
                }
            }
        }
        details.sort_by(|a, b| a.instance_id.cmp(&b.instance_id));
        let (auto_scaling_instances, next_token) =
            page(details, |details| details.instance_id.clone(), self.next_token.as_deref(), size)?;
        Ok(DescribeAutoScalingInstancesOutput { auto_scaling_instances, next_token })
    }
}

fn of(group_name: &str, member: MemberDescription) -> InstanceDetails {
    InstanceDetails {
        instance_id: member.instance_id,
        instance_type: member.instance_type,
        auto_scaling_group_name: group_name.to_owned(),
        availability_zone: member.availability_zone,
        lifecycle_state: member.lifecycle_state,
        health_status: member.health_status.to_ascii_uppercase(),
        launch_configuration_name: member.launch_configuration_name,
        launch_template: member.launch_template,
        protected_from_scale_in: member.protected_from_scale_in,
    }
}
