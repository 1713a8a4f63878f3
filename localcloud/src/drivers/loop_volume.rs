//! Volumes as sparse files on loop devices. A volume is its file: whoever opens it last finds it as it was, and an
//! open one is found again by the kernel's own list, so nothing is kept beside it.

mod copy;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;

use super::{DriverError, Report, Result, Transfer, VolumeDriver, VolumeUsage};
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

    fn hinted(&self, error: DriverError) -> DriverError {
        match rustix::fs::statvfs(self.paths.root()) {
            Ok(space) => error.hint(format!(
                "the file system of {} has {} MiB free",
                self.paths.root().display(),
                (space.f_bavail * space.f_frsize) >> 20
            )),
            Err(_) => error,
        }
    }

    /// Copies a file unless its copy is there, which is whole then.
    async fn copy(&self, doing: String, from: PathBuf, to: PathBuf, size: Option<u64>, report: Report) -> Result<()> {
        if to.exists() {
            return Ok(());
        }
        let copied = tokio::task::spawn_blocking(move || copy::whole(&from, &to, size, &*report)).await;
        let copied = copied.map_err(|error| DriverError::new(&*doing, error))?;
        copied.map_err(|error| self.hinted(DriverError::new(doing, error)))
    }
}

/// Removes a file and what a copy that was cut short has left beside it.
fn remove(path: &Path) -> std::io::Result<()> {
    for path in [path.to_owned(), copy::unfinished(path)] {
        match fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
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
            let cause = format!("{}: {error}", path.display());
            self.hinted(DriverError::new(format!("creating {id}, {size_gib} GiB"), cause))
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
        remove(&self.paths.volume(id)).map_err(|error| DriverError::new(format!("deleting {id}"), error))
    }

    async fn grow(&self, id: &str, size_gib: u32) -> Result<()> {
        let path = self.paths.volume(id);
        let size = u64::from(size_gib) << 30;
        let doing = format!("growing {id} to {size_gib} GiB");
        let grow = || {
            let file = fs::File::options().write(true).open(&path)?;
            if file.metadata()?.len() < size {
                file.set_len(size)?;
                file.sync_all()?;
            }
            Ok(())
        };
        grow().map_err(|error: std::io::Error| self.hinted(DriverError::new(&*doing, error)))?;
        loop_device::resize(&path).await.map_err(DriverError::while_doing(doing))
    }

    async fn snapshot(&self, id: &str, snapshot_id: &str, report: Report) -> Result<()> {
        let doing = format!("copying {id} to {snapshot_id}");
        // What a guest wrote past its file system is with the device still.
        let (from, flushed) = (self.paths.volume(id), self.paths.volume(id));
        let flushed = tokio::task::spawn_blocking(move || loop_device::flush(&flushed)).await;
        flushed.map_err(|error| DriverError::new(&*doing, error))?.map_err(DriverError::while_doing(&*doing))?;
        self.copy(doing, from, self.paths.snapshot(snapshot_id), None, report).await
    }

    async fn restore(&self, id: &str, size_gib: u32, snapshot_id: &str) -> Result<()> {
        let (from, to) = (self.paths.snapshot(snapshot_id), self.paths.volume(id));
        let size = u64::from(size_gib) << 30;
        self.copy(format!("creating {id} of {snapshot_id}"), from, to, Some(size), Arc::new(|_| {})).await
    }

    async fn copy_snapshot(&self, from: &str, to: &str, report: Report) -> Result<()> {
        let (source, target) = (self.paths.snapshot(from), self.paths.snapshot(to));
        self.copy(format!("copying {from} to {to}"), source, target, None, report).await
    }

    async fn delete_snapshot(&self, snapshot_id: &str) -> Result<()> {
        let path = self.paths.snapshot(snapshot_id);
        let removed = tokio::task::spawn_blocking(move || remove(&path)).await;
        let doing = || format!("deleting {snapshot_id}");
        removed.map_err(|error| DriverError::new(doing(), error))?.map_err(|error| DriverError::new(doing(), error))
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
