//! nftables rules from security groups, as text: nothing here runs anything.
//!
//! Machines do not reach each other on the bridge, as its ports are isolated: the kernel routes what passes between
//! them, so that the `forward` hook of the `inet` family sees it, with connection tracking. (The `bridge` family has
//! none on kernels without `CONFIG_NF_CONNTRACK_BRIDGE`.) What the proxy sends to a machine passes `output`, and is
//! held to the same rules; what a machine sends to the gateway passes `input`.
//!
//! The table's frame, its list of machines and its rules are replaced independently, each in one transaction.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    net::{IpAddr, Ipv4Addr},
};

use super::{AllowRule, DriverError, Host, Protocol, Result};

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
add chain inet {TABLE} ingress
add chain inet {TABLE} forward {{ type filter hook forward priority filter; policy drop; }}
add chain inet {TABLE} input {{ type filter hook input priority filter; policy drop; }}
add chain inet {TABLE} output {{ type filter hook output priority filter; policy drop; }}
flush chain inet {TABLE} forward
flush chain inet {TABLE} input
flush chain inet {TABLE} output
table inet {TABLE} {{
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

/// The complete list of machines: a packet that bears another's address is dropped.
pub(super) fn machines(hosts: &BTreeSet<Host>) -> String {
    let mut text = format!("flush set inet {TABLE} machines\n");
    if !hosts.is_empty() {
        let elements: Vec<String> =
            hosts.iter().map(|host| format!("{} . {}", host.mac_address, host.address)).collect();
        let _ = writeln!(text, "add element inet {TABLE} machines {{ {} }}", elements.join(", "));
    }
    text
}

/// The complete set of what is allowed.
pub(super) fn rules(allowed: &BTreeSet<AllowRule>) -> Result<String> {
    let mut text = format!("flush chain inet {TABLE} ingress\n");
    for rule in allowed {
        if let Some(line) = render(rule)? {
            let _ = writeln!(text, "add rule inet {TABLE} ingress {line}");
        }
    }
    Ok(text)
}

/// `None` for a rule that lets nothing in.
fn render(rule: &AllowRule) -> Result<Option<String>> {
    let from = blocks(&rule.from)?;
    if rule.to.is_empty() || from.is_empty() {
        return Ok(None);
    }
    let mut line = String::new();
    if from != [Block::EVERYWHERE] {
        let from: Vec<String> = from.iter().map(ToString::to_string).collect();
        let _ = write!(line, "ip saddr {{ {} }} ", from.join(", "));
    }
    let to: Vec<String> = rule.to.iter().map(ToString::to_string).collect();
    let _ = write!(line, "ip daddr {{ {} }} ", to.join(", "));
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
    Ok(Some(line))
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

    fn contains(self, other: Self) -> bool {
        self.length <= other.length && other.network & Self::mask(self.length) == self.network
    }
}

impl std::fmt::Display for Block {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}/{}", Ipv4Addr::from_bits(self.network), self.length)
    }
}

/// The blocks without those that lie in another one, as a set in nftables may not overlap itself.
fn blocks(texts: &BTreeSet<String>) -> Result<Vec<Block>> {
    let mut all = BTreeSet::new();
    for text in texts {
        match Block::parse(text) {
            Some(block) => {
                all.insert(block);
            }
            // Nobody has an IPv6 address here.
            None if is_version_6(text) => {}
            None => {
                return Err(DriverError::new(
                    "reading a rule",
                    format!("`{text}` is not a CIDR block such as 10.0.0.0/8"),
                ));
            }
        }
    }
    let covered = |block: &Block| all.iter().any(|other| other != block && other.contains(*block));
    Ok(all.iter().copied().filter(|block| !covered(block)).collect())
}

fn is_version_6(text: &str) -> bool {
    matches!(text.split('/').next().map(str::parse::<IpAddr>), Some(Ok(IpAddr::V6(_))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(to: &[&str], protocol: Protocol, ports: Option<(u16, u16)>, from: &[&str]) -> AllowRule {
        AllowRule {
            to: to.iter().map(|address| address.parse().unwrap()).collect(),
            protocol,
            ports,
            from: from.iter().map(|&block| block.to_owned()).collect(),
        }
    }

    #[test]
    fn security_groups_become_one_transaction() {
        let allowed = BTreeSet::from([
            rule(&["10.77.0.11", "10.77.0.12"], Protocol::Tcp, Some((80, 80)), &["10.77.0.5/32", "10.77.0.1/32"]),
            rule(&["10.77.0.12"], Protocol::Tcp, Some((8000, 8999)), &["0.0.0.0/0", "10.0.0.0/8"]),
            rule(&["10.77.0.13"], Protocol::Udp, None, &["10.77.3.4/16", "10.77.0.9/32", "::/0"]),
            rule(&["10.77.0.14"], Protocol::Icmp, None, &["0.0.0.0/0"]),
            rule(&["10.77.0.14"], Protocol::Icmp, Some((8, u16::MAX)), &["10.77.0.11/32"]),
            rule(&["10.77.0.15"], Protocol::Any, None, &["10.77.0.11/32"]),
        ]);
        let expected = "\
flush chain inet localcloud ingress
add rule inet localcloud ingress ip saddr { 10.77.0.1/32, 10.77.0.5/32 } ip daddr { 10.77.0.11, 10.77.0.12 } tcp dport 80 accept
add rule inet localcloud ingress ip daddr { 10.77.0.12 } tcp dport 8000-8999 accept
add rule inet localcloud ingress ip saddr { 10.77.0.0/16 } ip daddr { 10.77.0.13 } meta l4proto udp accept
add rule inet localcloud ingress ip daddr { 10.77.0.14 } meta l4proto icmp accept
add rule inet localcloud ingress ip saddr { 10.77.0.11/32 } ip daddr { 10.77.0.14 } icmp type 8 accept
add rule inet localcloud ingress ip saddr { 10.77.0.11/32 } ip daddr { 10.77.0.15 } accept
";
        assert_eq!(rules(&allowed).unwrap(), expected);
    }

    #[test]
    fn nothing_allowed_clears_what_was() {
        assert_eq!(rules(&BTreeSet::new()).unwrap(), "flush chain inet localcloud ingress\n");
    }

    #[test]
    fn a_rule_to_nobody_or_from_nobody_lets_nothing_in() {
        let allowed = BTreeSet::from([
            rule(&[], Protocol::Tcp, Some((80, 80)), &["0.0.0.0/0"]),
            rule(&["10.77.0.11"], Protocol::Tcp, Some((80, 80)), &[]),
            rule(&["10.77.0.11"], Protocol::Any, None, &["::/0"]),
        ]);
        assert_eq!(rules(&allowed).unwrap(), "flush chain inet localcloud ingress\n");
    }

    #[test]
    fn a_block_that_is_none_is_named() {
        let allowed = BTreeSet::from([rule(&["10.77.0.11"], Protocol::Any, None, &["10.77.0.0/33"])]);
        assert!(rules(&allowed).unwrap_err().to_string().contains("10.77.0.0/33"));
    }

    #[test]
    fn machines_are_known_by_hardware_and_network_address() {
        let hosts = BTreeSet::from([Host {
            mac_address: "02:00:00:00:00:01".to_owned(),
            address: Ipv4Addr::new(10, 77, 0, 11),
            hostname: "ip-10-77-0-11".to_owned(),
        }]);
        let expected = "\
flush set inet localcloud machines
add element inet localcloud machines { 02:00:00:00:00:01 . 10.77.0.11 }
";
        assert_eq!(machines(&hosts), expected);
        assert_eq!(machines(&BTreeSet::new()), "flush set inet localcloud machines\n");
    }
}
