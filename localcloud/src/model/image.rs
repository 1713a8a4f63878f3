//! Images from which instances boot.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{
    model::{tag::Tags, time::Timestamp},
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
    pub tags: Tags,
}

impl Record for Image {
    const KIND: &'static str = "image";

    fn key(&self) -> String {
        self.id.clone()
    }
}
