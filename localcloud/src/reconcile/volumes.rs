//! Volumes are created, attached, detached and deleted. A volume is given back by an instance only when the instance is
//! gone for good, so that its bytes never have two masters.
//!
//! A file without a record is closed and left: its record is lost, and its bytes may be all that somebody has.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use tokio::time::Instant;

use super::{
    errands::Errands,
    runner::{Context, Progress, Reconciler},
};
use crate::{
    drivers::DriverError,
    model::{
        instance::{Instance, InstanceState},
        snapshot::{Snapshot, SnapshotState, Source},
        time::Timestamp,
        volume::{Attachment, AttachmentState, Volume, VolumeState},
    },
    store::{StoreError, Transaction, changes::Cursor},
};

/// How often it is made sure that a guest has its devices: one that reboots by itself loses them.
const ASSURE_EVERY: Duration = Duration::from_secs(10);
/// Failed creations after which a volume is given up.
const MOST_CREATIONS: u32 = 5;

/// What is to be done about one volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Create,
    Delete,
    /// Open it, and make it appear in the guest.
    Attach,
    /// The guest is off: it will get the device when it boots.
    AttachLater,
    /// Give it the size that was asked for.
    Grow,
    /// Take it from the running guest, and close it.
    Detach,
    /// Close it: no guest has it.
    Release,
}

/// What the next step of a volume is. `assured` says that this boot of the guest got the device a moment ago.
#[must_use]
pub fn decide(volume: &Volume, instance: Option<&Instance>, assured: bool) -> Option<Step> {
    if volume.state != VolumeState::Creating
        && volume.modification.as_ref().is_some_and(|modification| modification.ended.is_none())
    {
        return Some(Step::Grow);
    }
    let Some(attachment) = &volume.attachment else {
        return match volume.state {
            VolumeState::Creating => Some(Step::Create),
            VolumeState::Deleting => Some(Step::Delete),
            // In use by nobody: a record that no step writes, made right all the same.
            VolumeState::InUse => Some(Step::Release),
            VolumeState::Available | VolumeState::Error => None,
        };
    };
    match (attachment.state, instance.map(|instance| instance.state)) {
        (_, None | Some(InstanceState::Terminated)) => Some(Step::Release),
        // Made by the launch of its instance.
        _ if volume.state == VolumeState::Creating => Some(Step::Create),
        _ if volume.state == VolumeState::Error => None,
        // It goes, and lets go of everything; wait for it.
        (_, Some(InstanceState::ShuttingDown)) => None,
        (AttachmentState::Attaching, Some(InstanceState::Running)) => Some(Step::Attach),
        (AttachmentState::Attached, Some(InstanceState::Running)) => (!assured).then_some(Step::Attach),
        (AttachmentState::Detaching, Some(InstanceState::Running)) => Some(Step::Detach),
        (AttachmentState::Attaching, Some(InstanceState::Stopped)) => Some(Step::AttachLater),
        (AttachmentState::Detaching, Some(InstanceState::Stopped)) => Some(Step::Release),
        // Between two states of the guest nothing is done to it.
        (_, Some(InstanceState::Pending | InstanceState::Stopping)) => None,
        (AttachmentState::Attached, Some(InstanceState::Stopped)) => None,
    }
}

/// Which boot of which instance got a volume's device, and when.
type Assured = BTreeMap<String, (String, Timestamp, Instant)>;

/// Keeps volumes where the records say they are.
#[derive(Default)]
pub struct Volumes {
    errands: Errands<Step>,
    assured: Arc<Mutex<Assured>>,
    /// Strays that were closed and named.
    strays: BTreeSet<String>,
    looked_for_strays: bool,
    /// When all were looked at.
    swept: Option<Instant>,
    followed: Cursor,
    /// Those that the last pass left with something under way.
    unsettled: BTreeSet<String>,
}

#[async_trait]
impl Reconciler for Volumes {
    fn name(&self) -> &'static str {
        "volumes"
    }

    fn period(&self) -> Duration {
        ASSURE_EVERY
    }

    async fn reconcile(&mut self, cx: &Context) -> anyhow::Result<Progress> {
        if !self.looked_for_strays {
            // Once: while the daemon runs, no record is lost.
            self.looked_for_strays = true;
            self.close_strays(cx).await?;
        }
        let sweep = self.swept.is_none_or(|time| time.elapsed() >= ASSURE_EVERY);
        let changes = cx.store.changes(&mut self.followed);
        let changed = changes.of::<Volume>().zip(changes.of::<Instance>()).filter(|_| !sweep);
        let unsettled = std::mem::take(&mut self.unsettled);
        if changed.is_none() {
            self.swept = Some(Instant::now());
        }
        // Between two sweeps only those are looked at that have changed, whose instance has, or with which something is
        // under way.
        let (volumes, copied) = cx.store.read(|tx| {
            let volumes = match &changed {
                None => tx.list::<Volume>(),
                Some((volumes, instances)) => {
                    let mut ids: BTreeSet<String> = volumes.union(&unsettled).cloned().collect();
                    for instance_id in instances {
                        let attached = tx.find::<Volume>(Volume::BY_INSTANCE, instance_id);
                        ids.extend(attached.iter().map(|volume| volume.id.clone()));
                    }
                    ids.iter().filter_map(|id| tx.get(id)).collect()
                }
            };
            let with_instance = |volume: Arc<Volume>| {
                let attachment = volume.attachment.as_ref();
                let instance = attachment.and_then(|attachment| tx.get::<Instance>(&attachment.instance_id));
                (volume, instance)
            };
            let volumes: Vec<(Arc<Volume>, Option<Arc<Instance>>)> = volumes.into_iter().map(with_instance).collect();
            (volumes, being_copied(tx))
        })?;
        let mut held_back = BTreeSet::new();
        for (volume, instance) in &volumes {
            let assured = instance.as_ref().is_some_and(|instance| self.is_assured(&volume.id, instance));
            if let Some(step) = decide(volume, instance.as_deref(), assured) {
                // A volume may be deleted while a snapshot of it is taken: its bytes go after that.
                if step == Step::Delete && copied.contains(&volume.id) {
                    held_back.insert(volume.id.clone());
                    continue;
                }
                let (cx, assured) = (cx.clone(), Arc::clone(&self.assured));
                let (volume, instance) = (Arc::clone(volume), instance.clone());
                let id = volume.id.clone();
                self.errands.start(&id, step, move |failures| carry_out(cx, assured, volume, instance, step, failures));
            }
        }
        if changed.is_none() {
            self.errands.keep(&volumes.iter().map(|(volume, _)| volume.id.as_str()).collect());
        }
        self.unsettled = self.errands.unsettled();
        self.unsettled.append(&mut held_back);
        Ok(self.errands.progress())
    }
}

/// Volumes of which a snapshot is being taken.
fn being_copied(tx: &mut Transaction<'_>) -> BTreeSet<String> {
    let snapshots = tx.list::<Snapshot>();
    let pending = snapshots.iter().filter(|snapshot| snapshot.state == SnapshotState::Pending);
    let sources = pending.filter_map(|snapshot| match &snapshot.source {
        Source::Volume(id) => Some(id.clone()),
        _ => None,
    });
    sources.collect()
}

impl Volumes {
    fn is_assured(&self, volume_id: &str, instance: &Instance) -> bool {
        let assured = self.assured.lock().unwrap_or_else(PoisonError::into_inner);
        assured.get(volume_id).is_some_and(|(id, boot, when)| {
            *id == instance.id && *boot == instance.state_changed && when.elapsed() < ASSURE_EVERY
        })
    }

    async fn close_strays(&mut self, cx: &Context) -> anyhow::Result<()> {
        let existing = match cx.drivers.volumes.list().await {
            Ok(existing) => existing,
            Err(error) => {
                tracing::warn!("{error}");
                return Ok(());
            }
        };
        let known: BTreeSet<String> =
            cx.store.read(|tx| tx.list::<Volume>().iter().map(|volume| volume.id.clone()).collect())?;
        for id in existing.difference(&known) {
            if self.strays.insert(id.clone()) {
                tracing::warn!(
                    "the volume {id} has no record: it is left as it is, in {}",
                    cx.paths.volumes().display()
                );
                if let Err(error) = cx.drivers.volumes.close(id).await {
                    tracing::warn!("{error}");
                }
            }
        }
        Ok(())
    }
}

/// Takes the step and writes down what came of it. Tells whether it succeeded.
async fn carry_out(
    cx: Context,
    assured: Arc<Mutex<Assured>>,
    volume: Arc<Volume>,
    instance: Option<Arc<Instance>>,
    step: Step,
    failures: u32,
) -> bool {
    let done = act(&cx, &volume, step).await;
    if step == Step::Attach
        && done.is_ok()
        && let Some(instance) = &instance
    {
        let boot = (instance.id.clone(), instance.state_changed, Instant::now());
        assured.lock().unwrap_or_else(PoisonError::into_inner).insert(volume.id.clone(), boot);
    }
    let written = cx.store.transact(|tx| {
        let Some(current) = tx.get::<Volume>(&volume.id) else { return Ok::<_, StoreError>(()) };
        match outcome(&current, &volume, step, &done, failures) {
            Some(After::Changed(changed)) => tx.put(*changed),
            Some(After::Gone) => tx.delete::<Volume>(&volume.id),
            None => {}
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

async fn act(cx: &Context, volume: &Volume, step: Step) -> Result<(), DriverError> {
    let volumes = &cx.drivers.volumes;
    match (step, &volume.attachment) {
        (Step::Create, _) => match &volume.snapshot_id {
            Some(snapshot_id) => volumes.restore(&volume.id, volume.size_gib, snapshot_id).await,
            None => volumes.create(&volume.id, volume.size_gib).await,
        },
        (Step::Grow, _) => volumes.grow(&volume.id, volume.size_gib).await,
        (Step::Delete, _) => volumes.delete(&volume.id).await,
        (Step::Attach, Some(Attachment { instance_id, device, .. })) => {
            let block_device = volumes.open(&volume.id).await?;
            cx.drivers.instances.attach(instance_id, device, &volume.id, &block_device).await
        }
        (Step::Detach, Some(Attachment { instance_id, device, force, .. })) => {
            cx.drivers.instances.detach(instance_id, device, &volume.id, *force).await?;
            volumes.close(&volume.id).await
        }
        (Step::Release, _) => volumes.close(&volume.id).await,
        (Step::AttachLater, _) | (Step::Attach | Step::Detach, None) => Ok(()),
    }
}

#[derive(Debug, PartialEq)]
enum After {
    Changed(Box<Volume>),
    Gone,
}

/// The record after the step; `None` where it stays as it is. The API may have changed it meanwhile: only what the step
/// was about is written.
fn outcome(
    current: &Volume,
    before: &Volume,
    step: Step,
    done: &Result<(), DriverError>,
    failures: u32,
) -> Option<After> {
    let mut changed = current.clone();
    match done {
        Err(error) => {
            changed.trouble = Some(error.to_string());
            if step == Step::Create && failures + 1 >= MOST_CREATIONS && current.state == VolumeState::Creating {
                changed.state = VolumeState::Error;
            }
        }
        Ok(()) => {
            changed.trouble = None;
            let attached_as = |volume: &Volume| {
                volume.attachment.as_ref().map(|attachment| (attachment.instance_id.clone(), attachment.state))
            };
            let still = current.state == before.state && attached_as(current) == attached_as(before);
            match step {
                Step::Create if current.state == VolumeState::Creating => {
                    let is_attached = changed.attachment.is_some();
                    changed.state = if is_attached { VolumeState::InUse } else { VolumeState::Available };
                }
                Step::Grow if current.size_gib == before.size_gib => {
                    if let Some(modification) = &mut changed.modification {
                        modification.ended = Some(Timestamp::now());
                    }
                }
                Step::Delete if still => return Some(After::Gone),
                Step::Attach | Step::AttachLater if still => {
                    if let Some(attachment) = &mut changed.attachment
                        && attachment.state == AttachmentState::Attaching
                    {
                        attachment.state = AttachmentState::Attached;
                        attachment.since = Timestamp::now();
                    }
                }
                Step::Detach if still => {
                    changed.attachment = None;
                    changed.state = VolumeState::Available;
                }
                Step::Release => {
                    // Whatever was asked for meanwhile, the instance has it no more.
                    let gone = changed.attachment.take();
                    let delete = gone.is_some_and(|attachment| {
                        attachment.delete_on_termination && attachment.state != AttachmentState::Detaching
                    });
                    match changed.state {
                        VolumeState::InUse | VolumeState::Creating | VolumeState::Error if delete => {
                            changed.state = VolumeState::Deleting;
                        }
                        VolumeState::InUse => changed.state = VolumeState::Available,
                        _ => {}
                    }
                }
                _ => {}
            }
        }
    }
    (changed != *current).then(|| After::Changed(Box::new(changed)))
}

#[cfg(test)]
mod tests {
    use super::{super::samples::instance, *};
    use crate::model::tag::Tags;

    fn volume(state: VolumeState, attachment: Option<AttachmentState>) -> Volume {
        Volume {
            id: "vol-1".to_owned(),
            size_gib: 1,
            zone: "PARTI00".to_owned(),
            volume_type: "standard".to_owned(),
            state,
            created: Timestamp::now(),
            attachment: attachment.map(|state| Attachment {
                instance_id: "i-1".to_owned(),
                device: "/dev/vdf".to_owned(),
                state,
                since: Timestamp::now(),
                delete_on_termination: false,
                force: false,
            }),
            snapshot_id: None,
            modification: None,
            auto_enable_io: false,
            client_token: None,
            tags: Tags::new(),
            trouble: None,
        }
    }

    fn step(attachment: AttachmentState, state: Option<InstanceState>, assured: bool) -> Option<Step> {
        let instance = state.map(|state| instance("i-1", state));
        decide(&volume(VolumeState::InUse, Some(attachment)), instance.as_ref(), assured)
    }

    #[test]
    fn a_volume_of_nobody_is_created_deleted_or_left() {
        assert_eq!(decide(&volume(VolumeState::Creating, None), None, false), Some(Step::Create));
        assert_eq!(decide(&volume(VolumeState::Deleting, None), None, false), Some(Step::Delete));
        assert_eq!(decide(&volume(VolumeState::Available, None), None, false), None);
        assert_eq!(decide(&volume(VolumeState::Error, None), None, false), None);
    }

    #[test]
    fn a_running_guest_is_given_its_device_at_each_boot() {
        use AttachmentState::{Attached, Attaching};
        assert_eq!(step(Attaching, Some(InstanceState::Running), false), Some(Step::Attach));
        assert_eq!(step(Attached, Some(InstanceState::Running), false), Some(Step::Attach));
        assert_eq!(step(Attached, Some(InstanceState::Running), true), None);
        assert_eq!(step(Attaching, Some(InstanceState::Stopped), false), Some(Step::AttachLater));
        assert_eq!(step(Attached, Some(InstanceState::Stopped), false), None);
    }

    #[test]
    fn a_volume_is_released_only_when_its_instance_is_gone_for_good() {
        for attachment in [AttachmentState::Attaching, AttachmentState::Attached, AttachmentState::Detaching] {
            assert_eq!(step(attachment, Some(InstanceState::ShuttingDown), false), None);
            assert_eq!(step(attachment, Some(InstanceState::Terminated), false), Some(Step::Release));
            assert_eq!(step(attachment, None, false), Some(Step::Release));
        }
    }

    #[test]
    fn detaching_goes_through_the_guest_only_while_it_runs() {
        assert_eq!(step(AttachmentState::Detaching, Some(InstanceState::Running), true), Some(Step::Detach));
        assert_eq!(step(AttachmentState::Detaching, Some(InstanceState::Stopped), true), Some(Step::Release));
        assert_eq!(step(AttachmentState::Detaching, Some(InstanceState::Stopping), true), None);
    }

    #[test]
    fn a_detachment_asked_for_while_attaching_is_not_overwritten() {
        let before = volume(VolumeState::InUse, Some(AttachmentState::Attaching));
        let current = volume(VolumeState::InUse, Some(AttachmentState::Detaching));
        assert_eq!(outcome(&current, &before, Step::Attach, &Ok(()), 0), None);
    }

    #[test]
    fn a_released_volume_is_available_or_goes_along_with_its_instance() {
        let mut before = volume(VolumeState::InUse, Some(AttachmentState::Attached));
        for (delete, state) in [(false, VolumeState::Available), (true, VolumeState::Deleting)] {
            if let Some(attachment) = &mut before.attachment {
                attachment.delete_on_termination = delete;
            }
            let Some(After::Changed(changed)) = outcome(&before, &before, Step::Release, &Ok(()), 0) else {
                panic!("released");
            };
            assert_eq!((changed.state, changed.attachment), (state, None));
        }
    }

    #[test]
    fn a_volume_that_cannot_be_created_ends_in_error_with_the_cause() {
        let creating = volume(VolumeState::Creating, None);
        let refused = Err(DriverError::new("creating vol-1", "the disk is full"));
        let Some(After::Changed(fourth)) = outcome(&creating, &creating, Step::Create, &refused, 3) else {
            panic!("changed");
        };
        assert_eq!(fourth.state, VolumeState::Creating);
        let Some(After::Changed(fifth)) = outcome(&fourth, &fourth, Step::Create, &refused, 4) else {
            panic!("changed")
        };
        assert_eq!(
            (fifth.state, fifth.trouble.as_deref()),
            (VolumeState::Error, Some("creating vol-1: the disk is full"))
        );
    }
}
