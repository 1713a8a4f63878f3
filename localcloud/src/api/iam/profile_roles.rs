//! Which role a profile hands out.

use serde::Deserialize;

use super::{
    find_profile, find_role,
    instance_profiles::{InstanceProfileDescription, InstanceProfilesOutput},
    listing, no_such_entity,
};
use crate::{
    api::{
        error::ApiError,
        operation::{Caller, Done, Operation},
    },
    model::identity::InstanceProfile,
    store::Transaction,
};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct AddRoleToInstanceProfile {
    instance_profile_name: String,
    role_name: String,
}

impl Operation for AddRoleToInstanceProfile {
    const ACTION: &'static str = "AddRoleToInstanceProfile";
    type Output = Done;

    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Done, ApiError> {
        let mut profile = InstanceProfile::clone(&*find_profile(tx, &self.instance_profile_name)?);
        find_role(tx, &self.role_name)?;
        if profile.role_name.is_some() {
            return Err(ApiError::new(
                "LimitExceeded",
                "Cannot exceed quota for InstanceSessionsPerInstanceProfile: 1",
            )
            .status(409));
        }
        profile.role_name = Some(self.role_name);
        tx.put(profile);
        Ok(Done {})
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct RemoveRoleFromInstanceProfile {
    instance_profile_name: String,
    role_name: String,
}

impl Operation for RemoveRoleFromInstanceProfile {
    const ACTION: &'static str = "RemoveRoleFromInstanceProfile";
    type Output = Done;

    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Done, ApiError> {
        let mut profile = InstanceProfile::clone(&*find_profile(tx, &self.instance_profile_name)?);
        if profile.role_name.as_ref() != Some(&self.role_name) {
            return Err(no_such_entity(format!("The role with name {} cannot be found.", self.role_name)));
        }
        profile.role_name = None;
        tx.put(profile);
        Ok(Done {})
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ListInstanceProfilesForRole {
    role_name: String,
    marker: Option<String>,
    max_items: Option<usize>,
}

impl Operation for ListInstanceProfilesForRole {
    const ACTION: &'static str = "ListInstanceProfilesForRole";
    type Output = InstanceProfilesOutput;

    fn run(self, tx: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        find_role(tx, &self.role_name)?;
        let mut profiles = tx.list::<InstanceProfile>();
        profiles.retain(|profile| profile.role_name.as_ref() == Some(&self.role_name));
        let (profiles, is_truncated, marker) =
            listing(profiles, |profile| profile.name.clone(), self.marker.as_deref(), self.max_items)?;
        let instance_profiles =
            profiles.iter().map(|profile| InstanceProfileDescription::of(tx, profile, &caller.account_id)).collect();
        Ok(InstanceProfilesOutput { instance_profiles, is_truncated, marker })
    }
}
