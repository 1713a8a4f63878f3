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
/// What a network is told: all, or what has changed.
pub mod network_plan;
/// Instances as systemd-nspawn system containers.
pub mod nspawn;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;

pub use self::network_plan::{AllowRule, Change, Host, NetworkChange, NetworkPlan, Protocol, Source};
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

/// What thaws when it is dropped.
pub type Frozen = Box<dyn std::any::Any + Send>;

/// Is told how far something is, in percent.
pub type Report = Arc<dyn Fn(u8) + Send + Sync>;
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
    /// Why a guest that ended by itself could not boot, where that is known.
    async fn failure(&self, id: &str) -> Option<DriverError>;
    /// Shuts it down in order, then by force after the limit; keeps its disk.
    async fn stop(&self, id: &str) -> Result<()>;
    /// Stops it by force and removes its disk. Already gone is success.
    async fn terminate(&self, id: &str) -> Result<()>;
    /// Makes the host's block device appear in the guest as `device` (`/dev/vdf`).
    async fn attach(&self, id: &str, device: &str, volume_id: &str, block_device: &Path) -> Result<()>;
    /// Takes the device from the guest. Refuses while the guest has it mounted, unless `force`.
    async fn detach(&self, id: &str, device: &str, volume_id: &str, force: bool) -> Result<()>;
    /// Keeps the guest's file systems on the volume still, with all that was written on disk, until what it returns is
    /// dropped or this process dies. Without a mounted one there is nothing to keep still.
    async fn freeze(&self, id: &str, volume_id: &str) -> Result<Option<Frozen>>;
    /// Makes a tree of its own out of the instance's disk: what `image_root` has, with what the instance has changed,
    /// without what makes it this instance. A tree that is there is whole, and kept.
    async fn capture(&self, id: &str, image_root: &Path, tree: &Path) -> Result<()>;
    /// A tree with the same files. One that is there is whole, and kept.
    async fn copy_tree(&self, from: &Path, to: &Path) -> Result<()>;
    /// Already gone is success. No instance may have booted from it.
    async fn remove_tree(&self, tree: &Path) -> Result<()>;
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
    /// Makes it larger, also while it is open. As large already is success.
    async fn grow(&self, id: &str, size_gib: u32) -> Result<()>;
    /// Copies the volume's bytes as they are now. A snapshot that is there is whole, and kept.
    async fn snapshot(&self, id: &str, snapshot_id: &str, report: Report) -> Result<()>;
    /// Creates a volume with a snapshot's bytes at its beginning. One that is there is whole, and kept.
    async fn restore(&self, id: &str, size_gib: u32, snapshot_id: &str) -> Result<()>;
    async fn copy_snapshot(&self, from: &str, to: &str, report: Report) -> Result<()>;
    /// Already gone is success.
    async fn delete_snapshot(&self, snapshot_id: &str) -> Result<()>;
    async fn list(&self) -> Result<BTreeSet<String>>;
}

/// The cloud's own network: nothing of it exists in the host's namespace.
#[async_trait]
pub trait NetworkDriver: Send + Sync {
    /// Namespace, bridge, addresses, DHCP server, firewall with nothing allowed. Mends what is missing, and tells whether
    /// anything was: then all is to be told anew.
    async fn start(&self) -> Result<bool>;
    /// All that there is to be; what is not in it goes. No packet sees half of the firewall.
    async fn set(&self, plan: &NetworkPlan) -> Result<()>;
    /// What is to be another way than it was told last, and nothing else. Should this fail, all is to be told anew.
    async fn change(&self, change: &NetworkChange) -> Result<()>;
    /// Removes all of it.
    async fn stop(&self) -> Result<()>;
}

/// Everything that the one proxy process does, as it should be now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProxyPlan {
    /// By name. One that has not changed is the same as in the plan before, so that nobody has to look into it.
    pub balancers: Vec<Arc<Balancer>>,
    pub public_ports: BTreeSet<PublicPort>,
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
    /// Ports of the instances that are told the client's address by the PROXY protocol.
    pub proxy_protocol_ports: BTreeSet<u16>,
    pub malformed_requests: MalformedRequests,
}

/// What becomes of requests that are not wholly as HTTP wants them (`elb.http.desyncmitigationmode`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MalformedRequests {
    /// They pass.
    Pass,
    /// Those that back ends could read differently are refused.
    #[default]
    RefuseAmbiguous,
    /// Header names with unusual characters are refused as well.
    Refuse,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum BalancerProtocol {
    Http,
    Https,
    Tcp,
    Ssl,
}

impl BalancerProtocol {
    #[must_use]
    pub fn is_http(self) -> bool {
        matches!(self, Self::Http | Self::Https)
    }

    #[must_use]
    pub fn is_encrypted(self) -> bool {
        matches!(self, Self::Https | Self::Ssl)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BalancerListener {
    pub protocol: BalancerProtocol,
    pub port: u16,
    pub instance_protocol: BalancerProtocol,
    pub instance_port: u16,
    /// For `Https` and `Ssl`.
    pub encryption: Option<Encryption>,
    /// For `Http` and `Https`.
    pub stickiness: Option<Stickiness>,
}

/// How a listener proves who it is, and what it speaks with clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encryption {
    pub certificate: Pem,
    /// `TLSv1.0` to `TLSv1.2`
    pub oldest_version: String,
    pub newest_version: String,
    /// In OpenSSL's words, in the order of preference.
    pub ciphers: Vec<String>,
    /// Whether the order above decides, and not the client's.
    pub server_order: bool,
}

/// Certificate, chain and private key as one text; never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Pem(pub String);

impl std::fmt::Debug for Pem {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Pem(..)")
    }
}

/// What binds a client to one instance.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stickiness {
    /// The balancer's own cookie; without an age it ends with the browser.
    Balancer { expires_secs: Option<u64> },
    /// As long as the application's cookie of this name is there.
    Application { cookie: String },
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
    /// Of new connections it gets so many beside the others, 1 to 256.
    pub weight: u32,
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
    /// Whether the last check passed. It takes several to change the state above.
    pub passing: bool,
    /// What the last check saw, in words.
    pub last_check: String,
    pub current_sessions: u64,
}

/// A request that a balancer has brought to its end, or a connection of a TCP or SSL listener.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct BalancerRequest {
    pub balancer: String,
    pub is_http: bool,
    /// Of the listener.
    pub port: u16,
    /// Microseconds since the epoch.
    pub begin_micros: i64,
    pub end_micros: i64,
    /// `ADDRESS:PORT`
    pub client: String,
    /// `ADDRESS:PORT` of the instance that it was sent to.
    pub instance: Option<String>,
    /// Until it was sent, until the answer began, until the answer's end. HTTP: `None` without an answer. TCP: `None`
    /// without a connection to an instance.
    pub times_micros: Option<(u64, u64, u64)>,
    /// What the client was answered; `None` for TCP, and if it went away before.
    pub status: Option<u16>,
    /// What the instance answered.
    pub instance_status: Option<u16>,
    /// HTTP: bodies only.
    pub received_bytes: u64,
    pub sent_bytes: u64,
    /// Attempts to connect to an instance that failed.
    pub connection_errors: u32,
    /// How many waited for an instance when it did, itself included; 0 if it did not wait.
    pub queued: u32,
    /// It waited too long and was refused.
    pub is_spilled: bool,
    pub method: String,
    pub uri: String,
    pub version: String,
    pub host: Option<String>,
    pub user_agent: Option<String>,
    pub cipher: Option<String>,
    pub tls_version: Option<String>,
}

/// Requests that have ended, in about the order in which they did.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EndedRequests {
    pub requests: Vec<BalancerRequest>,
    /// Up to where they are known now, for [`ProxyDriver::forget_requests`].
    pub position: u64,
    /// There are more.
    pub is_truncated: bool,
}

/// Carries traffic between host and namespace. It goes on serving while the daemon is away.
#[async_trait]
pub trait ProxyDriver: Send + Sync {
    /// Brings the proxy to the plan, without dropping a connection. Starts it if it does not run.
    async fn apply(&self, plan: &ProxyPlan) -> Result<()>;
    async fn status(&self) -> Result<Vec<BackendStatus>>;
    /// The oldest of the ended requests that are not forgotten, also those of while the daemon was away.
    async fn ended_requests(&self) -> Result<EndedRequests>;
    /// They are taken care of, up to this position.
    async fn forget_requests(&self, position: u64) -> Result<()>;
    async fn stop(&self) -> Result<()>;
}
