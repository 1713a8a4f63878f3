//! What is said of one instance, as a tree
//! (<https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-instance-metadata.html>). Pure.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::json;

use crate::{
    api::ec2::instances::item::private_dns_name,
    model::{
        auto_scaling::Lifecycle,
        identity::{Credential, InstanceProfile},
        instance::Instance,
        key_pair::KeyPair,
        security_group::SecurityGroup,
        site::Site,
        time::Timestamp,
        volume::Volume,
    },
};

/// The records that it is made of.
pub(super) struct Facts {
    pub(super) site: Arc<Site>,
    pub(super) instance: Arc<Instance>,
    pub(super) key_pair: Option<Arc<KeyPair>>,
    pub(super) profile: Option<Arc<InstanceProfile>>,
    pub(super) security_groups: Vec<Arc<SecurityGroup>>,
    pub(super) volumes: Vec<Arc<Volume>>,
    /// How it stands in its Auto Scaling group.
    pub(super) lifecycle: Option<Lifecycle>,
}

pub(super) enum Node {
    Leaf(Vec<u8>),
    /// Made when they are asked for.
    RoleCredentials(String),
    Directory(BTreeMap<String, Node>),
}

/// The key's place is listed with its name: `0=my-key`
/// (<https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html>).
const NAMED: char = '=';

impl Node {
    fn leaf(text: impl Into<String>) -> Self {
        Self::Leaf(text.into().into_bytes())
    }

    pub(super) fn child(&self, name: &str) -> Option<&Self> {
        let Self::Directory(children) = self else { return None };
        children.get(name).or_else(|| {
            children
                .iter()
                .find(|(label, _)| label.split_once(NAMED).is_some_and(|(place, _)| place == name))
                .map(|(_, node)| node)
        })
    }

    /// Names of a directory's entries, those of directories with a slash.
    pub(super) fn listing(&self) -> String {
        let Self::Directory(children) = self else { return String::new() };
        let lines: Vec<String> = children
            .iter()
            .map(|(name, node)| match node {
                Self::Directory(_) if !name.contains(NAMED) => format!("{name}/"),
                _ => name.clone(),
            })
            .collect();
        lines.join("\n")
    }
}

fn directory<const N: usize>(entries: [(&str, Node); N]) -> Node {
    Node::Directory(entries.into_iter().map(|(name, node)| (name.to_owned(), node)).collect())
}

/// Below the version.
pub(super) fn of(facts: &Facts) -> Node {
    let mut root = BTreeMap::from([
        ("dynamic".to_owned(), directory([("instance-identity", directory([("document", identity_document(facts))]))])),
        ("meta-data".to_owned(), meta_data(facts)),
    ]);
    if let Some(user_data) = &facts.instance.user_data {
        root.insert("user-data".to_owned(), Node::Leaf(user_data.clone()));
    }
    Node::Directory(root)
}

fn meta_data(facts: &Facts) -> Node {
    let Facts { site, instance, .. } = facts;
    let hostname = private_dns_name(instance.private_ip);
    let (private_ip, public_ip) = (instance.private_ip.to_string(), instance.public_ip.to_string());
    let group_names: Vec<&str> = facts.security_groups.iter().map(|group| group.name.as_str()).collect();
    let Node::Directory(mut entries) = directory([
        ("ami-id", Node::leaf(&instance.image_id)),
        ("ami-launch-index", Node::leaf(instance.launch_index.to_string())),
        ("ami-manifest-path", Node::leaf("(unknown)")),
        ("block-device-mapping", block_devices(facts)),
        ("hostname", Node::leaf(&hostname)),
        ("instance-action", Node::leaf("none")),
        ("instance-id", Node::leaf(&instance.id)),
        ("instance-life-cycle", Node::leaf("on-demand")),
        ("instance-type", Node::leaf(&instance.instance_type)),
        ("local-hostname", Node::leaf(&hostname)),
        ("local-ipv4", Node::leaf(&private_ip)),
        ("mac", Node::leaf(&instance.mac_address)),
        ("network", directory([("interfaces", directory([("macs", interfaces(facts, &hostname))]))])),
        (
            "placement",
            directory([("availability-zone", Node::leaf(&instance.zone)), ("region", Node::leaf(&site.region))]),
        ),
        ("profile", Node::leaf("default-hvm")),
        ("public-hostname", Node::leaf(&public_ip)),
        ("public-ipv4", Node::leaf(&public_ip)),
        ("reservation-id", Node::leaf(&instance.reservation_id)),
        ("security-groups", Node::leaf(group_names.join("\n"))),
        ("services", directory([("domain", Node::leaf(&site.dns_suffix)), ("partition", Node::leaf("aws"))])),
    ]) else {
        unreachable!("a directory is made of entries")
    };
    if let Some(key_pair) = &facts.key_pair {
        let key = directory([("openssh-key", Node::leaf(format!("{}\n", key_pair.public_key.trim_end())))]);
        let label = format!("0{NAMED}{}", key_pair.name);
        entries.insert("public-keys".to_owned(), Node::Directory(BTreeMap::from([(label, key)])));
    }
    if let Some(lifecycle) = facts.lifecycle {
        let state = directory([("target-lifecycle-state", Node::leaf(lifecycle.target()))]);
        entries.insert("autoscaling".to_owned(), state);
    }
    if let Some(profile) = &facts.profile {
        entries.insert("iam".to_owned(), iam(facts, profile));
    }
    // A key with a slash cannot be a name here, and AWS does not take such a one for an instance that tells its tags.
    let tags: BTreeMap<String, Node> = instance
        .tags
        .iter()
        .filter(|(key, _)| !key.contains('/'))
        .map(|(key, value)| (key.clone(), Node::leaf(value)))
        .collect();
    if !tags.is_empty() {
        entries.insert("tags".to_owned(), directory([("instance", Node::Directory(tags))]));
    }
    Node::Directory(entries)
}

fn block_devices(facts: &Facts) -> Node {
    let mut devices =
        BTreeMap::from([("ami".to_owned(), Node::leaf("/dev/root")), ("root".to_owned(), Node::leaf("/dev/root"))]);
    let attached = facts.volumes.iter().filter_map(|volume| volume.attachment.as_ref());
    for (number, attachment) in (1..).zip(attached) {
        let device = attachment.device.strip_prefix("/dev/").unwrap_or(&attachment.device);
        devices.insert(format!("ebs{number}"), Node::leaf(device));
    }
    Node::Directory(devices)
}

fn interfaces(facts: &Facts, hostname: &str) -> Node {
    let Facts { site, instance, .. } = facts;
    let cidr = site.cidr();
    let groups = |of: fn(&SecurityGroup) -> &str| {
        facts.security_groups.iter().map(|group| of(group)).collect::<Vec<_>>().join("\n")
    };
    let interface = directory([
        ("device-number", Node::leaf("0")),
        ("local-hostname", Node::leaf(hostname)),
        ("local-ipv4s", Node::leaf(instance.private_ip.to_string())),
        ("mac", Node::leaf(&instance.mac_address)),
        ("owner-id", Node::leaf(&site.account_id)),
        ("public-ipv4s", Node::leaf(instance.public_ip.to_string())),
        ("security-group-ids", Node::leaf(groups(|group| &group.id))),
        ("security-groups", Node::leaf(groups(|group| &group.name))),
        ("subnet-id", Node::leaf(site.subnet_in(&instance.zone))),
        ("subnet-ipv4-cidr-block", Node::leaf(site.cidr_in(&instance.zone))),
        ("vpc-id", Node::leaf(&site.vpc_id)),
        ("vpc-ipv4-cidr-block", Node::leaf(&cidr)),
        ("vpc-ipv4-cidr-blocks", Node::leaf(&cidr)),
    ]);
    Node::Directory(BTreeMap::from([(instance.mac_address.clone(), interface)]))
}

fn iam(facts: &Facts, profile: &InstanceProfile) -> Node {
    let info = json!({
        "Code": "Success",
        "LastUpdated": to_the_second(facts.instance.launched),
        "InstanceProfileArn": format!("arn:aws:iam::{}:instance-profile{}{}", facts.site.account_id, profile.path, profile.name),
        "InstanceProfileId": profile.id,
    });
    let roles = profile.role_name.iter().map(|role| (role.clone(), Node::RoleCredentials(role.clone()))).collect();
    directory([("info", Node::leaf(pretty(&info))), ("security-credentials", Node::Directory(roles))])
}

fn identity_document(facts: &Facts) -> Node {
    let Facts { site, instance, .. } = facts;
    Node::leaf(pretty(&json!({
        "accountId": site.account_id,
        "architecture": if std::env::consts::ARCH == "aarch64" { "arm64" } else { "x86_64" },
        "availabilityZone": instance.zone,
        "billingProducts": null,
        "devpayProductCodes": null,
        "imageId": instance.image_id,
        "instanceId": instance.id,
        "instanceType": instance.instance_type,
        "kernelId": null,
        "marketplaceProductCodes": null,
        "pendingTime": to_the_second(instance.launched),
        "privateIp": instance.private_ip,
        "ramdiskId": null,
        "region": site.region,
        "version": "2017-09-30",
    })))
}

/// As SDKs read a role's credentials.
pub(super) fn credentials_document(credential: &Credential) -> String {
    pretty(&json!({
        "Code": "Success",
        "LastUpdated": to_the_second(credential.created),
        "Type": "AWS-HMAC",
        "AccessKeyId": credential.access_key,
        "SecretAccessKey": credential.secret_key,
        "Token": credential.session_token,
        "Expiration": credential.expires.map(to_the_second),
    }))
}

/// In place of credentials, when the role does not trust instances.
pub(super) fn refusal_document(role: &str, now: Timestamp) -> String {
    pretty(&json!({
        "Code": "AssumeRoleUnauthorizedAccess",
        "Message": format!("EC2 cannot assume the role {role}. Please see documentation at https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_iam-ec2.html#troubleshoot_iam-ec2_errors-info-doc."),
        "LastUpdated": to_the_second(now),
    }))
}

/// Shell scripts cut these documents by lines.
fn pretty(document: &serde_json::Value) -> String {
    format!("{document:#}")
}

/// `2026-11-24T03:04:05Z`: not all SDKs read fractions here.
fn to_the_second(time: Timestamp) -> String {
    match jiff::Timestamp::from_second(time.millis().div_euclid(1000)) {
        Ok(time) => time.to_string(),
        Err(_) => time.to_string(),
    }
}
