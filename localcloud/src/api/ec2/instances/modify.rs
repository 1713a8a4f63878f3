//! ModifyInstanceAttribute and ResetInstanceAttribute.

use serde::Deserialize;

use super::{
    super::{block_devices::is_root, dry_run, identifiers},
    parameters::{decode_user_data, shutdown_terminates},
};
use crate::{
    api::{
        error::ApiError,
        operation::{Caller, Operation, Return},
    },
    model::{
        instance::{Instance, InstanceState},
        instance_type,
        volume::Volume,
    },
    store::Transaction,
};

/// One attribute a call (<https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ModifyInstanceAttribute.html>).
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ModifyInstanceAttribute {
    instance_id: String,
    /// With `value`: the older way of naming the one to change.
    #[serde(default)]
    attribute: Option<String>,
    #[serde(default)]
    value: Option<String>,
    #[serde(default)]
    instance_type: Option<NewValue>,
    #[serde(default)]
    user_data: Option<NewValue>,
    #[serde(default)]
    instance_initiated_shutdown_behavior: Option<NewValue>,
    #[serde(default)]
    disable_api_termination: Option<NewValue>,
    #[serde(default)]
    disable_api_stop: Option<NewValue>,
    #[serde(default)]
    source_dest_check: Option<NewValue>,
    #[serde(default)]
    ebs_optimized: Option<NewValue>,
    #[serde(default, rename = "GroupId")]
    group_ids: Vec<String>,
    #[serde(default, rename = "BlockDeviceMapping")]
    block_device_mappings: Vec<DeviceChange>,
    #[serde(default)]
    dry_run: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct NewValue {
    #[serde(default)]
    value: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct DeviceChange {
    device_name: String,
    #[serde(default)]
    ebs: Option<VolumeChange>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct VolumeChange {
    #[serde(default)]
    volume_id: Option<String>,
    #[serde(default)]
    delete_on_termination: Option<bool>,
}

/// What is asked for, whichever way it was worded.
enum Change {
    Text(&'static str, String),
    Groups(Vec<String>),
    Devices(Vec<DeviceChange>),
}

pub(super) fn must_be_stopped(instance: &Instance) -> Result<(), ApiError> {
    match instance.state {
        InstanceState::Stopped => Ok(()),
        _ => Err(ApiError::new(
            "IncorrectInstanceState",
            format!("The instance '{}' is not in the 'stopped' state.", instance.id),
        )),
    }
}

fn truth(value: &str) -> Result<bool, ApiError> {
    match value {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        other => {
            Err(ApiError::invalid_parameter_value(format!("Value ({other}) is invalid: it must be true or false")))
        }
    }
}

const KNOWN: &[&str] = &[
    "instanceType",
    "userData",
    "instanceInitiatedShutdownBehavior",
    "disableApiTermination",
    "disableApiStop",
    "sourceDestCheck",
    "ebsOptimized",
];

impl ModifyInstanceAttribute {
    fn change(self) -> Result<Change, ApiError> {
        let given = [
            self.instance_type,
            self.user_data,
            self.instance_initiated_shutdown_behavior,
            self.disable_api_termination,
            self.disable_api_stop,
            self.source_dest_check,
            self.ebs_optimized,
        ];
        let texts = KNOWN.iter().zip(given).filter_map(|(name, new)| Some(Change::Text(name, new?.value)));
        let mut changes: Vec<Change> = texts.collect();
        if !self.group_ids.is_empty() {
            changes.push(Change::Groups(self.group_ids));
        }
        if !self.block_device_mappings.is_empty() {
            changes.push(Change::Devices(self.block_device_mappings));
        }
        match (self.attribute.as_deref(), self.value) {
            (Some(attribute), Some(value)) => {
                let Some(name) = KNOWN.iter().find(|name| **name == attribute) else {
                    return Err(ApiError::unsupported(format!(
                        "The attribute {attribute} cannot be changed in this cloud."
                    )));
                };
                changes.push(Change::Text(name, value));
            }
            // Of lists it only says again what they are.
            (Some("groupSet" | "blockDeviceMapping"), None) => {}
            (Some(_), None) => return Err(ApiError::missing_parameter("Value")),
            (None, _) => {}
        }
        match (changes.pop(), changes.is_empty()) {
            (Some(change), true) => Ok(change),
            (None, _) => Err(ApiError::new("InvalidParameterCombination", "No attributes specified.")),
            (Some(_), false) => Err(ApiError::new(
                "InvalidParameterCombination",
                "Fields for multiple attribute types specified: change one attribute at a time",
            )),
        }
    }
}

fn apply(instance: &mut Instance, name: &str, value: &str) -> Result<(), ApiError> {
    let attributes = &mut instance.attributes;
    match name {
        "disableApiTermination" => attributes.disable_api_termination = truth(value)?,
        "disableApiStop" => attributes.disable_api_stop = truth(value)?,
        "sourceDestCheck" => attributes.source_dest_check_off = !truth(value)?,
        "instanceInitiatedShutdownBehavior" => instance.shutdown_terminates = shutdown_terminates(value)?,
        "ebsOptimized" => {
            let wanted = truth(value)?;
            must_be_stopped(instance)?;
            instance.attributes.ebs_optimized = wanted;
        }
        "instanceType" => {
            if instance_type::find(value).is_none() {
                return Err(ApiError::invalid_parameter_value(format!("Invalid value '{value}' for InstanceType.")));
            }
            must_be_stopped(instance)?;
            value.clone_into(&mut instance.instance_type);
        }
        "userData" => {
            must_be_stopped(instance)?;
            instance.user_data = decode_user_data(value)?;
        }
        other => {
            return Err(ApiError::unsupported(format!("The attribute {other} cannot be changed in this cloud.")));
        }
    }
    Ok(())
}

/// The volume at the device, with its new fate at the instance's termination.
fn changed_volume(
    tx: &mut Transaction<'_>,
    instance: &Instance,
    change: &DeviceChange,
) -> Result<Option<Volume>, ApiError> {
    let wanted = change.ebs.as_ref().and_then(|ebs| ebs.delete_on_termination);
    if is_root(&change.device_name) {
        return match wanted {
            Some(false) => Err(ApiError::unsupported("A root device goes with its instance in this cloud.")),
            _ => Ok(None),
        };
    }
    let volumes = tx.list::<Volume>();
    let volume = volumes.iter().find(|volume| {
        volume
            .attachment
            .as_ref()
            .is_some_and(|attachment| attachment.instance_id == instance.id && attachment.device == change.device_name)
    });
    let named = change.ebs.as_ref().and_then(|ebs| ebs.volume_id.as_ref());
    let Some(volume) = volume.filter(|volume| named.is_none_or(|id| *id == volume.id)) else {
        return Err(ApiError::new(
            "InvalidInstanceAttributeValue",
            format!("No device is currently mapped at {}", change.device_name),
        ));
    };
    let mut volume = Volume::clone(volume);
    if let (Some(attachment), Some(wanted)) = (&mut volume.attachment, wanted) {
        attachment.delete_on_termination = wanted;
    }
    Ok(Some(volume))
}

impl Operation for ModifyInstanceAttribute {
    const ACTION: &'static str = "ModifyInstanceAttribute";
    type Output = Return;

    fn run(self, tx: &mut Transaction<'_>, _: &Caller<'_>) -> Result<Return, ApiError> {
        let mut instance = Instance::clone(&*identifiers::instance(tx, &self.instance_id)?);
        let dry = self.dry_run;
        let mut volumes = Vec::new();
        match self.change()? {
            Change::Text(name, value) => apply(&mut instance, name, &value)?,
            Change::Groups(ids) => {
                for id in &ids {
                    identifiers::security_group(tx, Some(id), None)?;
                }
                instance.security_group_ids = ids;
            }
            Change::Devices(changes) => {
                for change in &changes {
                    volumes.extend(changed_volume(tx, &instance, change)?);
                }
            }
        }
        dry_run::check(dry)?;
        volumes.into_iter().for_each(|volume| tx.put(volume));
        tx.put(instance);
        Ok(Return::TRUE)
    }
}

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ResetInstanceAttribute.html>
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ResetInstanceAttribute {
    instance_id: String,
    attribute: String,
    #[serde(default)]
    dry_run: Option<bool>,
}

impl Operation for ResetInstanceAttribute {
    const ACTION: &'static str = "ResetInstanceAttribute";
    type Output = Return;

    fn run(self, tx: &mut Transaction<'_>, _: &Caller<'_>) -> Result<Return, ApiError> {
        let instance = identifiers::instance(tx, &self.instance_id)?;
        match self.attribute.as_str() {
            "sourceDestCheck" => {}
            "kernel" | "ramdisk" => {
                return Err(ApiError::unsupported("Instances of this cloud have no kernel or ramdisk of their own."));
            }
            other => {
                return Err(ApiError::invalid_parameter_value(format!(
                    "Value ({other}) for parameter attribute is invalid. Allowed: kernel, ramdisk, sourceDestCheck"
                )));
            }
        }
        dry_run::check(self.dry_run)?;
        tx.update::<Instance>(&instance.id, |instance| instance.attributes.source_dest_check_off = false);
        Ok(Return::TRUE)
    }
}
