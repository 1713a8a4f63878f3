//! TagSpecification: tags given at creation; and tags as answers have them.

use serde::{Deserialize, Serialize};

use crate::{api::error::ApiError, model::tag::Tags};

/// Limits on tags (<https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Tags.html>).
const MOST_TAGS: usize = 50;
const LONGEST_KEY: usize = 127;
const LONGEST_VALUE: usize = 255;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct TagSpecification {
    #[serde(default)]
    pub resource_type: Option<String>,
    #[serde(default, rename = "Tag")]
    pub tags: Vec<TagParameter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct TagParameter {
    pub key: String,
    #[serde(default)]
    pub value: Option<String>,
}

/// A tag in an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TagItem {
    pub key: String,
    pub value: String,
}

pub(super) fn tag_set(tags: &Tags) -> Vec<TagItem> {
    tags.iter().map(|(key, value)| TagItem { key: key.clone(), value: value.clone() }).collect()
}

/// The tags for a resource of this type; other types must be among `others`, or the request is refused.
pub(super) fn tags_for(
    specifications: &[TagSpecification],
    resource_type: &str,
    others: &[&str],
) -> Result<Tags, ApiError> {
    let mut tags = Tags::new();
    for specification in specifications {
        let named = specification.resource_type.as_deref().unwrap_or(resource_type);
        if named == resource_type {
            add(&mut tags, &specification.tags)?;
        } else if !others.contains(&named) {
            return Err(ApiError::invalid_parameter_value(format!(
                "'{named}' is not a valid taggable resource type for this operation."
            )));
        }
    }
    Ok(tags)
}

/// Adds the tags, over those of the same keys.
pub(super) fn add(tags: &mut Tags, parameters: &[TagParameter]) -> Result<(), ApiError> {
    for TagParameter { key, value } in parameters {
        let value = value.as_deref().unwrap_or_default();
        if key.is_empty() || key.chars().count() > LONGEST_KEY {
            return Err(ApiError::invalid_parameter_value(format!(
                "Tag keys must have between 1 and {LONGEST_KEY} characters; '{key}' has {}",
                key.chars().count()
            )));
        }
        if key.to_ascii_lowercase().starts_with("aws:") {
            return Err(ApiError::invalid_parameter_value(
                "Tag keys starting with 'aws:' are reserved for internal use",
            ));
        }
        if value.chars().count() > LONGEST_VALUE {
            return Err(ApiError::invalid_parameter_value(format!(
                "The value of the tag '{key}' exceeds {LONGEST_VALUE} characters"
            )));
        }
        tags.insert(key.clone(), value.to_owned());
    }
    if tags.len() > MOST_TAGS {
        return Err(ApiError::new("TagLimitExceeded", format!("A resource has at most {MOST_TAGS} tags")));
    }
    Ok(())
}
