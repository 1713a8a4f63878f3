//! Elastic addresses: loopback addresses that stay while instances come and go. The one that an instance has takes the
//! place of its own public address, and with it what the proxy listens on and what the metadata service says.

/// AssociateAddress, DisassociateAddress.
pub mod association;

use std::{collections::BTreeSet, net::Ipv4Addr, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{
    dry_run,
    filters::{self, Column, Filter},
    identifiers, interfaces,
    tag_specifications::{TagItem, TagSpecification, tag_set, tags_for},
};
use crate::{
    api::{
        error::ApiError,
        operation::{Caller, Operation, Return},
    },
    model::{
        address::{Address, Association},
        id,
        instance::Instance,
        site::Site,
        tag::Tags,
    },
    store::Transaction,
};

/// As on AWS (<https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/elastic-ip-addresses-eip.html>).
pub(super) const MOST_ADDRESSES: usize = 5;
/// Third byte of elastic addresses: instances' own ones end before.
const THIRD_BYTE: u8 = 0xff;

/// The association, if its instance still lives.
pub(super) fn association(tx: &mut Transaction<'_>, address: &Address) -> Option<(Association, Arc<Instance>)> {
    let association = address.association.clone()?;
    let instance = tx.get::<Instance>(&association.instance_id).filter(|instance| instance.state.is_alive())?;
    Some((association, instance))
}

/// The address that an instance has of itself, as it was launched.
pub(super) fn own_address(site: &Site, instance: &Instance) -> Ipv4Addr {
    let [_, _, third, fourth] = instance.private_ip.octets();
    Ipv4Addr::new(site.public_subnet.0, site.public_subnet.1, third, fourth)
}

/// Named by allocation, or by the address itself, as clients of EC2-Classic did.
fn named(
    tx: &mut Transaction<'_>,
    allocation_id: Option<&str>,
    public_ip: Option<Ipv4Addr>,
) -> Result<Arc<Address>, ApiError> {
    match (allocation_id, public_ip) {
        (Some(id), None) => identifiers::address(tx, id),
        (None, Some(ip)) => tx
            .list::<Address>()
            .into_iter()
            .find(|address| address.public_ip == ip)
            .ok_or_else(|| ApiError::new("InvalidAddress.NotFound", format!("Address '{ip}' not found."))),
        (Some(_), Some(_)) => Err(ApiError::new(
            "InvalidParameterCombination",
            "You may specify public IP or allocation id, but not both in the same call",
        )),
        (None, None) => Err(ApiError::new("MissingParameter", "Either public IP or allocation id must be specified")),
    }
}

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_AllocateAddress.html>
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct AllocateAddress {
    #[serde(default)]
    domain: Option<String>,
    /// One that was released, to have it again.
    #[serde(default)]
    address: Option<Ipv4Addr>,
    #[serde(default)]
    network_border_group: Option<String>,
    #[serde(default)]
    public_ipv4_pool: Option<String>,
    #[serde(default, rename = "TagSpecification")]
    tag_specifications: Vec<TagSpecification>,
    #[serde(default)]
    dry_run: Option<bool>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Allocated {
    public_ip: Ipv4Addr,
    allocation_id: String,
    domain: &'static str,
    public_ipv4_pool: &'static str,
    network_border_group: String,
}

impl Operation for AllocateAddress {
    const ACTION: &'static str = "AllocateAddress";
    type Output = Allocated;

    fn run(self, tx: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<Allocated, ApiError> {
        let site = caller.site;
        if self.domain.as_deref().is_some_and(|domain| domain != "vpc") {
            return Err(ApiError::unsupported("The only domain of this cloud's addresses is 'vpc'."));
        }
        if self.public_ipv4_pool.as_deref().is_some_and(|pool| pool != "amazon") {
            return Err(ApiError::unsupported("This cloud has no address pools of its users (PublicIpv4Pool)."));
        }
        if let Some(group) = self.network_border_group.filter(|group| *group != site.region) {
            return Err(ApiError::invalid_parameter_value(format!(
                "Invalid value '{group}' for NetworkBorderGroup: the only one is {}",
                site.region
            )));
        }
        let tags = tags_for(&self.tag_specifications, "elastic-ip", &[])?;
        let held: BTreeSet<Ipv4Addr> = tx.list::<Address>().iter().map(|address| address.public_ip).collect();
        if held.len() >= MOST_ADDRESSES {
            return Err(ApiError::new("AddressLimitExceeded", "The maximum number of addresses has been reached."));
        }
        let (first, second) = site.public_subnet;
        let mut pool = (1..=254).map(|last| Ipv4Addr::new(first, second, THIRD_BYTE, last));
        let public_ip = match self.address {
            Some(wanted) if !pool.any(|address| address == wanted) => {
                return Err(ApiError::new("InvalidAddress.NotFound", format!("Address '{wanted}' not found.")));
            }
            Some(wanted) if held.contains(&wanted) => {
                return Err(ApiError::new(
                    "InvalidAddress.NotFound",
                    format!("Address '{wanted}' is allocated already."),
                ));
            }
            Some(wanted) => wanted,
            None => pool
                .find(|address| !held.contains(address))
                .ok_or_else(|| ApiError::new("InsufficientAddressCapacity", "There are no addresses left."))?,
        };
        dry_run::check(self.dry_run)?;
        let address = Address { id: id::new("eipalloc"), public_ip, association: None, tags };
        let allocated = Allocated {
            public_ip,
            allocation_id: address.id.clone(),
            domain: "vpc",
            public_ipv4_pool: "amazon",
            network_border_group: site.region.clone(),
        };
        tx.put(address);
        Ok(allocated)
    }
}

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ReleaseAddress.html>
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ReleaseAddress {
    #[serde(default)]
    allocation_id: Option<String>,
    #[serde(default)]
    public_ip: Option<Ipv4Addr>,
    /// There is only one, so that it adds nothing.
    #[serde(default, rename = "NetworkBorderGroup")]
    _network_border_group: Option<String>,
    #[serde(default)]
    dry_run: Option<bool>,
}

impl Operation for ReleaseAddress {
    const ACTION: &'static str = "ReleaseAddress";
    type Output = Return;

    fn run(self, tx: &mut Transaction<'_>, _: &Caller<'_>) -> Result<Return, ApiError> {
        let address = named(tx, self.allocation_id.as_deref(), self.public_ip)?;
        if association(tx, &address).is_some() {
            return Err(ApiError::new("InvalidIPAddress.InUse", format!("Address {} is in use.", address.public_ip)));
        }
        dry_run::check(self.dry_run)?;
        tx.delete::<Address>(&address.id);
        Ok(Return::TRUE)
    }
}

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeAddresses.html>
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DescribeAddresses {
    #[serde(default, rename = "AllocationId")]
    allocation_ids: Vec<String>,
    #[serde(default, rename = "PublicIp")]
    public_ips: Vec<Ipv4Addr>,
    #[serde(default, rename = "Filter")]
    filters: Vec<Filter>,
    #[serde(default)]
    dry_run: Option<bool>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Addresses {
    addresses_set: Vec<AddressItem>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct AddressItem {
    public_ip: Ipv4Addr,
    allocation_id: String,
    association_id: Option<String>,
    domain: &'static str,
    instance_id: Option<String>,
    network_interface_id: Option<String>,
    network_interface_owner_id: Option<String>,
    private_ip_address: Option<Ipv4Addr>,
    public_ipv4_pool: &'static str,
    network_border_group: String,
    tag_set: Vec<TagItem>,
    #[serde(skip)]
    tags: Tags,
}

const COLUMNS: &[Column<AddressItem>] = &[
    ("allocation-id", |item| vec![item.allocation_id.clone()]),
    ("association-id", |item| item.association_id.iter().cloned().collect()),
    ("domain", |item| vec![item.domain.to_owned()]),
    ("instance-id", |item| item.instance_id.iter().cloned().collect()),
    ("network-border-group", |item| vec![item.network_border_group.clone()]),
    ("network-interface-id", |item| item.network_interface_id.iter().cloned().collect()),
    ("network-interface-owner-id", |item| item.network_interface_owner_id.iter().cloned().collect()),
    ("private-ip-address", |item| item.private_ip_address.iter().map(ToString::to_string).collect()),
    ("public-ip", |item| vec![item.public_ip.to_string()]),
];

impl Operation for DescribeAddresses {
    const ACTION: &'static str = "DescribeAddresses";
    type Output = Addresses;

    fn run(self, tx: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<Addresses, ApiError> {
        dry_run::check(self.dry_run)?;
        let mut addresses = tx.list::<Address>();
        for id in &self.allocation_ids {
            identifiers::address(tx, id)?;
        }
        for ip in &self.public_ips {
            named(tx, None, Some(*ip))?;
        }
        if !self.allocation_ids.is_empty() || !self.public_ips.is_empty() {
            addresses.retain(|address| {
                self.allocation_ids.contains(&address.id) || self.public_ips.contains(&address.public_ip)
            });
        }
        let mut items = Vec::with_capacity(addresses.len());
        for address in addresses {
            let held = association(tx, &address);
            let instance = held.as_ref().map(|(_, instance)| instance);
            items.push(AddressItem {
                public_ip: address.public_ip,
                allocation_id: address.id.clone(),
                association_id: held.as_ref().map(|(association, _)| association.id.clone()),
                domain: "vpc",
                instance_id: instance.map(|instance| instance.id.clone()),
                network_interface_id: instance.map(|instance| interfaces::id_of(&instance.id)),
                network_interface_owner_id: instance.map(|_| caller.account_id.clone()),
                private_ip_address: instance.map(|instance| instance.private_ip),
                public_ipv4_pool: "amazon",
                network_border_group: caller.site.region.clone(),
                tag_set: tag_set(&address.tags),
                tags: address.tags.clone(),
            });
        }
        let addresses_set = filters::retain(&self.filters, COLUMNS, Some(|item| &item.tags), items)?;
        Ok(Addresses { addresses_set })
    }
}
