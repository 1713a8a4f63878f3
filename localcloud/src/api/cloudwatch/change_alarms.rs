//! Alarms are removed, switched, and set by hand.

use serde::Deserialize;

use super::{STATES, check_one_of};
use crate::{
    api::{
        error::ApiError,
        operation::{Caller, Done, Operation},
    },
    model::{alarm::Alarm, time::Timestamp},
    store::Transaction,
};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DeleteAlarms {
    alarm_names: Vec<String>,
}

impl Operation for DeleteAlarms {
    const ACTION: &'static str = "DeleteAlarms";
    type Output = Done;

    /// Names that no alarm has are no error.
    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Done, ApiError> {
        for name in &self.alarm_names {
            tx.delete::<Alarm>(name);
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
}

impl Operation for SetAlarmState {
    const ACTION: &'static str = "SetAlarmState";
    type Output = Done;

    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Done, ApiError> {
        check_one_of("stateValue", &self.state_value, STATES)?;
        let now = Timestamp::now();
        let set = tx.update::<Alarm>(&self.alarm_name, |alarm| {
            alarm.state = self.state_value;
            alarm.state_reason = self.state_reason;
            alarm.state_updated = now;
        });
        set.map(|()| Done {}).ok_or_else(|| ApiError::new("ResourceNotFound", "Unknown").status(404))
    }
}

fn switch(tx: &mut Transaction<'_>, names: &[String], enabled: bool) -> Done {
    for name in names {
        tx.update::<Alarm>(name, |alarm| alarm.actions_enabled = enabled);
    }
    Done {}
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
        Ok(switch(tx, &self.alarm_names, true))
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
        Ok(switch(tx, &self.alarm_names, false))
    }
}
