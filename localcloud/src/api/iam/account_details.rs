//! Everything about everybody, in one listing.
//! <https://docs.aws.amazon.com/IAM/latest/APIReference/API_GetAccountAuthorizationDetails.html>

use serde::{Deserialize, Serialize};

use super::{
    attachments::{AttachedPolicy, attached},
    aws_managed,
    holder::Holder,
    instance_profiles::InstanceProfileDescription,
    listing,
    managed_policies::{attachments, find_policy},
    policy_document,
    policy_versions::VersionDescription,
    tags::{Tag, listed},
};
use crate::{
    api::{
        error::ApiError,
        operation::{Caller, Operation},
    },
    model::{
        identity::{Group, InstanceProfile, Role, User},
        managed_policy::ManagedPolicy,
        time::Timestamp,
    },
    store::Transaction,
};

const KINDS: &[&str] = &["User", "Group", "Role", "LocalManagedPolicy", "AWSManagedPolicy"];

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct GetAccountAuthorizationDetails {
    #[serde(default)]
    filter: Vec<String>,
    marker: Option<String>,
    max_items: Option<usize>,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct GetAccountAuthorizationDetailsOutput {
    user_detail_list: Vec<UserDetail>,
    group_detail_list: Vec<GroupDetail>,
    role_detail_list: Vec<RoleDetail>,
    policies: Vec<PolicyDetail>,
    is_truncated: bool,
    marker: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct InlinePolicy {
    policy_name: String,
    policy_document: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct UserDetail {
    path: String,
    user_name: String,
    user_id: String,
    arn: String,
    create_date: Timestamp,
    user_policy_list: Vec<InlinePolicy>,
    group_list: Vec<String>,
    attached_managed_policies: Vec<AttachedPolicy>,
    tags: Vec<Tag>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct GroupDetail {
    path: String,
    group_name: String,
    group_id: String,
    arn: String,
    create_date: Timestamp,
    group_policy_list: Vec<InlinePolicy>,
    attached_managed_policies: Vec<AttachedPolicy>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct RoleDetail {
    path: String,
    role_name: String,
    role_id: String,
    arn: String,
    create_date: Timestamp,
    assume_role_policy_document: String,
    instance_profile_list: Vec<InstanceProfileDescription>,
    role_policy_list: Vec<InlinePolicy>,
    attached_managed_policies: Vec<AttachedPolicy>,
    tags: Vec<Tag>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct PolicyDetail {
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
    policy_version_list: Vec<VersionDescription>,
}

fn inline<H: Holder>(holder: &H) -> Vec<InlinePolicy> {
    holder
        .inline()
        .iter()
        .map(|(name, document)| InlinePolicy {
            policy_name: name.clone(),
            policy_document: policy_document::encoded(document),
        })
        .collect()
}

impl PolicyDetail {
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
            policy_version_list: policy
                .versions
                .iter()
                .rev()
                .map(|(number, version)| VersionDescription::of(policy, *number, version, true))
                .collect(),
        }
    }
}

impl Operation for GetAccountAuthorizationDetails {
    const ACTION: &'static str = "GetAccountAuthorizationDetails";
    type Output = GetAccountAuthorizationDetailsOutput;

    fn run(self, tx: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        if let Some(kind) = self.filter.iter().find(|kind| !KINDS.contains(&kind.as_str())) {
            return Err(ApiError::validation(format!("Filter {kind} is not one of {}", KINDS.join(", "))));
        }
        let wanted = |kind: &str| self.filter.is_empty() || self.filter.iter().any(|known| known == kind);
        // Named by kind and name, so that a page may end anywhere.
        let mut entries: Vec<(usize, String)> = Vec::new();
        let mut add = |kind: usize, names: Vec<String>| entries.extend(names.into_iter().map(|name| (kind, name)));
        for (kind, name) in KINDS.iter().enumerate().filter(|(_, name)| wanted(name)) {
            match *name {
                "User" => add(kind, tx.list::<User>().iter().map(|user| user.name.clone()).collect()),
                "Group" => add(kind, tx.list::<Group>().iter().map(|group| group.name.clone()).collect()),
                "Role" => add(kind, tx.list::<Role>().iter().map(|role| role.name.clone()).collect()),
                "LocalManagedPolicy" => {
                    add(kind, tx.list::<ManagedPolicy>().iter().map(|policy| policy.arn.clone()).collect());
                }
                // Of AWS's those that somebody has.
                _ => {
                    let mut arns: Vec<String> = aws_managed::all().map(|policy| policy.arn.clone()).collect();
                    arns.retain(|arn| attachments(tx, arn) > 0);
                    add(kind, arns);
                }
            }
        }
        entries.sort();
        let key = |(kind, name): &(usize, String)| format!("{kind}/{name}");
        let (entries, is_truncated, marker) = listing(entries, key, self.marker.as_deref(), self.max_items)?;
        let mut output = GetAccountAuthorizationDetailsOutput { is_truncated, marker, ..Default::default() };
        for (kind, name) in entries {
            match KINDS.get(kind) {
                Some(&"User") => output.user_detail_list.extend(user(tx, caller, &name)),
                Some(&"Group") => output.group_detail_list.extend(group(tx, caller, &name)),
                Some(&"Role") => output.role_detail_list.extend(role(tx, caller, &name)),
                _ => output.policies.extend(find_policy(tx, &name).ok().map(|policy| PolicyDetail::of(tx, &policy))),
            }
        }
        Ok(output)
    }
}

fn user(tx: &mut Transaction<'_>, caller: &Caller<'_>, name: &str) -> Option<UserDetail> {
    let user = tx.get::<User>(name)?;
    Some(UserDetail {
        path: user.path.clone(),
        user_name: user.name.clone(),
        user_id: user.id.clone(),
        arn: user.arn(&caller.account_id),
        create_date: user.created,
        user_policy_list: inline(&*user),
        group_list: user.groups.iter().cloned().collect(),
        attached_managed_policies: attached(tx, &*user, "/"),
        tags: listed(&user.tags),
    })
}

fn group(tx: &mut Transaction<'_>, caller: &Caller<'_>, name: &str) -> Option<GroupDetail> {
    let group = tx.get::<Group>(name)?;
    Some(GroupDetail {
        path: group.path.clone(),
        group_name: group.name.clone(),
        group_id: group.id.clone(),
        arn: group.arn(&caller.account_id),
        create_date: group.created,
        group_policy_list: inline(&*group),
        attached_managed_policies: attached(tx, &*group, "/"),
    })
}

fn role(tx: &mut Transaction<'_>, caller: &Caller<'_>, name: &str) -> Option<RoleDetail> {
    let role = tx.get::<Role>(name)?;
    let mut profiles = tx.list::<InstanceProfile>();
    profiles.retain(|profile| profile.role_name.as_deref() == Some(name));
    let instance_profile_list =
        profiles.iter().map(|profile| InstanceProfileDescription::of(tx, profile, &caller.account_id)).collect();
    Some(RoleDetail {
        path: role.path.clone(),
        role_name: role.name.clone(),
        role_id: role.id.clone(),
        arn: role.arn(&caller.account_id),
        create_date: role.created,
        assume_role_policy_document: policy_document::encoded(&role.assume_role_policy),
        instance_profile_list,
        role_policy_list: inline(&*role),
        attached_managed_policies: attached(tx, &*role, "/"),
        tags: listed(&role.tags),
    })
}
