//! Tags of users, roles, policies and instance profiles.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{find_profile, holder::Holder as _, listing, managed_policies};
use crate::{
    api::{
        error::ApiError,
        operation::{Caller, Done, Operation},
    },
    model::{
        identity::{Role, User},
        managed_policy::ManagedPolicy,
        tag::Tags,
    },
    store::Transaction,
};

const MOST_TAGS: usize = 50;

#[derive(Clone, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Tag {
    pub key: String,
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

/// The three actions of one kind of resource; they differ in how it is named and found.
macro_rules! tags {
    ($find:path, $field:literal, $tag:ident, $untag:ident, $list:ident) => {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase", deny_unknown_fields)]
        pub struct $tag {
            #[serde(rename = $field)]
            resource: String,
            tags: Vec<Tag>,
        }

        impl Operation for $tag {
            const ACTION: &'static str = stringify!($tag);
            type Output = Done;

            fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Done, ApiError> {
                let mut resource = (*$find(tx, &self.resource)?).clone();
                add(&mut resource.tags, self.tags)?;
                tx.put(resource);
                Ok(Done {})
            }
        }

        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase", deny_unknown_fields)]
        pub struct $untag {
            #[serde(rename = $field)]
            resource: String,
            tag_keys: Vec<String>,
        }

        impl Operation for $untag {
            const ACTION: &'static str = stringify!($untag);
            type Output = Done;

            fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Done, ApiError> {
                let mut resource = (*$find(tx, &self.resource)?).clone();
                resource.tags.retain(|key, _| !self.tag_keys.contains(key));
                tx.put(resource);
                Ok(Done {})
            }
        }

        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase", deny_unknown_fields)]
        pub struct $list {
            #[serde(rename = $field)]
            resource: String,
            marker: Option<String>,
            max_items: Option<usize>,
        }

        impl Operation for $list {
            const ACTION: &'static str = stringify!($list);
            type Output = TagsOutput;

            fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<TagsOutput, ApiError> {
                list(&$find(tx, &self.resource)?.tags, self.marker.as_deref(), self.max_items)
            }
        }
    };
}

tags!(Role::find, "RoleName", TagRole, UntagRole, ListRoleTags);
tags!(User::find, "UserName", TagUser, UntagUser, ListUserTags);
tags!(find_profile, "InstanceProfileName", TagInstanceProfile, UntagInstanceProfile, ListInstanceProfileTags);
tags!(find_own_policy, "PolicyArn", TagPolicy, UntagPolicy, ListPolicyTags);

fn find_own_policy(tx: &mut Transaction<'_>, arn: &str) -> Result<Arc<ManagedPolicy>, ApiError> {
    managed_policies::find_own_policy(tx, arn).map(Arc::new)
}
