//! Block device mappings: the volumes that an instance is launched with, as requests and answers word them.

use serde::{Deserialize, Serialize};

use super::{
    identifiers,
    volumes::{self, attachment::device_name},
};
use crate::{
    api::error::ApiError,
    model::{
        block_device::BlockDevice,
        id,
        instance::Instance,
        snapshot::{Snapshot, SnapshotState},
        tag::Tags,
        time::Timestamp,
        volume::{Attachment, AttachmentState, Volume, VolumeState},
    },
    store::Transaction,
};

/// Names by which clients call the root.
const ROOT_NAMES: &[&str] = &["/dev/sda1", "/dev/sda", "/dev/xvda", "/dev/vda"];

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_BlockDeviceMapping.html>
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct BlockDeviceMapping {
    #[serde(default)]
    device_name: Option<String>,
    #[serde(default)]
    ebs: Option<EbsBlockDevice>,
    /// Given, even if empty: the image's device of this name is left out.
    #[serde(default)]
    no_device: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct EbsBlockDevice {
    #[serde(default)]
    pub delete_on_termination: Option<bool>,
    #[serde(default)]
    pub volume_size: Option<u32>,
    #[serde(default)]
    pub snapshot_id: Option<String>,
    #[serde(default)]
    pub volume_type: Option<String>,
    #[serde(default)]
    pub encrypted: Option<bool>,
}

pub(super) fn is_root(device: &str) -> bool {
    ROOT_NAMES.contains(&device)
}

impl BlockDeviceMapping {
    /// `None` for the root, which comes from the image: it has as much room as the machine's own disk, so that a size
    /// asked for is there.
    fn device(&self) -> Result<Option<BlockDevice>, ApiError> {
        let Some(name) = &self.device_name else { return Err(ApiError::missing_parameter("DeviceName")) };
        let ebs = self.ebs.clone().unwrap_or_default();
        if ebs.encrypted == Some(true) {
            return Err(ApiError::unsupported("Volumes of this cloud are not encrypted."));
        }
        if let Some(size) = ebs.volume_size {
            volumes::check_size(size)?;
        }
        if let Some(kind) = &ebs.volume_type {
            volumes::check_type(kind)?;
        }
        if is_root(name) {
            if self.no_device.is_some() {
                return Err(invalid("The root device cannot be left out."));
            }
            if ebs.delete_on_termination == Some(false) {
                return Err(ApiError::unsupported(
                    "A root device goes with its instance in this cloud (DeleteOnTermination=false): keep data on a volume, or make an image.",
                ));
            }
            return Ok(None);
        }
        if self.ebs.is_none() && self.no_device.is_none() {
            return Err(invalid("A device needs either Ebs or NoDevice: this cloud has no instance stores."));
        }
        Ok(Some(BlockDevice {
            device: device_name(name)?,
            snapshot_id: ebs.snapshot_id.filter(|id| !id.is_empty()),
            size_gib: ebs.volume_size,
            volume_type: ebs.volume_type,
            delete_on_termination: ebs.delete_on_termination.unwrap_or(true),
            no_device: self.no_device.is_some(),
        }))
    }

    /// The snapshot that it names for the root, if it is about the root.
    pub(super) fn root_snapshot(&self) -> Option<&str> {
        self.device_name.as_deref().filter(|name| is_root(name))?;
        self.ebs.as_ref()?.snapshot_id.as_deref()
    }
}

fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::new("InvalidBlockDeviceMapping", message)
}

/// # Errors
/// When a device is named twice, or asks for what this cloud does not have.
pub(super) fn devices(mappings: &[BlockDeviceMapping]) -> Result<Vec<BlockDevice>, ApiError> {
    let mut devices: Vec<BlockDevice> = Vec::new();
    for mapping in mappings {
        let Some(device) = mapping.device()? else { continue };
        if devices.iter().any(|other| other.device == device.device) {
            return Err(invalid(format!(
                "The device '{}' is used in more than one block-device mapping",
                device.device
            )));
        }
        devices.push(device);
    }
    Ok(devices)
}

/// The devices of an image with those of a request over them, each with its size.
///
/// # Errors
/// When a snapshot is not there, or not as small as its volume.
pub(super) fn merge(
    tx: &mut Transaction<'_>,
    of_image: &[BlockDevice],
    asked: &[BlockDevice],
) -> Result<Vec<BlockDevice>, ApiError> {
    let mut devices: Vec<BlockDevice> =
        of_image.iter().filter(|device| !asked.iter().any(|other| other.device == device.device)).cloned().collect();
    for device in asked.iter().filter(|device| !device.no_device) {
        let base = of_image.iter().find(|other| other.device == device.device);
        devices.push(BlockDevice {
            // What is not said anew is the image's.
            snapshot_id: device.snapshot_id.clone().or_else(|| base?.snapshot_id.clone()),
            size_gib: device.size_gib.or_else(|| base?.size_gib),
            volume_type: device.volume_type.clone().or_else(|| base?.volume_type.clone()),
            ..device.clone()
        });
    }
    for device in &mut devices {
        let size = size_of(tx, device.size_gib, device.snapshot_id.as_deref())?;
        device.size_gib = Some(size);
    }
    Ok(devices)
}

/// The size of a volume: the one asked for, or its snapshot's.
///
/// # Errors
/// When neither is given, the snapshot cannot be used, or is larger than that.
pub(super) fn size_of(
    tx: &mut Transaction<'_>,
    asked: Option<u32>,
    snapshot_id: Option<&str>,
) -> Result<u32, ApiError> {
    let snapshot = snapshot_id.map(|id| usable(tx, id)).transpose()?;
    let Some(size) = asked.or_else(|| snapshot.as_ref().map(|snapshot| snapshot.size_gib)) else {
        return Err(ApiError::new("MissingParameter", "The request must contain the parameter size/snapshot"));
    };
    volumes::check_size(size)?;
    match snapshot {
        Some(snapshot) if size < snapshot.size_gib => Err(ApiError::invalid_parameter_value(format!(
            "The size of the volume ({size}GiB) is smaller than that of the snapshot {} ({}GiB)",
            snapshot.id, snapshot.size_gib
        ))),
        _ => Ok(size),
    }
}

/// The snapshot of this id, from which volumes can be made.
fn usable(tx: &mut Transaction<'_>, id: &str) -> Result<std::sync::Arc<Snapshot>, ApiError> {
    let snapshot = identifiers::snapshot(tx, id)?;
    if snapshot.is_root {
        return Err(ApiError::unsupported(format!(
            "The snapshot '{id}' is of an instance's root, which is a tree of files here: launch its image instead."
        )));
    }
    match snapshot.state {
        SnapshotState::Completed => Ok(snapshot),
        _ => Err(ApiError::new("IncorrectState", format!("The snapshot '{id}' is not 'completed'."))),
    }
}

/// Writes the volumes of an instance that is being launched.
pub(super) fn create(tx: &mut Transaction<'_>, instance: &Instance, devices: &[BlockDevice], tags: &Tags) {
    let now = Timestamp::now();
    for device in devices {
        let Some(size_gib) = device.size_gib else { continue };
        tx.put(Volume {
            id: id::new("vol"),
            size_gib,
            zone: instance.zone.clone(),
            volume_type: device.volume_type.clone().unwrap_or_else(|| volumes::DEFAULT_TYPE.to_owned()),
            state: VolumeState::Creating,
            created: now,
            attachment: Some(Attachment {
                instance_id: instance.id.clone(),
                device: device.device.clone(),
                state: AttachmentState::Attaching,
                since: now,
                delete_on_termination: device.delete_on_termination,
                force: false,
            }),
            snapshot_id: device.snapshot_id.clone(),
            modification: None,
            auto_enable_io: false,
            client_token: None,
            tags: tags.clone(),
            trouble: None,
        });
    }
}

/// A mapping in an answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MappingItem {
    pub(super) device_name: String,
    no_device: Option<&'static str>,
    pub(super) ebs: Option<EbsItem>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EbsItem {
    pub(super) snapshot_id: Option<String>,
    pub(super) volume_size: Option<u32>,
    pub(super) delete_on_termination: bool,
    pub(super) volume_type: Option<String>,
    encrypted: bool,
}

impl MappingItem {
    pub(super) fn root(device_name: &str, snapshot_id: Option<&str>, volume_size: u32) -> Self {
        Self {
            device_name: device_name.to_owned(),
            no_device: None,
            ebs: Some(EbsItem {
                snapshot_id: snapshot_id.map(str::to_owned),
                volume_size: Some(volume_size),
                delete_on_termination: true,
                volume_type: Some("standard".to_owned()),
                encrypted: false,
            }),
        }
    }
}

impl From<&BlockDevice> for MappingItem {
    fn from(device: &BlockDevice) -> Self {
        Self {
            device_name: device.device.clone(),
            no_device: device.no_device.then_some(""),
            ebs: (!device.no_device).then(|| EbsItem {
                snapshot_id: device.snapshot_id.clone(),
                volume_size: device.size_gib,
                delete_on_termination: device.delete_on_termination,
                volume_type: device.volume_type.clone(),
                encrypted: false,
            }),
        }
    }
}
