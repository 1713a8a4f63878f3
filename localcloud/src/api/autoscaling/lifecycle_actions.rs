//! What users say of members that wait: they may go on, must not, or need more time.

use serde::Deserialize;

use super::{
    find_changeable,
    lifecycle_hooks::{Nothing, find_hook, parse_result},
};
use crate::{
    api::{
        error::ApiError,
        operation::{Caller, Operation},
    },
    model::{
        auto_scaling::{AutoScalingGroup, hook::LifecycleAction},
        time::Timestamp,
    },
    store::Transaction,
};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct CompleteLifecycleAction {
    lifecycle_hook_name: String,
    auto_scaling_group_name: String,
    lifecycle_action_token: Option<String>,
    lifecycle_action_result: String,
    instance_id: Option<String>,
}

impl Operation for CompleteLifecycleAction {
    const ACTION: &'static str = "CompleteLifecycleAction";
    type Output = Nothing;

    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Nothing, ApiError> {
        let result = parse_result(&self.lifecycle_action_result)?;
        let mut group = find_changeable(tx, &self.auto_scaling_group_name)?;
        find_hook(&group, &self.lifecycle_hook_name)?;
        let (token, instance_id) = (self.lifecycle_action_token.as_deref(), self.instance_id.as_deref());
        let action = find_action(&mut group, &self.lifecycle_hook_name, token, instance_id, Timestamp::now())?;
        action.result = Some(result);
        tx.put(group);
        Ok(Nothing {})
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct RecordLifecycleActionHeartbeat {
    lifecycle_hook_name: String,
    auto_scaling_group_name: String,
    lifecycle_action_token: Option<String>,
    instance_id: Option<String>,
}

impl Operation for RecordLifecycleActionHeartbeat {
    const ACTION: &'static str = "RecordLifecycleActionHeartbeat";
    type Output = Nothing;

    /// The hook's timeout begins anew, but does not go beyond its global timeout.
    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Nothing, ApiError> {
        let mut group = find_changeable(tx, &self.auto_scaling_group_name)?;
        let timeout_secs = find_hook(&group, &self.lifecycle_hook_name)?.heartbeat_timeout_secs;
        let now = Timestamp::now();
        let (token, instance_id) = (self.lifecycle_action_token.as_deref(), self.instance_id.as_deref());
        let action = find_action(&mut group, &self.lifecycle_hook_name, token, instance_id, now)?;
        action.deadline = now.plus_secs(timeout_secs.into()).min(action.last_deadline);
        tx.put(group);
        Ok(Nothing {})
    }
}

/// The hook's open action, by its token or by the instance that waits.
fn find_action<'group>(
    group: &'group mut AutoScalingGroup,
    hook: &str,
    token: Option<&str>,
    instance_id: Option<&str>,
    now: Timestamp,
) -> Result<&'group mut LifecycleAction, ApiError> {
    let words = match (token, instance_id) {
        (Some(token), _) => format!("token {token}"),
        (None, Some(id)) => format!("instance ID {id}"),
        (None, None) => {
            return Err(ApiError::validation("Either LifecycleActionToken or InstanceId must be specified"));
        }
    };
    let members = group.members.iter_mut().filter(|member| instance_id.is_none_or(|id| member.instance_id == *id));
    let mut actions = members.flat_map(|member| &mut member.lifecycle_actions);
    actions
        .find(|action| {
            let is_open = action.result.is_none() && now < action.deadline;
            action.hook == hook && is_open && token.is_none_or(|token| action.token == token)
        })
        .ok_or_else(|| ApiError::validation(format!("No active Lifecycle Action found with {words}")))
}
