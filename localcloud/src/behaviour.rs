//! Like which cloud this one behaves: what AWS or Eucalyptus 4.4 does not have is refused as they refuse it, or kept off
//! as they keep it off. One table says all of it.

/// Eucalyptus' own list of actions, and its refusals.
pub mod eucalyptus;

use clap::ValueEnum;

use crate::{api::error::ApiError, wire::value::Node};

/// Clients choose their ways by what a cloud has; with less than everything their other ways can be tried.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Behaviour {
    /// Everything that this cloud can do
    #[default]
    Everything,
    /// As Eucalyptus 4.4.2: launch configurations, simple policies, no tags at creation, version 1 of the metadata service
    #[value(name = "eucalyptus-4.4")]
    Eucalyptus44,
    /// As Eucalyptus 4.4.2, and without roles and instance profiles
    WithoutInstanceProfiles,
    /// As an AWS account made today: launch templates, no ACLs, no public buckets, signature version 4 alone
    Aws,
}

/// A cloud that lacks something.
struct Lack {
    /// As in a signature's scope.
    service: &'static str,
    /// With `*` for any text.
    action: &'static str,
    /// What of the action is lacking; all of it if `None`.
    parameter: Option<Parameter>,
    answer: Answer,
}

/// `LoadBalancerAttributes.ConnectionDraining`
type Parameter = &'static str;

#[derive(Clone, Copy)]
enum Answer {
    /// Such an action, or such a parameter, is not known.
    Unknown,
    /// A code, and the cloud's own words.
    Words(&'static str, &'static str),
    /// Taken, and not heeded.
    Ignored,
}

const fn no_action(service: &'static str, action: &'static str) -> Lack {
    Lack { service, action, parameter: None, answer: Answer::Unknown }
}

const fn no_parameter(service: &'static str, action: &'static str, parameter: Parameter) -> Lack {
    Lack { service, action, parameter: Some(parameter), answer: Answer::Unknown }
}

const fn ignored(service: &'static str, action: &'static str, parameter: Parameter) -> Lack {
    Lack { service, action, parameter: Some(parameter), answer: Answer::Ignored }
}

/// What Eucalyptus 4.4.2 does not know of the actions that it has (its source, tag v4.4.2). EC2 refuses such parameters;
/// the other services do not heed them (`ComputeQueryBinding.java`, `BaseQueryBinding.java`: UnknownParameterStrategy).
const EUCALYPTUS_4_4: &[Lack] = &[
    // No message has them: AWS had the first in March 2017, and Eucalyptus 5 was the next.
    no_parameter("ec2", "*", "TagSpecification"),
    no_parameter("ec2", "*", "DryRun"),
    // VmControl.groovy
    no_parameter("ec2", "RunInstances", "DisableApiStop"),
    no_parameter("ec2", "RunInstances", "LaunchTemplate"),
    no_parameter("ec2", "RunInstances", "MetadataOptions"),
    // LoadBalancer.java takes the attribute, and says of every balancer that its draining is off.
    ignored("elasticloadbalancing", "ModifyLoadBalancerAttributes", "LoadBalancerAttributes.ConnectionDraining"),
    // AutoScalingMessages.groovy
    ignored("autoscaling", "*AutoScalingGroup", "LaunchTemplate"),
    ignored("autoscaling", "*AutoScalingGroup", "MixedInstancesPolicy"),
    ignored("autoscaling", "*AutoScalingGroup", "LifecycleHookSpecificationList"),
    ignored("autoscaling", "*AutoScalingGroup", "TargetGroupARNs"),
    ignored("autoscaling", "CreateLaunchConfiguration", "MetadataOptions"),
    ignored("autoscaling", "PutScalingPolicy", "PolicyType"),
    ignored("autoscaling", "PutScalingPolicy", "StepAdjustments"),
    ignored("autoscaling", "PutScalingPolicy", "TargetTrackingConfiguration"),
    ignored("autoscaling", "PutScalingPolicy", "PredictiveScalingConfiguration"),
    // CloudWatchMessages.groovy
    ignored("monitoring", "PutMetricAlarm", "Tags"),
];

/// What clouds lack that have neither roles nor instance profiles, as those before 2014.
const NO_INSTANCE_PROFILES: &[Lack] = &[
    no_action("iam", "*InstanceProfile*"),
    no_action("iam", "*Role*"),
    no_action("sts", "AssumeRole*"),
    no_parameter("ec2", "RunInstances", "IamInstanceProfile"),
    ignored("autoscaling", "CreateLaunchConfiguration", "IamInstanceProfile"),
];

/// What an AWS account lacks that was made after September 2024.
/// <https://docs.aws.amazon.com/autoscaling/ec2/userguide/launch-configurations.html>
const AWS: &[Lack] = &[Lack {
    service: "autoscaling",
    action: "CreateLaunchConfiguration",
    parameter: None,
    answer: Answer::Words(
        "UnsupportedOperation",
        "The Launch Configuration creation operation is not available in your account. Use launch templates to create configuration templates for your Auto Scaling groups.",
    ),
}];

impl Behaviour {
    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Everything => "everything",
            Self::Eucalyptus44 => "eucalyptus-4.4",
            Self::WithoutInstanceProfiles => "without-instance-profiles",
            Self::Aws => "aws",
        }
    }

    fn lacks(self) -> impl Iterator<Item = &'static Lack> {
        let (first, second): (&[Lack], &[Lack]) = match self {
            Self::Everything => (&[], &[]),
            Self::Eucalyptus44 => (EUCALYPTUS_4_4, &[]),
            Self::WithoutInstanceProfiles => (EUCALYPTUS_4_4, NO_INSTANCE_PROFILES),
            Self::Aws => (AWS, &[]),
        };
        first.iter().chain(second)
    }

    fn is_eucalyptus(self) -> bool {
        matches!(self, Self::Eucalyptus44 | Self::WithoutInstanceProfiles)
    }

    /// Whether services answer to JSON and CBOR too.
    #[must_use]
    pub fn has_rpc(self) -> bool {
        !self.is_eucalyptus()
    }

    /// Whether the metadata service hands out tokens.
    #[must_use]
    pub fn has_metadata_tokens(self) -> bool {
        !self.is_eucalyptus()
    }

    /// Whether buckets take ACLs: new ones of AWS do not, since April 2023.
    #[must_use]
    pub fn has_bucket_acls(self) -> bool {
        self != Self::Aws
    }

    /// Whether buckets are closed to the public when they are made: those of AWS are, since April 2023
    /// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/create-bucket-faq.html>).
    #[must_use]
    pub fn blocks_public_access(self) -> bool {
        self == Self::Aws
    }

    /// Whether requests may be signed by version 2: nowhere in AWS's regions since 2014, nor for buckets since June 2020
    /// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingAWSSDK.html#UsingAWSSDK-sig2-deprecation>).
    #[must_use]
    pub fn has_signature_version_2(self) -> bool {
        self != Self::Aws
    }

    /// Whether there is the action, by whatever name the caller has it.
    #[must_use]
    pub fn has_action(self, service: &str, action: &str) -> bool {
        let is_known = !self.is_eucalyptus() || eucalyptus::has_action(service, action);
        is_known && !self.lacks().any(|lack| lack.parameter.is_none() && lack.is_of(service, action))
    }

    /// The input as this cloud takes it.
    ///
    /// # Errors
    /// When the cloud lacks the action, or a parameter that is given.
    pub fn take(self, service: &str, action: &str, mut input: Node) -> Result<Node, ApiError> {
        let lacks = || self.lacks().filter(|lack| lack.is_of(service, action));
        if !self.has_action(service, action) {
            let words = lacks().find_map(|lack| match (lack.parameter, lack.answer) {
                (None, Answer::Words(code, message)) => Some(ApiError::new(code, message)),
                _ => None,
            });
            return Err(words.unwrap_or_else(|| eucalyptus::unknown_action(service, action)));
        }
        let unknown: Vec<(&str, &Node)> = lacks()
            .filter(|lack| matches!(lack.answer, Answer::Unknown))
            .filter_map(|lack| Some((lack.parameter?, found(&input, lack.parameter?)?)))
            .collect();
        if !unknown.is_empty() {
            return Err(eucalyptus::unknown_parameters(&unknown));
        }
        for lack in lacks().filter(|lack| matches!(lack.answer, Answer::Ignored)) {
            if let Some(parameter) = lack.parameter {
                remove(&mut input, parameter);
            }
        }
        Ok(input)
    }
}

impl Lack {
    fn is_of(&self, service: &str, action: &str) -> bool {
        self.service == service && matches(self.action, action)
    }
}

/// What is given at `a.b`, if anything is.
fn found<'a>(input: &'a Node, path: &str) -> Option<&'a Node> {
    let found = path.split('.').try_fold(input, |node, step| match node {
        Node::Map(entries) => entries.iter().find(|(name, _)| name == step).map(|(_, value)| value),
        _ => None,
    });
    // An SDK writes an empty list as a name without a value.
    found.filter(|node| !matches!(node, Node::Null) && !matches!(node, Node::Text(text) if text.is_empty()))
}

/// Takes what lies at `a.b` out of the tree.
fn remove(node: &mut Node, path: &str) {
    let Node::Map(entries) = node else { return };
    match path.split_once('.') {
        None => entries.retain(|(name, _)| name != path),
        Some((first, rest)) => {
            if let Some((_, inner)) = entries.iter_mut().find(|(name, _)| name == first) {
                remove(inner, rest);
            }
        }
    }
}

/// Whether a name fits a pattern in which each `*` stands for any text.
#[must_use]
pub fn matches(pattern: &str, name: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(name) = name.strip_prefix(head) else { return false };
    (0..=name.len()).filter(|at| name.is_char_boundary(*at)).any(|at| matches(rest, &name[at..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{api, wire::query};

    fn input(parameters: &[(&str, &str)]) -> Node {
        query::to_node(parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
            .expect("a tree")
    }

    fn code(behaviour: Behaviour, service: &str, action: &str, parameters: &[(&str, &str)]) -> Option<String> {
        behaviour.take(service, action, input(parameters)).err().map(|error| error.code)
    }

    #[test]
    fn a_star_stands_for_any_text() {
        assert!(
            matches("*LaunchTemplate*", "DescribeLaunchTemplateVersions") && matches("*", "") && matches("A*", "A")
        );
        assert!(!matches("Describe*", "describeTags") && !matches("*Tags", "DescribeTagsX") && !matches("A", "AB"));
        assert!(matches("*a*a*", "banana") && !matches("*x*", "banana") && matches("ü*", "über"));
    }

    #[test]
    fn eucalyptus_has_launch_configurations_and_aws_launch_templates() {
        let create = [("LaunchConfigurationName", "a")];
        let template = [("LaunchTemplateName", "a")];
        let euca = Behaviour::Eucalyptus44;
        assert_eq!(code(euca, "autoscaling", "CreateLaunchConfiguration", &create), None);
        assert_eq!(code(euca, "ec2", "CreateLaunchTemplate", &template).as_deref(), Some(eucalyptus::UNBOUND));
        assert_eq!(
            code(Behaviour::Aws, "autoscaling", "CreateLaunchConfiguration", &create).as_deref(),
            Some("UnsupportedOperation")
        );
        assert_eq!(code(Behaviour::Aws, "ec2", "CreateLaunchTemplate", &template), None);
        for (service, action) in [("autoscaling", "CreateLaunchConfiguration"), ("ec2", "CreateLaunchTemplate")] {
            assert_eq!(code(Behaviour::Everything, service, action, &[]), None);
        }
    }

    #[test]
    fn eucalyptus_refuses_in_ec2_what_it_does_not_know_and_ignores_it_elsewhere() {
        let euca = |service, action, parameters: &[(&str, &str)]| {
            Behaviour::Eucalyptus44.take(service, action, input(parameters)).map_err(|error| error.message)
        };
        let step = [("PolicyName", "a"), ("PolicyType", "StepScaling")];
        assert_eq!(euca("autoscaling", "PutScalingPolicy", &step), Ok(input(&step[..1])));
        let tags = [("TagSpecification.1.ResourceType", "volume"), ("DryRun", "true")];
        let words = "Failed to bind the following fields:\nTagSpecification.1.ResourceType = volume\nDryRun = true\n";
        for action in ["CreateVolume", "RunInstances", "CreateSecurityGroup"] {
            assert_eq!(euca("ec2", action, &tags), Err(words.to_owned()));
        }
        let none = [("TagSpecification", "")];
        assert_eq!(euca("ec2", "CreateVolume", &none), Ok(input(&none)), "an empty list is nothing");
    }

    #[test]
    fn without_instance_profiles_there_are_no_roles() {
        let old = |service, action, parameters: &[(&str, &str)]| {
            code(Behaviour::WithoutInstanceProfiles, service, action, parameters)
        };
        for (service, action) in [
            ("iam", "ListInstanceProfiles"),
            ("iam", "CreateRole"),
            ("sts", "AssumeRole"),
            ("ec2", "CreateLaunchTemplate"),
        ] {
            assert_eq!(old(service, action, &[]).as_deref(), Some(eucalyptus::UNBOUND), "{action}");
        }
        assert_eq!(old("iam", "CreateUser", &[("UserName", "a")]), None);
        let profile = [("IamInstanceProfile.Name", "a")];
        assert_eq!(old("ec2", "RunInstances", &profile).as_deref(), Some(eucalyptus::UNBOUND));
    }

    #[test]
    fn eucalyptus_takes_draining_and_does_not_heed_it() {
        let given = input(&[
            ("LoadBalancerName", "web"),
            ("LoadBalancerAttributes.ConnectionDraining.Enabled", "true"),
            ("LoadBalancerAttributes.ConnectionSettings.IdleTimeout", "30"),
        ]);
        let taken = Behaviour::Eucalyptus44.take("elasticloadbalancing", "ModifyLoadBalancerAttributes", given);
        let heeded = [("LoadBalancerName", "web"), ("LoadBalancerAttributes.ConnectionSettings.IdleTimeout", "30")];
        let sorted = |node: &Node| format!("{node:?}").len();
        let taken = taken.expect("taken");
        assert_eq!(sorted(&taken), sorted(&input(&heeded)));
        assert!(!format!("{taken:?}").contains("Draining"));
    }

    #[test]
    fn what_is_lacking_is_named_as_this_cloud_names_it() {
        let services = api::services();
        for lack in EUCALYPTUS_4_4.iter().chain(NO_INSTANCE_PROFILES).chain(AWS) {
            let service = services.iter().find(|service| service.signing_name == lack.service);
            let known = service.is_some_and(|service| service.actions().any(|action| matches(lack.action, action)));
            assert!(known, "{} has no action {}", lack.service, lack.action);
        }
    }
}
