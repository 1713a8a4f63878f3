//! Alarms are removed, switched, and set by hand.

use std::{collections::BTreeSet, sync::Arc};

use serde::Deserialize;

use super::{
    STATES, check_one_of,
    history::{self, Change},
};
use crate::{
    api::{
        error::ApiError,
        operation::{Caller, Done, Operation},
    },
    model::{alarm::Alarm, alarm_rule::AlarmRule, time::Timestamp},
    store::Transaction,
};

const MOST_NAMES: usize = 100;
const LONGEST_REASON: usize = 1023;
const LONGEST_REASON_DATA: usize = 4000;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DeleteAlarms {
    alarm_names: Vec<String>,
}

impl Operation for DeleteAlarms {
    const ACTION: &'static str = "DeleteAlarms";
    type Output = Done;

    /// Names that no alarm has are no error. An alarm's history stays.
    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Done, ApiError> {
        check_count(&self.alarm_names)?;
        let names: BTreeSet<&str> = self.alarm_names.iter().map(String::as_str).collect();
        let going: Vec<Arc<Alarm>> = names.iter().filter_map(|name| tx.get::<Alarm>(name)).collect();
        if going.iter().filter(|alarm| alarm.rule.is_some()).count() > 1 {
            return Err(ApiError::validation("Only one composite alarm can be deleted in one operation."));
        }
        for composite in tx.list::<Alarm>() {
            let Some(Ok(rule)) = composite.rule.as_deref().map(AlarmRule::parse) else { continue };
            let children = rule.alarms();
            let is_going = names.contains(composite.name.as_str());
            let kept = going
                .iter()
                .find(|alarm| children.contains(alarm.name.as_str()) && (!is_going || alarm.name == composite.name));
            if let Some(alarm) = kept {
                return Err(ApiError::validation(format!(
                    "Cannot delete {} as there are composite alarm(s) depending on it.",
                    alarm.name
                )));
            }
        }
        let now = Timestamp::now();
        for alarm in going {
            history::configuration(tx, &alarm, Change::Delete, now);
            tx.delete::<Alarm>(&alarm.name);
        }
        Ok(Done {})
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct SetAlarmState {
    alarm_name: String,
    state_value: String,
    state_reason: String,
    state_reason_data: Option<String>,
}

impl Operation for SetAlarmState {
    const ACTION: &'static str = "SetAlarmState";
    type Output = Done;

    /// The actions of another state are due with it; the next regular evaluation says what the state really is.
    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Done, ApiError> {
        check_one_of("stateValue", &self.state_value, STATES)?;
        if self.state_reason.chars().count() > LONGEST_REASON {
            return Err(ApiError::validation(format!("StateReason must have {LONGEST_REASON} characters at most")));
        }
        if let Some(data) = &self.state_reason_data {
            if data.chars().count() > LONGEST_REASON_DATA {
                return Err(ApiError::validation(format!(
                    "StateReasonData must have {LONGEST_REASON_DATA} characters at most"
                )));
            }
            if serde_json::from_str::<serde::de::IgnoredAny>(data).is_err() {
                return Err(ApiError::new("InvalidFormat", "StateReasonData was not valid JSON"));
            }
        }
        let old = tx.get::<Alarm>(&self.alarm_name).ok_or_else(|| {
            ApiError::new("ResourceNotFound", format!("There is no alarm {}", self.alarm_name)).status(404)
        })?;
        let now = Timestamp::now();
        let mut alarm = Alarm::clone(&old);
        if alarm.state == self.state_value {
            alarm.state_reason = self.state_reason;
            alarm.state_reason_data = self.state_reason_data;
            alarm.state_updated = now;
        } else {
            alarm.enter(&self.state_value, self.state_reason, self.state_reason_data, now);
            history::state_update(tx, &old, &alarm, now);
        }
        tx.put(alarm);
        Ok(Done {})
    }
}

fn check_count(names: &[String]) -> Result<(), ApiError> {
    if names.len() > MOST_NAMES {
        return Err(ApiError::validation(format!("AlarmNames may hold {MOST_NAMES} names at most")));
    }
    Ok(())
}

fn switch(tx: &mut Transaction<'_>, names: &[String], enabled: bool) -> Result<Done, ApiError> {
    check_count(names)?;
    let now = Timestamp::now();
    for name in names {
        let Some(known) = tx.get::<Alarm>(name).filter(|alarm| alarm.actions_enabled != enabled) else { continue };
        let alarm = Alarm { actions_enabled: enabled, ..Alarm::clone(&known) };
        history::configuration(tx, &alarm, Change::Update, now);
        tx.put(alarm);
    }
    Ok(Done {})
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct EnableAlarmActions {
    alarm_names: Vec<String>,
}

impl Operation for EnableAlarmActions {
    const ACTION: &'static str = "EnableAlarmActions";
    type Output = Done;

    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Done, ApiError> {
        switch(tx, &self.alarm_names, true)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DisableAlarmActions {
    alarm_names: Vec<String>,
}

impl Operation for DisableAlarmActions {
    const ACTION: &'static str = "DisableAlarmActions";
    type Output = Done;

    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Done, ApiError> {
        switch(tx, &self.alarm_names, false)
    }
}
