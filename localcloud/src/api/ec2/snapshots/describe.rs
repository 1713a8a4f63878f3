//! DescribeSnapshots.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{SnapshotItem, state_name};
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
    model::snapshot::{Snapshot, SnapshotState},
    store::Transaction,
};

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeSnapshots.html>
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DescribeSnapshots {
    #[serde(default, rename = "SnapshotId")]
    snapshot_ids: Vec<String>,
    #[serde(default, rename = "Owner")]
    owners: Vec<String>,
    #[serde(default)]
    restorable_by: Vec<String>,
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
pub struct Snapshots {
    snapshot_set: Vec<SnapshotItem>,
    next_token: Option<String>,
}

const COLUMNS: &[Column<Arc<Snapshot>>] = &[
    ("description", |snapshot| vec![snapshot.description.clone()]),
    ("encrypted", |_| vec!["false".to_owned()]),
    ("owner-alias", |_| Vec::new()),
    ("owner-id", |snapshot| vec![snapshot.owner_id.clone()]),
    ("progress", |snapshot| vec![format!("{}%", snapshot.progress)]),
    ("snapshot-id", |snapshot| vec![snapshot.id.clone()]),
    ("start-time", |snapshot| vec![snapshot.started.to_string()]),
    ("status", |snapshot| vec![state_name(snapshot.state).to_owned()]),
    ("storage-tier", |_| vec!["standard".to_owned()]),
    ("transfer-type", |_| vec!["standard".to_owned()]),
    ("volume-id", |snapshot| vec![snapshot.volume_id().to_owned()]),
    ("volume-size", |snapshot| vec![snapshot.size_gib.to_string()]),
];

impl Operation for DescribeSnapshots {
    const ACTION: &'static str = "DescribeSnapshots";
    type Output = Snapshots;

    fn run(self, tx: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<Snapshots, ApiError> {
        dry_run::check(self.dry_run)?;
        if self.max_results.is_some() && !self.snapshot_ids.is_empty() {
            return Err(pagination::ids_with_max_results("snapshotSet"));
        }
        let mut snapshots = tx.list::<Snapshot>();
        snapshots.retain(|snapshot| snapshot.state != SnapshotState::Deleting);
        if !self.snapshot_ids.is_empty() {
            for id in &self.snapshot_ids {
                identifiers::snapshot(tx, id)?;
            }
            snapshots.retain(|snapshot| self.snapshot_ids.contains(&snapshot.id));
        }
        let owner = |snapshot: &Snapshot, name: &str| match name {
            "self" => snapshot.owner_id == caller.account_id,
            other => snapshot.owner_id == other,
        };
        if !self.owners.is_empty() {
            snapshots.retain(|snapshot| self.owners.iter().any(|name| owner(snapshot, name)));
        }
        if !self.restorable_by.is_empty() {
            let may = |snapshot: &Snapshot, who: &String| {
                let everyone = snapshot.volume_permissions.contains("all");
                everyone || owner(snapshot, who) || snapshot.volume_permissions.contains(who)
            };
            snapshots.retain(|snapshot| self.restorable_by.iter().any(|who| may(snapshot, who)));
        }
        let snapshots = filters::retain(&self.filters, COLUMNS, Some(|snapshot| &snapshot.tags), snapshots)?;
        let (snapshots, next_token) =
            pagination::page(snapshots, |snapshot| snapshot.id.clone(), self.max_results, self.next_token.as_deref())?;
        let snapshot_set = snapshots.iter().map(|snapshot| SnapshotItem::from(&**snapshot)).collect();
        Ok(Snapshots { snapshot_set, next_token })
    }
}
