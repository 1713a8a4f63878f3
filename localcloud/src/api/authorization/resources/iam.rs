//! Resources of IAM: users, groups, roles, policies and profiles, with their paths.

use super::{Call, Target, text};
use crate::{
    api::iam::managed_policies::find_policy,
    model::{
        identity::{Credential, Group, InstanceProfile, Role, User},
        tag::Tags,
    },
    policy::Identity,
    store::Transaction,
};

/// What listings are about: all of a kind, whatever their paths.
const LISTINGS: &[(&str, &str)] = &[
    ("ListUsers", "user"),
    ("ListGroups", "group"),
    ("ListRoles", "role"),
    ("ListPolicies", "policy"),
    ("ListInstanceProfiles", "instance-profile"),
    ("ListServerCertificates", "server-certificate"),
];

/// Requests with several parameters are about the first of these: `AttachUserPolicy` is about the user, and
/// `AddUserToGroup` about the group.
const PARAMETERS: &[(&str, &str)] = &[
    ("InstanceProfileName", "instance-profile"),
    ("GroupName", "group"),
    ("RoleName", "role"),
    ("UserName", "user"),
    ("ServerCertificateName", "server-certificate"),
];

/// Without a user's name these are about the caller.
const OF_ONESELF: &[&str] =
    &["GetUser", "CreateAccessKey", "ListAccessKeys", "UpdateAccessKey", "DeleteAccessKey", "ChangePassword"];

pub(super) fn of(tx: &mut Transaction<'_>, identity: &Identity, call: &Call<'_>) -> Vec<Target> {
    let Call { action, input, .. } = *call;
    let account = &identity.account_id;
    if let Some((_, kind)) = LISTINGS.iter().find(|(known, _)| *known == action) {
        let path = text(input, "PathPrefix").unwrap_or_else(|| "/".to_owned());
        return vec![Target::existing(format!("arn:aws:iam::{account}:{kind}{path}"), Tags::new())];
    }
    for (parameter, kind) in PARAMETERS {
        if let Some(name) = text(input, parameter) {
            let (path, tags) = path_and_tags(tx, kind, &name);
            let path = path.or_else(|| text(input, "Path")).unwrap_or_else(|| "/".to_owned());
            let is_new = action.starts_with("Create") && *kind != "user" || action == "CreateUser";
            let arn = format!("arn:aws:iam::{account}:{kind}{path}{name}");
            return vec![Target { arn, tags, is_new, ..Target::default() }];
        }
    }
    if let Some(arn) = text(input, "PolicyArn") {
        let tags = find_policy(tx, &arn).map(|policy| policy.tags.clone()).unwrap_or_default();
        return vec![Target::existing(arn, tags)];
    }
    if action == "CreatePolicy" {
        let (path, name) = (text(input, "Path"), text(input, "PolicyName").unwrap_or_default());
        let arn = format!("arn:aws:iam::{account}:policy{}{name}", path.as_deref().unwrap_or("/"));
        return vec![Target { is_new: true, ..Target::existing(arn, Tags::new()) }];
    }
    if OF_ONESELF.contains(&action) {
        return vec![Target::existing(identity.arn.clone(), identity.tags.clone())];
    }
    if action == "GetAccessKeyLastUsed"
        && let Some(key) = text(input, "AccessKeyId").and_then(|id| tx.get::<Credential>(&id))
    {
        return vec![Target::existing(key.principal_arn.clone(), Tags::new())];
    }
    Vec::new()
}

fn path_and_tags(tx: &mut Transaction<'_>, kind: &str, name: &str) -> (Option<String>, Tags) {
    let known = match kind {
        "user" => tx.get::<User>(name).map(|user| (user.path.clone(), user.tags.clone())),
        "group" => tx.get::<Group>(name).map(|group| (group.path.clone(), Tags::new())),
        "role" => tx.get::<Role>(name).map(|role| (role.path.clone(), role.tags.clone())),
        "instance-profile" => {
            tx.get::<InstanceProfile>(name).map(|profile| (profile.path.clone(), profile.tags.clone()))
        }
        _ => None,
    };
    known.map_or((None, Tags::new()), |(path, tags)| (Some(path), tags))
}
