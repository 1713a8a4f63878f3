//! Security groups: who may talk to whom. Rules are compared as text, one per port and source.

use std::collections::BTreeSet;

use async_trait::async_trait;
use aws_sdk_ec2::types::{
    Filter, IpPermission, IpRange, ResourceType, SecurityGroup as SdkSecurityGroup, Tag, UserIdGroupPair,
};

use crate::cloud::retry::{CloudError, found, gone};
use crate::cloud::{Cloud, RESOURCE_TAG};
use crate::resource::{
    Changes, ClientToken, CloudResult, Desired, Observed, Outputs, Patience, Resource, ResourceKey, Value,
};
use crate::resources::keys;

/// Where a rule lets traffic in from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// An address range.
    Range(String),
    /// The instances of another group of the stack.
    Group(&'static str),
}

/// One TCP port, open to one source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The port.
    pub port: u16,
    /// To whom.
    pub from: Source,
}

/// A group and its rules.
pub struct SecurityGroup {
    /// Its name in the stack.
    pub name: &'static str,
    /// What it is for, in the cloud's consoles.
    pub description: &'static str,
    /// Where it is.
    pub vpc_id: String,
    /// Who is let in.
    pub rules: Vec<Rule>,
}

impl SecurityGroup {
    fn ingress(&self, known: &Outputs) -> Value {
        let mut rules = BTreeSet::new();
        for rule in &self.rules {
            let from = match &rule.from {
                Source::Range(range) => Value::Known(range.clone()),
                Source::Group(name) => known.id(&keys::security_group(name)),
            };
            match from {
                Value::Known(from) => rules.insert(format!("tcp {} from {from}", rule.port)),
                later => return later,
            };
        }
        Value::Known(joined(&rules))
    }

    /// The group of a create whose answer was lost before it could be tagged.
    async fn adopt(&self, cloud: &Cloud) -> CloudResult<String> {
        let named = Filter::builder().name("group-name").values(cloud.name(self.name)).build();
        let within = Filter::builder().name("vpc-id").values(&self.vpc_id).build();
        let filters = vec![named, within];
        let answer = cloud.ec2.describe_security_groups().set_filters(Some(filters)).send().await?;
        let group = answer.security_groups().first().ok_or_else(|| CloudError::other("it is there, but not shown"))?;
        let tags = group.tags().iter().filter_map(|tag| Some((tag.key()?, tag.value()?)));
        cloud.check_ours(&format!("the security group {}", cloud.name(self.name)), tags)?;
        let id = group.group_id().unwrap_or_default().to_owned();
        cloud.ec2.create_tags().resources(&id).set_tags(Some(cloud.ec2_tags(&self.key()))).send().await?;
        Ok(id)
    }

    async fn change(&self, cloud: &Cloud, id: &str, from: &str, to: &str) -> CloudResult<()> {
        let (from, to) = (split(from), split(to));
        let added: Vec<IpPermission> = to.difference(&from).filter_map(|rule| expand_rule(rule)).collect();
        let removed: Vec<IpPermission> = from.difference(&to).filter_map(|rule| expand_rule(rule)).collect();
        if !added.is_empty() {
            let request = cloud.ec2.authorize_security_group_ingress().group_id(id).set_ip_permissions(Some(added));
            if let Err(error) = request.send().await.map_err(CloudError::from)
                && error.code() != "InvalidPermission.Duplicate"
            {
                return Err(error);
            }
        }
        if !removed.is_empty() {
            let request = cloud.ec2.revoke_security_group_ingress().group_id(id).set_ip_permissions(Some(removed));
            gone(request.send().await.map_err(CloudError::from))?;
        }
        Ok(())
    }
}

/// The stack's groups.
async fn all(cloud: &Cloud) -> CloudResult<Vec<SdkSecurityGroup>> {
    let ask = async {
        let answer = cloud.ec2.describe_security_groups().filters(cloud.stack_filter()).send().await;
        let answer = found(answer.map_err(CloudError::from))?;
        Ok(answer.map(|answer| answer.security_groups().to_vec()).unwrap_or_default())
    };
    cloud.once("security groups", ask).await
}

fn joined(rules: &BTreeSet<String>) -> String {
    rules.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}

fn split(rules: &str) -> BTreeSet<String> {
    rules.split(", ").filter(|rule| !rule.is_empty()).map(str::to_owned).collect()
}

fn flatten_permission(permission: &IpPermission) -> Vec<String> {
    let protocol = permission.ip_protocol().unwrap_or("-1");
    let ports = match (permission.from_port(), permission.to_port()) {
        (Some(from), Some(to)) if from == to => from.to_string(),
        (Some(from), Some(to)) => format!("{from}..{to}"),
        _ => "all".to_owned(),
    };
    let ranges = permission.ip_ranges().iter().filter_map(|range| range.cidr_ip());
    let groups = permission.user_id_group_pairs().iter().filter_map(|pair| pair.group_id());
    ranges.chain(groups).map(|source| format!("{protocol} {ports} from {source}")).collect()
}

fn expand_rule(rule: &str) -> Option<IpPermission> {
    let [protocol, ports, "from", source] = rule.split(' ').collect::<Vec<_>>()[..] else { return None };
    let mut permission = IpPermission::builder().ip_protocol(protocol);
    if ports != "all" {
        let (from, to) = ports.split_once("..").unwrap_or((ports, ports));
        permission = permission.from_port(from.parse().ok()?).to_port(to.parse().ok()?);
    }
    Some(if source.starts_with("sg-") {
        permission.user_id_group_pairs(UserIdGroupPair::builder().group_id(source).build()).build()
    } else {
        permission.ip_ranges(IpRange::builder().cidr_ip(source).build()).build()
    })
}

#[async_trait]
impl Resource for SecurityGroup {
    fn key(&self) -> ResourceKey {
        keys::security_group(self.name)
    }

    fn needs(&self) -> Vec<ResourceKey> {
        let groups = self.rules.iter().filter_map(|rule| match rule.from {
            Source::Group(name) => Some(keys::security_group(name)),
            Source::Range(_) => None,
        });
        groups.collect()
    }

    fn desired(&self, known: &Outputs) -> Desired {
        Desired::default().with("vpc_id", &self.vpc_id).with_value("ingress", self.ingress(known))
    }

    fn immutable(&self) -> &'static [&'static str] {
        &["vpc_id"]
    }

    fn patience(&self) -> Patience {
        Patience::secs(120, "it to appear", "run `imagecrud-deploy up` again")
    }

    async fn find(&self, cloud: &Cloud) -> CloudResult<Option<Observed>> {
        let (groups, key) = (all(cloud).await?, self.key());
        let ours = |tag: &Tag| tag.key() == Some(RESOURCE_TAG) && tag.value() == Some(key.as_str());
        let Some(group) = groups.iter().find(|group| group.tags().iter().any(ours)) else { return Ok(None) };
        let rules: BTreeSet<String> = group.ip_permissions().iter().flat_map(flatten_permission).collect();
        Ok(Some(
            Observed::ready(group.group_id().unwrap_or_default())
                .with("vpc_id", group.vpc_id().unwrap_or_default())
                .with("ingress", joined(&rules)),
        ))
    }

    async fn create(&self, cloud: &Cloud, known: &Outputs, _token: &ClientToken) -> CloudResult<()> {
        let create = cloud
            .ec2
            .create_security_group()
            .group_name(cloud.name(self.name))
            .description(self.description)
            .vpc_id(&self.vpc_id)
            .set_tag_specifications(
                cloud.tag_specification(ResourceType::SecurityGroup, &self.key()).map(|tags| vec![tags]),
            );
        let id = match create.send().await.map_err(CloudError::from) {
            Ok(group) => group.group_id().unwrap_or_default().to_owned(),
            Err(error) if error.code() == "InvalidGroup.Duplicate" => self.adopt(cloud).await?,
            Err(error) => return Err(error),
        };
        cloud.tag_afterwards(&id, &self.key()).await?;
        match self.ingress(known) {
            Value::Known(rules) => self.change(cloud, &id, "", &rules).await,
            Value::AfterCreate(key) => Err(CloudError::other(format!("{key} is not there yet"))),
        }
    }

    async fn update(&self, cloud: &Cloud, _: &Outputs, observed: &Observed, changes: &Changes) -> CloudResult<()> {
        match changes.0.get("ingress") {
            Some((from, to)) => self.change(cloud, &observed.id, from, to).await,
            None => Ok(()),
        }
    }

    async fn delete(&self, cloud: &Cloud, observed: &Observed) -> CloudResult<()> {
        sweep_interfaces(cloud, &observed.id).await;
        gone(cloud.ec2.delete_security_group().group_id(&observed.id).send().await.map_err(CloudError::from))
    }

    async fn explain(&self, cloud: &Cloud) -> Option<String> {
        let group = self.find(cloud).await.ok()??;
        let holders: Vec<String> = interfaces(cloud, &group.id)
            .await
            .into_iter()
            .map(|(id, description, status)| format!("{id} ({status}, \"{description}\")"))
            .collect();
        (!holders.is_empty()).then(|| format!("{} is held by the network interfaces {}", group.id, holders.join(", ")))
    }
}

/// The interfaces in a group: id, description, status. Empty where the cloud does not show them.
async fn interfaces(cloud: &Cloud, group_id: &str) -> Vec<(String, String, String)> {
    let filter = Filter::builder().name("group-id").values(group_id).build();
    let Ok(answer) = cloud.ec2.describe_network_interfaces().filters(filter).send().await else { return Vec::new() };
    let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
    answer
        .network_interfaces()
        .iter()
        .map(|interface| {
            let status = interface.status().map(|status| status.as_str());
            (text(interface.network_interface_id()), text(interface.description()), text(status))
        })
        .collect()
}

/// A load balancer leaves its interfaces behind for a while, and they hold the group. Those that are free
/// already are removed. Terraform's provider found the description "ELB <name>" to be dependable.
async fn sweep_interfaces(cloud: &Cloud, group_id: &str) {
    let ours = format!("ELB {}", cloud.stack);
    for (id, description, status) in interfaces(cloud, group_id).await {
        if description == ours && status == "available" {
            cloud.ec2.delete_network_interface().network_interface_id(id).send().await.ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_survive_the_way_to_the_cloud_and_back() {
        for rule in ["tcp 80 from sg-1", "tcp 22 from 192.0.2.0/24", "udp 5..7 from 0.0.0.0/0", "-1 all from sg-2"] {
            assert_eq!(flatten_permission(&expand_rule(rule).unwrap()), [rule]);
        }
        assert!(expand_rule("nonsense").is_none());
    }

    #[test]
    fn a_rule_from_a_group_that_is_not_there_yet_is_known_later() {
        let group = SecurityGroup {
            name: "database",
            description: "",
            vpc_id: "vpc-1".into(),
            rules: vec![Rule { port: 3306, from: Source::Group("web") }],
        };
        let mut known = Outputs::default();
        assert_eq!(group.ingress(&known), Value::AfterCreate(keys::security_group("web")));
        known.insert(keys::security_group("web"), Observed::ready("sg-9"));
        assert_eq!(group.ingress(&known), Value::Known("tcp 3306 from sg-9".into()));
    }
}
