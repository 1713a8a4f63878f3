//! Whose request it is, and what their policies say.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    context::Context,
    document::{Document, Kind},
};

/// Whoever signs. Policies are texts here, so that one process can hand an identity to another.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Identity {
    pub arn: String,
    pub account_id: String,
    /// `aws:userid`: `AIDA…`, `AROA…:SESSION`, or the account's number for its root.
    pub principal_id: String,
    pub user_name: Option<String>,
    /// The role that a session is of.
    pub role_arn: Option<String>,
    /// Of users: their groups' too.
    pub policies: Vec<String>,
    /// What narrows a session; none does not narrow, an empty list leaves nothing.
    pub session_policies: Option<Vec<String>>,
    /// Tags of the user, or of the role and the session.
    pub tags: BTreeMap<String, String>,
    /// When a temporary credential was issued, in seconds since the epoch.
    pub issued_epoch_secs: Option<i64>,
    pub source_identity: Option<String>,
    /// The instance that the credential was handed to.
    pub source_instance_arn: Option<String>,
}

impl Identity {
    /// The account's root may do everything, whatever policies say.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.arn.ends_with(":root") && self.session_policies.is_none()
    }

    /// A role's or a federated user's session, which has an ARN of its own.
    #[must_use]
    pub fn is_session(&self) -> bool {
        self.arn.starts_with("arn:aws:sts:")
    }

    /// Whether the ARN is this identity's, or that of its role.
    #[must_use]
    pub fn is_named(&self, arn: &str) -> bool {
        self.arn == arn || self.role_arn.as_deref() == Some(arn)
    }

    /// What its policies say. One that cannot be read denies nothing and allows nothing; it was checked when it was put.
    #[must_use]
    pub fn read(&self) -> Documents {
        let read = |texts: &[String]| {
            texts.iter().filter_map(|text| Document::parse(text, Kind::Identity).ok()).collect::<Vec<_>>()
        };
        Documents { identity: read(&self.policies), session: self.session_policies.as_deref().map(read) }
    }

    /// The condition keys that are about the principal
    /// (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html>).
    pub fn describe(&self, context: &mut Context) {
        let kind = if self.arn.is_empty() {
            "Anonymous"
        } else if self.arn.ends_with(":root") {
            "Account"
        } else if self.role_arn.is_some() {
            "AssumedRole"
        } else if self.is_session() {
            "FederatedUser"
        } else {
            "User"
        };
        context.set("aws:PrincipalType", kind);
        context.set("aws:PrincipalIsAWSService", "false");
        if self.arn.is_empty() {
            return;
        }
        context.set("aws:PrincipalArn", self.role_arn.as_ref().unwrap_or(&self.arn));
        context.set("aws:PrincipalAccount", &self.account_id);
        context.set("aws:userid", &self.principal_id);
        if let Some(name) = &self.user_name {
            context.set("aws:username", name);
        }
        for (key, value) in &self.tags {
            context.set(&format!("aws:PrincipalTag/{key}"), value);
        }
        if let Some(seconds) = self.issued_epoch_secs {
            // There are no devices for it here, so no session was begun with one.
            context.set("aws:MultiFactorAuthPresent", "false");
            if let Ok(time) = jiff::Timestamp::from_second(seconds) {
                context.set("aws:TokenIssueTime", time.to_string());
            }
        }
        if let Some(source) = &self.source_identity {
            context.set("aws:SourceIdentity", source);
        }
        if let Some(arn) = &self.source_instance_arn {
            context.set("ec2:SourceInstanceARN", arn);
            context.set("aws:SourceInstanceARN", arn);
        }
    }
}

/// An identity's policies, read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Documents {
    pub identity: Vec<Document>,
    pub session: Option<Vec<Document>>,
}
