//! Policies within a user, a group or a role.

use serde::{Deserialize, Serialize};

use super::{check_name, holder::Holder, listing, no_such_entity, policy_document};
use crate::{
    api::{
        error::ApiError,
        operation::{Caller, Done, Operation},
    },
    model::identity::{Group, Role, User},
    policy::Kind,
    store::Transaction,
};

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct PolicyNames {
    policy_names: Vec<String>,
    is_truncated: bool,
    marker: Option<String>,
}

fn put<H: Holder>(tx: &mut Transaction<'_>, holder: &str, name: String, document: String) -> Result<Done, ApiError> {
    check_name("policyName", &name, 128)?;
    let mut holder = H::clone(&*H::find(tx, holder)?);
    policy_document::check(&document, Kind::Identity)?;
    holder.inline_mut().insert(name, document);
    let all: String = holder.inline().values().map(String::as_str).collect();
    let owner = holder.key();
    policy_document::check_size(&all, &format!("policy size for {} {owner}", H::NOUN), H::INLINE_CHARACTERS)?;
    tx.put(holder);
    Ok(Done {})
}

fn get<H: Holder>(tx: &mut Transaction<'_>, holder: &str, name: &str) -> Result<String, ApiError> {
    H::find(tx, holder)?
        .inline()
        .get(name)
        .map(|document| policy_document::encoded(document))
        .ok_or_else(|| not_found::<H>(name))
}

fn not_found<H: Holder>(name: &str) -> ApiError {
    no_such_entity(format!("The {} policy with name {name} cannot be found.", H::NOUN))
}

fn list<H: Holder>(
    tx: &mut Transaction<'_>,
    holder: &str,
    marker: Option<&str>,
    max_items: Option<usize>,
) -> Result<PolicyNames, ApiError> {
    let names: Vec<String> = H::find(tx, holder)?.inline().keys().cloned().collect();
    let (policy_names, is_truncated, marker) = listing(names, Clone::clone, marker, max_items)?;
    Ok(PolicyNames { policy_names, is_truncated, marker })
}

fn delete<H: Holder>(tx: &mut Transaction<'_>, holder: &str, name: &str) -> Result<Done, ApiError> {
    let mut holder = H::clone(&*H::find(tx, holder)?);
    holder.inline_mut().remove(name).ok_or_else(|| not_found::<H>(name))?;
    tx.put(holder);
    Ok(Done {})
}

/// The four actions of one kind of holder; they differ in its name only.
macro_rules! inline_policies {
    ($holder:ty, $field:literal, $put:ident, $get:ident, $output:ident, $list:ident, $delete:ident) => {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase", deny_unknown_fields)]
        pub struct $put {
            #[serde(rename = $field)]
            holder: String,
            policy_name: String,
            policy_document: String,
        }

        impl Operation for $put {
            const ACTION: &'static str = stringify!($put);
            type Output = Done;

            fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Done, ApiError> {
                put::<$holder>(tx, &self.holder, self.policy_name, self.policy_document)
            }
        }

        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase", deny_unknown_fields)]
        pub struct $get {
            #[serde(rename = $field)]
            holder: String,
            policy_name: String,
        }

        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        pub struct $output {
            #[serde(rename = $field)]
            holder: String,
            policy_name: String,
            policy_document: String,
        }

        impl Operation for $get {
            const ACTION: &'static str = stringify!($get);
            type Output = $output;

            fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
                let policy_document = get::<$holder>(tx, &self.holder, &self.policy_name)?;
                Ok($output { holder: self.holder, policy_name: self.policy_name, policy_document })
            }
        }

        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase", deny_unknown_fields)]
        pub struct $list {
            #[serde(rename = $field)]
            holder: String,
            marker: Option<String>,
            max_items: Option<usize>,
        }

        impl Operation for $list {
            const ACTION: &'static str = stringify!($list);
            type Output = PolicyNames;

            fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
                list::<$holder>(tx, &self.holder, self.marker.as_deref(), self.max_items)
            }
        }

        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase", deny_unknown_fields)]
        pub struct $delete {
            #[serde(rename = $field)]
            holder: String,
            policy_name: String,
        }

        impl Operation for $delete {
            const ACTION: &'static str = stringify!($delete);
            type Output = Done;

            fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Done, ApiError> {
                delete::<$holder>(tx, &self.holder, &self.policy_name)
            }
        }
    };
}

inline_policies!(Role, "RoleName", PutRolePolicy, GetRolePolicy, RolePolicy, ListRolePolicies, DeleteRolePolicy);
inline_policies!(User, "UserName", PutUserPolicy, GetUserPolicy, UserPolicy, ListUserPolicies, DeleteUserPolicy);
inline_policies!(Group, "GroupName", PutGroupPolicy, GetGroupPolicy, GroupPolicy, ListGroupPolicies, DeleteGroupPolicy);
