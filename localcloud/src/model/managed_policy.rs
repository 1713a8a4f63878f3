//! Policies that are attached to users, groups and roles.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    model::{tag::Tags, time::Timestamp},
    store::Record,
};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ManagedPolicy {
    pub name: String,
    /// `ANPA…`
    pub id: String,
    pub path: String,
    pub arn: String,
    pub description: Option<String>,
    pub created: Timestamp,
    pub updated: Timestamp,
    /// At most five; a number is given once.
    pub versions: BTreeMap<u32, PolicyVersion>,
    pub default_version: u32,
    pub latest_version: u32,
    #[serde(default)]
    pub tags: Tags,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PolicyVersion {
    pub document: String,
    pub created: Timestamp,
}

impl ManagedPolicy {
    /// The document that counts.
    #[must_use]
    pub fn document(&self) -> &str {
        self.versions.get(&self.default_version).map_or("", |version| version.document.as_str())
    }
}

impl Record for ManagedPolicy {
    const KIND: &'static str = "managed-policy";

    fn key(&self) -> String {
        self.name.clone()
    }
}
