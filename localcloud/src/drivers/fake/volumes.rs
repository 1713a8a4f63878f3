//! Volumes in memory.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Mutex,
};

use async_trait::async_trait;

use super::{faults::Faults, lock};
use crate::drivers::{DriverError, Report, Result, VolumeDriver, VolumeUsage};

/// A volume that was created.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FakeVolume {
    pub size_gib: u32,
    pub open: bool,
    pub usage: VolumeUsage,
}

#[derive(Default)]
pub struct FakeVolumes {
    faults: Faults,
    volumes: Mutex<BTreeMap<String, FakeVolume>>,
    /// Their sizes.
    snapshots: Mutex<BTreeMap<String, u32>>,
}

impl FakeVolumes {
    pub(super) fn striking(faults: Faults) -> Self {
        Self { faults, ..Self::default() }
    }

    #[must_use]
    pub fn get(&self, id: &str) -> Option<FakeVolume> {
        lock(&self.volumes).get(id).copied()
    }

    /// What was done with it by now.
    pub fn set_usage(&self, id: &str, usage: VolumeUsage) {
        if let Some(volume) = lock(&self.volumes).get_mut(id) {
            volume.usage = usage;
        }
    }

    #[must_use]
    pub fn snapshots(&self) -> BTreeMap<String, u32> {
        lock(&self.snapshots).clone()
    }

    fn keep_snapshot(&self, name: String, id: &str, size_gib: Option<u32>, report: &Report) -> Result<()> {
        self.faults.call(name.clone(), || {
            let size_gib = size_gib.ok_or_else(|| DriverError::new(name, "it does not exist"))?;
            report(100);
            lock(&self.snapshots).entry(id.to_owned()).or_insert(size_gib);
            Ok(())
        })
    }
}

#[async_trait]
impl VolumeDriver for FakeVolumes {
    async fn create(&self, id: &str, size_gib: u32) -> Result<()> {
        self.faults.call(format!("create {id}"), || {
            lock(&self.volumes).entry(id.to_owned()).or_insert(FakeVolume { size_gib, ..FakeVolume::default() });
            Ok(())
        })
    }

    async fn open(&self, id: &str) -> Result<PathBuf> {
        let name = format!("open {id}");
        self.faults.call(name.clone(), || match lock(&self.volumes).get_mut(id) {
            Some(volume) => {
                volume.open = true;
                Ok(PathBuf::from("/dev/fake").join(id))
            }
            None => Err(DriverError::new(name, "it does not exist")),
        })
    }

    async fn close(&self, id: &str) -> Result<()> {
        self.faults.call(format!("close {id}"), || {
            if let Some(volume) = lock(&self.volumes).get_mut(id) {
                volume.open = false;
            }
            Ok(())
        })
    }

    async fn delete(&self, id: &str) -> Result<()> {
        self.faults.call(format!("delete {id}"), || {
            lock(&self.volumes).remove(id);
            Ok(())
        })
    }

    async fn usage(&self, ids: &BTreeSet<String>) -> Result<BTreeMap<String, VolumeUsage>> {
        let volumes = lock(&self.volumes);
        let open = ids.iter().filter_map(|id| Some((id, volumes.get(id).filter(|volume| volume.open)?)));
        Ok(open.map(|(id, volume)| (id.clone(), volume.usage)).collect())
    }

    async fn grow(&self, id: &str, size_gib: u32) -> Result<()> {
        self.faults.call(format!("grow {id} {size_gib}"), || {
            if let Some(volume) = lock(&self.volumes).get_mut(id) {
                volume.size_gib = volume.size_gib.max(size_gib);
            }
            Ok(())
        })
    }

    async fn snapshot(&self, id: &str, snapshot_id: &str, report: Report) -> Result<()> {
        let size_gib = self.get(id).map(|volume| volume.size_gib);
        self.keep_snapshot(format!("snapshot {id} {snapshot_id}"), snapshot_id, size_gib, &report)
    }

    async fn restore(&self, id: &str, size_gib: u32, snapshot_id: &str) -> Result<()> {
        let name = format!("restore {id} {snapshot_id}");
        self.faults.call(name.clone(), || {
            if !lock(&self.snapshots).contains_key(snapshot_id) {
                return Err(DriverError::new(name, "the snapshot does not exist"));
            }
            lock(&self.volumes).entry(id.to_owned()).or_insert(FakeVolume { size_gib, ..FakeVolume::default() });
            Ok(())
        })
    }

    async fn copy_snapshot(&self, from: &str, to: &str, report: Report) -> Result<()> {
        let size_gib = lock(&self.snapshots).get(from).copied();
        self.keep_snapshot(format!("copy {from} {to}"), to, size_gib, &report)
    }

    async fn delete_snapshot(&self, snapshot_id: &str) -> Result<()> {
        self.faults.call(format!("delete {snapshot_id}"), || {
            lock(&self.snapshots).remove(snapshot_id);
            Ok(())
        })
    }

    async fn list(&self) -> Result<BTreeSet<String>> {
        Ok(lock(&self.volumes).keys().cloned().collect())
    }
}
