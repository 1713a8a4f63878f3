//! States are entered and their actions carried out, both in one transaction: a daemon killed in between has done neither.

use std::collections::BTreeMap;

use super::{actions, decide::Evaluation};
use crate::{
    api::{cloudwatch::history, error::ApiError},
    model::{
        alarm::{Acted, Alarm},
        time::Timestamp,
    },
    store::{Store, StoreError, Transaction},
};

#[derive(Debug, thiserror::Error)]
enum ActError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{action}: {error}")]
    Refused { action: String, error: ApiError },
}

/// Carries out what is due of the alarm's state, and of the state that an evaluation brings it into.
///
/// # Errors
/// When the records cannot be read or written.
pub fn act(store: &Store, seen: &Alarm, evaluation: Option<&Evaluation>, now: Timestamp) -> Result<(), StoreError> {
    let mut refused = BTreeMap::new();
    loop {
        // An action that fails half-way must leave nothing behind: its transaction is dropped, the next one only notes it.
        match store.transact(|tx| attempt(tx, seen, evaluation, &refused, now)) {
            Ok(()) => return Ok(()),
            Err(ActError::Store(error)) => return Err(error),
            Err(ActError::Refused { action, error }) => refused.insert(action, error),
        };
    }
}

fn attempt(
    tx: &mut Transaction<'_>,
    seen: &Alarm,
    evaluation: Option<&Evaluation>,
    refused: &BTreeMap<String, ApiError>,
    now: Timestamp,
) -> Result<(), ActError> {
    let Some(known) = tx.get::<Alarm>(&seen.name) else { return Ok(()) };
    let mut alarm = Alarm::clone(&known);
    carry_out_due(tx, &mut alarm, refused, now)?;
    // One that was replaced meanwhile is evaluated anew.
    if let Some(evaluation) = evaluation
        && known.definition == seen.definition
        && known.state != evaluation.state
    {
        let old = alarm.clone();
        alarm.enter(evaluation.state, evaluation.reason.clone(), Some(evaluation.reason_data.clone()), now);
        history::state_update(tx, &old, &alarm, now);
        carry_out_due(tx, &mut alarm, refused, now)?;
    }
    if alarm != *known {
        tx.put(alarm);
    }
    Ok(())
}

fn carry_out_due(
    tx: &mut Transaction<'_>,
    alarm: &mut Alarm,
    refused: &BTreeMap<String, ApiError>,
    now: Timestamp,
) -> Result<(), ActError> {
    if alarm.acted != Acted::Due {
        return Ok(());
    }
    alarm.acted = Acted::At(now);
    let value = value_of_reason(alarm);
    for action in alarm.actions_of(&alarm.state).to_vec() {
        let outcome = match refused.get(&action) {
            Some(error) => Err(error.clone()),
            None => match actions::carry_out(tx, alarm, &action, value, now) {
                Ok(()) => Ok(()),
                Err(error) => return Err(ActError::Refused { action, error }),
            },
        };
        history::action(tx, alarm, &action, &outcome, now);
    }
    Ok(())
}

/// Carries the scaling policies of a lasting state out again. What comes of it is an activity of the group, not an item of
/// the alarm's history. A repetition that changed nothing is not written down: done once more after a restart, it changes
/// nothing again.
///
/// # Errors
/// When the records cannot be read or written.
pub fn repeat(store: &Store, seen: &Alarm, metric_value: Option<f64>, now: Timestamp) -> Result<(), StoreError> {
    for action in seen.actions_of(&seen.state).iter().filter(|action| actions::is_repeated(action)) {
        let outcome = store.transact(|tx| {
            let Some(known) = tx.get::<Alarm>(&seen.name).filter(|known| is_unchanged(known, seen)) else {
                return Ok(());
            };
            let refused = |error| ActError::Refused { action: action.clone(), error };
            actions::carry_out(tx, &known, action, metric_value, now).map_err(refused)?;
            if tx.has_changes() {
                tx.put(Alarm { acted: Acted::At(now), ..Alarm::clone(&known) });
            }
            Ok(())
        });
        match outcome {
            Err(ActError::Store(error)) => return Err(error),
            Err(error @ ActError::Refused { .. }) => tracing::debug!(alarm = seen.name, "{error}"),
            Ok(()) => {}
        }
    }
    Ok(())
}

/// Whether nothing but a repetition lies between the two.
fn is_unchanged(known: &Alarm, seen: &Alarm) -> bool {
    Alarm { acted: seen.acted, ..known.clone() } == *seen
}

/// The value that brought the alarm into its state, which also one who sets a state by hand may tell.
fn value_of_reason(alarm: &Alarm) -> Option<f64> {
    let data: serde_json::Value = serde_json::from_str(alarm.state_reason_data.as_deref()?).ok()?;
    let evaluated = data.get("evaluatedDatapoints").and_then(|points| points.as_array());
    let newest = evaluated.into_iter().flatten().find_map(|point| point.get("value")?.as_f64());
    newest.or_else(|| data.get("recentDatapoints")?.as_array()?.last()?.as_f64())
}
