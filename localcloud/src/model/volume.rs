//! Volumes and their attachments.
//!
//! ```text
//! creating → available ⇄ in-use → deleting → (gone)
//!     └→ error                 attachment: attaching → attached → detaching → (none)
//! ```

use serde::{Deserialize, Serialize};

use crate::{
    model::{tag::Tags, time::Timestamp},
    store::Record,
};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Volume {
    /// `vol-…`
    pub id: String,
    pub size_gib: u32,
    pub zone: String,
    pub volume_type: String,
    pub state: VolumeState,
    pub created: Timestamp,
    pub attachment: Option<Attachment>,
    /// Of which it was made.
    #[serde(default)]
    pub snapshot_id: Option<String>,
    /// The last one, under way or done.
    #[serde(default)]
    pub modification: Option<Modification>,
    #[serde(default)]
    pub auto_enable_io: bool,
    #[serde(default)]
    pub client_token: Option<String>,
    #[serde(default)]
    pub tags: Tags,
    /// Why it is in the state `error`, or why its last step is being tried again.
    #[serde(default)]
    pub trouble: Option<String>,
}

/// What ModifyVolume asked for. The volume's own fields say the target already.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Modification {
    pub original_size_gib: u32,
    pub original_type: String,
    pub started: Timestamp,
    /// `None` while it is under way.
    pub ended: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VolumeState {
    Creating,
    Available,
    InUse,
    Deleting,
    Error,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attachment {
    pub instance_id: String,
    /// As asked for: `/dev/vdf`.
    pub device: String,
    pub state: AttachmentState,
    pub since: Timestamp,
    pub delete_on_termination: bool,
    /// Detach even while the guest has it mounted.
    #[serde(default)]
    pub force: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AttachmentState {
    Attaching,
    Attached,
    Detaching,
}

impl Record for Volume {
    const KIND: &'static str = "volume";

    fn key(&self) -> String {
        self.id.clone()
    }

    fn indexed(&self) -> Vec<(&'static str, String)> {
        self.attachment.iter().map(|attachment| (Self::BY_INSTANCE, attachment.instance_id.clone())).collect()
    }
}

impl Volume {
    /// The instance that it is attached to.
    pub const BY_INSTANCE: &'static str = "instance";
}
