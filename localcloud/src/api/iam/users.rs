//! Users: the account's root is the only one.

use serde::{Deserialize, Serialize};

use super::no_such_entity;
use crate::{
    api::{
        error::ApiError,
        operation::{Caller, Operation},
    },
    model::{identity::Credential, time::Timestamp},
    store::Transaction,
};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct GetUser {
    user_name: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct GetUserOutput {
    user: User,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct User {
    path: &'static str,
    user_name: String,
    user_id: String,
    arn: String,
    create_date: Timestamp,
}

const ROOT: &str = "root";

impl Operation for GetUser {
    const ACTION: &'static str = "GetUser";
    type Output = GetUserOutput;

    fn run(self, tx: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        let credential = tx.get::<Credential>(&caller.access_key);
        match &self.user_name {
            Some(name) if name != ROOT => {
                return Err(no_such_entity(format!("The user with name {name} cannot be found.")));
            }
            None if credential.as_ref().is_some_and(|credential| credential.role_name.is_some()) => {
                return Err(ApiError::validation("Must specify userName when calling with non-User credentials"));
            }
            _ => {}
        }
        Ok(GetUserOutput {
            user: User {
                path: "/",
                user_name: ROOT.to_owned(),
                user_id: caller.account_id.clone(),
                arn: format!("arn:aws:iam::{}:root", caller.account_id),
                create_date: credential.map_or_else(Timestamp::now, |credential| credential.created),
            },
        })
    }
}
