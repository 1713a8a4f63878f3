//! Who may make volumes of a snapshot: DescribeSnapshotAttribute, ModifySnapshotAttribute, ResetSnapshotAttribute.

use serde::{Deserialize, Serialize};

use crate::{
    api::{
        ec2::{
            dry_run, identifiers,
            permissions::{self, GranteeItem, PermissionChange},
        },
        error::ApiError,
        operation::{Caller, Operation, Return},
    },
    model::snapshot::Snapshot,
    store::Transaction,
};

const PERMISSION: &str = "createVolumePermission";

fn unknown(attribute: &str) -> ApiError {
    ApiError::invalid_parameter_value(format!("Value ({attribute}) for parameter attribute is invalid."))
}

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeSnapshotAttribute.html>
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DescribeSnapshotAttribute {
    snapshot_id: String,
    attribute: String,
    #[serde(default)]
    dry_run: Option<bool>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Attribute {
    snapshot_id: String,
    create_volume_permission: Option<Vec<GranteeItem>>,
    product_codes: Option<Vec<String>>,
}

impl Operation for DescribeSnapshotAttribute {
    const ACTION: &'static str = "DescribeSnapshotAttribute";
    type Output = Attribute;

    fn run(self, tx: &mut Transaction<'_>, _: &Caller<'_>) -> Result<Attribute, ApiError> {
        let snapshot = identifiers::snapshot(tx, &self.snapshot_id)?;
        dry_run::check(self.dry_run)?;
        let (snapshot_id, none) = (snapshot.id.clone(), None);
        match self.attribute.as_str() {
            PERMISSION => Ok(Attribute {
                snapshot_id,
                create_volume_permission: Some(permissions::items(&snapshot.volume_permissions)),
                product_codes: none,
            }),
            "productCodes" => {
                Ok(Attribute { snapshot_id, create_volume_permission: None, product_codes: Some(Vec::new()) })
            }
            other => Err(unknown(other)),
        }
    }
}

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ModifySnapshotAttribute.html>
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ModifySnapshotAttribute {
    snapshot_id: String,
    #[serde(default)]
    attribute: Option<String>,
    #[serde(default)]
    create_volume_permission: Option<PermissionChange>,
    #[serde(default)]
    operation_type: Option<String>,
    #[serde(default, rename = "UserId")]
    user_ids: Vec<String>,
    #[serde(default, rename = "UserGroup")]
    groups: Vec<String>,
    #[serde(default)]
    dry_run: Option<bool>,
}

impl Operation for ModifySnapshotAttribute {
    const ACTION: &'static str = "ModifySnapshotAttribute";
    type Output = Return;

    fn run(self, tx: &mut Transaction<'_>, _: &Caller<'_>) -> Result<Return, ApiError> {
        let mut snapshot = Snapshot::clone(&*identifiers::snapshot(tx, &self.snapshot_id)?);
        if let Some(attribute) = self.attribute.as_deref().filter(|attribute| *attribute != PERMISSION) {
            return Err(unknown(attribute));
        }
        let lists = PermissionChange::of_lists(self.operation_type.as_deref(), self.user_ids, self.groups)?;
        for change in [self.create_volume_permission.unwrap_or_default(), lists] {
            change.apply(&mut snapshot.volume_permissions)?;
        }
        dry_run::check(self.dry_run)?;
        tx.put(snapshot);
        Ok(Return::TRUE)
    }
}

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ResetSnapshotAttribute.html>
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ResetSnapshotAttribute {
    snapshot_id: String,
    attribute: String,
    #[serde(default)]
    dry_run: Option<bool>,
}

impl Operation for ResetSnapshotAttribute {
    const ACTION: &'static str = "ResetSnapshotAttribute";
    type Output = Return;

    fn run(self, tx: &mut Transaction<'_>, _: &Caller<'_>) -> Result<Return, ApiError> {
        let snapshot = identifiers::snapshot(tx, &self.snapshot_id)?;
        if self.attribute != PERMISSION {
            return Err(unknown(&self.attribute));
        }
        dry_run::check(self.dry_run)?;
        tx.update::<Snapshot>(&snapshot.id, |snapshot| snapshot.volume_permissions.clear());
        Ok(Return::TRUE)
    }
}
