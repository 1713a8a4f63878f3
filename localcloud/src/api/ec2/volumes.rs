//! Volumes: created, attached, detached and deleted by word; the reconciler of volumes does it.

use serde::{Deserialize, Serialize};

use super::{
    block_devices, dry_run, identifiers,
    instances::item::attachment_state,
    tag_specifications::{TagItem, TagSpecification, tag_set, tags_for},
};
use crate::{
    api::{
        error::ApiError,
        operation::{Caller, Operation, Return},
    },
    model::{
        id,
        time::Timestamp,
        volume::{Attachment, Volume, VolumeState},
    },
    store::Transaction,
};

/// AttachVolume, DetachVolume.
pub mod attachment;
/// DescribeVolumeAttribute, ModifyVolumeAttribute, EnableVolumeIO.
pub mod attributes;
/// DescribeVolumes, DescribeVolumeStatus.
pub mod describe;
/// ModifyVolume, DescribeVolumesModifications.
pub mod modify;

/// As for gp2 (<https://docs.aws.amazon.com/ebs/latest/userguide/general-purpose.html>).
const LARGEST_GIB: u32 = 16384;
const VOLUME_TYPES: &[&str] = &["standard", "gp2", "gp3"];
pub(super) const DEFAULT_TYPE: &str = "standard";

pub(super) fn check_size(size_gib: u32) -> Result<(), ApiError> {
    if (1..=LARGEST_GIB).contains(&size_gib) {
        return Ok(());
    }
    Err(ApiError::invalid_parameter_value(format!("Volume of {size_gib}GiB is invalid: 1 to {LARGEST_GIB} GiB")))
}

pub(super) fn check_type(volume_type: &str) -> Result<(), ApiError> {
    if VOLUME_TYPES.contains(&volume_type) {
        return Ok(());
    }
    Err(ApiError::new(
        "UnknownVolumeType",
        format!("Unsupported volume type '{volume_type}' for volume creation: {}", VOLUME_TYPES.join(", ")),
    ))
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VolumeItem {
    pub(super) volume_id: String,
    pub(super) size: u32,
    snapshot_id: String,
    pub(super) availability_zone: String,
    pub(super) status: &'static str,
    create_time: Timestamp,
    pub(super) attachment_set: Vec<AttachmentItem>,
    tag_set: Vec<TagItem>,
    pub(super) volume_type: String,
    encrypted: bool,
    multi_attach_enabled: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AttachmentItem {
    volume_id: String,
    pub(super) instance_id: String,
    pub(super) device: String,
    pub(super) status: &'static str,
    attach_time: Timestamp,
    pub(super) delete_on_termination: bool,
}

impl AttachmentItem {
    pub(super) fn new(volume_id: &str, attachment: &Attachment) -> Self {
        Self {
            volume_id: volume_id.to_owned(),
            instance_id: attachment.instance_id.clone(),
            device: attachment.device.clone(),
            status: attachment_state(attachment.state),
            attach_time: attachment.since,
            delete_on_termination: attachment.delete_on_termination,
        }
    }
}

impl From<&Volume> for VolumeItem {
    fn from(volume: &Volume) -> Self {
        Self {
            volume_id: volume.id.clone(),
            size: volume.size_gib,
            snapshot_id: volume.snapshot_id.clone().unwrap_or_default(),
            availability_zone: volume.zone.clone(),
            status: match volume.state {
                VolumeState::Creating => "creating",
                VolumeState::Available => "available",
                VolumeState::InUse => "in-use",
                VolumeState::Deleting => "deleting",
                VolumeState::Error => "error",
            },
            create_time: volume.created,
            attachment_set: volume
                .attachment
                .iter()
                .map(|attachment| AttachmentItem::new(&volume.id, attachment))
                .collect(),
            tag_set: tag_set(&volume.tags),
            volume_type: volume.volume_type.clone(),
            encrypted: false,
            multi_attach_enabled: false,
        }
    }
}

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateVolume.html>
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct CreateVolume {
    availability_zone: String,
    #[serde(default)]
    size: Option<u32>,
    #[serde(default)]
    volume_type: Option<String>,
    #[serde(default)]
    snapshot_id: Option<String>,
    #[serde(default)]
    encrypted: Option<bool>,
    #[serde(default)]
    multi_attach_enabled: Option<bool>,
    #[serde(default, rename = "TagSpecification")]
    tag_specifications: Vec<TagSpecification>,
    #[serde(default)]
    client_token: Option<String>,
    #[serde(default)]
    dry_run: Option<bool>,
}

impl Operation for CreateVolume {
    const ACTION: &'static str = "CreateVolume";
    type Output = VolumeItem;

    fn run(self, tx: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<VolumeItem, ApiError> {
        if self.encrypted == Some(true) || self.multi_attach_enabled == Some(true) {
            return Err(ApiError::unsupported(
                "Volumes of this cloud are neither encrypted nor attached to several instances.",
            ));
        }
        if caller.site.zone(&self.availability_zone).is_none() {
            return Err(ApiError::new(
                "InvalidZone.NotFound",
                format!(
                    "The zone '{}' does not exist; there are {}.",
                    self.availability_zone,
                    caller.site.zone_names()
                ),
            ));
        }
        let snapshot_id = self.snapshot_id.filter(|id| !id.is_empty());
        let size_gib = block_devices::size_of(tx, self.size, snapshot_id.as_deref())?;
        let volume_type = self.volume_type.unwrap_or_else(|| DEFAULT_TYPE.to_owned());
        check_type(&volume_type)?;
        let tags = tags_for(&self.tag_specifications, "volume", &[])?;
        let client_token = self.client_token.filter(|token| !token.is_empty());
        if let Some(token) = &client_token {
            let volumes = tx.list::<Volume>();
            if let Some(earlier) = volumes.iter().find(|volume| volume.client_token.as_ref() == Some(token)) {
                if (earlier.size_gib, &earlier.volume_type, &earlier.snapshot_id)
                    != (size_gib, &volume_type, &snapshot_id)
                {
                    return Err(ApiError::new(
                        "IdempotentParameterMismatch",
                        "The request uses the same client token as a previous, but non-identical request.",
                    ));
                }
                return Ok(VolumeItem::from(&**earlier));
            }
        }
        dry_run::check(self.dry_run)?;
        let volume = Volume {
            id: id::new("vol"),
            size_gib,
            zone: self.availability_zone,
            volume_type,
            state: VolumeState::Creating,
            created: Timestamp::now(),
            attachment: None,
            snapshot_id,
            modification: None,
            auto_enable_io: false,
            client_token,
            tags,
            trouble: None,
        };
        let item = VolumeItem::from(&volume);
        tx.put(volume);
        Ok(item)
    }
}

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DeleteVolume.html>
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DeleteVolume {
    volume_id: String,
    #[serde(default)]
    dry_run: Option<bool>,
}

impl Operation for DeleteVolume {
    const ACTION: &'static str = "DeleteVolume";
    type Output = Return;

    fn run(self, tx: &mut Transaction<'_>, _: &Caller<'_>) -> Result<Return, ApiError> {
        let volume = identifiers::volume(tx, &self.volume_id)?;
        match (&volume.attachment, volume.state) {
            (Some(attachment), _) => {
                return Err(ApiError::new(
                    "VolumeInUse",
                    format!("Volume {} is currently attached to {}", volume.id, attachment.instance_id),
                ));
            }
            (None, VolumeState::Creating) => {
                return Err(ApiError::new("IncorrectState", format!("The volume '{}' is 'creating'", volume.id)));
            }
            (None, _) => {}
        }
        dry_run::check(self.dry_run)?;
        if volume.state != VolumeState::Deleting {
            tx.update::<Volume>(&volume.id, |volume| volume.state = VolumeState::Deleting);
        }
        Ok(Return::TRUE)
    }
}
