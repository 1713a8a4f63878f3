//! Balancers' tags.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{change, find};
use crate::{
    api::{
        error::ApiError,
        operation::{Caller, Done, Operation},
    },
    model::tag::Tags,
    store::Transaction,
};

/// <https://docs.aws.amazon.com/elasticloadbalancing/latest/classic/add-remove-tags.html>
const MOST_TAGS: usize = 10;

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Tag {
    key: String,
    value: Option<String>,
}

/// # Errors
/// When a key is given twice, is AWS's own, or a key or value is too long.
pub fn checked(tags: Vec<Tag>) -> Result<Tags, ApiError> {
    let mut checked = Tags::new();
    for Tag { key, value } in tags {
        let value = value.unwrap_or_default();
        if key.is_empty() || key.chars().count() > 128 || value.chars().count() > 256 {
            return Err(ApiError::validation(format!(
                "The tag '{key}' has a key of more than 128 or a value of more than 256 characters, or no key"
            )));
        }
        if key.to_ascii_lowercase().starts_with("aws:") {
            return Err(ApiError::validation(format!("The tag key '{key}' begins with 'aws:', which is reserved")));
        }
        if checked.insert(key.clone(), value).is_some() {
            return Err(ApiError::new("DuplicateTagKeys", format!("Tag key '{key}' is given more than once")));
        }
    }
    check_count(&checked)?;
    Ok(checked)
}

fn check_count(tags: &Tags) -> Result<(), ApiError> {
    if tags.len() > MOST_TAGS {
        return Err(ApiError::new(
            "TooManyTags",
            format!("The quota for the number of tags of a load balancer has been reached: {MOST_TAGS}"),
        ));
    }
    Ok(())
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct AddTags {
    load_balancer_names: Vec<String>,
    tags: Vec<Tag>,
}

impl Operation for AddTags {
    const ACTION: &'static str = "AddTags";
    type Output = Done;

    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Done, ApiError> {
        let tags = checked(self.tags)?;
        for name in &self.load_balancer_names {
            change(tx, name, |balancer| {
                balancer.tags.extend(tags.clone());
                check_count(&balancer.tags)
            })?;
        }
        Ok(Done {})
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct TagKey {
    key: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct RemoveTags {
    load_balancer_names: Vec<String>,
    tags: Vec<TagKey>,
}

impl Operation for RemoveTags {
    const ACTION: &'static str = "RemoveTags";
    type Output = Done;

    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Done, ApiError> {
        let keys: BTreeSet<String> = self.tags.into_iter().map(|tag| tag.key).collect();
        for name in &self.load_balancer_names {
            change(tx, name, |balancer| {
                balancer.tags.retain(|key, _| !keys.contains(key));
                Ok(())
            })?;
        }
        Ok(Done {})
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DescribeTags {
    load_balancer_names: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct DescribeTagsOutput {
    tag_descriptions: Vec<TagDescription>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct TagDescription {
    load_balancer_name: String,
    tags: Vec<Tag>,
}

impl Operation for DescribeTags {
    const ACTION: &'static str = "DescribeTags";
    type Output = DescribeTagsOutput;

    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        let mut tag_descriptions = Vec::new();
        for name in self.load_balancer_names {
            let balancer = find(tx, &name)?;
            let tags =
                balancer.tags.iter().map(|(key, value)| Tag { key: key.clone(), value: Some(value.clone()) }).collect();
            tag_descriptions.push(TagDescription { load_balancer_name: name, tags });
        }
        Ok(DescribeTagsOutput { tag_descriptions })
    }
}
