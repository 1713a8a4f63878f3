//! TerminateInstances, StopInstances, StartInstances, RebootInstances. All instances of a request change, or none.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    super::{dry_run, identifiers},
    item::StateItem,
};
use crate::{
    api::{
        error::ApiError,
        operation::{Caller, Operation, Return},
    },
    model::{
        instance::{Instance, InstanceState},
        time::Timestamp,
    },
    store::Transaction,
};

/// What became of each instance.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StateChanges {
    instances_set: Vec<StateChange>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct StateChange {
    instance_id: String,
    current_state: StateItem,
    previous_state: StateItem,
}

/// Applies `change` to each instance, which yields the state it is to go to, or none to leave it.
fn change(
    tx: &mut Transaction<'_>,
    ids: &[String],
    dry: Option<bool>,
    next: impl Fn(&Instance) -> Result<Option<InstanceState>, ApiError>,
    reason: Option<(&str, &str)>,
) -> Result<StateChanges, ApiError> {
    if ids.is_empty() {
        return Err(ApiError::missing_parameter("InstanceId"));
    }
    let instances = identifiers::instances(tx, ids)?;
    let planned: Vec<(Arc<Instance>, Option<InstanceState>)> = instances
        .into_iter()
        .map(|instance| next(&instance).map(|state| (instance, state)))
        .collect::<Result<_, ApiError>>()?;
    dry_run::check(dry)?;
    let now = Timestamp::now();
    let mut instances_set = Vec::with_capacity(planned.len());
    for (instance, state) in planned {
        if let Some(state) = state {
            tx.update::<Instance>(&instance.id, |instance| {
                instance.state = state;
                instance.state_changed = now;
                instance.state_reason = reason.map(|(code, message)| (code.to_owned(), message.to_owned()));
                instance.reboot_requested = false;
                instance.trouble = None;
                if state == InstanceState::Pending {
                    instance.launched = now;
                }
            });
        }
        instances_set.push(StateChange {
            instance_id: instance.id.clone(),
            current_state: state.unwrap_or(instance.state).into(),
            previous_state: instance.state.into(),
        });
    }
    Ok(StateChanges { instances_set })
}

fn incorrect_state(instance: &Instance, doing: &str) -> ApiError {
    let (_, name) = instance.state.wire();
    ApiError::new(
        "IncorrectInstanceState",
        format!("The instance '{}' is not in a state from which it can be {doing}: it is {name}.", instance.id),
    )
}

/// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_ChangingDisableAPITermination.html>
fn protected(instance: &Instance, done: &str, attribute: &str) -> ApiError {
    ApiError::new(
        "OperationNotPermitted",
        format!(
            "The instance '{}' may not be {done}. Modify its '{attribute}' instance attribute and try again.",
            instance.id
        ),
    )
}

const USER_INITIATED: (&str, &str) =
    ("Client.UserInitiatedShutdown", "Client.UserInitiatedShutdown: User initiated shutdown");

fn terminating(instance: &Instance) -> Result<Option<InstanceState>, ApiError> {
    if instance.attributes.disable_api_termination && instance.state.is_alive() {
        return Err(protected(instance, "terminated", "disableApiTermination"));
    }
    Ok(instance.state.is_alive().then_some(InstanceState::ShuttingDown))
}

fn stopping(instance: &Instance) -> Result<Option<InstanceState>, ApiError> {
    match instance.state {
        InstanceState::Pending | InstanceState::Running if instance.attributes.disable_api_stop => {
            Err(protected(instance, "stopped", "disableApiStop"))
        }
        InstanceState::Pending | InstanceState::Running => Ok(Some(InstanceState::Stopping)),
        InstanceState::Stopping | InstanceState::Stopped => Ok(None),
        InstanceState::ShuttingDown | InstanceState::Terminated => Err(incorrect_state(instance, "stopped")),
    }
}

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_TerminateInstances.html>
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct TerminateInstances {
    #[serde(default, rename = "InstanceId")]
    instance_ids: Vec<String>,
    /// Termination never waits for the guest here.
    #[serde(default, rename = "Force")]
    _force: Option<bool>,
    #[serde(default, rename = "SkipOsShutdown")]
    _skip_os_shutdown: Option<bool>,
    #[serde(default)]
    dry_run: Option<bool>,
}

impl Operation for TerminateInstances {
    const ACTION: &'static str = "TerminateInstances";
    type Output = StateChanges;

    fn run(self, tx: &mut Transaction<'_>, _: &Caller<'_>) -> Result<StateChanges, ApiError> {
        change(tx, &self.instance_ids, self.dry_run, terminating, Some(USER_INITIATED))
    }
}

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_StopInstances.html>
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct StopInstances {
    #[serde(default, rename = "InstanceId")]
    instance_ids: Vec<String>,
    /// A guest that does not shut down in time is stopped by force anyway.
    #[serde(default, rename = "Force")]
    _force: Option<bool>,
    #[serde(default)]
    hibernate: Option<bool>,
    #[serde(default)]
    dry_run: Option<bool>,
}

impl Operation for StopInstances {
    const ACTION: &'static str = "StopInstances";
    type Output = StateChanges;

    fn run(self, tx: &mut Transaction<'_>, _: &Caller<'_>) -> Result<StateChanges, ApiError> {
        if self.hibernate == Some(true) {
            return Err(ApiError::new(
                "UnsupportedHibernationConfiguration",
                "Instances of this cloud cannot hibernate.",
            ));
        }
        change(tx, &self.instance_ids, self.dry_run, stopping, Some(USER_INITIATED))
    }
}

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_StartInstances.html>
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct StartInstances {
    #[serde(default, rename = "InstanceId")]
    instance_ids: Vec<String>,
    #[serde(default)]
    dry_run: Option<bool>,
}

impl Operation for StartInstances {
    const ACTION: &'static str = "StartInstances";
    type Output = StateChanges;

    fn run(self, tx: &mut Transaction<'_>, _: &Caller<'_>) -> Result<StateChanges, ApiError> {
        let next = |instance: &Instance| match instance.state {
            InstanceState::Stopped => Ok(Some(InstanceState::Pending)),
            InstanceState::Pending | InstanceState::Running => Ok(None),
            _ => Err(incorrect_state(instance, "started")),
        };
        change(tx, &self.instance_ids, self.dry_run, next, None)
    }
}

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_RebootInstances.html>
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct RebootInstances {
    #[serde(default, rename = "InstanceId")]
    instance_ids: Vec<String>,
    #[serde(default)]
    dry_run: Option<bool>,
}

impl Operation for RebootInstances {
    const ACTION: &'static str = "RebootInstances";
    type Output = Return;

    fn run(self, tx: &mut Transaction<'_>, _: &Caller<'_>) -> Result<Return, ApiError> {
        reboot(tx, &self.instance_ids, self.dry_run)
    }
}

fn reboot(tx: &mut Transaction<'_>, ids: &[String], dry: Option<bool>) -> Result<Return, ApiError> {
    if ids.is_empty() {
        return Err(ApiError::missing_parameter("InstanceId"));
    }
    let instances = identifiers::instances(tx, ids)?;
    if let Some(instance) =
        instances.iter().find(|instance| !matches!(instance.state, InstanceState::Running | InstanceState::Pending))
    {
        return Err(incorrect_state(instance, "rebooted"));
    }
    dry_run::check(dry)?;
    for instance in instances {
        // One that is only coming up is as good as rebooted.
        if instance.state == InstanceState::Running {
            tx.update::<Instance>(&instance.id, |instance| instance.reboot_requested = true);
        }
    }
    Ok(Return::TRUE)
}

/// What an alarm does with an instance: `stop`, `terminate`, `reboot` or `recover`. An instance has no other machine to
/// recover on: it is booted anew, with its address and volumes, as AWS's recovery does elsewhere.
///
/// # Errors
/// As those of the user's own request.
pub fn for_alarm(tx: &mut Transaction<'_>, verb: &str, instance_id: &str) -> Result<(), ApiError> {
    let ids = [instance_id.to_owned()];
    match verb {
        "terminate" => change(tx, &ids, None, terminating, Some(USER_INITIATED)).map(drop),
        "stop" => change(tx, &ids, None, stopping, Some(USER_INITIATED)).map(drop),
        "reboot" | "recover" => reboot(tx, &ids, None).map(drop),
        other => Err(ApiError::unsupported(format!("An alarm has no action {other} on instances"))),
    }
}
