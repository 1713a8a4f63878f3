//! Scheduled actions: a group's sizes change at a time, once or again and again.

use serde::{Deserialize, Serialize};

use super::recurrence::Recurrence;
use crate::model::time::Timestamp;

/// AWS carries a scheduled action out within two minutes of its time
/// (<https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-scheduled-scaling.html>). One that was not
/// carried out by then, as the daemon was away, is missed and not made up for: a group must not shrink in the evening
/// because it should have in the morning.
const LATEST_SECS: i64 = 120;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScheduledAction {
    pub name: String,
    pub arn: String,
    pub start: Option<Timestamp>,
    pub end: Option<Timestamp>,
    /// A cron expression of five fields.
    pub recurrence: Option<String>,
    /// IANA name; without one the expression is in UTC.
    pub time_zone: Option<String>,
    pub min_size: Option<u32>,
    pub max_size: Option<u32>,
    pub desired_capacity: Option<u32>,
    /// When it is carried out next.
    pub next: Timestamp,
}

impl ScheduledAction {
    #[must_use]
    pub fn is_due(&self, now: Timestamp) -> bool {
        self.next <= now
    }

    /// It is due, but too late.
    #[must_use]
    pub fn is_missed(&self, now: Timestamp) -> bool {
        self.next.plus_secs(LATEST_SECS) < now
    }

    /// The same action after its time has come; `None` where it does not recur, or its end is reached.
    #[must_use]
    pub fn following(&self, now: Timestamp) -> Option<Self> {
        let recurrence = Recurrence::parse(self.recurrence.as_deref()?, self.time_zone.as_deref()).ok()?;
        let next = recurrence.next_after(now)?;
        self.end.is_none_or(|end| next <= end).then(|| Self { next, ..self.clone() })
    }
}
