//! The cloud's own network: a namespace with a bridge, the gateway's addresses on it, dnsmasq for DHCP and local names,
//! and the firewall. It has no way out: nothing leaves the namespace but through the proxy, and the host's own
//! namespace gets no route, bridge or rule. Instances have no internet.
//!
//! All of it outlives the daemon; `start` mends what is missing and leaves what is there.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use rustix::process::Signal;

use super::{AllowRule, DriverError, Host, NetworkDriver, Result, firewall};
use crate::{
    config::Prefix,
    host::{
        self, HostError,
        command::Command,
        file, netns,
        process::{self, PidFile},
    },
    paths::Paths,
};

/// A bridge without an address of its own takes the lowest of its ports', and so another one whenever machines come and
/// go; those that stay would send to the old one until their neighbour entries age. Locally administered.
const BRIDGE_MAC: &str = "02:ff:00:00:00:01";
/// The bridge's name inside the namespace.
pub(super) const BRIDGE: &str = "br0";
const DNSMASQ_START: Duration = Duration::from_secs(10);
const DNSMASQ_STOP: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_millis(5);

/// The network in a namespace of its own.
pub struct NamespaceNetwork {
    paths: Paths,
    namespace: String,
    subnet: Prefix,
    api_port: u16,
    /// The hosts' files and dnsmasq change together.
    changing: tokio::sync::Mutex<()>,
}

impl NamespaceNetwork {
    #[must_use]
    pub fn new(paths: Paths, subnet: Prefix, api_port: u16) -> Self {
        Self { namespace: paths.unique_name(), paths, subnet, api_port, changing: tokio::sync::Mutex::default() }
    }

    /// Addresses that the bridge has whatever balancers there are.
    fn own_addresses(&self) -> [(Ipv4Addr, u8); 3] {
        [(self.subnet.gateway(), 16), (firewall::METADATA, 32), (firewall::RESOLVER, 32)]
    }

    async fn lay_out(&self) -> host::Result<()> {
        netns::ensure(&self.namespace).await?;
        let bridge_exists = Command::new("ip").args(["-n", &self.namespace, "link", "show", BRIDGE]).succeeds().await;
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
        netns::ip_batch(&self.namespace, &[format!("link set {BRIDGE} up")]).await
    }

    async fn nft(&self, script: &str) -> host::Result<()> {
        Command::new("nft").args(["-f", "-"]).input(script).in_netns(&self.namespace).run().await.map(drop)
    }

    fn dnsmasq(&self) -> PidFile {
        PidFile::new(self.paths.pid_file("dnsmasq"))
    }

    /// What dnsmasq reads again at every SIGHUP.
    fn reservations(&self) -> PathBuf {
        self.paths.generated("dhcp-hosts")
    }

    fn names(&self) -> PathBuf {
        self.paths.generated("dns-hosts")
    }

    /// Every reservation that the running dnsmasq has seen. It keeps a lease for ever, and would refuse the address
    /// of a machine that is gone to its successor.
    fn seen(&self) -> PathBuf {
        self.paths.generated("dhcp-seen.json")
    }

    async fn ensure_dnsmasq(&self) -> host::Result<()> {
        if self.dnsmasq().is_alive() {
            return Ok(());
        }
        for file in [self.reservations(), self.names()] {
            if !file.exists() {
                write(&file, "")?;
            }
        }
        let ready = self.paths.generated("dnsmasq-ready");
        let _ = fs::remove_file(&ready);
        let configuration = self.paths.generated("dnsmasq.conf");
        write(&configuration, &self.dnsmasq_configuration(&ready)?)?;
        write_seen(&self.seen(), &reservations_in(&fs::read_to_string(self.reservations()).unwrap_or_default()))?;
        let command = Command::new("dnsmasq")
            .arg("--keep-in-foreground")
            .arg(format!("--conf-file={}", configuration.display()))
            .in_netns(&self.namespace);
        let log = self.paths.log("dnsmasq");
        let dnsmasq = process::spawn(command, &log, &self.paths.pid_file("dnsmasq")).await?;
        // Before it is ready a SIGHUP would end it.
        let deadline = Instant::now() + DNSMASQ_START;
        while !ready.exists() {
            if !dnsmasq.is_alive() || Instant::now() >= deadline {
                return Err(HostError::new("starting dnsmasq", process::tail(&log, 3)));
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    fn dnsmasq_configuration(&self, ready: &Path) -> host::Result<String> {
        let files = [ready.to_owned(), self.reservations(), self.names()].map(|path| path.display().to_string());
        if let Some(path) = files.iter().find(|path| path.contains(['\n', ' ', ','])) {
            return Err(HostError::new("configuring dnsmasq", format!("it cannot use the path `{path}`"))
                .hint("choose a --state-dir without blanks and commas"));
        }
        let [ready, reservations, names] = files;
        let Prefix(first, second) = self.subnet;
        let gateway = self.subnet.gateway();
        Ok(format!(
            "# Generated by localcloud; replaced at every start.\n\
             interface={BRIDGE}\n\
             bind-interfaces\n\
             except-interface=lo\n\
             # The state directory is root's alone, and the files below are read again later.\n\
             user=root\n\
             pid-file={ready}\n\
             dhcp-range={first}.{second}.0.0,static,255.255.0.0,infinite\n\
             dhcp-ignore=tag:!known\n\
             dhcp-hostsfile={reservations}\n\
             dhcp-option=option:router,{gateway}\n\
             dhcp-option=option:dns-server,{resolver}\n\
             dhcp-authoritative\n\
             dhcp-rapid-commit\n\
             no-ping\n\
             log-facility=-\n\
             leasefile-ro\n\
             no-resolv\n\
             no-hosts\n\
             addn-hosts={names}\n\
             # Names that are not local do not exist: there is no one to ask.\n\
             local=/#/\n",
            resolver = firewall::RESOLVER,
        ))
    }

    /// The reservations that the running dnsmasq has seen, by address.
    fn read_seen(&self) -> BTreeMap<Ipv4Addr, String> {
        fs::read(self.seen()).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
    }

    async fn apply_hosts(&self, hosts: &BTreeSet<Host>) -> host::Result<()> {
        let _changing = self.changing.lock().await;
        let mut reservations = String::new();
        let mut names = String::new();
        for Host { mac_address, address, hostname } in hosts {
            reservations.push_str(&format!("{mac_address},{address},{hostname},infinite\n"));
            names.push_str(&format!("{address} {hostname} {hostname}.ec2.internal\n"));
        }
        let old = fs::read_to_string(self.reservations()).unwrap_or_default();
        write(&self.reservations(), &reservations)?;
        write(&self.names(), &names)?;
        let seen = self.read_seen();
        if hosts.iter().any(|host| seen.get(&host.address).is_some_and(|mac| *mac != host.mac_address)) {
            self.dnsmasq().stop(DNSMASQ_STOP).await;
        }
        self.ensure_dnsmasq().await?;
        let mut seen = self.read_seen();
        seen.extend(hosts.iter().map(|host| (host.address, host.mac_address.clone())));
        write_seen(&self.seen(), &seen)?;
        if old != reservations
            && let Some(dnsmasq) = self.dnsmasq().process()
        {
            dnsmasq.signal(Signal::HUP);
        }
        self.nft(&firewall::machines(hosts)).await
    }

    async fn apply_balancer_addresses(&self, addresses: &BTreeSet<Ipv4Addr>) -> host::Result<()> {
        let text = Command::new("ip")
            .args(["-n", &self.namespace, "-j", "-4", "address", "show", "dev", BRIDGE])
            .run()
            .await?;
        let present = addresses_of(&text)?;
        let own: Vec<Ipv4Addr> = self.own_addresses().iter().map(|(address, _)| *address).collect();
        let stale = present.iter().filter(|address| !addresses.contains(address) && !own.contains(address));
        let missing = addresses.iter().filter(|address| !present.contains(address));
        let commands: Vec<String> = stale
            .map(|address| format!("address delete {address}/32 dev {BRIDGE}"))
            .chain(missing.map(|address| format!("address replace {address}/32 dev {BRIDGE}")))
            .collect();
        netns::ip_batch(&self.namespace, &commands).await
    }

    async fn remove(&self) -> host::Result<()> {
        self.dnsmasq().stop(DNSMASQ_STOP).await;
        for generated in [self.seen(), self.paths.generated("dnsmasq-ready")] {
            let _ = fs::remove_file(generated);
        }
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
    async fn start(&self) -> Result<()> {
        let _changing = self.changing.lock().await;
        let failed = DriverError::while_doing("starting the network");
        self.lay_out().await.map_err(&failed)?;
        self.ensure_dnsmasq().await.map_err(&failed)
    }

    async fn set_hosts(&self, hosts: &BTreeSet<Host>) -> Result<()> {
        self.apply_hosts(hosts).await.map_err(DriverError::while_doing("announcing the machines"))
    }

    async fn set_rules(&self, rules: &BTreeSet<AllowRule>) -> Result<()> {
        let script = firewall::rules(rules)?;
        self.nft(&script).await.map_err(DriverError::while_doing("setting the firewall"))
    }

    async fn set_balancer_addresses(&self, addresses: &BTreeSet<Ipv4Addr>) -> Result<()> {
        self.apply_balancer_addresses(addresses)
            .await
            .map_err(DriverError::while_doing("giving load balancers addresses"))
    }

    async fn stop(&self) -> Result<()> {
        let _changing = self.changing.lock().await;
        self.remove().await.map_err(DriverError::while_doing("stopping the network"))
    }
}

fn write(path: &Path, text: &str) -> host::Result<()> {
    file::replace(path, text).map_err(|error| HostError::new(format!("writing {}", path.display()), error))
}

fn write_seen(path: &Path, seen: &BTreeMap<Ipv4Addr, String>) -> host::Result<()> {
    let text = serde_json::to_string(seen).map_err(|error| HostError::new("writing the reservations", error))?;
    write(path, &text)
}

/// Hardware addresses by address, from the lines `MAC,ADDRESS,NAME,infinite`.
fn reservations_in(text: &str) -> BTreeMap<Ipv4Addr, String> {
    let fields = text.lines().map(|line| line.split(',').collect::<Vec<_>>());
    fields.filter_map(|fields| Some((fields.get(1)?.parse().ok()?, (*fields.first()?).to_owned()))).collect()
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

    #[test]
    fn a_path_that_dnsmasq_would_misread_is_refused() {
        let paths = Paths::new(Path::new("/var/lib/my cloud"));
        let network = NamespaceNetwork::new(paths, Prefix(10, 77), 8773);
        let error = network.dnsmasq_configuration(&network.paths.generated("dnsmasq-ready")).unwrap_err();
        assert!(error.hint.unwrap().contains("--state-dir"));
    }
}
