//! Permissions as requests and answers word them. A permission with several sources becomes several rules, and rules of
//! the same protocol and ports are one permission again.

use std::net::{Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use crate::{
    api::{ec2::identifiers, error::ApiError},
    model::{
        id,
        security_group::{Rule, RuleSource, SecurityGroup},
    },
    store::Transaction,
};

/// In a rule's second ICMP number: any code.
const ANY_CODE: u16 = u16::MAX;

pub(in super::super) fn rule_id() -> String {
    id::new("sgr")
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct PermissionParameter {
    #[serde(default)]
    pub ip_protocol: Option<String>,
    #[serde(default)]
    pub from_port: Option<i32>,
    #[serde(default)]
    pub to_port: Option<i32>,
    #[serde(default)]
    pub groups: Vec<GroupParameter>,
    #[serde(default)]
    pub ip_ranges: Vec<RangeParameter>,
    #[serde(default)]
    pub ipv6_ranges: Vec<Range6Parameter>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct GroupParameter {
    #[serde(default)]
    pub group_id: Option<String>,
    #[serde(default)]
    pub group_name: Option<String>,
    #[serde(default)]
    pub user_id: Option<String>,
    #[serde(default)]
    pub vpc_id: Option<String>,
    #[serde(default)]
    pub description: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct RangeParameter {
    pub cidr_ip: String,
    #[serde(default)]
    pub description: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Range6Parameter {
    pub cidr_ipv6: String,
    #[serde(default)]
    pub description: Option<String>,
}

/// The older, flat form: one source beside the permissions.
#[derive(Debug, Clone, Default)]
pub(super) struct FlatPermission {
    pub ip_protocol: Option<String>,
    pub from_port: Option<i32>,
    pub to_port: Option<i32>,
    pub cidr_ip: Option<String>,
    pub source_security_group_name: Option<String>,
    pub source_security_group_owner_id: Option<String>,
}

impl FlatPermission {
    /// As a permission, if anything of it is given.
    pub(super) fn permission(self) -> Option<PermissionParameter> {
        let given = self.ip_protocol.is_some() || self.cidr_ip.is_some() || self.source_security_group_name.is_some();
        let by_name = self.source_security_group_name.is_some();
        given.then(|| PermissionParameter {
            // A source group alone means all traffic.
            ip_protocol: self.ip_protocol.or_else(|| by_name.then(|| "-1".to_owned())),
            from_port: self.from_port,
            to_port: self.to_port,
            groups: self
                .source_security_group_name
                .map(|name| GroupParameter {
                    group_name: Some(name),
                    user_id: self.source_security_group_owner_id,
                    ..GroupParameter::default()
                })
                .into_iter()
                .collect(),
            ip_ranges: self.cidr_ip.map(|cidr_ip| RangeParameter { cidr_ip, description: None }).into_iter().collect(),
            ipv6_ranges: Vec::new(),
        })
    }
}

/// The rules that the permissions ask for, each with an id of its own.
pub(super) fn rules(tx: &mut Transaction<'_>, permissions: Vec<PermissionParameter>) -> Result<Vec<Rule>, ApiError> {
    if permissions.is_empty() {
        return Err(ApiError::missing_parameter("IpPermissions"));
    }
    let mut rules = Vec::new();
    for permission in permissions {
        let protocol = protocol(permission.ip_protocol.as_deref())?;
        let ports = ports(protocol, permission.from_port, permission.to_port)?;
        let mut sources: Vec<(RuleSource, Option<String>)> = Vec::new();
        for range in permission.ip_ranges {
            sources.push((RuleSource::Cidr(cidr(&range.cidr_ip)?), range.description));
        }
        for range in permission.ipv6_ranges {
            sources.push((RuleSource::Cidr(cidr6(&range.cidr_ipv6)?), range.description));
        }
        for group in permission.groups {
            let found = identifiers::security_group(tx, group.group_id.as_deref(), group.group_name.as_deref())?;
            sources.push((RuleSource::Group(found.id.clone()), group.description));
        }
        if sources.is_empty() {
            return Err(ApiError::new(
                "MissingParameter",
                "A permission must name a source: IpRanges, Ipv6Ranges or Groups",
            ));
        }
        rules.extend(sources.into_iter().map(|(source, description)| Rule {
            id: rule_id(),
            protocol: protocol.to_owned(),
            ports,
            source,
            description,
        }));
    }
    Ok(rules)
}

/// By name or number (<https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_IpPermission.html>).
fn protocol(name: Option<&str>) -> Result<&'static str, ApiError> {
    match name.map(str::to_ascii_lowercase).as_deref() {
        Some("tcp" | "6") => Ok("tcp"),
        Some("udp" | "17") => Ok("udp"),
        Some("icmp" | "1") => Ok("icmp"),
        Some("-1" | "all") => Ok("-1"),
        Some(other) => Err(ApiError::invalid_parameter_value(format!(
            "Invalid value '{other}' for IP protocol: tcp, udp, icmp or -1 in this cloud"
        ))),
        None => Err(ApiError::missing_parameter("IpProtocol")),
    }
}

fn ports(protocol: &str, from: Option<i32>, to: Option<i32>) -> Result<Option<(u16, u16)>, ApiError> {
    let invalid = || {
        let shown = |port: Option<i32>| port.map_or_else(|| "none".to_owned(), |port| port.to_string());
        ApiError::invalid_parameter_value(format!(
            "Invalid value for portRange. Must specify both from and to ports with {protocol}: {} to {}",
            shown(from),
            shown(to)
        ))
    };
    match (protocol, from, to) {
        // All traffic has no ports, whatever is given.
        ("-1", ..) => Ok(None),
        ("icmp", None | Some(-1), _) => Ok(None),
        ("icmp", Some(kind), code) => {
            let byte = |value: i32| u8::try_from(value).map(u16::from).map_err(|_| invalid());
            let code = code.filter(|code| *code != -1).map_or(Ok(ANY_CODE), byte)?;
            Ok(Some((byte(kind)?, code)))
        }
        (_, Some(-1), Some(-1)) => Ok(None),
        (_, Some(from), Some(to)) => match (u16::try_from(from), u16::try_from(to)) {
            (Ok(from), Ok(to)) if from <= to => Ok(Some((from, to))),
            _ => Err(invalid()),
        },
        _ => Err(invalid()),
    }
}

/// The block with its host bits cleared, as AWS keeps it.
fn cidr(text: &str) -> Result<String, ApiError> {
    let invalid = || ApiError::invalid_parameter_value(format!("CIDR block {text} is malformed"));
    let (address, length) = text.split_once('/').ok_or_else(invalid)?;
    let address: Ipv4Addr = address.parse().map_err(|_| invalid())?;
    let length: u32 = length.parse().ok().filter(|length| *length <= 32).ok_or_else(invalid)?;
    let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
    Ok(format!("{}/{length}", Ipv4Addr::from_bits(address.to_bits() & mask)))
}

/// Kept, and without effect: the network has no IPv6.
fn cidr6(text: &str) -> Result<String, ApiError> {
    let invalid = || ApiError::invalid_parameter_value(format!("CIDR block {text} is malformed"));
    let (address, length) = text.split_once('/').ok_or_else(invalid)?;
    let address: Ipv6Addr = address.parse().map_err(|_| invalid())?;
    let length: u32 = length.parse().ok().filter(|length| *length <= 128).ok_or_else(invalid)?;
    Ok(format!("{address}/{length}"))
}

/// Whether two rules let in the same.
pub(super) fn same(one: &Rule, other: &Rule) -> bool {
    one.protocol == other.protocol && one.ports == other.ports && one.source == other.source
}

/// For messages: `peer: 10.0.0.0/8, TCP, from port: 80, to port: 80, ALLOW`.
pub(super) fn describe(rule: &Rule) -> String {
    let peer = match &rule.source {
        RuleSource::Cidr(cidr) => cidr,
        RuleSource::Group(group) => group,
    };
    match rule.ports {
        Some((from, to)) => {
            format!("peer: {peer}, {}, from port: {from}, to port: {to}, ALLOW", rule.protocol.to_uppercase())
        }
        None if rule.protocol == "-1" => format!("peer: {peer}, ALL, ALLOW"),
        None => format!("peer: {peer}, {}, ALLOW", rule.protocol.to_uppercase()),
    }
}

/// A permission in an answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PermissionItem {
    pub(super) ip_protocol: String,
    pub(super) from_port: Option<i32>,
    pub(super) to_port: Option<i32>,
    pub(super) groups: Vec<PairItem>,
    pub(super) ip_ranges: Vec<RangeItem>,
    pub(super) ipv6_ranges: Vec<Range6Item>,
    prefix_list_ids: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PairItem {
    pub(super) user_id: String,
    pub(super) group_id: String,
    description: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RangeItem {
    pub(super) cidr_ip: String,
    description: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Range6Item {
    pub(super) cidr_ipv6: String,
    description: Option<String>,
}

/// From and to port as answers have them: none for all traffic, -1 for any ICMP.
pub(super) fn wire_ports(rule: &Rule) -> (Option<i32>, Option<i32>) {
    match (rule.protocol.as_str(), rule.ports) {
        ("-1", _) => (None, None),
        ("icmp", Some((kind, ANY_CODE))) => (Some(kind.into()), Some(-1)),
        (_, Some((from, to))) => (Some(from.into()), Some(to.into())),
        ("icmp", None) => (Some(-1), Some(-1)),
        (_, None) => (Some(0), Some(65535)),
    }
}

pub(super) fn permissions(rules: &[Rule], group: &SecurityGroup) -> Vec<PermissionItem> {
    let mut items: Vec<PermissionItem> = Vec::new();
    for rule in rules {
        let (from_port, to_port) = wire_ports(rule);
        let same = |item: &PermissionItem| {
            (&item.ip_protocol, item.from_port, item.to_port) == (&rule.protocol, from_port, to_port)
        };
        let index = items.iter().position(same).unwrap_or_else(|| {
            items.push(PermissionItem {
                ip_protocol: rule.protocol.clone(),
                from_port,
                to_port,
                groups: Vec::new(),
                ip_ranges: Vec::new(),
                ipv6_ranges: Vec::new(),
                prefix_list_ids: Vec::new(),
            });
            items.len() - 1
        });
        let item = &mut items[index];
        let description = rule.description.clone();
        match &rule.source {
            RuleSource::Group(id) => {
                item.groups.push(PairItem { user_id: group.owner_id.clone(), group_id: id.clone(), description });
            }
            RuleSource::Cidr(cidr) if cidr.contains(':') => {
                item.ipv6_ranges.push(Range6Item { cidr_ipv6: cidr.clone(), description });
            }
            RuleSource::Cidr(cidr) => item.ip_ranges.push(RangeItem { cidr_ip: cidr.clone(), description }),
        }
    }
    items
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_bits_of_a_block_are_cleared_and_nonsense_is_refused() {
        assert_eq!(cidr("10.1.2.3/16").expect("a block"), "10.1.0.0/16");
        assert_eq!(cidr("0.0.0.0/0").expect("a block"), "0.0.0.0/0");
        assert_eq!(cidr("10.1.2.3/32").expect("a block"), "10.1.2.3/32");
        for text in ["10.1.2.3", "10.1.2.3/33", "10.1.2/8", "a/8", ""] {
            assert!(cidr(text).is_err(), "{text}");
        }
    }

    #[test]
    fn ports_must_be_a_range_except_where_there_are_none() {
        assert_eq!(ports("tcp", Some(80), Some(81)).expect("a range"), Some((80, 81)));
        assert_eq!(ports("-1", Some(80), Some(80)).expect("all"), None);
        assert_eq!(ports("icmp", Some(-1), Some(-1)).expect("all"), None);
        assert_eq!(ports("icmp", Some(8), Some(-1)).expect("echo"), Some((8, ANY_CODE)));
        for (from, to) in
            [(Some(81), Some(80)), (None, None), (Some(80), None), (Some(-5), Some(80)), (Some(1), Some(65536))]
        {
            assert!(ports("tcp", from, to).is_err(), "{from:?} {to:?}");
        }
    }
}
