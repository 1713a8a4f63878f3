//! Alarms on the states of other alarms.

use serde::Deserialize;

use super::{
    history::{self, Change},
    put_metric_alarm::{check_actions, check_length},
    tags::{Tag, checked},
};
use crate::{
    api::{
        error::ApiError,
        operation::{Caller, Done, Operation},
    },
    model::{alarm::Alarm, alarm_rule::AlarmRule, time::Timestamp},
    store::Transaction,
};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct PutCompositeAlarm {
    alarm_name: String,
    alarm_rule: String,
    alarm_description: Option<String>,
    actions_enabled: Option<bool>,
    #[serde(default, rename = "OKActions")]
    ok_actions: Vec<String>,
    #[serde(default)]
    alarm_actions: Vec<String>,
    #[serde(default)]
    insufficient_data_actions: Vec<String>,
    actions_suppressor: Option<String>,
    #[serde(default)]
    tags: Vec<Tag>,
}

impl Operation for PutCompositeAlarm {
    const ACTION: &'static str = "PutCompositeAlarm";
    type Output = Done;

    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Done, ApiError> {
        check_length("AlarmName", &self.alarm_name, 255)?;
        check_length("AlarmRule", &self.alarm_rule, 10_240)?;
        if self.actions_suppressor.is_some() {
            return Err(ApiError::unsupported(
                "ActionsSuppressor is not supported by this cloud; put the suppressing alarm into the AlarmRule with AND NOT.",
            ));
        }
        let rule = AlarmRule::parse(&self.alarm_rule)
            .map_err(|error| ApiError::validation(format!("AlarmRule is not valid: {error}")))?;
        for child in rule.alarms() {
            if child != self.alarm_name && tx.get::<Alarm>(child).is_none() {
                return Err(ApiError::validation(format!("AlarmRule names the alarm {child}, which does not exist")));
            }
        }
        for actions in [&self.ok_actions, &self.alarm_actions, &self.insufficient_data_actions] {
            check_actions(actions)?;
            let barred = ["arn:aws:autoscaling:", "arn:aws:automate:", "arn:aws:swf:"];
            if let Some(action) = actions.iter().find(|action| barred.iter().any(|start| action.starts_with(start))) {
                return Err(ApiError::validation(format!("Composite alarms cannot have the action {action}")));
            }
        }
        let now = Timestamp::now();
        let existing = tx.get::<Alarm>(&self.alarm_name);
        if existing.as_ref().is_some_and(|alarm| alarm.rule.is_none()) {
            return Err(ApiError::validation(format!("A metric alarm has the name {} already", self.alarm_name)));
        }
        let alarm = Alarm {
            description: self.alarm_description,
            actions_enabled: self.actions_enabled.unwrap_or(true),
            ok_actions: self.ok_actions,
            alarm_actions: self.alarm_actions,
            insufficient_data_actions: self.insufficient_data_actions,
            rule: Some(self.alarm_rule),
            ..Alarm::new(self.alarm_name, now)
        };
        let (alarm, change) = match existing {
            Some(existing) => (alarm.replacing(&existing), Change::Update),
            None => (Alarm { tags: checked(self.tags)?, ..alarm }, Change::Create),
        };
        history::configuration(tx, &alarm, change, now);
        tx.put(alarm);
        Ok(Done {})
    }
}
