//! Tags of roles and instance profiles.

use serde::{Deserialize, Serialize};

use super::{find_profile, find_role, listing};
use crate::{
    api::{
        error::ApiError,
        operation::{Caller, Done, Operation},
    },
    model::{
        identity::{InstanceProfile, Role},
        tag::Tags,
    },
    store::Transaction,
};

const MOST_TAGS: usize = 50;

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Tag {
    key: String,
    value: String,
}

/// # Errors
/// When a key is given twice, is AWS's own, or a key or value is too long.
pub fn checked(tags: Vec<Tag>) -> Result<Tags, ApiError> {
    let invalid = |message: String| ApiError::new("InvalidInput", message);
    let mut checked = Tags::new();
    for Tag { key, value } in tags {
        if key.is_empty() || key.chars().count() > 128 || value.chars().count() > 256 {
            return Err(invalid(format!(
                "The tag '{key}' has a key of more than 128 or a value of more than 256 characters, or no key"
            )));
        }
        if key.to_ascii_lowercase().starts_with("aws:") {
            return Err(invalid(format!("The tag key '{key}' begins with 'aws:', which is reserved")));
        }
        if checked.insert(key.clone(), value).is_some() {
            return Err(invalid(format!("Duplicate tag keys found: {key}")));
        }
    }
    check_count(&checked)?;
    Ok(checked)
}

fn check_count(tags: &Tags) -> Result<(), ApiError> {
    if tags.len() > MOST_TAGS {
        return Err(ApiError::new("LimitExceeded", format!("Cannot exceed quota for tags: {MOST_TAGS}")).status(409));
    }
    Ok(())
}

pub fn listed(tags: &Tags) -> Vec<Tag> {
    tags.iter().map(|(key, value)| Tag { key: key.clone(), value: value.clone() }).collect()
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct TagsOutput {
    tags: Vec<Tag>,
    is_truncated: bool,
    marker: Option<String>,
}

pub(super) fn list(tags: &Tags, marker: Option<&str>, max_items: Option<usize>) -> Result<TagsOutput, ApiError> {
    let (tags, is_truncated, marker) = listing(listed(tags), |tag| tag.key.clone(), marker, max_items)?;
    Ok(TagsOutput { tags, is_truncated, marker })
}

pub(super) fn add(known: &mut Tags, tags: Vec<Tag>) -> Result<(), ApiError> {
    known.extend(checked(tags)?);
    check_count(known)
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct TagRole {
    role_name: String,
    tags: Vec<Tag>,
}

impl Operation for TagRole {
    const ACTION: &'static str = "TagRole";
    type Output = Done;

    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Done, ApiError> {
        let mut role = Role::clone(&*find_role(tx, &self.role_name)?);
        add(&mut role.tags, self.tags)?;
        tx.put(role);
        Ok(Done {})
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct UntagRole {
    role_name: String,
    tag_keys: Vec<String>,
}

impl Operation for UntagRole {
    const ACTION: &'static str = "UntagRole";
    type Output = Done;

    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Done, ApiError> {
        let mut role = Role::clone(&*find_role(tx, &self.role_name)?);
        role.tags.retain(|key, _| !self.tag_keys.contains(key));
        tx.put(role);
        Ok(Done {})
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ListRoleTags {
    role_name: String,
    marker: Option<String>,
    max_items: Option<usize>,
}

impl Operation for ListRoleTags {
    const ACTION: &'static str = "ListRoleTags";
    type Output = TagsOutput;

    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<TagsOutput, ApiError> {
        list(&find_role(tx, &self.role_name)?.tags, self.marker.as_deref(), self.max_items)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct TagInstanceProfile {
    instance_profile_name: String,
    tags: Vec<Tag>,
}

impl Operation for TagInstanceProfile {
    const ACTION: &'static str = "TagInstanceProfile";
    type Output = Done;

    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Done, ApiError> {
        let mut profile = InstanceProfile::clone(&*find_profile(tx, &self.instance_profile_name)?);
        add(&mut profile.tags, self.tags)?;
        tx.put(profile);
        Ok(Done {})
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct UntagInstanceProfile {
    instance_profile_name: String,
    tag_keys: Vec<String>,
}

impl Operation for UntagInstanceProfile {
    const ACTION: &'static str = "UntagInstanceProfile";
    type Output = Done;

    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Done, ApiError> {
        let mut profile = InstanceProfile::clone(&*find_profile(tx, &self.instance_profile_name)?);
        profile.tags.retain(|key, _| !self.tag_keys.contains(key));
        tx.put(profile);
        Ok(Done {})
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ListInstanceProfileTags {
    instance_profile_name: String,
    marker: Option<String>,
    max_items: Option<usize>,
}

impl Operation for ListInstanceProfileTags {
    const ACTION: &'static str = "ListInstanceProfileTags";
    type Output = TagsOutput;

    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<TagsOutput, ApiError> {
        list(&find_profile(tx, &self.instance_profile_name)?.tags, self.marker.as_deref(), self.max_items)
    }
}
