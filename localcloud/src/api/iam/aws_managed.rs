//! The AWS managed policies that this cloud knows: the most used of those that are about services which it has. Their
//! documents allow what AWS's do of these services.
//! <https://docs.aws.amazon.com/aws-managed-policy/latest/reference/policy-list.html>

use std::{collections::BTreeMap, sync::Arc};

use serde_json::json;

use crate::model::{
    managed_policy::{ManagedPolicy, PolicyVersion},
    tag::Tags,
    time::Timestamp,
};

/// Name, description, and the actions allowed on everything; `!` before the actions: all but these.
const POLICIES: &[(&str, &str, &[&str])] = &[
    ("AdministratorAccess", "Provides full access to AWS services and resources.", &["*"]),
    (
        "PowerUserAccess",
        "Provides full access to AWS services and resources, but does not allow management of Users and groups.",
        &["!", "iam:*"],
    ),
    (
        "ReadOnlyAccess",
        "Provides read-only access to AWS services and resources.",
        &[
            "autoscaling:Describe*",
            "autoscaling:Get*",
            "cloudwatch:Describe*",
            "cloudwatch:Get*",
            "cloudwatch:List*",
            "ec2:Describe*",
            "ec2:Get*",
            "elasticloadbalancing:Describe*",
            "iam:Generate*",
            "iam:Get*",
            "iam:List*",
            "iam:Simulate*",
            "s3:Get*",
            "s3:List*",
            "sts:GetAccessKeyInfo",
            "sts:GetCallerIdentity",
            "sts:GetSessionToken",
        ],
    ),
    ("IAMFullAccess", "Provides full access to IAM via the AWS Management Console.", &["iam:*"]),
    (
        "IAMReadOnlyAccess",
        "Provides read only access to IAM via the AWS Management Console.",
        &["iam:Generate*", "iam:Get*", "iam:List*", "iam:Simulate*"],
    ),
    ("AmazonS3FullAccess", "Provides full access to all buckets via the AWS Management Console.", &["s3:*"]),
    (
        "AmazonS3ReadOnlyAccess",
        "Provides read only access to all buckets via the AWS Management Console.",
        &["s3:Get*", "s3:List*", "s3:Describe*"],
    ),
    (
        "AmazonEC2FullAccess",
        "Provides full access to Amazon EC2 via the AWS Management Console.",
        &["ec2:*", "elasticloadbalancing:*", "cloudwatch:*", "autoscaling:*"],
    ),
    (
        "AmazonEC2ReadOnlyAccess",
        "Provides read only access to Amazon EC2 via the AWS Management Console.",
        &[
            "ec2:Describe*",
            "ec2:Get*",
            "elasticloadbalancing:Describe*",
            "cloudwatch:ListMetrics",
            "cloudwatch:GetMetricStatistics",
            "cloudwatch:Describe*",
            "autoscaling:Describe*",
        ],
    ),
    (
        "ElasticLoadBalancingFullAccess",
        "Provides full access to Amazon ElasticLoadBalancing, and limited access to other services necessary to provide ElasticLoadBalancing features.",
        &["elasticloadbalancing:*", "ec2:Describe*", "ec2:Get*"],
    ),
    (
        "ElasticLoadBalancingReadOnly",
        "Provides read only access to Amazon ElasticLoadBalancing and dependent services",
        &["elasticloadbalancing:Describe*", "ec2:Describe*"],
    ),
    (
        "AutoScalingFullAccess",
        "Provides full access to Auto Scaling.",
        &["autoscaling:*", "cloudwatch:PutMetricAlarm", "ec2:Describe*", "elasticloadbalancing:Describe*"],
    ),
    ("AutoScalingReadOnlyAccess", "Provides read-only access to Auto Scaling.", &["autoscaling:Describe*"]),
    (
        "CloudWatchFullAccess",
        "Provides full access to CloudWatch.",
        &["autoscaling:Describe*", "cloudwatch:*", "iam:GetPolicy", "iam:GetPolicyVersion", "iam:GetRole"],
    ),
    (
        "CloudWatchReadOnlyAccess",
        "Provides read only access to CloudWatch.",
        &["autoscaling:Describe*", "cloudwatch:Describe*", "cloudwatch:Get*", "cloudwatch:List*"],
    ),
    (
        "CloudWatchAgentServerPolicy",
        "Permissions required to use AmazonCloudWatchAgent on servers",
        &["cloudwatch:PutMetricData", "ec2:DescribeVolumes", "ec2:DescribeTags"],
    ),
];

/// 2015-02-06, when AWS made its managed policies.
const CREATED_SECS: f64 = 1_423_247_400.0;
const PREFIX: &str = "arn:aws:iam::aws:policy/";

fn policy((name, description, actions): &(&str, &str, &[&str])) -> Arc<ManagedPolicy> {
    let created = Timestamp::from_seconds(CREATED_SECS);
    let (scope, actions) = match actions {
        ["!", actions @ ..] => ("NotAction", actions),
        actions => ("Action", *actions),
    };
    let document = json!({
        "Version": "2012-10-17",
        "Statement": [{ "Effect": "Allow", scope: actions, "Resource": "*" }],
    });
    Arc::new(ManagedPolicy {
        name: (*name).to_owned(),
        id: id_of(name),
        path: "/".to_owned(),
        arn: format!("{PREFIX}{name}"),
        description: Some((*description).to_owned()),
        created,
        updated: created,
        versions: BTreeMap::from([(1, PolicyVersion { document: document.to_string(), created })]),
        default_version: 1,
        latest_version: 1,
        tags: Tags::new(),
    })
}

/// The same in every cloud, and another for every name.
fn id_of(name: &str) -> String {
    use sha2::Digest as _;
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let digest = sha2::Sha256::digest(name);
    let letters: String = digest.iter().take(17).map(|byte| char::from(ALPHABET[usize::from(byte & 31)])).collect();
    format!("ANPA{letters}")
}

pub(super) fn find(arn: &str) -> Option<Arc<ManagedPolicy>> {
    let name = arn.strip_prefix(PREFIX)?;
    POLICIES.iter().find(|(known, ..)| *known == name).map(policy)
}

pub(super) fn all() -> impl Iterator<Item = Arc<ManagedPolicy>> {
    POLICIES.iter().map(policy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Document, Kind};

    #[test]
    fn each_is_a_policy_that_can_be_evaluated() {
        for policy in all() {
            Document::parse(policy.document(), Kind::Identity).expect(&policy.name);
            assert_eq!(find(&policy.arn).as_ref(), Some(&policy));
        }
    }
}
