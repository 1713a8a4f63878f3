//! How fast our own clocks go: pauses between looks, and the longest waits. As they are in every run of the program;
//! tests quicken them, so that minutes of a slow cloud pass in seconds.

use std::time::Duration;

/// So many times shorter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Pauses.
    pub pauses: u32,
    /// Limits.
    pub limits: u32,
    /// How long one answer may take.
    pub answers: u32,
}

const USUAL: Pace = Pace { pauses: 1, limits: 1, answers: 1 };

tokio::task_local! {
    static PACE: Pace;
}

/// Runs something at another pace.
pub async fn at<F: Future>(pace: Pace, run: F) -> F::Output {
    PACE.scope(pace, run).await
}

fn current() -> Pace {
    PACE.try_with(|pace| *pace).unwrap_or(USUAL)
}

/// A pause as it is made.
pub fn pause(of: Duration) -> Duration {
    of / current().pauses.max(1)
}

/// How long one answer may take.
pub fn answer(of: Duration) -> Duration {
    of / current().answers.max(1)
}

/// A limit as it is held.
pub fn limit(of: Duration) -> Duration {
    of / current().limits.max(1)
}
