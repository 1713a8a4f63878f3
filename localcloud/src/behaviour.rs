//! Like which cloud this one behaves: what AWS or Eucalyptus 4.4 does not have is refused as they refuse it, or kept off
//! as they keep it off. One table says all of it.

use clap::ValueEnum;

use crate::{api::error::ApiError, wire::value::Node};

/// Clients choose their ways by what a cloud has; with less than everything their other ways can be tried.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Behaviour {
    /// Everything that this cloud can do
    #[default]
    Everything,
    /// As Eucalyptus 4.4.2: launch configurations, simple policies, version 1 of the metadata service, query only
    #[value(name = "eucalyptus-4.4")]
    Eucalyptus44,
    /// As Eucalyptus 4.4.2, and without roles, instance profiles and tags at launch
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

struct Parameter {
    /// `LoadBalancerAttributes.ConnectionDraining`
    path: &'static str,
    /// Only these values of it; any if empty.
    values: &'static [&'static str],
    /// Actions of the pattern that do have it.
    but: &'static [&'static str],
}

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

const fn no_parameter(service: &'static str, action: &'static str, path: &'static str) -> Lack {
    let parameter = Some(Parameter { path, values: &[], but: &[] });
    Lack { service, action, parameter, answer: Answer::Unknown }
}

/// What Eucalyptus 4.4.2 has not (its source, tag v4.4.2), and what came to AWS only after its release in 2017.
const EUCALYPTUS_4_4: &[Lack] = &[
    no_action("ec2", "*LaunchTemplate*"),
    no_parameter("ec2", "RunInstances", "LaunchTemplate"),
    no_parameter("ec2", "RunInstances", "MetadataOptions"),
    no_action("ec2", "ModifyInstanceMetadata*"),
    no_action("ec2", "*InstanceTypeOfferings"),
    no_action("ec2", "*SecurityGroupRules*"),
    Lack {
        service: "ec2",
        action: "*",
        parameter: Some(Parameter {
            path: "TagSpecification",
            values: &[],
            // The two with which AWS began, in March 2017.
            but: &["RunInstances", "CreateVolume"],
        }),
        answer: Answer::Unknown,
    },
    // LoadBalancer.java takes the attribute, and says of every balancer that its draining is off.
    Lack {
        service: "elasticloadbalancing",
        action: "ModifyLoadBalancerAttributes",
        parameter: Some(Parameter { path: "LoadBalancerAttributes.ConnectionDraining", values: &[], but: &[] }),
        answer: Answer::Ignored,
    },
    no_action("autoscaling", "*LifecycleHook*"),
    no_action("autoscaling", "*LifecycleAction*"),
    no_action("autoscaling", "*InstanceRefresh*"),
    no_action("autoscaling", "*WarmPool*"),
    no_action("autoscaling", "*TargetGroups"),
    no_action("autoscaling", "*TrafficSources"),
    no_parameter("autoscaling", "*AutoScalingGroup", "LaunchTemplate"),
    no_parameter("autoscaling", "*AutoScalingGroup", "MixedInstancesPolicy"),
    no_parameter("autoscaling", "*AutoScalingGroup", "LifecycleHookSpecificationList"),
    no_parameter("autoscaling", "*AutoScalingGroup", "TargetGroupARNs"),
    no_parameter("autoscaling", "CreateLaunchConfiguration", "MetadataOptions"),
    no_parameter("autoscaling", "PutScalingPolicy", "StepAdjustments"),
    no_parameter("autoscaling", "PutScalingPolicy", "TargetTrackingConfiguration"),
    no_parameter("autoscaling", "PutScalingPolicy", "PredictiveScalingConfiguration"),
    Lack {
        service: "autoscaling",
        action: "PutScalingPolicy",
        parameter: Some(Parameter {
            path: "PolicyType",
            values: &["StepScaling", "TargetTrackingScaling", "PredictiveScaling"],
            but: &[],
        }),
        answer: Answer::Unknown,
    },
    no_action("monitoring", "*TagResource"),
    no_action("monitoring", "ListTagsForResource"),
    no_parameter("monitoring", "PutMetricAlarm", "Tags"),
    no_action("monitoring", "GetMetricData"),
    no_action("monitoring", "PutCompositeAlarm"),
];

/// What clouds lack that have neither roles nor tags at launch, as those before 2014.
const NO_INSTANCE_PROFILES: &[Lack] = &[
    no_action("iam", "*InstanceProfile*"),
    no_action("iam", "*Role*"),
    no_action("sts", "AssumeRole*"),
    no_action("ec2", "*IamInstanceProfile*"),
    no_parameter("ec2", "RunInstances", "IamInstanceProfile"),
    no_parameter("ec2", "RunInstances", "TagSpecification"),
    no_parameter("ec2", "CreateVolume", "TagSpecification"),
    no_parameter("autoscaling", "CreateLaunchConfiguration", "IamInstanceProfile"),
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
        !self.lacks().any(|lack| lack.parameter.is_none() && lack.is_of(service, action))
    }

    /// The input as this cloud takes it.
    ///
    /// # Errors
    /// When the cloud lacks the action, or a parameter that is given.
    pub fn take(self, service: &str, action: &str, mut input: Node) -> Result<Node, ApiError> {
        for lack in self.lacks().filter(|lack| lack.is_of(service, action)) {
            match (&lack.parameter, lack.answer) {
                (None, Answer::Unknown) => return Err(ApiError::invalid_action(action)),
                (None, Answer::Words(code, message)) => return Err(ApiError::new(code, message)),
                (Some(parameter), answer) if parameter.is_in(&input) => match answer {
                    Answer::Unknown if parameter.values.is_empty() => {
                        return Err(ApiError::new(
                            "UnknownParameter",
                            format!("The parameter {} is not recognized", parameter.path),
                        ));
                    }
                    Answer::Unknown => {
                        return Err(ApiError::new(
                            "InvalidParameterValue",
                            format!("The parameter {} does not have this value here", parameter.path),
                        ));
                    }
                    Answer::Words(code, message) => return Err(ApiError::new(code, message)),
                    Answer::Ignored => remove(&mut input, parameter.path),
                },
                _ => {}
            }
        }
        Ok(input)
    }
}

impl Lack {
    fn is_of(&self, service: &str, action: &str) -> bool {
        self.service == service
            && matches(self.action, action)
            && !self.parameter.as_ref().is_some_and(|parameter| parameter.but.contains(&action))
    }
}

impl Parameter {
    fn is_in(&self, input: &Node) -> bool {
        let found = self.path.split('.').try_fold(input, |node, step| match node {
            Node::Map(entries) => entries.iter().find(|(name, _)| name == step).map(|(_, value)| value),
            _ => None,
        });
        match found {
            None | Some(Node::Null) => false,
            Some(Node::Text(value)) if !self.values.is_empty() => self.values.contains(&value.as_str()),
            // An SDK writes an empty list as a name without a value.
            Some(Node::Text(value)) => !value.is_empty(),
            Some(_) => self.values.is_empty(),
        }
    }
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
        assert_eq!(code(euca, "ec2", "CreateLaunchTemplate", &template).as_deref(), Some("InvalidAction"));
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
    fn eucalyptus_knows_simple_policies_and_tags_where_aws_had_them_first() {
        let euca =
            |service, action, parameters: &[(&str, &str)]| code(Behaviour::Eucalyptus44, service, action, parameters);
        assert_eq!(euca("autoscaling", "PutScalingPolicy", &[("PolicyType", "SimpleScaling")]), None);
        let step = [("PolicyType", "StepScaling")];
        assert_eq!(euca("autoscaling", "PutScalingPolicy", &step).as_deref(), Some("InvalidParameterValue"));
        let tags = [("TagSpecification.1.ResourceType", "volume")];
        assert_eq!(euca("ec2", "CreateVolume", &tags), None);
        assert_eq!(euca("ec2", "CreateSecurityGroup", &tags).as_deref(), Some("UnknownParameter"));
        assert_eq!(euca("ec2", "CreateSecurityGroup", &[("TagSpecification", "")]), None, "an empty list is nothing");
    }

    #[test]
    fn without_instance_profiles_there_are_neither_roles_nor_tags_at_launch() {
        let old = |service, action, parameters: &[(&str, &str)]| {
            code(Behaviour::WithoutInstanceProfiles, service, action, parameters)
        };
        assert_eq!(old("iam", "ListInstanceProfiles", &[]).as_deref(), Some("InvalidAction"));
        assert_eq!(old("iam", "CreateRole", &[("RoleName", "a")]).as_deref(), Some("InvalidAction"));
        assert_eq!(old("iam", "CreateUser", &[("UserName", "a")]), None);
        let profile = [("IamInstanceProfile.Name", "a")];
        assert_eq!(old("ec2", "RunInstances", &profile).as_deref(), Some("UnknownParameter"));
        let tags = [("TagSpecification.1.ResourceType", "volume")];
        assert_eq!(old("ec2", "CreateVolume", &tags).as_deref(), Some("UnknownParameter"));
        assert_eq!(old("ec2", "CreateLaunchTemplate", &[]).as_deref(), Some("InvalidAction"), "as Eucalyptus");
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
            assert!(service.is_some(), "there is no service {}", lack.service);
            // Without a star it is a name of today's; patterns may wait for actions to come.
            let known = lack.action.contains('*')
                || service.is_some_and(|service| service.actions().any(|action| action == lack.action))
                || matches!(lack.action, "GetMetricData" | "PutCompositeAlarm");
            assert!(known, "{} has no action {}", lack.service, lack.action);
        }
    }
}
