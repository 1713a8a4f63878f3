//! `up`: brings everything that was declared to be there and as it should be. Independent resources go on
//! side by side, each as soon as what it needs is ready; every wait has a limit, a reason and a hint.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::future::{BoxFuture, join_all};
use futures::stream::FuturesUnordered;

use crate::cloud::Cloud;
use crate::cloud::calls::on_behalf_of;
use crate::cloud::retry::{Class, CloudError};
use crate::error::{Failure, Left};
use crate::interrupt::Interrupt;
use crate::pace;
use crate::plan::{Action, Sightings, decide};
use crate::report::{Reporter, Step, seconds};
use crate::resource::{Changes, Observed, Outputs, Phase, Resource, ResourceKey};
use crate::state::StateFile;

/// How long something made moments ago may stay invisible to other calls.
const VISIBILITY_LIMIT: Duration = Duration::from_secs(45);
const FIRST_PAUSE: Duration = Duration::from_millis(150);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// What every walk carries along.
#[derive(Clone, Copy)]
pub struct Walk<'a> {
    /// The cloud.
    pub cloud: &'a Cloud,
    /// Where progress goes.
    pub report: &'a Reporter,
    /// Whether to stop.
    pub interrupt: &'a Interrupt,
}

/// When a resource's turn came, when its calls had returned, and when it was ready.
#[derive(Clone, Debug)]
pub struct Timing {
    /// Which resource.
    pub key: ResourceKey,
    /// What it waited for before its turn.
    pub needs: Vec<ResourceKey>,
    /// Its turn, since the walk began.
    pub begun: Duration,
    /// Its calls had returned.
    pub called: Duration,
    /// It was ready.
    pub ready: Duration,
}

/// A pause that grows from poll to poll.
pub struct Pause(Duration);

impl Default for Pause {
    fn default() -> Self {
        Self(FIRST_PAUSE)
    }
}

impl Pause {
    /// The pause to make now; the next one is longer.
    pub fn lengthen(&mut self) -> Duration {
        let now = self.0;
        self.0 = (self.0 * 3 / 2).min(LONGEST_PAUSE);
        pace::pause(now)
    }
}

/// Looks for every resource at once; what several of them ask is asked once.
pub async fn observe(resources: &[Box<dyn Resource>], cloud: &Cloud) -> Result<Sightings, Failure> {
    let cloud = &cloud.at_a_glance();
    let looks = resources.iter().map(|resource| async move {
        let key = resource.key();
        match resource.find(cloud).await {
            Ok(observed) => Ok((key, observed)),
            Err(error) => Err(Failure::cloud(format!("looking for {key}"), &error)),
        }
    });
    join_all(looks).await.into_iter().collect()
}

/// What the walk ends with.
pub struct Converged {
    /// Everything that is there now.
    pub known: Outputs,
    /// When each part was ready.
    pub timings: Vec<Timing>,
}

/// Brings every resource up. After a failure nothing new is begun, and what is under way ends its calls.
pub async fn converge(
    walk: Walk<'_>,
    resources: &[Box<dyn Resource>],
    sightings: &Sightings,
    state: &Mutex<StateFile>,
) -> Result<Converged, Failure> {
    let start = Instant::now();
    let halt = Interrupt::default();
    let mut known = Outputs::default();
    let mut ready: BTreeMap<ResourceKey, Touched> = BTreeMap::new();
    let mut timings = Vec::new();
    let mut waiting: Vec<&dyn Resource> = resources.iter().map(AsRef::as_ref).collect();
    let mut under_way: FuturesUnordered<BoxFuture<'_, Result<Outcome, Failure>>> = FuturesUnordered::new();
    let mut failure: Option<Failure> = None;
    loop {
        if failure.is_none() {
            let (free, held): (Vec<_>, Vec<_>) =
                waiting.into_iter().partition(|r| r.needs().iter().all(|need| ready.contains_key(need)));
            waiting = held;
            for resource in free {
                let observed = sightings.get(&resource.key()).cloned().flatten();
                let stale = resource.needs().iter().any(|need| ready.get(need) == Some(&Touched::Yes));
                let turn = Turn { walk, halt: halt.clone(), resource, known: known.clone(), state, start, stale };
                under_way.push(Box::pin(on_behalf_of(resource.key(), turn.take(observed))));
            }
        }
        let Some(result) = under_way.next().await else { break };
        match result {
            Ok((observed, timing, touched)) => {
                known.insert(timing.key.clone(), observed);
                ready.insert(timing.key.clone(), touched);
                timings.push(timing);
            }
            Err(error) => {
                halt.stop();
                failure.get_or_insert(error);
            }
        }
    }
    match failure {
        Some(failure) => {
            let count = |number: usize| u16::try_from(number).unwrap_or(u16::MAX);
            Err(Failure { standing: Some((count(ready.len()), count(resources.len()))), ..failure })
        }
        None => Ok(Converged { known, timings }),
    }
}

/// Whether a turn changed something, so that what needs it has to be looked at again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Touched {
    No,
    Yes,
}

type Outcome = (Observed, Timing, Touched);

/// One resource's turn.
struct Turn<'a> {
    walk: Walk<'a>,
    /// Set when another resource failed.
    halt: Interrupt,
    resource: &'a dyn Resource,
    known: Outputs,
    state: &'a Mutex<StateFile>,
    start: Instant,
    /// Whether what it needs was changed since it was looked at.
    stale: bool,
}

impl Turn<'_> {
    async fn take(self, mut observed: Option<Observed>) -> Result<Outcome, Failure> {
        let key = self.resource.key();
        let begun = self.start.elapsed();
        self.check()?;
        if self.stale && observed.is_some() {
            let again = self.resource.find(self.walk.cloud).await;
            observed = again.map_err(|error| Failure::cloud(format!("looking for {key}"), &error))?;
        }
        let action = decide(self.resource, observed.as_ref(), &self.known);
        let timing = |called| Timing {
            key: key.clone(),
            needs: self.resource.needs(),
            begun,
            called,
            ready: self.start.elapsed(),
        };
        let (doing, done) = match &action {
            Action::Keep => {
                self.walk.report.detail(format!(" = {key} as it should be"));
                let observed = observed.ok_or_else(|| Failure::new(format!("planning {key}"), "it went away"))?;
                return Ok((observed, timing(begun), Touched::No));
            }
            Action::Refuse(why) => {
                return Err(Failure::new(format!("planning {key}"), why).hint(self.resource.refusal_hint()));
            }
            Action::Create if self.resource.is_awaited() => ("waiting", "ready"),
            Action::Create => ("creating", "created"),
            Action::Replace => ("replacing", "created"),
            Action::Update(_) => ("changing", "changed"),
            Action::Await => ("waiting", "ready"),
        };
        let step = self.walk.report.step(key.as_str(), doing);
        let result = self.work(&action, observed, &step).await;
        match result {
            Ok((observed, called)) => {
                step.done(done);
                let touched = if action == Action::Await { Touched::No } else { Touched::Yes };
                Ok((observed, timing(called), touched))
            }
            Err(failure) => {
                if self.halt.stopped() || self.walk.interrupt.stopped() {
                    step.left()
                } else {
                    step.failed()
                }
                Err(failure)
            }
        }
    }

    async fn work(
        &self,
        action: &Action,
        observed: Option<Observed>,
        step: &Step<'_>,
    ) -> Result<(Observed, Duration), Failure> {
        match (action, &observed) {
            (Action::Create, _) => self.create(step).await?,
            (Action::Replace, _) => {
                wait_until_gone(self.walk, &self.halt, self.resource, step).await?;
                self.create(step).await?;
            }
            (Action::Update(changes), Some(observed)) => self.update(observed, changes, step).await?,
            _ => {}
        }
        let called = self.start.elapsed();
        let ready = wait_until_ready(self.walk, &self.halt, self.resource, &self.known, step).await?;
        Ok((ready, called))
    }

    fn waits_for(&self, error: &CloudError) -> &'static str {
        match error {
            CloudError::NotYet(_) => self.resource.patience().what,
            _ => "the cloud to allow it",
        }
    }

    fn check(&self) -> Result<(), Failure> {
        self.walk.interrupt.check()?;
        self.halt.check()
    }

    fn with_state<T>(&self, work: impl FnOnce(&mut StateFile) -> Result<T, Failure>) -> Result<T, Failure> {
        let mut state =
            self.state.lock().map_err(|_| Failure::new("writing the state", "an earlier write panicked"))?;
        work(&mut state)
    }

    async fn create(&self, step: &Step<'_>) -> Result<(), Failure> {
        let key = self.resource.key();
        let doing = format!("creating {key}");
        let digest = self.resource.desired(&self.known).digest();
        let mut token = self.with_state(|state| state.begin(&key, &digest))?;
        let mut retry = Retry::new(self.resource.patience().limit);
        loop {
            self.check()?;
            let Err(error) = self.resource.create(self.walk.cloud, &self.known, &token).await else { break };
            if error.class() == Class::TokenSpent && retry.respent() {
                token = self.with_state(|state| {
                    state.finish(&key)?;
                    state.begin(&key, &digest)
                })?;
                continue;
            }
            let Some(limit) = retry.allows(&error) else {
                return Err(self.failure(&doing, &error).await);
            };
            step.waiting(self.waits_for(&error), &error.to_string(), retry.began.elapsed(), limit);
            pause_or_stop(self.walk, &self.halt, retry.pause.lengthen()).await?;
        }
        self.with_state(|state| state.finish(&key))
    }

    async fn update(&self, observed: &Observed, changes: &Changes, step: &Step<'_>) -> Result<(), Failure> {
        let doing = format!("changing {}", self.resource.key());
        let mut retry = Retry::new(self.resource.patience().limit);
        loop {
            self.check()?;
            let Err(error) = self.resource.update(self.walk.cloud, &self.known, observed, changes).await else {
                return Ok(());
            };
            let Some(limit) = retry.allows(&error) else {
                return Err(self.failure(&doing, &error).await);
            };
            step.waiting(self.waits_for(&error), &error.to_string(), retry.began.elapsed(), limit);
            pause_or_stop(self.walk, &self.halt, retry.pause.lengthen()).await?;
        }
    }

    async fn failure(&self, doing: &str, error: &CloudError) -> Failure {
        let what = explained(self.walk.cloud, self.resource, error.to_string()).await;
        let mut failure = Failure::new(doing, what);
        failure.hint = error.hint();
        if error.answer_lost() {
            failure.left = Left::Unknown;
        }
        if error.code() == "IdempotentParameterMismatch" {
            failure = failure.hint(
                "an earlier, unfinished create of it had other settings: wait some minutes, or take the old settings back",
            );
        }
        failure.hint(self.resource.patience().hint)
    }
}

/// Polls a resource until it is ready, has failed, or took too long.
pub async fn wait_until_ready(
    walk: Walk<'_>,
    halt: &Interrupt,
    resource: &dyn Resource,
    known: &Outputs,
    step: &Step<'_>,
) -> Result<Observed, Failure> {
    let key = resource.key();
    let patience = resource.patience();
    let doing = format!("waiting for {key}");
    let began = Instant::now();
    let mut pause = Pause::default();
    let mut last = String::new();
    loop {
        match resource.poll(walk.cloud, known).await {
            Ok(Some(observed)) if observed.phase == Phase::Ready => return Ok(observed),
            Ok(Some(observed)) if observed.phase == Phase::Failed => {
                let what = format!("{} failed: {}", observed.id, observed.detail);
                let what = explained(walk.cloud, resource, what).await;
                return Err(Failure::new(&doing, what).left(left(resource, observed.id)).hint(patience.hint));
            }
            Ok(Some(observed)) => last = observed.detail,
            Ok(None) => {}
            Err(error) if tolerable(&error) => last = error.to_string(),
            Err(error) => return Err(Failure::cloud(&doing, &error).hint(patience.hint)),
        }
        if began.elapsed() > pace::limit(patience.limit) {
            let what = format!("{} took longer than {} ({last})", patience.what, seconds(patience.limit));
            let failure = Failure::new(&doing, explained(walk.cloud, resource, what).await);
            return Err(failure.left(left(resource, key.to_string())).hint(patience.hint));
        }
        step.waiting(patience.what, &last, began.elapsed(), patience.limit);
        pause_or_stop(walk, halt, pause.lengthen()).await?;
    }
}

async fn pause_or_stop(walk: Walk<'_>, halt: &Interrupt, pause: Duration) -> Result<(), Failure> {
    tokio::select! {
        slept = walk.interrupt.sleep(pause) => slept?,
        halted = halt.sleep(pause) => halted?,
    }
    walk.interrupt.check()?;
    halt.check()
}

/// What is only waited for leaves nothing behind.
fn left(resource: &dyn Resource, id: String) -> Left {
    if resource.is_awaited() { Left::Nothing } else { Left::Something(id) }
}

/// What has more than one line brings its own last words.
async fn explained(cloud: &Cloud, resource: &dyn Resource, what: String) -> String {
    if what.contains('\n') {
        return what;
    }
    match resource.explain(cloud).await {
        Some(more) => format!("{what}\n{more}"),
        None => what,
    }
}

/// A poll that fails this way says nothing about the resource.
fn tolerable(error: &CloudError) -> bool {
    error.answer_lost() || matches!(error.class(), Class::Missing | Class::RefusedForNow)
}

/// Which errors of a create or update are tried again, and until when.
struct Retry {
    began: Instant,
    limit: Duration,
    pause: Pause,
    spent: u32,
}

impl Retry {
    fn new(limit: Duration) -> Self {
        Self { began: Instant::now(), limit, pause: Pause::default(), spent: 0 }
    }

    /// How long we go on trying, if at all.
    fn allows(&self, error: &CloudError) -> Option<Duration> {
        let limit = match error.class() {
            Class::RefusedForNow => self.limit,
            Class::Missing => self.limit.min(VISIBILITY_LIMIT),
            _ => return None,
        };
        (self.began.elapsed() < pace::limit(limit)).then_some(limit)
    }

    fn respent(&mut self) -> bool {
        self.spent += 1;
        self.spent <= 3
    }
}

async fn wait_until_gone(
    walk: Walk<'_>,
    halt: &Interrupt,
    resource: &dyn Resource,
    step: &Step<'_>,
) -> Result<(), Failure> {
    let key = resource.key();
    let limit = resource.patience().limit;
    let began = Instant::now();
    let mut pause = Pause::default();
    loop {
        match resource.find(walk.cloud).await {
            Ok(None) => return Ok(()),
            Ok(Some(observed)) => step.waiting("the old one to go", &observed.detail, began.elapsed(), limit),
            Err(error) if tolerable(&error) => {}
            Err(error) => return Err(Failure::cloud(format!("looking for {key}"), &error)),
        }
        if began.elapsed() > pace::limit(limit) {
            let what = explained(walk.cloud, resource, format!("it is still there after {}", seconds(limit))).await;
            return Err(Failure::new(format!("waiting for the old {key} to go"), what).hint("run the command again"));
        }
        pause_or_stop(walk, halt, pause.lengthen()).await?;
    }
}

/// The chain of resources that decided how long it took, first to last.
pub fn critical_path(timings: &[Timing]) -> Vec<&Timing> {
    let mut path = Vec::new();
    let mut next = timings.iter().max_by_key(|timing| timing.ready);
    while let Some(timing) = next {
        path.push(timing);
        next = timings.iter().filter(|other| timing.needs.contains(&other.key)).max_by_key(|other| other.ready);
    }
    path.reverse();
    path.retain(|timing| timing.ready.saturating_sub(timing.begun) >= Duration::from_millis(1));
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timing(name: &str, needs: &[&str], begun: u64, ready: u64) -> Timing {
        Timing {
            key: ResourceKey::new("thing", name),
            needs: needs.iter().map(|n| ResourceKey::new("thing", n)).collect(),
            begun: Duration::from_secs(begun),
            called: Duration::from_secs(begun),
            ready: Duration::from_secs(ready),
        }
    }

    #[test]
    fn the_critical_path_follows_the_last_need() {
        let timings =
            [timing("a", &[], 0, 1), timing("b", &[], 0, 5), timing("c", &["a", "b"], 5, 9), timing("d", &["a"], 1, 3)];
        let path: Vec<&str> = critical_path(&timings).iter().map(|t| t.key.name()).collect();
        assert_eq!(path, ["b", "c"]);
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        let retry = Retry::new(Duration::from_secs(300));
        let api = |code: &str| CloudError::Api { code: code.to_owned(), message: String::new(), status: 400 };
        assert_eq!(retry.allows(&api("VolumeInUse")), Some(Duration::from_secs(300)));
        assert_eq!(retry.allows(&api("InvalidGroup.NotFound")), Some(VISIBILITY_LIMIT));
        assert_eq!(retry.allows(&api("InvalidParameterCombination")), None);
    }
}
