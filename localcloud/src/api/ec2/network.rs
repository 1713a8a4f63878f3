//! What a cloud is born with: one VPC, one region, and its zones with a subnet each. Gateways are no records here, so that
//! their list is empty.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    addresses::MOST_ADDRESSES,
    dry_run,
    filters::{self, Column, Filter},
    identifiers, pagination,
    tag_specifications::TagItem,
};
use crate::{
    api::{
        error::ApiError,
        operation::{Caller, Operation},
    },
    model::{
        instance::Instance,
        site::{Site, Zone},
    },
    store::Transaction,
};

/// Of each subnet: those below the first that is given out.
const RESERVED_ADDRESSES: u16 = 10;

macro_rules! describe {
    ($action:ident, $ids:literal) => {
        #[derive(Debug, Deserialize)]
        #[serde(rename_all = "PascalCase", deny_unknown_fields)]
        pub struct $action {
            #[serde(default, rename = $ids)]
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
    };
}

/// The items of these ids, or all, that pass the filters.
fn select<T>(
    items: Vec<T>,
    ids: &[String],
    id_of: impl Fn(&T) -> &str,
    missing: impl Fn(&str) -> ApiError,
    filters: &[Filter],
    columns: &[Column<T>],
) -> Result<Vec<T>, ApiError> {
    if let Some(id) = ids.iter().find(|id| !items.iter().any(|item| id_of(item) == **id)) {
        return Err(missing(id));
    }
    let named = items.into_iter().filter(|item| ids.is_empty() || ids.iter().any(|id| id_of(item) == id)).collect();
    // Tags cannot be put on them; filters by tag find nothing.
    let (by_tag, rest): (Vec<Filter>, Vec<Filter>) =
        filters.iter().cloned().partition(|filter| filter.name.starts_with("tag:") || filter.name == "tag-key");
    let kept = filters::retain(&rest, columns, None, named)?;
    Ok(if by_tag.is_empty() { kept } else { Vec::new() })
}

describe!(DescribeVpcs, "VpcId");

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Vpcs {
    vpc_set: Vec<VpcItem>,
    next_token: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct VpcItem {
    vpc_id: String,
    owner_id: String,
    state: &'static str,
    cidr_block: String,
    dhcp_options_id: &'static str,
    tag_set: Vec<TagItem>,
    instance_tenancy: &'static str,
    is_default: bool,
}

const VPC_COLUMNS: &[Column<VpcItem>] = &[
    ("cidr-block-association.cidr-block", |vpc| vec![vpc.cidr_block.clone()]),
    ("cidr-block-association.state", |_| vec!["associated".to_owned()]),
    ("ipv6-cidr-block-association.ipv6-cidr-block", |_| Vec::new()),
    ("cidr", |vpc| vec![vpc.cidr_block.clone()]),
    ("cidr-block", |vpc| vec![vpc.cidr_block.clone()]),
    ("dhcp-options-id", |vpc| vec![vpc.dhcp_options_id.to_owned()]),
    ("is-default", |vpc| vec![vpc.is_default.to_string()]),
    ("isDefault", |vpc| vec![vpc.is_default.to_string()]),
    ("owner-id", |vpc| vec![vpc.owner_id.clone()]),
    ("state", |vpc| vec![vpc.state.to_owned()]),
    ("vpc-id", |vpc| vec![vpc.vpc_id.clone()]),
];

impl Operation for DescribeVpcs {
    const ACTION: &'static str = "DescribeVpcs";
    type Output = Vpcs;

    fn run(self, _: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<Vpcs, ApiError> {
        dry_run::check(self.dry_run)?;
        let site = caller.site;
        let vpc = VpcItem {
            vpc_id: site.vpc_id.clone(),
            owner_id: site.account_id.clone(),
            state: "available",
            cidr_block: site.cidr(),
            dhcp_options_id: "default",
            tag_set: Vec::new(),
            instance_tenancy: "default",
            is_default: true,
        };
        let missing = |id: &str| identifiers::not_found("InvalidVpcID", "vpc ID", id);
        let vpcs = select(vec![vpc], &self.ids, |vpc| &vpc.vpc_id, missing, &self.filters, VPC_COLUMNS)?;
        let (vpc_set, next_token) =
            pagination::page(vpcs, |vpc| vpc.vpc_id.clone(), self.max_results, self.next_token.as_deref())?;
        Ok(Vpcs { vpc_set, next_token })
    }
}

describe!(DescribeSubnets, "SubnetId");

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Subnets {
    subnet_set: Vec<SubnetItem>,
    next_token: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct SubnetItem {
    subnet_id: String,
    subnet_arn: String,
    owner_id: String,
    state: &'static str,
    vpc_id: String,
    cidr_block: String,
    available_ip_address_count: usize,
    availability_zone: String,
    default_for_az: bool,
    map_public_ip_on_launch: bool,
    tag_set: Vec<TagItem>,
}

const SUBNET_COLUMNS: &[Column<SubnetItem>] = &[
    ("availability-zone", |subnet| vec![subnet.availability_zone.clone()]),
    ("availability-zone-id", |subnet| vec![subnet.availability_zone.clone()]),
    ("availabilityZone", |subnet| vec![subnet.availability_zone.clone()]),
    ("available-ip-address-count", |subnet| vec![subnet.available_ip_address_count.to_string()]),
    ("cidr", |subnet| vec![subnet.cidr_block.clone()]),
    ("cidrBlock", |subnet| vec![subnet.cidr_block.clone()]),
    ("ipv6-native", |_| vec!["false".to_owned()]),
    ("subnet-arn", |subnet| vec![subnet.subnet_arn.clone()]),
    ("cidr-block", |subnet| vec![subnet.cidr_block.clone()]),
    ("default-for-az", |subnet| vec![subnet.default_for_az.to_string()]),
    ("defaultForAz", |subnet| vec![subnet.default_for_az.to_string()]),
    ("map-public-ip-on-launch", |subnet| vec![subnet.map_public_ip_on_launch.to_string()]),
    ("owner-id", |subnet| vec![subnet.owner_id.clone()]),
    ("state", |subnet| vec![subnet.state.to_owned()]),
    ("subnet-id", |subnet| vec![subnet.subnet_id.clone()]),
    ("vpc-id", |subnet| vec![subnet.vpc_id.clone()]),
];

impl Operation for DescribeSubnets {
    const ACTION: &'static str = "DescribeSubnets";
    type Output = Subnets;

    fn run(self, tx: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<Subnets, ApiError> {
        dry_run::check(self.dry_run)?;
        let site @ Site { account_id, vpc_id, .. } = caller.site;
        let mut held: BTreeMap<&str, usize> = BTreeMap::new();
        let present = tx.find::<Instance>(Instance::BY_PRESENCE, Instance::PRESENT);
        for instance in &present {
            *held.entry(&instance.zone).or_default() += 1;
        }
        let subnet = |zone @ Zone { name, subnet_id }: &Zone| SubnetItem {
            subnet_id: subnet_id.clone(),
            subnet_arn: format!("arn:aws:ec2:{}:{account_id}:subnet/{subnet_id}", caller.region),
            owner_id: account_id.clone(),
            state: "available",
            vpc_id: vpc_id.clone(),
            cidr_block: site.cidr_in(name),
            available_ip_address_count: usize::from(site.hosts_in(name).1 - RESERVED_ADDRESSES)
                .saturating_sub(held.get(name.as_str()).copied().unwrap_or(0)),
            availability_zone: zone.name.clone(),
            default_for_az: true,
            map_public_ip_on_launch: true,
            tag_set: Vec::new(),
        };
        let missing = |id: &str| identifiers::not_found("InvalidSubnetID", "subnet ID", id);
        let subnets = select(
            site.zones().map(subnet).collect(),
            &self.ids,
            |subnet| &subnet.subnet_id,
            missing,
            &self.filters,
            SUBNET_COLUMNS,
        )?;
        let (subnet_set, next_token) =
            pagination::page(subnets, |subnet| subnet.subnet_id.clone(), self.max_results, self.next_token.as_deref())?;
        Ok(Subnets { subnet_set, next_token })
    }
}

/// A kind of thing of which there is none: an empty list, and no id is known.
macro_rules! describe_none {
    ($action:ident, $ids:literal, $output:ident, $list:literal, $code:literal, $noun:literal) => {
        #[derive(Debug, Deserialize)]
        #[serde(rename_all = "PascalCase", deny_unknown_fields)]
        pub struct $action {
            #[serde(default, rename = $ids)]
            ids: Vec<String>,
            /// Out of nothing they choose nothing.
            #[serde(default, rename = "Filter")]
            _filters: Vec<Filter>,
            #[serde(default, rename = "MaxResults")]
            _max_results: Option<u32>,
            #[serde(default, rename = "NextToken")]
            _next_token: Option<String>,
            #[serde(default)]
            dry_run: Option<bool>,
        }

        #[derive(Debug, Serialize)]
        pub struct $output {
            #[serde(rename = $list)]
            set: Vec<String>,
        }

        impl Operation for $action {
            const ACTION: &'static str = stringify!($action);
            type Output = $output;

            fn run(self, _: &mut Transaction<'_>, _: &Caller<'_>) -> Result<$output, ApiError> {
                dry_run::check(self.dry_run)?;
                match self.ids.first() {
                    Some(id) => Err(identifiers::not_found($code, $noun, id)),
                    None => Ok($output { set: Vec::new() }),
                }
            }
        }
    };
}

describe_none!(
    DescribeInternetGateways,
    "InternetGatewayId",
    InternetGateways,
    "internetGatewaySet",
    "InvalidInternetGatewayID",
    "internetGateway ID"
);

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DescribeAvailabilityZones {
    #[serde(default, rename = "ZoneName")]
    zone_names: Vec<String>,
    #[serde(default, rename = "ZoneId")]
    zone_ids: Vec<String>,
    /// There are no others.
    #[serde(default, rename = "AllAvailabilityZones")]
    _all_availability_zones: Option<bool>,
    #[serde(default, rename = "Filter")]
    filters: Vec<Filter>,
    #[serde(default)]
    dry_run: Option<bool>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Zones {
    availability_zone_info: Vec<ZoneItem>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ZoneItem {
    zone_name: String,
    zone_id: String,
    zone_state: &'static str,
    region_name: String,
    opt_in_status: &'static str,
    zone_type: &'static str,
    group_name: String,
    network_border_group: String,
    message_set: Vec<String>,
}

const ZONE_COLUMNS: &[Column<ZoneItem>] = &[
    ("group-name", |zone| vec![zone.group_name.clone()]),
    ("message", |_| Vec::new()),
    ("opt-in-status", |zone| vec![zone.opt_in_status.to_owned()]),
    ("region-name", |zone| vec![zone.region_name.clone()]),
    ("state", |zone| vec![zone.zone_state.to_owned()]),
    ("zone-id", |zone| vec![zone.zone_id.clone()]),
    ("zone-name", |zone| vec![zone.zone_name.clone()]),
    ("zone-type", |zone| vec![zone.zone_type.to_owned()]),
];

impl Operation for DescribeAvailabilityZones {
    const ACTION: &'static str = "DescribeAvailabilityZones";
    type Output = Zones;

    fn run(self, _: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<Zones, ApiError> {
        dry_run::check(self.dry_run)?;
        let site @ Site { region, .. } = caller.site;
        let item = |zone: &Zone| ZoneItem {
            zone_name: zone.name.clone(),
            zone_id: zone.name.clone(),
            zone_state: "available",
            region_name: region.clone(),
            opt_in_status: "opt-in-not-required",
            zone_type: "availability-zone",
            group_name: region.clone(),
            network_border_group: region.clone(),
            message_set: Vec::new(),
        };
        let named: Vec<String> = self.zone_names.into_iter().chain(self.zone_ids).collect();
        let missing = |name: &str| {
            ApiError::invalid_parameter_value(format!(
                "Invalid availability zone: [{name}]; there are {}",
                site.zone_names()
            ))
        };
        let availability_zone_info = select(
            site.zones().map(item).collect(),
            &named,
            |zone| &zone.zone_name,
            missing,
            &self.filters,
            ZONE_COLUMNS,
        )?;
        Ok(Zones { availability_zone_info })
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DescribeRegions {
    #[serde(default, rename = "RegionName")]
    region_names: Vec<String>,
    /// There are no others.
    #[serde(default, rename = "AllRegions")]
    _all_regions: Option<bool>,
    #[serde(default, rename = "Filter")]
    filters: Vec<Filter>,
    #[serde(default)]
    dry_run: Option<bool>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Regions {
    region_info: Vec<RegionItem>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct RegionItem {
    region_name: String,
    region_endpoint: String,
    opt_in_status: &'static str,
}

const REGION_COLUMNS: &[Column<RegionItem>] = &[
    ("endpoint", |region| vec![region.region_endpoint.clone()]),
    ("opt-in-status", |region| vec![region.opt_in_status.to_owned()]),
    ("region-name", |region| vec![region.region_name.clone()]),
];

impl Operation for DescribeRegions {
    const ACTION: &'static str = "DescribeRegions";
    type Output = Regions;

    fn run(self, _: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<Regions, ApiError> {
        dry_run::check(self.dry_run)?;
        let item = RegionItem {
            region_name: caller.site.region.clone(),
            region_endpoint: format!("http://127.0.0.1:{}/services/compute", caller.site.port),
            opt_in_status: "opt-in-not-required",
        };
        let missing = |name: &str| ApiError::invalid_parameter_value(format!("Invalid region: [{name}]"));
        let region_info = select(
            vec![item],
            &self.region_names,
            |region| &region.region_name,
            missing,
            &self.filters,
            REGION_COLUMNS,
        )?;
        Ok(Regions { region_info })
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DescribeAccountAttributes {
    #[serde(default, rename = "AttributeName")]
    names: Vec<String>,
    #[serde(default)]
    dry_run: Option<bool>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AccountAttributes {
    account_attribute_set: Vec<AccountAttribute>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct AccountAttribute {
    attribute_name: &'static str,
    attribute_value_set: Vec<AttributeValue>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct AttributeValue {
    attribute_value: String,
}

impl Operation for DescribeAccountAttributes {
    const ACTION: &'static str = "DescribeAccountAttributes";
    type Output = AccountAttributes;

    fn run(self, _: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<AccountAttributes, ApiError> {
        dry_run::check(self.dry_run)?;
        let known = [
            ("supported-platforms", "VPC".to_owned()),
            ("default-vpc", caller.site.vpc_id.clone()),
            ("max-instances", caller.site.instance_limit.to_string()),
            ("vpc-max-security-groups-per-interface", "5".to_owned()),
            ("max-elastic-ips", MOST_ADDRESSES.to_string()),
            ("vpc-max-elastic-ips", MOST_ADDRESSES.to_string()),
        ];
        if let Some(name) = self.names.iter().find(|name| !known.iter().any(|(known, _)| known == name)) {
            return Err(ApiError::invalid_parameter_value(format!(
                "Value ({name}) for parameter attributeName is invalid."
            )));
        }
        let named = known
            .into_iter()
            .filter(|(name, _)| self.names.is_empty() || self.names.iter().any(|wanted| wanted == name));
        let item = |(attribute_name, attribute_value)| AccountAttribute {
            attribute_name,
            attribute_value_set: vec![AttributeValue { attribute_value }],
        };
        Ok(AccountAttributes { account_attribute_set: named.map(item).collect() })
    }
}
