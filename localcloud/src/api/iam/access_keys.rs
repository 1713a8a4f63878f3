//! Access keys of users and of the account's root: two each at most.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{holder::Holder as _, listing, no_such_entity, users::own_name};
use crate::{
    api::{
        error::ApiError,
        operation::{Caller, Done, Operation},
    },
    model::{
        id,
        identity::{AccessKeyUse, Credential, User},
        time::Timestamp,
    },
    store::Transaction,
};

const MOST_KEYS: usize = 2;

/// The lasting keys of a user, or of the account's root.
pub(super) fn of(tx: &mut Transaction<'_>, user_name: Option<&str>) -> Vec<Arc<Credential>> {
    let mut keys = tx.list::<Credential>();
    keys.retain(|key| key.expires.is_none() && key.role_name.is_none() && key.user_name.as_deref() == user_name);
    keys
}

/// Whose keys a request is about: the named user's, or the caller's own.
fn owner(tx: &mut Transaction<'_>, caller: &Caller<'_>, named: Option<String>) -> Result<Option<String>, ApiError> {
    match named {
        Some(name) => {
            User::find(tx, &name)?;
            Ok(Some(name))
        }
        None => own_name(tx, caller),
    }
}

fn find(tx: &mut Transaction<'_>, owner: Option<&str>, access_key: &str) -> Result<Credential, ApiError> {
    of(tx, owner)
        .iter()
        .find(|key| key.access_key == access_key)
        .map(|key| Credential::clone(key))
        .ok_or_else(|| no_such_entity(format!("The Access Key with id {access_key} cannot be found.")))
}

fn status(key: &Credential) -> &'static str {
    if key.inactive { "Inactive" } else { "Active" }
}

/// What answers call the root's user name.
fn shown(owner: Option<&str>) -> String {
    owner.unwrap_or("root").to_owned()
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct CreateAccessKey {
    user_name: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct CreateAccessKeyOutput {
    access_key: AccessKey,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct AccessKey {
    user_name: String,
    access_key_id: String,
    status: &'static str,
    secret_access_key: String,
    create_date: Timestamp,
}

impl Operation for CreateAccessKey {
    const ACTION: &'static str = "CreateAccessKey";
    type Output = CreateAccessKeyOutput;

    fn run(self, tx: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        let owner = owner(tx, caller, self.user_name)?;
        if of(tx, owner.as_deref()).len() >= MOST_KEYS {
            let quota = format!("Cannot exceed quota for AccessKeysPerUser: {MOST_KEYS}");
            return Err(ApiError::new("LimitExceeded", quota).status(409));
        }
        let (access_key, created) = (format!("AKIA{}", id::base32(16)), Timestamp::now());
        let mut key = Credential::of_root(&caller.account_id, access_key, id::base64(40), created);
        if let Some(name) = &owner {
            let user = User::find(tx, name)?;
            key.principal_arn = user.arn(&caller.account_id);
            key.principal_id.clone_from(&user.id);
            key.user_name = Some(name.clone());
        }
        let access_key = AccessKey {
            user_name: shown(owner.as_deref()),
            access_key_id: key.access_key.clone(),
            status: status(&key),
            secret_access_key: key.secret_key.clone(),
            create_date: key.created,
        };
        tx.put(key);
        Ok(CreateAccessKeyOutput { access_key })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ListAccessKeys {
    user_name: Option<String>,
    marker: Option<String>,
    max_items: Option<usize>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ListAccessKeysOutput {
    access_key_metadata: Vec<AccessKeyMetadata>,
    is_truncated: bool,
    marker: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct AccessKeyMetadata {
    user_name: String,
    access_key_id: String,
    status: &'static str,
    create_date: Timestamp,
}

impl Operation for ListAccessKeys {
    const ACTION: &'static str = "ListAccessKeys";
    type Output = ListAccessKeysOutput;

    fn run(self, tx: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        let owner = owner(tx, caller, self.user_name)?;
        let keys = of(tx, owner.as_deref());
        let (keys, is_truncated, marker) =
            listing(keys, |key| key.access_key.clone(), self.marker.as_deref(), self.max_items)?;
        let access_key_metadata = keys
            .iter()
            .map(|key| AccessKeyMetadata {
                user_name: shown(owner.as_deref()),
                access_key_id: key.access_key.clone(),
                status: status(key),
                create_date: key.created,
            })
            .collect();
        Ok(ListAccessKeysOutput { access_key_metadata, is_truncated, marker })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct UpdateAccessKey {
    user_name: Option<String>,
    access_key_id: String,
    status: String,
}

impl Operation for UpdateAccessKey {
    const ACTION: &'static str = "UpdateAccessKey";
    type Output = Done;

    fn run(self, tx: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<Done, ApiError> {
        let owner = owner(tx, caller, self.user_name)?;
        let mut key = find(tx, owner.as_deref(), &self.access_key_id)?;
        key.inactive = match self.status.as_str() {
            "Active" => false,
            "Inactive" => true,
            status => {
                return Err(ApiError::validation(format!(
                    "1 validation error detected: Value '{status}' at 'status' failed to satisfy constraint: Member must satisfy enum value set: [Active, Inactive]"
                )));
            }
        };
        tx.put(key);
        Ok(Done {})
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DeleteAccessKey {
    user_name: Option<String>,
    access_key_id: String,
}

impl Operation for DeleteAccessKey {
    const ACTION: &'static str = "DeleteAccessKey";
    type Output = Done;

    fn run(self, tx: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<Done, ApiError> {
        let owner = owner(tx, caller, self.user_name)?;
        let key = find(tx, owner.as_deref(), &self.access_key_id)?;
        tx.delete::<Credential>(&key.access_key);
        tx.delete::<AccessKeyUse>(&key.access_key);
        Ok(Done {})
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct GetAccessKeyLastUsed {
    access_key_id: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct GetAccessKeyLastUsedOutput {
    user_name: String,
    access_key_last_used: LastUsed,
}

/// A key that was never used is of no service and no region.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct LastUsed {
    last_used_date: Option<Timestamp>,
    service_name: String,
    region: String,
}

impl Operation for GetAccessKeyLastUsed {
    const ACTION: &'static str = "GetAccessKeyLastUsed";
    type Output = GetAccessKeyLastUsedOutput;

    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        let key = tx
            .get::<Credential>(&self.access_key_id)
            .filter(|key| key.expires.is_none())
            .ok_or_else(|| no_such_entity(format!("The Access Key with id {} cannot be found.", self.access_key_id)))?;
        let known = tx.get::<AccessKeyUse>(&self.access_key_id);
        let of = |field: fn(&AccessKeyUse) -> &String| {
            known.as_ref().map_or_else(|| "N/A".to_owned(), |known| field(known).clone())
        };
        Ok(GetAccessKeyLastUsedOutput {
            user_name: shown(key.user_name.as_deref()),
            access_key_last_used: LastUsed {
                last_used_date: known.as_ref().map(|known| known.time),
                service_name: of(|known| &known.service),
                region: of(|known| &known.region),
            },
        })
    }
}
