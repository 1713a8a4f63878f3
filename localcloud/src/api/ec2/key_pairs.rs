//! Key pairs. The private half is given out once and never kept.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};

use super::{
    dry_run,
    filters::{self, Column, Filter},
    identifiers,
    tag_specifications::{TagItem, TagSpecification, tag_set, tags_for},
};
use crate::{
    api::{
        error::ApiError,
        operation::{Caller, Operation, Return},
    },
    model::{id, key_pair::KeyPair, time::Timestamp},
    store::Transaction,
};

/// Key material: making it, reading it, fingerprints.
mod material;

fn check_name(tx: &mut Transaction<'_>, name: &str) -> Result<(), ApiError> {
    if name.is_empty()
        || name.chars().count() > 255
        || !name.chars().all(|character| character.is_ascii_graphic() || character == ' ')
    {
        return Err(ApiError::invalid_parameter_value(
            "A key pair's name has between 1 and 255 printable ASCII characters",
        ));
    }
    match tx.get::<KeyPair>(name) {
        Some(_) => Err(ApiError::new("InvalidKeyPair.Duplicate", format!("The keypair '{name}' already exists."))),
        None => Ok(()),
    }
}

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateKeyPair.html>
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct CreateKeyPair {
    key_name: String,
    #[serde(default)]
    key_type: Option<String>,
    #[serde(default)]
    key_format: Option<String>,
    #[serde(default, rename = "TagSpecification")]
    tag_specifications: Vec<TagSpecification>,
    #[serde(default)]
    dry_run: Option<bool>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NewKeyPair {
    key_name: String,
    key_fingerprint: String,
    key_material: Option<String>,
    key_pair_id: String,
    tag_set: Vec<TagItem>,
}

impl NewKeyPair {
    fn new(pair: &KeyPair, key_material: Option<String>) -> Self {
        Self {
            key_name: pair.name.clone(),
            key_fingerprint: pair.fingerprint.clone(),
            key_material,
            key_pair_id: pair.id.clone(),
            tag_set: tag_set(&pair.tags),
        }
    }
}

impl Operation for CreateKeyPair {
    const ACTION: &'static str = "CreateKeyPair";
    type Output = NewKeyPair;

    fn run(self, tx: &mut Transaction<'_>, _: &Caller<'_>) -> Result<NewKeyPair, ApiError> {
        check_name(tx, &self.key_name)?;
        if self.key_format.as_deref().is_some_and(|format| format != "pem") {
            return Err(ApiError::unsupported("Private keys are given out as 'pem' only (KeyFormat)."));
        }
        let tags = tags_for(&self.tag_specifications, "key-pair", &[])?;
        dry_run::check(self.dry_run)?;
        let made = match self.key_type.as_deref().unwrap_or("rsa") {
            "rsa" => material::rsa(&self.key_name),
            "ed25519" => material::ed25519(&self.key_name),
            other => {
                return Err(ApiError::invalid_parameter_value(format!(
                    "Invalid value '{other}' for KeyType: rsa or ed25519"
                )));
            }
        };
        let made = made.map_err(|error| {
            ApiError::new("InternalError", format!("An internal error has occurred: making the key pair: {error}"))
                .status(500)
        })?;
        let pair = KeyPair {
            name: self.key_name,
            id: id::new("key"),
            key_type: made.public.key_type.to_owned(),
            fingerprint: made.public.fingerprint,
            public_key: made.public.line,
            created: Timestamp::now(),
            tags,
        };
        let answer = NewKeyPair::new(&pair, Some(made.private));
        tx.put(pair);
        Ok(answer)
    }
}

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ImportKeyPair.html>
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ImportKeyPair {
    key_name: String,
    /// Base64 of a line as in `authorized_keys`.
    public_key_material: String,
    #[serde(default, rename = "TagSpecification")]
    tag_specifications: Vec<TagSpecification>,
    #[serde(default)]
    dry_run: Option<bool>,
}

impl Operation for ImportKeyPair {
    const ACTION: &'static str = "ImportKeyPair";
    type Output = NewKeyPair;

    fn run(self, tx: &mut Transaction<'_>, _: &Caller<'_>) -> Result<NewKeyPair, ApiError> {
        check_name(tx, &self.key_name)?;
        let invalid = |cause: &str| {
            ApiError::new("InvalidKey.Format", format!("Key is not in valid OpenSSH public key format: {cause}"))
        };
        let joined: String = self.public_key_material.split_ascii_whitespace().collect();
        let bytes = STANDARD.decode(joined).map_err(|_| invalid("it is not base64"))?;
        let text = String::from_utf8(bytes).map_err(|_| invalid("it is not text"))?;
        let public = material::import(&text, &self.key_name).map_err(|cause| invalid(&cause))?;
        let tags = tags_for(&self.tag_specifications, "key-pair", &[])?;
        dry_run::check(self.dry_run)?;
        let pair = KeyPair {
            name: self.key_name,
            id: id::new("key"),
            key_type: public.key_type.to_owned(),
            fingerprint: public.fingerprint,
            public_key: public.line,
            created: Timestamp::now(),
            tags,
        };
        let answer = NewKeyPair::new(&pair, None);
        tx.put(pair);
        Ok(answer)
    }
}

/// Succeeds also where there is none of this name, as AWS does
/// (<https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DeleteKeyPair.html>).
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DeleteKeyPair {
    #[serde(default)]
    key_name: Option<String>,
    #[serde(default)]
    key_pair_id: Option<String>,
    #[serde(default)]
    dry_run: Option<bool>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeletedKeyPair {
    #[serde(flatten)]
    done: Return,
    key_pair_id: Option<String>,
}

impl Operation for DeleteKeyPair {
    const ACTION: &'static str = "DeleteKeyPair";
    type Output = DeletedKeyPair;

    fn run(self, tx: &mut Transaction<'_>, _: &Caller<'_>) -> Result<DeletedKeyPair, ApiError> {
        let pairs = tx.list::<KeyPair>();
        let pair = match (&self.key_name, &self.key_pair_id) {
            (None, None) => return Err(ApiError::missing_parameter("KeyName")),
            (name, id) => pairs.iter().find(|pair| name.as_ref() == Some(&pair.name) || id.as_ref() == Some(&pair.id)),
        };
        dry_run::check(self.dry_run)?;
        if let Some(pair) = pair {
            tx.delete::<KeyPair>(&pair.name);
        }
        Ok(DeletedKeyPair { done: Return::TRUE, key_pair_id: pair.map(|pair| pair.id.clone()) })
    }
}

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeKeyPairs.html>
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DescribeKeyPairs {
    #[serde(default, rename = "KeyName")]
    key_names: Vec<String>,
    #[serde(default, rename = "KeyPairId")]
    key_pair_ids: Vec<String>,
    #[serde(default)]
    include_public_key: bool,
    #[serde(default, rename = "Filter")]
    filters: Vec<Filter>,
    #[serde(default)]
    dry_run: Option<bool>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyPairs {
    key_set: Vec<KeyPairItem>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct KeyPairItem {
    key_pair_id: String,
    key_name: String,
    key_fingerprint: String,
    key_type: String,
    create_time: Timestamp,
    public_key: Option<String>,
    tag_set: Vec<TagItem>,
}

const COLUMNS: &[Column<Arc<KeyPair>>] = &[
    ("fingerprint", |pair| vec![pair.fingerprint.clone()]),
    ("key-name", |pair| vec![pair.name.clone()]),
    ("key-pair-id", |pair| vec![pair.id.clone()]),
];

impl Operation for DescribeKeyPairs {
    const ACTION: &'static str = "DescribeKeyPairs";
    type Output = KeyPairs;

    fn run(self, tx: &mut Transaction<'_>, _: &Caller<'_>) -> Result<KeyPairs, ApiError> {
        dry_run::check(self.dry_run)?;
        let mut pairs = tx.list::<KeyPair>();
        for name in &self.key_names {
            if !pairs.iter().any(|pair| pair.name == *name) {
                return Err(identifiers::not_found("InvalidKeyPair", "key pair", name));
            }
        }
        for id in &self.key_pair_ids {
            if !pairs.iter().any(|pair| pair.id == *id) {
                return Err(identifiers::not_found("InvalidKeyPair", "key pair", id));
            }
        }
        if !self.key_names.is_empty() || !self.key_pair_ids.is_empty() {
            pairs.retain(|pair| self.key_names.contains(&pair.name) || self.key_pair_ids.contains(&pair.id));
        }
        let pairs = filters::retain(&self.filters, COLUMNS, Some(|pair| &pair.tags), pairs)?;
        let item = |pair: &Arc<KeyPair>| KeyPairItem {
            key_pair_id: pair.id.clone(),
            key_name: pair.name.clone(),
            key_fingerprint: pair.fingerprint.clone(),
            key_type: pair.key_type.clone(),
            create_time: pair.created,
            public_key: self.include_public_key.then(|| pair.public_key.clone()),
            tag_set: tag_set(&pair.tags),
        };
        Ok(KeyPairs { key_set: pairs.iter().map(item).collect() })
    }
}
