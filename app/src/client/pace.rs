//! How much and how fast: so many times or for so long, so many at once.

use std::time::{Duration, Instant};

use futures::StreamExt;

use super::http::{RequestError, Sent};
use super::tally::Tally;
use crate::cli;

/// Begins one piece of work after the other, as `amount` says, and counts what each came to.
pub async fn run<F>(amount: &cli::Amount, tally: &mut Tally, mut work: impl FnMut() -> F)
where
    F: Future<Output = Result<Sent, RequestError>>,
{
    let deadline = amount.duration.map(|duration| Instant::now() + duration);
    let mut left = amount.count.unwrap_or(u32::MAX);
    // What has begun when the time is over still ends, and counts.
    let begun = std::iter::from_fn(|| {
        if left == 0 || deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return None;
        }
        left -= 1;
        Some(timed(work()))
    });
    let mut running = futures::stream::iter(begun).buffer_unordered(amount.jobs.into());
    while let Some((took, outcome)) = running.next().await {
        tally.count(took, outcome);
    }
}

pub async fn timed<T>(work: impl Future<Output = T>) -> (Duration, T) {
    let started = Instant::now();
    let outcome = work.await;
    (started.elapsed(), outcome)
}
