//! The traits behind which the world is changed. Every method is idempotent, as a killed daemon repeats its last
//! step. Drivers know no records: reconcilers hand them plain data. `drivers` must not import `store` or `api`.

/// Working stand-ins without containers or networks, for tests of everything above the drivers.
pub mod fake;
/// nftables rules from security groups.
pub mod firewall;
/// HAProxy: load balancers, and every door between host and namespace.
pub mod haproxy;
/// Volumes as sparse files on loop devices.
pub mod loop_volume;
/// The network namespace: bridge, DHCP and firewall.
pub mod network;
/// Instances as systemd-nspawn system containers.
pub mod nspawn;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;

use crate::host::HostError;

/// Why a driver could not do what it was asked: what it was doing, and the cause.
#[derive(Debug, thiserror::Error)]
#[error("{doing}: {cause}{}", hint.as_deref().map(|h| format!(" (hint: {h})")).unwrap_or_default())]
pub struct DriverError {
    /// Gerund, noun and id: `attaching vol-1 to i-2`.
    pub doing: String,
    pub cause: String,
    pub hint: Option<String>,
}

impl DriverError {
    pub fn new(doing: impl Into<String>, cause: impl std::fmt::Display) -> Self {
        Self { doing: doing.into(), cause: cause.to_string(), hint: None }
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// What turns the host's errors into this driver's: `.map_err(DriverError::while_doing("closing vol-1"))`.
    pub fn while_doing(doing: impl Into<String>) -> impl Fn(HostError) -> Self {
        let doing = doing.into();
        move |error| Self { doing: doing.clone(), cause: error.message, hint: error.hint }
    }
}

pub type Result<T> = std::result::Result<T, DriverError>;

/// All that the reconcilers act through.
#[derive(Clone)]
pub struct Drivers {
    pub instances: Arc<dyn InstanceDriver>,
    pub volumes: Arc<dyn VolumeDriver>,
    pub network: Arc<dyn NetworkDriver>,
    pub proxy: Arc<dyn ProxyDriver>,
}

/// What an instance is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceSpec {
    /// `i-…`
    pub id: String,
    /// The read-only tree it boots from.
    pub image_root: PathBuf,
    /// As in `ip-10-77-0-11`.
    pub hostname: String,
    /// Colon-separated, lower case; the DHCP reservation goes by it.
    pub mac_address: String,
    pub private_ip: Ipv4Addr,
    pub vcpus: u32,
    pub memory_mib: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inspected {
    /// Nothing of it exists: no process, no disk.
    Absent,
    Running,
    /// Its disk is there, its processes are not.
    Stopped,
}

/// What was moved: bytes, in so many packets or operations.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Transfer {
    pub bytes: u64,
    pub count: u64,
}

/// What an instance has used. Counters only grow, and start anew with its next launch. `None` is what this machine does
/// not count, which is not zero.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    pub cpu_nanos: Option<u64>,
    /// Through its interface, as the instance sees it.
    pub received: Option<Transfer>,
    pub sent: Option<Transfer>,
    /// From and to its root disk.
    pub read: Option<Transfer>,
    pub written: Option<Transfer>,
}

/// What was done with an open volume. Counters only grow, and start anew when it is opened again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct VolumeUsage {
    pub read: Transfer,
    pub written: Transfer,
    /// Time that all reads, all writes took together.
    pub read_millis: u64,
    pub write_millis: u64,
    /// Time in which at least one operation was under way.
    pub busy_millis: u64,
    /// Time, multiplied by the number of operations under way.
    pub queued_millis: u64,
}

/// Runs instances somewhere. `inspect` is the only source of truth about what runs.
#[async_trait]
pub trait InstanceDriver: Send + Sync {
    /// Starts the instance, from its kept disk if it has one. Already running is success. Returns once it is
    /// starting; it outlives the daemon.
    async fn launch(&self, spec: &InstanceSpec) -> Result<()>;
    async fn inspect(&self, id: &str) -> Result<Inspected>;
    /// Shuts it down in order, then by force after the limit; keeps its disk.
    async fn stop(&self, id: &str) -> Result<()>;
    /// Stops it by force and removes its disk. Already gone is success.
    async fn terminate(&self, id: &str) -> Result<()>;
    /// Makes the host's block device appear in the guest as `device` (`/dev/vdf`).
    async fn attach(&self, id: &str, device: &str, volume_id: &str, block_device: &Path) -> Result<()>;
    /// Takes the device from the guest. Refuses while the guest has it mounted, unless `force`.
    async fn detach(&self, id: &str, device: &str, volume_id: &str, force: bool) -> Result<()>;
    /// The newest part of the console, at most 64 KiB.
    fn console_output(&self, id: &str) -> Vec<u8>;
    /// What those of these instances that run have used so far.
    async fn usage(&self, ids: &BTreeSet<String>) -> Result<BTreeMap<String, Usage>>;
    /// Every instance of which something exists, running or not.
    async fn list(&self) -> Result<BTreeSet<String>>;
}

/// Keeps volumes.
#[async_trait]
pub trait VolumeDriver: Send + Sync {
    async fn create(&self, id: &str, size_gib: u32) -> Result<()>;
    /// Makes a block device of it and returns its path; the same path while it stays open.
    async fn open(&self, id: &str) -> Result<PathBuf>;
    /// Gives the block device back. Not open is success.
    async fn close(&self, id: &str) -> Result<()>;
    /// Closes it and removes its bytes. Already gone is success.
    async fn delete(&self, id: &str) -> Result<()>;
    /// What was done so far with those of these volumes that are open.
    async fn usage(&self, ids: &BTreeSet<String>) -> Result<BTreeMap<String, VolumeUsage>>;
    async fn list(&self) -> Result<BTreeSet<String>>;
}

/// One machine on the network.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Host {
    pub mac_address: String,
    pub address: Ipv4Addr,
    pub hostname: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    Tcp,
    Udp,
    Icmp,
    Any,
}

/// Traffic that is let in; all else to a machine is dropped. Answers to what is let in pass.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct AllowRule {
    /// The machines that it lets traffic into.
    pub to: BTreeSet<Ipv4Addr>,
    pub protocol: Protocol,
    /// Inclusive; `None` for all ports.
    pub ports: Option<(u16, u16)>,
    /// CIDR blocks (`0.0.0.0/0`, `10.77.0.5/32`).
    pub from: BTreeSet<String>,
}

/// The cloud's own network: nothing of it exists in the host's namespace.
#[async_trait]
pub trait NetworkDriver: Send + Sync {
    /// Namespace, bridge, addresses, DHCP server, firewall with nothing allowed. Mends what is missing.
    async fn start(&self) -> Result<()>;
    /// The complete set of machines that get a lease.
    async fn set_hosts(&self, hosts: &BTreeSet<Host>) -> Result<()>;
    /// The complete set of what is allowed; replaced in one step, so that no packet sees half of it.
    async fn set_rules(&self, rules: &BTreeSet<AllowRule>) -> Result<()>;
    /// The complete set of load balancers' own addresses on the bridge.
    async fn set_balancer_addresses(&self, addresses: &BTreeSet<Ipv4Addr>) -> Result<()>;
    /// Removes all of it.
    async fn stop(&self) -> Result<()>;
}

/// Everything that the one proxy process does, as it should be now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProxyPlan {
    pub balancers: Vec<Balancer>,
    pub public_ports: Vec<PublicPort>,
}

/// A load balancer as HAProxy needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Balancer {
    pub name: String,
    pub dns_name: String,
    /// Its own address on the bridge: back-end connections and health checks come from it.
    pub source: Ipv4Addr,
    pub listeners: Vec<BalancerListener>,
    pub health_check: BalancerHealthCheck,
    pub backends: Vec<BalancerBackend>,
    pub idle_timeout_secs: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BalancerProtocol {
    Http,
    Tcp,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BalancerListener {
    pub protocol: BalancerProtocol,
    pub port: u16,
    pub instance_protocol: BalancerProtocol,
    pub instance_port: u16,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BalancerHealthCheck {
    /// `HTTP:80/healthz`, `TCP:80` as in ELB's HealthCheck.Target.
    pub target: String,
    pub interval_secs: u32,
    pub timeout_secs: u32,
    pub healthy_threshold: u32,
    pub unhealthy_threshold: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BalancerBackend {
    pub instance_id: String,
    pub address: Ipv4Addr,
    /// No new connections; the old ones end by themselves.
    pub draining: bool,
}

/// One port of an instance, reachable at its public address on loopback.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PublicPort {
    pub public_address: Ipv4Addr,
    pub port: u16,
    pub private_address: Ipv4Addr,
}

/// How one back end of one balancer is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackendStatus {
    pub balancer: String,
    pub instance_id: String,
    /// `None` until the first check has ended.
    pub healthy: Option<bool>,
    /// What the last check saw, in words.
    pub last_check: String,
    pub current_sessions: u64,
}

/// Carries traffic between host and namespace. It goes on serving while the daemon is away.
#[async_trait]
pub trait ProxyDriver: Send + Sync {
    /// Brings the proxy to the plan, without dropping a connection. Starts it if it does not run.
    async fn apply(&self, plan: &ProxyPlan) -> Result<()>;
    async fn status(&self) -> Result<Vec<BackendStatus>>;
    async fn stop(&self) -> Result<()>;
}
