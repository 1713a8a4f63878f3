//! `teardown`: removes what was found, in reverse order of the needs, and waits until each is gone. What is
//! refused because something still depends on it is tried again until a limit, and the blocker is named.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;

use crate::cloud::calls::on_behalf_of;
use crate::cloud::retry::Class;
use crate::converge::{Pause, Timing, Walk};
use crate::error::{Failure, Left};
use crate::interrupt::Interrupt;
use crate::pace;
use crate::plan::Sightings;
use crate::report::seconds;
use crate::resource::{Observed, Resource, ResourceKey, Retention};

const LIMIT: Duration = Duration::from_secs(600);
/// How long a deletion that was accepted may take before it is asked for again.
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// Whether teardown touches a resource.
pub fn goes(resource: &dyn Resource, delete_data: bool) -> bool {
    delete_data || resource.retention() == Retention::Delete
}

/// Removes everything that was seen and is to go. Says when each of it was gone.
pub async fn demolish(
    walk: Walk<'_>,
    resources: &[Box<dyn Resource>],
    sightings: &Sightings,
    delete_data: bool,
) -> Result<Vec<Timing>, Failure> {
    let start = Instant::now();
    let doomed: Vec<&dyn Resource> = resources
        .iter()
        .map(AsRef::as_ref)
        .filter(|r| goes(*r, delete_data) && r.goes_with().is_none())
        .filter(|r| sightings.get(&r.key()).is_some_and(Option::is_some))
        .collect();
    let halt = Interrupt::default();
    let mut there: BTreeSet<ResourceKey> = doomed.iter().map(|resource| resource.key()).collect();
    let mut waiting = doomed.clone();
    let mut under_way: FuturesUnordered<BoxFuture<'_, Result<Timing, Failure>>> = FuturesUnordered::new();
    let mut failure: Option<Failure> = None;
    let mut timings = Vec::new();
    loop {
        if failure.is_none() {
            let (free, held): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|resource| {
                let key = resource.key();
                // A need may lead through a resource that goes with another and is not deleted by itself.
                !doomed.iter().any(|other| there.contains(&other.key()) && reaches(resources, &other.key(), &key))
            });
            waiting = held;
            for resource in free {
                let seen = sightings.get(&resource.key()).cloned().flatten();
                let key = resource.key();
                let needing = doomed.iter().map(|other| other.key()).filter(|other| reaches(resources, other, &key));
                let turn = Turn { walk, halt: halt.clone(), resource, needs: needing.collect(), start };
                under_way.push(Box::pin(on_behalf_of(key, turn.take(seen))));
            }
        }
        let Some(result) = under_way.next().await else { break };
        match result {
            Ok(timing) => {
                there.remove(&timing.key);
                timings.push(timing);
            }
            Err(error) => {
                halt.stop();
                failure.get_or_insert(error);
            }
        }
    }
    failure.map_or(Ok(timings), Err)
}

/// Whether one resource needs another, directly or through others.
fn reaches(resources: &[Box<dyn Resource>], from: &ResourceKey, to: &ResourceKey) -> bool {
    let Some(resource) = resources.iter().find(|resource| resource.key() == *from) else { return false };
    resource.needs().iter().any(|need| need == to || reaches(resources, need, to))
}

/// One resource's turn.
struct Turn<'a> {
    walk: Walk<'a>,
    /// Set when another deletion failed.
    halt: Interrupt,
    resource: &'a dyn Resource,
    /// What had to be gone first.
    needs: Vec<ResourceKey>,
    start: Instant,
}

impl Turn<'_> {
    async fn take(self, seen: Option<Observed>) -> Result<Timing, Failure> {
        let begun = self.start.elapsed();
        let called = match seen {
            Some(observed) => delete(self.walk, &self.halt, self.resource, observed).await?,
            None => Instant::now(),
        };
        let called = called.saturating_duration_since(self.start);
        let Self { resource, needs, start, .. } = self;
        Ok(Timing { key: resource.key(), needs, begun, called, ready: start.elapsed() })
    }
}

/// Returns when the cloud had first agreed.
async fn delete(
    walk: Walk<'_>,
    halt: &Interrupt,
    resource: &dyn Resource,
    mut observed: Observed,
) -> Result<Instant, Failure> {
    let key = resource.key();
    let doing = format!("deleting {key}");
    let step = walk.report.step(key.as_str(), "deleting");
    let began = Instant::now();
    let mut pause = Pause::default();
    let mut asked: Option<Instant> = None;
    let mut agreed: Option<Instant> = None;
    let mut last = String::new();
    let mut refused: Option<String> = None;
    loop {
        if walk.interrupt.stopped() || halt.stopped() {
            step.left();
            walk.interrupt.check()?;
            return halt.check().map(|()| began);
        }
        if asked.is_none_or(|at| at.elapsed() > pace::pause(ASK_AGAIN)) {
            match resource.delete(walk.cloud, &observed).await {
                Ok(()) => asked = Some(Instant::now()),
                Err(error) => match error.class() {
                    Class::Missing => asked = Some(Instant::now()),
                    Class::RefusedForNow => {
                        let why = error.to_string();
                        if refused.as_ref() != Some(&why) {
                            let blocker = resource.explain(walk.cloud).await;
                            last = blocker.map_or(why.clone(), |blocker| format!("{why}; {blocker}"));
                            refused = Some(why);
                        }
                    }
                    _ => {
                        step.failed();
                        return Err(Failure::cloud(doing, &error).left(Left::Something(observed.id)));
                    }
                },
            }
            agreed = agreed.or(asked);
        }
        match resource.find(walk.cloud).await {
            Ok(None) => break,
            Ok(Some(again)) => {
                if again.id != observed.id {
                    asked = None; // a second one with the same tags
                }
                if asked.is_some() && !again.detail.is_empty() {
                    last.clone_from(&again.detail);
                }
                observed = again;
            }
            Err(error) if error.answer_lost() || error.class() == Class::RefusedForNow => last = error.to_string(),
            Err(error) => {
                step.failed();
                return Err(Failure::cloud(format!("looking for {key}"), &error));
            }
        }
        if began.elapsed() > pace::limit(LIMIT) {
            step.failed();
            let blocker = resource.explain(walk.cloud).await;
            let why = [Some(last).filter(|last| !last.is_empty()), blocker].into_iter().flatten().collect::<Vec<_>>();
            return Err(Failure::new(doing, format!("it is still there after {}: {}", seconds(LIMIT), why.join("; ")))
                .left(Left::Something(observed.id))
                .hint("remove what holds it, then run `imagecrud-deploy teardown` again"));
        }
        step.waiting("it to be gone", &last, began.elapsed(), LIMIT);
        tokio::select! {
            _ = walk.interrupt.sleep(pause.lengthen()) => {}
            _ = halt.sleep(LIMIT) => {}
        }
    }
    step.done("deleted");
    Ok(agreed.unwrap_or(began))
}
