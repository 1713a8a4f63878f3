//! ModifyVolume and DescribeVolumesModifications: volumes grow, also while they are in use. The file system on one is the
//! guest's to grow.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    api::{
        ec2::{
            dry_run,
            filters::{self, Column, Filter},
            identifiers, pagination,
        },
        error::ApiError,
        operation::{Caller, Operation},
    },
    model::{
        time::Timestamp,
        volume::{Modification, Volume, VolumeState},
    },
    store::Transaction,
};

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ModifyVolume.html>
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ModifyVolume {
    volume_id: String,
    #[serde(default)]
    size: Option<u32>,
    #[serde(default)]
    volume_type: Option<String>,
    #[serde(default)]
    multi_attach_enabled: Option<bool>,
    #[serde(default)]
    dry_run: Option<bool>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Modified {
    volume_modification: ModificationItem,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ModificationItem {
    volume_id: String,
    modification_state: &'static str,
    status_message: Option<String>,
    target_size: u32,
    target_volume_type: String,
    target_multi_attach_enabled: bool,
    original_size: u32,
    original_volume_type: String,
    original_multi_attach_enabled: bool,
    progress: u32,
    start_time: Timestamp,
    end_time: Option<Timestamp>,
}

impl ModificationItem {
    fn of(volume: &Volume) -> Option<Self> {
        let modification = volume.modification.as_ref()?;
        let ended = modification.ended;
        Some(Self {
            volume_id: volume.id.clone(),
            modification_state: if ended.is_some() { "completed" } else { "modifying" },
            status_message: if ended.is_some() { None } else { volume.trouble.clone() },
            target_size: volume.size_gib,
            target_volume_type: volume.volume_type.clone(),
            target_multi_attach_enabled: false,
            original_size: modification.original_size_gib,
            original_volume_type: modification.original_type.clone(),
            original_multi_attach_enabled: false,
            progress: if ended.is_some() { 100 } else { 0 },
            start_time: modification.started,
            end_time: ended,
        })
    }
}

impl Operation for ModifyVolume {
    const ACTION: &'static str = "ModifyVolume";
    type Output = Modified;

    fn run(self, tx: &mut Transaction<'_>, _: &Caller<'_>) -> Result<Modified, ApiError> {
        let mut volume = Volume::clone(&*identifiers::volume(tx, &self.volume_id)?);
        if !matches!(volume.state, VolumeState::Available | VolumeState::InUse) {
            return Err(ApiError::new(
                "IncorrectState",
                format!("The volume '{}' is neither 'available' nor 'in-use'.", volume.id),
            ));
        }
        if self.multi_attach_enabled == Some(true) {
            return Err(ApiError::unsupported("Volumes of this cloud are attached to one instance at a time."));
        }
        if self.size.is_none() && self.volume_type.is_none() {
            return Err(ApiError::missing_parameter("Size"));
        }
        if volume.modification.as_ref().is_some_and(|modification| modification.ended.is_none()) {
            return Err(ApiError::new(
                "IncorrectModificationState",
                format!("The volume '{}' is being modified already.", volume.id),
            ));
        }
        let size_gib = self.size.unwrap_or(volume.size_gib);
        super::check_size(size_gib)?;
        if size_gib < volume.size_gib {
            return Err(ApiError::invalid_parameter_value(format!(
                "New size ({size_gib}GiB) cannot be smaller than existing size ({}GiB)",
                volume.size_gib
            )));
        }
        let volume_type = self.volume_type.unwrap_or_else(|| volume.volume_type.clone());
        super::check_type(&volume_type)?;
        dry_run::check(self.dry_run)?;
        volume.modification = Some(Modification {
            original_size_gib: volume.size_gib,
            original_type: volume.volume_type.clone(),
            started: Timestamp::now(),
            ended: None,
        });
        volume.size_gib = size_gib;
        volume.volume_type = volume_type;
        let item = ModificationItem::of(&volume);
        tx.put(volume);
        item.map(|volume_modification| Modified { volume_modification })
            .ok_or_else(|| ApiError::new("InternalError", "An internal error has occurred").status(500))
    }
}

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeVolumesModifications.html>
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DescribeVolumesModifications {
    #[serde(default, rename = "VolumeId")]
    volume_ids: Vec<String>,
    #[serde(default, rename = "Filter")]
    filters: Vec<Filter>,
    #[serde(default)]
    max_results: Option<u32>,
    #[serde(default)]
    next_token: Option<String>,
    #[serde(default)]
    dry_run: Option<bool>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Modifications {
    volume_modification_set: Vec<ModificationItem>,
    next_token: Option<String>,
}

const COLUMNS: &[Column<ModificationItem>] = &[
    ("modification-state", |item| vec![item.modification_state.to_owned()]),
    ("original-size", |item| vec![item.original_size.to_string()]),
    ("original-volume-type", |item| vec![item.original_volume_type.clone()]),
    ("originalMultiAttachEnabled", |_| vec!["false".to_owned()]),
    ("start-time", |item| vec![item.start_time.to_string()]),
    ("target-size", |item| vec![item.target_size.to_string()]),
    ("target-volume-type", |item| vec![item.target_volume_type.clone()]),
    ("targetMultiAttachEnabled", |_| vec!["false".to_owned()]),
    ("volume-id", |item| vec![item.volume_id.clone()]),
];

impl Operation for DescribeVolumesModifications {
    const ACTION: &'static str = "DescribeVolumesModifications";
    type Output = Modifications;

    fn run(self, tx: &mut Transaction<'_>, _: &Caller<'_>) -> Result<Modifications, ApiError> {
        dry_run::check(self.dry_run)?;
        let volumes: Vec<Arc<Volume>> = super::describe::select(tx, &self.volume_ids)?;
        let mut items = Vec::new();
        for volume in volumes {
            match ModificationItem::of(&volume) {
                Some(item) => items.push(item),
                None if !self.volume_ids.is_empty() => {
                    return Err(ApiError::new(
                        "InvalidVolumeModification.NotFound",
                        format!("Modification for volume '{}' does not exist.", volume.id),
                    ));
                }
                None => {}
            }
        }
        let items = filters::retain(&self.filters, COLUMNS, None, items)?;
        let (volume_modification_set, next_token) =
            pagination::page(items, |item| item.volume_id.clone(), self.max_results, self.next_token.as_deref())?;
        Ok(Modifications { volume_modification_set, next_token })
    }
}
