//! AWS STS (Eucalyptus: Tokens): who am I, and temporary credentials.

/// Sessions of roles.
pub mod assume_role;
/// What all sessions have: how long, how narrow, which tags.
pub mod session;
/// Sessions of users and of whom they vouch for.
pub mod user_sessions;

use serde::{Deserialize, Serialize};

use super::{
    constraints::Constraints,
    error::ApiError,
    operation::{Caller, Operation, Service},
};
use crate::{model::identity::Credential, store::Transaction, wire::xml::Dialect};

#[must_use]
pub fn service() -> Service {
    Service::new("sts", &["tokens", "sts"], Dialect::Query, "https://sts.amazonaws.com/doc/2011-06-15/", None)
        .constrained(Constraints::parse(include_str!("constraints/sts.txt"), false))
        .with::<GetCallerIdentity>()
        .with::<GetAccessKeyInfo>()
        .with::<assume_role::AssumeRole>()
        .with::<user_sessions::GetSessionToken>()
        .with::<user_sessions::GetFederationToken>()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GetCallerIdentity {}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct GetCallerIdentityOutput {
    arn: String,
    user_id: String,
    account: String,
}

impl Operation for GetCallerIdentity {
    const ACTION: &'static str = "GetCallerIdentity";
    type Output = GetCallerIdentityOutput;

    fn run(self, _tx: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        Ok(GetCallerIdentityOutput {
            arn: caller.principal_arn.clone(),
            user_id: caller.principal_id.clone(),
            account: caller.account_id.clone(),
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct GetAccessKeyInfo {
    access_key_id: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct GetAccessKeyInfoOutput {
    account: String,
}

impl Operation for GetAccessKeyInfo {
    const ACTION: &'static str = "GetAccessKeyInfo";
    type Output = GetAccessKeyInfoOutput;

    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        match tx.get::<Credential>(&self.access_key_id) {
            Some(credential) => Ok(GetAccessKeyInfoOutput { account: credential.account_id.clone() }),
            None => Err(ApiError::validation("Invalid type for parameter accessKeyId")),
        }
    }
}
