//! Calls, counted, and which of them fail.

use std::sync::{Arc, Mutex};

use super::lock;
use crate::{
    drivers::{DriverError, Result},
    host::HostError,
};

/// Whether a call that fails has done its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// It has changed nothing.
    Before,
    /// It has done everything, and its answer got lost.
    After,
}

#[derive(Debug)]
enum Fault {
    /// The n-th call from the start, counted from 1.
    Nth(usize, When),
    /// Calls whose text begins so, this many times.
    Named { beginning: String, when: When, times: usize, because: Option<(String, Option<String>)> },
}

#[derive(Debug, Default)]
struct Calls {
    made: Vec<String>,
    faults: Vec<Fault>,
}

/// What the four fakes share: the list of calls, and which of them fail.
///
/// A call reads like `attach i-1 vol-2 /dev/vdf`. Questions (`inspect`, `list`, `status`, `console_output`) are not
/// counted, so that the n-th call is the n-th change.
#[derive(Debug, Clone, Default)]
pub struct Faults(Arc<Mutex<Calls>>);

impl Faults {
    /// Lets the n-th call of all, counted from 1, fail.
    pub fn fail_nth(&self, nth: usize, when: When) {
        lock(&self.0).faults.push(Fault::Nth(nth, when));
    }

    /// Lets the next calls that begin so (`attach`, `launch i-1`) fail, as often as told.
    pub fn fail_next(&self, beginning: &str, when: When, times: usize) {
        lock(&self.0).faults.push(Fault::Named { beginning: beginning.to_owned(), when, times, because: None });
    }

    /// Lets them fail before their effect as the host would.
    pub fn fail_next_because(&self, beginning: &str, error: HostError, times: usize) {
        let because = Some((error.message, error.hint));
        let beginning = beginning.to_owned();
        lock(&self.0).faults.push(Fault::Named { beginning, when: When::Before, times, because });
    }

    /// Every change that was asked for so far, failed ones included.
    #[must_use]
    pub fn calls(&self) -> Vec<String> {
        lock(&self.0).made.clone()
    }

    /// Forgets calls and faults.
    pub fn clear(&self) {
        *lock(&self.0) = Calls::default();
    }

    pub(super) fn call<T>(&self, name: String, effect: impl FnOnce() -> Result<T>) -> Result<T> {
        let fault = {
            let mut calls = lock(&self.0);
            calls.made.push(name.clone());
            let nth = calls.made.len();
            calls.faults.iter_mut().find_map(|fault| match fault {
                Fault::Nth(wanted, when) if *wanted == nth => Some((*when, None)),
                Fault::Named { beginning, when, times, because }
                    if *times > 0 && name.starts_with(beginning.as_str()) =>
                {
                    *times -= 1;
                    Some((*when, because.clone()))
                }
                _ => None,
            })
        };
        match fault {
            Some((When::Before, Some((cause, hint)))) => Err(DriverError { doing: name, cause, hint }),
            Some((When::Before, None)) => Err(DriverError::new(name, "an injected fault, before its effect")),
            Some((When::After, _)) => {
                effect()?;
                Err(DriverError::new(name, "an injected fault, after its effect"))
            }
            None => effect(),
        }
    }
}
