//! Machines in memory.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Mutex,
};

use async_trait::async_trait;

use super::{faults::Faults, lock};
use crate::{
    drivers::{DriverError, Frozen, Inspected, InstanceDriver, InstanceSpec, Result, Usage},
    host::inotify,
};

/// A machine that was launched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FakeInstance {
    pub spec: InstanceSpec,
    pub running: bool,
    /// Block devices by the guest's device and volume.
    pub attached: BTreeMap<(String, String), PathBuf>,
    /// Devices that the guest has mounted: their detachment is refused unless by force.
    pub mounted: BTreeSet<String>,
    pub console: Vec<u8>,
    pub usage: Usage,
}

#[derive(Default)]
pub struct FakeInstances {
    faults: Faults,
    instances: Mutex<BTreeMap<String, FakeInstance>>,
    /// Trees that were made of instances' disks.
    trees: Mutex<BTreeSet<PathBuf>>,
}

impl FakeInstances {
    pub(super) fn striking(faults: Faults) -> Self {
        Self { faults, ..Self::default() }
    }

    #[must_use]
    pub fn get(&self, id: &str) -> Option<FakeInstance> {
        lock(&self.instances).get(id).cloned()
    }

    #[must_use]
    pub fn all(&self) -> Vec<FakeInstance> {
        lock(&self.instances).values().cloned().collect()
    }

    #[must_use]
    pub fn trees(&self) -> BTreeSet<PathBuf> {
        lock(&self.trees).clone()
    }

    /// How many run.
    #[must_use]
    pub fn running(&self) -> usize {
        lock(&self.instances).values().filter(|instance| instance.running).count()
    }

    /// It is gone with its disk, as if its host had burnt.
    pub fn vanish(&self, id: &str) {
        lock(&self.instances).remove(id);
    }

    /// Its guest has powered itself off.
    pub fn power_off(&self, id: &str) {
        self.change(id, FakeInstance::power_off);
    }

    pub fn mount(&self, id: &str, device: &str) {
        self.change(id, |instance| {
            instance.mounted.insert(device.to_owned());
        });
    }

    pub fn unmount(&self, id: &str, device: &str) {
        self.change(id, |instance| {
            instance.mounted.remove(device);
        });
    }

    pub fn write_console(&self, id: &str, text: &str) {
        self.change(id, |instance| instance.console.extend_from_slice(text.as_bytes()));
    }

    /// What it has used by now.
    pub fn set_usage(&self, id: &str, usage: Usage) {
        self.change(id, |instance| instance.usage = usage);
    }

    fn change(&self, id: &str, change: impl FnOnce(&mut FakeInstance)) {
        if let Some(instance) = lock(&self.instances).get_mut(id) {
            change(instance);
        }
    }
}

impl FakeInstance {
    fn power_off(&mut self) {
        self.running = false;
        self.attached.clear();
        self.mounted.clear();
    }
}

#[async_trait]
impl InstanceDriver for FakeInstances {
    async fn launch(&self, spec: &InstanceSpec) -> Result<()> {
        self.faults.call(format!("launch {}", spec.id), || {
            let mut instances = lock(&self.instances);
            let instance = instances.entry(spec.id.clone()).or_insert_with(|| FakeInstance {
                spec: spec.clone(),
                running: false,
                attached: BTreeMap::new(),
                mounted: BTreeSet::new(),
                console: b"Welcome to a fake instance!\n".to_vec(),
                usage: Usage::default(),
            });
            instance.running = true;
            Ok(())
        })
    }

    async fn inspect(&self, id: &str) -> Result<Inspected> {
        Ok(match lock(&self.instances).get(id) {
            None => Inspected::Absent,
            Some(instance) if instance.running => Inspected::Running,
            Some(_) => Inspected::Stopped,
        })
    }

    async fn failure(&self, id: &str) -> Option<DriverError> {
        let console = self.get(id)?.console;
        let complaint = inotify::complaint(std::str::from_utf8(&console).ok()?)?;
        Some(DriverError::new(format!("booting {id}"), complaint))
    }

    async fn stop(&self, id: &str) -> Result<()> {
        self.faults.call(format!("stop {id}"), || {
            self.power_off(id);
            Ok(())
        })
    }

    async fn terminate(&self, id: &str) -> Result<()> {
        self.faults.call(format!("terminate {id}"), || {
            self.vanish(id);
            Ok(())
        })
    }

    async fn attach(&self, id: &str, device: &str, volume_id: &str, block_device: &Path) -> Result<()> {
        let name = format!("attach {id} {volume_id} {device}");
        self.faults.call(name.clone(), || {
            let mut instances = lock(&self.instances);
            match instances.get_mut(id).filter(|instance| instance.running) {
                Some(instance) => {
                    instance.attached.insert((device.to_owned(), volume_id.to_owned()), block_device.to_owned());
                    Ok(())
                }
                None => Err(DriverError::new(name, "the instance does not run")),
            }
        })
    }

    async fn detach(&self, id: &str, device: &str, volume_id: &str, force: bool) -> Result<()> {
        let name = format!("detach {id} {volume_id} {device}");
        self.faults.call(name.clone(), || {
            if let Some(instance) = lock(&self.instances).get_mut(id) {
                if instance.mounted.contains(device) && !force {
                    return Err(DriverError::new(name, "the guest has it mounted"));
                }
                instance.attached.remove(&(device.to_owned(), volume_id.to_owned()));
                instance.mounted.remove(device);
            }
            Ok(())
        })
    }

    async fn freeze(&self, id: &str, volume_id: &str) -> Result<Option<Frozen>> {
        self.faults.call(format!("freeze {id} {volume_id}"), || Ok(None))
    }

    async fn capture(&self, id: &str, _image_root: &Path, tree: &Path) -> Result<()> {
        let name = format!("capture {id}");
        self.faults.call(name.clone(), || match self.get(id) {
            Some(_) => {
                lock(&self.trees).insert(tree.to_owned());
                Ok(())
            }
            None => Err(DriverError::new(name, "it has no disk")),
        })
    }

    async fn copy_tree(&self, from: &Path, to: &Path) -> Result<()> {
        let name = format!("copy {}", from.display());
        self.faults.call(name.clone(), || {
            if !lock(&self.trees).contains(from) {
                return Err(DriverError::new(name, "it does not exist"));
            }
            lock(&self.trees).insert(to.to_owned());
            Ok(())
        })
    }

    async fn remove_tree(&self, tree: &Path) -> Result<()> {
        self.faults.call(format!("remove {}", tree.display()), || {
            lock(&self.trees).remove(tree);
            Ok(())
        })
    }

    fn console_output(&self, id: &str) -> Vec<u8> {
        self.get(id).map(|instance| instance.console).unwrap_or_default()
    }

    async fn usage(&self, ids: &BTreeSet<String>) -> Result<BTreeMap<String, Usage>> {
        let instances = lock(&self.instances);
        let running = ids.iter().filter_map(|id| instances.get(id)).filter(|instance| instance.running);
        Ok(running.map(|instance| (instance.spec.id.clone(), instance.usage)).collect())
    }

    async fn list(&self) -> Result<BTreeSet<String>> {
        Ok(lock(&self.instances).keys().cloned().collect())
    }
}
