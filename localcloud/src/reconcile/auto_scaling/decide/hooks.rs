//! What lifecycle hooks let a member do. Pure.

use crate::model::{
    auto_scaling::{
        AutoScalingGroup, Member,
        hook::{LifecycleAction, LifecycleResult},
    },
    time::Timestamp,
};

/// What a member's lifecycle actions came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Continue,
    /// The token of the action, and how it was abandoned.
    Abandon {
        token: String,
        how: &'static str,
    },
}

/// `None` while an action is open. One that is abandoned decides for all.
pub(super) fn verdict(group: &AutoScalingGroup, member: &Member, now: Timestamp) -> Option<Verdict> {
    let results = member.lifecycle_actions.iter().map(|action| (action, result(group, action, now)));
    let mut open = false;
    for (action, result) in results {
        match result {
            None => open = true,
            Some((LifecycleResult::Continue, _)) => {}
            Some((LifecycleResult::Abandon, how)) => {
                return Some(Verdict::Abandon { token: action.token.clone(), how });
            }
        }
    }
    (!open).then_some(Verdict::Continue)
}

fn result(
    group: &AutoScalingGroup,
    action: &LifecycleAction,
    now: Timestamp,
) -> Option<(LifecycleResult, &'static str)> {
    if let Some(result) = action.result {
        return Some((result, "Lifecycle Action Completed with ABANDON Result"));
    }
    if now < action.deadline {
        return None;
    }
    let hook = group.hooks.iter().find(|hook| hook.name == action.hook);
    Some((hook.map_or(LifecycleResult::Abandon, |hook| hook.default_result), "Heartbeat Timeout"))
}
