//! Instance profiles: through them an instance has a role.

use serde::{Deserialize, Serialize};

use super::{
    already_exists, check_name, check_path, delete_conflict, find_profile, listing,
    roles::RoleDescription,
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
    store::Transaction,
};

/// A profile as answers have it.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct InstanceProfileDescription {
    path: String,
    instance_profile_name: String,
    instance_profile_id: String,
    arn: String,
    create_date: Timestamp,
    roles: Vec<RoleDescription>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<Tag>,
}

impl InstanceProfileDescription {
    pub fn of(tx: &mut Transaction<'_>, profile: &InstanceProfile, account_id: &str) -> Self {
        let role = profile.role_name.as_ref().and_then(|name| tx.get::<Role>(name));
        Self {
            path: profile.path.clone(),
            instance_profile_name: profile.name.clone(),
            instance_profile_id: profile.id.clone(),
            arn: format!("arn:aws:iam::{account_id}:instance-profile{}{}", profile.path, profile.name),
            create_date: profile.created,
            roles: role.iter().map(|role| RoleDescription::of(role, account_id)).collect(),
            tags: listed(&profile.tags),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct CreateInstanceProfile {
    instance_profile_name: String,
    path: Option<String>,
    #[serde(default)]
    tags: Vec<Tag>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct InstanceProfileOutput {
    instance_profile: InstanceProfileDescription,
}

impl Operation for CreateInstanceProfile {
    const ACTION: &'static str = "CreateInstanceProfile";
    type Output = InstanceProfileOutput;

    fn run(self, tx: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        let name = self.instance_profile_name;
        check_name("instanceProfileName", &name, 128)?;
        if tx.list::<InstanceProfile>().iter().any(|profile| profile.name.eq_ignore_ascii_case(&name)) {
            return Err(already_exists(format!("Instance Profile {name} already exists.")));
        }
        let profile = InstanceProfile {
            name,
            id: format!("AIPA{}", id::base32(17)),
            path: check_path(self.path)?,
            created: Timestamp::now(),
            role_name: None,
            tags: checked(self.tags)?,
        };
        let instance_profile = InstanceProfileDescription::of(tx, &profile, &caller.account_id);
        tx.put(profile);
        Ok(InstanceProfileOutput { instance_profile })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct GetInstanceProfile {
    instance_profile_name: String,
}

impl Operation for GetInstanceProfile {
    const ACTION: &'static str = "GetInstanceProfile";
    type Output = InstanceProfileOutput;

    fn run(self, tx: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        let profile = find_profile(tx, &self.instance_profile_name)?;
        Ok(InstanceProfileOutput { instance_profile: InstanceProfileDescription::of(tx, &profile, &caller.account_id) })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ListInstanceProfiles {
    path_prefix: Option<String>,
    marker: Option<String>,
    max_items: Option<usize>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct InstanceProfilesOutput {
    pub instance_profiles: Vec<InstanceProfileDescription>,
    pub is_truncated: bool,
    pub marker: Option<String>,
}

impl Operation for ListInstanceProfiles {
    const ACTION: &'static str = "ListInstanceProfiles";
    type Output = InstanceProfilesOutput;

    fn run(self, tx: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        let prefix = self.path_prefix.unwrap_or_else(|| "/".to_owned());
        let mut profiles = tx.list::<InstanceProfile>();
        profiles.retain(|profile| profile.path.starts_with(&prefix));
        let (profiles, is_truncated, marker) =
            listing(profiles, |profile| profile.name.clone(), self.marker.as_deref(), self.max_items)?;
        let instance_profiles =
            profiles.iter().map(|profile| InstanceProfileDescription::of(tx, profile, &caller.account_id)).collect();
        Ok(InstanceProfilesOutput { instance_profiles, is_truncated, marker })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DeleteInstanceProfile {
    instance_profile_name: String,
}

impl Operation for DeleteInstanceProfile {
    const ACTION: &'static str = "DeleteInstanceProfile";
    type Output = Done;

    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Done, ApiError> {
        if find_profile(tx, &self.instance_profile_name)?.role_name.is_some() {
            return Err(delete_conflict("Cannot delete entity, must remove roles from instance profile first."));
        }
        tx.delete::<InstanceProfile>(&self.instance_profile_name);
        Ok(Done {})
    }
}
