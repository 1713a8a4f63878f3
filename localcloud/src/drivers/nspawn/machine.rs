//! One instance on this machine: its names, its processes, what it holds.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::process::Signal;

use super::guest_device::GuestDevice;
use crate::{
    drivers::{InstanceSpec, network::BRIDGE},
    host::{
        self, HostError,
        cgroup::{Cgroup, Limits},
        command::Command,
        file, mount, netns,
        process::{self, PidFile, ProcessId},
    },
    paths::Paths,
};

const LAUNCHER: &str = include_str!("launcher.sh");
/// How long a guest may take to shut down in order.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(30);
/// How long killed processes may take to be gone.
const KILL_LIMIT: Duration = Duration::from_secs(10);
/// How long nspawn may take until the guest's first process exists.
const START_LIMIT: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(5);
/// SIGRTMIN+4: systemd's signal for `poweroff.target`. glibc's SIGRTMIN is 34.
const POWER_OFF: &str = "38";

/// One instance's names on this machine.
pub(super) struct Machine {
    pub(super) id: String,
    pub(super) directory: PathBuf,
    /// The cloud's network namespace, where the bridge is.
    cloud: String,
    /// The guest's own network namespace. It is made before the guest, as the interface in it must have a name and a
    /// hardware address that nspawn gives no say in.
    namespace: String,
    /// The interface's other end, on the bridge.
    port: String,
    pub(super) cgroup: Cgroup,
}

impl Machine {
    pub(super) fn new(paths: &Paths, id: &str) -> Self {
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

    pub(super) fn root(&self) -> PathBuf {
        self.directory.join("root")
    }

    pub(super) fn work(&self) -> PathBuf {
        self.directory.join("work")
    }

    pub(super) fn console(&self) -> PathBuf {
        self.directory.join("console.log")
    }

    pub(super) fn launcher(&self) -> PidFile {
        PidFile::new(self.directory.join("launcher.pid"))
    }

    pub(super) fn is_running(&self) -> bool {
        // Between its start and its entry into the group the launcher is known by its pid file alone.
        self.cgroup.is_populated() || self.launcher().is_alive()
    }

    pub(super) async fn kill(&self) -> host::Result<()> {
        if let Some(launcher) = self.launcher().process() {
            launcher.signal(Signal::KILL);
            launcher.wait(KILL_LIMIT).await;
        }
        self.cgroup.kill(KILL_LIMIT).await
    }

    /// The guest's first process, as the host numbers it.
    pub(super) fn leader(&self) -> Option<ProcessId> {
        self.cgroup.processes().into_iter().find(|&pid| is_first_of_its_namespace(pid)).and_then(ProcessId::of)
    }

    pub(super) async fn start(&self, spec: &InstanceSpec) -> host::Result<()> {
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

    pub(super) fn nspawn(&self, spec: &InstanceSpec) -> host::Result<Vec<String>> {
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
    pub(super) async fn connect(&self, mac_address: &str) -> host::Result<()> {
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
    pub(super) async fn shut_down(&self) {
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
    pub(super) async fn release(&self) -> host::Result<()> {
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
    pub(super) fn remove_traces_of_nspawn(&self) {
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

    pub(super) fn attachments_directory(&self) -> PathBuf {
        self.directory.join("attachments")
    }

    pub(super) fn attachments(&self) -> Vec<GuestDevice> {
        let Ok(entries) = fs::read_dir(self.attachments_directory()) else { return Vec::new() };
        let texts = entries.flatten().filter_map(|entry| fs::read(entry.path()).ok());
        texts.filter_map(|text| serde_json::from_slice(&text).ok()).collect()
    }

    pub(super) fn note(&self, device: &GuestDevice) -> host::Result<()> {
        let path = self.attachments_directory().join(format!("{}.json", device.name()?));
        let failed = |error: &dyn std::fmt::Display| HostError::new(format!("writing {}", path.display()), error);
        let text = serde_json::to_string(device).map_err(|error| failed(&error))?;
        file::replace(&path, &text).map_err(|error| failed(&error))
    }

    pub(super) fn forget(&self, device: &GuestDevice) -> host::Result<()> {
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
pub(super) fn port_name(id: &str) -> String {
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
