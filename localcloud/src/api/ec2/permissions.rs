//! Who besides the owner may use an image or a snapshot. There is one account here, so that a permission is kept and
//! told, and decides nothing.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::api::error::ApiError;

/// Everyone, among the accounts of a permission.
pub(super) const ALL: &str = "all";

/// In both of EC2's forms: a structure, or lists with an operation.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct PermissionChange {
    #[serde(default, rename = "Add")]
    add: Vec<Grantee>,
    #[serde(default, rename = "Remove")]
    remove: Vec<Grantee>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Grantee {
    #[serde(default)]
    user_id: Option<String>,
    #[serde(default)]
    group: Option<String>,
}

impl Grantee {
    fn name(&self) -> Result<String, ApiError> {
        match (&self.user_id, &self.group) {
            (Some(id), None) if id.len() == 12 && id.bytes().all(|byte| byte.is_ascii_digit()) => Ok(id.clone()),
            (Some(id), None) => Err(ApiError::new("InvalidUserID.Malformed", format!("Invalid user id: \"{id}\""))),
            (None, Some(group)) if group == ALL => Ok(group.clone()),
            (None, Some(group)) => {
                Err(ApiError::invalid_parameter_value(format!("Value ({group}) for parameter group is invalid.")))
            }
            _ => Err(ApiError::missing_parameter("UserId")),
        }
    }
}

impl PermissionChange {
    /// # Errors
    /// When the operation is none.
    pub(super) fn of_lists(
        operation: Option<&str>,
        user_ids: Vec<String>,
        groups: Vec<String>,
    ) -> Result<Self, ApiError> {
        let users = user_ids.into_iter().map(|id| Grantee { user_id: Some(id), group: None });
        let groups = groups.into_iter().map(|group| Grantee { user_id: None, group: Some(group) });
        let grantees: Vec<Grantee> = users.chain(groups).collect();
        match operation {
            None if grantees.is_empty() => Ok(Self::default()),
            None => Err(ApiError::missing_parameter("OperationType")),
            Some("add") => Ok(Self { add: grantees, remove: Vec::new() }),
            Some("remove") => Ok(Self { add: Vec::new(), remove: grantees }),
            Some(other) => Err(ApiError::invalid_parameter_value(format!(
                "Value ({other}) for parameter operationType is invalid."
            ))),
        }
    }

    /// # Errors
    /// When somebody is named who cannot be.
    pub(super) fn apply(&self, names: &mut BTreeSet<String>) -> Result<(), ApiError> {
        for grantee in &self.add {
            names.insert(grantee.name()?);
        }
        for grantee in &self.remove {
            names.remove(&grantee.name()?);
        }
        Ok(())
    }
}

/// One of them in an answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GranteeItem {
    user_id: Option<String>,
    group: Option<&'static str>,
}

pub(super) fn items(names: &BTreeSet<String>) -> Vec<GranteeItem> {
    let item = |name: &String| GranteeItem {
        user_id: Some(name.clone()).filter(|name| name != ALL),
        group: (name == ALL).then_some(ALL),
    };
    names.iter().map(item).collect()
}
