//! Snapshots: what a volume, or an instance's root, was at one moment.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{
    model::{tag::Tags, time::Timestamp},
    store::Record,
};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// `snap-…`
    pub id: String,
    pub source: Source,
    /// It is a tree of files, from which instances boot, and not the bytes of a volume.
    pub is_root: bool,
    pub size_gib: u32,
    pub state: SnapshotState,
    /// When it was asked for.
    pub started: Timestamp,
    pub completed: Option<Timestamp>,
    /// In percent.
    pub progress: u8,
    pub description: String,
    pub owner_id: String,
    /// Accounts that may make volumes of it, besides its owner; `all` for everyone.
    #[serde(default)]
    pub volume_permissions: BTreeSet<String>,
    /// The image for which it is taken; the image is there when all its snapshots are.
    #[serde(default)]
    pub image_id: Option<String>,
    #[serde(default)]
    pub tags: Tags,
    /// Why it is in the state `error`, or why its last step is being tried again.
    #[serde(default)]
    pub trouble: Option<String>,
}

/// Of what it is one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    Volume(String),
    /// The root of an instance, which is no volume here.
    Root {
        instance_id: String,
    },
    Snapshot(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SnapshotState {
    Pending,
    Completed,
    Error,
    /// Gone for the API; its bytes go when nothing needs them any more.
    Deleting,
}

impl Snapshot {
    /// The volume of which it is one, as AWS tells it: that of a copy, and of what never was a volume, is this one
    /// (<https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_Snapshot.html>).
    #[must_use]
    pub fn volume_id(&self) -> &str {
        match &self.source {
            Source::Volume(id) => id,
            Source::Root { .. } | Source::Snapshot(_) => "vol-ffffffff",
        }
    }
}

impl Record for Snapshot {
    const KIND: &'static str = "snapshot";

    fn key(&self) -> String {
        self.id.clone()
    }
}
