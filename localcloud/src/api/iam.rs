//! AWS IAM (Eucalyptus: Euare): roles, their policies, and the instance profiles that hand them to instances.

use std::sync::Arc;

use super::{error::ApiError, operation::Service, page::page};
use crate::{
    model::identity::{InstanceProfile, Role},
    store::Transaction,
    wire::xml::Dialect,
};

pub mod instance_profiles;
pub mod policy_document;
pub mod profile_roles;
pub mod role_policies;
pub mod roles;
pub mod server_certificates;
pub mod tags;
pub mod users;

/// Temporary credentials of a role, for one instance.
pub mod role_credentials;

#[must_use]
pub fn service() -> Service {
    Service::new("iam", &["euare", "iam"], Dialect::Query, "https://iam.amazonaws.com/doc/2010-05-08/", None)
        .with::<roles::CreateRole>()
        .with::<roles::GetRole>()
        .with::<roles::ListRoles>()
        .with::<roles::DeleteRole>()
        .with::<roles::UpdateAssumeRolePolicy>()
        .with::<role_policies::PutRolePolicy>()
        .with::<role_policies::GetRolePolicy>()
        .with::<role_policies::ListRolePolicies>()
        .with::<role_policies::DeleteRolePolicy>()
        .with::<role_policies::ListAttachedRolePolicies>()
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
        .with::<users::GetUser>()
}

fn find_role(tx: &mut Transaction<'_>, name: &str) -> Result<Arc<Role>, ApiError> {
    tx.get::<Role>(name).ok_or_else(|| no_such_entity(format!("The role with name {name} cannot be found.")))
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
