//! Faults on purpose: calls that are throttled, fail, are carried out and not answered, or whose effect is not seen for a
//! while. For whoever tests a client against the troubles of real clouds. Every call is counted, so that a test can let
//! exactly the n-th fail. Without a plan nothing happens but the counting. The daemon and the process of S3 have one
//! each: S3's does as the daemon's says in a file, and counts for itself.

/// What was created and is not to be seen yet.
mod hidden;
/// The same of buckets and objects.
mod hidden_objects;
/// The plan: a TOML file, or a text in its form.
pub mod plan;
/// Its files.
mod plan_file;

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

pub use self::hidden_objects::CREATING;
use self::{
    hidden::Hidden,
    hidden_objects::HiddenObject,
    plan::{Effect, Plan, PlanError, Rule},
    plan_file::{Told, Watched},
};
use crate::{api::error::ApiError, model::time::Timestamp, wire::value::Node};

/// As many calls are remembered; the count goes on.
const REMEMBERED: usize = 10_000;

/// A call that reached an action, as the admin socket tells it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// Counted from 1.
    pub number: u64,
    pub time: Timestamp,
    pub request_id: String,
    pub service: String,
    pub action: String,
    /// The effects of the faults that struck it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<Effect>,
    /// `OK` or the error's code; none while it is under way, and for a call of S3 whose client left before its end. What a
    /// client was not told is here all the same.
    pub outcome: Option<String>,
}

/// The calls so far.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Calls {
    /// All that were ever counted.
    pub total: u64,
    /// The last of them.
    pub calls: Vec<Call>,
}

/// What is to become of a call.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Verdict {
    pub number: u64,
    pub delay: Duration,
    /// How it fails, if it does.
    pub failure: Option<Effect>,
    hide: Vec<Span>,
}

/// For how long something is not seen: the first of the two that ends it.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Span {
    duration: Option<Duration>,
    looks: Option<u64>,
}

/// The plan in force and the calls that it has met. Clones share one.
#[derive(Clone, Default)]
pub struct Faults(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    rules: Vec<Standing>,
    text: String,
    total: u64,
    calls: VecDeque<Call>,
    hidden: Vec<Hidden>,
    hidden_objects: Vec<HiddenObject>,
    file: Option<Watched>,
    /// Where S3 is told what is in force.
    told_at: Option<PathBuf>,
    trouble: Option<String>,
}

/// A rule, and how often it was met.
struct Standing {
    rule: Rule,
    matched: u64,
    since: Option<Instant>,
}

impl Faults {
    /// Follows a file: what stands in it is in force, also after it was changed.
    ///
    /// # Errors
    /// When it cannot be read or is no plan.
    pub fn follow(path: &Path) -> Result<Self, PlanError> {
        let watched = Watched::of(path);
        let text = std::fs::read_to_string(path).map_err(|error| PlanError::unreadable(path, &error))?;
        let faults = Self::default();
        faults.set(&text).map_err(|error| error.at(path))?;
        faults.lock().file = Some(watched);
        Ok(faults)
    }

    /// Does as a daemon says in a file (see `tell`), also before it is there.
    #[must_use]
    pub fn heed(path: &Path) -> Self {
        let faults = Self::default();
        faults.lock().file = Some(Watched::told(path));
        faults
    }

    /// Tells S3, in this file, what is in force: from now on, and before a change is answered.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn tell(&self, path: &Path) -> Result<(), PlanError> {
        let mut state = self.lock();
        let told = match &state.file {
            Some(file) => Told::Followed(&file.path),
            None if state.text.is_empty() => Told::Nothing,
            None => Told::Text(&state.text),
        };
        // What a former daemon has said is over, and its counts.
        Told::Nothing.write(path).and_then(|()| told.write(path)).map_err(|error| PlanError::untold(path, &error))?;
        state.told_at = Some(path.to_owned());
        Ok(())
    }

    /// Puts a plan in force, in place of the former one. The rules' counts begin anew; that of the calls goes on, and what
    /// is hidden stays so for its time.
    ///
    /// # Errors
    /// When the text is no plan, or S3 cannot be told; the former one stays.
    pub fn set(&self, text: &str) -> Result<(), PlanError> {
        let plan = Plan::parse(text)?;
        let mut state = self.lock();
        state.tell(&Told::Text(text))?;
        Self::put_in_force(&mut state, plan, text);
        Ok(())
    }

    fn put_in_force(state: &mut State, plan: Plan, text: &str) {
        text.clone_into(&mut state.text);
        state.rules = plan.faults.into_iter().map(|rule| Standing { rule, matched: 0, since: None }).collect();
        state.trouble = None;
    }

    /// The text of the plan in force.
    #[must_use]
    pub fn text(&self) -> String {
        self.lock().text.clone()
    }

    /// No faults any more, and nothing is hidden.
    ///
    /// # Errors
    /// When S3 cannot be told; all is as before then.
    pub fn clear(&self) -> Result<(), PlanError> {
        let mut state = self.lock();
        state.tell(&Told::Nothing)?;
        state.clear();
        Ok(())
    }

    /// The calls after that of the number given.
    #[must_use]
    pub fn calls(&self, after: u64) -> Calls {
        let state = self.lock();
        let calls = state.calls.iter().filter(|call| call.number > after).cloned().collect();
        Calls { total: state.total, calls }
    }

    /// Counts from 1 again.
    pub fn forget_calls(&self) {
        let mut state = self.lock();
        state.calls.clear();
        state.total = 0;
    }

    /// Why a changed file is not in force.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.lock().trouble.clone()
    }

    /// Counts a call and says what is to become of it.
    #[must_use]
    pub fn meet(&self, service: &str, action: &str, request_id: &str) -> Verdict {
        self.read_again();
        let mut state = self.lock();
        state.total += 1;
        let mut verdict = Verdict { number: state.total, ..Verdict::default() };
        let mut struck = Vec::new();
        for standing in &mut state.rules {
            if !standing.strikes(service, action) {
                continue;
            }
            let rule = &standing.rule;
            match rule.effect {
                Effect::Delay => verdict.delay += Duration::from_millis(rule.milliseconds.unwrap_or(0)),
                Effect::Hide => {
                    verdict.hide.push(Span { duration: rule.seconds.map(Duration::from_secs_f64), looks: rule.calls });
                }
                // One failure is all that a call can have: the first rule's.
                _ if verdict.failure.is_some() => continue,
                effect => verdict.failure = Some(effect),
            }
            struck.push(rule.effect);
        }
        if state.calls.len() == REMEMBERED {
            state.calls.pop_front();
        }
        state.calls.push_back(Call {
            number: verdict.number,
            time: Timestamp::now(),
            request_id: request_id.to_owned(),
            service: service.to_owned(),
            action: action.to_owned(),
            faults: struck,
            outcome: None,
        });
        verdict
    }

    /// Notes what a call came to.
    pub fn note(&self, number: u64, outcome: &str) {
        let mut state = self.lock();
        // From the newest: it is among the last.
        if let Some(call) = state.calls.iter_mut().rev().find(|call| call.number == number) {
            call.outcome = Some(outcome.to_owned());
        }
    }

    /// Why a group's launch fails, if it does. It is no call, and only the lack of capacity can strike it.
    #[must_use]
    pub fn refuse_group_launch(&self) -> Option<String> {
        self.read_again();
        let mut state = self.lock();
        let mut rules = state.rules.iter_mut().filter(|standing| standing.rule.effect == Effect::InsufficientCapacity);
        rules.any(|standing| standing.strikes("autoscaling", "RunInstances")).then(|| insufficient_capacity().message)
    }

    /// Refuses a call that names what is not to be seen yet.
    ///
    /// # Errors
    /// As if it did not exist.
    pub fn check_sight(&self, service: &str, action: &str, input: &Node) -> Result<(), ApiError> {
        let mut state = self.lock();
        hidden::forget_shown(&mut state.hidden);
        state.hidden.iter_mut().find_map(|hidden| hidden.refuse(service, action, input)).map_or(Ok(()), Err)
    }

    /// What is hidden is left out of an answer that describes; what a call created that was told to hide, is hidden.
    pub fn veil(&self, service: &str, action: &str, input: &Node, output: &mut Node, verdict: &Verdict) {
        let mut state = self.lock();
        for hidden in &mut state.hidden {
            hidden.leave_out(service, action, output);
        }
        for span in &verdict.hide {
            for new in hidden::created(service, action, input, output, *span) {
                // A call that is repeated with its client token creates nothing.
                if !state.hidden.iter().any(|known| known.is_same(&new)) {
                    state.hidden.push(new);
                }
            }
        }
    }

    /// The input of a call, where it is needed after the call.
    #[must_use]
    pub fn keeps_input(verdict: &Verdict) -> bool {
        !verdict.hide.is_empty()
    }

    /// Reads the file that is followed, if it has changed.
    fn read_again(&self) {
        let mut state = self.lock();
        let Some(file) = &mut state.file else { return };
        if !file.has_changed() {
            return;
        }
        if file.is_told && file.is_gone() {
            state.clear();
            return;
        }
        let path = file.path.clone();
        let read = std::fs::read_to_string(&path).map_err(|error| PlanError::unreadable(&path, &error));
        let planned = read.and_then(|text| Plan::parse(&text).map(|plan| (plan, text)));
        match planned.and_then(|planned| state.tell(&Told::Followed(&path)).map(|()| planned)) {
            Ok((plan, text)) => Self::put_in_force(&mut state, plan, &text),
            Err(error) => {
                tracing::warn!("the faults are as before: {error}");
                state.trouble = Some(format!("the faults are as before their file was changed: {error}"));
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn clear(&mut self) {
        self.rules.clear();
        self.text.clear();
        self.hidden.clear();
        self.hidden_objects.clear();
        self.trouble = None;
    }

    fn tell(&self, told: &Told<'_>) -> Result<(), PlanError> {
        match &self.told_at {
            Some(path) => told.write(path).map_err(|error| PlanError::untold(path, &error)),
            None => Ok(()),
        }
    }
}

impl Standing {
    /// Counts a call if it is of this rule's, and says whether it is struck.
    fn strikes(&mut self, service: &str, action: &str) -> bool {
        if !self.rule.is_of(service, action) {
            return false;
        }
        self.matched += 1;
        let since = *self.since.get_or_insert_with(Instant::now);
        let in_time = self.rule.for_seconds.is_none_or(|seconds| since.elapsed().as_secs_f64() < seconds);
        in_time && self.rule.selects(self.matched)
    }
}

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html#api-error-codes-table-server>
#[must_use]
pub fn insufficient_capacity() -> ApiError {
    let words = "There is not enough capacity to fulfill your request. Reduce the number of instances in your request, or wait for additional capacity to become available.";
    ApiError::new("InsufficientInstanceCapacity", words).status(500)
}

#[cfg(test)]
mod tests;
