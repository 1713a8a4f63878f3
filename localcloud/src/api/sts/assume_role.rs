//! Sessions of roles. Whether the caller may is asked before, of the role's trust policy (`api/authorization.rs`).
//! <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html>

use serde::{Deserialize, Serialize};

use super::session::{
    Credentials, PolicyArn, check_duration, check_name, constraint, mint, of_caller, session_policies, session_tags,
};
use crate::{
    api::{
        error::ApiError,
        iam::tags::Tag,
        operation::{Caller, Operation},
    },
    model::identity::{Credential, Role, Session},
    store::Transaction,
};

const LONGEST_SECS: u32 = 43_200;
/// A session that was begun by a session is of an hour at most
/// (<https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles.html#iam-term-role-chaining>).
const LONGEST_CHAINED_SECS: u32 = 3600;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct AssumeRole {
    role_arn: String,
    role_session_name: String,
    policy: Option<String>,
    #[serde(default)]
    policy_arns: Vec<PolicyArn>,
    duration_seconds: Option<u32>,
    /// Looked at by the trust policy's conditions.
    external_id: Option<String>,
    #[serde(default)]
    tags: Vec<Tag>,
    #[serde(default)]
    transitive_tag_keys: Vec<String>,
    source_identity: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct AssumeRoleOutput {
    credentials: Credentials,
    assumed_role_user: AssumedRoleUser,
    packed_policy_size: Option<usize>,
    source_identity: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct AssumedRoleUser {
    assumed_role_id: String,
    arn: String,
}

impl Operation for AssumeRole {
    const ACTION: &'static str = "AssumeRole";
    type Output = AssumeRoleOutput;

    fn run(self, tx: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        check_name(&self.role_session_name, "roleSessionName", 2..=64)?;
        if let Some(id) = &self.external_id
            && !(2..=1224).contains(&id.len())
        {
            return Err(constraint(id, "externalId", "have length between 2 and 1224"));
        }
        if let Some(identity) = &self.source_identity {
            check_name(identity, "sourceIdentity", 2..=64)?;
        }
        let name = self.role_arn.rsplit('/').next().unwrap_or_default();
        let role = tx.get::<Role>(name).filter(|role| role.arn(&caller.account_id) == self.role_arn);
        let role = role.ok_or_else(|| ApiError::validation(format!("{} is invalid", self.role_arn)))?;
        let signer = of_caller(tx, caller);
        let chained = signer.role_name.is_some();
        let default =
            if chained { LONGEST_CHAINED_SECS } else { role.max_session_secs }.min(Role::DEFAULT_SESSION_SECS);
        let seconds = self.duration_seconds.unwrap_or(default);
        check_duration(seconds, LONGEST_SECS)?;
        if seconds > role.max_session_secs {
            return Err(ApiError::validation(
                "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
            ));
        }
        if chained && seconds > LONGEST_CHAINED_SECS {
            return Err(ApiError::validation(
                "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining",
            ));
        }
        let (policies, packed_policy_size) = session_policies(tx, self.policy, &self.policy_arns)?;
        let (tags, transitive_tag_keys) = session_tags(self.tags, self.transitive_tag_keys, &signer.session)?;
        // A source identity stays the same through all sessions that follow.
        let source_identity = signer.session.source_identity.clone().or(self.source_identity);
        let assumed_role_user = AssumedRoleUser {
            assumed_role_id: format!("{}:{}", role.id, self.role_session_name),
            arn: format!("arn:aws:sts::{}:assumed-role/{}/{}", caller.account_id, role.name, self.role_session_name),
        };
        let like = Credential {
            principal_arn: assumed_role_user.arn.clone(),
            principal_id: assumed_role_user.assumed_role_id.clone(),
            role_name: Some(role.name.clone()),
            user_name: None,
            session: Session { policies, tags, transitive_tag_keys, source_identity: source_identity.clone() },
            ..signer
        };
        let credentials = mint(tx, like, seconds);
        Ok(AssumeRoleOutput { credentials, assumed_role_user, packed_policy_size, source_identity })
    }
}
