//! Instance refreshes are started, cancelled and rolled back. The reconciler replaces the members.

/// Refreshes as they are described.
pub mod describe;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize, de::IgnoredAny};

use super::{
    create_group::mixed_instances,
    find_changeable,
    launch_source::{self, LaunchTemplateSpecification},
};
use crate::{
    api::{
        error::ApiError,
        operation::{Caller, Operation},
    },
    model::{
        auto_scaling::{
            AutoScalingGroup, LaunchSource, Lifecycle,
            refresh::{InstanceRefresh, RefreshPreferences, RefreshStatus},
        },
        id,
        time::Timestamp,
    },
    store::Transaction,
};

const DEFAULT_MIN_HEALTHY: u32 = 90;
const DEFAULT_CHECKPOINT_DELAY_SECS: u32 = 3600;
const LONGEST_CHECKPOINT_DELAY_SECS: u32 = 172_800;
/// How many refreshes of a group are remembered; AWS remembers those of six weeks.
const REMEMBERED: usize = 50;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct StartInstanceRefresh {
    auto_scaling_group_name: String,
    strategy: Option<String>,
    desired_configuration: Option<DesiredConfiguration>,
    #[serde(default)]
    preferences: Preferences,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DesiredConfiguration {
    launch_template: Option<LaunchTemplateSpecification>,
    #[serde(skip_serializing)]
    mixed_instances_policy: Option<IgnoredAny>,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Preferences {
    min_healthy_percentage: Option<u32>,
    max_healthy_percentage: Option<u32>,
    instance_warmup: Option<u32>,
    #[serde(default)]
    checkpoint_percentages: Vec<u32>,
    checkpoint_delay: Option<u32>,
    skip_matching: Option<bool>,
    auto_rollback: Option<bool>,
    scale_in_protected_instances: Option<String>,
    standby_instances: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct InstanceRefreshIdOutput {
    instance_refresh_id: String,
}

impl Operation for StartInstanceRefresh {
    const ACTION: &'static str = "StartInstanceRefresh";
    type Output = InstanceRefreshIdOutput;

    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        let mut group = find_changeable(tx, &self.auto_scaling_group_name)?;
        match self.strategy.as_deref() {
            None | Some("Rolling") => {}
            Some("ReplaceRootVolume") => {
                return Err(ApiError::unsupported(
                    "The strategy ReplaceRootVolume is not supported by this cloud; use Rolling.",
                ));
            }
            Some(other) => return Err(ApiError::validation(format!("Strategy '{other}' is not Rolling"))),
        }
        if group.active_refresh().is_some() {
            return Err(ApiError::new(
                "InstanceRefreshInProgress",
                "An Instance Refresh is already in progress and blocks the execution of this Instance Refresh.",
            ));
        }
        let desired = match self.desired_configuration {
            None => None,
            Some(DesiredConfiguration { mixed_instances_policy: Some(_), .. }) => return Err(mixed_instances()),
            Some(DesiredConfiguration { launch_template, .. }) => {
                Some(launch_source::requested(tx, None, launch_template)?)
            }
        };
        let preferences = self.preferences.check(&group)?;
        if preferences.auto_rollback {
            check_reversible(&group, desired.as_ref())?;
        }
        let (target, _) = launch_source::resolve(tx, desired.as_ref().unwrap_or(&group.launch_source))?;
        let targets = targets(&group, &target, &preferences);
        let total = u32::try_from(targets.len()).unwrap_or(u32::MAX);
        let now = Timestamp::now();
        let refresh = InstanceRefresh {
            id: id::uuid(),
            status: RefreshStatus::Pending,
            status_reason: None,
            start: now,
            end: None,
            preferences,
            desired,
            targets,
            total,
            percentage: 0,
            to_update: total,
            checkpoints_passed: 0,
            resting_until: None,
            progressed: now,
            rollback: None,
        };
        let instance_refresh_id = refresh.id.clone();
        group.refreshes.push(refresh);
        let surplus = group.refreshes.len().saturating_sub(REMEMBERED);
        group.refreshes.drain(..surplus);
        tx.put(group);
        Ok(InstanceRefreshIdOutput { instance_refresh_id })
    }
}

/// Members that are to be replaced.
fn targets(group: &AutoScalingGroup, to: &LaunchSource, preferences: &RefreshPreferences) -> BTreeSet<String> {
    let members = group.members.iter().filter(|member| match member.lifecycle {
        Lifecycle::Standby | Lifecycle::EnteringStandby => preferences.standby_instances != "Ignore",
        lifecycle => lifecycle.is_capacity(),
    });
    members
        .filter(|member| !preferences.skip_matching || member.launched_from != *to)
        .filter(|member| !member.protected_from_scale_in || preferences.protected_instances != "Ignore")
        .map(|member| member.instance_id.clone())
        .collect()
}

impl Preferences {
    /// <https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_RefreshPreferences.html>
    fn check(self, group: &AutoScalingGroup) -> Result<RefreshPreferences, ApiError> {
        let refuse = |message: &str| Err(ApiError::validation(message));
        let least = self.min_healthy_percentage.unwrap_or(DEFAULT_MIN_HEALTHY);
        if least > 100 {
            return refuse("MinHealthyPercentage must be from 0 to 100");
        }
        if let Some(most) = self.max_healthy_percentage {
            if !(100..=200).contains(&most) {
                return refuse("MaxHealthyPercentage must be from 100 to 200");
            }
            if self.min_healthy_percentage.is_none() {
                return refuse("If you specify MaxHealthyPercentage, you must also specify MinHealthyPercentage");
            }
            if most - least > 100 {
                return refuse(
                    "The difference between MaxHealthyPercentage and MinHealthyPercentage cannot be greater than 100",
                );
            }
        }
        let percentages = &self.checkpoint_percentages;
        if percentages.iter().any(|percentage| !(1..=100).contains(percentage))
            || percentages.windows(2).any(|pair| pair[0] >= pair[1])
        {
            return refuse("CheckpointPercentages must be unique numbers from 1 to 100 in ascending order");
        }
        if self.checkpoint_delay.is_some() && percentages.is_empty() {
            return refuse("If you specify CheckpointDelay, you must also specify CheckpointPercentages");
        }
        if self.checkpoint_delay.is_some_and(|delay| delay > LONGEST_CHECKPOINT_DELAY_SECS) {
            return refuse("CheckpointDelay must be from 0 to 172800 seconds");
        }
        let behaviour = |name: &str, given: Option<String>, allowed: [&str; 3]| match given {
            None => Ok("Wait".to_owned()),
            Some(given) if allowed.contains(&given.as_str()) => Ok(given),
            Some(given) => Err(ApiError::validation(format!("{name} '{given}' is not one of {}", allowed.join(", ")))),
        };
        Ok(RefreshPreferences {
            min_healthy_percentage: least,
            max_healthy_percentage: self.max_healthy_percentage,
            warmup_secs: self.instance_warmup.or(group.default_warmup_secs).unwrap_or(group.health_check_grace_secs),
            checkpoint_percentages: self.checkpoint_percentages,
            checkpoint_delay_secs: self.checkpoint_delay.unwrap_or(DEFAULT_CHECKPOINT_DELAY_SECS),
            skip_matching: self.skip_matching.unwrap_or(false),
            auto_rollback: self.auto_rollback.unwrap_or(false),
            protected_instances: behaviour(
                "ScaleInProtectedInstances",
                self.scale_in_protected_instances,
                ["Refresh", "Ignore", "Wait"],
            )?,
            standby_instances: behaviour("StandbyInstances", self.standby_instances, ["Terminate", "Ignore", "Wait"])?,
        })
    }
}

/// What there was before must be known, and must not have moved on
/// (<https://docs.aws.amazon.com/autoscaling/ec2/userguide/instance-refresh-rollback.html>).
fn check_reversible(group: &AutoScalingGroup, desired: Option<&LaunchSource>) -> Result<(), ApiError> {
    let refuse = |message: &str| Err(ApiError::new("IrreversibleInstanceRefresh", message));
    if desired.is_none() {
        return refuse("Rollback is not supported: no desired configuration is specified for the instance refresh.");
    }
    match &group.launch_source {
        LaunchSource::Template { version, .. } if version.starts_with('$') => refuse(
            "Rollback is not supported: the Auto Scaling group uses the launch template's $Latest or $Default version.",
        ),
        _ => Ok(()),
    }
}

fn no_active(group: &AutoScalingGroup) -> ApiError {
    ApiError::new(
        "ActiveInstanceRefreshNotFound",
        format!("No in progress or pending Instance Refresh found for Auto Scaling group {}", group.name),
    )
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct CancelInstanceRefresh {
    auto_scaling_group_name: String,
    wait_for_transitioning_instances: Option<bool>,
}

impl Operation for CancelInstanceRefresh {
    const ACTION: &'static str = "CancelInstanceRefresh";
    type Output = InstanceRefreshIdOutput;

    /// What was replaced stays replaced.
    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        let mut group = find_changeable(tx, &self.auto_scaling_group_name)?;
        if self.wait_for_transitioning_instances == Some(false) {
            return Err(ApiError::unsupported(
                "WaitForTransitioningInstances=false is not supported by this cloud: launches and terminations that have begun come to their end.",
            ));
        }
        let missing = no_active(&group);
        let refresh = group.active_refresh_mut().ok_or(missing)?;
        refresh.status = RefreshStatus::Cancelling;
        let instance_refresh_id = refresh.id.clone();
        tx.put(group);
        Ok(InstanceRefreshIdOutput { instance_refresh_id })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct RollbackInstanceRefresh {
    auto_scaling_group_name: String,
}

impl Operation for RollbackInstanceRefresh {
    const ACTION: &'static str = "RollbackInstanceRefresh";
    type Output = InstanceRefreshIdOutput;

    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        let mut group = find_changeable(tx, &self.auto_scaling_group_name)?;
        let mut refresh = group.active_refresh().cloned().ok_or_else(|| no_active(&group))?;
        check_reversible(&group, refresh.desired.as_ref())?;
        if refresh.rollback.is_none() {
            refresh.roll_back("Rollback initiated by user.", &group, Timestamp::now());
        }
        let instance_refresh_id = refresh.id.clone();
        if let Some(known) = group.active_refresh_mut() {
            *known = refresh;
        }
        tx.put(group);
        Ok(InstanceRefreshIdOutput { instance_refresh_id })
    }
}
