//! What all sessions have: how long, how narrow, which tags.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{
    api::{
        error::ApiError,
        iam::{managed_policies::find_policy, tags},
        operation::Caller,
    },
    model::{
        id,
        identity::{Credential, Session},
        tag::Tags,
        time::Timestamp,
    },
    policy::{Document, Kind},
    store::Transaction,
};

/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html>
const MOST_POLICY_CHARACTERS: usize = 2048;
const MOST_POLICY_ARNS: usize = 10;

/// Temporary credentials as answers have them.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Credentials {
    access_key_id: String,
    secret_access_key: String,
    session_token: String,
    expiration: Timestamp,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyArn {
    arn: String,
}

pub(super) fn constraint(value: &str, at: &str, must: &str) -> ApiError {
    ApiError::validation(format!(
        "1 validation error detected: Value '{value}' at '{at}' failed to satisfy constraint: Member must {must}"
    ))
}

pub(super) fn check_duration(seconds: u32, longest: u32) -> Result<(), ApiError> {
    let shown = seconds.to_string();
    if seconds < 900 {
        return Err(constraint(&shown, "durationSeconds", "have value greater than or equal to 900"));
    }
    if seconds > longest {
        return Err(constraint(&shown, "durationSeconds", &format!("have value less than or equal to {longest}")));
    }
    Ok(())
}

pub(super) fn check_name(name: &str, at: &str, lengths: std::ops::RangeInclusive<usize>) -> Result<(), ApiError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_+=,.@-".contains(&byte);
    if !name.bytes().all(allowed) {
        return Err(constraint(name, at, "satisfy regular expression pattern: [\\w+=,.@-]*"));
    }
    if name.len() < *lengths.start() {
        return Err(constraint(name, at, &format!("have length greater than or equal to {}", lengths.start())));
    }
    if name.len() > *lengths.end() {
        return Err(constraint(name, at, &format!("have length less than or equal to {}", lengths.end())));
    }
    Ok(())
}

/// The documents that narrow a session, if it is narrowed, and how much of their quota they take, in percent.
pub(super) fn session_policies(
    tx: &mut Transaction<'_>,
    policy: Option<String>,
    arns: &[PolicyArn],
) -> Result<(Option<Vec<String>>, Option<usize>), ApiError> {
    if policy.is_none() && arns.is_empty() {
        return Ok((None, None));
    }
    if arns.len() > MOST_POLICY_ARNS {
        return Err(ApiError::validation(format!("At most {MOST_POLICY_ARNS} PolicyArns can be given")));
    }
    let mut documents = Vec::with_capacity(arns.len() + 1);
    let mut characters = 0;
    if let Some(policy) = policy {
        characters = policy.chars().count();
        if characters > MOST_POLICY_CHARACTERS {
            return Err(ApiError::new(
                "PackedPolicyTooLarge",
                format!("Packed size of session policies consumes {}% of allotted space.", percent(characters)),
            ));
        }
        Document::parse(&policy, Kind::Identity)
            .map_err(|error| ApiError::new("MalformedPolicyDocument", error.to_string()))?;
        documents.push(policy);
    }
    for PolicyArn { arn } in arns {
        documents.push(find_policy(tx, arn)?.document().to_owned());
    }
    Ok((Some(documents), Some(percent(characters))))
}

fn percent(characters: usize) -> usize {
    (characters * 100).div_ceil(MOST_POLICY_CHARACTERS)
}

/// A session's tags: those that are given, over those that an earlier session hands on.
pub(super) fn session_tags(
    given: Vec<tags::Tag>,
    transitive: Vec<String>,
    earlier: &Session,
) -> Result<(Tags, BTreeSet<String>), ApiError> {
    let keys: BTreeSet<String> = given.iter().map(|tag| tag.key.to_lowercase()).collect();
    if keys.len() < given.len() {
        return Err(ApiError::invalid_parameter_value(
            "Duplicate tag keys found. Please note that Tag keys are case insensitive.",
        ));
    }
    let given = tags::checked(given)?;
    let inherited = |key: &String| earlier.transitive_tag_keys.contains(key);
    if given.keys().any(inherited) {
        return Err(ApiError::invalid_parameter_value(
            "One of the specified transitive tag keys can't be set because it conflicts with a transitive tag key from the calling session.",
        ));
    }
    let mut tags: Tags =
        earlier.tags.iter().filter(|(key, _)| inherited(key)).map(|(k, v)| (k.clone(), v.clone())).collect();
    tags.extend(given);
    let mut transitive: BTreeSet<String> = transitive.into_iter().collect();
    if !transitive.iter().all(|key| tags.contains_key(key)) {
        return Err(ApiError::invalid_parameter_value(
            "The specified transitive tag key must be included in the requested tags.",
        ));
    }
    transitive.extend(earlier.transitive_tag_keys.iter().cloned());
    Ok((tags, transitive))
}

/// A temporary credential like `like`, from now on. Whoever asks is given its secret, and nobody again.
pub(super) fn mint(tx: &mut Transaction<'_>, like: Credential, seconds: u32) -> Credentials {
    let created = Timestamp::now();
    let expiration = created.plus_secs(i64::from(seconds));
    let (token, secret_key) = (id::base64(356), id::base64(40));
    let credential = Credential {
        access_key: format!("ASIA{}", id::base32(16)),
        secret_key: secret_key.clone(),
        session_token: Some(token.clone()),
        created,
        expires: Some(expiration),
        inactive: false,
        instance_id: None,
        ..like
    };
    let credentials = Credentials {
        access_key_id: credential.access_key.clone(),
        secret_access_key: secret_key,
        session_token: token,
        expiration,
    };
    tx.put(credential);
    credentials
}

/// The credential with which the caller has signed.
pub(super) fn of_caller(tx: &mut Transaction<'_>, caller: &Caller<'_>) -> Credential {
    tx.get::<Credential>(&caller.access_key).map_or_else(
        || {
            let mut credential =
                Credential::of_root(&caller.account_id, caller.access_key.clone(), String::new(), Timestamp::now());
            credential.principal_arn.clone_from(&caller.principal_arn);
            credential.principal_id.clone_from(&caller.principal_id);
            credential
        },
        |credential| Credential::clone(&credential),
    )
}
