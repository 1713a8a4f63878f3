//! Managed policies attached to users, groups and roles.

use serde::{Deserialize, Serialize};

use super::{
    holder::Holder,
    listing,
    managed_policies::{find_policy, not_found},
};
use crate::{
    api::{
        error::ApiError,
        operation::{Caller, Done, Operation},
    },
    model::identity::{Group, Role, User},
    store::Transaction,
};

const MOST_ATTACHED: usize = 10;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct AttachedPolicies {
    attached_policies: Vec<AttachedPolicy>,
    is_truncated: bool,
    marker: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct AttachedPolicy {
    policy_name: String,
    policy_arn: String,
}

/// Those of a holder, by name.
pub fn attached<H: Holder>(tx: &mut Transaction<'_>, holder: &H, path_prefix: &str) -> Vec<AttachedPolicy> {
    let mut policies: Vec<AttachedPolicy> = holder
        .attached()
        .iter()
        .filter_map(|arn| find_policy(tx, arn).ok())
        .filter(|policy| policy.path.starts_with(path_prefix))
        .map(|policy| AttachedPolicy { policy_name: policy.name.clone(), policy_arn: policy.arn.clone() })
        .collect();
    policies.sort_by(|left, right| left.policy_arn.cmp(&right.policy_arn));
    policies
}

fn attach<H: Holder>(tx: &mut Transaction<'_>, holder: &str, arn: String) -> Result<Done, ApiError> {
    let mut holder = H::clone(&*H::find(tx, holder)?);
    find_policy(tx, &arn).map_err(|error| match error.code.as_str() {
        "NoSuchEntity" => super::no_such_entity(format!("Policy {arn} does not exist or is not attachable.")),
        _ => error,
    })?;
    holder.attached_mut().insert(arn);
    if holder.attached().len() > MOST_ATTACHED {
        let quota = format!("Cannot exceed quota for PoliciesPer{}: {MOST_ATTACHED}", H::title());
        return Err(ApiError::new("LimitExceeded", quota).status(409));
    }
    tx.put(holder);
    Ok(Done {})
}

fn detach<H: Holder>(tx: &mut Transaction<'_>, holder: &str, arn: &str) -> Result<Done, ApiError> {
    let mut holder = H::clone(&*H::find(tx, holder)?);
    if !holder.attached_mut().remove(arn) {
        return Err(not_found(arn));
    }
    tx.put(holder);
    Ok(Done {})
}

fn list<H: Holder>(
    tx: &mut Transaction<'_>,
    holder: &str,
    path_prefix: Option<&str>,
    marker: Option<&str>,
    max_items: Option<usize>,
) -> Result<AttachedPolicies, ApiError> {
    let holder = H::find(tx, holder)?;
    let policies = attached(tx, &*holder, path_prefix.unwrap_or("/"));
    let (attached_policies, is_truncated, marker) =
        listing(policies, |policy| policy.policy_arn.clone(), marker, max_items)?;
    Ok(AttachedPolicies { attached_policies, is_truncated, marker })
}

/// The three actions of one kind of holder; they differ in its name only.
macro_rules! attachments {
    ($holder:ty, $field:literal, $attach:ident, $detach:ident, $list:ident) => {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase", deny_unknown_fields)]
        pub struct $attach {
            #[serde(rename = $field)]
            holder: String,
            policy_arn: String,
        }

        impl Operation for $attach {
            const ACTION: &'static str = stringify!($attach);
            type Output = Done;

            fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Done, ApiError> {
                attach::<$holder>(tx, &self.holder, self.policy_arn)
            }
        }

        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase", deny_unknown_fields)]
        pub struct $detach {
            #[serde(rename = $field)]
            holder: String,
            policy_arn: String,
        }

        impl Operation for $detach {
            const ACTION: &'static str = stringify!($detach);
            type Output = Done;

            fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Done, ApiError> {
                detach::<$holder>(tx, &self.holder, &self.policy_arn)
            }
        }

        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase", deny_unknown_fields)]
        pub struct $list {
            #[serde(rename = $field)]
            holder: String,
            path_prefix: Option<String>,
            marker: Option<String>,
            max_items: Option<usize>,
        }

        impl Operation for $list {
            const ACTION: &'static str = stringify!($list);
            type Output = AttachedPolicies;

            fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
                let (prefix, marker) = (self.path_prefix.as_deref(), self.marker.as_deref());
                list::<$holder>(tx, &self.holder, prefix, marker, self.max_items)
            }
        }
    };
}

attachments!(Role, "RoleName", AttachRolePolicy, DetachRolePolicy, ListAttachedRolePolicies);
attachments!(User, "UserName", AttachUserPolicy, DetachUserPolicy, ListAttachedUserPolicies);
attachments!(Group, "GroupName", AttachGroupPolicy, DetachGroupPolicy, ListAttachedGroupPolicies);
