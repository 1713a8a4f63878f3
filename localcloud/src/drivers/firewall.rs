//! nftables rules from security groups, as text: nothing here runs anything.
//!
//! Machines do not reach each other on the bridge, as its ports are isolated: the kernel routes what passes between
//! them, so that the `forward` hook of the `inet` family sees it, with connection tracking. (The `bridge` family has
//! none on kernels without `CONFIG_NF_CONNTRACK_BRIDGE`.) What the proxy sends to a machine passes `output`, and is
//! held to the same rules; what a machine sends to the gateway passes `input`.
//!
//! An instance leads by its address to a chain for its combination of groups, and that to one for each of them, so that a
//! change of an instance or of a group changes a few elements or one chain, however many others there are. Whatever is
//! left of what has gone is empty, and is removed when the whole is set.

use std::{collections::BTreeSet, fmt::Write as _, net::Ipv4Addr};

use sha2::{Digest as _, Sha256};

use super::{AllowRule, Change, DriverError, Host, NetworkChange, NetworkPlan, Protocol, Result, Source};

pub(super) const TABLE: &str = "localcloud";
/// Where instances find the metadata service: <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html>
pub(super) const METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);
/// Where instances find the resolver: <https://docs.aws.amazon.com/vpc/latest/userguide/AmazonDNS-concepts.html>
pub(super) const RESOLVER: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 253);

/// Everything but the machines and what is allowed to them, which it leaves as they are.
pub(super) fn frame(bridge: &str, gateway: Ipv4Addr, api_port: u16) -> String {
    format!(
        r#"add table inet {TABLE}
add set inet {TABLE} machines {{ type ether_addr . ipv4_addr; }}
add map inet {TABLE} instances {{ type ipv4_addr : verdict; }}
add chain inet {TABLE} ingress
add chain inet {TABLE} forward {{ type filter hook forward priority filter; policy drop; }}
add chain inet {TABLE} input {{ type filter hook input priority filter; policy drop; }}
add chain inet {TABLE} output {{ type filter hook output priority filter; policy drop; }}
flush chain inet {TABLE} ingress
flush chain inet {TABLE} forward
flush chain inet {TABLE} input
flush chain inet {TABLE} output
table inet {TABLE} {{
	chain ingress {{
		ip daddr vmap @instances
	}}
	chain forward {{
		ct state established,related accept
		ct state invalid drop
		iifname != "{bridge}" drop
		oifname != "{bridge}" drop
		ether saddr . ip saddr != @machines drop
		jump ingress
	}}
	chain input {{
		iifname "lo" accept
		ct state established,related accept
		iifname "{bridge}" udp sport 68 udp dport 67 accept
		ether saddr . ip saddr != @machines drop
		ip daddr {{ {gateway}, {RESOLVER} }} meta l4proto {{ tcp, udp }} th dport 53 accept
		ip daddr {gateway} tcp dport {api_port} accept
		ip daddr {METADATA} tcp dport 80 accept
	}}
	chain output {{
		oifname "lo" accept
		ct state established,related accept
		udp sport 67 udp dport 68 accept
		jump ingress
	}}
}}
"#
    )
}

/// Chains and sets of groups that a table has, from what `nft --terse list table` says.
pub(super) fn of_groups(listing: &str) -> BTreeSet<Name> {
    let named = listing.lines().filter_map(|line| line.trim().strip_suffix(" {")?.split_once(' '));
    named.filter_map(|(kind, name)| Name::read(kind, name)).collect()
}

/// The whole, in one transaction. `present` is what the table has of groups.
pub(super) fn whole(plan: &NetworkPlan, present: &BTreeSet<Name>) -> Result<String> {
    let mut text = format!("flush map inet {TABLE} instances\nflush set inet {TABLE} machines\n");
    // In their order: a chain that leads to another goes before it, and a set after the chains that name it.
    for name in present {
        let _ = writeln!(text, "flush {} inet {TABLE} {name}", name.kind());
    }
    for name in present {
        let _ = writeln!(text, "delete {} inet {TABLE} {name}", name.kind());
    }
    text.push_str(&change(&plan.as_change())?);
    Ok(text)
}

/// What has changed, in one transaction.
pub(super) fn change(change: &NetworkChange) -> Result<String> {
    let mut text = String::new();
    // An address may pass from one to another: what goes, goes first.
    for (address, Change { before, .. }) in &change.hosts {
        if let Some(host) = before {
            let _ = writeln!(text, "delete element inet {TABLE} machines {{ {} . {address} }}", host.mac_address);
            if !host.groups.is_empty() {
                let _ = writeln!(text, "delete element inet {TABLE} instances {{ {address} }}");
            }
            leave(&mut text, *address, &host.groups);
        }
    }
    for (address, Change { before, .. }) in &change.balancers {
        leave(&mut text, *address, before.iter().flatten());
    }
    for (group, Change { after, .. }) in &change.rules {
        let chain = Name::Group(group.clone());
        let _ = write!(text, "add chain inet {TABLE} {chain}\nflush chain inet {TABLE} {chain}\n");
        for rule in after.iter().flatten() {
            if let Source::Group(source) = &rule.from {
                declare(&mut text, source);
            }
            let _ = writeln!(text, "add rule inet {TABLE} {chain} {}", render(rule)?);
        }
    }
    for (address, Change { after, .. }) in &change.hosts {
        if let Some(host) = after {
            come(&mut text, *address, host);
        }
    }
    for (address, Change { after, .. }) in &change.balancers {
        join(&mut text, *address, after.iter().flatten());
    }
    Ok(text)
}

fn come(text: &mut String, address: Ipv4Addr, host: &Host) {
    let _ = writeln!(text, "add element inet {TABLE} machines {{ {} . {address} }}", host.mac_address);
    if host.groups.is_empty() {
        return;
    }
    join(text, address, &host.groups);
    let combination = Name::of_combination(&host.groups);
    let _ = write!(text, "add chain inet {TABLE} {combination}\nflush chain inet {TABLE} {combination}\n");
    for group in &host.groups {
        let chain = Name::Group(group.clone());
        let _ = write!(text, "add chain inet {TABLE} {chain}\nadd rule inet {TABLE} {combination} jump {chain}\n");
    }
    let _ = writeln!(text, "add element inet {TABLE} instances {{ {address} : jump {combination} }}");
}

/// The address is one of these groups' from here on.
fn join<'a>(text: &mut String, address: Ipv4Addr, groups: impl IntoIterator<Item = &'a String>) {
    for group in groups {
        declare(text, group);
        let _ = writeln!(text, "add element inet {TABLE} {} {{ {address} }}", Name::Members(group.clone()));
    }
}

fn leave<'a>(text: &mut String, address: Ipv4Addr, groups: impl IntoIterator<Item = &'a String>) {
    for group in groups {
        let _ = writeln!(text, "delete element inet {TABLE} {} {{ {address} }}", Name::Members(group.clone()));
    }
}

/// The set of a group's members.
fn declare(text: &mut String, group: &str) {
    let _ = writeln!(text, "add set inet {TABLE} {} {{ type ipv4_addr; }}", Name::Members(group.to_owned()));
}

/// What the table has for groups.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Name {
    /// The chain that leads to those of several groups.
    Combination(String),
    /// The chain of what a group lets in.
    Group(String),
    /// The set of who is in a group.
    Members(String),
}

impl Name {
    fn of_combination(groups: &BTreeSet<String>) -> Self {
        let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
        Self::Combination(Sha256::digest(groups.join(",")).iter().take(8).map(|byte| format!("{byte:02x}")).collect())
    }

    fn read(kind: &str, name: &str) -> Option<Self> {
        let (what, name) = name.split_once('-')?;
        match (kind, what) {
            ("chain", "for") => Some(Self::Combination(name.to_owned())),
            ("chain", "to") => Some(Self::Group(name.to_owned())),
            ("set", "of") => Some(Self::Members(name.to_owned())),
            _ => None,
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Combination(_) | Self::Group(_) => "chain",
            Self::Members(_) => "set",
        }
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Combination(name) => write!(formatter, "for-{name}"),
            Self::Group(name) => write!(formatter, "to-{name}"),
            Self::Members(name) => write!(formatter, "of-{name}"),
        }
    }
}

fn render(rule: &AllowRule) -> Result<String> {
    let mut line = String::new();
    match &rule.from {
        Source::Group(group) => {
            let _ = write!(line, "ip saddr @{} ", Name::Members(group.clone()));
        }
        Source::Block(text) => {
            let block = Block::parse(text).ok_or_else(|| {
                DriverError::new("reading a rule", format!("`{text}` is not a CIDR block such as 10.0.0.0/8"))
            })?;
            if block != Block::EVERYWHERE {
                let _ = write!(line, "ip saddr {block} ");
            }
        }
    }
    let ports =
        rule.ports.map(|(first, last)| if first == last { first.to_string() } else { format!("{first}-{last}") });
    match (rule.protocol, ports) {
        (Protocol::Any, _) => {}
        (Protocol::Tcp, None) => line.push_str("meta l4proto tcp "),
        (Protocol::Udp, None) => line.push_str("meta l4proto udp "),
        (Protocol::Tcp, Some(ports)) => {
            let _ = write!(line, "tcp dport {ports} ");
        }
        (Protocol::Udp, Some(ports)) => {
            let _ = write!(line, "udp dport {ports} ");
        }
        // EC2 keeps the ICMP type and code in the ports, with -1 for any:
        // https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_IpPermission.html
        (Protocol::Icmp, _) => match rule.ports {
            Some((kind, code)) if kind < 256 => {
                let _ = write!(line, "icmp type {kind} ");
                if code < 256 {
                    let _ = write!(line, "icmp code {code} ");
                }
            }
            _ => line.push_str("meta l4proto icmp "),
        },
    }
    line.push_str("accept");
    Ok(line)
}

/// A CIDR block, its host bits cleared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Block {
    network: u32,
    length: u32,
}

impl Block {
    const EVERYWHERE: Self = Self { network: 0, length: 0 };

    fn parse(text: &str) -> Option<Self> {
        let (address, length) = text.split_once('/').unwrap_or((text, "32"));
        let (address, length) =
            (address.parse::<Ipv4Addr>().ok()?, length.parse().ok().filter(|length| *length <= 32)?);
        Some(Self { network: address.to_bits() & Self::mask(length), length })
    }

    fn mask(length: u32) -> u32 {
        u32::MAX.checked_shl(32 - length).unwrap_or(0)
    }
}

impl std::fmt::Display for Block {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}/{}", Ipv4Addr::from_bits(self.network), self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(protocol: Protocol, ports: Option<(u16, u16)>, from: &str) -> AllowRule {
        let is_group = from.starts_with("sg-");
        let from = if is_group { Source::Group(from.to_owned()) } else { Source::Block(from.to_owned()) };
        AllowRule { protocol, ports, from }
    }

    fn host(last: u8, groups: &[&str]) -> Host {
        Host {
            mac_address: format!("02:00:00:00:00:{last:02x}"),
            address: Ipv4Addr::new(10, 77, 0, last),
            hostname: format!("ip-10-77-0-{last}"),
            groups: groups.iter().map(|&group| group.to_owned()).collect(),
        }
    }

    fn hosts(before: Option<Host>, after: Option<Host>) -> NetworkChange {
        let address = before.as_ref().or(after.as_ref()).expect("one of them").address;
        NetworkChange { hosts: [(address, Change { before, after })].into(), ..NetworkChange::default() }
    }

    #[test]
    fn what_a_group_lets_in_is_a_chain_of_its_own() {
        let rules = BTreeSet::from([
            rule(Protocol::Tcp, Some((80, 80)), "sg-lb"),
            rule(Protocol::Tcp, Some((8000, 8999)), "0.0.0.0/0"),
            rule(Protocol::Udp, None, "10.77.3.4/16"),
            rule(Protocol::Icmp, None, "0.0.0.0/0"),
            rule(Protocol::Icmp, Some((8, u16::MAX)), "10.77.0.11/32"),
            rule(Protocol::Any, None, "10.77.0.11/32"),
        ]);
        let changed = Change { before: None, after: Some(rules) };
        let rules = NetworkChange { rules: [("sg-web".to_owned(), changed)].into(), ..NetworkChange::default() };
        let expected = "\
add chain inet localcloud to-sg-web
flush chain inet localcloud to-sg-web
add set inet localcloud of-sg-lb { type ipv4_addr; }
add rule inet localcloud to-sg-web ip saddr @of-sg-lb tcp dport 80 accept
add rule inet localcloud to-sg-web tcp dport 8000-8999 accept
add rule inet localcloud to-sg-web ip saddr 10.77.0.0/16 meta l4proto udp accept
add rule inet localcloud to-sg-web meta l4proto icmp accept
add rule inet localcloud to-sg-web ip saddr 10.77.0.11/32 icmp type 8 accept
add rule inet localcloud to-sg-web ip saddr 10.77.0.11/32 accept
";
        assert_eq!(change(&rules).expect("rules"), expected);
    }

    #[test]
    fn a_machine_that_comes_and_goes_is_a_few_elements() {
        let combination = Name::of_combination(&host(11, &["sg-a", "sg-b"]).groups);
        let come = change(&hosts(None, Some(host(11, &["sg-a", "sg-b"])))).expect("a change");
        let expected = format!(
            "\
add element inet localcloud machines {{ 02:00:00:00:00:0b . 10.77.0.11 }}
add set inet localcloud of-sg-a {{ type ipv4_addr; }}
add element inet localcloud of-sg-a {{ 10.77.0.11 }}
add set inet localcloud of-sg-b {{ type ipv4_addr; }}
add element inet localcloud of-sg-b {{ 10.77.0.11 }}
add chain inet localcloud {combination}
flush chain inet localcloud {combination}
add chain inet localcloud to-sg-a
add rule inet localcloud {combination} jump to-sg-a
add chain inet localcloud to-sg-b
add rule inet localcloud {combination} jump to-sg-b
add element inet localcloud instances {{ 10.77.0.11 : jump {combination} }}
"
        );
        assert_eq!(come, expected);
        let go = change(&hosts(Some(host(11, &["sg-a"])), Some(host(11, &[])))).expect("a change");
        let expected = "\
delete element inet localcloud machines { 02:00:00:00:00:0b . 10.77.0.11 }
delete element inet localcloud instances { 10.77.0.11 }
delete element inet localcloud of-sg-a { 10.77.0.11 }
add element inet localcloud machines { 02:00:00:00:00:0b . 10.77.0.11 }
";
        assert_eq!(go, expected, "its lease is left, and nobody may talk to it");
    }

    #[test]
    fn the_whole_removes_what_was_there_in_an_order_that_nftables_takes() {
        let listing = "table inet localcloud {\n\tset machines {\n\t\ttype ether_addr . ipv4_addr\n\t}\n\tset of-sg-a {\n\
                       \t}\n\tchain to-sg-a {\n\t}\n\tchain for-12ab {\n\t\tjump to-sg-a\n\t}\n\tchain output {\n\t}\n}\n";
        let text = whole(&NetworkPlan::default(), &of_groups(listing)).expect("a plan");
        let expected = "\
flush map inet localcloud instances
flush set inet localcloud machines
flush chain inet localcloud for-12ab
flush chain inet localcloud to-sg-a
flush set inet localcloud of-sg-a
delete chain inet localcloud for-12ab
delete chain inet localcloud to-sg-a
delete set inet localcloud of-sg-a
";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_block_that_is_none_is_named() {
        let error = render(&rule(Protocol::Any, None, "10.77.0.0/33")).expect_err("refused");
        assert!(error.to_string().contains("10.77.0.0/33"));
    }
}
