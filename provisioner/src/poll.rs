//! Waits until something in the cloud has become what it is to be: with a limit, words while it lasts, and what it leaves
//! behind where it does not. What the stack declares is waited for by the walks.

use std::time::{Duration, Instant};

use crate::cloud::retry::Class;
use crate::commands::Session;
use crate::converge::Pause;
use crate::error::{Failure, Left};
use crate::pace;
use crate::report::{Step, seconds};
use crate::resource::CloudResult;

/// What one look shows.
pub enum Look<T> {
    /// It is.
    Done(T),
    /// It is not yet, and how far it is.
    NotYet(String),
    /// It never will be, and why.
    Never(String),
}

/// What is waited for.
pub struct Poll<'a> {
    /// Whose run this is.
    pub session: &'a Session,
    /// Where it is told.
    pub step: Step<'a>,
    /// What it is part of: "backing up the data volume".
    pub doing: &'a str,
    /// What: an id.
    pub subject: &'a str,
    /// What it is to be: "complete".
    pub state: &'a str,
    /// The longest we wait.
    pub limit: Duration,
    /// What it leaves behind where it does not.
    pub left: Left,
    /// What the user can look at then.
    pub hint: &'a str,
}

impl Poll<'_> {
    /// Looks until it is. A look without an answer says nothing, and the next one is made.
    pub async fn until<T, F: Future<Output = CloudResult<Look<T>>>>(self, look: impl Fn() -> F) -> Result<T, Failure> {
        let Self { session, step, doing, subject, state, limit, left, hint } = self;
        let began = Instant::now();
        let mut pause = Pause::default();
        loop {
            let last = match look().await {
                Ok(Look::Done(found)) => {
                    step.done(state);
                    return Ok(found);
                }
                Ok(Look::Never(why)) => {
                    step.failed();
                    return Err(Failure::new(doing, format!("{subject} failed: {why}")).left(left));
                }
                Ok(Look::NotYet(detail)) => detail,
                Err(error) if error.answer_lost() || error.class() == Class::RefusedForNow => error.to_string(),
                Err(error) => {
                    step.failed();
                    return Err(Failure::cloud(doing, &error).left(left));
                }
            };
            if began.elapsed() > pace::limit(limit) {
                step.failed();
                let detail = if last.is_empty() { last } else { format!(" ({last})") };
                let what = format!("{subject} is not {state} after {}{detail}", seconds(limit));
                return Err(Failure::new(doing, what).left(left).hint(hint));
            }
            step.waiting(&format!("it to be {state}"), &last, began.elapsed(), limit);
            if let Err(stopped) = session.interrupt.sleep(pause.lengthen()).await {
                step.left();
                return Err(stopped.left(left));
            }
        }
    }
}
