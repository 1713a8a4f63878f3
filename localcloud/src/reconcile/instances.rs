//! Instances are launched, watched, stopped and terminated. Each instance's step is an errand of its own; a step that a
//! kill cut short is found again by the state it was to lead out of.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use tokio::time::Instant;

use super::{
    errands::Errands,
    network::{Wiring, as_driver_error},
    runner::{Context, Progress, Reconciler},
    snapshots,
};
use crate::{
    api::ec2::instances::item::hostname,
    drivers::{DriverError, Inspected, InstanceSpec},
    model::{
        instance::{Instance, InstanceState},
        instance_type,
        time::Timestamp,
    },
    store::{StoreError, changes::Cursor},
};

/// How often it is looked whether what should run does.
const WATCH_EVERY: Duration = Duration::from_secs(2);
/// Failed launches after which an instance is given up.
const MOST_LAUNCHES: u32 = 5;
/// How long a terminated instance is remembered
/// (<https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/terminating-instances.html>).
const REMEMBERED_SECS: f64 = 3600.0;

/// What is to be done about one instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Launch,
    /// Stop, and launch again from its disk. Also what a machine that was switched off does with what it ran before.
    Reboot,
    Stop,
    Terminate,
    /// The guest has shut itself down, or died: its shutdown behaviour decides.
    Follow,
    /// Its disk is gone, so that it can never run again.
    GiveUp,
    Forget,
}

/// How an instance was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    pub inspected: Inspected,
    /// The first look of this daemon: what is down by then went down with the machine or by `localcloud stop`, not by
    /// itself. (A guest that shut itself down while no daemon watched is taken for that as well.)
    pub first: bool,
}

/// What the next step of an instance is. `seen` is how it was found, if it was looked at.
#[must_use]
pub fn decide(instance: &Instance, seen: Option<Seen>, now: Timestamp) -> Option<Step> {
    match (instance.state, seen) {
        (InstanceState::Pending, _) => Some(Step::Launch),
        (InstanceState::Running, _) if instance.reboot_requested => Some(Step::Reboot),
        (InstanceState::Running, Some(seen)) => match seen.inspected {
            Inspected::Running => None,
            Inspected::Stopped if seen.first => Some(Step::Reboot),
            Inspected::Stopped => Some(Step::Follow),
            Inspected::Absent => Some(Step::GiveUp),
        },
        (InstanceState::Stopping, _) => Some(Step::Stop),
        (InstanceState::ShuttingDown, _) => Some(Step::Terminate),
        (InstanceState::Terminated, _) if instance.state_changed.age_secs(now) >= REMEMBERED_SECS => Some(Step::Forget),
        _ => None,
    }
}

/// Runs what the records say should run.
#[derive(Default)]
pub struct Instances {
    wiring: Arc<Wiring>,
    errands: Errands<Step>,
    watched: Option<Instant>,
    followed: Cursor,
    /// Those that the last pass left with something under way.
    unsettled: BTreeSet<String>,
}

impl Instances {
    #[must_use]
    pub fn new(wiring: Arc<Wiring>) -> Self {
        Self { wiring, ..Self::default() }
    }
}

#[async_trait]
impl Reconciler for Instances {
    fn name(&self) -> &'static str {
        "instances"
    }

    fn period(&self) -> Duration {
        WATCH_EVERY
    }

    async fn reconcile(&mut self, cx: &Context) -> anyhow::Result<Progress> {
        let watch = self.watched.is_none_or(|time| time.elapsed() >= WATCH_EVERY);
        let first = self.watched.is_none();
        // The world first, the records after: whatever is in the world by then has a record, unless it is a stray.
        let existing = if watch { Some(cx.drivers.instances.list().await) } else { None };
        let changed = cx.store.changes(&mut self.followed).of::<Instance>().filter(|_| !watch);
        let unsettled = std::mem::take(&mut self.unsettled);
        // Between two watches only those are looked at that have changed, or with which something is under way.
        let instances: Vec<Arc<Instance>> = cx.store.read(|tx| match &changed {
            None => tx.list(),
            Some(changed) => changed.union(&unsettled).filter_map(|id| tx.get(id)).collect(),
        })?;
        let seen = if watch { self.look_at(cx, &instances).await } else { BTreeMap::new() };
        if watch {
            self.watched = Some(Instant::now());
        }

        let now = Timestamp::now();
        for instance in &instances {
            let seen = seen.get(&instance.id).map(|&inspected| Seen { inspected, first });
            if let Some(step) = decide(instance, seen, now) {
                let (cx, wiring, instance) = (cx.clone(), Arc::clone(&self.wiring), Arc::clone(instance));
                let id = instance.id.clone();
                self.errands.start(&id, step, move |failures| carry_out(cx, wiring, instance, step, failures));
            }
        }
        // A listing that fails must not hold up what there is to do: strays are looked for again soon.
        let existing = existing.and_then(|listed| listed.inspect_err(|error| tracing::warn!("{error}")).ok());
        // Listed is only when all are looked at.
        let present = instances.iter().filter(|instance| instance.state != InstanceState::Terminated);
        let known: BTreeSet<&str> = present.map(|instance| instance.id.as_str()).collect();
        for id in existing.unwrap_or_default().into_iter().filter(|id| !known.contains(id.as_str())) {
            let cx = cx.clone();
            self.errands.start(&id.clone(), Step::Terminate, move |_| async move {
                tracing::warn!("terminating {id}, of which the records know nothing");
                cx.drivers.instances.terminate(&id).await.inspect_err(|error| tracing::warn!("{error}")).is_ok()
            });
        }
        if changed.is_none() {
            self.errands.keep(&instances.iter().map(|instance| instance.id.as_str()).collect::<BTreeSet<_>>());
        }
        self.unsettled = self.errands.unsettled();
        Ok(self.errands.progress())
    }
}

impl Instances {
    /// How those are that should run and have no errand.
    async fn look_at(&self, cx: &Context, instances: &[Arc<Instance>]) -> BTreeMap<String, Inspected> {
        let mut seen = BTreeMap::new();
        for instance in instances {
            if instance.state != InstanceState::Running || self.errands.is_running(&instance.id) {
                continue;
            }
            match cx.drivers.instances.inspect(&instance.id).await {
                Ok(inspected) => drop(seen.insert(instance.id.clone(), inspected)),
                Err(error) => tracing::warn!("{error}"),
            }
        }
        seen
    }
}

/// Takes the step and writes down what came of it. Tells whether it succeeded.
async fn carry_out(cx: Context, wiring: Arc<Wiring>, instance: Arc<Instance>, step: Step, failures: u32) -> bool {
    let driver = &cx.drivers.instances;
    let done = match step {
        Step::Launch => launch(&cx, &wiring, &instance).await,
        Step::Reboot => match driver.stop(&instance.id).await {
            Ok(()) => {
                if instance.reboot_requested {
                    snapshots::take_while_down(&cx, &instance).await;
                }
                launch(&cx, &wiring, &instance).await
            }
            refused => refused,
        },
        Step::Stop => driver.stop(&instance.id).await,
        Step::Terminate => driver.terminate(&instance.id).await,
        Step::Follow | Step::GiveUp | Step::Forget => Ok(()),
    };
    let failure = if step == Step::Follow { driver.failure(&instance.id).await } else { None };
    let written = cx.store.transact(|tx| {
        if step == Step::Forget {
            tx.delete::<Instance>(&instance.id);
            return Ok::<_, StoreError>(());
        }
        let current = tx.get::<Instance>(&instance.id);
        let changed = current.and_then(|current| outcome(&current, &instance, step, &done, failures));
        if let Some(mut changed) = changed {
            if let Some(failure) = &failure {
                changed.state_reason = Some(failed_launch(failure));
            }
            tx.put(changed);
        }
        Ok(())
    });
    if let Err(error) = &written {
        tracing::error!("{error}");
    }
    if let Some(error) = done.as_ref().err().or(failure.as_ref()) {
        tracing::warn!("{error}");
    }
    done.is_ok() && written.is_ok()
}

/// The record after the step; `None` where it stays as it is. The API may have changed it meanwhile: only what the step
/// was about is written.
fn outcome(
    current: &Instance,
    before: &Instance,
    step: Step,
    done: &Result<(), DriverError>,
    failures: u32,
) -> Option<Instance> {
    let mut changed = current.clone();
    if let Err(error) = done {
        let trouble = error.to_string();
        if step == Step::Launch && failures + 1 >= MOST_LAUNCHES && current.state == InstanceState::Pending {
            go_to(&mut changed, InstanceState::ShuttingDown);
            changed.state_reason = Some(failed_launch(error));
        }
        changed.trouble = Some(trouble);
        return (changed != *current).then_some(changed);
    }
    let still = current.state == before.state;
    match step {
        Step::Launch if still => {
            go_to(&mut changed, InstanceState::Running);
            changed.state_reason = None;
        }
        // A new boot, which volumes are to be attached to again.
        Step::Reboot => {
            changed.reboot_requested = false;
            if still {
                changed.state_changed = Timestamp::now();
            }
        }
        Step::Stop if still => go_to(&mut changed, InstanceState::Stopped),
        Step::Terminate if still => go_to(&mut changed, InstanceState::Terminated),
        Step::Follow if still && !current.reboot_requested => {
            let next = if current.shutdown_terminates { InstanceState::ShuttingDown } else { InstanceState::Stopping };
            go_to(&mut changed, next);
            let code = "Client.InstanceInitiatedShutdown";
            changed.state_reason = Some((code.to_owned(), format!("{code}: Instance initiated shutdown")));
        }
        Step::GiveUp if still => {
            go_to(&mut changed, InstanceState::ShuttingDown);
            let code = "Server.InternalError";
            changed.state_reason = Some((code.to_owned(), format!("{code}: the instance's disk is gone")));
        }
        _ => {}
    }
    changed.trouble = None;
    (changed != *current).then_some(changed)
}

fn failed_launch(error: &DriverError) -> (String, String) {
    let code = "Server.InternalError";
    (code.to_owned(), format!("{code}: Internal error on launch: {error}"))
}

fn go_to(instance: &mut Instance, state: InstanceState) {
    instance.state = state;
    instance.state_changed = Timestamp::now();
    instance.reboot_requested = false;
}

async fn launch(cx: &Context, wiring: &Wiring, instance: &Instance) -> Result<(), DriverError> {
    let doing = || format!("launching {}", instance.id);
    let Some(kind) = instance_type::find(&instance.instance_type) else {
        return Err(DriverError::new(doing(), format!("there is no instance type {}", instance.instance_type)));
    };
    let root =
        cx.store.read(|tx| snapshots::root_of(tx, instance)).map_err(|error| DriverError::new(doing(), error))?;
    let Some(image_root) = root else {
        return Err(DriverError::new(doing(), format!("the image {} is no longer registered", instance.image_id)));
    };
    wiring.bring(cx).await.map_err(|error| as_driver_error(&error))?;
    let spec = InstanceSpec {
        id: instance.id.clone(),
        image_root,
        hostname: hostname(instance.private_ip),
        mac_address: instance.mac_address.clone(),
        private_ip: instance.private_ip,
        vcpus: kind.vcpus,
        memory_mib: kind.memory_mib,
    };
    cx.drivers.instances.launch(&spec).await
}

#[cfg(test)]
mod tests {
    use super::{super::samples::instance, *};

    fn now() -> Timestamp {
        Timestamp::now()
    }

    fn after(before: &Instance, step: Step, done: &Result<(), DriverError>, failures: u32) -> Option<Instance> {
        outcome(before, before, step, done, failures)
    }

    fn refused() -> Result<(), DriverError> {
        Err(DriverError::new("launching i-1", "no memory"))
    }

    #[expect(clippy::unnecessary_wraps, reason = "as `decide` takes it")]
    fn later(inspected: Inspected) -> Option<Seen> {
        Some(Seen { inspected, first: false })
    }

    #[test]
    fn what_went_down_with_the_machine_is_booted_again_and_nothing_else() {
        let running = instance("i-1", InstanceState::Running);
        for (inspected, step) in [
            (Inspected::Running, None),
            (Inspected::Stopped, Some(Step::Reboot)),
            (Inspected::Absent, Some(Step::GiveUp)),
        ] {
            assert_eq!(decide(&running, Some(Seen { inspected, first: true }), now()), step, "{inspected:?}");
        }
    }

    #[test]
    fn each_state_under_way_has_its_step_and_settled_ones_have_none() {
        for (state, seen, step) in [
            (InstanceState::Pending, None, Some(Step::Launch)),
            (InstanceState::Running, None, None),
            (InstanceState::Running, later(Inspected::Running), None),
            (InstanceState::Running, later(Inspected::Stopped), Some(Step::Follow)),
            (InstanceState::Running, later(Inspected::Absent), Some(Step::GiveUp)),
            (InstanceState::Stopping, None, Some(Step::Stop)),
            (InstanceState::Stopped, None, None),
            (InstanceState::ShuttingDown, None, Some(Step::Terminate)),
            (InstanceState::Terminated, None, None),
        ] {
            assert_eq!(decide(&instance("i-1", state), seen, now()), step, "{state:?} {seen:?}");
        }
    }

    #[test]
    fn a_terminated_instance_is_forgotten_after_an_hour() {
        let terminated = instance("i-1", InstanceState::Terminated);
        assert_eq!(decide(&terminated, None, now().plus_secs(3599)), None);
        assert_eq!(decide(&terminated, None, now().plus_secs(3601)), Some(Step::Forget));
    }

    #[test]
    fn a_reboot_goes_before_what_was_seen_and_ends_as_a_new_boot() {
        let mut rebooting = instance("i-1", InstanceState::Running);
        rebooting.reboot_requested = true;
        rebooting.state_changed = now().plus_secs(-60);
        assert_eq!(decide(&rebooting, later(Inspected::Stopped), now()), Some(Step::Reboot));
        let changed = after(&rebooting, Step::Reboot, &Ok(()), 0).expect("changed");
        assert!(!changed.reboot_requested && changed.state_changed > rebooting.state_changed);
    }

    #[test]
    fn a_guest_that_shuts_itself_down_is_stopped_or_terminated_as_it_was_launched_to_be() {
        let mut running = instance("i-1", InstanceState::Running);
        for (shutdown_terminates, state) in [(false, InstanceState::Stopping), (true, InstanceState::ShuttingDown)] {
            running.shutdown_terminates = shutdown_terminates;
            let changed = after(&running, Step::Follow, &Ok(()), 0).expect("changed");
            assert_eq!(changed.state, state);
            assert_eq!(changed.state_reason.expect("a reason").0, "Client.InstanceInitiatedShutdown");
        }
    }

    #[test]
    fn what_the_api_asked_for_meanwhile_is_not_overwritten() {
        let before = instance("i-1", InstanceState::Pending);
        let current = Instance { state: InstanceState::ShuttingDown, ..before.clone() };
        assert_eq!(outcome(&current, &before, Step::Launch, &Ok(()), 0), None);
    }

    #[test]
    fn the_fifth_failed_launch_gives_up_and_says_why() {
        let pending = instance("i-1", InstanceState::Pending);
        let fourth = after(&pending, Step::Launch, &refused(), 3).expect("changed");
        assert_eq!(
            (fourth.state, fourth.trouble.as_deref()),
            (InstanceState::Pending, Some("launching i-1: no memory"))
        );
        let fifth = after(&fourth, Step::Launch, &refused(), 4).expect("changed");
        assert_eq!(fifth.state, InstanceState::ShuttingDown);
        let (code, message) = fifth.state_reason.expect("a reason");
        assert_eq!(code, "Server.InternalError");
        assert!(message.contains("no memory"), "{message}");
    }

    #[test]
    fn the_same_trouble_again_is_not_written_again() {
        let mut stopping = instance("i-1", InstanceState::Stopping);
        stopping = after(&stopping, Step::Stop, &refused(), 0).expect("changed");
        assert_eq!(after(&stopping, Step::Stop, &refused(), 1), None);
        assert_eq!(after(&stopping, Step::Stop, &Ok(()), 2).expect("changed").trouble, None);
    }
}
