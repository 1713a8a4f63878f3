//! The VMs of the stack as people name them: `db`, `web`, `web/i-0123abcd`.

use std::str::FromStr;

use aws_sdk_ec2::types::{Filter, Instance, IpPermission};

use crate::cloud::Cloud;
use crate::cloud::retry::{CloudError, found};
use crate::error::Failure;
use crate::resources::database_instance::{is_alive, state_of};
use crate::resources::keys;

/// Which kind of VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The database.
    Database,
    /// The web servers.
    Web,
}

impl Role {
    /// Its units that have something to tell.
    pub fn units(self) -> &'static [&'static str] {
        match self {
            Self::Database => {
                &["mariadb.service", "imagecrud-address.service", "imagecrud-data-volume.service", "opt-mysql.mount"]
            }
            Self::Web => &["imagecrud.service"],
        }
    }
}

/// A VM, or all of a kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Which kind.
    pub role: Role,
    /// Which one of them.
    pub id: Option<String>,
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (role, id) = text.split_once('/').map_or((text, None), |(role, id)| (role, Some(id.to_owned())));
        let role = match role {
            "db" | "database" => Role::Database,
            "web" => Role::Web,
            _ => return Err("db, web, or one of them by its id as in web/i-0123abcd".to_owned()),
        };
        match id {
            Some(id) if !id.starts_with("i-") => Err(format!("`{id}` is no id of an instance, as i-0123abcd is")),
            id => Ok(Self { role, id }),
        }
    }
}

/// A VM that is there.
#[derive(Clone, Debug)]
pub struct Vm {
    /// Its id.
    pub id: String,
    /// Which kind.
    pub role: Role,
    /// What the cloud calls its state.
    pub state: String,
    /// Where it is reached from outside, else from inside.
    pub address: Option<String>,
    groups: Vec<String>,
}

/// The VMs meant, oldest first.
pub async fn find(cloud: &Cloud, target: &Target) -> Result<Vec<Vm>, Failure> {
    let doing = "looking for the VM";
    let key = match target.role {
        Role::Database => keys::database_instance(),
        Role::Web => keys::auto_scaling_group(),
    };
    let request = cloud.ec2.describe_instances().set_filters(Some(cloud.ec2_filters(&key)));
    let answer = found(request.send().await.map_err(CloudError::from)).map_err(|e| Failure::cloud(doing, &e))?;
    let instances = answer.iter().flat_map(|answer| answer.reservations()).flat_map(|r| r.instances());
    let mut alive: Vec<&Instance> = instances.filter(|instance| is_alive(instance)).collect();
    alive.sort_by_key(|instance| instance.launch_time().map(|time| time.as_nanos()));
    let all: Vec<Vm> = alive.into_iter().map(|instance| vm(target.role, instance)).collect();
    let Some(id) = &target.id else {
        if all.is_empty() {
            return Err(Failure::new(doing, "there is none").hint("`imagecrud-deploy up` launches it"));
        }
        return Ok(all);
    };
    let ids: Vec<String> = all.iter().map(|vm| vm.id.clone()).collect();
    let meant: Vec<Vm> = all.into_iter().filter(|vm| vm.id == *id).collect();
    if meant.is_empty() {
        let there = if ids.is_empty() { "there is none".to_owned() } else { format!("there is {}", ids.join(", ")) };
        return Err(Failure::usage(format!("{id} is none of these VMs")).hint(there));
    }
    Ok(meant)
}

fn vm(role: Role, instance: &Instance) -> Vm {
    let some = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(str::to_owned);
    Vm {
        id: instance.instance_id().unwrap_or_default().to_owned(),
        role,
        state: state_of(instance).to_owned(),
        address: some(instance.public_ip_address()).or_else(|| some(instance.private_ip_address())),
        groups: instance.security_groups().iter().filter_map(|group| some(group.group_id())).collect(),
    }
}

impl Vm {
    /// Whether a security group of it lets ssh in from anywhere outside.
    pub async fn admits_ssh(&self, cloud: &Cloud) -> Result<bool, Failure> {
        let filter = Filter::builder().name("group-id").set_values(Some(self.groups.clone())).build();
        let request = cloud.ec2.describe_security_groups().filters(filter);
        let answer = request.send().await.map_err(|e| Failure::cloud("looking at the security group", &e.into()))?;
        Ok(answer.security_groups().iter().flat_map(|group| group.ip_permissions()).any(opens_ssh))
    }

    /// What its console said.
    pub async fn console(&self, cloud: &Cloud) -> Result<String, Failure> {
        use base64::Engine as _;
        let doing = format!("reading the console of {}", self.id);
        let request = cloud.ec2.get_console_output().instance_id(&self.id);
        let answer = request.send().await.map_err(|error| Failure::cloud(&doing, &error.into()))?;
        let encoded: String = answer.output().unwrap_or_default().split_ascii_whitespace().collect();
        let bytes = base64::engine::general_purpose::STANDARD.decode(encoded);
        let bytes = bytes.map_err(|error| Failure::new(&doing, error))?;
        Ok(String::from_utf8_lossy(&bytes).replace('\r', ""))
    }
}

fn opens_ssh(rule: &IpPermission) -> bool {
    // No port, or -1, is every port.
    let port = |port: Option<i32>| port.filter(|port| *port >= 0);
    let ports = port(rule.from_port()).unwrap_or(0)..=port(rule.to_port()).unwrap_or(i32::from(u16::MAX));
    let protocol = matches!(rule.ip_protocol(), Some("tcp" | "-1" | "6") | None);
    let outside = !rule.ip_ranges().is_empty() || !rule.ipv6_ranges().is_empty() || !rule.prefix_list_ids().is_empty();
    protocol && ports.contains(&22) && outside
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_ec2::types::IpRange;

    #[test]
    fn vms_are_named_by_kind_and_id() {
        let target = |text: &str| text.parse::<Target>();
        assert_eq!(target("db"), Ok(Target { role: Role::Database, id: None }));
        assert_eq!(target("web/i-1"), Ok(Target { role: Role::Web, id: Some("i-1".to_owned()) }));
        assert!(target("web/1").unwrap_err().contains("i-0123abcd"));
        assert!(target("mail").unwrap_err().contains("db, web"));
    }

    #[test]
    fn only_a_rule_for_addresses_and_port_22_lets_ssh_in() {
        let rule = |protocol: &str, from: i32, to: i32| {
            IpPermission::builder().ip_protocol(protocol).from_port(from).to_port(to)
        };
        let anywhere = IpRange::builder().cidr_ip("0.0.0.0/0").build();
        assert!(opens_ssh(&rule("tcp", 22, 22).ip_ranges(anywhere.clone()).build()));
        assert!(opens_ssh(&rule("tcp", 1, 1024).ip_ranges(anywhere.clone()).build()));
        assert!(opens_ssh(&IpPermission::builder().ip_protocol("-1").ip_ranges(anywhere.clone()).build()));
        assert!(!opens_ssh(&rule("tcp", 80, 80).ip_ranges(anywhere.clone()).build()));
        assert!(!opens_ssh(&rule("udp", 22, 22).ip_ranges(anywhere).build()));
        assert!(!opens_ssh(&rule("tcp", 22, 22).build()));
    }
}
