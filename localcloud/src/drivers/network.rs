//! The cloud's own network: a namespace with a bridge, the gateway's addresses on it, dnsmasq for DHCP and local names,
//! and the firewall. It has no way out: nothing leaves the namespace but through the proxy, and the host's own
//! namespace gets no route, bridge or rule. Instances have no internet.
//!
//! All of it outlives the daemon; `start` mends what is missing and leaves what is there.

/// Leases and names.
mod dnsmasq;

use std::{collections::BTreeSet, net::Ipv4Addr};

use async_trait::async_trait;

use self::dnsmasq::Dnsmasq;
use super::{Change, DriverError, NetworkChange, NetworkDriver, NetworkPlan, Result, firewall};
use crate::{
    config::Prefix,
    host::{self, HostError, command::Command, netns},
    paths::Paths,
};

/// A bridge without an address of its own takes the lowest of its ports', and so another one whenever machines come and
/// go; those that stay would send to the old one until their neighbour entries age. Locally administered.
const BRIDGE_MAC: &str = "02:ff:00:00:00:01";
/// The bridge's name inside the namespace.
pub(super) const BRIDGE: &str = "br0";

/// The network in a namespace of its own.
pub struct NamespaceNetwork {
    namespace: String,
    subnet: Prefix,
    api_port: u16,
    /// One change at a time.
    dnsmasq: tokio::sync::Mutex<Dnsmasq>,
}

impl NamespaceNetwork {
    #[must_use]
    pub fn new(paths: Paths, subnet: Prefix, api_port: u16) -> Self {
        let namespace = paths.unique_name();
        let dnsmasq = tokio::sync::Mutex::new(Dnsmasq::new(paths, subnet));
        Self { namespace, subnet, api_port, dnsmasq }
    }

    /// Addresses that the bridge has whatever balancers there are.
    fn own_addresses(&self) -> [(Ipv4Addr, u8); 3] {
        [(self.subnet.gateway(), 16), (firewall::METADATA, 32), (firewall::RESOLVER, 32)]
    }

    /// Tells whether bridge or firewall were missing.
    async fn lay_out(&self) -> host::Result<bool> {
        netns::ensure(&self.namespace).await?;
        let bridge_exists = Command::new("ip").args(["-n", &self.namespace, "link", "show", BRIDGE]).succeeds().await;
        let firewall_exists = self.listing().await.is_ok_and(|listing| listing.contains("map instances "));
        let mut commands = vec!["link set lo up".to_owned()];
        if !bridge_exists {
            commands.push(format!("link add {BRIDGE} address {BRIDGE_MAC} type bridge forward_delay 0 stp_state 0"));
        }
        for (address, length) in self.own_addresses() {
            commands.push(format!("address replace {address}/{length} dev {BRIDGE}"));
        }
        netns::ip_batch(&self.namespace, &commands).await?;
        Command::new("sysctl")
            // A host without br_netfilter or IPv6 lacks some of them.
            .args(["--quiet", "--ignore", "--write"])
            .args([
                "net.ipv4.ip_forward=1".to_owned(),
                // Machines ask for each other's hardware address and get the bridge's: what they send is routed here.
                format!("net.ipv4.conf.{BRIDGE}.proxy_arp_pvlan=1"),
                // Nobody is told the direct way.
                "net.ipv4.conf.all.send_redirects=0".to_owned(),
                format!("net.ipv4.conf.{BRIDGE}.send_redirects=0"),
                "net.ipv6.conf.all.disable_ipv6=1".to_owned(),
                "net.ipv6.conf.default.disable_ipv6=1".to_owned(),
                "net.bridge.bridge-nf-call-iptables=0".to_owned(),
            ])
            .in_netns(&self.namespace)
            .run()
            .await?;
        // The firewall stands before the bridge carries its first packet.
        self.nft(&firewall::frame(BRIDGE, self.subnet.gateway(), self.api_port)).await?;
        netns::ip_batch(&self.namespace, &[format!("link set {BRIDGE} up")]).await?;
        Ok(!bridge_exists || !firewall_exists)
    }

    /// The firewall without the elements of its sets.
    async fn listing(&self) -> host::Result<String> {
        let command = Command::new("nft").args(["--terse", "list", "table", "inet", firewall::TABLE]);
        command.in_netns(&self.namespace).run().await
    }

    async fn nft(&self, script: &str) -> host::Result<()> {
        Command::new("nft").args(["-f", "-"]).input(script).in_netns(&self.namespace).run().await.map(drop)
    }

    async fn set_balancer_addresses(&self, plan: &NetworkPlan) -> host::Result<()> {
        let text = Command::new("ip")
            .args(["-n", &self.namespace, "-j", "-4", "address", "show", "dev", BRIDGE])
            .run()
            .await?;
        let present = addresses_of(&text)?;
        let own: Vec<Ipv4Addr> = self.own_addresses().iter().map(|(address, _)| *address).collect();
        let stale = present.iter().filter(|address| !plan.balancers.contains_key(address) && !own.contains(address));
        let missing = plan.balancers.keys().filter(|address| !present.contains(address));
        let commands: Vec<String> = stale.map(remove_address).chain(missing.map(add_address)).collect();
        netns::ip_batch(&self.namespace, &commands).await
    }

    async fn change_balancer_addresses(&self, change: &NetworkChange) -> host::Result<()> {
        let command = |(address, change): (&Ipv4Addr, &Change<BTreeSet<String>>)| match (&change.before, &change.after)
        {
            (None, Some(_)) => Some(add_address(address)),
            (Some(_), None) => Some(remove_address(address)),
            // Its groups are others; those are the firewall's.
            _ => None,
        };
        let commands: Vec<String> = change.balancers.iter().filter_map(command).collect();
        netns::ip_batch(&self.namespace, &commands).await
    }

    async fn remove(&self, dnsmasq: &Dnsmasq) -> host::Result<()> {
        dnsmasq.stop().await;
        if netns::exists(&self.namespace).await {
            // A bridge goes with its namespace, and that only when the last socket in it is closed.
            let _ = Command::new("ip").args(["-n", &self.namespace, "link", "delete", BRIDGE]).run().await;
        }
        // What is left of instances whose directories somebody has deleted.
        for orphan in netns::list(&format!("{}-", self.namespace)) {
            netns::delete(&orphan).await?;
        }
        netns::delete(&self.namespace).await
    }
}

#[async_trait]
impl NetworkDriver for NamespaceNetwork {
    async fn start(&self) -> Result<bool> {
        let dnsmasq = self.dnsmasq.lock().await;
        let failed = DriverError::while_doing("starting the network");
        let laid_out = self.lay_out().await.map_err(&failed)?;
        let started = dnsmasq.ensure().await.map_err(&failed)?;
        Ok(laid_out || started)
    }

    async fn set(&self, plan: &NetworkPlan) -> Result<()> {
        let dnsmasq = self.dnsmasq.lock().await;
        self.set_balancer_addresses(plan).await.map_err(DriverError::while_doing("giving load balancers addresses"))?;
        dnsmasq.set(&plan.hosts).await.map_err(DriverError::while_doing("announcing the machines"))?;
        let failed = DriverError::while_doing("setting the firewall");
        let present = firewall::of_groups(&self.listing().await.map_err(&failed)?);
        self.nft(&firewall::whole(plan, &present)?).await.map_err(failed)
    }

    async fn change(&self, change: &NetworkChange) -> Result<()> {
        let dnsmasq = self.dnsmasq.lock().await;
        self.change_balancer_addresses(change)
            .await
            .map_err(DriverError::while_doing("giving load balancers addresses"))?;
        dnsmasq.change(&change.hosts).await.map_err(DriverError::while_doing("announcing the machines"))?;
        let script = firewall::change(change)?;
        self.nft(&script).await.map_err(DriverError::while_doing("changing the firewall"))
    }

    async fn stop(&self) -> Result<()> {
        let dnsmasq = self.dnsmasq.lock().await;
        self.remove(&dnsmasq).await.map_err(DriverError::while_doing("stopping the network"))
    }
}

fn add_address(address: &Ipv4Addr) -> String {
    format!("address replace {address}/32 dev {BRIDGE}")
}

fn remove_address(address: &Ipv4Addr) -> String {
    format!("address delete {address}/32 dev {BRIDGE}")
}

/// The addresses in what `ip -j address show` says.
fn addresses_of(json: &str) -> host::Result<BTreeSet<Ipv4Addr>> {
    #[derive(serde::Deserialize)]
    struct Link {
        #[serde(default)]
        addr_info: Vec<Address>,
    }
    #[derive(serde::Deserialize)]
    struct Address {
        local: Ipv4Addr,
    }
    let links: Vec<Link> =
        serde_json::from_str(json).map_err(|error| HostError::new("reading the bridge's addresses", error))?;
    Ok(links.into_iter().flat_map(|link| link.addr_info).map(|address| address.local).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_from_what_ip_says() {
        let json = r#"[{"ifname":"br0","addr_info":[{"family":"inet","local":"10.77.0.1","prefixlen":16},{"local":"169.254.169.254"}]}]"#;
        let expected = BTreeSet::from([Ipv4Addr::new(10, 77, 0, 1), Ipv4Addr::new(169, 254, 169, 254)]);
        assert_eq!(addresses_of(json).unwrap(), expected);
    }
}
