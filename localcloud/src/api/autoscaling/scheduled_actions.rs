//! Scheduled actions are put, described and deleted. The reconciler carries them out.

/// Scheduled actions as they are described.
pub mod describe;

use serde::{Deserialize, Serialize};

use super::{create_group::check_name, find_changeable};
use crate::{
    api::{
        error::ApiError,
        operation::{Caller, Done, Operation},
    },
    model::{
        auto_scaling::{AutoScalingGroup, recurrence::Recurrence, schedule::ScheduledAction},
        id,
        time::Timestamp,
    },
    store::Transaction,
};

/// <https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-quotas.html>
const MOST_ACTIONS: usize = 125;
const MOST_IN_BATCH: usize = 50;

/// What an action is to do, and when.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ScheduledUpdateGroupActionRequest {
    scheduled_action_name: String,
    start_time: Option<Timestamp>,
    end_time: Option<Timestamp>,
    recurrence: Option<String>,
    min_size: Option<u32>,
    max_size: Option<u32>,
    desired_capacity: Option<u32>,
    time_zone: Option<String>,
}

impl ScheduledUpdateGroupActionRequest {
    /// Puts it into the group's schedule, over one of the same name, of which it keeps what is not given.
    fn put(self, group: &mut AutoScalingGroup, caller: &Caller<'_>, now: Timestamp) -> Result<(), ApiError> {
        let name = self.scheduled_action_name;
        check_name("ScheduledActionName", &name)?;
        if self.start_time.is_some_and(|start| start < now) {
            return Err(ApiError::validation("Given start time is in the past"));
        }
        if self.end_time.is_some_and(|end| end < now) {
            return Err(ApiError::validation("Given end time is in the past"));
        }
        let known = group.schedule.iter().position(|action| action.name == name);
        let known = known.map(|place| group.schedule.remove(place));
        let arn = known.as_ref().map_or_else(|| new_arn(group, caller, &name), |known| known.arn.clone());
        let kept = known.as_ref();
        let mut action = ScheduledAction {
            arn,
            // One that is given as recurring begins with its recurrence, not with a time that has gone by.
            start: self.start_time.or_else(|| kept.and_then(|known| known.start).filter(|start| *start >= now)),
            end: self.end_time.or_else(|| kept.and_then(|known| known.end)),
            recurrence: self.recurrence.or_else(|| kept.and_then(|known| known.recurrence.clone())),
            time_zone: self.time_zone.or_else(|| kept.and_then(|known| known.time_zone.clone())),
            min_size: self.min_size.or_else(|| kept.and_then(|known| known.min_size)),
            max_size: self.max_size.or_else(|| kept.and_then(|known| known.max_size)),
            desired_capacity: self.desired_capacity.or_else(|| kept.and_then(|known| known.desired_capacity)),
            next: now,
            name,
        };
        check_sizes_of(&action)?;
        action.next = first_time(&action, now)?;
        if let Some(other) = group.schedule.iter().find(|other| other.next == action.next) {
            return Err(ApiError::new(
                "AlreadyExists",
                format!(
                    "A scheduled action with this scheduled start time already exists: {} at {}",
                    other.name, other.next
                ),
            ));
        }
        if group.schedule.len() >= MOST_ACTIONS {
            return Err(ApiError::new(
                "LimitExceeded",
                format!("A group may have {MOST_ACTIONS} scheduled actions at most"),
            ));
        }
        group.schedule.push(action);
        Ok(())
    }
}

fn new_arn(group: &AutoScalingGroup, caller: &Caller<'_>, name: &str) -> String {
    format!(
        "arn:aws:autoscaling:{}:{}:scheduledUpdateGroupAction:{}:autoScalingGroupName/{}:scheduledActionName/{name}",
        caller.region,
        caller.account_id,
        id::uuid(),
        group.name
    )
}

fn check_sizes_of(action: &ScheduledAction) -> Result<(), ApiError> {
    let (min_size, max_size, desired) = (action.min_size, action.max_size, action.desired_capacity);
    let message = if min_size.is_none() && max_size.is_none() && desired.is_none() {
        "At least one of minSize, maxSize or desiredCapacity must be specified"
    } else if min_size.zip(max_size).is_some_and(|(min_size, max_size)| min_size > max_size) {
        "Min size must be less than or equal to max size"
    } else if min_size.zip(desired).is_some_and(|(min_size, desired)| desired < min_size) {
        "Desired capacity must be greater than or equal to min size"
    } else if max_size.zip(desired).is_some_and(|(max_size, desired)| desired > max_size) {
        "Desired capacity must be less than or equal to max size"
    } else {
        return Ok(());
    };
    Err(ApiError::validation(message))
}

/// With a start time and a recurrence it is carried out at the start first, and then as it recurs.
fn first_time(action: &ScheduledAction, now: Timestamp) -> Result<Timestamp, ApiError> {
    if action.start.zip(action.end).is_some_and(|(start, end)| end <= start) {
        return Err(ApiError::validation("End time must be after start time"));
    }
    if action.time_zone.is_some() && action.recurrence.is_none() {
        return Err(ApiError::validation("TimeZone is valid with Recurrence only"));
    }
    let recurrence = match &action.recurrence {
        None => None,
        Some(expression) => Some(Recurrence::parse(expression, action.time_zone.as_deref()).map_err(|wrong| {
            ApiError::validation(format!("Given recurrence string:{expression} is invalid: {wrong}"))
        })?),
    };
    let next = match (action.start, recurrence) {
        (Some(start), _) => Some(start),
        (None, Some(recurrence)) => recurrence.next_after(now),
        (None, None) => {
            return Err(ApiError::validation("Either StartTime or Recurrence must be specified"));
        }
    };
    next.filter(|next| action.end.is_none_or(|end| *next <= end))
        .ok_or_else(|| ApiError::validation("The schedule has no time before its end"))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct PutScheduledUpdateGroupAction {
    auto_scaling_group_name: String,
    scheduled_action_name: String,
    /// What StartTime was called once.
    time: Option<Timestamp>,
    start_time: Option<Timestamp>,
    end_time: Option<Timestamp>,
    recurrence: Option<String>,
    min_size: Option<u32>,
    max_size: Option<u32>,
    desired_capacity: Option<u32>,
    time_zone: Option<String>,
}

impl Operation for PutScheduledUpdateGroupAction {
    const ACTION: &'static str = "PutScheduledUpdateGroupAction";
    type Output = Done;

    fn run(self, tx: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<Done, ApiError> {
        let mut group = find_changeable(tx, &self.auto_scaling_group_name)?;
        let request = ScheduledUpdateGroupActionRequest {
            scheduled_action_name: self.scheduled_action_name,
            start_time: self.start_time.or(self.time),
            end_time: self.end_time,
            recurrence: self.recurrence,
            min_size: self.min_size,
            max_size: self.max_size,
            desired_capacity: self.desired_capacity,
            time_zone: self.time_zone,
        };
        request.put(&mut group, caller, Timestamp::now())?;
        tx.put(group);
        Ok(Done {})
    }
}

/// One of a batch that was refused.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct FailedScheduledUpdateGroupActionRequest {
    scheduled_action_name: String,
    error_code: String,
    error_message: String,
}

impl FailedScheduledUpdateGroupActionRequest {
    fn of(scheduled_action_name: String, error: ApiError) -> Self {
        Self { scheduled_action_name, error_code: error.code, error_message: error.message }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct BatchPutScheduledUpdateGroupAction {
    auto_scaling_group_name: String,
    scheduled_update_group_actions: Vec<ScheduledUpdateGroupActionRequest>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct BatchPutScheduledUpdateGroupActionOutput {
    failed_scheduled_update_group_actions: Vec<FailedScheduledUpdateGroupActionRequest>,
}

fn check_batch(size: usize) -> Result<(), ApiError> {
    if (1..=MOST_IN_BATCH).contains(&size) {
        return Ok(());
    }
    Err(ApiError::validation(format!("A batch must have 1 to {MOST_IN_BATCH} scheduled actions, not {size}")))
}

impl Operation for BatchPutScheduledUpdateGroupAction {
    const ACTION: &'static str = "BatchPutScheduledUpdateGroupAction";
    type Output = BatchPutScheduledUpdateGroupActionOutput;

    /// One that is refused does not keep the others from being put.
    fn run(self, tx: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        check_batch(self.scheduled_update_group_actions.len())?;
        let mut group = find_changeable(tx, &self.auto_scaling_group_name)?;
        let now = Timestamp::now();
        let mut failed = Vec::new();
        for request in self.scheduled_update_group_actions {
            let (before, name) = (group.schedule.clone(), request.scheduled_action_name.clone());
            if let Err(error) = request.put(&mut group, caller, now) {
                group.schedule = before;
                failed.push(FailedScheduledUpdateGroupActionRequest::of(name, error));
            }
        }
        tx.put(group);
        Ok(BatchPutScheduledUpdateGroupActionOutput { failed_scheduled_update_group_actions: failed })
    }
}

/// Takes an action out of the schedule.
fn take(group: &mut AutoScalingGroup, name: &str) -> Result<(), ApiError> {
    let known = group.schedule.len();
    group.schedule.retain(|action| action.name != name);
    if group.schedule.len() < known {
        return Ok(());
    }
    Err(ApiError::validation("Scheduled action name not found"))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DeleteScheduledAction {
    auto_scaling_group_name: String,
    scheduled_action_name: String,
}

impl Operation for DeleteScheduledAction {
    const ACTION: &'static str = "DeleteScheduledAction";
    type Output = Done;

    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Done, ApiError> {
        let mut group = find_changeable(tx, &self.auto_scaling_group_name)?;
        take(&mut group, &self.scheduled_action_name)?;
        tx.put(group);
        Ok(Done {})
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct BatchDeleteScheduledAction {
    auto_scaling_group_name: String,
    scheduled_action_names: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct BatchDeleteScheduledActionOutput {
    failed_scheduled_actions: Vec<FailedScheduledUpdateGroupActionRequest>,
}

impl Operation for BatchDeleteScheduledAction {
    const ACTION: &'static str = "BatchDeleteScheduledAction";
    type Output = BatchDeleteScheduledActionOutput;

    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        check_batch(self.scheduled_action_names.len())?;
        let mut group = find_changeable(tx, &self.auto_scaling_group_name)?;
        let mut failed_scheduled_actions = Vec::new();
        for name in self.scheduled_action_names {
            if let Err(error) = take(&mut group, &name) {
                failed_scheduled_actions.push(FailedScheduledUpdateGroupActionRequest::of(name, error));
            }
        }
        tx.put(group);
        Ok(BatchDeleteScheduledActionOutput { failed_scheduled_actions })
    }
}
