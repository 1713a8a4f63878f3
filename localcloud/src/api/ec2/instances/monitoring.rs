//! MonitorInstances and UnmonitorInstances: detailed monitoring of instances that were launched already.

use serde::{Deserialize, Serialize};

use super::super::{dry_run, identifiers};
use crate::{
    api::{
        error::ApiError,
        operation::{Caller, Operation},
    },
    model::instance::{Instance, InstanceState},
    store::Transaction,
};

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Monitorings {
    instances_set: Vec<InstanceMonitoring>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct InstanceMonitoring {
    instance_id: String,
    monitoring: Monitoring,
}

#[derive(Debug, Serialize)]
struct Monitoring {
    state: &'static str,
}

fn set(tx: &mut Transaction<'_>, ids: &[String], dry: Option<bool>, monitoring: bool) -> Result<Monitorings, ApiError> {
    if ids.is_empty() {
        return Err(ApiError::missing_parameter("InstanceId"));
    }
    let instances = identifiers::instances(tx, ids)?;
    if let Some(gone) = instances.iter().find(|instance| instance.state == InstanceState::Terminated) {
        return Err(ApiError::new(
            "IncorrectInstanceState",
            format!("The instance '{}' is terminated and cannot be monitored.", gone.id),
        ));
    }
    dry_run::check(dry)?;
    for instance in &instances {
        tx.update::<Instance>(&instance.id, |instance| instance.monitoring = monitoring);
    }
    let state = if monitoring { "enabled" } else { "disabled" };
    let item = |instance: &std::sync::Arc<Instance>| InstanceMonitoring {
        instance_id: instance.id.clone(),
        monitoring: Monitoring { state },
    };
    Ok(Monitorings { instances_set: instances.iter().map(item).collect() })
}

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_MonitorInstances.html>
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct MonitorInstances {
    #[serde(default, rename = "InstanceId")]
    instance_ids: Vec<String>,
    #[serde(default)]
    dry_run: Option<bool>,
}

impl Operation for MonitorInstances {
    const ACTION: &'static str = "MonitorInstances";
    type Output = Monitorings;

    fn run(self, tx: &mut Transaction<'_>, _: &Caller<'_>) -> Result<Monitorings, ApiError> {
        set(tx, &self.instance_ids, self.dry_run, true)
    }
}

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_UnmonitorInstances.html>
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct UnmonitorInstances {
    #[serde(default, rename = "InstanceId")]
    instance_ids: Vec<String>,
    #[serde(default)]
    dry_run: Option<bool>,
}

impl Operation for UnmonitorInstances {
    const ACTION: &'static str = "UnmonitorInstances";
    type Output = Monitorings;

    fn run(self, tx: &mut Transaction<'_>, _: &Caller<'_>) -> Result<Monitorings, ApiError> {
        set(tx, &self.instance_ids, self.dry_run, false)
    }
}
