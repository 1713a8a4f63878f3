//! Instance profiles of instances that were launched already: AssociateIamInstanceProfile,
//! DisassociateIamInstanceProfile, ReplaceIamInstanceProfileAssociation, DescribeIamInstanceProfileAssociations.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    super::{
        filters::{self, Column, Filter},
        identifiers, pagination,
    },
    item::{ProfileItem, Surroundings},
    parameters::IamInstanceProfile,
};
use crate::{
    api::{
        error::ApiError,
        operation::{Caller, Operation},
    },
    model::{
        id,
        identity::InstanceProfile,
        instance::{Instance, InstanceState},
        time::Timestamp,
    },
    store::Transaction,
};

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    iam_instance_profile_association: AssociationItem,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct AssociationItem {
    association_id: String,
    instance_id: String,
    iam_instance_profile: Option<ProfileItem>,
    state: &'static str,
    timestamp: Timestamp,
}

/// The association's id and time. An instance of an older record has them of itself.
fn association(instance: &Instance) -> Option<(String, Timestamp)> {
    instance.instance_profile.as_ref()?;
    let of_itself = || (instance.id.replacen("i-", "iip-assoc-", 1), instance.launched);
    Some(instance.attributes.profile_association.clone().unwrap_or_else(of_itself))
}

fn item(surroundings: &Surroundings<'_>, instance: &Instance, state: &'static str) -> Option<AssociationItem> {
    let (association_id, timestamp) = association(instance)?;
    Some(AssociationItem {
        association_id,
        instance_id: instance.id.clone(),
        iam_instance_profile: surroundings.profile_of(instance),
        state,
        timestamp,
    })
}

fn by_association(tx: &mut Transaction<'_>, association_id: &str) -> Result<Arc<Instance>, ApiError> {
    let has = |instance: &Arc<Instance>| {
        instance.state != InstanceState::Terminated && association(instance).is_some_and(|(id, _)| id == association_id)
    };
    tx.list::<Instance>().into_iter().find(has).ok_or_else(|| {
        ApiError::new(
            "InvalidAssociationID.NotFound",
            format!("An invalid association-id of '{association_id}' was given"),
        )
    })
}

/// Gives the instance the profile, or none, and tells of the association that this makes or ends.
fn give(
    tx: &mut Transaction<'_>,
    caller: &Caller<'_>,
    instance: &Instance,
    profile: Option<IamInstanceProfile>,
) -> Result<Answer, ApiError> {
    let mut changed = instance.clone();
    let told = match profile {
        Some(profile) => {
            let name = profile.name(caller.site)?;
            if tx.get::<InstanceProfile>(&name).is_none() {
                return Err(ApiError::invalid_parameter_value(format!(
                    "Value ({name}) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name"
                )));
            }
            changed.instance_profile = Some(name);
            changed.attributes.profile_association = Some((id::new("iip-assoc"), Timestamp::now()));
            item(&Surroundings::load(tx, caller.site), &changed, "associated")
        }
        None => {
            let told = item(&Surroundings::load(tx, caller.site), instance, "disassociated");
            changed.instance_profile = None;
            changed.attributes.profile_association = None;
            told
        }
    };
    tx.put(changed);
    told.map(|iam_instance_profile_association| Answer { iam_instance_profile_association })
        .ok_or_else(|| ApiError::new("InternalError", "An internal error has occurred").status(500))
}

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_AssociateIamInstanceProfile.html>
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct AssociateIamInstanceProfile {
    instance_id: String,
    iam_instance_profile: IamInstanceProfile,
}

impl Operation for AssociateIamInstanceProfile {
    const ACTION: &'static str = "AssociateIamInstanceProfile";
    type Output = Answer;

    fn run(self, tx: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<Answer, ApiError> {
        let instance = identifiers::instance(tx, &self.instance_id)?;
        if !matches!(instance.state, InstanceState::Running | InstanceState::Stopped) {
            return Err(ApiError::new(
                "IncorrectInstanceState",
                format!("The instance '{}' is neither 'running' nor 'stopped'.", instance.id),
            ));
        }
        if instance.instance_profile.is_some() {
            return Err(ApiError::new(
                "IncorrectState",
                format!("There is an existing association for instance {}", instance.id),
            ));
        }
        give(tx, caller, &instance, Some(self.iam_instance_profile))
    }
}

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DisassociateIamInstanceProfile.html>
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DisassociateIamInstanceProfile {
    association_id: String,
}

impl Operation for DisassociateIamInstanceProfile {
    const ACTION: &'static str = "DisassociateIamInstanceProfile";
    type Output = Answer;

    fn run(self, tx: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<Answer, ApiError> {
        let instance = by_association(tx, &self.association_id)?;
        give(tx, caller, &instance, None)
    }
}

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ReplaceIamInstanceProfileAssociation.html>
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ReplaceIamInstanceProfileAssociation {
    association_id: String,
    iam_instance_profile: IamInstanceProfile,
}

impl Operation for ReplaceIamInstanceProfileAssociation {
    const ACTION: &'static str = "ReplaceIamInstanceProfileAssociation";
    type Output = Answer;

    fn run(self, tx: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<Answer, ApiError> {
        let instance = by_association(tx, &self.association_id)?;
        give(tx, caller, &instance, Some(self.iam_instance_profile))
    }
}

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeIamInstanceProfileAssociations.html>
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DescribeIamInstanceProfileAssociations {
    #[serde(default, rename = "AssociationId")]
    association_ids: Vec<String>,
    #[serde(default, rename = "Filter")]
    filters: Vec<Filter>,
    #[serde(default)]
    max_results: Option<u32>,
    #[serde(default)]
    next_token: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Associations {
    iam_instance_profile_association_set: Vec<AssociationItem>,
    next_token: Option<String>,
}

const COLUMNS: &[Column<AssociationItem>] =
    &[("instance-id", |item| vec![item.instance_id.clone()]), ("state", |item| vec![item.state.to_owned()])];

impl Operation for DescribeIamInstanceProfileAssociations {
    const ACTION: &'static str = "DescribeIamInstanceProfileAssociations";
    type Output = Associations;

    fn run(self, tx: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<Associations, ApiError> {
        for id in &self.association_ids {
            by_association(tx, id)?;
        }
        let surroundings = Surroundings::load(tx, caller.site);
        let mut instances = tx.list::<Instance>();
        instances.retain(|instance| instance.state != InstanceState::Terminated);
        let mut items: Vec<AssociationItem> =
            instances.iter().filter_map(|instance| item(&surroundings, instance, "associated")).collect();
        if !self.association_ids.is_empty() {
            items.retain(|item| self.association_ids.contains(&item.association_id));
        }
        let items = filters::retain(&self.filters, COLUMNS, None, items)?;
        let key = |item: &AssociationItem| item.association_id.clone();
        let (iam_instance_profile_association_set, next_token) =
            pagination::page(items, key, self.max_results, self.next_token.as_deref())?;
        Ok(Associations { iam_instance_profile_association_set, next_token })
    }
}
