//! Volumes as sparse files on loop devices. A volume is its file: whoever opens it last finds it as it was, and an
//! open one is found again by the kernel's own list, so nothing is kept beside it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::ErrorKind,
    path::PathBuf,
    time::Duration,
};

use async_trait::async_trait;

use super::{DriverError, Result, Transfer, VolumeDriver, VolumeUsage};
use crate::{host::loop_device, paths::Paths};

/// How long the last user of a closed device may take to let it go.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);

/// Keeps volumes in `volumes/ID.img`.
pub struct LoopVolumes {
    paths: Paths,
    /// Two devices on one file would destroy it, so no two calls open at once.
    opening: tokio::sync::Mutex<()>,
}

impl LoopVolumes {
    #[must_use]
    pub fn new(paths: Paths) -> Self {
        Self { paths, opening: tokio::sync::Mutex::default() }
    }
}

#[async_trait]
impl VolumeDriver for LoopVolumes {
    async fn create(&self, id: &str, size_gib: u32) -> Result<()> {
        let path = self.paths.volume(id);
        let size = u64::from(size_gib) << 30;
        let make = || {
            fs::create_dir_all(self.paths.volumes())?;
            let file = fs::File::options().create(true).truncate(false).write(true).open(&path)?;
            // A daemon killed between the two steps leaves a file without its size.
            if file.metadata()?.len() < size {
                file.set_len(size)?;
            }
            file.sync_all()
        };
        make().map_err(|error: std::io::Error| {
            let error =
                DriverError::new(format!("creating {id}, {size_gib} GiB"), format!("{}: {error}", path.display()));
            match rustix::fs::statvfs(self.paths.root()) {
                Ok(space) => error.hint(format!(
                    "the file system of {} has {} MiB free",
                    self.paths.root().display(),
                    (space.f_bavail * space.f_frsize) >> 20
                )),
                Err(_) => error,
            }
        })
    }

    async fn open(&self, id: &str) -> Result<PathBuf> {
        let path = self.paths.volume(id);
        if !path.exists() {
            return Err(DriverError::new(format!("opening {id}"), format!("{} does not exist", path.display())));
        }
        let _opening = self.opening.lock().await;
        loop_device::open(&path).await.map_err(DriverError::while_doing(format!("opening {id}")))
    }

    async fn close(&self, id: &str) -> Result<()> {
        loop_device::close(&self.paths.volume(id), CLOSE_LIMIT)
            .await
            .map_err(DriverError::while_doing(format!("closing {id}")))
    }

    async fn delete(&self, id: &str) -> Result<()> {
        self.close(id).await?;
        match fs::remove_file(self.paths.volume(id)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(DriverError::new(format!("deleting {id}"), error)),
            _ => Ok(()),
        }
    }

    async fn usage(&self, ids: &BTreeSet<String>) -> Result<BTreeMap<String, VolumeUsage>> {
        if ids.is_empty() {
            return Ok(BTreeMap::new());
        }
        let files = loop_device::statistics(&self.paths.volumes());
        let volumes = files.into_iter().filter_map(|(file, done)| {
            let usage = VolumeUsage {
                read: Transfer { bytes: done.read_bytes, count: done.reads },
                written: Transfer { bytes: done.written_bytes, count: done.writes },
                read_millis: done.read_millis,
                write_millis: done.write_millis,
                busy_millis: done.busy_millis,
                queued_millis: done.queued_millis,
            };
            let id = file.strip_suffix(".img").filter(|id| ids.contains(*id))?;
            Some((id.to_owned(), usage))
        });
        Ok(volumes.collect())
    }

    async fn list(&self) -> Result<BTreeSet<String>> {
        let directory = self.paths.volumes();
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BTreeSet::new()),
            Err(error) => return Err(DriverError::new(format!("listing {}", directory.display()), error)),
        };
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        Ok(names.filter_map(|name| name.strip_suffix(".img").map(str::to_owned)).collect())
    }
}
