//! Groups keep as many healthy members as they should: they launch, register, replace, drain and terminate. Nothing here
//! touches the world: what a group does is records, which the other reconcilers carry out. So each pass over a group is
//! one transaction, and a daemon killed between two of them doubles and forgets nothing.

/// Carries the steps out, within a transaction.
pub mod act;
/// What a group does next. Pure.
pub mod decide;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;

use self::{
    act::PassError,
    decide::{View, decide, due::next_due},
};
use super::runner::{Context, Progress, Reconciler};
use crate::{
    model::{
        auto_scaling::{AutoScalingGroup, LaunchConfiguration, LaunchSource},
        instance::Instance,
        load_balancer::LoadBalancer,
        site::Site,
        time::Timestamp,
    },
    store::{Store, Transaction},
};

/// What a group waits for is a change of the records or a time that [`next_due`] tells; looking in between is for clocks
/// that were set.
const PERIOD: Duration = Duration::from_secs(60);

#[derive(Default)]
pub struct AutoScaling {
    /// Launches that failed in a row, by group. Forgotten by a new daemon, which may well try again soon.
    failures: BTreeMap<String, u32>,
}

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
        let mut failures = std::mem::take(&mut self.failures);
        // Transactions wait for the disk.
        let (failures, outcome) = tokio::task::spawn_blocking(move || {
            let outcome = pass(&store, &mut failures, Timestamp::now());
            (failures, outcome)
        })
        .await?;
        self.failures = failures;
        outcome
    }
}

/// One pass over all groups. One that fails does not keep the others from theirs.
fn pass(store: &Store, failures: &mut BTreeMap<String, u32>, now: Timestamp) -> anyhow::Result<Progress> {
    let names: Vec<String> =
        store.read(|tx| tx.list::<AutoScalingGroup>().iter().map(|group| group.name.clone()).collect())?;
    failures.retain(|name, _| names.contains(name));
    let mut failed = None;
    let mut first_due: Option<Timestamp> = None;
    for name in names {
        match pass_over(store, &name, failures, now) {
            Ok(due) => first_due = first_due.into_iter().chain(due).min(),
            Err(error) => {
                let error = anyhow::Error::from(error).context(format!("scaling the group {name}"));
                if let Some(earlier) = failed.replace(error) {
                    tracing::warn!("{earlier:#}");
                }
            }
        }
    }
    match (failed, first_due) {
        (Some(error), _) => Err(error),
        (None, Some(due)) => {
            let millis = u64::try_from(due.millis() - now.millis()).unwrap_or_default();
            Ok(Progress::Again(Duration::from_millis(millis)))
        }
        (None, None) => Ok(Progress::Settled),
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
