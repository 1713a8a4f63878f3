//! Instance refreshes as they are described.

use serde::{Deserialize, Serialize};

use super::{DesiredConfiguration, Preferences};
use crate::{
    api::{
        autoscaling::{find, launch_source, page_size},
        error::ApiError,
        operation::{Caller, Operation},
        page::page,
    },
    model::{
        auto_scaling::refresh::{InstanceRefresh, RefreshPreferences, Rollback},
        time::Timestamp,
    },
    store::Transaction,
};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DescribeInstanceRefreshes {
    auto_scaling_group_name: String,
    #[serde(default)]
    instance_refresh_ids: Vec<String>,
    next_token: Option<String>,
    max_records: Option<usize>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct DescribeInstanceRefreshesOutput {
    instance_refreshes: Vec<RefreshDescription>,
    next_token: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct RefreshDescription {
    instance_refresh_id: String,
    auto_scaling_group_name: String,
    status: &'static str,
    status_reason: Option<String>,
    start_time: Timestamp,
    end_time: Option<Timestamp>,
    percentage_complete: u32,
    instances_to_update: u32,
    preferences: Preferences,
    desired_configuration: Option<DesiredConfiguration>,
    rollback_details: Option<RollbackDetails>,
    strategy: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct RollbackDetails {
    rollback_reason: String,
    rollback_start_time: Timestamp,
    percentage_complete_on_rollback: u32,
    instances_to_update_on_rollback: u32,
}

impl RollbackDetails {
    fn of(rollback: &Rollback) -> Self {
        Self {
            rollback_reason: rollback.reason.clone(),
            rollback_start_time: rollback.start,
            percentage_complete_on_rollback: rollback.percentage,
            instances_to_update_on_rollback: rollback.to_update,
        }
    }
}

impl Preferences {
    fn of(preferences: &RefreshPreferences) -> Self {
        let has_checkpoints = !preferences.checkpoint_percentages.is_empty();
        Self {
            min_healthy_percentage: Some(preferences.min_healthy_percentage),
            max_healthy_percentage: preferences.max_healthy_percentage,
            instance_warmup: Some(preferences.warmup_secs),
            checkpoint_percentages: preferences.checkpoint_percentages.clone(),
            checkpoint_delay: has_checkpoints.then_some(preferences.checkpoint_delay_secs),
            skip_matching: Some(preferences.skip_matching),
            auto_rollback: Some(preferences.auto_rollback),
            scale_in_protected_instances: Some(preferences.protected_instances.clone()),
            standby_instances: Some(preferences.standby_instances.clone()),
        }
    }
}

impl Operation for DescribeInstanceRefreshes {
    const ACTION: &'static str = "DescribeInstanceRefreshes";
    type Output = DescribeInstanceRefreshesOutput;

    /// The newest first.
    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        let size = page_size(self.max_records)?;
        let group = find(tx, &self.auto_scaling_group_name)?;
        if let Some(unknown) =
            self.instance_refresh_ids.iter().find(|id| group.refreshes.iter().all(|known| known.id != **id))
        {
            return Err(ApiError::validation(format!("Instance Refresh with id {unknown} was not found")));
        }
        let mut refreshes: Vec<&InstanceRefresh> = group
            .refreshes
            .iter()
            .filter(|known| self.instance_refresh_ids.is_empty() || self.instance_refresh_ids.contains(&known.id))
            .collect();
        refreshes.reverse();
        let key = |refresh: &&InstanceRefresh| format!("{:020}/{}", i64::MAX - refresh.start.millis(), refresh.id);
        let (refreshes, next_token) = page(refreshes, key, self.next_token.as_deref(), size)?;
        let instance_refreshes = refreshes.into_iter().map(|refresh| describe(tx, &group.name, refresh)).collect();
        Ok(DescribeInstanceRefreshesOutput { instance_refreshes, next_token })
    }
}

fn describe(tx: &mut Transaction<'_>, group_name: &str, refresh: &InstanceRefresh) -> RefreshDescription {
    let desired_configuration = refresh.desired.as_ref().map(|source| {
        let (_, launch_template) = launch_source::described(tx, source);
        DesiredConfiguration { launch_template, mixed_instances_policy: None }
    });
    // Going back, the share that is complete goes down to zero.
    let percentage_complete = match &refresh.rollback {
        Some(rollback) => rollback.percentage * (100 - refresh.percentage.min(100)) / 100,
        None => refresh.percentage,
    };
    RefreshDescription {
        instance_refresh_id: refresh.id.clone(),
        auto_scaling_group_name: group_name.to_owned(),
        status: refresh.status.wire(),
        status_reason: refresh.status_reason.clone(),
        start_time: refresh.start,
        end_time: refresh.end,
        percentage_complete,
        instances_to_update: refresh.to_update,
        preferences: Preferences::of(&refresh.preferences),
        desired_configuration,
        rollback_details: refresh.rollback.as_ref().map(RollbackDetails::of),
        strategy: "Rolling",
    }
}
