//! Roles.

use serde::{Deserialize, Serialize};

use super::{
    already_exists, check_name, check_path, delete_conflict, find_role, listing, policy_document,
    tags::{Tag, checked, listed},
};
use crate::{
    api::{
        error::ApiError,
        operation::{Caller, Done, Operation},
    },
    model::{
        id,
        identity::{InstanceProfile, Role},
        time::Timestamp,
    },
    policy::Kind,
    store::Transaction,
};

/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html>
const MOST_TRUST_CHARACTERS: usize = 2048;

fn check_trust(document: &str) -> Result<(), ApiError> {
    policy_document::check(document, Kind::Trust)?;
    policy_document::check_size(document, "ACLSizePerRole", MOST_TRUST_CHARACTERS)
}

/// How long a session of the role may be asked for (<https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreateRole.html>).
fn checked_session_secs(seconds: Option<u32>) -> Result<u32, ApiError> {
    let seconds = seconds.unwrap_or(Role::DEFAULT_SESSION_SECS);
    if (3600..=43_200).contains(&seconds) {
        return Ok(seconds);
    }
    Err(ApiError::validation(format!(
        "1 validation error detected: Value '{seconds}' at 'maxSessionDuration' failed to satisfy constraint: Member must have value between 3600 and 43200"
    )))
}

/// A role as answers have it.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct RoleDescription {
    path: String,
    role_name: String,
    role_id: String,
    arn: String,
    create_date: Timestamp,
    assume_role_policy_document: String,
    description: Option<String>,
    max_session_duration: u32,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<Tag>,
}

impl RoleDescription {
    pub fn of(role: &Role, account_id: &str) -> Self {
        Self {
            path: role.path.clone(),
            role_name: role.name.clone(),
            role_id: role.id.clone(),
            arn: role.arn(account_id),
            create_date: role.created,
            assume_role_policy_document: policy_document::encoded(&role.assume_role_policy),
            description: role.description.clone(),
            max_session_duration: role.max_session_secs,
            tags: listed(&role.tags),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct CreateRole {
    path: Option<String>,
    role_name: String,
    assume_role_policy_document: String,
    description: Option<String>,
    max_session_duration: Option<u32>,
    #[serde(default)]
    tags: Vec<Tag>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct RoleOutput {
    role: RoleDescription,
}

impl Operation for CreateRole {
    const ACTION: &'static str = "CreateRole";
    type Output = RoleOutput;

    fn run(self, tx: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        check_name("roleName", &self.role_name, 64)?;
        check_trust(&self.assume_role_policy_document)?;
        let max_session_secs = checked_session_secs(self.max_session_duration)?;
        if tx.list::<Role>().iter().any(|role| role.name.eq_ignore_ascii_case(&self.role_name)) {
            return Err(already_exists(format!("Role with name {} already exists.", self.role_name)));
        }
        let role = Role {
            name: self.role_name,
            id: format!("AROA{}", id::base32(17)),
            path: check_path(self.path)?,
            assume_role_policy: self.assume_role_policy_document,
            description: self.description,
            created: Timestamp::now(),
            inline_policies: Default::default(),
            attached_policies: Default::default(),
            max_session_secs,
            tags: checked(self.tags)?,
        };
        let output = RoleOutput { role: RoleDescription::of(&role, &caller.account_id) };
        tx.put(role);
        Ok(output)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct GetRole {
    role_name: String,
}

impl Operation for GetRole {
    const ACTION: &'static str = "GetRole";
    type Output = RoleOutput;

    fn run(self, tx: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        Ok(RoleOutput { role: RoleDescription::of(&*find_role(tx, &self.role_name)?, &caller.account_id) })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ListRoles {
    path_prefix: Option<String>,
    marker: Option<String>,
    max_items: Option<usize>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ListRolesOutput {
    roles: Vec<RoleDescription>,
    is_truncated: bool,
    marker: Option<String>,
}

impl Operation for ListRoles {
    const ACTION: &'static str = "ListRoles";
    type Output = ListRolesOutput;

    fn run(self, tx: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        let prefix = self.path_prefix.unwrap_or_else(|| "/".to_owned());
        let mut roles = tx.list::<Role>();
        roles.retain(|role| role.path.starts_with(&prefix));
        let (roles, is_truncated, marker) =
            listing(roles, |role| role.name.clone(), self.marker.as_deref(), self.max_items)?;
        let roles = roles.iter().map(|role| RoleDescription::of(role, &caller.account_id)).collect();
        Ok(ListRolesOutput { roles, is_truncated, marker })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DeleteRole {
    role_name: String,
}

impl Operation for DeleteRole {
    const ACTION: &'static str = "DeleteRole";
    type Output = Done;

    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Done, ApiError> {
        let role = find_role(tx, &self.role_name)?;
        let holds = |profile: &InstanceProfile| profile.role_name.as_ref() == Some(&self.role_name);
        if tx.list::<InstanceProfile>().iter().any(|profile| holds(profile)) {
            return Err(delete_conflict("Cannot delete entity, must remove roles from instance profile first."));
        }
        if !role.inline_policies.is_empty() {
            return Err(delete_conflict("Cannot delete entity, must delete policies first."));
        }
        if !role.attached_policies.is_empty() {
            return Err(delete_conflict("Cannot delete entity, must detach all policies first."));
        }
        tx.delete::<Role>(&self.role_name);
        Ok(Done {})
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct UpdateAssumeRolePolicy {
    role_name: String,
    policy_document: String,
}

impl Operation for UpdateAssumeRolePolicy {
    const ACTION: &'static str = "UpdateAssumeRolePolicy";
    type Output = Done;

    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Done, ApiError> {
        let mut role = Role::clone(&*find_role(tx, &self.role_name)?);
        check_trust(&self.policy_document)?;
        role.assume_role_policy = self.policy_document;
        tx.put(role);
        Ok(Done {})
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct UpdateRole {
    role_name: String,
    description: Option<String>,
    max_session_duration: Option<u32>,
}

impl Operation for UpdateRole {
    const ACTION: &'static str = "UpdateRole";
    type Output = Done;

    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Done, ApiError> {
        let mut role = Role::clone(&*find_role(tx, &self.role_name)?);
        if let Some(description) = self.description {
            role.description = Some(description);
        }
        if self.max_session_duration.is_some() {
            role.max_session_secs = checked_session_secs(self.max_session_duration)?;
        }
        tx.put(role);
        Ok(Done {})
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct UpdateRoleDescription {
    role_name: String,
    description: String,
}

impl Operation for UpdateRoleDescription {
    const ACTION: &'static str = "UpdateRoleDescription";
    type Output = RoleOutput;

    fn run(self, tx: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        let mut role = Role::clone(&*find_role(tx, &self.role_name)?);
        role.description = Some(self.description);
        tx.put(role.clone());
        Ok(RoleOutput { role: RoleDescription::of(&role, &caller.account_id) })
    }
}
