//! What would be allowed: policies held against actions, without a request.
//! <https://docs.aws.amazon.com/IAM/latest/APIReference/API_SimulatePrincipalPolicy.html>

use serde::{Deserialize, Serialize};

use super::{identity::documents, listing, no_such_entity};
use crate::{
    api::{
        error::ApiError,
        operation::{Caller, Operation},
    },
    model::identity::{Group, Role, User},
    policy::{Context, Document, Identity, Kind, Refusal, Request, evaluate::allow},
    store::Transaction,
};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ContextEntry {
    context_key_name: String,
    #[serde(default)]
    context_key_values: Vec<String>,
    /// Values are read as the condition's operator asks for.
    #[serde(rename = "ContextKeyType")]
    _context_key_type: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct SimulatePolicyOutput {
    evaluation_results: Vec<EvaluationResult>,
    is_truncated: bool,
    marker: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct EvaluationResult {
    eval_action_name: String,
    eval_resource_name: String,
    eval_decision: &'static str,
}

/// What both actions have in common.
struct Simulation {
    identity: Identity,
    actions: Vec<String>,
    resources: Vec<String>,
    entries: Vec<ContextEntry>,
    marker: Option<String>,
    max_items: Option<usize>,
}

impl Simulation {
    fn run(self) -> Result<SimulatePolicyOutput, ApiError> {
        for policy in &self.identity.policies {
            Document::parse(policy, Kind::Identity)
                .map_err(|error| ApiError::new("InvalidInput", format!("Invalid Input Policy: {error}")))?;
        }
        let mut context = Context::default();
        if !self.identity.arn.is_empty() {
            self.identity.describe(&mut context);
        }
        for entry in &self.entries {
            for value in &entry.context_key_values {
                context.add(&entry.context_key_name, value);
            }
        }
        let resources = if self.resources.is_empty() { vec!["*".to_owned()] } else { self.resources };
        let documents = self.identity.read();
        let mut results = Vec::new();
        for action in &self.actions {
            if !action.contains(':') {
                return Err(ApiError::new("InvalidInput", format!("Invalid Action Name: {action}")));
            }
            for resource in &resources {
                let request = Request { action, resource, context: &context };
                let decision = match allow(&self.identity, &documents, None, request) {
                    Ok(()) => "allowed",
                    Err(Refusal::Explicit(_)) => "explicitDeny",
                    Err(Refusal::Implicit(_)) => "implicitDeny",
                };
                results.push((results.len(), action.clone(), resource.clone(), decision));
            }
        }
        let key = |(place, ..): &(usize, String, String, &str)| format!("{place:08}");
        let (results, is_truncated, marker) = listing(results, key, self.marker.as_deref(), self.max_items)?;
        let evaluation_results = results
            .into_iter()
            .map(|(_, eval_action_name, eval_resource_name, eval_decision)| EvaluationResult {
                eval_action_name,
                eval_resource_name,
                eval_decision,
            })
            .collect();
        Ok(SimulatePolicyOutput { evaluation_results, is_truncated, marker })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct SimulateCustomPolicy {
    policy_input_list: Vec<String>,
    action_names: Vec<String>,
    #[serde(default)]
    resource_arns: Vec<String>,
    #[serde(default)]
    context_entries: Vec<ContextEntry>,
    marker: Option<String>,
    max_items: Option<usize>,
}

impl Operation for SimulateCustomPolicy {
    const ACTION: &'static str = "SimulateCustomPolicy";
    type Output = SimulatePolicyOutput;

    fn run(self, _tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        Simulation {
            identity: Identity { policies: self.policy_input_list, ..Identity::default() },
            actions: self.action_names,
            resources: self.resource_arns,
            entries: self.context_entries,
            marker: self.marker,
            max_items: self.max_items,
        }
        .run()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct SimulatePrincipalPolicy {
    policy_source_arn: String,
    #[serde(default)]
    policy_input_list: Vec<String>,
    action_names: Vec<String>,
    #[serde(default)]
    resource_arns: Vec<String>,
    #[serde(default)]
    context_entries: Vec<ContextEntry>,
    marker: Option<String>,
    max_items: Option<usize>,
}

impl Operation for SimulatePrincipalPolicy {
    const ACTION: &'static str = "SimulatePrincipalPolicy";
    type Output = SimulatePolicyOutput;

    fn run(self, tx: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        let arn = self.policy_source_arn;
        let name = arn.rsplit('/').next().unwrap_or_default().to_owned();
        let mut identity = Identity { arn: arn.clone(), account_id: caller.account_id.clone(), ..Identity::default() };
        let account = &caller.account_id;
        if let Some(user) = tx.get::<User>(&name).filter(|user| user.arn(account) == arn) {
            identity.user_name = Some(user.name.clone());
            identity.principal_id.clone_from(&user.id);
            identity.policies = documents(tx, &*user);
            for group in user.groups.iter().filter_map(|name| tx.get::<Group>(name)).collect::<Vec<_>>() {
                identity.policies.extend(documents(tx, &*group));
            }
            identity.tags.clone_from(&user.tags);
        } else if let Some(role) = tx.get::<Role>(&name).filter(|role| role.arn(account) == arn) {
            identity.principal_id.clone_from(&role.id);
            identity.policies = documents(tx, &*role);
            identity.tags.clone_from(&role.tags);
        } else if let Some(group) = tx.get::<Group>(&name).filter(|group| group.arn(account) == arn) {
            identity.policies = documents(tx, &*group);
        } else {
            let nobody = format!("The principal {arn} cannot be found: it must be a user, a group or a role");
            return Err(no_such_entity(nobody));
        }
        identity.policies.extend(self.policy_input_list);
        Simulation {
            identity,
            actions: self.action_names,
            resources: self.resource_arns,
            entries: self.context_entries,
            marker: self.marker,
            max_items: self.max_items,
        }
        .run()
    }
}
