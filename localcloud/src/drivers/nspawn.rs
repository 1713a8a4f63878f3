//! Instances as systemd-nspawn system containers: a writable overlay of the image's tree, a network namespace with one
//! interface on the cloud's bridge, a control group. The control group is the truth about what runs: it is there as
//! long as the machine is, whichever daemon started it.
//!
//! `instances/ID/{upper,work}` is the kept disk, `root` where it is mounted, `console.log` the console.

mod console;
mod freezing;
mod guest_device;
mod tree;
mod usage;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use rustix::process::Signal;

use self::guest_device::GuestDevice;
use super::{DriverError, Frozen, Inspected, InstanceDriver, InstanceSpec, Result, Usage, network::BRIDGE};
use crate::{
    host::{
        self, HostError,
        cgroup::{Cgroup, Limits},
        command::Command,
        file, inotify, mount, netns,
        process::{self, PidFile, ProcessId},
    },
    paths::Paths,
};

const LAUNCHER: &str = include_str!("nspawn/launcher.sh");
/// How long a guest may take to shut down in order.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(30);
/// How long killed processes may take to be gone.
const KILL_LIMIT: Duration = Duration::from_secs(10);
/// How long nspawn may take until the guest's first process exists.
const START_LIMIT: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(5);
/// SIGRTMIN+4: systemd's signal for `poweroff.target`. glibc's SIGRTMIN is 34.
const POWER_OFF: &str = "38";

/// Runs instances as containers on this machine.
pub struct NspawnDriver {
    paths: Paths,
    /// One change at a time for each instance.
    locks: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
    /// The first process of each guest whose devices are known to be in place. A guest that has rebooted has another.
    equipped: Mutex<HashMap<String, ProcessId>>,
}

impl NspawnDriver {
    #[must_use]
    pub fn new(paths: Paths) -> Self {
        Self { paths, locks: Mutex::default(), equipped: Mutex::default() }
    }

    /// The guest's first process as the host numbers it: by it the guest's namespaces are entered.
    #[must_use]
    pub fn first_process(&self, id: &str) -> Option<i32> {
        self.machine(id).leader().map(|leader| leader.pid)
    }

    fn machine(&self, id: &str) -> Machine {
        Machine::new(&self.paths, id)
    }

    async fn lock(&self, id: &str) -> tokio::sync::OwnedMutexGuard<()> {
        let lock = {
            let mut locks = self.locks.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            Arc::clone(locks.entry(id.to_owned()).or_default())
        };
        lock.lock_owned().await
    }

    fn forget(&self, id: &str) {
        self.equipped.lock().unwrap_or_else(std::sync::PoisonError::into_inner).remove(id);
    }

    /// A guest's `/dev` is new after each of its reboots: what was attached is made again.
    fn equip(&self, machine: &Machine) {
        let Some(leader) = machine.leader() else { return };
        let mut equipped = self.equipped.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if equipped.get(&machine.id) == Some(&leader) {
            return;
        }
        let mut whole = true;
        for device in machine.attachments() {
            if let Err(error) = device.expose(leader.pid) {
                tracing::warn!("{}: {error}", machine.id);
                whole = false;
            }
        }
        if whole {
            equipped.insert(machine.id.clone(), leader);
        }
    }
}

#[async_trait]
impl InstanceDriver for NspawnDriver {
    async fn launch(&self, spec: &InstanceSpec) -> Result<()> {
        let _lock = self.lock(&spec.id).await;
        let machine = self.machine(&spec.id);
        let failed = DriverError::while_doing(format!("launching {}", spec.id));
        if machine.is_running() {
            return Ok(());
        }
        // A guest that gets none ends before it has begun, and says so on its console only.
        inotify::ensure(inotify::OF_A_GUEST).map_err(&failed)?;
        machine.release().await.map_err(&failed)?;
        // Which volumes are attached is for the caller to say at each launch: the devices may be others by now.
        let _ = fs::remove_dir_all(machine.attachments_directory());
        match machine.start(spec).await {
            Ok(()) => Ok(()),
            Err(error) => {
                let _ = machine.kill().await;
                let _ = machine.release().await;
                Err(failed(error))
            }
        }
    }

    async fn inspect(&self, id: &str) -> Result<Inspected> {
        let machine = self.machine(id);
        if machine.is_running() {
            console::bound(&machine.console());
            self.equip(&machine);
            Ok(Inspected::Running)
        } else if machine.directory.exists() {
            Ok(Inspected::Stopped)
        } else {
            Ok(Inspected::Absent)
        }
    }

    async fn failure(&self, id: &str) -> Option<DriverError> {
        let console = console::newest(&self.machine(id).console());
        let text = String::from_utf8_lossy(&console);
        // What boots of before have said is on it as well.
        let boot = text.rfind("running in system mode").map_or(&*text, |at| &text[at..]);
        let complaint = inotify::complaint(boot)?;
        let shortage = inotify::shortage(Path::new("/proc"), inotify::OF_A_GUEST);
        let error = DriverError::new(format!("booting {id}"), format!("{complaint}; {}", shortage.message));
        Some(DriverError { hint: shortage.hint, ..error })
    }

    async fn stop(&self, id: &str) -> Result<()> {
        let _lock = self.lock(id).await;
        let machine = self.machine(id);
        let failed = DriverError::while_doing(format!("stopping {id}"));
        machine.shut_down().await;
        machine.kill().await.map_err(&failed)?;
        self.forget(id);
        // The overlay is volatile: what the guest has synced is on disk from here on.
        let upper = machine.directory.join("upper");
        let _ = tokio::task::spawn_blocking(move || mount::sync(&upper)).await;
        machine.release().await.map_err(&failed)
    }

    async fn terminate(&self, id: &str) -> Result<()> {
        let _lock = self.lock(id).await;
        let machine = self.machine(id);
        let failed = DriverError::while_doing(format!("terminating {id}"));
        machine.kill().await.map_err(&failed)?;
        self.forget(id);
        machine.release().await.map_err(&failed)?;
        let directory = machine.directory.clone();
        let removed = tokio::task::spawn_blocking(move || fs::remove_dir_all(directory)).await;
        match removed {
            Ok(Err(error)) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(DriverError::new(format!("terminating {id}"), format!("removing its disk: {error}")))
            }
            Err(error) => Err(DriverError::new(format!("terminating {id}"), error)),
            Ok(_) => Ok(()),
        }
    }

    async fn attach(&self, id: &str, device: &str, volume_id: &str, block_device: &Path) -> Result<()> {
        let _lock = self.lock(id).await;
        let doing = format!("attaching {volume_id} to {id} as {device}");
        let machine = self.machine(id);
        let Some(leader) = machine.leader() else { return Err(DriverError::new(doing, "the instance does not run")) };
        let attachment = GuestDevice {
            device: device.to_owned(),
            volume_id: volume_id.to_owned(),
            block_device: block_device.to_owned(),
        };
        let failed = DriverError::while_doing(doing);
        attachment.expose(leader.pid).map_err(&failed)?;
        machine.note(&attachment).map_err(&failed)
    }

    async fn detach(&self, id: &str, device: &str, volume_id: &str, force: bool) -> Result<()> {
        let _lock = self.lock(id).await;
        let doing = format!("detaching {volume_id} from {id}");
        let machine = self.machine(id);
        let known =
            machine.attachments().into_iter().find(|known| known.volume_id == volume_id && known.device == device);
        let Some(attachment) = known else { return Ok(()) };
        let failed = DriverError::while_doing(doing.clone());
        if let Some(leader) = machine.leader() {
            let mounted = attachment.mounted_at(&machine.cgroup.processes());
            if !mounted.is_empty() && !force {
                let places: Vec<String> = mounted.iter().map(|path| path.display().to_string()).collect();
                return Err(DriverError::new(doing, format!("the guest has it mounted at {}", places.join(", ")))
                    .hint("unmount it in the guest first, or detach by force"));
            }
            if !mounted.is_empty() {
                attachment.unmount(leader.pid, &mounted).await.map_err(&failed)?;
            }
            attachment.withdraw(leader.pid).map_err(&failed)?;
        }
        machine.forget(&attachment).map_err(&failed)
    }

    async fn freeze(&self, id: &str, volume_id: &str) -> Result<Option<Frozen>> {
        let machine = self.machine(id);
        let known = machine.attachments().into_iter().find(|known| known.volume_id == volume_id);
        let Some(attachment) = known.filter(|_| machine.is_running()) else { return Ok(None) };
        let Some(directory) = attachment.mounted_directory(&machine.cgroup.processes()) else { return Ok(None) };
        let marker = machine.directory.join(format!("frozen-{volume_id}"));
        let frozen = freezing::freeze(directory, &marker).await;
        frozen.map(Some).map_err(DriverError::while_doing(format!("freezing {volume_id} in {id}")))
    }

    async fn capture(&self, id: &str, image_root: &Path, tree: &Path) -> Result<()> {
        let failed = DriverError::while_doing(format!("making an image of {id}"));
        tree::capture(image_root, &self.machine(id).directory.join("upper"), tree).await.map_err(failed)
    }

    async fn copy_tree(&self, from: &Path, to: &Path) -> Result<()> {
        tree::copy(from, to).await.map_err(DriverError::while_doing(format!("copying {}", from.display())))
    }

    async fn remove_tree(&self, tree: &Path) -> Result<()> {
        tree::remove(tree).await.map_err(DriverError::while_doing(format!("removing {}", tree.display())))
    }

    fn console_output(&self, id: &str) -> Vec<u8> {
        console::newest(&self.machine(id).console())
    }

    async fn usage(&self, ids: &BTreeSet<String>) -> Result<BTreeMap<String, Usage>> {
        let (paths, ids) = (self.paths.clone(), ids.clone());
        let read = tokio::task::spawn_blocking(move || usage::of(&paths, &ids)).await;
        read.map_err(|error| DriverError::new("reading what instances use", error))
    }

    async fn list(&self) -> Result<BTreeSet<String>> {
        let directory = self.paths.instances();
        let doing = || format!("listing {}", directory.display());
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
            Err(error) => return Err(DriverError::new(doing(), error)),
        };
        entries
            .map(|entry| Ok(entry.map_err(|error| DriverError::new(doing(), error))?.file_name().into_string()))
            .filter_map(|name| name.map(std::result::Result::ok).transpose())
            .collect()
    }
}

/// One instance's names on this machine.
struct Machine {
    id: String,
    directory: PathBuf,
    /// The cloud's network namespace, where the bridge is.
    cloud: String,
    /// The guest's own network namespace. It is made before the guest, as the interface in it must have a name and a
    /// hardware address that nspawn gives no say in.
    namespace: String,
    /// The interface's other end, on the bridge.
    port: String,
    cgroup: Cgroup,
}

impl Machine {
    fn new(paths: &Paths, id: &str) -> Self {
        let cloud = paths.unique_name();
        Self {
            id: id.to_owned(),
            directory: paths.instance(id),
            namespace: format!("{cloud}-{id}"),
            port: port_name(id),
            cgroup: Cgroup::new(&cloud, id),
            cloud,
        }
    }

    fn root(&self) -> PathBuf {
        self.directory.join("root")
    }

    fn work(&self) -> PathBuf {
        self.directory.join("work")
    }

    fn console(&self) -> PathBuf {
        self.directory.join("console.log")
    }

    fn launcher(&self) -> PidFile {
        PidFile::new(self.directory.join("launcher.pid"))
    }

    fn is_running(&self) -> bool {
        // Between its start and its entry into the group the launcher is known by its pid file alone.
        self.cgroup.is_populated() || self.launcher().is_alive()
    }

    async fn kill(&self) -> host::Result<()> {
        if let Some(launcher) = self.launcher().process() {
            launcher.signal(Signal::KILL);
            launcher.wait(KILL_LIMIT).await;
        }
        self.cgroup.kill(KILL_LIMIT).await
    }

    /// The guest's first process, as the host numbers it.
    fn leader(&self) -> Option<ProcessId> {
        self.cgroup.processes().into_iter().find(|&pid| is_first_of_its_namespace(pid)).and_then(ProcessId::of)
    }

    async fn start(&self, spec: &InstanceSpec) -> host::Result<()> {
        mount::overlay(&spec.image_root, &self.directory.join("upper"), &self.work(), &self.root())?;
        self.connect(&spec.mac_address).await?;
        self.cgroup.create(Limits { vcpus: spec.vcpus, memory_mib: spec.memory_mib })?;
        let join = |leaf: &str| -> String {
            let files: Vec<String> =
                self.cgroup.join_files(leaf).iter().map(|file| file.display().to_string()).collect();
            files.join(" ")
        };
        let command = Command::new("sh")
            .args(["-c", LAUNCHER, "launcher"])
            .args(self.nspawn(spec)?)
            .env("LAUNCHER_CGROUPS", join("launcher"))
            .env("MACHINE_CGROUPS", join("machine"))
            // A console that is read as text needs no colours.
            .env("TERM", "dumb");
        let launcher = process::spawn(command, &self.console(), &self.directory.join("launcher.pid")).await?;
        let deadline = Instant::now() + START_LIMIT;
        while self.leader().is_none() {
            let trouble = if launcher.is_alive() {
                (Instant::now() >= deadline).then(|| format!("no guest after {} s", START_LIMIT.as_secs()))
            } else {
                Some("it ended at once".to_owned())
            };
            if let Some(trouble) = trouble {
                let said = process::tail(&self.console(), 5).replace('\n', "; ");
                return Err(HostError::new("systemd-nspawn", format!("{trouble}: {said}")));
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    fn nspawn(&self, spec: &InstanceSpec) -> host::Result<Vec<String>> {
        let program = process::find_program("systemd-nspawn").ok_or_else(|| {
            HostError::new("`systemd-nspawn`", "is not installed").hint("apt-get install systemd-container")
        })?;
        Ok(vec![
            program.display().to_string(),
            "--quiet".to_owned(),
            format!("--directory={}", self.root().display()),
            "--boot".to_owned(),
            "--settings=no".to_owned(),
            "--register=no".to_owned(),
            "--keep-unit".to_owned(),
            format!("--machine={}", self.id),
            format!("--hostname={}", spec.hostname),
            format!("--network-namespace-path={}", netns::path(&self.namespace).display()),
            // nspawn grants it only with the namespaces that it makes itself.
            "--capability=CAP_NET_ADMIN".to_owned(),
            // A guest has the devices that are attached to it, and cannot make nodes of its neighbours'.
            "--drop-capability=CAP_MKNOD".to_owned(),
            // With `pipe` the guest would have no /dev/console, and cloud-init nothing to write to.
            "--console=read-only".to_owned(),
            "--resolv-conf=off".to_owned(),
            "--timezone=off".to_owned(),
            "--link-journal=no".to_owned(),
            // An argument of the guest's systemd: the console shows its units start, as a real one does.
            "systemd.show_status=yes".to_owned(),
        ])
    }

    /// Makes the guest's network namespace and its interface, one end of it on the bridge.
    async fn connect(&self, mac_address: &str) -> host::Result<()> {
        netns::ensure(&self.namespace).await?;
        let Self { port, namespace, cloud, .. } = self;
        let commands = [
            format!("link add {port} type veth peer name host0 address {mac_address} netns {namespace}"),
            format!("link set {port} master {BRIDGE}"),
            // Isolated ports do not reach each other on the bridge: all goes through the firewall.
            format!("link set {port} type bridge_slave isolated on"),
            format!("link set {port} up"),
        ];
        netns::ip_batch(cloud, &commands).await
    }

    /// Asks the guest to power off, and waits until it has or the limit is over.
    async fn shut_down(&self) {
        let deadline = Instant::now() + SHUTDOWN_LIMIT;
        let mut ask_again = Instant::now();
        while self.is_running() && Instant::now() < deadline {
            // A guest that has only begun to boot does not listen yet.
            if Instant::now() >= ask_again
                && let Some(leader) = self.leader()
            {
                let _ = Command::new("kill").args(["-s", POWER_OFF, &leader.pid.to_string()]).run().await;
                ask_again = Instant::now() + Duration::from_secs(2);
            }
            tokio::time::sleep(4 * POLL).await;
        }
    }

    /// Gives back all that a machine without processes still holds: interface, namespaces, mounts, control group. The
    /// disk stays. Half of it may be gone already.
    async fn release(&self) -> host::Result<()> {
        if netns::path(&self.cloud).exists() {
            // The interface goes with its namespace too, but later; the next launch wants the name at once.
            let _ = Command::new("ip").args(["-n", &self.cloud, "link", "delete", &self.port]).run().await;
        }
        netns::delete(&self.namespace).await?;
        self.remove_traces_of_nspawn();
        mount::unmount_below(&self.directory)?;
        self.cgroup.remove().await?;
        let _ = fs::remove_file(self.directory.join("launcher.pid"));
        Ok(())
    }

    /// What a killed nspawn leaves in `/run`.
    fn remove_traces_of_nspawn(&self) {
        let run = Path::new("/run/systemd/nspawn");
        for kind in ["propagate", "unix-export"] {
            let path = run.join(kind).join(&self.id);
            if path.exists() {
                let _ = mount::unmount_below(&path);
                let _ = fs::remove_dir_all(&path);
            }
        }
        if let Ok(root) = fs::metadata(self.root()) {
            let _ = fs::remove_file(run.join("locks").join(format!("inode-{}:{}", root.dev(), root.ino())));
        }
    }

    fn attachments_directory(&self) -> PathBuf {
        self.directory.join("attachments")
    }

    fn attachments(&self) -> Vec<GuestDevice> {
        let Ok(entries) = fs::read_dir(self.attachments_directory()) else { return Vec::new() };
        let texts = entries.flatten().filter_map(|entry| fs::read(entry.path()).ok());
        texts.filter_map(|text| serde_json::from_slice(&text).ok()).collect()
    }

    fn note(&self, device: &GuestDevice) -> host::Result<()> {
        let path = self.attachments_directory().join(format!("{}.json", device.name()?));
        let failed = |error: &dyn std::fmt::Display| HostError::new(format!("writing {}", path.display()), error);
        let text = serde_json::to_string(device).map_err(|error| failed(&error))?;
        file::replace(&path, &text).map_err(|error| failed(&error))
    }

    fn forget(&self, device: &GuestDevice) -> host::Result<()> {
        let path = self.attachments_directory().join(format!("{}.json", device.name()?));
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(HostError::new(format!("removing {}", path.display()), error))
            }
            _ => Ok(()),
        }
    }
}

/// An interface's name has at most 15 bytes; the end of an id tells more than its beginning.
fn port_name(id: &str) -> String {
    let digits: String = id.strip_prefix("i-").unwrap_or(id).chars().filter(char::is_ascii_alphanumeric).collect();
    format!("vm{}", &digits[digits.len().saturating_sub(13)..])
}

/// Whether the process is number 1 of a pid namespace directly below ours.
fn is_first_of_its_namespace(pid: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let Some(line) = status.lines().find_map(|line| line.strip_prefix("NSpid:")) else { return false };
    let numbers: Vec<&str> = line.split_whitespace().collect();
    matches!(numbers[..], [_, "1"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_has_a_name_that_linux_takes() {
        assert_eq!(port_name("i-0123456789abcdef0"), "vm456789abcdef0");
        assert_eq!(port_name("i-0123456789abcdef0").len(), 15);
        assert_eq!(port_name("i-1"), "vm1");
    }

    #[test]
    fn the_test_itself_is_first_of_nothing() {
        assert!(!is_first_of_its_namespace(std::process::id().cast_signed()));
    }
}
