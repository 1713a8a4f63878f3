//! A daemon's life that ends at a chosen moment: then nothing more reaches the disk or the world, whatever still runs.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
};

use async_trait::async_trait;
use localcloud::{
    drivers::{
        BackendStatus, DriverError, Drivers, EndedRequests, Frozen, Inspected, InstanceDriver, InstanceSpec,
        NetworkChange, NetworkDriver, NetworkPlan, ProxyDriver, ProxyPlan, Report, Result, Usage, VolumeDriver,
        VolumeUsage,
    },
    store::{Store, StoreError},
};
use redb::{Database, StorageBackend};
use tokio::sync::watch;

/// Where a life can end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// What was written has not reached the disk.
    BeforeCommit,
    /// It has, and whoever wrote it does not know.
    AfterCommit,
    BeforeCall,
    AfterCall,
}

#[derive(Default)]
struct Passed {
    begun: bool,
    commits: usize,
    calls: usize,
}

/// One life; clones are the same one.
#[derive(Clone)]
pub(crate) struct Life {
    end: Option<(Moment, usize)>,
    passed: Arc<Mutex<Passed>>,
    dead: watch::Sender<bool>,
}

impl Life {
    /// Ends at the n-th moment of this kind, or never.
    pub(crate) fn new(end: Option<(Moment, usize)>) -> Self {
        Self { end, passed: Arc::default(), dead: watch::Sender::new(false) }
    }

    /// From here on moments count: what a daemon does to begin with is done.
    pub(crate) fn begin(&self) {
        lock(&self.passed).begun = true;
    }

    /// Here and now.
    pub(crate) fn end(&self) {
        self.dead.send_replace(true);
    }

    pub(crate) fn is_over(&self) -> bool {
        *self.dead.borrow()
    }

    /// Returns when it is over.
    pub(crate) async fn over(&self) {
        let _ = self.dead.subscribe().wait_for(|dead| *dead).await;
    }

    /// Commits and calls so far.
    pub(crate) fn passed(&self) -> (usize, usize) {
        let passed = lock(&self.passed);
        (passed.commits, passed.calls)
    }

    fn ends(&self, moment: Moment, n: usize) -> bool {
        if self.end == Some((moment, n)) {
            self.dead.send_replace(true);
        }
        self.is_over()
    }

    /// A change of the world: it never returns to whoever is dead.
    async fn call<T>(&self, effect: impl Future<Output = T>) -> T {
        let n = {
            let mut passed = lock(&self.passed);
            passed.calls += usize::from(passed.begun);
            passed.calls
        };
        if self.ends(Moment::BeforeCall, n) {
            return std::future::pending().await;
        }
        let outcome = effect.await;
        if self.ends(Moment::AfterCall, n) {
            return std::future::pending().await;
        }
        outcome
    }

    /// A look at the world, which only the living have.
    async fn look<T>(&self, question: impl Future<Output = T>) -> T {
        if self.is_over() {
            return std::future::pending().await;
        }
        question.await
    }

    /// The drivers as whoever lives this life has them.
    pub(crate) fn around(&self, drivers: Drivers) -> Drivers {
        let life = || self.clone();
        Drivers {
            instances: Arc::new(Mortal { life: life(), inner: drivers.instances }),
            volumes: Arc::new(Mortal { life: life(), inner: drivers.volumes }),
            network: Arc::new(Mortal { life: life(), inner: drivers.network }),
            proxy: Arc::new(Mortal { life: life(), inner: drivers.proxy }),
        }
    }
}

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap()
}

struct Mortal<D: ?Sized> {
    life: Life,
    inner: Arc<D>,
}

#[async_trait]
impl InstanceDriver for Mortal<dyn InstanceDriver> {
    async fn launch(&self, spec: &InstanceSpec) -> Result<()> {
        self.life.call(self.inner.launch(spec)).await
    }

    async fn inspect(&self, id: &str) -> Result<Inspected> {
        self.life.look(self.inner.inspect(id)).await
    }

    async fn failure(&self, id: &str) -> Option<DriverError> {
        self.life.look(self.inner.failure(id)).await
    }

    async fn stop(&self, id: &str) -> Result<()> {
        self.life.call(self.inner.stop(id)).await
    }

    async fn terminate(&self, id: &str) -> Result<()> {
        self.life.call(self.inner.terminate(id)).await
    }

    async fn attach(&self, id: &str, device: &str, volume_id: &str, block_device: &Path) -> Result<()> {
        self.life.call(self.inner.attach(id, device, volume_id, block_device)).await
    }

    async fn detach(&self, id: &str, device: &str, volume_id: &str, force: bool) -> Result<()> {
        self.life.call(self.inner.detach(id, device, volume_id, force)).await
    }

    async fn freeze(&self, id: &str, volume_id: &str) -> Result<Option<Frozen>> {
        self.life.call(self.inner.freeze(id, volume_id)).await
    }

    async fn capture(&self, id: &str, image_root: &Path, tree: &Path) -> Result<()> {
        self.life.call(self.inner.capture(id, image_root, tree)).await
    }

    async fn copy_tree(&self, from: &Path, to: &Path) -> Result<()> {
        self.life.call(self.inner.copy_tree(from, to)).await
    }

    async fn remove_tree(&self, tree: &Path) -> Result<()> {
        self.life.call(self.inner.remove_tree(tree)).await
    }

    fn console_output(&self, id: &str) -> Vec<u8> {
        self.inner.console_output(id)
    }

    async fn usage(&self, ids: &BTreeSet<String>) -> Result<BTreeMap<String, Usage>> {
        self.life.look(self.inner.usage(ids)).await
    }

    async fn list(&self) -> Result<BTreeSet<String>> {
        self.life.look(self.inner.list()).await
    }
}

#[async_trait]
impl VolumeDriver for Mortal<dyn VolumeDriver> {
    async fn create(&self, id: &str, size_gib: u32) -> Result<()> {
        self.life.call(self.inner.create(id, size_gib)).await
    }

    async fn open(&self, id: &str) -> Result<PathBuf> {
        self.life.call(self.inner.open(id)).await
    }

    async fn close(&self, id: &str) -> Result<()> {
        self.life.call(self.inner.close(id)).await
    }

    async fn delete(&self, id: &str) -> Result<()> {
        self.life.call(self.inner.delete(id)).await
    }

    async fn usage(&self, ids: &BTreeSet<String>) -> Result<BTreeMap<String, VolumeUsage>> {
        self.life.look(self.inner.usage(ids)).await
    }

    async fn grow(&self, id: &str, size_gib: u32) -> Result<()> {
        self.life.call(self.inner.grow(id, size_gib)).await
    }

    async fn snapshot(&self, id: &str, snapshot_id: &str, report: Report) -> Result<()> {
        self.life.call(self.inner.snapshot(id, snapshot_id, report)).await
    }

    async fn restore(&self, id: &str, size_gib: u32, snapshot_id: &str) -> Result<()> {
        self.life.call(self.inner.restore(id, size_gib, snapshot_id)).await
    }

    async fn copy_snapshot(&self, from: &str, to: &str, report: Report) -> Result<()> {
        self.life.call(self.inner.copy_snapshot(from, to, report)).await
    }

    async fn delete_snapshot(&self, snapshot_id: &str) -> Result<()> {
        self.life.call(self.inner.delete_snapshot(snapshot_id)).await
    }

    async fn list(&self) -> Result<BTreeSet<String>> {
        self.life.look(self.inner.list()).await
    }
}

#[async_trait]
impl NetworkDriver for Mortal<dyn NetworkDriver> {
    async fn start(&self) -> Result<bool> {
        self.life.call(self.inner.start()).await
    }

    async fn set(&self, plan: &NetworkPlan) -> Result<()> {
        self.life.call(self.inner.set(plan)).await
    }

    async fn change(&self, change: &NetworkChange) -> Result<()> {
        self.life.call(self.inner.change(change)).await
    }

    async fn stop(&self) -> Result<()> {
        self.life.call(self.inner.stop()).await
    }
}

#[async_trait]
impl ProxyDriver for Mortal<dyn ProxyDriver> {
    async fn apply(&self, plan: &ProxyPlan) -> Result<()> {
        self.life.call(self.inner.apply(plan)).await
    }

    async fn status(&self) -> Result<Vec<BackendStatus>> {
        self.life.look(self.inner.status()).await
    }

    async fn ended_requests(&self) -> Result<EndedRequests> {
        self.life.look(self.inner.ended_requests()).await
    }

    async fn forget_requests(&self, position: u64) -> Result<()> {
        self.life.call(self.inner.forget_requests(position)).await
    }

    async fn stop(&self) -> Result<()> {
        self.life.call(self.inner.stop()).await
    }
}

#[derive(Debug, Default)]
struct Bytes {
    /// As programs see it.
    seen: Vec<u8>,
    /// As a machine finds it that has lost its memory.
    kept: Vec<u8>,
}

/// A disk that outlives the daemons; clones are the same one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Disk(Arc<Mutex<Bytes>>);

impl Disk {
    /// The records on it, as whoever lives this life has them.
    pub(crate) fn open(&self, life: &Life) -> Store {
        let (disk, life) = (self.clone(), life.clone());
        let open = move || {
            let backend = MortalDisk { disk: disk.clone(), life: life.clone() };
            Database::builder()
                .create_with_backend(backend)
                .map_err(|error| StoreError::Open { path: "memory".to_owned(), cause: error.to_string() })
        };
        Store::over(open).unwrap()
    }
}

struct MortalDisk {
    disk: Disk,
    life: Life,
}

impl std::fmt::Debug for MortalDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MortalDisk")
    }
}

impl MortalDisk {
    fn alive(&self) -> io::Result<MutexGuard<'_, Bytes>> {
        if self.life.is_over() { Err(io::Error::other("this life is over")) } else { Ok(lock(&self.disk.0)) }
    }
}

impl StorageBackend for MortalDisk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.alive()?.seen.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let bytes = self.alive()?;
        let start = usize::try_from(offset).unwrap();
        let found = bytes.seen.get(start..start + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(found);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.alive()?.seen.resize(usize::try_from(len).unwrap(), 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let n = {
            let mut passed = lock(&self.life.passed);
            passed.commits += usize::from(passed.begun);
            passed.commits
        };
        let mut bytes = self.alive()?;
        let Bytes { seen, kept } = &mut *bytes;
        if self.life.ends(Moment::BeforeCommit, n) {
            seen.clone_from(kept);
            return Err(io::Error::other("this life ended before the commit"));
        }
        kept.clone_from(seen);
        if self.life.ends(Moment::AfterCommit, n) {
            return Err(io::Error::other("this life ended after the commit"));
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut bytes = self.alive()?;
        let start = usize::try_from(offset).unwrap();
        let end = start + data.len();
        bytes.seen.get_mut(start..end).ok_or(io::ErrorKind::UnexpectedEof)?.copy_from_slice(data);
        Ok(())
    }
}
