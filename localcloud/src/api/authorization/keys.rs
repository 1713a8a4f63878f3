//! What a request says of itself, as condition keys: the tags that it gives, and what services make of parameters.
//! <https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html>

use super::{
    Call,
    resources::{Target, children, text, texts},
};
use crate::{policy::Context, wire::value::Node};

/// Condition key and parameter, by service and action; `*` is any action.
const OF_PARAMETERS: &[(&str, &str, &str, &str)] = &[
    ("ec2", "*", "ec2:InstanceType", "InstanceType"),
    ("ec2", "*", "ec2:AvailabilityZone", "AvailabilityZone"),
    ("ec2", "RunInstances", "ec2:AvailabilityZone", "Placement.AvailabilityZone"),
    ("ec2", "RunInstances", "ec2:InstanceProfile", "IamInstanceProfile.Arn"),
    ("ec2", "RunInstances", "ec2:MetadataHttpTokens", "MetadataOptions.HttpTokens"),
    ("ec2", "CreateVolume", "ec2:VolumeType", "VolumeType"),
    ("ec2", "CreateVolume", "ec2:VolumeSize", "Size"),
    ("ec2", "CreateVolume", "ec2:Encrypted", "Encrypted"),
    ("autoscaling", "*", "autoscaling:LaunchConfigurationName", "LaunchConfigurationName"),
    ("autoscaling", "*", "autoscaling:InstanceType", "InstanceType"),
    ("autoscaling", "*", "autoscaling:MinSize", "MinSize"),
    ("autoscaling", "*", "autoscaling:MaxSize", "MaxSize"),
    ("autoscaling", "*", "autoscaling:LoadBalancerNames", "LoadBalancerNames"),
    ("cloudwatch", "*", "cloudwatch:namespace", "Namespace"),
    ("cloudwatch", "PutMetricAlarm", "cloudwatch:AlarmActions", "AlarmActions"),
    ("iam", "*", "iam:PolicyARN", "PolicyArn"),
    ("sts", "*", "sts:ExternalId", "ExternalId"),
    ("sts", "*", "sts:RoleSessionName", "RoleSessionName"),
    ("sts", "*", "sts:SourceIdentity", "SourceIdentity"),
    ("sts", "*", "sts:TransitiveTagKeys", "TransitiveTagKeys"),
];

/// A tag as it is given, and for which type of resource.
struct Given {
    resource_type: Option<String>,
    key: String,
    value: Option<String>,
}

pub(super) struct Keys<'a> {
    call: &'a Call<'a>,
    tags: Vec<Given>,
}

impl<'a> Keys<'a> {
    pub(super) fn of(call: &'a Call<'a>) -> Self {
        let mut tags = Vec::new();
        for specification in children(call.input, "TagSpecification") {
            let resource_type = text(specification, "ResourceType");
            tags.extend(given(specification, "Tag", resource_type.as_deref()));
        }
        tags.extend(given(call.input, "Tag", None));
        tags.extend(given(call.input, "Tags", None));
        let keys = texts(call.input, "TagKeys").into_iter();
        tags.extend(keys.map(|key| Given { resource_type: None, key, value: None }));
        Self { call, tags }
    }

    /// Whether the request gives tags to a resource that it makes.
    pub(super) fn tags_new(&self, target: &Target) -> bool {
        self.of_target(target).next().is_some()
    }

    fn of_target(&self, target: &Target) -> impl Iterator<Item = &Given> {
        self.tags
            .iter()
            .filter(|tag| tag.resource_type.as_deref().is_none_or(|resource_type| target.kind() == resource_type))
    }

    pub(super) fn of_tags(&self, context: &mut Context, target: &Target) {
        for tag in self.of_target(target) {
            context.add("aws:TagKeys", &tag.key);
            if let Some(value) = &tag.value {
                context.set(&format!("aws:RequestTag/{}", tag.key), value);
            }
        }
    }

    pub(super) fn of_request(&self, context: &mut Context, target: &Target) {
        self.of_tags(context, target);
        for (service, action, key, parameter) in OF_PARAMETERS {
            if *service != self.call.prefix() || !(*action == "*" || *action == self.call.action) {
                continue;
            }
            // An instance's own type is the resource's, and is not what a request says.
            if context.get(key).is_none() {
                for value in texts(self.call.input, parameter) {
                    context.add(key, value);
                }
            }
        }
    }
}

fn given(node: &Node, list: &str, resource_type: Option<&str>) -> Vec<Given> {
    children(node, list)
        .into_iter()
        .filter_map(|tag| {
            Some(Given {
                resource_type: resource_type.map(str::to_owned),
                key: text(tag, "Key")?,
                value: Some(text(tag, "Value").unwrap_or_default()),
            })
        })
        .collect()
}
