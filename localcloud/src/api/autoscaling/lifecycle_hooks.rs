//! Lifecycle hooks are put, described and deleted.

use serde::{Deserialize, Serialize};

use super::{create_group::check_name, find, find_changeable};
use crate::{
    api::{
        error::ApiError,
        operation::{Caller, Operation},
    },
    model::auto_scaling::{
        AutoScalingGroup,
        hook::{LifecycleHook, LifecycleResult, Transition},
    },
    store::Transaction,
};

const DEFAULT_HEARTBEAT_SECS: u32 = 3600;
const HEARTBEAT_SECS: std::ops::RangeInclusive<u32> = 30..=7200;
/// <https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-quotas.html>
const MOST_HOOKS: usize = 50;

/// An action that answers with nothing.
#[derive(Serialize)]
pub struct Nothing {}

/// A hook as requests describe it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct LifecycleHookSpecification {
    lifecycle_hook_name: String,
    lifecycle_transition: String,
    #[serde(rename = "NotificationTargetARN")]
    notification_target_arn: Option<String>,
    #[serde(rename = "RoleARN")]
    role_arn: Option<String>,
    notification_metadata: Option<String>,
    heartbeat_timeout: Option<u32>,
    default_result: Option<String>,
}

impl LifecycleHookSpecification {
    /// # Errors
    /// When a value is wrong, or a notification target is named.
    pub fn check(self) -> Result<LifecycleHook, ApiError> {
        let hook = LifecycleHook {
            transition: transition(&self.lifecycle_transition)?,
            name: self.lifecycle_hook_name,
            heartbeat_timeout_secs: DEFAULT_HEARTBEAT_SECS,
            default_result: LifecycleResult::Abandon,
            notification_metadata: None,
        };
        change(
            hook,
            self.notification_target_arn.or(self.role_arn),
            self.notification_metadata,
            self.heartbeat_timeout,
            self.default_result.as_deref(),
        )
    }
}

fn transition(text: &str) -> Result<Transition, ApiError> {
    Transition::parse(text).ok_or_else(|| {
        ApiError::validation(format!(
            "Invalid lifecycle transition {text}. Valid values are: autoscaling:EC2_INSTANCE_LAUNCHING, autoscaling:EC2_INSTANCE_TERMINATING"
        ))
    })
}

/// What is given replaces what the hook has.
fn change(
    mut hook: LifecycleHook,
    target: Option<String>,
    metadata: Option<String>,
    heartbeat_secs: Option<u32>,
    default_result: Option<&str>,
) -> Result<LifecycleHook, ApiError> {
    check_name("LifecycleHookName", &hook.name)?;
    // An empty target takes a former one away, of which there are none.
    if target.is_some_and(|target| !target.is_empty()) {
        return Err(ApiError::unsupported(
            "Notification targets (NotificationTargetARN, RoleARN) are not supported by this cloud, which has neither SNS nor SQS; ask for lifecycle states with DescribeAutoScalingInstances, or in the instance at autoscaling/target-lifecycle-state of its metadata.",
        ));
    }
    if let Some(seconds) = heartbeat_secs {
        if !HEARTBEAT_SECS.contains(&seconds) {
            return Err(ApiError::validation(format!(
                "Invalid heartbeat timeout {seconds}: it must be from 30 to 7200 seconds"
            )));
        }
        hook.heartbeat_timeout_secs = seconds;
    }
    if let Some(result) = default_result {
        hook.default_result = parse_result(result)?;
    }
    hook.notification_metadata = metadata.or(hook.notification_metadata);
    Ok(hook)
}

/// # Errors
/// When it is none.
pub fn parse_result(text: &str) -> Result<LifecycleResult, ApiError> {
    LifecycleResult::parse(text).ok_or_else(|| {
        ApiError::validation(format!("Invalid lifecycle action result {text}. Valid values are: CONTINUE, ABANDON"))
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct PutLifecycleHook {
    lifecycle_hook_name: String,
    auto_scaling_group_name: String,
    lifecycle_transition: Option<String>,
    #[serde(rename = "RoleARN")]
    role_arn: Option<String>,
    #[serde(rename = "NotificationTargetARN")]
    notification_target_arn: Option<String>,
    notification_metadata: Option<String>,
    heartbeat_timeout: Option<u32>,
    default_result: Option<String>,
}

impl Operation for PutLifecycleHook {
    const ACTION: &'static str = "PutLifecycleHook";
    type Output = Nothing;

    /// A hook that exists keeps what is not given.
    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Nothing, ApiError> {
        let mut group = find_changeable(tx, &self.auto_scaling_group_name)?;
        let known = group.hooks.iter().position(|hook| hook.name == self.lifecycle_hook_name);
        let mut hook = match (known, &self.lifecycle_transition) {
            (Some(place), _) => group.hooks.remove(place),
            (None, Some(text)) => LifecycleHook {
                name: self.lifecycle_hook_name,
                transition: transition(text)?,
                heartbeat_timeout_secs: DEFAULT_HEARTBEAT_SECS,
                default_result: LifecycleResult::Abandon,
                notification_metadata: None,
            },
            (None, None) => {
                return Err(ApiError::validation("LifecycleTransition is required for creating a new lifecycle hook"));
            }
        };
        if let Some(text) = &self.lifecycle_transition {
            hook.transition = transition(text)?;
        }
        let hook = change(
            hook,
            self.notification_target_arn.or(self.role_arn),
            self.notification_metadata,
            self.heartbeat_timeout,
            self.default_result.as_deref(),
        )?;
        group.hooks.push(hook);
        check_hooks(&mut group.hooks)?;
        tx.put(group);
        Ok(Nothing {})
    }
}

/// Orders hooks by name.
///
/// # Errors
/// When there are too many, or two of one name.
pub fn check_hooks(hooks: &mut [LifecycleHook]) -> Result<(), ApiError> {
    hooks.sort_by(|a, b| a.name.cmp(&b.name));
    if hooks.len() > MOST_HOOKS {
        return Err(ApiError::new("LimitExceeded", format!("A group may have {MOST_HOOKS} lifecycle hooks at most")));
    }
    if let Some(pair) = hooks.windows(2).find(|pair| pair[0].name == pair[1].name) {
        return Err(ApiError::validation(format!("There are two lifecycle hooks with the name {}", pair[0].name)));
    }
    Ok(())
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DescribeLifecycleHooks {
    auto_scaling_group_name: String,
    #[serde(default)]
    lifecycle_hook_names: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct DescribeLifecycleHooksOutput {
    lifecycle_hooks: Vec<HookDescription>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct HookDescription {
    lifecycle_hook_name: String,
    auto_scaling_group_name: String,
    lifecycle_transition: &'static str,
    notification_metadata: Option<String>,
    heartbeat_timeout: u32,
    global_timeout: u32,
    default_result: &'static str,
}

impl Operation for DescribeLifecycleHooks {
    const ACTION: &'static str = "DescribeLifecycleHooks";
    type Output = DescribeLifecycleHooksOutput;

    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        let group = find(tx, &self.auto_scaling_group_name)?;
        for name in &self.lifecycle_hook_names {
            find_hook(&group, name)?;
        }
        let wanted = |hook: &&LifecycleHook| {
            self.lifecycle_hook_names.is_empty() || self.lifecycle_hook_names.contains(&hook.name)
        };
        let describe = |hook: &LifecycleHook| HookDescription {
            lifecycle_hook_name: hook.name.clone(),
            auto_scaling_group_name: group.name.clone(),
            lifecycle_transition: hook.transition.wire(),
            notification_metadata: hook.notification_metadata.clone(),
            heartbeat_timeout: hook.heartbeat_timeout_secs,
            global_timeout: hook.global_timeout_secs(),
            default_result: hook.default_result.wire(),
        };
        let lifecycle_hooks = group.hooks.iter().filter(wanted).map(describe).collect();
        Ok(DescribeLifecycleHooksOutput { lifecycle_hooks })
    }
}

/// # Errors
/// When the group has no such hook.
pub fn find_hook<'group>(group: &'group AutoScalingGroup, name: &str) -> Result<&'group LifecycleHook, ApiError> {
    group
        .hooks
        .iter()
        .find(|hook| hook.name == name)
        .ok_or_else(|| ApiError::validation(format!("No Lifecycle Hook found with name {name}")))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DeleteLifecycleHook {
    lifecycle_hook_name: String,
    auto_scaling_group_name: String,
}

impl Operation for DeleteLifecycleHook {
    const ACTION: &'static str = "DeleteLifecycleHook";
    type Output = Nothing;

    /// Outstanding actions are completed first: ABANDON for instances that launch, CONTINUE for those that terminate
    /// (<https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_DeleteLifecycleHook.html>).
    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Nothing, ApiError> {
        let mut group = find_changeable(tx, &self.auto_scaling_group_name)?;
        find_hook(&group, &self.lifecycle_hook_name)?;
        group.hooks.retain(|hook| hook.name != self.lifecycle_hook_name);
        for member in &mut group.members {
            let result =
                if member.lifecycle.is_terminating() { LifecycleResult::Continue } else { LifecycleResult::Abandon };
            for action in &mut member.lifecycle_actions {
                if action.hook == self.lifecycle_hook_name {
                    action.result.get_or_insert(result);
                }
            }
        }
        tx.put(group);
        Ok(Nothing {})
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DescribeLifecycleHookTypes {}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct DescribeLifecycleHookTypesOutput {
    lifecycle_hook_types: [&'static str; 2],
}

impl Operation for DescribeLifecycleHookTypes {
    const ACTION: &'static str = "DescribeLifecycleHookTypes";
    type Output = DescribeLifecycleHookTypesOutput;

    fn run(self, _tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        let lifecycle_hook_types = [Transition::Launching, Transition::Terminating].map(Transition::wire);
        Ok(DescribeLifecycleHookTypesOutput { lifecycle_hook_types })
    }
}
