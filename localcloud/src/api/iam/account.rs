//! What the account is called, and how much is in it.

use serde::{Deserialize, Serialize};

use super::{already_exists, no_such_entity};
use crate::{
    api::{
        error::ApiError,
        operation::{Caller, Done, Operation},
    },
    model::{
        identity::{AccountAlias, Credential, Group, InstanceProfile, Role, User},
        managed_policy::ManagedPolicy,
    },
    store::Transaction,
};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct CreateAccountAlias {
    account_alias: String,
}

impl Operation for CreateAccountAlias {
    const ACTION: &'static str = "CreateAccountAlias";
    type Output = Done;

    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Done, ApiError> {
        let alias = self.account_alias;
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let right = (3..=63).contains(&alias.len())
            && alias.bytes().all(|byte| plain(byte) || byte == b'-')
            && !alias.starts_with('-')
            && !alias.ends_with('-')
            && !alias.contains("--");
        if !right {
            return Err(ApiError::validation(
                "The account alias must be 3 to 63 lower case letters, digits and single dashes within it",
            ));
        }
        if tx.get::<AccountAlias>(AccountAlias::KEY).is_some_and(|known| known.alias == alias) {
            return Err(already_exists(format!("The account alias {alias} already exists.")));
        }
        // An account has one: a new one takes its place.
        tx.put(AccountAlias { alias });
        Ok(Done {})
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DeleteAccountAlias {
    account_alias: String,
}

impl Operation for DeleteAccountAlias {
    const ACTION: &'static str = "DeleteAccountAlias";
    type Output = Done;

    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Done, ApiError> {
        if tx.get::<AccountAlias>(AccountAlias::KEY).is_none_or(|known| known.alias != self.account_alias) {
            return Err(no_such_entity(format!("The account alias {} cannot be found.", self.account_alias)));
        }
        tx.delete::<AccountAlias>(AccountAlias::KEY);
        Ok(Done {})
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ListAccountAliases {
    #[serde(rename = "Marker")]
    _marker: Option<String>,
    #[serde(rename = "MaxItems")]
    _max_items: Option<usize>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ListAccountAliasesOutput {
    account_aliases: Vec<String>,
    is_truncated: bool,
}

impl Operation for ListAccountAliases {
    const ACTION: &'static str = "ListAccountAliases";
    type Output = ListAccountAliasesOutput;

    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        let alias = tx.get::<AccountAlias>(AccountAlias::KEY);
        Ok(ListAccountAliasesOutput {
            account_aliases: alias.iter().map(|known| known.alias.clone()).collect(),
            is_truncated: false,
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GetAccountSummary {}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct GetAccountSummaryOutput {
    summary_map: Entries,
}

/// A map as the query protocol writes it: elements named `entry`, side by side
/// (<https://smithy.io/2.0/aws/protocols/aws-query-protocol.html>).
pub struct Entries(Vec<Entry>);

#[derive(Serialize)]
struct Entry {
    key: &'static str,
    value: usize,
}

impl Serialize for Entries {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|entry| ("entry", entry)))
    }
}

impl Operation for GetAccountSummary {
    const ACTION: &'static str = "GetAccountSummary";
    type Output = GetAccountSummaryOutput;

    fn run(self, tx: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        let root = format!("arn:aws:iam::{}:root", caller.account_id);
        let root_keys = tx
            .list::<Credential>()
            .iter()
            .any(|key| key.principal_arn == root && key.expires.is_none() && !key.inactive);
        let policies = tx.list::<ManagedPolicy>();
        let versions: usize = policies.iter().map(|policy| policy.versions.len()).sum();
        let counts = [
            ("AccessKeysPerUserQuota", 2),
            ("AccountAccessKeysPresent", usize::from(root_keys)),
            ("AccountMFAEnabled", 0),
            ("AttachedPoliciesPerGroupQuota", 10),
            ("AttachedPoliciesPerRoleQuota", 10),
            ("AttachedPoliciesPerUserQuota", 10),
            ("GroupPolicySizeQuota", 5120),
            ("Groups", tx.list::<Group>().len()),
            ("GroupsPerUserQuota", 10),
            ("InstanceProfiles", tx.list::<InstanceProfile>().len()),
            ("Policies", policies.len()),
            ("PolicySizeQuota", 6144),
            ("PolicyVersionsInUse", versions),
            ("RolePolicySizeQuota", 10_240),
            ("Roles", tx.list::<Role>().len()),
            ("UserPolicySizeQuota", 2048),
            ("Users", tx.list::<User>().len()),
            ("UsersQuota", 5000),
            ("VersionsPerPolicyQuota", 5),
        ];
        let entries = counts.into_iter().map(|(key, value)| Entry { key, value }).collect();
        Ok(GetAccountSummaryOutput { summary_map: Entries(entries) })
    }
}
