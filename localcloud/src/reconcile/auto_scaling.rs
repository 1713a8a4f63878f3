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
    decide::{View, decide},
};
use super::runner::{Context, Progress, Reconciler};
use crate::{
    faults::Faults,
    model::{
        auto_scaling::{AutoScalingGroup, LaunchConfiguration},
        instance::Instance,
        load_balancer::LoadBalancer,
        site::Site,
        time::Timestamp,
    },
    store::{Store, Transaction},
};

/// Grace periods and cooldowns end without a change of the records; looking costs no disk access.
const PERIOD: Duration = Duration::from_secs(1);

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
        let (store, faults) = (Arc::clone(&cx.store), cx.faults.clone());
        let mut failures = std::mem::take(&mut self.failures);
        // Transactions wait for the disk.
        let (failures, outcome) = tokio::task::spawn_blocking(move || {
            let outcome = pass(&store, &faults, &mut failures, Timestamp::now());
            (failures, outcome)
        })
        .await?;
        self.failures = failures;
        outcome
    }
}

/// One pass over all groups. One that fails does not keep the others from theirs.
fn pass(
    store: &Store,
    faults: &Faults,
    failures: &mut BTreeMap<String, u32>,
    now: Timestamp,
) -> anyhow::Result<Progress> {
    let names: Vec<String> =
        store.read(|tx| tx.list::<AutoScalingGroup>().iter().map(|group| group.name.clone()).collect())?;
    failures.retain(|name, _| names.contains(name));
    let mut failed = None;
    for name in names {
        if let Err(error) = pass_over(store, faults, &name, failures, now) {
            let error = anyhow::Error::from(error).context(format!("scaling the group {name}"));
            if let Some(earlier) = failed.replace(error) {
                tracing::warn!("{earlier:#}");
            }
        }
    }
    match failed {
        Some(error) => Err(error),
        None => Ok(Progress::Settled),
    }
}

fn pass_over(
    store: &Store,
    faults: &Faults,
    name: &str,
    failures: &mut BTreeMap<String, u32>,
    now: Timestamp,
) -> Result<(), PassError> {
    let mut counted = failures.get(name).copied().unwrap_or(0);
    let outcome = store.transact(|tx| step(tx, name, &mut counted, now, Refusal::OnPurpose(faults)));
    let outcome = match outcome {
        // A launch that failed half-way must leave nothing behind: its transaction is dropped, another one notes it.
        Err(PassError::Launch(refusal)) => {
            counted = failures.get(name).copied().unwrap_or(0);
            store.transact(|tx| step(tx, name, &mut counted, now, Refusal::Was(&refusal)))
        }
        other => other,
    };
    failures.insert(name.to_owned(), counted);
    outcome
}

/// Why a launch is noted as failed and not tried.
enum Refusal<'a> {
    /// It was tried already.
    Was(&'a str),
    /// If a fault strikes it.
    OnPurpose(&'a Faults),
}

/// Decides and acts on one group.
fn step(
    tx: &mut Transaction<'_>,
    name: &str,
    failures: &mut u32,
    now: Timestamp,
    refusal: Refusal<'_>,
) -> Result<(), PassError> {
    let (Some(group), Some(site)) = (tx.get::<AutoScalingGroup>(name), tx.get::<Site>(Site::KEY)) else {
        return Ok(());
    };
    let mut instances = BTreeMap::new();
    for member in &group.members {
        if let Some(instance) = tx.get::<Instance>(&member.instance_id) {
            instances.insert(member.instance_id.clone(), instance.state);
        }
    }
    let balancers = group.load_balancer_names.iter().filter_map(|name| tx.get::<LoadBalancer>(name)).collect();
    let configurations = tx
        .list::<LaunchConfiguration>()
        .iter()
        .map(|configuration| (configuration.name.clone(), configuration.created))
        .collect();
    let steps = decide(&View { group: &group, instances, balancers, configurations, now });
    if steps.is_empty() {
        return Ok(());
    }
    let launches = steps.iter().any(|step| matches!(step, decide::Step::Launch { .. }));
    let refusal = match refusal {
        Refusal::Was(why) => Some(why.to_owned()),
        Refusal::OnPurpose(faults) => launches.then(|| faults.refuse_group_launch()).flatten(),
    };
    let refusal = refusal.as_deref();
    act::Pass { site: &site, now, failures, refusal }.run(tx, AutoScalingGroup::clone(&group), steps)
}
