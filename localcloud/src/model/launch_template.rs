//! Launch templates and their versions.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    model::{block_device::BlockDevice, tag::Tags, time::Timestamp},
    store::Record,
};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LaunchTemplate {
    /// `lt-…`
    pub id: String,
    pub name: String,
    pub created: Timestamp,
    pub created_by: String,
    pub default_version: u64,
    pub latest_version: u64,
    pub versions: BTreeMap<u64, LaunchTemplateVersion>,
    #[serde(default)]
    pub client_token: Option<String>,
    #[serde(default)]
    pub tags: Tags,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LaunchTemplateVersion {
    pub description: Option<String>,
    pub created: Timestamp,
    pub data: LaunchData,
}

/// What an instance is launched with; also what a launch configuration holds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LaunchData {
    pub image_id: Option<String>,
    pub instance_type: Option<String>,
    pub key_name: Option<String>,
    pub security_group_ids: Vec<String>,
    /// Name of the instance profile.
    pub instance_profile: Option<String>,
    /// As decoded from the request.
    pub user_data: Option<Vec<u8>>,
    pub metadata_tokens_required: bool,
    pub shutdown_terminates: bool,
    pub monitoring: bool,
    /// Over those of the image.
    #[serde(default)]
    pub block_devices: Vec<BlockDevice>,
    #[serde(default)]
    pub disable_api_termination: bool,
    #[serde(default)]
    pub disable_api_stop: bool,
    #[serde(default)]
    pub ebs_optimized: bool,
    /// In which zone, if that is asked for.
    #[serde(default)]
    pub zone: Option<String>,
    /// By resource type: `instance`, `volume`.
    #[serde(default)]
    pub tag_specifications: BTreeMap<String, Tags>,
}

impl Record for LaunchTemplate {
    const KIND: &'static str = "launch-template";

    fn key(&self) -> String {
        self.id.clone()
    }
}
