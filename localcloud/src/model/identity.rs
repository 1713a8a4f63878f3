//! Credentials, and those to whom they belong: users, groups, roles, and instance profiles.

use std::collections::{BTreeMap, BTreeSet};

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
    /// Switched off by its owner: refused as if it were not there.
    #[serde(default)]
    pub inactive: bool,
    /// What a temporary one was asked for with.
    #[serde(default)]
    pub session: Session,
}

/// What STS was asked for with a session.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Session {
    /// Documents that narrow it; none does not narrow, an empty list leaves nothing.
    pub policies: Option<Vec<String>>,
    pub tags: Tags,
    /// Keys of the tags that a further session inherits.
    pub transitive_tag_keys: BTreeSet<String>,
    pub source_identity: Option<String>,
}

/// When and where an access key was used last. A record of its own, as it changes with every use.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AccessKeyUse {
    pub access_key: String,
    pub time: Timestamp,
    pub service: String,
    pub region: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct User {
    pub name: String,
    /// `AIDA…`
    pub id: String,
    pub path: String,
    pub created: Timestamp,
    pub policies: Policies,
    /// Names.
    pub groups: BTreeSet<String>,
    #[serde(default)]
    pub tags: Tags,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Group {
    pub name: String,
    /// `AGPA…`
    pub id: String,
    pub path: String,
    pub created: Timestamp,
    pub policies: Policies,
}

/// What a user or a group may.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Policies {
    /// Documents by name.
    pub inline: BTreeMap<String, String>,
    /// ARNs of managed policies.
    pub attached: BTreeSet<String>,
}

/// The account's name in place of its number, at most one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AccountAlias {
    pub alias: String,
}

impl Credential {
    /// Whether it is the account's own, which may do everything.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.expires.is_none() && !self.inactive && self.principal_arn.ends_with(":root")
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
    /// ARNs of managed policies.
    #[serde(default)]
    pub attached_policies: BTreeSet<String>,
    #[serde(default = "default_session_secs")]
    pub max_session_secs: u32,
    #[serde(default)]
    pub tags: Tags,
}

fn default_session_secs() -> u32 {
    Role::DEFAULT_SESSION_SECS
}

impl Role {
    pub const DEFAULT_SESSION_SECS: u32 = 3600;

    #[must_use]
    pub fn arn(&self, account_id: &str) -> String {
        format!("arn:aws:iam::{account_id}:role{}{}", self.path, self.name)
    }
}

impl User {
    #[must_use]
    pub fn arn(&self, account_id: &str) -> String {
        format!("arn:aws:iam::{account_id}:user{}{}", self.path, self.name)
    }
}

impl Group {
    #[must_use]
    pub fn arn(&self, account_id: &str) -> String {
        format!("arn:aws:iam::{account_id}:group{}{}", self.path, self.name)
    }
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

impl Credential {
    /// A lasting key of the account's root.
    #[must_use]
    pub fn of_root(account_id: &str, access_key: String, secret_key: String, created: Timestamp) -> Self {
        Self {
            access_key,
            secret_key,
            session_token: None,
            created,
            expires: None,
            principal_arn: format!("arn:aws:iam::{account_id}:root"),
            principal_id: account_id.to_owned(),
            account_id: account_id.to_owned(),
            instance_id: None,
            role_name: None,
            user_name: None,
            inactive: false,
            session: Session::default(),
        }
    }
}

impl Record for User {
    const KIND: &'static str = "user";

    fn key(&self) -> String {
        self.name.clone()
    }
}

impl Record for Group {
    const KIND: &'static str = "group";

    fn key(&self) -> String {
        self.name.clone()
    }
}

impl Record for AccessKeyUse {
    const KIND: &'static str = "access-key-use";

    fn key(&self) -> String {
        self.access_key.clone()
    }
}

impl AccountAlias {
    pub const KEY: &'static str = "alias";
}

impl Record for AccountAlias {
    const KIND: &'static str = "account-alias";

    fn key(&self) -> String {
        Self::KEY.to_owned()
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
