//! Sessions of users and of whom they vouch for.

use serde::{Deserialize, Serialize};

use super::session::{
    Credentials, PolicyArn, check_duration, check_name, mint, of_caller, session_policies, session_tags,
};
use crate::{
    api::{
        error::ApiError,
        iam::tags::Tag,
        operation::{Caller, Operation},
    },
    model::identity::{Credential, Session},
    store::Transaction,
};

/// <https://docs.aws.amazon.com/STS/latest/APIReference/API_GetSessionToken.html>
const LONGEST_SECS: u32 = 129_600;
const DEFAULT_SECS: u32 = 43_200;
/// A session of the account's root is of an hour, whatever is asked for.
const ROOTS_SECS: u32 = 3600;

/// How long a session is that a user, or the root, has asked for.
fn duration(asked: Option<u32>, signer: &Credential) -> Result<u32, ApiError> {
    let seconds = asked.unwrap_or(DEFAULT_SECS);
    check_duration(seconds, LONGEST_SECS)?;
    Ok(if signer.principal_arn.ends_with(":root") { seconds.min(ROOTS_SECS) } else { seconds })
}

/// # Errors
/// When a session asks for a further one.
fn check_lasting(signer: &Credential, action: &str) -> Result<(), ApiError> {
    if signer.expires.is_none() {
        return Ok(());
    }
    Err(ApiError::new("AccessDenied", format!("Cannot call {action} with session credentials")).status(403))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct GetSessionToken {
    duration_seconds: Option<u32>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct GetSessionTokenOutput {
    credentials: Credentials,
}

impl Operation for GetSessionToken {
    const ACTION: &'static str = "GetSessionToken";
    type Output = GetSessionTokenOutput;

    fn run(self, tx: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        let signer = of_caller(tx, caller);
        check_lasting(&signer, Self::ACTION)?;
        let seconds = duration(self.duration_seconds, &signer)?;
        Ok(GetSessionTokenOutput { credentials: mint(tx, signer, seconds) })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct GetFederationToken {
    name: String,
    policy: Option<String>,
    #[serde(default)]
    policy_arns: Vec<PolicyArn>,
    duration_seconds: Option<u32>,
    #[serde(default)]
    tags: Vec<Tag>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct GetFederationTokenOutput {
    credentials: Credentials,
    federated_user: FederatedUser,
    packed_policy_size: Option<usize>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct FederatedUser {
    federated_user_id: String,
    arn: String,
}

impl Operation for GetFederationToken {
    const ACTION: &'static str = "GetFederationToken";
    type Output = GetFederationTokenOutput;

    fn run(self, tx: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        check_name(&self.name, "name", 2..=32)?;
        let signer = of_caller(tx, caller);
        check_lasting(&signer, Self::ACTION)?;
        let seconds = duration(self.duration_seconds, &signer)?;
        let (policies, packed_policy_size) = session_policies(tx, self.policy, &self.policy_arns)?;
        let (tags, transitive_tag_keys) = session_tags(self.tags, Vec::new(), &Session::default())?;
        let federated_user = FederatedUser {
            federated_user_id: format!("{}:{}", caller.account_id, self.name),
            arn: format!("arn:aws:sts::{}:federated-user/{}", caller.account_id, self.name),
        };
        let session = Session {
            // Without a policy such a session has none of its user's rights.
            policies: Some(policies.unwrap_or_default()),
            tags,
            transitive_tag_keys,
            source_identity: None,
        };
        let like = Credential {
            principal_arn: federated_user.arn.clone(),
            principal_id: federated_user.federated_user_id.clone(),
            session,
            ..signer
        };
        let credentials = mint(tx, like, seconds);
        Ok(GetFederationTokenOutput { credentials, federated_user, packed_policy_size })
    }
}
