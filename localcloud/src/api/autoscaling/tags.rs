//! Groups' tags, and whether their instances get them.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{filters::Filter, find_changeable, page_size};
use crate::{
    api::{
        error::ApiError,
        operation::{Caller, Done, Operation},
        page::page,
    },
    model::auto_scaling::{AutoScalingGroup, GroupTag},
    store::Transaction,
};

const RESOURCE_TYPE: &str = "auto-scaling-group";
const MOST_TAGS: usize = 50;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct TagInput {
    resource_id: Option<String>,
    resource_type: Option<String>,
    key: String,
    value: Option<String>,
    propagate_at_launch: Option<bool>,
}

impl TagInput {
    /// # Errors
    /// When it is no tag, or one of another group than `group`.
    pub fn check(self, group: Option<&str>) -> Result<GroupTag, ApiError> {
        if let (Some(of), Some(group)) = (&self.resource_id, group)
            && of != group
        {
            return Err(ApiError::validation(format!("The tag '{}' is of the group {of}, not of {group}", self.key)));
        }
        if self.resource_type.as_deref().is_some_and(|kind| kind != RESOURCE_TYPE) {
            return Err(ApiError::validation(format!("ResourceType of a tag must be {RESOURCE_TYPE}")));
        }
        let value = self.value.unwrap_or_default();
        if self.key.is_empty() || self.key.chars().count() > 128 || value.chars().count() > 256 {
            return Err(ApiError::validation(format!(
                "The tag '{}' has a key of more than 128 or a value of more than 256 characters, or no key",
                self.key
            )));
        }
        if self.key.to_ascii_lowercase().starts_with("aws:") {
            return Err(ApiError::validation(format!(
                "The tag key '{}' begins with 'aws:', which is reserved",
                self.key
            )));
        }
        Ok(GroupTag { key: self.key, value, propagate_at_launch: self.propagate_at_launch.unwrap_or(false) })
    }

    fn group(&self) -> Result<String, ApiError> {
        self.resource_id
            .clone()
            .ok_or_else(|| ApiError::validation(format!("The tag '{}' has no ResourceId", self.key)))
    }
}

/// # Errors
/// When a key is there twice, or there are too many.
pub fn check_distinct(tags: &[GroupTag]) -> Result<(), ApiError> {
    let keys: BTreeSet<&str> = tags.iter().map(|tag| tag.key.as_str()).collect();
    if keys.len() < tags.len() {
        return Err(ApiError::validation("Duplicate keys not allowed when specifying tags"));
    }
    if tags.len() > MOST_TAGS {
        return Err(ApiError::new("LimitExceeded", format!("A group may have {MOST_TAGS} tags")));
    }
    Ok(())
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct TagDescription {
    resource_id: String,
    resource_type: &'static str,
    key: String,
    value: String,
    propagate_at_launch: bool,
}

impl TagDescription {
    pub fn of(group_name: &str, tag: &GroupTag) -> Self {
        Self {
            resource_id: group_name.to_owned(),
            resource_type: RESOURCE_TYPE,
            key: tag.key.clone(),
            value: tag.value.clone(),
            propagate_at_launch: tag.propagate_at_launch,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct CreateOrUpdateTags {
    tags: Vec<TagInput>,
}

impl Operation for CreateOrUpdateTags {
    const ACTION: &'static str = "CreateOrUpdateTags";
    type Output = Done;

    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Done, ApiError> {
        for input in self.tags {
            let mut group = find_changeable(tx, &input.group()?)?;
            let tag = input.check(None)?;
            group.tags.retain(|known| known.key != tag.key);
            group.tags.push(tag);
            group.tags.sort_by(|a, b| a.key.cmp(&b.key));
            check_distinct(&group.tags)?;
            tx.put(group);
        }
        Ok(Done {})
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DeleteTags {
    tags: Vec<TagInput>,
}

impl Operation for DeleteTags {
    const ACTION: &'static str = "DeleteTags";
    type Output = Done;

    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Done, ApiError> {
        for input in self.tags {
            let mut group = find_changeable(tx, &input.group()?)?;
            group.tags.retain(|known| known.key != input.key);
            tx.put(group);
        }
        Ok(Done {})
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DescribeTags {
    #[serde(default)]
    filters: Vec<Filter>,
    next_token: Option<String>,
    max_records: Option<usize>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct DescribeTagsOutput {
    tags: Vec<TagDescription>,
    next_token: Option<String>,
}

impl Operation for DescribeTags {
    const ACTION: &'static str = "DescribeTags";
    type Output = DescribeTagsOutput;

    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        let size = page_size(self.max_records)?;
        let mut tags: Vec<TagDescription> = Vec::new();
        for group in tx.list::<AutoScalingGroup>() {
            tags.extend(group.tags.iter().map(|tag| TagDescription::of(&group.name, tag)));
        }
        for filter in &self.filters {
            let value = match filter.name.as_str() {
                "auto-scaling-group" => |tag: &TagDescription| tag.resource_id.clone(),
                "key" => |tag: &TagDescription| tag.key.clone(),
                "value" => |tag: &TagDescription| tag.value.clone(),
                "propagate-at-launch" => |tag: &TagDescription| tag.propagate_at_launch.to_string(),
                other => {
                    return Err(ApiError::validation(format!(
                        "Filter type {other} is not correct. Allowed Filter types are: auto-scaling-group, key, value, propagate-at-launch"
                    )));
                }
            };
            tags.retain(|tag| filter.admits(&value(tag)));
        }
        let key = |tag: &TagDescription| format!("{}/{}", tag.resource_id, tag.key);
        tags.sort_by_key(key);
        let (tags, next_token) = page(tags, key, self.next_token.as_deref(), size)?;
        Ok(DescribeTagsOutput { tags, next_token })
    }
}
