//! Groups keep as many healthy members as they should: they launch, register, replace, drain and terminate. Nothing here
//! touches the world: what a group does is records, which the other reconcilers carry out. So each pass over a group is
//! one transaction, and a daemon killed between two of them doubles and forgets nothing.

/// Carries the steps out, within a transaction.
pub mod act;
/// What a group does next. Pure.
pub mod decide;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;

use self::{
    act::PassError,
    decide::{View, decide, due::next_due},
};
use super::runner::{Context, Progress, Reconciler};
use crate::{
    model::{
        auto_scaling::{Activity, AutoScalingGroup, LaunchConfiguration, LaunchSource},
        identity::Credential,
        instance::Instance,
        load_balancer::LoadBalancer,
        site::Site,
        time::Timestamp,
        volume::Volume,
    },
    store::{Record as _, Store, StoreError, Transaction, changes::Cursor},
};

/// What a group waits for is a change of the records or a time that [`next_due`] tells; looking in between is for clocks
/// that were set.
const PERIOD: Duration = Duration::from_secs(60);

/// A time that has come and changes nothing must not keep the processor busy.
const SHORTEST_WAIT: Duration = Duration::from_millis(20);

#[derive(Default)]
pub struct AutoScaling {
    memory: Memory,
    followed: Cursor,
    /// When all groups were looked at.
    swept: Option<Instant>,
}

/// What is known of groups beyond their records. A new daemon forgets it, and finds it again at its first look.
#[derive(Default)]
struct Memory {
    /// Launches that failed in a row, by group.
    failures: BTreeMap<String, u32>,
    /// When a group's next time comes, be there a change or not.
    due: BTreeMap<String, Timestamp>,
}

impl Memory {
    fn pace(&self, now: Timestamp) -> Progress {
        match self.due.values().min() {
            Some(due) => {
                let wait = u64::try_from(due.millis() - now.millis()).unwrap_or_default();
                Progress::Again(Duration::from_millis(wait).max(SHORTEST_WAIT))
            }
            None => Progress::Settled,
        }
    }
}

/// Kinds of records whose change concerns no group, or those groups alone that are found by it.
const FOLLOWED: &[&str] =
    &[Activity::KIND, AutoScalingGroup::KIND, Credential::KIND, Instance::KIND, LoadBalancer::KIND, Volume::KIND];

#[async_trait]
impl Reconciler for AutoScaling {
    fn name(&self) -> &'static str {
        "auto_scaling"
    }

    fn period(&self) -> Duration {
        PERIOD
    }

    async fn reconcile(&mut self, cx: &Context) -> anyhow::Result<Progress> {
        let store = Arc::clone(&cx.store);
        let now = Timestamp::now();
        let Some(due) = self.due(&store, now)? else { return Ok(self.memory.pace(now)) };
        let mut memory = std::mem::take(&mut self.memory);
        // Transactions wait for the disk.
        let (memory, outcome) = tokio::task::spawn_blocking(move || {
            let outcome = pass(&store, &due, &mut memory, now);
            (memory, outcome)
        })
        .await?;
        self.memory = memory;
        if outcome.is_err() {
            // What failed is looked at again after the pause, changed or not.
            self.swept = None;
        }
        outcome
    }
}

/// Which groups are looked at.
enum Due {
    All,
    These(BTreeSet<String>),
}

impl AutoScaling {
    /// Every so often all, in between those that a change concerns or whose time has come; `None` if there are none.
    fn due(&mut self, store: &Store, now: Timestamp) -> Result<Option<Due>, StoreError> {
        let changes = store.changes(&mut self.followed);
        let sweep = self.swept.is_none_or(|time| time.elapsed() >= PERIOD);
        let changed = (changes.of::<AutoScalingGroup>(), changes.of::<Instance>(), changes.of::<LoadBalancer>());
        let (Some(mut names), Some(instances), Some(balancers)) = changed else { return Ok(Some(self.all())) };
        if sweep || changes.touch_others(FOLLOWED) {
            return Ok(Some(self.all()));
        }
        if !(instances.is_empty() && balancers.is_empty()) {
            store.read(|tx| {
                let mut concern = |index, values: &BTreeSet<String>| {
                    for value in values {
                        let groups = tx.find::<AutoScalingGroup>(index, value);
                        names.extend(groups.iter().map(|group| group.name.clone()));
                    }
                };
                concern(AutoScalingGroup::BY_MEMBER, &instances);
                concern(AutoScalingGroup::BY_LOAD_BALANCER, &balancers);
            })?;
        }
        names.extend(self.memory.due.iter().filter(|(_, due)| **due <= now).map(|(name, _)| name.clone()));
        Ok((!names.is_empty()).then_some(Due::These(names)))
    }

    fn all(&mut self) -> Due {
        self.swept = Some(Instant::now());
        Due::All
    }
}

/// One pass over the groups. One that fails does not keep the others from theirs.
fn pass(store: &Store, due: &Due, memory: &mut Memory, now: Timestamp) -> anyhow::Result<Progress> {
    let all: BTreeSet<String>;
    let names = match due {
        Due::These(names) => names,
        Due::All => {
            all = store.read(|tx| tx.list::<AutoScalingGroup>().iter().map(|group| group.name.clone()).collect())?;
            memory.failures.retain(|name, _| all.contains(name));
            memory.due.retain(|name, _| all.contains(name));
            &all
        }
    };
    let mut failed = None;
    for name in names {
        match pass_over(store, name, &mut memory.failures, now) {
            Ok(Some(due)) => drop(memory.due.insert(name.clone(), due)),
            Ok(None) => drop(memory.due.remove(name)),
            Err(error) => {
                let error = anyhow::Error::from(error).context(format!("scaling the group {name}"));
                if let Some(earlier) = failed.replace(error) {
                    tracing::warn!("{earlier:#}");
                }
            }
        }
    }
    match failed {
        Some(error) => Err(error),
        None => Ok(memory.pace(now)),
    }
}

/// Tells when the group's next time comes.
fn pass_over(
    store: &Store,
    name: &str,
    failures: &mut BTreeMap<String, u32>,
    now: Timestamp,
) -> Result<Option<Timestamp>, PassError> {
    let mut counted = failures.get(name).copied().unwrap_or(0);
    let outcome = store.transact(|tx| step(tx, name, &mut counted, now, None));
    let outcome = match outcome {
        // A launch that failed half-way must leave nothing behind: its transaction is dropped, another one notes it.
        Err(PassError::Launch(refusal)) => {
            counted = failures.get(name).copied().unwrap_or(0);
            store.transact(|tx| step(tx, name, &mut counted, now, Some(&refusal)))
        }
        other => other,
    };
    failures.insert(name.to_owned(), counted);
    outcome
}

/// Decides and acts on one group. With `refusal`, a launch is noted as failed and not tried.
fn step(
    tx: &mut Transaction<'_>,
    name: &str,
    failures: &mut u32,
    now: Timestamp,
    refusal: Option<&str>,
) -> Result<Option<Timestamp>, PassError> {
    let (Some(group), Some(site)) = (tx.get::<AutoScalingGroup>(name), tx.get::<Site>(Site::KEY)) else {
        return Ok(None);
    };
    let mut instances = BTreeMap::new();
    for member in &group.members {
        if let Some(instance) = tx.get::<Instance>(&member.instance_id) {
            instances.insert(member.instance_id.clone(), instance.state);
        }
    }
    let balancers = group.load_balancer_names.iter().filter_map(|name| tx.get::<LoadBalancer>(name)).collect();
    let mut configurations = BTreeMap::new();
    for member in &group.members {
        if let LaunchSource::Configuration(name) = &member.launched_from
            && !configurations.contains_key(name)
            && let Some(configuration) = tx.get::<LaunchConfiguration>(name)
        {
            configurations.insert(name.clone(), configuration.created);
        }
    }
    let view = View { group: &group, instances, balancers, configurations, now };
    let steps = decide(&view);
    if steps.is_empty() {
        return Ok(next_due(&view));
    }
    act::Pass { site: &site, now, failures, refusal }.run(tx, AutoScalingGroup::clone(&group), steps)?;
    // What was written wakes the reconciler again at once.
    Ok(None)
}
