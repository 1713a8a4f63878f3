//! DescribeNetworkInterfaces: each instance has one interface, and each load balancer. They are no records: their ids come
//! from what they belong to.

use std::{net::Ipv4Addr, sync::Arc};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{
    dry_run,
    filters::{self, Column, Filter},
    identifiers,
    instances::item::{GroupItem, Surroundings, private_dns_name},
    pagination,
    tag_specifications::TagItem,
};
use crate::{
    api::{
        error::ApiError,
        operation::{Caller, Operation},
    },
    model::{
        address::Address,
        instance::{Instance, InstanceState},
        load_balancer::LoadBalancer,
        site::Site,
        tag::Tags,
        time::Timestamp,
    },
    store::Transaction,
};

/// Of an instance's interface.
pub(super) fn id_of(instance_id: &str) -> String {
    instance_id.replacen("i-", "eni-", 1)
}

/// The instance whose interface this is.
pub(super) fn instance(tx: &mut Transaction<'_>, interface_id: &str) -> Result<Arc<Instance>, ApiError> {
    identifiers::check_form("InvalidNetworkInterfaceID", interface_id, &["eni-"])?;
    let found = tx.get::<Instance>(&interface_id.replacen("eni-", "i-", 1));
    found.filter(|instance| instance.state != InstanceState::Terminated).ok_or_else(|| missing(interface_id))
}

fn missing(id: &str) -> ApiError {
    ApiError::new("InvalidNetworkInterfaceID.NotFound", format!("The networkInterface ID '{id}' does not exist"))
}

/// As in an instance's description, and with more in one of its own.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InterfaceItem {
    pub(super) network_interface_id: String,
    subnet_id: String,
    vpc_id: String,
    availability_zone: String,
    description: String,
    owner_id: String,
    requester_id: Option<String>,
    requester_managed: bool,
    pub(super) status: &'static str,
    pub(super) mac_address: String,
    pub(super) private_ip_address: Ipv4Addr,
    private_dns_name: String,
    source_dest_check: bool,
    pub(super) group_set: Vec<GroupItem>,
    attachment: Attachment,
    association: Option<Association>,
    private_ip_addresses_set: Vec<PrivateAddress>,
    ipv6_addresses_set: Vec<String>,
    interface_type: &'static str,
    tag_set: Vec<TagItem>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Attachment {
    attachment_id: String,
    instance_id: Option<String>,
    instance_owner_id: String,
    device_index: u32,
    network_card_index: u32,
    status: &'static str,
    attach_time: Timestamp,
    delete_on_termination: bool,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct Association {
    public_ip: Ipv4Addr,
    public_dns_name: String,
    /// `amazon` for an address that the instance has of itself.
    ip_owner_id: String,
    allocation_id: Option<String>,
    association_id: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PrivateAddress {
    private_ip_address: Ipv4Addr,
    private_dns_name: String,
    primary: bool,
    association: Option<Association>,
}

impl InterfaceItem {
    pub(super) fn of_instance(
        site: &Site,
        instance: &Instance,
        group_set: Vec<GroupItem>,
        elastic: Option<&Address>,
    ) -> Self {
        let owner = site.account_id.clone();
        let association = Association {
            public_ip: instance.public_ip,
            public_dns_name: instance.public_ip.to_string(),
            ip_owner_id: if elastic.is_some() { owner.clone() } else { "amazon".to_owned() },
            allocation_id: elastic.map(|address| address.id.clone()),
            association_id: elastic.and_then(|address| Some(address.association.as_ref()?.id.clone())),
        };
        Self {
            network_interface_id: id_of(&instance.id),
            subnet_id: site.subnet_in(&instance.zone).to_owned(),
            vpc_id: site.vpc_id.clone(),
            availability_zone: instance.zone.clone(),
            description: String::new(),
            owner_id: owner.clone(),
            requester_id: None,
            requester_managed: false,
            status: "in-use",
            mac_address: instance.mac_address.clone(),
            private_ip_address: instance.private_ip,
            private_dns_name: private_dns_name(instance.private_ip),
            source_dest_check: !instance.attributes.source_dest_check_off,
            group_set,
            attachment: Attachment {
                attachment_id: instance.id.replacen("i-", "eni-attach-", 1),
                instance_id: Some(instance.id.clone()),
                instance_owner_id: owner,
                device_index: 0,
                network_card_index: 0,
                status: "attached",
                attach_time: instance.launched,
                delete_on_termination: true,
            },
            private_ip_addresses_set: vec![PrivateAddress {
                private_ip_address: instance.private_ip,
                private_dns_name: private_dns_name(instance.private_ip),
                primary: true,
                association: Some(association.clone()),
            }],
            association: Some(association),
            ipv6_addresses_set: Vec::new(),
            interface_type: "interface",
            tag_set: Vec::new(),
        }
    }

    fn of_balancer(site: &Site, balancer: &LoadBalancer, group_set: Vec<GroupItem>) -> Self {
        let digest = Sha256::digest(format!("{} {}", balancer.name, balancer.created));
        let digits: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let [_, _, third, fourth] = balancer.address.octets();
        // One program serves all zones.
        let zone = balancer.zones.first().unwrap_or(&site.home.name);
        Self {
            network_interface_id: format!("eni-0{digits}"),
            subnet_id: site.subnet_in(zone).to_owned(),
            vpc_id: site.vpc_id.clone(),
            availability_zone: zone.clone(),
            // By this, tools wait until a balancer is gone before they delete its group.
            description: format!("ELB {}", balancer.name),
            owner_id: site.account_id.clone(),
            requester_id: Some("amazon-elb".to_owned()),
            requester_managed: true,
            status: "in-use",
            mac_address: format!("02:00:{:02x}:{:02x}:{third:02x}:{fourth:02x}", site.subnet.0, site.subnet.1),
            private_ip_address: balancer.address,
            private_dns_name: private_dns_name(balancer.address),
            source_dest_check: true,
            group_set,
            attachment: Attachment {
                attachment_id: format!("eni-attach-0{digits}"),
                instance_id: None,
                instance_owner_id: "amazon-elb".to_owned(),
                device_index: 1,
                network_card_index: 0,
                status: "attached",
                attach_time: balancer.created,
                delete_on_termination: false,
            },
            association: None,
            private_ip_addresses_set: vec![PrivateAddress {
                private_ip_address: balancer.address,
                private_dns_name: private_dns_name(balancer.address),
                primary: true,
                association: None,
            }],
            ipv6_addresses_set: Vec::new(),
            interface_type: "interface",
            tag_set: Vec::new(),
        }
    }

    /// What the filter of this name looks at, with or without `network-interface.` before it.
    pub(super) fn values(&self, filter: &str) -> Vec<String> {
        let association = |of: fn(&Association) -> Option<String>| self.association.iter().filter_map(of).collect();
        match filter {
            "addresses.association.ip-owner-id" | "association.ip-owner-id" => {
                association(|association| Some(association.ip_owner_id.clone()))
            }
            "addresses.association.public-ip" | "association.public-ip" => {
                association(|association| Some(association.public_ip.to_string()))
            }
            "addresses.primary" => vec!["true".to_owned()],
            "addresses.private-ip-address" | "private-ip-address" => vec![self.private_ip_address.to_string()],
            "association.allocation-id" => association(|association| association.allocation_id.clone()),
            "association.association-id" => association(|association| association.association_id.clone()),
            "association.public-dns-name" => association(|association| Some(association.public_dns_name.clone())),
            "attachment.attach-time" => vec![self.attachment.attach_time.to_string()],
            "attachment.attachment-id" => vec![self.attachment.attachment_id.clone()],
            "attachment.delete-on-termination" => vec![self.attachment.delete_on_termination.to_string()],
            "attachment.device-index" => vec![self.attachment.device_index.to_string()],
            "attachment.instance-id" => self.attachment.instance_id.iter().cloned().collect(),
            "attachment.instance-owner-id" => vec![self.attachment.instance_owner_id.clone()],
            "attachment.status" => vec![self.attachment.status.to_owned()],
            "availability-zone" => vec![self.availability_zone.clone()],
            "description" => vec![self.description.clone()],
            "group-id" => self.group_set.iter().map(|group| group.group_id.clone()).collect(),
            "group-name" => self.group_set.iter().map(|group| group.group_name.clone()).collect(),
            "interface-type" => vec![self.interface_type.to_owned()],
            "mac-address" => vec![self.mac_address.clone()],
            "network-interface-id" => vec![self.network_interface_id.clone()],
            "owner-id" => vec![self.owner_id.clone()],
            "private-dns-name" => vec![self.private_dns_name.clone()],
            "requester-id" => self.requester_id.iter().cloned().collect(),
            "requester-managed" => vec![self.requester_managed.to_string()],
            "source-dest-check" => vec![self.source_dest_check.to_string()],
            "status" => vec![self.status.to_owned()],
            "subnet-id" => vec![self.subnet_id.clone()],
            "vpc-id" => vec![self.vpc_id.clone()],
            _ => Vec::new(),
        }
    }
}

macro_rules! columns {
    ($($name:literal),* $(,)?) => { &[$(($name, |item| item.values($name)),)*] };
}

const COLUMNS: &[Column<InterfaceItem>] = columns![
    "addresses.association.ip-owner-id",
    "addresses.association.public-ip",
    "addresses.primary",
    "addresses.private-ip-address",
    "association.allocation-id",
    "association.association-id",
    "association.ip-owner-id",
    "association.public-dns-name",
    "association.public-ip",
    "attachment.attach-time",
    "attachment.attachment-id",
    "attachment.delete-on-termination",
    "attachment.device-index",
    "attachment.instance-id",
    "attachment.instance-owner-id",
    "attachment.status",
    "availability-zone",
    "description",
    "group-id",
    "group-name",
    "interface-type",
    "mac-address",
    "network-interface-id",
    "owner-id",
    "private-dns-name",
    "private-ip-address",
    "requester-id",
    "requester-managed",
    "source-dest-check",
    "status",
    "subnet-id",
    "vpc-id",
];

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeNetworkInterfaces.html>
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DescribeNetworkInterfaces {
    #[serde(default, rename = "NetworkInterfaceId")]
    ids: Vec<String>,
    #[serde(default, rename = "Filter")]
    filters: Vec<Filter>,
    #[serde(default)]
    max_results: Option<u32>,
    #[serde(default)]
    next_token: Option<String>,
    #[serde(default)]
    dry_run: Option<bool>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NetworkInterfaces {
    network_interface_set: Vec<InterfaceItem>,
    next_token: Option<String>,
}

impl Operation for DescribeNetworkInterfaces {
    const ACTION: &'static str = "DescribeNetworkInterfaces";
    type Output = NetworkInterfaces;

    fn run(self, tx: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<NetworkInterfaces, ApiError> {
        dry_run::check(self.dry_run)?;
        if self.max_results.is_some() && !self.ids.is_empty() {
            return Err(pagination::ids_with_max_results("networkInterfaceIdSet"));
        }
        let surroundings = Surroundings::load(tx, caller.site);
        let mut items: Vec<InterfaceItem> = tx
            .list::<Instance>()
            .iter()
            .filter(|instance| instance.state != InstanceState::Terminated)
            .map(|instance| surroundings.interface_of(instance))
            .collect();
        for balancer in tx.list::<LoadBalancer>() {
            let groups = surroundings.groups(&balancer.security_group_ids);
            items.push(InterfaceItem::of_balancer(caller.site, &balancer, groups));
        }
        for id in &self.ids {
            identifiers::check_form("InvalidNetworkInterfaceID", id, &["eni-"])?;
            if !items.iter().any(|item| item.network_interface_id == *id) {
                return Err(missing(id));
            }
        }
        if !self.ids.is_empty() {
            items.retain(|item| self.ids.contains(&item.network_interface_id));
        }
        // Tags cannot be put on them; filters by tag find nothing.
        const NONE: &Tags = &Tags::new();
        let items = filters::retain(&self.filters, COLUMNS, Some(|_| NONE), items)?;
        let key = |item: &InterfaceItem| item.network_interface_id.clone();
        let (network_interface_set, next_token) =
            pagination::page(items, key, self.max_results, self.next_token.as_deref())?;
        Ok(NetworkInterfaces { network_interface_set, next_token })
    }
}
