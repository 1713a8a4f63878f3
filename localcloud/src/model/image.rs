//! Images from which instances boot.

use std::{collections::BTreeSet, path::PathBuf};

use serde::{Deserialize, Serialize};

use crate::{
    model::{block_device::BlockDevice, tag::Tags, time::Timestamp},
    store::Record,
};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Image {
    /// `ami-…`
    pub id: String,
    pub name: String,
    pub description: String,
    pub owner_id: String,
    pub public: bool,
    pub architecture: String,
    /// The read-only tree that instances of it overlay.
    pub root: PathBuf,
    pub created: Timestamp,
    #[serde(default)]
    pub state: ImageState,
    /// Why it has failed.
    #[serde(default)]
    pub state_reason: Option<String>,
    /// The snapshot whose tree it is; `None` for one that was built on this machine.
    #[serde(default)]
    pub root_snapshot: Option<String>,
    /// The instance of which it was made.
    #[serde(default)]
    pub source_instance: Option<String>,
    /// It is taken while its instance goes on running.
    #[serde(default)]
    pub no_reboot: bool,
    /// Volumes that instances of it are launched with.
    #[serde(default)]
    pub block_devices: Vec<BlockDevice>,
    /// Accounts that may launch it, besides its owner. Everyone may launch a public one.
    #[serde(default)]
    pub launch_permissions: BTreeSet<String>,
    #[serde(default)]
    pub client_token: Option<String>,
    #[serde(default)]
    pub tags: Tags,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ImageState {
    /// Its snapshots are being taken.
    Pending,
    #[default]
    Available,
    Failed,
}

impl Record for Image {
    const KIND: &'static str = "image";

    fn key(&self) -> String {
        self.id.clone()
    }
}
