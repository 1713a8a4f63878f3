//! Scheduled actions as they are described.

use serde::{Deserialize, Serialize};

use crate::{
    api::{
        autoscaling::{find, page_size},
        error::ApiError,
        operation::{Caller, Operation},
        page::page,
    },
    model::{
        auto_scaling::{AutoScalingGroup, schedule::ScheduledAction},
        time::Timestamp,
    },
    store::Transaction,
};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DescribeScheduledActions {
    auto_scaling_group_name: Option<String>,
    #[serde(default)]
    scheduled_action_names: Vec<String>,
    start_time: Option<Timestamp>,
    end_time: Option<Timestamp>,
    /// Of actions that other services manage there are none here.
    #[serde(rename = "IncludeManagedResources")]
    _include_managed_resources: Option<bool>,
    next_token: Option<String>,
    max_records: Option<usize>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct DescribeScheduledActionsOutput {
    scheduled_update_group_actions: Vec<ScheduledActionDescription>,
    next_token: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ScheduledActionDescription {
    auto_scaling_group_name: String,
    scheduled_action_name: String,
    #[serde(rename = "ScheduledActionARN")]
    arn: String,
    /// The same as the start time, for old clients.
    time: Timestamp,
    start_time: Timestamp,
    end_time: Option<Timestamp>,
    recurrence: Option<String>,
    min_size: Option<u32>,
    max_size: Option<u32>,
    desired_capacity: Option<u32>,
    time_zone: Option<String>,
}

impl Operation for DescribeScheduledActions {
    const ACTION: &'static str = "DescribeScheduledActions";
    type Output = DescribeScheduledActionsOutput;

    /// The start time of one that recurs is when it is carried out next. Names make start and end be ignored.
    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        let size = page_size(self.max_records)?;
        let groups = match &self.auto_scaling_group_name {
            Some(name) => vec![find(tx, name)?],
            None => tx.list::<AutoScalingGroup>(),
        };
        let names = &self.scheduled_action_names;
        let wanted = |action: &ScheduledAction| {
            if names.is_empty() {
                self.start_time.is_none_or(|start| action.next >= start)
                    && self.end_time.is_none_or(|end| action.next <= end)
            } else {
                names.iter().any(|name| *name == action.name || *name == action.arn)
            }
        };
        let mut actions = Vec::new();
        for group in &groups {
            let found = group.schedule.iter().filter(|action| wanted(action));
            actions.extend(found.map(|action| describe(&group.name, action)));
        }
        let key = |action: &ScheduledActionDescription| {
            format!("{}/{}", action.auto_scaling_group_name, action.scheduled_action_name)
        };
        actions.sort_by_key(key);
        let (scheduled_update_group_actions, next_token) = page(actions, key, self.next_token.as_deref(), size)?;
        Ok(DescribeScheduledActionsOutput { scheduled_update_group_actions, next_token })
    }
}

fn describe(group_name: &str, action: &ScheduledAction) -> ScheduledActionDescription {
    ScheduledActionDescription {
        auto_scaling_group_name: group_name.to_owned(),
        scheduled_action_name: action.name.clone(),
        arn: action.arn.clone(),
        time: action.next,
        start_time: action.next,
        end_time: action.end,
        recurrence: action.recurrence.clone(),
        min_size: action.min_size,
        max_size: action.max_size,
        desired_capacity: action.desired_capacity,
        time_zone: action.time_zone.clone(),
    }
}
