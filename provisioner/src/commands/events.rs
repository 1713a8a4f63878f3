//! `events`: what the group and its alarms did, as the cloud wrote it down. Newest last, as in a log.

use aws_sdk_cloudwatch::primitives::DateTime;
use aws_sdk_cloudwatch::types::{AlarmHistoryItem, HistoryItemType, ScanBy};
use jiff::Timestamp;
use serde_json::{Value as Json, json};

use crate::cli::EventsOptions;
use crate::cloud::Cloud;
use crate::cloud::retry::{Class, CloudError, found};
use crate::commands::Session;
use crate::error::{Exit, Failure};
use crate::report::{pretty, table};
use crate::resource::CloudResult;

/// Something that happened.
struct Event {
    at: Timestamp,
    /// `scaling` or `alarm`.
    kind: &'static str,
    /// The group or the alarm.
    of: String,
    status: String,
    what: String,
    /// Why, in the cloud's words.
    cause: String,
}

/// Runs it.
pub async fn run(session: Session, options: EventsOptions) -> Result<Exit, Failure> {
    let clients = session.running_clients("looking for events").await?;
    let (cloud, state) = session.connect(clients).await?;
    let alarms: Vec<String> = session
        .declaration(&cloud, &state)
        .iter()
        .map(|resource| resource.key())
        .filter(|key| key.kind() == "scaling-alarm")
        .map(|key| cloud.name(key.name()))
        .collect();
    let most = usize::try_from(options.lines).unwrap_or(usize::MAX);
    let (activities, history) = tokio::join!(
        activities(&cloud, most),
        futures::future::try_join_all(alarms.iter().map(|alarm| history(&cloud, alarm, most))),
    );
    let mut events = told(&session, "group", activities)?;
    events.extend(told(&session, "alarms", history)?.into_iter().flatten());
    // What happened within one moment came newest first as well.
    events.reverse();
    events.sort_by_key(|event| event.at);
    events.drain(..events.len().saturating_sub(most));
    if options.json {
        let list: Vec<Json> = events.iter().map(Event::json).collect();
        session.report.data(pretty(&json!({ "stack": cloud.stack, "events": list })));
    } else if events.is_empty() {
        session.report.say("nothing has happened yet");
    } else {
        let rows: Vec<Vec<String>> = events.iter().map(Event::row).collect();
        session.report.data(table(&["TIME", "KIND", "OF", "STATUS", "WHAT"], &rows));
    }
    Ok(Exit::Done)
}

/// A cloud that does not know the question, or fails over it, may still answer the other one.
fn told<T>(session: &Session, of: &str, answer: CloudResult<Vec<T>>) -> Result<Vec<T>, Failure> {
    match answer {
        Err(error) if error.class() == Class::Unsupported || error.code().starts_with("HTTP ") => {
            session.report.say(format!("this cloud does not tell what the {of} did: {error}"));
            Ok(Vec::new())
        }
        answer => answer.map_err(|error| Failure::cloud("looking for events", &error)),
    }
}

impl Event {
    fn row(&self) -> Vec<String> {
        let what = if self.cause.is_empty() { self.what.clone() } else { format!("{} {}", self.what, self.cause) };
        let what = what.replace('\n', " ");
        vec![seconds_of(self.at), self.kind.to_owned(), self.of.clone(), self.status.clone(), what]
    }

    fn json(&self) -> Json {
        json!({
            "time": seconds_of(self.at), "kind": self.kind, "of": self.of, "status": self.status, "what": self.what,
            "cause": self.cause,
        })
    }
}

fn seconds_of(at: Timestamp) -> String {
    at.strftime("%FT%TZ").to_string()
}

fn time(at: Option<&DateTime>) -> Timestamp {
    at.and_then(|at| Timestamp::new(at.secs(), i32::try_from(at.subsec_nanos()).ok()?).ok()).unwrap_or_default()
}

/// The group's scaling activities, as far as the cloud keeps them. The API gives the newest first.
async fn activities(cloud: &Cloud, most: usize) -> CloudResult<Vec<Event>> {
    let group = cloud.name("web");
    let request = cloud.autoscaling.describe_scaling_activities().auto_scaling_group_name(&group).max_records(100);
    let mut pages = request.into_paginator().items().send();
    let mut events = Vec::new();
    while let Some(item) = pages.next().await {
        let Some(activity) = found(item.map_err(CloudError::from))? else { break };
        let text = |text: Option<&str>| text.unwrap_or_default().trim().to_owned();
        let mut cause = text(activity.cause());
        if let Some(message) = activity.status_message().filter(|message| !message.is_empty()) {
            cause = format!("{message} {cause}");
        }
        events.push(Event {
            at: time(activity.start_time()),
            kind: "scaling",
            of: group.clone(),
            status: activity.status_code().map(|code| code.as_str().to_owned()).unwrap_or_default(),
            what: text(activity.description()),
            cause,
        });
        if events.len() >= most {
            break;
        }
    }
    Ok(events)
}

/// What an alarm did. Not every cloud writes that down.
async fn history(cloud: &Cloud, alarm: &str, most: usize) -> CloudResult<Vec<Event>> {
    let request = cloud.cloudwatch.describe_alarm_history().alarm_name(alarm).max_records(100);
    let request = request.scan_by(ScanBy::TimestampDescending);
    let mut pages = request.into_paginator().items().send();
    let mut events = Vec::new();
    while let Some(item) = pages.next().await {
        let Some(item) = found(item.map_err(CloudError::from))? else { break };
        events.push(event_of(&item));
        if events.len() >= most {
            break;
        }
    }
    Ok(events)
}

fn event_of(item: &AlarmHistoryItem) -> Event {
    let data: Json = item.history_data().and_then(|data| serde_json::from_str(data).ok()).unwrap_or_default();
    let reason = data["newState"]["stateReason"].as_str().or(data["error"].as_str()).unwrap_or_default();
    Event {
        at: time(item.timestamp()),
        kind: "alarm",
        of: item.alarm_name().unwrap_or_default().to_owned(),
        status: match item.history_item_type() {
            Some(HistoryItemType::StateUpdate) => data["newState"]["stateValue"].as_str().unwrap_or("state").to_owned(),
            Some(HistoryItemType::Action) => "action".to_owned(),
            _ => "settings".to_owned(),
        },
        what: item.history_summary().unwrap_or_default().trim().to_owned(),
        cause: reason.to_owned(),
    }
}
