//! Balancers and public addresses are brought to the proxy, and its health reports to the records. Instances that are
//! being deregistered go when their connections have ended.

/// What becomes of registered instances, from what the proxy reports. Pure.
pub mod backends;
/// What the proxy should do, from the records. Pure.
pub mod plan;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;

use self::{
    backends::{Change, View, decide},
    plan::Planned,
};
use super::runner::{Context, Progress, Reconciler};
use crate::{
    drivers::{BackendStatus, DriverError, ProxyPlan},
    model::{instance::Instance, load_balancer::LoadBalancer, time::Timestamp},
    store::{StoreError, Transaction, changes::Cursor},
};

/// How often the plan is given to the proxy though it has not changed: a dead proxy, or one without a port that has
/// become free, is mended by that.
const MEND_EVERY: Duration = Duration::from_secs(5);
/// How often the proxy is asked while all is well, and while something is expected to change.
const ASK_EVERY: Duration = Duration::from_secs(1);
const ASK_SOON: Duration = Duration::from_millis(250);
/// While something is expected each change of the records may be it; many at once are asked for once.
const ASK_APART: Duration = Duration::from_millis(20);

#[derive(Default)]
pub struct LoadBalancers {
    /// The plan by the records, as far as they were followed.
    planned: Planned,
    followed: Cursor,
    /// Which revision of the plan the proxy has, and since when. None where that is not known.
    applied: Option<(u64, Instant)>,
    /// Balancers whose records have a trouble; unknown at first.
    troubled: Option<BTreeSet<String>>,
    asked: Option<Instant>,
    /// What the proxy reported of each balancer when its record agreed with it.
    agreed: BTreeMap<String, Vec<BackendStatus>>,
    /// Balancers of which something is expected to change.
    unsettled: BTreeSet<String>,
}

#[async_trait]
impl Reconciler for LoadBalancers {
    fn name(&self) -> &'static str {
        "load_balancers"
    }

    fn period(&self) -> Duration {
        MEND_EVERY
    }

    async fn reconcile(&mut self, cx: &Context) -> anyhow::Result<Progress> {
        let changes = cx.store.changes(&mut self.followed);
        let changed = match cx.store.read(|tx| self.planned.follow(tx, &changes)) {
            Ok(changed) => changed,
            Err(error) => {
                self.followed = Cursor::default();
                return Err(error.into());
            }
        };
        let failure = self.apply(cx).await?;
        let since_asked = self.asked.map(|asked| asked.elapsed());
        let is_awaited = !self.unsettled.is_empty() && since_asked.is_none_or(|since| since >= ASK_APART);
        let is_due = since_asked.is_none_or(|since| since >= self.pause());
        if failure.is_none() && changed.is_empty() && !is_awaited && !is_due {
            return Ok(Progress::Again(self.pause().saturating_sub(since_asked.unwrap_or_default())));
        }
        // Asked after the plan was applied: an instance seen without connections then gets no new ones.
        let statuses = self.ask(cx).await;
        self.asked = Some(Instant::now());
        let report = statuses.map(by_balancer);
        // Only those are looked at that have changed, of which something is awaited, or of which the proxy tells something new.
        let mut looked_at: BTreeSet<&str> = changed.iter().chain(&self.unsettled).map(String::as_str).collect();
        if let Some(report) = &report {
            let is_new = |name: &&str| self.agreed.get(*name) != report.get(*name);
            looked_at.extend(report.keys().chain(self.agreed.keys()).map(String::as_str).filter(is_new));
        }
        let (balancers, instances) = read(cx, &looked_at)?;
        let plan = self.applied.map(|_| &self.planned.plan);
        let view = View { balancers: &balancers, instances: &instances, applied: plan, now: Timestamp::now() };
        let statuses: Option<Vec<BackendStatus>> = report
            .as_ref()
            .map(|report| looked_at.iter().filter_map(|name| report.get(*name)).flatten().cloned().collect());
        let decided = decide(&view, statuses.as_deref());
        let undecided: BTreeSet<String> = decided.iter().map(|change| change.balancer().to_owned()).collect();
        let unsettled = balancers.iter().filter(|balancer| {
            report.is_none() && !balancer.backends.is_empty()
                || undecided.contains(&balancer.name)
                || is_unsettled(balancer)
        });
        self.unsettled = unsettled.map(|balancer| balancer.name.clone()).collect();
        if let Some(mut report) = report {
            report.retain(|name, _| !self.unsettled.contains(name));
            self.agreed = report;
        }
        if !decided.is_empty() {
            keep(cx, decided).await?;
        }
        match failure {
            Some(failure) => Err(failure.into()),
            None => Ok(Progress::Again(self.pause())),
        }
    }
}

impl LoadBalancers {
    /// How long the proxy's health need not be asked for.
    fn pause(&self) -> Duration {
        if !self.unsettled.is_empty() {
            ASK_SOON
        } else if self.agreed.is_empty() {
            MEND_EVERY
        } else {
            ASK_EVERY
        }
    }

    /// None where it does not answer, or may have another plan than it should.
    async fn ask(&self, cx: &Context) -> Option<Vec<BackendStatus>> {
        self.applied?;
        if self.planned.plan.balancers.iter().all(|balancer| balancer.backends.is_empty()) {
            return Some(Vec::new());
        }
        cx.drivers.proxy.status().await.inspect_err(|error| tracing::debug!("{error}")).ok()
    }

    /// Brings the proxy to the plan. Returns why that failed, if it failed as a whole; what a single balancer lacks is
    /// noted with it and is no failure.
    async fn apply(&mut self, cx: &Context) -> Result<Option<DriverError>, StoreError> {
        let revision = self.planned.revision;
        if self.applied.is_some_and(|(known, since)| known == revision && since.elapsed() < MEND_EVERY) {
            return Ok(None);
        }
        let error = cx.drivers.proxy.apply(&self.planned.plan).await.err();
        let (troubles, failure) = blame(&self.planned.plan, error);
        self.note(cx, troubles).await?;
        self.applied = failure.is_none().then(|| (revision, Instant::now()));
        Ok(failure)
    }

    /// Writes the troubles into the records, and takes away those that are over.
    async fn note(&mut self, cx: &Context, troubles: BTreeMap<String, String>) -> Result<(), StoreError> {
        let troubled = match self.troubled.take() {
            Some(troubled) => troubled,
            None => cx.store.read(|tx| {
                let balancers = tx.list::<LoadBalancer>();
                let troubled = balancers.iter().filter(|balancer| balancer.trouble.is_some());
                troubled.map(|balancer| balancer.name.clone()).collect()
            })?,
        };
        let concerned: BTreeSet<String> = troubled.iter().chain(troubles.keys()).cloned().collect();
        if !concerned.is_empty() {
            let mut told = Vec::new();
            let noted = cx.store.read(|tx| {
                for name in &concerned {
                    let Some(balancer) = tx.get::<LoadBalancer>(name) else { continue };
                    if balancer.trouble.as_ref() != troubles.get(name) {
                        told.push((name.clone(), troubles.get(name).cloned()));
                    }
                }
            });
            noted?;
            for (name, trouble) in told.iter().filter_map(|(name, trouble)| Some((name, trouble.as_ref()?))) {
                tracing::warn!("the load balancer {name} is not served: {trouble}");
            }
            if !told.is_empty() {
                write(cx, move |tx| {
                    for (name, trouble) in told {
                        tx.update::<LoadBalancer>(&name, |balancer| balancer.trouble = trouble);
                    }
                })
                .await?;
            }
        }
        self.troubled = Some(troubles.into_keys().collect());
        Ok(())
    }
}

/// Whether the next report of it is awaited.
fn is_unsettled(balancer: &LoadBalancer) -> bool {
    let mut backends = balancer.backends.values();
    backends.any(|backend| backend.draining_since.is_some() || backend.healthy != Some(true))
}

fn by_balancer(statuses: Vec<BackendStatus>) -> BTreeMap<String, Vec<BackendStatus>> {
    let mut report: BTreeMap<String, Vec<BackendStatus>> = BTreeMap::new();
    for status in statuses {
        report.entry(status.balancer.clone()).or_default().push(status);
    }
    report
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

fn read(cx: &Context, names: &BTreeSet<&str>) -> Result<Records, StoreError> {
    cx.store.read(|tx| {
        let balancers: Vec<Arc<LoadBalancer>> = names.iter().filter_map(|name| tx.get(name)).collect();
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
