//! Balancers and public addresses are brought to the proxy, and its health reports to the records. Instances that are
//! being deregistered go when their connections have ended.

/// What becomes of registered instances, from what the proxy reports. Pure.
pub mod backends;
/// What the proxy should do, from the records. Pure.
pub mod plan;

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;

use self::backends::{Change, View, decide};
use super::runner::{Context, Progress, Reconciler};
use crate::{
    drivers::{BackendStatus, DriverError, ProxyPlan},
    model::{
        alarm::Alarm,
        auto_scaling::{Activity, AutoScalingGroup},
        identity::Credential,
        instance::Instance,
        load_balancer::LoadBalancer,
        time::Timestamp,
        volume::Volume,
    },
    store::{Record as _, StoreError, Transaction, changes::Cursor},
};

/// How often the plan is given to the proxy though it has not changed: a dead proxy, or one without a port that has
/// become free, is mended by that.
const MEND_EVERY: Duration = Duration::from_secs(5);
/// How often the proxy is asked while all is well, and while something is expected to change.
const ASK_EVERY: Duration = Duration::from_secs(1);
const ASK_SOON: Duration = Duration::from_millis(250);

#[derive(Default)]
pub struct LoadBalancers {
    /// The plan by the records, as far as they were followed.
    plan: Option<ProxyPlan>,
    followed: Cursor,
    /// The plan that the proxy has, and since when.
    applied: Option<(ProxyPlan, Instant)>,
}

/// Kinds of records that no plan is made from. All others may be.
const UNPLANNED: &[&str] = &[Activity::KIND, Alarm::KIND, AutoScalingGroup::KIND, Credential::KIND, Volume::KIND];

#[async_trait]
impl Reconciler for LoadBalancers {
    fn name(&self) -> &'static str {
        "load_balancers"
    }

    fn period(&self) -> Duration {
        MEND_EVERY
    }

    async fn reconcile(&mut self, cx: &Context) -> anyhow::Result<Progress> {
        let failure = self.apply(cx).await?;
        // Asked after the plan was applied: an instance seen without connections then gets no new ones.
        let statuses = match &self.applied {
            Some((plan, _)) if plan.balancers.iter().any(|balancer| !balancer.backends.is_empty()) => {
                match cx.drivers.proxy.status().await {
                    Ok(statuses) => Some(statuses),
                    Err(error) => {
                        tracing::debug!("{error}");
                        None
                    }
                }
            }
            Some(_) => Some(Vec::new()),
            None => None,
        };
        let (balancers, instances) = read(cx)?;
        let applied = self.applied.as_ref().map(|(plan, _)| plan);
        let view = View { balancers: &balancers, instances: &instances, applied, now: Timestamp::now() };
        let changes = decide(&view, statuses.as_deref());
        if !changes.is_empty() {
            keep(cx, changes).await?;
        }
        match failure {
            Some(failure) => Err(failure.into()),
            None => Ok(pace(&balancers, statuses.as_deref())),
        }
    }
}

impl LoadBalancers {
    /// Brings the proxy to the plan. Returns why that failed, if it failed as a whole; what a single balancer lacks is
    /// noted with it and is no failure.
    async fn apply(&mut self, cx: &Context) -> Result<Option<DriverError>, StoreError> {
        let changed = cx.store.changes(&mut self.followed).touch_others(UNPLANNED);
        let plan = match self.plan.take().filter(|_| !changed) {
            Some(plan) => plan,
            None => cx.store.read(plan::plan)?,
        };
        let is_applied = |(known, since): &(ProxyPlan, Instant)| since.elapsed() < MEND_EVERY && *known == plan;
        if self.applied.as_ref().is_some_and(is_applied) {
            self.plan = Some(plan);
            return Ok(None);
        }
        let error = cx.drivers.proxy.apply(&plan).await.err();
        let (troubles, failure) = blame(&plan, error);
        self.note(cx, troubles).await?;
        self.applied = if failure.is_none() { Some((plan.clone(), Instant::now())) } else { None };
        self.plan = Some(plan);
        Ok(failure)
    }

    async fn note(&self, cx: &Context, troubles: BTreeMap<String, String>) -> Result<(), StoreError> {
        let is_known = |balancer: &Arc<LoadBalancer>| balancer.trouble.as_ref() == troubles.get(&balancer.name);
        if cx.store.read(|tx| tx.list::<LoadBalancer>().iter().all(is_known))? {
            return Ok(());
        }
        for (name, trouble) in &troubles {
            tracing::warn!("the load balancer {name} is not served: {trouble}");
        }
        write(cx, move |tx| {
            for balancer in tx.list::<LoadBalancer>() {
                let trouble = troubles.get(&balancer.name);
                if balancer.trouble.as_ref() != trouble {
                    tx.update::<LoadBalancer>(&balancer.name, |balancer| balancer.trouble = trouble.cloned());
                }
            }
        })
        .await
    }
}

/// What each balancer lacks, and why the proxy failed as a whole.
fn blame(plan: &ProxyPlan, error: Option<DriverError>) -> (BTreeMap<String, String>, Option<DriverError>) {
    let Some(error) = error else { return (BTreeMap::new(), None) };
    let names: Vec<&str> = plan.balancers.iter().map(|balancer| balancer.name.as_str()).collect();
    let of_some = troubles(&names, &error);
    if !of_some.is_empty() {
        return (of_some, None);
    }
    let of_all = names.iter().map(|name| ((*name).to_owned(), error.to_string())).collect();
    (of_all, Some(error))
}

/// Which balancers an error of the proxy is about: its cause has a sentence `port 80 of load balancer NAME… on …` for
/// each port that could not be had.
fn troubles(names: &[&str], error: &DriverError) -> BTreeMap<String, String> {
    let hint = error.hint.as_ref().map(|hint| format!(" (hint: {hint})")).unwrap_or_default();
    let mut troubles: BTreeMap<String, String> = BTreeMap::new();
    for sentence in error.cause.split("; ") {
        let Some((_, rest)) = sentence.split_once("load balancer ") else { continue };
        let about = rest.split(" on ").next().unwrap_or_default();
        for name in about.split_whitespace().filter(|name| names.contains(name)) {
            let entry = troubles.entry(name.to_owned()).or_default();
            if !entry.is_empty() {
                entry.push_str("; ");
            }
            entry.push_str(sentence);
        }
    }
    for trouble in troubles.values_mut() {
        trouble.push_str(&hint);
    }
    troubles
}

type Records = (Vec<Arc<LoadBalancer>>, BTreeMap<String, Arc<Instance>>);

fn read(cx: &Context) -> Result<Records, StoreError> {
    cx.store.read(|tx| {
        let balancers = tx.list::<LoadBalancer>();
        let registered = balancers.iter().flat_map(|balancer| balancer.backends.keys());
        let instances = registered.filter_map(|id| Some((id.clone(), tx.get::<Instance>(id)?))).collect();
        (balancers, instances)
    })
}

/// Keeps what was decided, where the record is still the one that was looked at.
async fn keep(cx: &Context, changes: Vec<Change>) -> Result<(), StoreError> {
    write(cx, move |tx| {
        for change in changes {
            tx.update::<LoadBalancer>(change.balancer(), |balancer| change.apply(balancer));
        }
    })
    .await
}

/// A transaction that waits for the disk elsewhere.
async fn write<F>(cx: &Context, body: F) -> Result<(), StoreError>
where
    F: FnOnce(&mut Transaction<'_>) + Send + 'static,
{
    let store = Arc::clone(&cx.store);
    let written = tokio::task::spawn_blocking(move || {
        store.transact(|tx| {
            body(tx);
            Ok(())
        })
    });
    written.await.unwrap_or_else(|error| Err(StoreError::Commit(error.to_string())))
}

fn pace(balancers: &[Arc<LoadBalancer>], statuses: Option<&[BackendStatus]>) -> Progress {
    let mut backends = balancers.iter().flat_map(|balancer| balancer.backends.values()).peekable();
    if backends.peek().is_none() {
        return Progress::Settled;
    }
    let unsettled =
        statuses.is_none() || backends.any(|backend| backend.draining_since.is_some() || backend.healthy != Some(true));
    Progress::Again(if unsettled { ASK_SOON } else { ASK_EVERY })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_about_ports_is_told_to_the_balancers_whose_ports_they_are() {
        let error = DriverError::new(
            "opening ports of the load balancers",
            "port 8080 of load balancer a b on 127.0.0.1: another program has it; port 81 of load balancer c on 127.0.0.1: load balancer d has it, and only HTTP listeners share a port",
        )
        .hint("use another port");
        let troubles = troubles(&["a", "b", "c", "d"], &error);
        assert_eq!(troubles.keys().collect::<Vec<_>>(), ["a", "b", "c"]);
        assert_eq!(
            troubles["a"],
            "port 8080 of load balancer a b on 127.0.0.1: another program has it (hint: use another port)"
        );
    }
}
