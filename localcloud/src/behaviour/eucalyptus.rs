//! What Eucalyptus 4.4.2 knows, by the names that its own sources bind, and how it refuses the rest: its binding fails
//! before any service is asked, and all services answer that alike.
//! (`clc/modules/msgs/src/main/java/com/eucalyptus/ws/protocol/BaseQueryBinding.java` and
//! `.../ws/server/NioServerHandler.java`, tag v4.4.2)

use std::{collections::BTreeSet, sync::LazyLock};

use crate::{api::error::ApiError, wire::value::Node};

/// Its code is the status line: nothing else here has such a code.
pub const UNBOUND: &str = "400 Bad Request";

/// Service and action, one a line.
const KNOWN: &str = include_str!("eucalyptus-4.4.txt");

/// What it calls a service's binding. AWS's version of EC2's API is newer than all that it binds.
const BINDINGS: &[(&str, &str)] = &[
    ("autoscaling", "autoscaling_amazonaws_com_doc_2011_01_01"),
    ("ec2", "http://ec2.amazonaws.com/doc/2016-11-15/"),
    ("elasticloadbalancing", "elasticloadbalancing_amazonaws_com_doc_2012_06_01"),
    ("iam", "iam_amazonaws_com_doc_2010_05_08"),
    ("monitoring", "monitoring_amazonaws_com_doc_2010_08_01"),
    ("sts", "sts_amazonaws_com_doc_2011_06_15"),
];

fn known() -> impl Iterator<Item = (&'static str, &'static str)> {
    KNOWN.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(' '))
}

/// Whether it knows the action.
pub(super) fn has_action(service: &str, action: &str) -> bool {
    static ACTIONS: LazyLock<BTreeSet<(&str, &str)>> = LazyLock::new(|| known().collect());
    ACTIONS.contains(&(service, action))
}

pub(super) fn unknown_action(service: &str, action: &str) -> ApiError {
    let binding = BINDINGS.iter().find(|(known, _)| *known == service).map_or(service, |(_, binding)| binding);
    ApiError::new(
        UNBOUND,
        format!("Failed to find corresponding class mapping for element: {action} in namespace: {binding}"),
    )
}

/// EC2 alone refuses what it does not know of a call; it says all of it.
pub(super) fn unknown_parameters(parameters: &[(&str, &Node)]) -> ApiError {
    let mut words = "Failed to bind the following fields:\n".to_owned();
    for (name, value) in parameters {
        write(&mut words, name, value);
    }
    ApiError::new(UNBOUND, words)
}

fn write(words: &mut String, name: &str, node: &Node) {
    match node {
        Node::Map(entries) => entries.iter().for_each(|(key, value)| write(words, &format!("{name}.{key}"), value)),
        Node::List(items) => {
            (1..).zip(items).for_each(|(index, value)| write(words, &format!("{name}.{index}"), value));
        }
        Node::Text(text) => words.push_str(&format!("{name} = {text}\n")),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{api, object_storage};

    #[test]
    fn the_list_is_whole_and_in_order() {
        let all: Vec<_> = known().collect();
        assert!(all.is_sorted() && all.windows(2).all(|pair| pair[0] != pair[1]), "in order, each once");
        let count = |service: &str| all.iter().filter(|(known, _)| *known == service).count();
        let counts = ["autoscaling", "ec2", "elasticloadbalancing", "iam", "monitoring", "s3", "sts"].map(count);
        assert_eq!(counts, [35, 199, 28, 81, 11, 39, 6]);
        assert_eq!(counts.iter().sum::<usize>(), all.len(), "of no other service");
    }

    /// Whoever adds an action finds it here as lacking, or in the list: nothing is left to be told.
    #[test]
    fn each_action_of_this_cloud_is_known_to_it_or_not() {
        let ours = api::services();
        let ours = ours.iter().flat_map(|service| service.actions().map(|action| (service.signing_name, action)));
        let ours: Vec<_> = ours.chain(object_storage::OPERATIONS.iter().map(|operation| ("s3", *operation))).collect();
        let lacking = |service: &str| {
            let of_service = ours.iter().filter(|(known, _)| *known == service);
            of_service.filter(|(service, action)| !has_action(service, action)).map(|(_, action)| *action).collect()
        };
        let of = |service: &str| -> Vec<&str> { lacking(service) };
        assert_eq!(of("elasticloadbalancing"), ["DescribeAccountLimits"]);
        assert_eq!(of("sts"), ["GetAccessKeyInfo", "GetFederationToken"]);
        assert_eq!(
            of("s3"),
            [
                "DeleteBucketPolicy",
                "DeletePublicAccessBlock",
                "GetBucketPolicy",
                "GetPublicAccessBlock",
                "PutBucketPolicy",
                "PutPublicAccessBlock",
                "UploadPartCopy"
            ]
        );
        for (service, action) in [
            ("ec2", "AssociateIamInstanceProfile"),
            ("ec2", "CreateLaunchTemplate"),
            ("ec2", "ModifyVolume"),
            ("autoscaling", "AttachInstances"),
            ("autoscaling", "PutLifecycleHook"),
            ("iam", "AttachRolePolicy"),
            ("iam", "TagRole"),
        ] {
            assert!(of(service).contains(&action), "{action}");
        }
        for (service, action) in [
            ("ec2", "AuthorizeSecurityGroupEgress"),
            ("autoscaling", "PutScheduledUpdateGroupAction"),
            ("iam", "PutRolePolicy"),
            ("sts", "AssumeRole"),
            ("monitoring", "PutMetricAlarm"),
        ] {
            assert!(!of(service).contains(&action), "{action}");
        }
    }

    #[test]
    fn what_is_not_bound_is_named_with_its_value() {
        let tags = crate::wire::query::to_node([
            ("TagSpecification.1.ResourceType".to_owned(), "volume".to_owned()),
            ("TagSpecification.1.Tag.1.Key".to_owned(), "a".to_owned()),
        ])
        .expect("a tree");
        let Node::Map(entries) = tags else { panic!("a map") };
        let words = unknown_parameters(&[("TagSpecification", &entries[0].1)]).message;
        let begin = "Failed to bind the following fields:\nTagSpecification.1.";
        assert!(words.starts_with(begin) && words.contains("TagSpecification.1.Tag.1.Key = a\n"), "{words}");
    }
}
