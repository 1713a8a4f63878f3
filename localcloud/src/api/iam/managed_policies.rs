//! Managed policies: the account's own, and AWS's.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{
    already_exists, aws_managed, check_name, check_path, delete_conflict,
    holder::Holder,
    listing, no_such_entity, policy_document,
    tags::{Tag, checked, listed},
};
use crate::{
    api::{
        error::ApiError,
        operation::{Caller, Done, Operation},
    },
    model::{
        id,
        identity::{Group, Role, User},
        managed_policy::{ManagedPolicy, PolicyVersion},
        time::Timestamp,
    },
    policy::Kind,
    store::Transaction,
};

/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html>
const MOST_CHARACTERS: usize = 6144;

/// # Errors
/// `NoSuchEntity`, or `ValidationError` for what is no policy's ARN.
pub fn find_policy(tx: &mut Transaction<'_>, arn: &str) -> Result<Arc<ManagedPolicy>, ApiError> {
    if !arn.starts_with("arn:aws:iam::") {
        return Err(ApiError::validation("Invalid ARN:  Could not be parsed!"));
    }
    if let Some(policy) = aws_managed::find(arn) {
        return Ok(policy);
    }
    let name = arn.rsplit('/').next().unwrap_or_default();
    tx.get::<ManagedPolicy>(name).filter(|policy| policy.arn == arn).ok_or_else(|| not_found(arn))
}

pub(super) fn not_found(arn: &str) -> ApiError {
    no_such_entity(format!("Policy {arn} was not found."))
}

/// As `find_policy`, for what only the account's own policies take.
pub(super) fn find_own_policy(tx: &mut Transaction<'_>, arn: &str) -> Result<ManagedPolicy, ApiError> {
    let policy = find_policy(tx, arn)?;
    if aws_managed::find(arn).is_some() {
        return Err(ApiError::new("AccessDenied", "AWS managed policies cannot be changed.").status(403));
    }
    Ok(ManagedPolicy::clone(&policy))
}

pub(super) fn check_document(document: &str) -> Result<(), ApiError> {
    policy_document::check(document, Kind::Identity)?;
    policy_document::check_size(document, "PolicySize", MOST_CHARACTERS)
}

/// Users, groups and roles that a policy is attached to.
pub(super) fn attachments(tx: &mut Transaction<'_>, arn: &str) -> usize {
    fn of<H: Holder>(tx: &mut Transaction<'_>, arn: &str) -> usize {
        tx.list::<H>().iter().filter(|holder| holder.attached().contains(arn)).count()
    }
    of::<User>(tx, arn) + of::<Group>(tx, arn) + of::<Role>(tx, arn)
}

/// A policy as answers have it.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct PolicyDescription {
    policy_name: String,
    policy_id: String,
    arn: String,
    path: String,
    default_version_id: String,
    attachment_count: usize,
    permissions_boundary_usage_count: usize,
    is_attachable: bool,
    description: Option<String>,
    create_date: Timestamp,
    update_date: Timestamp,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<Tag>,
}

impl PolicyDescription {
    fn of(tx: &mut Transaction<'_>, policy: &ManagedPolicy) -> Self {
        Self {
            policy_name: policy.name.clone(),
            policy_id: policy.id.clone(),
            arn: policy.arn.clone(),
            path: policy.path.clone(),
            default_version_id: format!("v{}", policy.default_version),
            attachment_count: attachments(tx, &policy.arn),
            permissions_boundary_usage_count: 0,
            is_attachable: true,
            description: policy.description.clone(),
            create_date: policy.created,
            update_date: policy.updated,
            tags: listed(&policy.tags),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct CreatePolicy {
    policy_name: String,
    path: Option<String>,
    policy_document: String,
    description: Option<String>,
    #[serde(default)]
    tags: Vec<Tag>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct PolicyOutput {
    policy: PolicyDescription,
}

impl Operation for CreatePolicy {
    const ACTION: &'static str = "CreatePolicy";
    type Output = PolicyOutput;

    fn run(self, tx: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        check_name("policyName", &self.policy_name, 128)?;
        check_document(&self.policy_document)?;
        if tx.list::<ManagedPolicy>().iter().any(|policy| policy.name.eq_ignore_ascii_case(&self.policy_name)) {
            return Err(already_exists(format!(
                "A policy called {} already exists. Duplicate names are not allowed.",
                self.policy_name
            )));
        }
        let (path, created) = (check_path(self.path)?, Timestamp::now());
        let policy = ManagedPolicy {
            arn: format!("arn:aws:iam::{}:policy{path}{}", caller.account_id, self.policy_name),
            name: self.policy_name,
            id: format!("ANPA{}", id::base32(17)),
            path,
            description: self.description,
            created,
            updated: created,
            versions: BTreeMap::from([(1, PolicyVersion { document: self.policy_document, created })]),
            default_version: 1,
            latest_version: 1,
            tags: checked(self.tags)?,
        };
        tx.put(policy.clone());
        let mut described = PolicyDescription::of(tx, &policy);
        // CreatePolicy does not tell it (<https://docs.aws.amazon.com/IAM/latest/APIReference/API_Policy.html>).
        described.description = None;
        Ok(PolicyOutput { policy: described })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct GetPolicy {
    policy_arn: String,
}

impl Operation for GetPolicy {
    const ACTION: &'static str = "GetPolicy";
    type Output = PolicyOutput;

    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        let policy = find_policy(tx, &self.policy_arn)?;
        Ok(PolicyOutput { policy: PolicyDescription::of(tx, &policy) })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ListPolicies {
    scope: Option<String>,
    #[serde(default)]
    only_attached: bool,
    path_prefix: Option<String>,
    policy_usage_filter: Option<String>,
    marker: Option<String>,
    max_items: Option<usize>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ListPoliciesOutput {
    policies: Vec<PolicyDescription>,
    is_truncated: bool,
    marker: Option<String>,
}

impl Operation for ListPolicies {
    const ACTION: &'static str = "ListPolicies";
    type Output = ListPoliciesOutput;

    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        let (aws, own) = match self.scope.as_deref() {
            None | Some("All") => (true, true),
            Some("AWS") => (true, false),
            Some("Local") => (false, true),
            Some(scope) => return Err(ApiError::validation(format!("Scope {scope} is not one of All, AWS, Local"))),
        };
        // There are no permissions boundaries here, so no policy is used as one.
        let as_boundary = match self.policy_usage_filter.as_deref() {
            None | Some("PermissionsPolicy") => false,
            Some("PermissionsBoundary") => true,
            Some(usage) => {
                return Err(ApiError::validation(format!(
                    "PolicyUsageFilter {usage} is not one of PermissionsPolicy, PermissionsBoundary"
                )));
            }
        };
        let mut policies: Vec<Arc<ManagedPolicy>> = Vec::new();
        if own {
            policies.extend(tx.list::<ManagedPolicy>());
        }
        if aws {
            policies.extend(aws_managed::all());
        }
        let prefix = self.path_prefix.unwrap_or_else(|| "/".to_owned());
        policies.retain(|policy| policy.path.starts_with(&prefix) && !as_boundary);
        policies.retain(|policy| !self.only_attached || attachments(tx, &policy.arn) > 0);
        policies.sort_by(|left, right| left.arn.cmp(&right.arn));
        let (policies, is_truncated, marker) =
            listing(policies, |policy| policy.arn.clone(), self.marker.as_deref(), self.max_items)?;
        let policies = policies.iter().map(|policy| PolicyDescription::of(tx, policy)).collect();
        Ok(ListPoliciesOutput { policies, is_truncated, marker })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DeletePolicy {
    policy_arn: String,
}

impl Operation for DeletePolicy {
    const ACTION: &'static str = "DeletePolicy";
    type Output = Done;

    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Done, ApiError> {
        let policy = find_own_policy(tx, &self.policy_arn)?;
        if attachments(tx, &policy.arn) > 0 {
            return Err(delete_conflict("Cannot delete a policy attached to entities."));
        }
        if policy.versions.len() > 1 {
            return Err(delete_conflict(
                "This policy has more than one version. Before you delete a policy, you must delete the policy's versions. The default version is deleted with the policy.",
            ));
        }
        tx.delete::<ManagedPolicy>(&policy.name);
        Ok(Done {})
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ListEntitiesForPolicy {
    policy_arn: String,
    entity_filter: Option<String>,
    path_prefix: Option<String>,
    policy_usage_filter: Option<String>,
    marker: Option<String>,
    max_items: Option<usize>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ListEntitiesForPolicyOutput {
    policy_groups: Vec<PolicyGroup>,
    policy_users: Vec<PolicyUser>,
    policy_roles: Vec<PolicyRole>,
    is_truncated: bool,
    marker: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct PolicyGroup {
    group_name: String,
    group_id: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct PolicyUser {
    user_name: String,
    user_id: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct PolicyRole {
    role_name: String,
    role_id: String,
}

impl Operation for ListEntitiesForPolicy {
    const ACTION: &'static str = "ListEntitiesForPolicy";
    type Output = ListEntitiesForPolicyOutput;

    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        let policy = find_policy(tx, &self.policy_arn)?;
        let wanted = match self.entity_filter.as_deref() {
            None => &["user", "group", "role"][..],
            Some("User") => &["user"],
            Some("Role") => &["role"],
            Some("Group") => &["group"],
            Some("LocalManagedPolicy" | "AWSManagedPolicy") => &[],
            Some(filter) => {
                return Err(ApiError::validation(format!("EntityFilter {filter} is not one of User, Role, Group")));
            }
        };
        let wanted = if self.policy_usage_filter.as_deref() == Some("PermissionsBoundary") { &[] } else { wanted };
        let prefix = self.path_prefix.unwrap_or_else(|| "/".to_owned());
        let mut entities = holders::<Group>(tx, &policy.arn, &prefix);
        entities.extend(holders::<User>(tx, &policy.arn, &prefix));
        entities.extend(holders::<Role>(tx, &policy.arn, &prefix));
        entities.retain(|(noun, ..)| wanted.contains(noun));
        entities.sort();
        let (entities, is_truncated, marker) =
            listing(entities, |(noun, name, _)| format!("{noun}/{name}"), self.marker.as_deref(), self.max_items)?;
        let of = |noun: &str| {
            entities
                .iter()
                .filter(|(known, ..)| *known == noun)
                .map(|(_, name, id)| (name.clone(), id.clone()))
                .collect::<Vec<_>>()
        };
        Ok(ListEntitiesForPolicyOutput {
            policy_groups: of("group")
                .into_iter()
                .map(|(group_name, group_id)| PolicyGroup { group_name, group_id })
                .collect(),
            policy_users: of("user")
                .into_iter()
                .map(|(user_name, user_id)| PolicyUser { user_name, user_id })
                .collect(),
            policy_roles: of("role")
                .into_iter()
                .map(|(role_name, role_id)| PolicyRole { role_name, role_id })
                .collect(),
            is_truncated,
            marker,
        })
    }
}

fn holders<H: Holder>(tx: &mut Transaction<'_>, arn: &str, prefix: &str) -> Vec<(&'static str, String, String)> {
    tx.list::<H>()
        .iter()
        .filter(|holder| holder.attached().contains(arn) && holder.path().starts_with(prefix))
        .map(|holder| (H::NOUN, holder.key(), holder.id().to_owned()))
        .collect()
}
