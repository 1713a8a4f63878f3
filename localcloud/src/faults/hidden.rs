//! What a call has created and others are not to see yet, as clouds spread their news slowly. Who names it is told that it
//! does not exist; who lists does not find it.
//! <https://docs.aws.amazon.com/ec2/latest/devguide/eventual-consistency.html>

use std::time::Instant;

use super::Span;
use crate::{api::error::ApiError, wire::value::Node};

/// A kind of thing that can be hidden.
struct Kind {
    service: &'static str,
    create: &'static [&'static str],
    /// Where the creating call's answer, or else its input, has the name.
    answered: Option<&'static str>,
    asked: &'static str,
    /// The parameters that name it.
    parameters: &'static [&'static str],
    /// The field that holds its name in an item of a list.
    item: &'static str,
    code: &'static str,
    /// `{}` stands for its name.
    words: &'static str,
    status: u16,
    /// Whether describing it by its name is refused; where it is not, it is only left out.
    describing_is_refused: bool,
}

const fn ec2(
    create: &'static [&'static str],
    answered: &'static str,
    parameters: &'static [&'static str],
    item: &'static str,
    code: &'static str,
    words: &'static str,
) -> Kind {
    Kind {
        service: "ec2",
        create,
        answered: Some(answered),
        asked: "",
        parameters,
        item,
        code,
        words,
        status: 400,
        describing_is_refused: true,
    }
}

const fn named(
    service: &'static str,
    create: &'static [&'static str],
    asked: &'static str,
    parameters: &'static [&'static str],
    code: &'static str,
    words: &'static str,
) -> Kind {
    Kind {
        service,
        create,
        answered: None,
        asked,
        parameters,
        item: asked,
        code,
        words,
        status: 400,
        describing_is_refused: true,
    }
}

const KINDS: &[Kind] = &[
    ec2(
        &["RunInstances"],
        "instancesSet.*.instanceId",
        &["InstanceId", "ResourceId"],
        "instanceId",
        "InvalidInstanceID.NotFound",
        "The instance ID '{}' does not exist",
    ),
    ec2(
        &["CreateVolume"],
        "volumeId",
        &["VolumeId", "ResourceId"],
        "volumeId",
        "InvalidVolume.NotFound",
        "The volume '{}' does not exist.",
    ),
    ec2(
        &["CreateSecurityGroup"],
        "groupId",
        &["GroupId", "SecurityGroupId", "ResourceId"],
        "groupId",
        "InvalidGroup.NotFound",
        "The security group '{}' does not exist",
    ),
    ec2(
        &["CreateKeyPair", "ImportKeyPair"],
        "keyName",
        &["KeyName"],
        "keyName",
        "InvalidKeyPair.NotFound",
        "The key pair '{}' does not exist",
    ),
    ec2(
        &["CreateLaunchTemplate"],
        "launchTemplate.launchTemplateId",
        &["LaunchTemplateId", "ResourceId"],
        "launchTemplateId",
        "InvalidLaunchTemplateId.NotFound",
        "The specified launch template, with template ID {}, does not exist.",
    ),
    ec2(
        &["CreateLaunchTemplate"],
        "launchTemplate.launchTemplateName",
        &["LaunchTemplateName"],
        "launchTemplateName",
        "InvalidLaunchTemplateName.NotFoundException",
        "The specified launch template, with template name {}, does not exist.",
    ),
    named(
        "elasticloadbalancing",
        &["CreateLoadBalancer"],
        "LoadBalancerName",
        &["LoadBalancerName", "LoadBalancerNames"],
        "LoadBalancerNotFound",
        "There is no ACTIVE Load Balancer named '{}'",
    ),
    Kind {
        describing_is_refused: false,
        ..named(
            "autoscaling",
            &["CreateAutoScalingGroup"],
            "AutoScalingGroupName",
            &["AutoScalingGroupName", "AutoScalingGroupNames"],
            "ValidationError",
            "AutoScalingGroup name not found - AutoScalingGroup {} not found",
        )
    },
    Kind {
        describing_is_refused: false,
        ..named(
            "autoscaling",
            &["CreateLaunchConfiguration"],
            "LaunchConfigurationName",
            &["LaunchConfigurationName", "LaunchConfigurationNames"],
            "ValidationError",
            "Launch configuration name not found - Launch configuration {} not found",
        )
    },
    Kind {
        status: 404,
        ..named(
            "iam",
            &["CreateRole"],
            "RoleName",
            &["RoleName"],
            "NoSuchEntity",
            "The role with name {} cannot be found.",
        )
    },
    Kind {
        status: 404,
        ..named(
            "iam",
            &["CreateInstanceProfile"],
            "InstanceProfileName",
            &["InstanceProfileName"],
            "NoSuchEntity",
            "Instance Profile {} cannot be found.",
        )
    },
];

/// One thing that is not to be seen.
pub(super) struct Hidden {
    kind: &'static Kind,
    name: String,
    remaining: Remaining,
}

/// For how long yet: until a time, or for so many looks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Remaining {
    until: Option<Instant>,
    looks: Option<u64>,
}

impl Remaining {
    pub(super) fn new(span: Span) -> Self {
        Self { until: span.duration.map(|duration| Instant::now() + duration), looks: span.looks }
    }

    pub(super) fn lasts(&self) -> bool {
        self.until.is_none_or(|end| Instant::now() < end) && self.looks != Some(0)
    }

    pub(super) fn note_look(&mut self) {
        self.looks = self.looks.map(|left| left.saturating_sub(1));
    }
}

/// What this call has created, as hidden.
pub(super) fn created(service: &str, action: &str, input: &Node, output: &Node, span: Span) -> Vec<Hidden> {
    let mut created = Vec::new();
    for kind in KINDS.iter().filter(|kind| kind.service == service && kind.create.contains(&action)) {
        let mut names = Vec::new();
        match kind.answered {
            Some(path) => at(output, path, &mut names),
            None => at(input, kind.asked, &mut names),
        }
        created.extend(names.into_iter().map(|name| Hidden { kind, name, remaining: Remaining::new(span) }));
    }
    created
}

/// Lets go of what may be seen by now.
pub(super) fn forget_shown(hidden: &mut Vec<Hidden>) {
    hidden.retain(|hidden| hidden.remaining.lasts());
}

impl Hidden {
    pub(super) fn is_same(&self, other: &Self) -> bool {
        std::ptr::eq(self.kind, other.kind) && self.name == other.name
    }

    /// The refusal of a call that names it.
    pub(super) fn refuse(&mut self, service: &str, action: &str, input: &Node) -> Option<ApiError> {
        let kind = self.kind;
        let spared = kind.create.contains(&action) || (is_description(action) && !kind.describing_is_refused);
        if service != kind.service || spared || !names(input, kind.parameters, &self.name) {
            return None;
        }
        self.remaining.note_look();
        Some(ApiError::new(kind.code, kind.words.replace("{}", &self.name)).status(kind.status))
    }

    /// Takes it out of an answer that describes.
    pub(super) fn leave_out(&mut self, service: &str, action: &str, output: &mut Node) {
        let hides = self.remaining.lasts() && service == self.kind.service && is_description(action);
        if hides && take_out(output, self.kind.item, &self.name) {
            self.remaining.note_look();
        }
    }
}

fn is_description(action: &str) -> bool {
    ["Describe", "List", "Get"].iter().any(|verb| action.starts_with(verb))
}

/// The texts at a path, `*` for each element of a list.
fn at(node: &Node, path: &str, found: &mut Vec<String>) {
    let (first, rest) = match path.split_once('.') {
        Some((first, rest)) => (first, Some(rest)),
        None => (path, None),
    };
    let mut descend = |inner: &Node| match (inner, rest) {
        (_, Some(rest)) => at(inner, rest, found),
        (Node::Text(text), None) => found.push(text.clone()),
        _ => {}
    };
    match node {
        Node::Map(entries) => entries.iter().filter(|(name, _)| name == first).for_each(|(_, inner)| descend(inner)),
        Node::List(items) if first == "*" => items.iter().for_each(descend),
        _ => {}
    }
}

/// Whether a parameter of one of these names has this value, or has it in its list.
fn names(node: &Node, parameters: &[&str], value: &str) -> bool {
    let is_it = |node: &Node| matches!(node, Node::Text(text) if text == value);
    match node {
        Node::Map(entries) => entries.iter().any(|(name, inner)| {
            let named = parameters.contains(&name.as_ref());
            let here = match inner {
                Node::List(items) => items.iter().any(is_it),
                inner => is_it(inner),
            };
            (named && here) || names(inner, parameters, value)
        }),
        Node::List(items) => items.iter().any(|inner| names(inner, parameters, value)),
        _ => false,
    }
}

/// Takes the items with this name out of all lists, and says whether there were any. A reservation without instances goes
/// too.
fn take_out(node: &mut Node, field: &str, value: &str) -> bool {
    match node {
        Node::Map(entries) => entries.iter_mut().fold(false, |any, (_, inner)| take_out(inner, field, value) || any),
        Node::List(items) => {
            let mut any = false;
            items.retain_mut(|item| {
                if has(item, field, value) {
                    any = true;
                    return false;
                }
                let inside = take_out(item, field, value);
                any |= inside;
                !(inside && is_empty_reservation(item))
            });
            any
        }
        _ => false,
    }
}

fn has(item: &Node, field: &str, value: &str) -> bool {
    let Node::Map(entries) = item else { return false };
    entries.iter().any(|(name, inner)| name == field && matches!(inner, Node::Text(text) if text == value))
}

fn is_empty_reservation(item: &Node) -> bool {
    let Node::Map(entries) = item else { return false };
    entries.iter().any(|(name, inner)| name == "instancesSet" && *inner == Node::List(Vec::new()))
}
