//! What a request is about, as ARNs. Parameters are named alike throughout a service, so one table of parameters does
//! for most actions; what an action makes, and the few that go their own way, stand beside it.
//! <https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html>

/// Resources of IAM.
mod iam;

use std::sync::Arc;

use super::{Call, role_of};
use crate::{
    api::ec2::{launch::DEFAULT_INSTANCE_TYPE, launch_templates},
    model::{
        alarm::Alarm,
        auto_scaling::{AutoScalingGroup, LaunchConfiguration},
        identity::Role,
        image::Image,
        instance::Instance,
        key_pair::KeyPair,
        launch_template::{LaunchData, LaunchTemplate},
        load_balancer::LoadBalancer,
        security_group::SecurityGroup,
        site::Site,
        tag::Tags,
        volume::Volume,
    },
    policy::Identity,
    store::Transaction,
    wire::value::Node,
};

/// Parameters of EC2 that name resources, and the resources' type.
const EC2: &[(&str, &str)] = &[
    ("AllocationId", "elastic-ip"),
    ("BlockDeviceMapping.Ebs.SnapshotId", "snapshot"),
    ("GroupId", "security-group"),
    ("ImageId", "image"),
    ("InstanceId", "instance"),
    ("InternetGatewayId", "internet-gateway"),
    ("KeyName", "key-pair"),
    ("KeyPairId", "key-pair"),
    ("LaunchTemplate.LaunchTemplateId", "launch-template"),
    ("LaunchTemplateId", "launch-template"),
    ("NetworkInterface.SecurityGroupId", "security-group"),
    ("NetworkInterface.SubnetId", "subnet"),
    ("NetworkInterfaceId", "network-interface"),
    ("RouteTableId", "route-table"),
    ("SecurityGroupId", "security-group"),
    ("SnapshotId", "snapshot"),
    ("SourceImageId", "image"),
    ("SourceSnapshotId", "snapshot"),
    ("SubnetId", "subnet"),
    ("VolumeId", "volume"),
    ("VpcId", "vpc"),
];

/// What an action of EC2 makes.
const EC2_NEW: &[(&str, &[&str])] = &[
    ("AllocateAddress", &["elastic-ip"]),
    ("CopyImage", &["image"]),
    ("CopySnapshot", &["snapshot"]),
    ("CreateImage", &["image"]),
    ("CreateInternetGateway", &["internet-gateway"]),
    ("CreateLaunchTemplate", &["launch-template"]),
    ("CreateNetworkInterface", &["network-interface"]),
    ("CreateRouteTable", &["route-table"]),
    ("CreateSecurityGroup", &["security-group"]),
    ("CreateSnapshot", &["snapshot"]),
    ("CreateSnapshots", &["snapshot"]),
    ("CreateSubnet", &["subnet"]),
    ("CreateVolume", &["volume"]),
    ("CreateVpc", &["vpc"]),
    ("RegisterImage", &["image"]),
    ("RunInstances", &["instance", "network-interface", "volume"]),
];

/// One resource.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) arn: String,
    pub(super) tags: Tags,
    /// Condition keys that are about it alone.
    pub(super) keys: Vec<(String, String)>,
    /// The request makes it.
    pub(super) is_new: bool,
}

impl Target {
    pub(super) fn existing(arn: String, tags: Tags) -> Self {
        Self { arn, tags, ..Self::default() }
    }

    fn any() -> Self {
        Self::existing("*".to_owned(), Tags::new())
    }

    /// `instance` of `arn:aws:ec2:r:1:instance/i-1`
    pub(super) fn kind(&self) -> &str {
        self.arn.splitn(6, ':').nth(5).and_then(|rest| rest.split('/').next()).unwrap_or_default()
    }
}

/// All nodes at a path; lists on the way are gone through.
pub(super) fn children<'a>(node: &'a Node, path: &str) -> Vec<&'a Node> {
    fn flat(node: &Node) -> Vec<&Node> {
        match node {
            Node::List(items) => items.iter().flat_map(flat).collect(),
            node => vec![node],
        }
    }
    path.split('.').fold(vec![node], |nodes, step| {
        nodes
            .into_iter()
            .filter_map(|node| match node {
                Node::Map(entries) => entries.iter().find(|(name, _)| name == step).map(|(_, value)| value),
                _ => None,
            })
            .flat_map(flat)
            .collect()
    })
}

pub(super) fn texts(node: &Node, path: &str) -> Vec<String> {
    children(node, path)
        .into_iter()
        .filter_map(|node| match node {
            Node::Text(text) => Some(text.clone()),
            Node::Integer(number) => Some(number.to_string()),
            Node::Float(number) => Some(number.to_string()),
            Node::Bool(value) => Some(value.to_string()),
            _ => None,
        })
        .collect()
}

pub(super) fn text(node: &Node, path: &str) -> Option<String> {
    texts(node, path).into_iter().next()
}

/// All that the request is about; `*` where the action knows no resources.
pub(super) fn of(tx: &mut Transaction<'_>, site: &Site, identity: &Identity, call: &Call<'_>) -> Vec<Target> {
    let mut targets = match call.prefix() {
        "ec2" => of_ec2(tx, site, call),
        "elasticloadbalancing" => of_balancing(tx, site, call),
        "autoscaling" => of_auto_scaling(tx, site, call),
        "cloudwatch" => of_cloudwatch(tx, site, call),
        "iam" => iam::of(tx, identity, call),
        "sts" if call.action == "GetFederationToken" => {
            let name = text(call.input, "Name").unwrap_or_default();
            vec![Target::existing(format!("arn:aws:sts::{}:federated-user/{name}", site.account_id), Tags::new())]
        }
        _ => Vec::new(),
    };
    if targets.is_empty() {
        targets.push(Target::any());
    }
    targets
}

fn of_ec2(tx: &mut Transaction<'_>, site: &Site, call: &Call<'_>) -> Vec<Target> {
    let Call { action, input, .. } = *call;
    // Of the Describe actions only those of one attribute are about resources.
    if action.starts_with("Describe") && !action.ends_with("Attribute") {
        return Vec::new();
    }
    let mut targets = Vec::new();
    for (parameter, kind) in EC2 {
        targets.extend(texts(input, parameter).iter().map(|id| ec2_target(tx, site, kind, id)));
    }
    for id in texts(input, "ResourceId") {
        let kind = kind_of(&id);
        targets.push(ec2_target(tx, site, kind, &id));
    }
    if action != "CreateSecurityGroup" {
        let named = texts(input, "GroupName").into_iter().chain(texts(input, "SecurityGroup")).collect::<Vec<_>>();
        let groups = tx.list::<SecurityGroup>();
        for group in groups.iter().filter(|group| named.contains(&group.name)) {
            targets.push(ec2_target(tx, site, "security-group", &group.id));
        }
    }
    if action != "CreateLaunchTemplate" {
        let named: Vec<String> = ["LaunchTemplateName", "LaunchTemplate.LaunchTemplateName"]
            .iter()
            .flat_map(|parameter| texts(input, parameter))
            .collect();
        for template in tx.list::<LaunchTemplate>().iter().filter(|template| named.contains(&template.name)) {
            targets.push(ec2_target(tx, site, "launch-template", &template.id));
        }
    }
    let made = EC2_NEW.iter().find(|(known, _)| *known == action).map_or(&[][..], |(_, kinds)| kinds);
    targets.extend(made.iter().map(|kind| Target { is_new: true, ..ec2_target(tx, site, kind, "*") }));
    if action == "RunInstances" {
        of_launch(tx, site, call, &mut targets);
    }
    if matches!(action, "CreateKeyPair" | "ImportKeyPair") {
        targets.iter_mut().for_each(|target| target.is_new = true);
    }
    targets
}

/// What a launch uses without being told: the template's image and groups, the zone's subnet.
fn of_launch(tx: &mut Transaction<'_>, site: &Site, call: &Call<'_>, targets: &mut Vec<Target>) {
    let data = template_data(tx, call, "LaunchTemplate").unwrap_or_default();
    let has = |targets: &[Target], kind: &str| targets.iter().any(|target| target.kind() == kind);
    let instance_type = text(call.input, "InstanceType").or(data.instance_type);
    let instance_type = instance_type.unwrap_or_else(|| DEFAULT_INSTANCE_TYPE.to_owned());
    if let Some(instance) = targets.iter_mut().find(|target| target.kind() == "instance") {
        instance.keys.push(("ec2:InstanceType".to_owned(), instance_type));
    }
    let mut more: Vec<(&str, String)> = Vec::new();
    if !has(targets, "image") {
        more.extend(data.image_id.map(|id| ("image", id)));
    }
    if !has(targets, "key-pair") {
        more.extend(data.key_name.map(|name| ("key-pair", name)));
    }
    if !has(targets, "subnet") {
        let zone = text(call.input, "Placement.AvailabilityZone").or(data.zone);
        more.push(("subnet", site.subnet_in(zone.as_ref().unwrap_or(&site.home.name)).to_owned()));
    }
    if !has(targets, "security-group") {
        let mut groups = data.security_group_ids;
        if groups.is_empty() {
            let all = tx.list::<SecurityGroup>();
            groups.extend(all.iter().find(|group| group.name == "default").map(|group| group.id.clone()));
        }
        more.extend(groups.into_iter().map(|id| ("security-group", id)));
    }
    for (kind, id) in more {
        targets.push(ec2_target(tx, site, kind, &id));
    }
}

/// What the template says that the request names.
fn template_data(tx: &mut Transaction<'_>, call: &Call<'_>, at: &str) -> Option<LaunchData> {
    let of = |field: &str| text(call.input, &format!("{at}.{field}"));
    let (id, name, version) = (of("LaunchTemplateId"), of("LaunchTemplateName"), of("Version"));
    if id.is_none() && name.is_none() {
        return None;
    }
    let template = launch_templates::find(tx, id.as_deref(), name.as_deref()).ok()?;
    let number = launch_templates::version_number(&template, version.as_deref()).ok()?;
    template.versions.get(&number).map(|version| version.data.clone())
}

/// The type of what an identifier such as `vol-…` names.
fn kind_of(id: &str) -> &'static str {
    match id.rsplit_once('-').map_or("", |(prefix, _)| prefix) {
        "ami" => "image",
        "eipalloc" => "elastic-ip",
        "eni" => "network-interface",
        "i" => "instance",
        "igw" => "internet-gateway",
        "key" => "key-pair",
        "lt" => "launch-template",
        "rtb" => "route-table",
        "sg" => "security-group",
        "sgr" => "security-group-rule",
        "snap" => "snapshot",
        "subnet" => "subnet",
        "vol" => "volume",
        "vpc" => "vpc",
        _ => "*",
    }
}

fn ec2_target(tx: &mut Transaction<'_>, site: &Site, kind: &str, id: &str) -> Target {
    let mut keys: Vec<(String, String)> = Vec::new();
    let mut key = |name: &str, value: &str| keys.push((format!("ec2:{name}"), value.to_owned()));
    let mut id = id.to_owned();
    let tags = match kind {
        "instance" => tx.get::<Instance>(&id).map(|instance| {
            key("InstanceID", &instance.id);
            key("InstanceType", &instance.instance_type);
            if let Some(profile) = &instance.instance_profile {
                key("InstanceProfile", &format!("arn:aws:iam::{}:instance-profile/{profile}", site.account_id));
            }
            instance.tags.clone()
        }),
        "volume" => tx.get::<Volume>(&id).map(|volume| volume.tags.clone()),
        "image" => tx.get::<Image>(&id).map(|image| image.tags.clone()),
        "security-group" => tx.get::<SecurityGroup>(&id).map(|group| group.tags.clone()),
        "launch-template" => tx.get::<LaunchTemplate>(&id).map(|template| template.tags.clone()),
        "key-pair" => {
            let pairs = tx.list::<KeyPair>();
            pairs.iter().find(|pair| pair.name == id || pair.id == id).map(|pair| {
                id.clone_from(&pair.name);
                pair.tags.clone()
            })
        }
        _ => None,
    };
    // Images and snapshots may be others', so their ARNs have no account.
    let account = if matches!(kind, "image" | "snapshot") { "" } else { &site.account_id };
    let arn = format!("arn:aws:ec2:{}:{account}:{kind}/{id}", site.region);
    Target { arn, tags: tags.unwrap_or_default(), keys, is_new: false }
}

fn of_balancing(tx: &mut Transaction<'_>, site: &Site, call: &Call<'_>) -> Vec<Target> {
    let Call { action, input, .. } = *call;
    if action.starts_with("Describe") {
        return Vec::new();
    }
    let prefix = format!("arn:aws:elasticloadbalancing:{}:{}", site.region, site.account_id);
    let mut targets = Vec::new();
    for name in texts(input, "LoadBalancerName").into_iter().chain(texts(input, "LoadBalancerNames")) {
        let tags = tx.get::<LoadBalancer>(&name).map(|balancer| balancer.tags.clone()).unwrap_or_default();
        let is_new = action == "CreateLoadBalancer";
        targets.push(Target { arn: format!("{prefix}:loadbalancer/{name}"), tags, is_new, ..Target::default() });
    }
    for parameter in ["LoadBalancerArn", "TargetGroupArn", "ListenerArn", "RuleArn", "ResourceArns"] {
        targets.extend(texts(input, parameter).into_iter().map(|arn| Target::existing(arn, Tags::new())));
    }
    // Version 2 of the service names what it makes.
    if let Some(name) = text(input, "Name") {
        let arn = match action {
            "CreateTargetGroup" => format!("{prefix}:targetgroup/{name}/*"),
            _ => {
                let network = text(input, "Type").is_some_and(|kind| kind == "network");
                format!("{prefix}:loadbalancer/{}/{name}/*", if network { "net" } else { "app" })
            }
        };
        targets.push(Target { is_new: true, ..Target::existing(arn, Tags::new()) });
    }
    targets
}

fn of_auto_scaling(tx: &mut Transaction<'_>, site: &Site, call: &Call<'_>) -> Vec<Target> {
    let Call { action, input, .. } = *call;
    if action.starts_with("Describe") {
        return Vec::new();
    }
    let prefix = format!("arn:aws:autoscaling:{}:{}", site.region, site.account_id);
    let group = |tx: &mut Transaction<'_>, name: &str| match tx.get::<AutoScalingGroup>(name) {
        Some(group) => {
            let tags = group.tags.iter().map(|tag| (tag.key.clone(), tag.value.clone())).collect();
            Target::existing(group.arn.clone(), tags)
        }
        None => Target {
            is_new: true,
            ..Target::existing(format!("{prefix}:autoScalingGroup:*:autoScalingGroupName/{name}"), Tags::new())
        },
    };
    let mut targets = Vec::new();
    for parameter in ["AutoScalingGroupName", "Tags.ResourceId"] {
        let mut names = texts(input, parameter);
        names.sort();
        names.dedup();
        targets.extend(names.iter().map(|name| group(tx, name)));
    }
    if matches!(action, "CreateLaunchConfiguration" | "DeleteLaunchConfiguration")
        && let Some(name) = text(input, "LaunchConfigurationName")
    {
        let arn = tx.get::<LaunchConfiguration>(&name).map_or_else(
            || format!("{prefix}:launchConfiguration:*:launchConfigurationName/{name}"),
            |configuration| configuration.arn.clone(),
        );
        targets.push(Target::existing(arn, Tags::new()));
    }
    // Some name an instance only: they are about its group.
    if targets.is_empty()
        && let Some(instance) = text(input, "InstanceId")
    {
        let groups = tx.list::<AutoScalingGroup>();
        let of_instance = groups.iter().find(|group| group.members.iter().any(|member| member.instance_id == instance));
        targets.extend(of_instance.map(|known| group(tx, &known.name)));
    }
    targets
}

fn of_cloudwatch(tx: &mut Transaction<'_>, site: &Site, call: &Call<'_>) -> Vec<Target> {
    let Call { action, input, .. } = *call;
    let alarm = |tx: &mut Transaction<'_>, name: &str| {
        let tags = tx.get::<Alarm>(name).map(|alarm| alarm.tags.clone()).unwrap_or_default();
        let arn = format!("arn:aws:cloudwatch:{}:{}:alarm:{name}", site.region, site.account_id);
        Target::existing(arn, tags)
    };
    let mut targets = Vec::new();
    match action {
        "DescribeAlarms" | "DescribeAlarmHistory" => targets.push(alarm(tx, "*")),
        "DescribeAlarmsForMetric" => {}
        _ => {
            let names = texts(input, "AlarmName").into_iter().chain(texts(input, "AlarmNames")).collect::<Vec<_>>();
            targets.extend(names.iter().map(|name| alarm(tx, name)));
            for arn in texts(input, "ResourceARN") {
                let name = arn.splitn(7, ':').nth(6).unwrap_or_default().to_owned();
                targets.push(Target { arn, ..alarm(tx, &name) });
            }
            let dashboards = texts(input, "DashboardName").into_iter().chain(texts(input, "DashboardNames"));
            targets.extend(dashboards.map(|name| {
                Target::existing(format!("arn:aws:cloudwatch::{}:dashboard/{name}", site.account_id), Tags::new())
            }));
        }
    }
    targets
}

/// Names of the roles that a request hands to instances.
pub(super) fn passed_roles(tx: &mut Transaction<'_>, call: &Call<'_>) -> Vec<String> {
    let Call { action, input, .. } = *call;
    let (template, profiles): (Option<&str>, Vec<String>) = match (call.prefix(), action) {
        ("ec2", "RunInstances" | "AssociateIamInstanceProfile" | "ReplaceIamInstanceProfileAssociation") => {
            let named =
                texts(input, "IamInstanceProfile.Name").into_iter().chain(texts(input, "IamInstanceProfile.Arn"));
            (Some("LaunchTemplate"), named.collect())
        }
        ("autoscaling", "CreateLaunchConfiguration") => (None, texts(input, "IamInstanceProfile")),
        ("autoscaling", "CreateAutoScalingGroup" | "UpdateAutoScalingGroup") => (Some("LaunchTemplate"), Vec::new()),
        ("iam", "AddRoleToInstanceProfile") => return texts(input, "RoleName"),
        _ => return Vec::new(),
    };
    let mut profiles = profiles;
    // What the request says takes the template's place.
    if profiles.is_empty()
        && let Some(at) = template
    {
        profiles.extend(template_data(tx, call, at).and_then(|data| data.instance_profile));
    }
    profiles.iter().filter_map(|profile| role_of(tx, profile)).collect()
}

/// The role of an ARN, if there is such a one at this path.
pub(super) fn role_by_arn(tx: &mut Transaction<'_>, account_id: &str, arn: &str) -> Option<Arc<Role>> {
    let name = arn.rsplit('/').next()?;
    tx.get::<Role>(name).filter(|role| role.arn(account_id) == arn)
}
