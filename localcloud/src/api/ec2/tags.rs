//! CreateTags, DeleteTags, DescribeTags: on whatever has tags, by its id.

use serde::{Deserialize, Serialize};

use super::{
    dry_run,
    filters::{self, Column, Filter},
    identifiers, pagination,
    tag_specifications::{TagParameter, add},
};
use crate::{
    api::{
        error::ApiError,
        operation::{Caller, Operation, Return},
    },
    model::{
        address::Address, image::Image, instance::Instance, key_pair::KeyPair, launch_template::LaunchTemplate,
        security_group::SecurityGroup, snapshot::Snapshot, tag::Tags, volume::Volume,
    },
    store::{Record, Transaction},
};

/// Changes the tags of the resource of this id, if there is one.
type Change = fn(&mut Transaction<'_>, &str, &mut dyn FnMut(&mut Tags)) -> Option<()>;

/// A kind of resource that has tags.
struct Kind {
    prefixes: &'static [&'static str],
    /// Before `.NotFound`.
    code: &'static str,
    name: &'static str,
    change: Change,
    list: fn(&mut Transaction<'_>) -> Vec<(String, Tags)>,
}

fn list<R: Record>(tx: &mut Transaction<'_>, of: impl Fn(&R) -> (String, Tags)) -> Vec<(String, Tags)> {
    tx.list::<R>().iter().map(|record| of(record)).collect()
}

const KINDS: &[Kind] = &[
    Kind {
        prefixes: &["i-"],
        code: "InvalidInstanceID",
        name: "instance",
        change: |tx, id, change| tx.update::<Instance>(id, |instance| change(&mut instance.tags)),
        list: |tx| list::<Instance>(tx, |instance| (instance.id.clone(), instance.tags.clone())),
    },
    Kind {
        prefixes: &["vol-"],
        code: "InvalidVolume",
        name: "volume",
        change: |tx, id, change| tx.update::<Volume>(id, |volume| change(&mut volume.tags)),
        list: |tx| list::<Volume>(tx, |volume| (volume.id.clone(), volume.tags.clone())),
    },
    Kind {
        prefixes: &["snap-"],
        code: "InvalidSnapshot",
        name: "snapshot",
        change: |tx, id, change| tx.update::<Snapshot>(id, |snapshot| change(&mut snapshot.tags)),
        list: |tx| list::<Snapshot>(tx, |snapshot| (snapshot.id.clone(), snapshot.tags.clone())),
    },
    Kind {
        prefixes: &["eipalloc-"],
        code: "InvalidAllocationID",
        name: "elastic-ip",
        change: |tx, id, change| tx.update::<Address>(id, |address| change(&mut address.tags)),
        list: |tx| list::<Address>(tx, |address| (address.id.clone(), address.tags.clone())),
    },
    Kind {
        prefixes: &["ami-", "emi-"],
        code: "InvalidAMIID",
        name: "image",
        change: |tx, id, change| tx.update::<Image>(id, |image| change(&mut image.tags)),
        list: |tx| list::<Image>(tx, |image| (image.id.clone(), image.tags.clone())),
    },
    Kind {
        prefixes: &["sg-"],
        code: "InvalidGroup",
        name: "security-group",
        change: |tx, id, change| tx.update::<SecurityGroup>(id, |group| change(&mut group.tags)),
        list: |tx| list::<SecurityGroup>(tx, |group| (group.id.clone(), group.tags.clone())),
    },
    Kind {
        prefixes: &["lt-"],
        code: "InvalidLaunchTemplateId",
        name: "launch-template",
        change: |tx, id, change| tx.update::<LaunchTemplate>(id, |template| change(&mut template.tags)),
        list: |tx| list::<LaunchTemplate>(tx, |template| (template.id.clone(), template.tags.clone())),
    },
    Kind {
        prefixes: &["key-"],
        code: "InvalidKeyPair",
        name: "key-pair",
        change: |tx, id, change| {
            let name = tx.list::<KeyPair>().iter().find(|pair| pair.id == id)?.name.clone();
            tx.update::<KeyPair>(&name, |pair| change(&mut pair.tags))
        },
        list: |tx| list::<KeyPair>(tx, |pair| (pair.id.clone(), pair.tags.clone())),
    },
];

/// Changes the tags of each resource; of none if one is not there.
fn change(
    tx: &mut Transaction<'_>,
    ids: &[String],
    mut body: impl FnMut(&mut Tags) -> Result<(), ApiError>,
) -> Result<(), ApiError> {
    if ids.is_empty() {
        return Err(ApiError::missing_parameter("ResourceId"));
    }
    for id in ids {
        let kind =
            KINDS.iter().find(|kind| kind.prefixes.iter().any(|prefix| id.starts_with(prefix))).ok_or_else(|| {
                ApiError::new(
                    "InvalidID",
                    format!("The ID '{id}' is not valid, or of nothing that has tags in this cloud"),
                )
            })?;
        let mut outcome = Ok(());
        (kind.change)(tx, id, &mut |tags| outcome = body(tags))
            .ok_or_else(|| identifiers::not_found(kind.code, kind.name, id))?;
        outcome?;
    }
    Ok(())
}

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateTags.html>
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct CreateTags {
    #[serde(default, rename = "ResourceId")]
    resource_ids: Vec<String>,
    #[serde(default, rename = "Tag")]
    tags: Vec<TagParameter>,
    #[serde(default)]
    dry_run: Option<bool>,
}

impl Operation for CreateTags {
    const ACTION: &'static str = "CreateTags";
    type Output = Return;

    fn run(self, tx: &mut Transaction<'_>, _: &Caller<'_>) -> Result<Return, ApiError> {
        if self.tags.is_empty() {
            return Err(ApiError::missing_parameter("Tag"));
        }
        change(tx, &self.resource_ids, |tags| add(tags, &self.tags))?;
        dry_run::check(self.dry_run)?;
        Ok(Return::TRUE)
    }
}

/// Without tags all are deleted; without a value, whatever the value
/// (<https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DeleteTags.html>).
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DeleteTags {
    #[serde(default, rename = "ResourceId")]
    resource_ids: Vec<String>,
    #[serde(default, rename = "Tag")]
    tags: Vec<TagParameter>,
    #[serde(default)]
    dry_run: Option<bool>,
}

impl Operation for DeleteTags {
    const ACTION: &'static str = "DeleteTags";
    type Output = Return;

    fn run(self, tx: &mut Transaction<'_>, _: &Caller<'_>) -> Result<Return, ApiError> {
        change(tx, &self.resource_ids, |tags| {
            tags.retain(|key, value| {
                let named = self
                    .tags
                    .iter()
                    .any(|tag| tag.key == *key && tag.value.as_ref().is_none_or(|expected| expected == value));
                let reserved = key.starts_with("aws:");
                reserved || !(named || self.tags.is_empty())
            });
            Ok(())
        })?;
        dry_run::check(self.dry_run)?;
        Ok(Return::TRUE)
    }
}

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeTags.html>
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DescribeTags {
    #[serde(default, rename = "Filter")]
    filters: Vec<Filter>,
    #[serde(default)]
    max_results: Option<u32>,
    #[serde(default)]
    next_token: Option<String>,
    #[serde(default)]
    dry_run: Option<bool>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TagDescriptions {
    tag_set: Vec<TagDescription>,
    next_token: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct TagDescription {
    resource_id: String,
    resource_type: &'static str,
    key: String,
    value: String,
}

const COLUMNS: &[Column<TagDescription>] = &[
    ("key", |tag| vec![tag.key.clone()]),
    ("resource-id", |tag| vec![tag.resource_id.clone()]),
    ("resource-type", |tag| vec![tag.resource_type.to_owned()]),
    ("value", |tag| vec![tag.value.clone()]),
];

impl Operation for DescribeTags {
    const ACTION: &'static str = "DescribeTags";
    type Output = TagDescriptions;

    fn run(self, tx: &mut Transaction<'_>, _: &Caller<'_>) -> Result<TagDescriptions, ApiError> {
        dry_run::check(self.dry_run)?;
        let mut all = Vec::new();
        for kind in KINDS {
            for (resource_id, tags) in (kind.list)(tx) {
                all.extend(tags.into_iter().map(|(key, value)| TagDescription {
                    resource_id: resource_id.clone(),
                    resource_type: kind.name,
                    key,
                    value,
                }));
            }
        }
        // `tag:KEY` filters by key and value at once here.
        let (by_tag, rest): (Vec<Filter>, Vec<Filter>) =
            self.filters.into_iter().partition(|filter| filter.name.starts_with("tag:"));
        for filter in by_tag {
            let key = filter.name.trim_start_matches("tag:").to_owned();
            let as_columns = [
                Filter { name: "key".to_owned(), values: vec![key] },
                Filter { name: "value".to_owned(), values: filter.values },
            ];
            all = filters::retain(&as_columns, COLUMNS, None, all)?;
        }
        let all = filters::retain(&rest, COLUMNS, None, all)?;
        let key = |tag: &TagDescription| format!("{}\u{0}{}", tag.resource_id, tag.key);
        let (tag_set, next_token) = pagination::page(all, key, self.max_results, self.next_token.as_deref())?;
        Ok(TagDescriptions { tag_set, next_token })
    }
}
