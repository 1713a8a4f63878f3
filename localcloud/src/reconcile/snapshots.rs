//! Snapshots are taken, copied and removed, and images are there once theirs are taken.
//!
//! A snapshot of a volume in use is of one moment because the guest's file system is kept still while it is copied: it
//! may read, and waits with writing. Where the file system below can share blocks that is a moment, elsewhere as long as
//! the copy takes. What a guest writes to the bare device at that time may be in the copy or not. A copy that was cut
//! short is made again, of the volume as it is by then.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;

use super::{
    errands::Errands,
    runner::{Context, Progress, Reconciler},
};
use crate::{
    drivers::{DriverError, Report},
    model::{
        image::{Image, ImageState},
        instance::{Instance, InstanceState},
        snapshot::{Snapshot, SnapshotState, Source},
        time::Timestamp,
        volume::{Volume, VolumeState},
    },
    paths::Paths,
    store::{StoreError, Transaction},
};

const LOOK_EVERY: Duration = Duration::from_secs(10);
/// How often a record says anew how far a copy is: each time is a write to disk.
const REPORT_EVERY: Duration = Duration::from_millis(300);
/// Failed copies after which a snapshot is given up.
const MOST_COPIES: u32 = 5;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Take,
    /// What it should be one of is gone.
    GiveUp,
    Delete,
}

/// The records that a snapshot's step depends on.
pub struct View {
    pub paths: Paths,
    pub instances: Vec<Arc<Instance>>,
    pub volumes: Vec<Arc<Volume>>,
    pub images: Vec<Arc<Image>>,
    pub snapshots: Vec<Arc<Snapshot>>,
}

impl View {
    fn read(tx: &mut Transaction<'_>, paths: &Paths) -> Self {
        let (images, snapshots) = (tx.list::<Image>(), tx.list::<Snapshot>());
        let is_settled =
            |snapshot: &Arc<Snapshot>| matches!(snapshot.state, SnapshotState::Completed | SnapshotState::Error);
        // Nobody is to be looked at for what has come to its end.
        let (instances, volumes) =
            if snapshots.iter().all(is_settled) { (Vec::new(), Vec::new()) } else { (tx.list(), tx.list()) };
        Self { paths: paths.clone(), instances, volumes, images, snapshots }
    }

    fn instance(&self, id: &str) -> Option<InstanceState> {
        self.instances.iter().find(|instance| instance.id == id).map(|instance| instance.state)
    }

    /// Whether its image's instance is about to be rebooted for it: then it is taken while that is down.
    fn waits_for_reboot(&self, snapshot: &Snapshot) -> bool {
        let Some(image_id) = &snapshot.image_id else { return false };
        let image = self.images.iter().find(|image| image.id == *image_id && !image.no_reboot);
        let Some(source) = image.and_then(|image| image.source_instance.as_ref()) else { return false };
        let rebooting = |instance: &&Arc<Instance>| {
            instance.id == *source && instance.state == InstanceState::Running && instance.reboot_requested
        };
        self.instances.iter().any(|instance| rebooting(&instance))
    }

    /// Whether something is made of it just now, or runs from it.
    fn is_needed(&self, snapshot: &Snapshot) -> bool {
        let tree = self.paths.tree(&snapshot.id);
        let copied = self.snapshots.iter().any(|other| {
            other.state == SnapshotState::Pending && other.source == Source::Snapshot(snapshot.id.clone())
        });
        let restored = self
            .volumes
            .iter()
            .any(|volume| volume.state == VolumeState::Creating && volume.snapshot_id.as_ref() == Some(&snapshot.id));
        let booted = self.instances.iter().any(|instance| {
            instance.state != InstanceState::Terminated && instance.attributes.image_root.as_ref() == Some(&tree)
        });
        copied || restored || booted
    }
}

/// What the next step of a snapshot is.
#[must_use]
pub fn decide(snapshot: &Snapshot, view: &View) -> Option<Step> {
    match snapshot.state {
        SnapshotState::Completed | SnapshotState::Error => None,
        SnapshotState::Deleting => (!view.is_needed(snapshot)).then_some(Step::Delete),
        SnapshotState::Pending if view.waits_for_reboot(snapshot) => None,
        SnapshotState::Pending => match &snapshot.source {
            Source::Volume(id) => match view.volumes.iter().find(|volume| volume.id == *id) {
                None => Some(Step::GiveUp),
                Some(volume) => (volume.state != VolumeState::Creating).then_some(Step::Take),
            },
            Source::Root { instance_id } => match view.instance(instance_id) {
                Some(InstanceState::Running | InstanceState::Stopped) => Some(Step::Take),
                Some(InstanceState::Pending | InstanceState::Stopping) => None,
                Some(InstanceState::ShuttingDown | InstanceState::Terminated) | None => Some(Step::GiveUp),
            },
            Source::Snapshot(id) => {
                let source = view.snapshots.iter().find(|source| source.id == *id);
                match source.map(|source| source.state) {
                    Some(SnapshotState::Pending) => None,
                    // It stays as long as this one needs it.
                    Some(SnapshotState::Completed | SnapshotState::Deleting) => Some(Step::Take),
                    Some(SnapshotState::Error) | None => Some(Step::GiveUp),
                }
            }
        },
    }
}

/// Takes what the records ask for.
#[derive(Default)]
pub struct Snapshots {
    errands: Errands<Step>,
}

#[async_trait]
impl Reconciler for Snapshots {
    fn name(&self) -> &'static str {
        "snapshots"
    }

    fn period(&self) -> Duration {
        LOOK_EVERY
    }

    async fn reconcile(&mut self, cx: &Context) -> anyhow::Result<Progress> {
        let view = cx.store.read(|tx| View::read(tx, &cx.paths))?;
        if view.images.iter().any(|image| settled(image, &view).is_some()) {
            cx.store.transact(|tx| {
                let view = View::read(tx, &cx.paths);
                view.images.iter().filter_map(|image| settled(image, &view)).for_each(|image| tx.put(image));
                Ok::<_, StoreError>(())
            })?;
        }
        for snapshot in &view.snapshots {
            if let Some(step) = decide(snapshot, &view) {
                let (cx, snapshot, id) = (cx.clone(), Arc::clone(snapshot), snapshot.id.clone());
                self.errands.start(&id, step, move |failures| carry_out(cx, snapshot, step, failures));
            }
        }
        let known: BTreeSet<&str> = view.snapshots.iter().map(|snapshot| snapshot.id.as_str()).collect();
        self.errands.keep(&known);
        Ok(self.errands.progress())
    }
}

/// Takes those that wait for this instance to be down. To be called between its stop and its start; what fails is tried
/// again once it runs.
pub(super) async fn take_while_down(cx: &Context, instance: &Instance) {
    let waiting = cx.store.read(|tx| {
        let view = View::read(tx, &cx.paths);
        let of_this = |snapshot: &Snapshot| {
            let image = view.images.iter().find(|image| Some(&image.id) == snapshot.image_id.as_ref());
            image.is_some_and(|image| image.source_instance.as_ref() == Some(&instance.id))
        };
        let pending = view.snapshots.iter().filter(|snapshot| snapshot.state == SnapshotState::Pending);
        pending.filter(|snapshot| of_this(snapshot) && view.waits_for_reboot(snapshot)).cloned().collect::<Vec<_>>()
    });
    match waiting {
        Ok(waiting) => {
            for snapshot in waiting {
                carry_out(cx.clone(), snapshot, Step::Take, 0).await;
            }
        }
        Err(error) => tracing::error!("{error}"),
    }
}

/// Takes the step and writes down what came of it. Tells whether it succeeded.
async fn carry_out(cx: Context, snapshot: Arc<Snapshot>, step: Step, failures: u32) -> bool {
    let done = match step {
        Step::Take => take(&cx, &snapshot).await,
        Step::Delete if snapshot.is_root => cx.drivers.instances.remove_tree(&cx.paths.tree(&snapshot.id)).await,
        Step::Delete => cx.drivers.volumes.delete_snapshot(&snapshot.id).await,
        Step::GiveUp => Ok(()),
    };
    let written = cx.store.transact(|tx| {
        let Some(current) = tx.get::<Snapshot>(&snapshot.id) else { return Ok::<_, StoreError>(()) };
        if step == Step::Delete && done.is_ok() {
            tx.delete::<Snapshot>(&snapshot.id);
            return Ok(());
        }
        if let Some(changed) = outcome(&current, step, &done, failures) {
            tx.put(changed);
        }
        Ok(())
    });
    if let Err(error) = &written {
        tracing::error!("{error}");
    }
    if let Err(error) = &done {
        tracing::warn!("{error}");
    }
    done.is_ok() && written.is_ok()
}

async fn take(cx: &Context, snapshot: &Snapshot) -> Result<(), DriverError> {
    let doing = |error: StoreError| DriverError::new(format!("taking {}", snapshot.id), error);
    let (instances, volumes) = (&cx.drivers.instances, &cx.drivers.volumes);
    match &snapshot.source {
        Source::Volume(id) => {
            let volume = cx.store.read(|tx| tx.get::<Volume>(id)).map_err(doing)?;
            // Held until the copy is whole.
            let _frozen = match volume.as_ref().and_then(|volume| volume.attachment.as_ref()) {
                Some(attachment) => instances.freeze(&attachment.instance_id, id).await?,
                None => None,
            };
            volumes.snapshot(id, &snapshot.id, report(cx, &snapshot.id)).await
        }
        Source::Root { instance_id } => {
            let root = cx.store.read(|tx| tx.get::<Instance>(instance_id).and_then(|instance| root_of(tx, &instance)));
            let Some(root) = root.map_err(doing)? else {
                let cause = format!("the tree of {instance_id} is not known");
                return Err(DriverError::new(format!("taking {}", snapshot.id), cause));
            };
            instances.capture(instance_id, &root, &cx.paths.tree(&snapshot.id)).await
        }
        Source::Snapshot(from) if snapshot.is_root => {
            instances.copy_tree(&cx.paths.tree(from), &cx.paths.tree(&snapshot.id)).await
        }
        Source::Snapshot(from) => volumes.copy_snapshot(from, &snapshot.id, report(cx, &snapshot.id)).await,
    }
}

/// The tree that an instance boots from.
pub(super) fn root_of(tx: &mut Transaction<'_>, instance: &Instance) -> Option<std::path::PathBuf> {
    let root = instance.attributes.image_root.clone();
    root.or_else(|| tx.get::<Image>(&instance.image_id).map(|image| image.root.clone()))
}

/// Writes into the record how far its copy is.
fn report(cx: &Context, id: &str) -> Report {
    let (store, id) = (Arc::clone(&cx.store), id.to_owned());
    let last = std::sync::Mutex::new(Instant::now());
    Arc::new(move |percent| {
        let mut last = last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if last.elapsed() < REPORT_EVERY {
            return;
        }
        *last = Instant::now();
        let written = store.transact(|tx| {
            tx.update::<Snapshot>(&id, |snapshot| snapshot.progress = percent.min(99));
            Ok::<_, StoreError>(())
        });
        if let Err(error) = written {
            tracing::error!("{error}");
        }
    })
}

/// The record after the step; `None` where it stays as it is.
fn outcome(current: &Snapshot, step: Step, done: &Result<(), DriverError>, failures: u32) -> Option<Snapshot> {
    let mut changed = current.clone();
    match done {
        Err(error) => {
            changed.trouble = Some(error.to_string());
            if step == Step::Take && failures + 1 >= MOST_COPIES && current.state == SnapshotState::Pending {
                changed.state = SnapshotState::Error;
            }
        }
        Ok(()) if current.state != SnapshotState::Pending => {}
        Ok(()) if step == Step::Take => {
            changed.trouble = None;
            changed.state = SnapshotState::Completed;
            changed.completed = Some(Timestamp::now());
            changed.progress = 100;
        }
        Ok(()) => {
            changed.state = SnapshotState::Error;
            changed.trouble.get_or_insert_with(|| "what it should be one of is gone".to_owned());
        }
    }
    (changed != *current).then_some(changed)
}

/// What becomes of a pending image: it is there when all its snapshots are, and has failed when one has.
fn settled(image: &Image, view: &View) -> Option<Image> {
    let root = image.root_snapshot.as_ref().filter(|_| image.state == ImageState::Pending)?;
    let ids = std::iter::once(root).chain(image.block_devices.iter().filter_map(|device| device.snapshot_id.as_ref()));
    let find = |id: &String| view.snapshots.iter().find(|snapshot| snapshot.id == *id);
    let own: Vec<Option<&Arc<Snapshot>>> = ids.map(find).collect();
    let trouble = own.iter().find_map(|snapshot| match snapshot {
        None => Some("a snapshot of it is gone".to_owned()),
        Some(snapshot) if snapshot.state == SnapshotState::Error => snapshot.trouble.clone(),
        Some(_) => None,
    });
    let whole = own.iter().flatten().all(|snapshot| snapshot.state == SnapshotState::Completed);
    match trouble {
        Some(_) => Some(Image { state: ImageState::Failed, state_reason: trouble, ..image.clone() }),
        None if whole => Some(Image { state: ImageState::Available, root: view.paths.tree(root), ..image.clone() }),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{super::samples::instance, *};
    use crate::model::tag::Tags;

    fn snapshot(source: Source, state: SnapshotState) -> Snapshot {
        Snapshot {
            id: "snap-1".to_owned(),
            is_root: matches!(source, Source::Root { .. }),
            source,
            size_gib: 1,
            state,
            started: Timestamp::now(),
            completed: None,
            progress: 0,
            description: String::new(),
            owner_id: "1".to_owned(),
            volume_permissions: BTreeSet::new(),
            image_id: None,
            tags: Tags::new(),
            trouble: None,
        }
    }

    fn of_root() -> Source {
        Source::Root { instance_id: "i-1".to_owned() }
    }

    fn view(instances: Vec<Instance>) -> View {
        View {
            paths: Paths::new(std::path::Path::new("/state")),
            instances: instances.into_iter().map(Arc::new).collect(),
            volumes: Vec::new(),
            images: Vec::new(),
            snapshots: Vec::new(),
        }
    }

    #[test]
    fn a_root_is_taken_while_its_instance_is_settled_and_given_up_with_it() {
        for (state, step) in [
            (InstanceState::Pending, None),
            (InstanceState::Running, Some(Step::Take)),
            (InstanceState::Stopping, None),
            (InstanceState::Stopped, Some(Step::Take)),
            (InstanceState::ShuttingDown, Some(Step::GiveUp)),
            (InstanceState::Terminated, Some(Step::GiveUp)),
        ] {
            let view = view(vec![instance("i-1", state)]);
            assert_eq!(decide(&snapshot(of_root(), SnapshotState::Pending), &view), step, "{state:?}");
        }
    }

    #[test]
    fn a_tree_stays_as_long_as_an_instance_boots_from_it() {
        let deleted = snapshot(of_root(), SnapshotState::Deleting);
        let mut booted = instance("i-2", InstanceState::Stopped);
        booted.attributes.image_root = Some("/state/trees/snap-1".into());
        assert_eq!(decide(&deleted, &view(vec![booted.clone()])), None);
        booted.state = InstanceState::Terminated;
        assert_eq!(decide(&deleted, &view(vec![booted])), Some(Step::Delete));
    }

    #[test]
    fn the_fifth_failed_copy_gives_up_and_a_deleted_snapshot_is_not_revived() {
        let refused = Err(DriverError::new("copying vol-1", "no room"));
        let pending = snapshot(Source::Volume("vol-1".to_owned()), SnapshotState::Pending);
        assert_eq!(outcome(&pending, Step::Take, &refused, 3).expect("changed").state, SnapshotState::Pending);
        assert_eq!(outcome(&pending, Step::Take, &refused, 4).expect("changed").state, SnapshotState::Error);
        let deleted = snapshot(Source::Volume("vol-1".to_owned()), SnapshotState::Deleting);
        assert_eq!(outcome(&deleted, Step::Take, &Ok(()), 0), None);
    }
}
