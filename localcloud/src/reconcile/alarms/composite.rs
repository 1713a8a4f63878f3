//! Composite alarms: their states follow from those of other alarms. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::{decide::Evaluation, words::long};
use crate::{
    api::cloudwatch::{arn, history::zoned},
    model::{
        alarm::{ALARM, Alarm, INSUFFICIENT_DATA, OK},
        alarm_rule::{AlarmRule, name_of},
        site::Site,
    },
};

/// The composite alarms that change their state. One is evaluated when it was put, or when an alarm of its rule has changed:
/// a state that was set by hand lasts until then
/// (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_SetAlarmState.html>).
#[must_use]
pub fn decide<'a>(alarms: &BTreeMap<&str, &'a Alarm>, news: &News, site: &Site) -> Vec<(&'a Alarm, Evaluation)> {
    let rules: BTreeMap<&str, AlarmRule> = alarms
        .iter()
        .filter_map(|(name, alarm)| Some((*name, AlarmRule::parse(alarm.rule.as_deref()?).ok()?)))
        .collect();
    let mut decided = Vec::new();
    for (name, rule) in &rules {
        let Some(alarm) = alarms.get(name).copied() else { continue };
        let is_due = news.put.contains(*name) || rule.alarms().iter().any(|child| news.changed.contains(*child));
        // Alarms that depend on themselves would drive each other round for ever; AWS does not evaluate them either.
        if !is_due || depends_on_itself(name, &rules) {
            continue;
        }
        let holds = rule.holds(&mut |child| alarms.get(name_of(child)).map(|child| child.state.clone()));
        let state = if holds { ALARM } else { OK };
        if alarm.state != state {
            decided.push((alarm, evaluation(alarm, rule, state, alarms, site)));
        }
    }
    decided
}

/// What has changed since alarms were looked at last, by name.
#[derive(Debug, Default)]
pub struct News {
    /// New, replaced, gone, or in another state.
    pub changed: BTreeSet<String>,
    /// New or replaced.
    pub put: BTreeSet<String>,
}

fn depends_on_itself(name: &str, rules: &BTreeMap<&str, AlarmRule>) -> bool {
    let mut seen = BTreeSet::new();
    let mut open = vec![name];
    while let Some(next) = open.pop() {
        for child in rules.get(next).map(AlarmRule::alarms).unwrap_or_default() {
            if child == name {
                return true;
            }
            if seen.insert(child) {
                open.push(child);
            }
        }
    }
    false
}

/// The alarm of the rule that changed last is what triggered it.
fn evaluation(
    alarm: &Alarm,
    rule: &AlarmRule,
    state: &'static str,
    alarms: &BTreeMap<&str, &Alarm>,
    site: &Site,
) -> Evaluation {
    let arn_of = |name: &str| arn(&site.region, &site.account_id, name);
    let children = rule.alarms().into_iter().filter_map(|child| alarms.get(child).copied());
    let trigger = children.max_by_key(|child| child.state_transitioned.unwrap_or(child.state_updated));
    let is_new = alarm.state == INSUFFICIENT_DATA && alarm.state_transitioned.is_none();
    let reason = match trigger {
        Some(child) if !is_new => {
            let time = child.state_transitioned.unwrap_or(child.state_updated);
            format!("{} transitioned to {} at {}", arn_of(&child.name), child.state, long(time))
        }
        _ => format!("{} was created and its alarm rule evaluates to {state}", arn_of(&alarm.name)),
    };
    let triggering: Vec<_> = trigger
        .into_iter()
        .map(|child| {
            json!({
                "arn": arn_of(&child.name),
                "state": { "value": child.state, "timestamp": zoned(child.state_updated) },
            })
        })
        .collect();
    Evaluation { state, reason, reason_data: json!({ "triggeringAlarms": triggering }).to_string() }
}
