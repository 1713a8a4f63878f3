//! Everything that there is in a cloud of the kinds that `up` creates, told without what is random: two deployments that
//! read the same are the same.

use std::collections::BTreeMap;

use aws_sdk_ec2::types::{Instance, Tag};
use imagecrud_deploy::cloud::clients::Clients;

use crate::calls::without_ids;

/// The names of what has an id.
#[derive(Default)]
struct Names(BTreeMap<String, String>);

impl Names {
    fn learn(&mut self, id: Option<&str>, name: &str) {
        self.0.insert(id.unwrap_or_default().to_owned(), name.to_owned());
    }

    /// A text with the names in place of the ids.
    fn told(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (id, name) in &self.0 {
            text = text.replace(id.as_str(), name);
        }
        text.split(' ').map(without_ids).collect::<Vec<_>>().join(" ")
    }
}

fn resource_of(tags: &[Tag]) -> &str {
    tags.iter().find(|tag| tag.key() == Some("imagecrud:resource")).and_then(|tag| tag.value()).unwrap_or("untagged")
}

fn tags_of(tags: &[Tag]) -> String {
    let mut tags: Vec<String> = tags
        .iter()
        .map(|tag| format!("{}={}", tag.key().unwrap_or_default(), tag.value().unwrap_or_default()))
        .collect();
    tags.sort();
    tags.join(",")
}

fn sorted(mut texts: Vec<String>) -> String {
    texts.sort();
    texts.join(",")
}

/// The listing, sorted.
pub(crate) async fn listing(clients: &Clients) -> Vec<String> {
    let mut names = Names::default();
    let mut all = in_ec2(clients, &mut names).await;
    all.extend(in_auto_scaling(clients, &mut names).await);
    all.extend(in_load_balancing(clients).await);
    all.extend(in_iam(clients).await);
    all.extend(in_s3(clients).await);
    let mut all: Vec<String> = all.iter().map(|line| names.told(line)).collect();
    all.sort();
    all
}

fn is_alive(instance: &Instance) -> bool {
    instance.state().and_then(|s| s.name()).is_some_and(|name| !matches!(name.as_str(), "terminated" | "shutting-down"))
}

async fn in_ec2(clients: &Clients, names: &mut Names) -> Vec<String> {
    let ec2 = &clients.ec2;
    let mut all = Vec::new();
    let instances = ec2.describe_instances().send().await.unwrap();
    let instances: Vec<&Instance> =
        instances.reservations().iter().flat_map(|r| r.instances()).filter(|i| is_alive(i)).collect();
    for instance in &instances {
        names.learn(instance.instance_id(), &format!("<{}>", resource_of(instance.tags())));
    }
    let groups = ec2.describe_security_groups().send().await.unwrap();
    for group in groups.security_groups() {
        names.learn(group.group_id(), &format!("<{}>", group.group_name().unwrap_or_default()));
    }
    for instance in instances {
        let state = instance.state().and_then(|s| s.name()).map_or("", |name| name.as_str());
        let groups = instance.security_groups().iter().filter_map(|g| g.group_id()).collect::<Vec<_>>().join(",");
        let profile = instance.iam_instance_profile().and_then(|p| p.arn()).and_then(|arn| arn.rsplit('/').next());
        // Its group's number is the cloud's.
        let tags = instance.tags().iter().filter(|tag| !tag.key().is_some_and(|key| key.starts_with("aws:"))).cloned();
        all.push(format!(
            "instance {state} {} {} {} groups {groups} profile {} tags {}",
            instance.instance_type().map_or("", |kind| kind.as_str()),
            instance.image_id().unwrap_or_default(),
            instance.key_name().unwrap_or_default(),
            profile.unwrap_or_default(),
            tags_of(&tags.collect::<Vec<_>>()),
        ));
    }
    for volume in ec2.describe_volumes().send().await.unwrap().volumes() {
        let at = volume.attachments().iter().map(|a| {
            let state = a.state().map_or("", |state| state.as_str());
            format!("{state} {} {}", a.instance_id().unwrap_or_default(), a.device().unwrap_or_default())
        });
        let state = volume.state().map_or("", |state| state.as_str());
        let size = volume.size().unwrap_or_default();
        all.push(format!("volume {state} {size} at {} tags {}", sorted(at.collect()), tags_of(volume.tags())));
    }
    for group in groups.security_groups() {
        let rules = group.ip_permissions().iter().map(|rule| {
            let ranges = rule.ip_ranges().iter().filter_map(|range| range.cidr_ip());
            let from = ranges.chain(rule.user_id_group_pairs().iter().filter_map(|pair| pair.group_id()));
            format!("{:?}..{:?} {}", rule.from_port(), rule.to_port(), from.collect::<Vec<_>>().join("+"))
        });
        let name = group.group_name().unwrap_or_default();
        all.push(format!("security-group {name} {} tags {}", sorted(rules.collect()), tags_of(group.tags())));
    }
    if let Ok(templates) = ec2.describe_launch_templates().send().await {
        for template in templates.launch_templates() {
            let (newest, default) = (template.latest_version_number(), template.default_version_number());
            let name = template.launch_template_name().unwrap_or_default();
            all.push(format!("launch-template {name} {default:?}/{newest:?} tags {}", tags_of(template.tags())));
        }
    }
    for pair in ec2.describe_key_pairs().send().await.unwrap().key_pairs() {
        all.push(format!("key-pair {} tags {}", pair.key_name().unwrap_or_default(), tags_of(pair.tags())));
    }
    let interfaces = ec2.describe_network_interfaces().send().await;
    for interface in interfaces.iter().flat_map(|answer| answer.network_interfaces()) {
        all.push(format!("network-interface {}", interface.description().unwrap_or_default()));
    }
    all
}

async fn in_auto_scaling(clients: &Clients, names: &mut Names) -> Vec<String> {
    let mut all = Vec::new();
    for group in clients.autoscaling.describe_auto_scaling_groups().send().await.unwrap().auto_scaling_groups() {
        let tags =
            group.tags().iter().map(|t| format!("{}={}", t.key().unwrap_or_default(), t.value().unwrap_or_default()));
        let version = group.launch_template().and_then(|t| t.version()).or(group.launch_configuration_name());
        all.push(format!(
            "auto-scaling-group {} {:?}..{:?} wants {:?} has {} status {:?} balancers {:?} {:?}/{:?} launches {version:?} tags {}",
            group.auto_scaling_group_name().unwrap_or_default(),
            group.min_size(),
            group.max_size(),
            group.desired_capacity(),
            group.instances().len(),
            group.status(),
            group.load_balancer_names(),
            group.health_check_type(),
            group.health_check_grace_period(),
            sorted(tags.collect()),
        ));
    }
    for policy in clients.autoscaling.describe_policies().send().await.unwrap().scaling_policies() {
        let name = policy.policy_name().unwrap_or_default();
        names.learn(policy.policy_arn(), &format!("<{name}>"));
        all.push(format!("policy {name} {:?} {:?}", policy.scaling_adjustment(), policy.cooldown()));
    }
    let configurations = clients.autoscaling.describe_launch_configurations().send().await.unwrap();
    for configuration in configurations.launch_configurations() {
        all.push(format!("launch-configuration {}", configuration.launch_configuration_name().unwrap_or_default()));
    }
    for alarm in clients.cloudwatch.describe_alarms().send().await.unwrap().metric_alarms() {
        let name = alarm.alarm_name().unwrap_or_default();
        let period = alarm.period().unwrap_or_default();
        all.push(format!("alarm {name} {:?} {period} runs {}", alarm.threshold(), alarm.alarm_actions().join(",")));
    }
    all
}

async fn in_load_balancing(clients: &Clients) -> Vec<String> {
    let mut all = Vec::new();
    for balancer in clients.elb.describe_load_balancers().send().await.unwrap().load_balancer_descriptions() {
        let name = balancer.load_balancer_name().unwrap_or_default();
        let tags = clients.elb.describe_tags().load_balancer_names(name).send().await;
        let tags = tags.iter().flat_map(|answer| answer.tag_descriptions()).flat_map(|of| of.tags());
        let attributes = clients.elb.describe_load_balancer_attributes().load_balancer_name(name).send().await;
        let draining = attributes.ok().and_then(|a| a.load_balancer_attributes()?.connection_draining().cloned());
        all.push(format!(
            "load-balancer {name} {:?} check {:?} groups {:?} instances {} tags {} draining {:?}",
            balancer.listener_descriptions().iter().map(|l| l.listener()).collect::<Vec<_>>(),
            balancer.health_check(),
            balancer.security_groups(),
            balancer.instances().len(),
            sorted(tags.map(|tag| format!("{}={}", tag.key(), tag.value().unwrap_or_default())).collect()),
            draining.map(|d| (d.enabled(), d.timeout())),
        ));
    }
    all
}

async fn in_iam(clients: &Clients) -> Vec<String> {
    let iam = &clients.iam;
    let mut all = Vec::new();
    for role in iam.list_roles().send().await.unwrap().roles() {
        let name = role.role_name();
        let policies = iam.list_role_policies().role_name(name).send().await.unwrap();
        let mut texts = Vec::new();
        for policy in policies.policy_names() {
            let text = iam.get_role_policy().role_name(name).policy_name(policy).send().await.unwrap();
            texts.push(format!("{policy} of {} bytes", text.policy_document().len()));
        }
        all.push(format!("role {name} {}", texts.join(",")));
    }
    for profile in iam.list_instance_profiles().send().await.unwrap().instance_profiles() {
        let roles: Vec<&str> = profile.roles().iter().map(|role| role.role_name()).collect();
        all.push(format!("instance-profile {} {}", profile.instance_profile_name(), roles.join(",")));
    }
    all
}

async fn in_s3(clients: &Clients) -> Vec<String> {
    let mut all = Vec::new();
    for bucket in clients.s3.list_buckets().send().await.unwrap().buckets() {
        let name = bucket.name().unwrap_or_default();
        let objects = clients.s3.list_objects_v2().bucket(name).send().await.unwrap();
        // What the database VM wrote is its own.
        let keys =
            objects.contents().iter().filter_map(|object| Some(format!("{} {:?}", object.key()?, object.size())));
        all.push(format!("bucket {name} {}", sorted(keys.collect())));
        let uploads = clients.s3.list_multipart_uploads().bucket(name).send().await;
        all.extend(uploads.iter().flat_map(|u| u.uploads()).map(|u| format!("upload {}", u.key().unwrap_or_default())));
    }
    all
}
