//! Users. The account's root is none of them, and is told of where a user would be.

use serde::{Deserialize, Serialize};

use super::{
    access_keys, already_exists, check_name, check_path, delete_conflict,
    holder::Holder as _,
    listing, no_such_entity,
    tags::{Tag, checked, listed},
};
use crate::{
    api::{
        error::ApiError,
        operation::{Caller, Done, Operation},
    },
    model::{
        id,
        identity::{Credential, Policies, User},
        time::Timestamp,
    },
    store::Transaction,
};

const ROOT: &str = "root";
const MOST_USERS: usize = 5000;

/// A user as answers have it.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct UserDescription {
    path: String,
    user_name: String,
    user_id: String,
    arn: String,
    create_date: Timestamp,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<Tag>,
}

impl UserDescription {
    pub fn of(user: &User, account_id: &str) -> Self {
        Self {
            path: user.path.clone(),
            user_name: user.name.clone(),
            user_id: user.id.clone(),
            arn: user.arn(account_id),
            create_date: user.created,
            tags: listed(&user.tags),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct CreateUser {
    user_name: String,
    path: Option<String>,
    #[serde(default)]
    tags: Vec<Tag>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct UserOutput {
    user: UserDescription,
}

impl Operation for CreateUser {
    const ACTION: &'static str = "CreateUser";
    type Output = UserOutput;

    fn run(self, tx: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        check_name("userName", &self.user_name, 64)?;
        if User::is_taken(tx, &self.user_name) {
            return Err(already_exists(format!("User with name {} already exists.", self.user_name)));
        }
        if tx.list::<User>().len() >= MOST_USERS {
            let quota = format!("Cannot exceed quota for UsersPerAccount: {MOST_USERS}");
            return Err(ApiError::new("LimitExceeded", quota).status(409));
        }
        let user = User {
            name: self.user_name,
            id: format!("AIDA{}", id::base32(17)),
            path: check_path(self.path)?,
            created: Timestamp::now(),
            policies: Policies::default(),
            groups: Default::default(),
            tags: checked(self.tags)?,
        };
        let output = UserOutput { user: UserDescription::of(&user, &caller.account_id) };
        tx.put(user);
        Ok(output)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct GetUser {
    user_name: Option<String>,
}

impl Operation for GetUser {
    const ACTION: &'static str = "GetUser";
    type Output = UserOutput;

    fn run(self, tx: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        let own = own_name(tx, caller)?;
        let user = match self.user_name.or(own) {
            Some(name) if name != ROOT => UserDescription::of(&*User::find(tx, &name)?, &caller.account_id),
            _ => root(tx, caller),
        };
        Ok(UserOutput { user })
    }
}

/// The caller's user name; none for the account's root.
///
/// # Errors
/// `ValidationError` when the caller is a role's session, which is no user.
pub(super) fn own_name(tx: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<Option<String>, ApiError> {
    match tx.get::<Credential>(&caller.access_key) {
        Some(credential) if credential.principal_arn.starts_with("arn:aws:sts:") => {
            Err(ApiError::validation("Must specify userName when calling with non-User credentials"))
        }
        Some(credential) => Ok(credential.user_name.clone()),
        None => Ok(None),
    }
}

fn root(tx: &mut Transaction<'_>, caller: &Caller<'_>) -> UserDescription {
    let arn = format!("arn:aws:iam::{}:root", caller.account_id);
    let first = tx
        .list::<Credential>()
        .iter()
        .filter(|credential| credential.principal_arn == arn)
        .map(|credential| credential.created)
        .min();
    UserDescription {
        path: "/".to_owned(),
        user_name: ROOT.to_owned(),
        user_id: caller.account_id.clone(),
        arn,
        create_date: first.unwrap_or_else(Timestamp::now),
        tags: Vec::new(),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ListUsers {
    path_prefix: Option<String>,
    marker: Option<String>,
    max_items: Option<usize>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ListUsersOutput {
    users: Vec<UserDescription>,
    is_truncated: bool,
    marker: Option<String>,
}

impl Operation for ListUsers {
    const ACTION: &'static str = "ListUsers";
    type Output = ListUsersOutput;

    fn run(self, tx: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        let prefix = self.path_prefix.unwrap_or_else(|| "/".to_owned());
        let mut users = tx.list::<User>();
        users.retain(|user| user.path.starts_with(&prefix));
        let (users, is_truncated, marker) =
            listing(users, |user| user.name.clone(), self.marker.as_deref(), self.max_items)?;
        let users = users
            .iter()
            .map(|user| UserDescription { tags: Vec::new(), ..UserDescription::of(user, &caller.account_id) })
            .collect();
        Ok(ListUsersOutput { users, is_truncated, marker })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct UpdateUser {
    user_name: String,
    new_path: Option<String>,
    new_user_name: Option<String>,
}

impl Operation for UpdateUser {
    const ACTION: &'static str = "UpdateUser";
    type Output = Done;

    fn run(self, tx: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<Done, ApiError> {
        let mut user = User::clone(&*User::find(tx, &self.user_name)?);
        if let Some(name) = self.new_user_name.filter(|name| *name != user.name) {
            check_name("newUserName", &name, 64)?;
            if !name.eq_ignore_ascii_case(&user.name) && User::is_taken(tx, &name) {
                return Err(already_exists(format!("User with name {name} already exists.")));
            }
            tx.delete::<User>(&user.name);
            user.name = name;
        }
        if let Some(path) = self.new_path {
            user.path = check_path(Some(path))?;
        }
        // A user takes the keys along.
        for credential in tx.list::<Credential>() {
            if credential.user_name.as_ref() == Some(&self.user_name) {
                let mut credential = Credential::clone(&credential);
                credential.user_name = Some(user.name.clone());
                if credential.principal_id == user.id {
                    credential.principal_arn = user.arn(&caller.account_id);
                }
                tx.put(credential);
            }
        }
        tx.put(user);
        Ok(Done {})
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DeleteUser {
    user_name: String,
    /// Eucalyptus' own (`euare-userdel -R`): what the user has goes as well.
    #[serde(default)]
    is_recursive: bool,
}

impl Operation for DeleteUser {
    const ACTION: &'static str = "DeleteUser";
    type Output = Done;

    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Done, ApiError> {
        let user = User::find(tx, &self.user_name)?;
        let conflict = [
            (!access_keys::of(tx, Some(&self.user_name)).is_empty(), "delete access keys"),
            (!user.policies.inline.is_empty(), "delete policies"),
            (!user.policies.attached.is_empty(), "detach all policies"),
            (!user.groups.is_empty(), "remove users from group"),
        ];
        if let Some((_, what)) = conflict.iter().find(|(has, _)| *has && !self.is_recursive) {
            return Err(delete_conflict(&format!("Cannot delete entity, must {what} first.")));
        }
        // Keys, and sessions that the user has begun end with the user.
        for credential in tx.list::<Credential>() {
            if credential.user_name.as_ref() == Some(&self.user_name) {
                tx.delete::<Credential>(&credential.access_key);
            }
        }
        tx.delete::<User>(&self.user_name);
        Ok(Done {})
    }
}

/// For groups' members.
pub(super) fn require(tx: &mut Transaction<'_>, name: &str) -> Result<User, ApiError> {
    if name == ROOT {
        return Err(no_such_entity(format!("The user with name {name} cannot be found.")));
    }
    Ok(User::clone(&*User::find(tx, name)?))
}
