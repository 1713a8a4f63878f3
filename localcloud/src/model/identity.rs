//! Credentials, roles and instance profiles.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    model::{tag::Tags, time::Timestamp},
    store::Record,
};

/// An access key: the account's own, a user's, or a role's temporary one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Credential {
    /// `AKIA…`, or `ASIA…` for a temporary one.
    pub access_key: String,
    pub secret_key: String,
    /// Temporary credentials must be used with it.
    pub session_token: Option<String>,
    pub created: Timestamp,
    pub expires: Option<Timestamp>,
    /// `arn:aws:iam::000000000001:root`, `arn:aws:sts::…:assumed-role/ROLE/i-…`
    pub principal_arn: String,
    pub principal_id: String,
    pub account_id: String,
    /// The instance it was handed to through IMDS.
    #[serde(default)]
    pub instance_id: Option<String>,
    #[serde(default)]
    pub role_name: Option<String>,
    #[serde(default)]
    pub user_name: Option<String>,
}

impl Credential {
    /// Whether it is the account's own, which may do everything.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.expires.is_none() && self.principal_arn.ends_with(":root")
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Role {
    pub name: String,
    /// `AROA…`
    pub id: String,
    pub path: String,
    pub assume_role_policy: String,
    pub description: Option<String>,
    pub created: Timestamp,
    /// Documents by policy name.
    pub inline_policies: BTreeMap<String, String>,
    #[serde(default)]
    pub tags: Tags,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InstanceProfile {
    pub name: String,
    /// `AIPA…`
    pub id: String,
    pub path: String,
    pub created: Timestamp,
    /// At most one.
    pub role_name: Option<String>,
    #[serde(default)]
    pub tags: Tags,
}

impl Record for Credential {
    const KIND: &'static str = "credential";

    fn key(&self) -> String {
        self.access_key.clone()
    }
}

impl Record for Role {
    const KIND: &'static str = "role";

    fn key(&self) -> String {
        self.name.clone()
    }
}

impl Record for InstanceProfile {
    const KIND: &'static str = "instance-profile";

    fn key(&self) -> String {
        self.name.clone()
    }
}
