//! Alarms' tags.

use serde::{Deserialize, Serialize};

use super::find_by_arn;
use crate::{
    api::{
        error::ApiError,
        operation::{Caller, Done, Operation},
    },
    model::{alarm::Alarm, tag::Tags},
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
/// When a key is AWS's own, or a key or value is too long, or there are too many.
pub fn checked(tags: Vec<Tag>) -> Result<Tags, ApiError> {
    let mut checked = Tags::new();
    for Tag { key, value } in tags {
        if key.is_empty()
            || key.chars().count() > 128
            || value.chars().count() > 256
            || key.to_ascii_lowercase().starts_with("aws:")
        {
            return Err(ApiError::invalid_parameter_value(format!(
                "The tag '{key}' has a key of more than 128 or a value of more than 256 characters, or a key that is empty or begins with 'aws:'"
            )));
        }
        checked.insert(key, value);
    }
    check_count(&checked)?;
    Ok(checked)
}

fn check_count(tags: &Tags) -> Result<(), ApiError> {
    if tags.len() > MOST_TAGS {
        return Err(ApiError::invalid_parameter_value(format!("An alarm may have {MOST_TAGS} tags")));
    }
    Ok(())
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct TagResource {
    #[serde(rename = "ResourceARN")]
    arn: String,
    tags: Vec<Tag>,
}

impl Operation for TagResource {
    const ACTION: &'static str = "TagResource";
    type Output = Done;

    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Done, ApiError> {
        let mut alarm = Alarm::clone(&*find_by_arn(tx, &self.arn)?);
        alarm.tags.extend(checked(self.tags)?);
        check_count(&alarm.tags)?;
        tx.put(alarm);
        Ok(Done {})
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct UntagResource {
    #[serde(rename = "ResourceARN")]
    arn: String,
    tag_keys: Vec<String>,
}

impl Operation for UntagResource {
    const ACTION: &'static str = "UntagResource";
    type Output = Done;

    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Done, ApiError> {
        let mut alarm = Alarm::clone(&*find_by_arn(tx, &self.arn)?);
        alarm.tags.retain(|key, _| !self.tag_keys.contains(key));
        tx.put(alarm);
        Ok(Done {})
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ListTagsForResource {
    #[serde(rename = "ResourceARN")]
    arn: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ListTagsForResourceOutput {
    tags: Vec<Tag>,
}

impl Operation for ListTagsForResource {
    const ACTION: &'static str = "ListTagsForResource";
    type Output = ListTagsForResourceOutput;

    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        let alarm = find_by_arn(tx, &self.arn)?;
        let tags = alarm.tags.iter().map(|(key, value)| Tag { key: key.clone(), value: value.clone() }).collect();
        Ok(ListTagsForResourceOutput { tags })
    }
}
