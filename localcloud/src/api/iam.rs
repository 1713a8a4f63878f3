//! AWS IAM (Eucalyptus: Euare): users, groups and roles, their policies and keys, and the instance profiles that hand
//! roles to instances.

use std::sync::Arc;

use self::holder::Holder as _;
use super::{constraints::Constraints, error::ApiError, operation::Service, page::page};
use crate::{
    model::identity::{InstanceProfile, Role},
    store::Transaction,
    wire::xml::Dialect,
};

/// Two keys a user, and when they were used.
pub mod access_keys;
pub mod account;
pub mod account_details;
pub mod attachments;
/// The AWS managed policies that are known here.
mod aws_managed;
pub mod groups;
/// Users, groups and roles alike.
mod holder;
/// Whose request it is, and what their policies say, out of the records.
pub mod identity;
pub mod inline_policies;
pub mod instance_profiles;
pub mod managed_policies;
mod policy_document;
pub mod policy_versions;
pub mod profile_roles;
pub mod roles;
pub mod server_certificates;
pub mod simulate;
pub mod tags;
pub mod users;

/// Temporary credentials of a role, for one instance.
pub mod role_credentials;

#[must_use]
pub fn service() -> Service {
    Service::new("iam", &["euare", "iam"], Dialect::Query, "https://iam.amazonaws.com/doc/2010-05-08/", None)
        .constrained(Constraints::parse(include_str!("constraints/iam.txt"), true))
        .with::<users::CreateUser>()
        .with::<users::GetUser>()
        .with::<users::ListUsers>()
        .with::<users::UpdateUser>()
        .with::<users::DeleteUser>()
        .with::<access_keys::CreateAccessKey>()
        .with::<access_keys::ListAccessKeys>()
        .with::<access_keys::UpdateAccessKey>()
        .with::<access_keys::DeleteAccessKey>()
        .with::<access_keys::GetAccessKeyLastUsed>()
        .with::<groups::CreateGroup>()
        .with::<groups::GetGroup>()
        .with::<groups::ListGroups>()
        .with::<groups::ListGroupsForUser>()
        .with::<groups::UpdateGroup>()
        .with::<groups::DeleteGroup>()
        .with::<groups::AddUserToGroup>()
        .with::<groups::RemoveUserFromGroup>()
        .with::<roles::CreateRole>()
        .with::<roles::GetRole>()
        .with::<roles::ListRoles>()
        .with::<roles::UpdateRole>()
        .with::<roles::UpdateRoleDescription>()
        .with::<roles::DeleteRole>()
        .with::<roles::UpdateAssumeRolePolicy>()
        .with::<inline_policies::PutRolePolicy>()
        .with::<inline_policies::GetRolePolicy>()
        .with::<inline_policies::ListRolePolicies>()
        .with::<inline_policies::DeleteRolePolicy>()
        .with::<inline_policies::PutUserPolicy>()
        .with::<inline_policies::GetUserPolicy>()
        .with::<inline_policies::ListUserPolicies>()
        .with::<inline_policies::DeleteUserPolicy>()
        .with::<inline_policies::PutGroupPolicy>()
        .with::<inline_policies::GetGroupPolicy>()
        .with::<inline_policies::ListGroupPolicies>()
        .with::<inline_policies::DeleteGroupPolicy>()
        .with::<managed_policies::CreatePolicy>()
        .with::<managed_policies::GetPolicy>()
        .with::<managed_policies::ListPolicies>()
        .with::<managed_policies::DeletePolicy>()
        .with::<managed_policies::ListEntitiesForPolicy>()
        .with::<policy_versions::CreatePolicyVersion>()
        .with::<policy_versions::GetPolicyVersion>()
        .with::<policy_versions::ListPolicyVersions>()
        .with::<policy_versions::SetDefaultPolicyVersion>()
        .with::<policy_versions::DeletePolicyVersion>()
        .with::<attachments::AttachRolePolicy>()
        .with::<attachments::DetachRolePolicy>()
        .with::<attachments::ListAttachedRolePolicies>()
        .with::<attachments::AttachUserPolicy>()
        .with::<attachments::DetachUserPolicy>()
        .with::<attachments::ListAttachedUserPolicies>()
        .with::<attachments::AttachGroupPolicy>()
        .with::<attachments::DetachGroupPolicy>()
        .with::<attachments::ListAttachedGroupPolicies>()
        .with::<instance_profiles::CreateInstanceProfile>()
        .with::<instance_profiles::GetInstanceProfile>()
        .with::<instance_profiles::ListInstanceProfiles>()
        .with::<instance_profiles::DeleteInstanceProfile>()
        .with::<profile_roles::AddRoleToInstanceProfile>()
        .with::<profile_roles::RemoveRoleFromInstanceProfile>()
        .with::<profile_roles::ListInstanceProfilesForRole>()
        .with::<tags::TagRole>()
        .with::<tags::UntagRole>()
        .with::<tags::ListRoleTags>()
        .with::<tags::TagUser>()
        .with::<tags::UntagUser>()
        .with::<tags::ListUserTags>()
        .with::<tags::TagPolicy>()
        .with::<tags::UntagPolicy>()
        .with::<tags::ListPolicyTags>()
        .with::<tags::TagInstanceProfile>()
        .with::<tags::UntagInstanceProfile>()
        .with::<tags::ListInstanceProfileTags>()
        .with::<server_certificates::UploadServerCertificate>()
        .with::<server_certificates::GetServerCertificate>()
        .with::<server_certificates::ListServerCertificates>()
        .with::<server_certificates::UpdateServerCertificate>()
        .with::<server_certificates::DeleteServerCertificate>()
        .with::<server_certificates::TagServerCertificate>()
        .with::<server_certificates::UntagServerCertificate>()
        .with::<server_certificates::ListServerCertificateTags>()
        .with::<account::CreateAccountAlias>()
        .with::<account::DeleteAccountAlias>()
        .with::<account::ListAccountAliases>()
        .with::<account::GetAccountSummary>()
        .with::<account_details::GetAccountAuthorizationDetails>()
        .with::<simulate::SimulateCustomPolicy>()
        .with::<simulate::SimulatePrincipalPolicy>()
}

fn find_role(tx: &mut Transaction<'_>, name: &str) -> Result<Arc<Role>, ApiError> {
    Role::find(tx, name)
}

fn find_profile(tx: &mut Transaction<'_>, name: &str) -> Result<Arc<InstanceProfile>, ApiError> {
    tx.get::<InstanceProfile>(name).ok_or_else(|| no_such_entity(format!("Instance Profile {name} cannot be found.")))
}

fn no_such_entity(message: impl Into<String>) -> ApiError {
    ApiError::new("NoSuchEntity", message).status(404)
}

fn delete_conflict(message: &str) -> ApiError {
    ApiError::new("DeleteConflict", message).status(409)
}

fn already_exists(message: impl Into<String>) -> ApiError {
    ApiError::new("EntityAlreadyExists", message).status(409)
}

/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html>
fn check_name(parameter: &str, name: &str, most: usize) -> Result<(), ApiError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"+=,.@_-".contains(&byte);
    if name.is_empty() || name.len() > most || !name.bytes().all(allowed) {
        return Err(ApiError::validation(format!(
            "The specified value for {parameter} is invalid. It must contain 1 to {most} alphanumeric characters and/or the following: +=,.@_-"
        )));
    }
    Ok(())
}

fn check_path(path: Option<String>) -> Result<String, ApiError> {
    let path = path.unwrap_or_else(|| "/".to_owned());
    if path.starts_with('/')
        && path.ends_with('/')
        && path.len() <= 512
        && path.bytes().all(|byte| (0x21..=0x7e).contains(&byte))
    {
        return Ok(path);
    }
    Err(ApiError::validation(
        "The specified value for path is invalid. It must begin and end with / and contain only alphanumeric characters and/or / characters.",
    ))
}

/// One page of a listing, whether there is more, and the marker of the next.
fn listing<T>(
    items: Vec<T>,
    key: impl Fn(&T) -> String,
    marker: Option<&str>,
    max_items: Option<usize>,
) -> Result<(Vec<T>, bool, Option<String>), ApiError> {
    let size = max_items.unwrap_or(100);
    if !(1..=1000).contains(&size) {
        return Err(ApiError::validation(format!("MaxItems {size} is not between 1 and 1000")));
    }
    let (items, marker) = page(items, key, marker, size)
        .map_err(|_| ApiError::validation("Invalid Marker: it is not one that an earlier listing gave"))?;
    Ok((items, marker.is_some(), marker))
}
