//! DescribeVolumes and DescribeVolumeStatus.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::VolumeItem;
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
    model::volume::{AttachmentState, Volume, VolumeState},
    store::Transaction,
};

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeVolumes.html>
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DescribeVolumes {
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
pub struct Volumes {
    volume_set: Vec<VolumeItem>,
    next_token: Option<String>,
}

fn attachment(volume: &Volume, of: impl Fn(&super::AttachmentItem) -> String) -> Vec<String> {
    VolumeItem::from(volume).attachment_set.iter().map(of).collect()
}

const COLUMNS: &[Column<Arc<Volume>>] = &[
    ("attachment.attach-time", |volume| {
        volume.attachment.iter().map(|attachment| attachment.since.to_string()).collect()
    }),
    ("attachment.delete-on-termination", |volume| attachment(volume, |item| item.delete_on_termination.to_string())),
    ("attachment.device", |volume| attachment(volume, |item| item.device.clone())),
    ("attachment.instance-id", |volume| attachment(volume, |item| item.instance_id.clone())),
    ("attachment.status", |volume| attachment(volume, |item| item.status.to_owned())),
    ("availability-zone", |volume| vec![volume.zone.clone()]),
    ("create-time", |volume| vec![volume.created.to_string()]),
    ("encrypted", |_| vec!["false".to_owned()]),
    ("fast-restored", |_| vec!["false".to_owned()]),
    ("multi-attach-enabled", |_| vec!["false".to_owned()]),
    ("size", |volume| vec![volume.size_gib.to_string()]),
    ("snapshot-id", |volume| volume.snapshot_id.iter().cloned().collect()),
    ("status", |volume| vec![VolumeItem::from(&**volume).status.to_owned()]),
    ("volume-id", |volume| vec![volume.id.clone()]),
    ("volume-type", |volume| vec![volume.volume_type.clone()]),
];

pub(super) fn select(tx: &mut Transaction<'_>, ids: &[String]) -> Result<Vec<Arc<Volume>>, ApiError> {
    if ids.is_empty() {
        return Ok(tx.list::<Volume>());
    }
    ids.iter().map(|id| identifiers::volume(tx, id)).collect()
}

impl Operation for DescribeVolumes {
    const ACTION: &'static str = "DescribeVolumes";
    type Output = Volumes;

    fn run(self, tx: &mut Transaction<'_>, _: &Caller<'_>) -> Result<Volumes, ApiError> {
        dry_run::check(self.dry_run)?;
        if self.max_results.is_some() && !self.volume_ids.is_empty() {
            return Err(pagination::ids_with_max_results("volumeSet"));
        }
        let volumes = select(tx, &self.volume_ids)?;
        let volumes = filters::retain(&self.filters, COLUMNS, Some(|volume| &volume.tags), volumes)?;
        let (volumes, next_token) =
            pagination::page(volumes, |volume| volume.id.clone(), self.max_results, self.next_token.as_deref())?;
        Ok(Volumes { volume_set: volumes.iter().map(|volume| VolumeItem::from(&**volume)).collect(), next_token })
    }
}

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeVolumeStatus.html>
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DescribeVolumeStatus {
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
pub struct VolumeStatuses {
    volume_status_set: Vec<VolumeStatus>,
    next_token: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct VolumeStatus {
    volume_id: String,
    availability_zone: String,
    volume_status: Status,
    events_set: Vec<Event>,
    actions_set: Vec<String>,
}

/// What does not succeed with a volume, and why.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    event_id: String,
    event_type: &'static str,
    description: String,
    instance_id: Option<String>,
}

fn event(volume: &Volume) -> Option<Event> {
    let description = volume.trouble.clone()?;
    let event_type = match &volume.attachment {
        Some(attachment) if attachment.state == AttachmentState::Attaching => "attachment-stuck",
        Some(attachment) if attachment.state == AttachmentState::Detaching => "detachment-stuck",
        _ => "operation-stuck",
    };
    Some(Event {
        event_id: format!("evol-{}", volume.id.trim_start_matches("vol-")),
        event_type,
        description,
        instance_id: volume.attachment.as_ref().map(|attachment| attachment.instance_id.clone()),
    })
}

#[derive(Debug, Serialize)]
struct Status {
    status: &'static str,
    details: Vec<Detail>,
}

#[derive(Debug, Serialize)]
struct Detail {
    name: &'static str,
    status: &'static str,
}

/// <https://docs.aws.amazon.com/ebs/latest/userguide/monitoring-volume-checks.html>
fn details(volume: &Volume) -> Vec<Detail> {
    let enabled = match status(volume) {
        "ok" => "passed",
        "impaired" => "failed",
        other => other,
    };
    vec![Detail { name: "io-enabled", status: enabled }, Detail { name: "io-performance", status: "not-applicable" }]
}

fn status(volume: &Volume) -> &'static str {
    match volume.state {
        VolumeState::Creating => "insufficient-data",
        VolumeState::Error => "impaired",
        _ if volume.trouble.is_some() => "impaired",
        _ => "ok",
    }
}

const STATUS_COLUMNS: &[Column<Arc<Volume>>] = &[
    ("action.code", |_| Vec::new()),
    ("action.description", |_| Vec::new()),
    ("action.event-id", |_| Vec::new()),
    ("event.description", |volume| event(volume).map(|event| event.description).into_iter().collect()),
    ("event.event-id", |volume| event(volume).map(|event| event.event_id).into_iter().collect()),
    ("event.event-type", |volume| event(volume).map(|event| event.event_type.to_owned()).into_iter().collect()),
    ("event.not-after", |_| Vec::new()),
    ("event.not-before", |_| Vec::new()),
    ("volume-status.details-name", |volume| details(volume).iter().map(|detail| detail.name.to_owned()).collect()),
    ("volume-status.details-status", |volume| details(volume).iter().map(|detail| detail.status.to_owned()).collect()),
    ("availability-zone", |volume| vec![volume.zone.clone()]),
    ("volume-status.status", |volume| vec![status(volume).to_owned()]),
];

impl Operation for DescribeVolumeStatus {
    const ACTION: &'static str = "DescribeVolumeStatus";
    type Output = VolumeStatuses;

    fn run(self, tx: &mut Transaction<'_>, _: &Caller<'_>) -> Result<VolumeStatuses, ApiError> {
        dry_run::check(self.dry_run)?;
        if self.max_results.is_some() && !self.volume_ids.is_empty() {
            return Err(pagination::ids_with_max_results("volumeSet"));
        }
        let volumes = select(tx, &self.volume_ids)?;
        let volumes = filters::retain(&self.filters, STATUS_COLUMNS, None, volumes)?;
        let (volumes, next_token) =
            pagination::page(volumes, |volume| volume.id.clone(), self.max_results, self.next_token.as_deref())?;
        let item = |volume: Arc<Volume>| VolumeStatus {
            volume_id: volume.id.clone(),
            availability_zone: volume.zone.clone(),
            volume_status: Status { status: status(&volume), details: details(&volume) },
            events_set: event(&volume).into_iter().collect(),
            actions_set: Vec::new(),
        };
        Ok(VolumeStatuses { volume_status_set: volumes.into_iter().map(item).collect(), next_token })
    }
}
