//! Volumes that an instance is launched with.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockDevice {
    /// `/dev/vdf`
    pub device: String,
    pub snapshot_id: Option<String>,
    /// That of the snapshot, if there is none.
    pub size_gib: Option<u32>,
    pub volume_type: Option<String>,
    pub delete_on_termination: bool,
    /// The image's device of this name is left out.
    #[serde(default)]
    pub no_device: bool,
}
