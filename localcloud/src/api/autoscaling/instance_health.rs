//! What users say about members: that one is unhealthy, or must not be chosen when the group shrinks.

use serde::Deserialize;

use super::{find_changeable, find_group_of};
use crate::{
    api::{
        error::ApiError,
        operation::{Caller, Done, Operation},
    },
    model::time::Timestamp,
    store::Transaction,
};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct SetInstanceHealth {
    instance_id: String,
    health_status: String,
    should_respect_grace_period: Option<bool>,
}

impl Operation for SetInstanceHealth {
    const ACTION: &'static str = "SetInstanceHealth";
    type Output = Done;

    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Done, ApiError> {
        let healthy = match self.health_status.as_str() {
            "Healthy" => true,
            "Unhealthy" => false,
            other => {
                return Err(ApiError::validation(format!(
                    "Invalid health status: {other}. It is Healthy or Unhealthy."
                )));
            }
        };
        let mut group = find_group_of(tx, &self.instance_id)?;
        let grace_secs = f64::from(group.health_check_grace_secs);
        let now = Timestamp::now();
        if let Some(member) = group.member_mut(&self.instance_id) {
            let in_grace = member.in_service_since.is_none_or(|since| since.age_secs(now) < grace_secs);
            if !healthy && in_grace && self.should_respect_grace_period.unwrap_or(true) {
                return Ok(Done {});
            }
            member.healthy = healthy;
        }
        tx.put(group);
        Ok(Done {})
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct SetInstanceProtection {
    auto_scaling_group_name: String,
    instance_ids: Vec<String>,
    protected_from_scale_in: bool,
}

impl Operation for SetInstanceProtection {
    const ACTION: &'static str = "SetInstanceProtection";
    type Output = Done;

    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Done, ApiError> {
        let mut group = find_changeable(tx, &self.auto_scaling_group_name)?;
        for instance_id in &self.instance_ids {
            let member = group.member_mut(instance_id).ok_or_else(|| {
                ApiError::validation(format!(
                    "The instance {instance_id} is not part of Auto Scaling group {}.",
                    self.auto_scaling_group_name
                ))
            })?;
            member.protected_from_scale_in = self.protected_from_scale_in;
        }
        tx.put(group);
        Ok(Done {})
    }
}
