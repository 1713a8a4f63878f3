//! Roles' inline policies.

use serde::{Deserialize, Serialize};

use super::{
    check_name, find_role, listing, no_such_entity,
    policy_document::{self, Kind},
};
use crate::{
    api::{
        error::ApiError,
        operation::{Caller, Done, Operation},
    },
    model::identity::Role,
    store::Transaction,
};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct PutRolePolicy {
    role_name: String,
    policy_name: String,
    policy_document: String,
}

impl Operation for PutRolePolicy {
    const ACTION: &'static str = "PutRolePolicy";
    type Output = Done;

    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Done, ApiError> {
        check_name("policyName", &self.policy_name, 128)?;
        let mut role = Role::clone(&*find_role(tx, &self.role_name)?);
        policy_document::check(&self.policy_document, Kind::Permissions)?;
        role.inline_policies.insert(self.policy_name, self.policy_document);
        tx.put(role);
        Ok(Done {})
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct GetRolePolicy {
    role_name: String,
    policy_name: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct GetRolePolicyOutput {
    role_name: String,
    policy_name: String,
    policy_document: String,
}

impl Operation for GetRolePolicy {
    const ACTION: &'static str = "GetRolePolicy";
    type Output = GetRolePolicyOutput;

    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        let role = find_role(tx, &self.role_name)?;
        let document =
            role.inline_policies.get(&self.policy_name).ok_or_else(|| policy_not_found(&self.policy_name))?;
        Ok(GetRolePolicyOutput {
            policy_document: policy_document::encoded(document),
            role_name: self.role_name,
            policy_name: self.policy_name,
        })
    }
}

fn policy_not_found(name: &str) -> ApiError {
    no_such_entity(format!("The role policy with name {name} cannot be found."))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ListRolePolicies {
    role_name: String,
    marker: Option<String>,
    max_items: Option<usize>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ListRolePoliciesOutput {
    policy_names: Vec<String>,
    is_truncated: bool,
    marker: Option<String>,
}

impl Operation for ListRolePolicies {
    const ACTION: &'static str = "ListRolePolicies";
    type Output = ListRolePoliciesOutput;

    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        let role = find_role(tx, &self.role_name)?;
        let names: Vec<String> = role.inline_policies.keys().cloned().collect();
        let (policy_names, is_truncated, marker) =
            listing(names, Clone::clone, self.marker.as_deref(), self.max_items)?;
        Ok(ListRolePoliciesOutput { policy_names, is_truncated, marker })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DeleteRolePolicy {
    role_name: String,
    policy_name: String,
}

impl Operation for DeleteRolePolicy {
    const ACTION: &'static str = "DeleteRolePolicy";
    type Output = Done;

    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Done, ApiError> {
        let mut role = Role::clone(&*find_role(tx, &self.role_name)?);
        role.inline_policies.remove(&self.policy_name).ok_or_else(|| policy_not_found(&self.policy_name))?;
        tx.put(role);
        Ok(Done {})
    }
}

/// There are no managed policies here, so none can be attached.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ListAttachedRolePolicies {
    role_name: String,
    #[serde(rename = "PathPrefix")]
    _path_prefix: Option<String>,
    #[serde(rename = "Marker")]
    _marker: Option<String>,
    #[serde(rename = "MaxItems")]
    _max_items: Option<usize>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ListAttachedRolePoliciesOutput {
    attached_policies: Vec<String>,
    is_truncated: bool,
}

impl Operation for ListAttachedRolePolicies {
    const ACTION: &'static str = "ListAttachedRolePolicies";
    type Output = ListAttachedRolePoliciesOutput;

    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        find_role(tx, &self.role_name)?;
        Ok(ListAttachedRolePoliciesOutput { attached_policies: Vec::new(), is_truncated: false })
    }
}
