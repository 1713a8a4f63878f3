//! Versions of managed policies: the default one counts.

use serde::{Deserialize, Serialize};

use super::{
    delete_conflict, listing,
    managed_policies::{check_document, find_own_policy, find_policy},
    no_such_entity, policy_document,
};
use crate::{
    api::{
        error::ApiError,
        operation::{Caller, Done, Operation},
    },
    model::{
        managed_policy::{ManagedPolicy, PolicyVersion},
        time::Timestamp,
    },
    store::Transaction,
};

const MOST_VERSIONS: usize = 5;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct VersionDescription {
    version_id: String,
    is_default_version: bool,
    create_date: Timestamp,
    document: Option<String>,
}

impl VersionDescription {
    pub(super) fn of(policy: &ManagedPolicy, number: u32, version: &PolicyVersion, with_document: bool) -> Self {
        Self {
            version_id: format!("v{number}"),
            is_default_version: number == policy.default_version,
            create_date: version.created,
            document: with_document.then(|| policy_document::encoded(&version.document)),
        }
    }
}

fn number_of(policy: &ManagedPolicy, version_id: &str) -> Result<u32, ApiError> {
    let number = version_id
        .strip_prefix('v')
        .and_then(|digits| digits.parse::<u32>().ok())
        .ok_or_else(|| ApiError::validation(format!("The version {version_id} is not one such as v1")))?;
    if policy.versions.contains_key(&number) {
        return Ok(number);
    }
    Err(no_such_entity(format!("Policy {} version {version_id} does not exist or is not attachable.", policy.arn)))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct CreatePolicyVersion {
    policy_arn: String,
    policy_document: String,
    #[serde(default)]
    set_as_default: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct PolicyVersionOutput {
    policy_version: VersionDescription,
}

impl Operation for CreatePolicyVersion {
    const ACTION: &'static str = "CreatePolicyVersion";
    type Output = PolicyVersionOutput;

    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        let mut policy = find_own_policy(tx, &self.policy_arn)?;
        check_document(&self.policy_document)?;
        if policy.versions.len() >= MOST_VERSIONS {
            return Err(ApiError::new(
                "LimitExceeded",
                "A managed policy can have up to 5 versions. Before you create a new version, you must delete an existing version.",
            )
            .status(409));
        }
        let version = PolicyVersion { document: self.policy_document, created: Timestamp::now() };
        policy.latest_version += 1;
        policy.updated = version.created;
        if self.set_as_default {
            policy.default_version = policy.latest_version;
        }
        let policy_version = VersionDescription::of(&policy, policy.latest_version, &version, false);
        policy.versions.insert(policy.latest_version, version);
        tx.put(policy);
        Ok(PolicyVersionOutput { policy_version })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct GetPolicyVersion {
    policy_arn: String,
    version_id: String,
}

impl Operation for GetPolicyVersion {
    const ACTION: &'static str = "GetPolicyVersion";
    type Output = PolicyVersionOutput;

    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        let policy = find_policy(tx, &self.policy_arn)?;
        let number = number_of(&policy, &self.version_id)?;
        let version = &policy.versions[&number];
        Ok(PolicyVersionOutput { policy_version: VersionDescription::of(&policy, number, version, true) })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ListPolicyVersions {
    policy_arn: String,
    marker: Option<String>,
    max_items: Option<usize>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ListPolicyVersionsOutput {
    versions: Vec<VersionDescription>,
    is_truncated: bool,
    marker: Option<String>,
}

impl Operation for ListPolicyVersions {
    const ACTION: &'static str = "ListPolicyVersions";
    type Output = ListPolicyVersionsOutput;

    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        let policy = find_policy(tx, &self.policy_arn)?;
        // Newest first: their markers count downwards.
        let versions: Vec<u32> = policy.versions.keys().rev().copied().collect();
        let (versions, is_truncated, marker) =
            listing(versions, |number| format!("{:010}", u32::MAX - number), self.marker.as_deref(), self.max_items)?;
        let versions = versions
            .into_iter()
            .map(|number| VersionDescription::of(&policy, number, &policy.versions[&number], false))
            .collect();
        Ok(ListPolicyVersionsOutput { versions, is_truncated, marker })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct SetDefaultPolicyVersion {
    policy_arn: String,
    version_id: String,
}

impl Operation for SetDefaultPolicyVersion {
    const ACTION: &'static str = "SetDefaultPolicyVersion";
    type Output = Done;

    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Done, ApiError> {
        let mut policy = find_own_policy(tx, &self.policy_arn)?;
        policy.default_version = number_of(&policy, &self.version_id)?;
        policy.updated = Timestamp::now();
        tx.put(policy);
        Ok(Done {})
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DeletePolicyVersion {
    policy_arn: String,
    version_id: String,
}

impl Operation for DeletePolicyVersion {
    const ACTION: &'static str = "DeletePolicyVersion";
    type Output = Done;

    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Done, ApiError> {
        let mut policy = find_own_policy(tx, &self.policy_arn)?;
        let number = number_of(&policy, &self.version_id)?;
        if number == policy.default_version {
            return Err(delete_conflict("Cannot delete the default version of a policy."));
        }
        policy.versions.remove(&number);
        policy.updated = Timestamp::now();
        tx.put(policy);
        Ok(Done {})
    }
}
