//! Snapshots: asked for, copied and deleted by word; the reconciler of snapshots does it.

/// DescribeSnapshotAttribute, ModifySnapshotAttribute, ResetSnapshotAttribute.
pub mod attributes;
/// DescribeSnapshots.
pub mod describe;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{
    dry_run, identifiers,
    tag_specifications::{TagItem, TagSpecification, tag_set, tags_for},
};
use crate::{
    api::{
        error::ApiError,
        operation::{Caller, Operation, Return},
    },
    model::{
        id,
        image::Image,
        snapshot::{Snapshot, SnapshotState, Source},
        tag::Tags,
        time::Timestamp,
        volume::{Volume, VolumeState},
    },
    store::Transaction,
};

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotItem {
    snapshot_id: String,
    volume_id: String,
    /// CreateSnapshots calls `state` what all others call `status`.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'static str>,
    status_message: Option<String>,
    start_time: Timestamp,
    completion_time: Option<Timestamp>,
    progress: String,
    owner_id: String,
    volume_size: u32,
    description: String,
    encrypted: bool,
    storage_tier: &'static str,
    tag_set: Vec<TagItem>,
}

pub(super) fn state_name(state: SnapshotState) -> &'static str {
    match state {
        SnapshotState::Pending => "pending",
        SnapshotState::Completed => "completed",
        SnapshotState::Error | SnapshotState::Deleting => "error",
    }
}

impl From<&Snapshot> for SnapshotItem {
    fn from(snapshot: &Snapshot) -> Self {
        Self {
            snapshot_id: snapshot.id.clone(),
            volume_id: snapshot.volume_id().to_owned(),
            status: Some(state_name(snapshot.state)),
            state: None,
            status_message: snapshot.trouble.clone(),
            start_time: snapshot.started,
            completion_time: snapshot.completed,
            progress: format!("{}%", snapshot.progress),
            owner_id: snapshot.owner_id.clone(),
            volume_size: snapshot.size_gib,
            description: snapshot.description.clone(),
            encrypted: false,
            storage_tier: "standard",
            tag_set: tag_set(&snapshot.tags),
        }
    }
}

/// One that is to be taken.
pub(super) fn pending(source: Source, size_gib: u32, description: String, owner_id: &str, tags: Tags) -> Snapshot {
    Snapshot {
        id: id::new("snap"),
        is_root: matches!(source, Source::Root { .. }),
        source,
        size_gib,
        state: SnapshotState::Pending,
        started: Timestamp::now(),
        completed: None,
        progress: 0,
        description,
        owner_id: owner_id.to_owned(),
        volume_permissions: BTreeSet::new(),
        image_id: None,
        tags,
        trouble: None,
    }
}

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateSnapshot.html>
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct CreateSnapshot {
    volume_id: String,
    #[serde(default)]
    description: Option<String>,
    #[serde(default, rename = "TagSpecification")]
    tag_specifications: Vec<TagSpecification>,
    #[serde(default)]
    dry_run: Option<bool>,
}

impl Operation for CreateSnapshot {
    const ACTION: &'static str = "CreateSnapshot";
    type Output = SnapshotItem;

    fn run(self, tx: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<SnapshotItem, ApiError> {
        let volume = identifiers::volume(tx, &self.volume_id)?;
        if !matches!(volume.state, VolumeState::Available | VolumeState::InUse) {
            return Err(ApiError::new(
                "IncorrectState",
                format!("The volume '{}' is neither 'available' nor 'in-use'.", volume.id),
            ));
        }
        let tags = tags_for(&self.tag_specifications, "snapshot", &[])?;
        dry_run::check(self.dry_run)?;
        let description = self.description.unwrap_or_default();
        let snapshot =
            pending(Source::Volume(volume.id.clone()), volume.size_gib, description, &caller.account_id, tags);
        let item = SnapshotItem::from(&snapshot);
        tx.put(snapshot);
        Ok(item)
    }
}

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateSnapshots.html>
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct CreateSnapshots {
    instance_specification: InstanceSpecification,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    copy_tags_from_source: Option<String>,
    #[serde(default, rename = "TagSpecification")]
    tag_specifications: Vec<TagSpecification>,
    #[serde(default)]
    dry_run: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct InstanceSpecification {
    instance_id: String,
    #[serde(default)]
    exclude_boot_volume: Option<bool>,
    #[serde(default, rename = "ExcludeDataVolumeId")]
    exclude_data_volume_ids: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NewSnapshots {
    snapshot_set: Vec<SnapshotItem>,
}

/// The volumes of an instance, in the order of their devices.
pub(super) fn volumes_of(tx: &mut Transaction<'_>, instance_id: &str) -> Vec<std::sync::Arc<Volume>> {
    let mut volumes = tx.list::<Volume>();
    let device = |volume: &Volume| {
        let attachment = volume.attachment.as_ref().filter(|attachment| attachment.instance_id == instance_id);
        attachment.map(|attachment| attachment.device.clone())
    };
    volumes.retain(|volume| device(volume).is_some());
    volumes.sort_by_key(|volume| device(volume));
    volumes
}

impl Operation for CreateSnapshots {
    const ACTION: &'static str = "CreateSnapshots";
    type Output = NewSnapshots;

    fn run(self, tx: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<NewSnapshots, ApiError> {
        let instance = identifiers::instance(tx, &self.instance_specification.instance_id)?;
        let copies_tags = match self.copy_tags_from_source.as_deref() {
            None => false,
            Some("volume") => true,
            Some(other) => {
                return Err(ApiError::invalid_parameter_value(format!(
                    "Value ({other}) for parameter CopyTagsFromSource is invalid. Allowed: volume"
                )));
            }
        };
        let tags = tags_for(&self.tag_specifications, "snapshot", &[])?;
        let InstanceSpecification { exclude_boot_volume, exclude_data_volume_ids, .. } = self.instance_specification;
        // The root is no volume here, and its files alone are half a snapshot: CreateImage is whole.
        if exclude_boot_volume != Some(true) {
            return Err(ApiError::unsupported(
                "An instance's root is no volume in this cloud: set ExcludeBootVolume, or use CreateImage.",
            ));
        }
        let volumes = volumes_of(tx, &instance.id);
        if let Some(id) = exclude_data_volume_ids.iter().find(|id| !volumes.iter().any(|volume| volume.id == **id)) {
            return Err(ApiError::invalid_parameter_value(format!(
                "The volume '{id}' is not attached to the instance"
            )));
        }
        let chosen: Vec<_> =
            volumes.into_iter().filter(|volume| !exclude_data_volume_ids.contains(&volume.id)).collect();
        if chosen.is_empty() {
            return Err(ApiError::invalid_parameter_value("No volumes are left to take snapshots of"));
        }
        dry_run::check(self.dry_run)?;
        let description = self.description.unwrap_or_default();
        let mut snapshot_set = Vec::new();
        for volume in chosen {
            let mut all = if copies_tags { volume.tags.clone() } else { Tags::new() };
            all.extend(tags.clone());
            let source = Source::Volume(volume.id.clone());
            let snapshot = pending(source, volume.size_gib, description.clone(), &caller.account_id, all);
            let item = SnapshotItem::from(&snapshot);
            snapshot_set.push(SnapshotItem { state: item.status, status: None, ..item });
            tx.put(snapshot);
        }
        Ok(NewSnapshots { snapshot_set })
    }
}

/// The image that a snapshot belongs to, pending ones included.
pub(super) fn image_of(tx: &mut Transaction<'_>, snapshot_id: &str) -> Option<String> {
    let images = tx.list::<Image>();
    let image = images.iter().find(|image| {
        image.root_snapshot.as_deref() == Some(snapshot_id)
            || image.block_devices.iter().any(|device| device.snapshot_id.as_deref() == Some(snapshot_id))
    });
    image.map(|image| image.id.clone())
}

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DeleteSnapshot.html>
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DeleteSnapshot {
    snapshot_id: String,
    #[serde(default)]
    dry_run: Option<bool>,
}

impl Operation for DeleteSnapshot {
    const ACTION: &'static str = "DeleteSnapshot";
    type Output = Return;

    fn run(self, tx: &mut Transaction<'_>, _: &Caller<'_>) -> Result<Return, ApiError> {
        let snapshot = identifiers::snapshot(tx, &self.snapshot_id)?;
        if let Some(image_id) = image_of(tx, &snapshot.id) {
            return Err(ApiError::new(
                "InvalidSnapshot.InUse",
                format!("The snapshot {} is currently in use by {image_id}", snapshot.id),
            ));
        }
        dry_run::check(self.dry_run)?;
        tx.update::<Snapshot>(&snapshot.id, |snapshot| snapshot.state = SnapshotState::Deleting);
        Ok(Return::TRUE)
    }
}

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CopySnapshot.html>
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct CopySnapshot {
    source_region: String,
    source_snapshot_id: String,
    #[serde(default)]
    destination_region: Option<String>,
    /// Clients sign one for copies between regions; within one it says nothing.
    #[serde(default, rename = "PresignedUrl")]
    _presigned_url: Option<String>,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    encrypted: Option<bool>,
    #[serde(default, rename = "TagSpecification")]
    tag_specifications: Vec<TagSpecification>,
    #[serde(default)]
    dry_run: Option<bool>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CopiedSnapshot {
    snapshot_id: String,
    tag_set: Vec<TagItem>,
}

/// # Errors
/// When a copy is to come from elsewhere. A client may call this cloud's region as it likes.
pub(super) fn check_region(caller: &Caller<'_>, region: &str) -> Result<(), ApiError> {
    if region == caller.site.region || region == caller.region {
        return Ok(());
    }
    Err(ApiError::invalid_parameter_value(format!(
        "Value ({region}) for parameter sourceRegion is invalid. The only region is {}.",
        caller.site.region
    )))
}

impl Operation for CopySnapshot {
    const ACTION: &'static str = "CopySnapshot";
    type Output = CopiedSnapshot;

    fn run(self, tx: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<CopiedSnapshot, ApiError> {
        check_region(caller, &self.source_region)?;
        if let Some(region) = &self.destination_region {
            check_region(caller, region)?;
        }
        if self.encrypted == Some(true) {
            return Err(ApiError::unsupported("Snapshots of this cloud are not encrypted."));
        }
        let source = identifiers::snapshot(tx, &self.source_snapshot_id)?;
        if source.state != SnapshotState::Completed {
            return Err(ApiError::new("IncorrectState", format!("The snapshot '{}' is not 'completed'.", source.id)));
        }
        let tags = tags_for(&self.tag_specifications, "snapshot", &[])?;
        dry_run::check(self.dry_run)?;
        let snapshot = Snapshot {
            is_root: source.is_root,
            ..pending(
                Source::Snapshot(source.id.clone()),
                source.size_gib,
                self.description.unwrap_or_default(),
                &caller.account_id,
                tags,
            )
        };
        let copied = CopiedSnapshot { snapshot_id: snapshot.id.clone(), tag_set: tag_set(&snapshot.tags) };
        tx.put(snapshot);
        Ok(copied)
    }
}
