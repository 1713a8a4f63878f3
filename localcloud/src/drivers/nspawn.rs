//! Instances as systemd-nspawn system containers: a writable overlay of the image's tree, a network namespace with one
//! interface on the cloud's bridge, a control group. The control group is the truth about what runs: it is there as
//! long as the machine is, whichever daemon started it.
//!
//! `instances/ID/{upper,work}` is the kept disk, `root` where it is mounted, `console.log` the console.

mod console;
mod freezing;
mod guest_device;
mod machine;
mod tree;
mod usage;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs,
    path::Path,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;

use self::{guest_device::GuestDevice, machine::Machine};
use super::{DriverError, Frozen, Inspected, InstanceDriver, InstanceSpec, Result, Usage};
use crate::{
    host::{inotify, mount, process::ProcessId},
    paths::Paths,
};

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
