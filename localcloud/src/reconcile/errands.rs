//! Errands: one piece of work per object, each in a task of its own, so that none waits for another's slow or failing
//! one. After a failure the object rests, each time longer. Knows neither instances nor volumes.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{task::JoinSet, time::Instant};

use super::runner::Progress;

const FIRST_REST: Duration = Duration::from_millis(250);
const LONGEST_REST: Duration = Duration::from_secs(8);
/// How soon to look again while something is under way: a pass reads memory, and nothing else.
const NEXT_LOOK: Duration = Duration::from_millis(50);

#[derive(Debug, Clone, Copy)]
struct Errand<S> {
    /// What runs, or ran last.
    step: S,
    running: bool,
    failures: u32,
    not_before: Instant,
}

type Table<S> = Mutex<BTreeMap<String, Errand<S>>>;

/// The errands of one reconciler, whose kinds of work are `S`. Dropping it abandons those that run, as a killed daemon
/// does.
pub struct Errands<S> {
    errands: Arc<Table<S>>,
    tasks: JoinSet<()>,
}

impl<S> Default for Errands<S> {
    fn default() -> Self {
        Self { errands: Arc::default(), tasks: JoinSet::new() }
    }
}

fn lock<S>(errands: &Table<S>) -> MutexGuard<'_, BTreeMap<String, Errand<S>>> {
    errands.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<S: Copy + PartialEq + Send + 'static> Errands<S> {
    /// Whether work for this object is under way.
    #[must_use]
    pub fn is_running(&self, id: &str) -> bool {
        lock(&self.errands).get(id).is_some_and(|errand| errand.running)
    }

    /// Whether this work would be started now. Only the same work as that which failed has to wait.
    #[must_use]
    pub fn is_free(&self, id: &str, step: S) -> bool {
        lock(&self.errands)
            .get(id)
            .is_none_or(|errand| !errand.running && (errand.step != step || errand.not_before <= Instant::now()))
    }

    /// Starts the work, unless work for this object runs or the same has failed a moment ago. It gets the number of
    /// failures before it, and says whether it has succeeded.
    pub fn start<F>(&mut self, id: &str, step: S, work: impl FnOnce(u32) -> F)
    where
        F: Future<Output = bool> + Send + 'static,
    {
        // Ended tasks are let go.
        while self.tasks.try_join_next().is_some() {}
        if !self.is_free(id, step) {
            return;
        }
        let failures = {
            let mut errands = lock(&self.errands);
            let failures = errands.get(id).filter(|errand| errand.step == step).map_or(0, |errand| errand.failures);
            errands.insert(id.to_owned(), Errand { step, running: true, failures, not_before: Instant::now() });
            failures
        };
        let work = work(failures);
        let ended = Ended { errands: Arc::clone(&self.errands), id: id.to_owned(), succeeded: false };
        self.tasks.spawn(async move {
            let succeeded = work.await;
            ended.with(succeeded);
        });
    }

    /// Objects with which something is under way or has failed: they are looked at again, changed or not.
    #[must_use]
    pub fn unsettled(&self) -> BTreeSet<String> {
        let errands = lock(&self.errands);
        let unsettled = errands.iter().filter(|(_, errand)| errand.running || errand.failures > 0);
        unsettled.map(|(id, _)| id.clone()).collect()
    }

    /// Forgets the failures of objects that are gone.
    pub fn keep(&mut self, ids: &BTreeSet<&str>) {
        lock(&self.errands).retain(|id, errand| errand.running || ids.contains(id.as_str()));
    }

    /// When to look again.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let errands = lock(&self.errands);
        if errands.values().any(|errand| errand.running) {
            return Progress::Again(NEXT_LOOK);
        }
        let now = Instant::now();
        let rests = errands.values().filter(|errand| errand.failures > 0).map(|errand| errand.not_before);
        match rests.filter(|time| *time > now).min() {
            Some(time) => Progress::Again(time - now),
            None => Progress::Settled,
        }
    }
}

/// Notes the end of an errand, also of one that panics.
struct Ended<S> {
    errands: Arc<Table<S>>,
    id: String,
    succeeded: bool,
}

impl<S> Ended<S> {
    fn with(mut self, succeeded: bool) {
        self.succeeded = succeeded;
        if succeeded {
            return;
        }
        if let Some(errand) = lock(&self.errands).get_mut(&self.id) {
            errand.failures += 1;
            let doubled = FIRST_REST.saturating_mul(1 << errand.failures.saturating_sub(1).min(16));
            errand.not_before = Instant::now() + doubled.min(LONGEST_REST);
        }
    }
}

impl<S> Drop for Ended<S> {
    fn drop(&mut self) {
        let mut errands = lock(&self.errands);
        if self.succeeded {
            // Nothing of it needs to be known: the table is as long as there is work.
            errands.remove(&self.id);
        } else if let Some(errand) = errands.get_mut(&self.id) {
            errand.running = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn settle(errands: &Errands<u8>) {
        while matches!(errands.progress(), Progress::Again(pause) if pause == NEXT_LOOK) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    fn rest(errands: &Errands<u8>, id: &str) -> Duration {
        lock(&errands.errands)[id].not_before - Instant::now()
    }

    #[tokio::test]
    async fn a_failed_object_rests_longer_each_time_while_others_go_on() {
        let mut errands = Errands::<u8>::default();
        errands.start("a", 1, |_| async { false });
        settle(&errands).await;
        assert!(!errands.is_free("a", 1));
        assert!(errands.is_free("b", 1));
        assert!(errands.is_free("a", 2), "other work need not wait");
        assert!(rest(&errands, "a") <= FIRST_REST);
        while !errands.is_free("a", 1) {
            assert!(matches!(errands.progress(), Progress::Again(_)));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        errands.start("a", 1, |failures| async move { failures != 1 });
        settle(&errands).await;
        assert!(rest(&errands, "a") > FIRST_REST);
        errands.start("a", 1, |_| async { unreachable!("it rests") });
    }

    #[tokio::test]
    async fn success_ends_the_rest() {
        let mut errands = Errands::<u8>::default();
        errands.start("a", 1, |_| async { true });
        settle(&errands).await;
        assert!(errands.is_free("a", 1));
        assert_eq!(errands.progress(), Progress::Settled);
    }

    #[tokio::test]
    async fn an_object_has_one_errand_at_a_time_and_a_panic_frees_it() {
        let mut errands = Errands::<u8>::default();
        let (open, gate) = tokio::sync::oneshot::channel::<()>();
        errands.start("a", 1, |_| async move { gate.await.is_ok() });
        errands.start("a", 1, |_| async { unreachable!("a second errand beside the first") });
        assert!(!errands.is_free("a", 1));
        open.send(()).expect("it waits");
        settle(&errands).await;
        errands.start("b", 1, |_| async { panic!("on purpose") });
        settle(&errands).await;
        assert!(errands.is_free("b", 1));
    }
}
