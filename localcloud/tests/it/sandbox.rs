//! A cloud's ground for one test: a state directory, and with it a network namespace and control groups, that no other
//! test has. It is cleared when the test ends, and, where the test was killed, by the next one.

use std::{
    collections::BTreeSet,
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use localcloud::{
    config::{Config, Prefix},
    drivers::{
        Host, InstanceDriver as _, InstanceSpec, NetworkDriver as _, NetworkPlan, VolumeDriver as _,
        loop_volume::LoopVolumes, network::NamespaceNetwork, nspawn::NspawnDriver,
    },
    host::{cgroup::Cgroup, command::Command, mount, netns, process::ProcessId},
    image,
    paths::Paths,
};

const SUBNET: Prefix = Prefix(10, 77);
const API_PORT: u16 = 8773;

/// A network of these machines, all in the group `sg-all`, which lets nothing in.
pub(crate) fn announced(specs: &[&InstanceSpec]) -> NetworkPlan {
    let host = |spec: &&InstanceSpec| Host {
        mac_address: spec.mac_address.clone(),
        address: spec.private_ip,
        hostname: spec.hostname.clone(),
        groups: BTreeSet::from(["sg-all".to_owned()]),
    };
    let hosts = specs.iter().map(|spec| (spec.private_ip, host(spec))).collect();
    NetworkPlan { hosts, ..NetworkPlan::default() }
}

/// Says why and returns true where a test cannot run for want of root.
pub(crate) fn skipped(test: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("SKIPPED {test}: namespaces, mounts and loop devices need root");
    }
    !root
}

/// One cloud's ground.
pub(crate) struct Sandbox {
    root: PathBuf,
    pub paths: Paths,
    pub instances: NspawnDriver,
    pub volumes: LoopVolumes,
    pub network: NamespaceNetwork,
}

impl Sandbox {
    pub(crate) async fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let ground = ground();
        fs::create_dir_all(&ground).unwrap();
        sweep(&ground).await;
        let me = ProcessId::of(std::process::id().cast_signed()).unwrap();
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let root = ground.join(format!("{}-{}-{count}", me.pid, me.start_time));
        fs::create_dir_all(&root).unwrap();
        Self::at(root)
    }

    fn at(root: PathBuf) -> Self {
        let paths = Paths::new(&root);
        Self {
            instances: NspawnDriver::new(paths.clone()),
            volumes: LoopVolumes::new(paths.clone()),
            network: NamespaceNetwork::new(paths.clone(), SUBNET, API_PORT),
            paths,
            root,
        }
    }

    /// The same drivers as another process would make them.
    pub(crate) fn after_a_restart(&self) -> NspawnDriver {
        NspawnDriver::new(self.paths.clone())
    }

    /// A small machine, the n-th of the subnet.
    pub(crate) async fn spec(&self, n: u8) -> InstanceSpec {
        let address = SUBNET.address(0, n);
        InstanceSpec {
            id: format!("i-{:08x}{n:09x}", std::process::id()),
            image_root: image_root().await,
            hostname: format!("ip-10-77-0-{n}"),
            mac_address: format!("02:00:0a:4d:00:{n:02x}"),
            private_ip: address,
            vcpus: 1,
            memory_mib: 512,
        }
    }

    /// Runs a command inside the guest and returns what it says.
    pub(crate) async fn in_guest(&self, id: &str, command: &str) -> Result<String, String> {
        let leader = self.instances.first_process(id).ok_or("the guest does not run")?;
        let enter = ["-t".to_owned(), leader.to_string(), "--all".to_owned(), "--".to_owned()];
        let run = Command::new("nsenter").args(enter).args(["sh", "-c", command]).run().await;
        run.map_err(|error| error.to_string())
    }

    /// Waits until the command succeeds in the guest.
    pub(crate) async fn eventually_in_guest(&self, id: &str, command: &str) -> String {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            match self.in_guest(id, command).await {
                Ok(said) => return said,
                Err(error) if Instant::now() > deadline => {
                    let console = String::from_utf8_lossy(&self.instances.console_output(id)).into_owned();
                    panic!("`{command}` in {id}: {error}\n{console}");
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    /// Waits until the guest has its address.
    pub(crate) async fn wait_for_lease(&self, id: &str, address: Ipv4Addr) {
        self.eventually_in_guest(id, &format!("ip -4 address show dev host0 | grep -q 'inet {address}/16'")).await;
    }

    /// Whatever exists of the machine outside its directory, in words; empty when nothing does.
    pub(crate) async fn traces(&self, id: &str) -> Vec<String> {
        let name = self.paths.unique_name();
        let mut traces = Vec::new();
        if Cgroup::new(&name, id).exists() {
            traces.push("control group".to_owned());
        }
        let mounts = mount::list("self").into_iter().map(|mount| mount.target.display().to_string());
        traces.extend(mounts.filter(|target| target.contains(id)).map(|target| format!("mount {target}")));
        traces.extend(netns::list(&format!("{name}-{id}")).into_iter().map(|name| format!("namespace {name}")));
        if netns::exists(&name).await {
            let links =
                Command::new("ip").args(["-n", &name, "-o", "link", "show", "type", "veth"]).run().await.unwrap();
            traces.extend(links.lines().map(|line| format!("link {line}")));
        }
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            if String::from_utf8_lossy(&line).contains(&format!("--machine={id}")) {
                traces.push(format!("process {}", entry.file_name().display()));
            }
        }
        for kind in ["propagate", "unix-export"] {
            let path = Path::new("/run/systemd/nspawn").join(kind).join(id);
            if path.exists() {
                traces.push(path.display().to_string());
            }
        }
        traces
    }

    async fn clear(&self) {
        for id in self.instances.list().await.unwrap_or_default() {
            report(self.instances.terminate(&id).await);
        }
        for id in self.volumes.list().await.unwrap_or_default() {
            report(self.volumes.delete(&id).await);
        }
        report(self.network.stop().await);
        let _ = mount::unmount_below(&self.root);
        let _ = fs::remove_dir_all(&self.root);
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // A test that failed is dropped inside its own runtime, where nothing may block; a thread has none.
        let root = self.root.clone();
        let clear = std::thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.block_on(Self::at_for_clearing(&root));
        });
        let _ = clear.join();
    }
}

impl Sandbox {
    async fn at_for_clearing(root: &Path) {
        // Never dropped: its drop would clear again.
        std::mem::ManuallyDrop::new(Self::at(root.to_owned())).clear().await;
    }
}

fn report<E: std::fmt::Display>(result: Result<(), E>) {
    if let Err(error) = result {
        eprintln!("clearing up: {error}");
    }
}

fn ground() -> PathBuf {
    std::env::temp_dir().join("localcloud-tests")
}

/// Clears what killed tests have left.
async fn sweep(ground: &Path) {
    let lock = fs::File::create(ground.join("sweep.lock")).unwrap();
    let lock = tokio::task::spawn_blocking(move || lock.lock().map(|()| lock)).await.unwrap().unwrap();
    for entry in fs::read_dir(ground).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap_or_default();
        let Some((pid, rest)) = name.split_once('-') else { continue };
        let Some((start_time, _)) = rest.split_once('-') else { continue };
        let (Ok(pid), Ok(start_time)) = (pid.parse(), start_time.parse()) else { continue };
        if !(ProcessId { pid, start_time }).is_alive() {
            Sandbox::at_for_clearing(&entry.path()).await;
        }
    }
    drop(lock);
}

/// The image of this program's recipe, built once for all tests in the user's own cache.
async fn image_root() -> PathBuf {
    let cache_dir =
        std::env::var_os("LOCALCLOUD_CACHE_DIR").map_or_else(|| "/var/cache/localcloud".into(), PathBuf::from);
    let config = Config {
        state_dir: ground(),
        cache_dir,
        port: API_PORT,
        subnet: SUBNET,
        public_subnet: Prefix(127, 77),
        instance_limit: 40,
        zones: 2,
    };
    image::build(&config, &image::BuildOptions::default()).await.unwrap().root
}
