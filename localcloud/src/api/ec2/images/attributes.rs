//! DescribeImageAttribute, ModifyImageAttribute, ResetImageAttribute.

use serde::{Deserialize, Serialize};

use super::{mappings, own};
use crate::{
    api::{
        ec2::{
            block_devices::MappingItem,
            dry_run, identifiers,
            permissions::{self, ALL, GranteeItem, PermissionChange},
        },
        error::ApiError,
        operation::{Caller, Operation, Return},
    },
    model::image::Image,
    store::Transaction,
};

const LAUNCH_PERMISSION: &str = "launchPermission";

fn unknown(attribute: &str) -> ApiError {
    ApiError::invalid_parameter_value(format!("Value ({attribute}) for parameter attribute is invalid."))
}

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeImageAttribute.html>
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DescribeImageAttribute {
    image_id: String,
    attribute: String,
    #[serde(default)]
    dry_run: Option<bool>,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Attribute {
    image_id: String,
    description: Option<Value>,
    launch_permission: Option<Vec<GranteeItem>>,
    block_device_mapping: Option<Vec<MappingItem>>,
    product_codes: Option<Vec<String>>,
    imds_support: Option<Value>,
}

#[derive(Debug, Serialize)]
struct Value {
    value: String,
}

impl Operation for DescribeImageAttribute {
    const ACTION: &'static str = "DescribeImageAttribute";
    type Output = Attribute;

    fn run(self, tx: &mut Transaction<'_>, _: &Caller<'_>) -> Result<Attribute, ApiError> {
        let image = identifiers::image(tx, &self.image_id)?;
        dry_run::check(self.dry_run)?;
        let mut answer = Attribute { image_id: image.id.clone(), ..Attribute::default() };
        match self.attribute.as_str() {
            "description" => answer.description = Some(Value { value: image.description.clone() }),
            LAUNCH_PERMISSION => {
                let mut names = image.launch_permissions.clone();
                if image.public {
                    names.insert(ALL.to_owned());
                }
                answer.launch_permission = Some(permissions::items(&names));
            }
            "blockDeviceMapping" => answer.block_device_mapping = Some(mappings(&image)),
            "productCodes" => answer.product_codes = Some(Vec::new()),
            "imdsSupport" => answer.imds_support = Some(Value { value: "v2.0".to_owned() }),
            // They exist, and have no value here.
            "kernel" | "ramdisk" | "sriovNetSupport" | "bootMode" | "tpmSupport" | "uefiData" => {}
            other => return Err(unknown(other)),
        }
        Ok(answer)
    }
}

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ModifyImageAttribute.html>
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ModifyImageAttribute {
    image_id: String,
    #[serde(default)]
    attribute: Option<String>,
    #[serde(default)]
    value: Option<String>,
    #[serde(default)]
    description: Option<NewValue>,
    #[serde(default)]
    launch_permission: Option<PermissionChange>,
    #[serde(default)]
    operation_type: Option<String>,
    #[serde(default, rename = "UserId")]
    user_ids: Vec<String>,
    #[serde(default, rename = "UserGroup")]
    groups: Vec<String>,
    #[serde(default)]
    dry_run: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct NewValue {
    #[serde(default)]
    value: String,
}

impl Operation for ModifyImageAttribute {
    const ACTION: &'static str = "ModifyImageAttribute";
    type Output = Return;

    fn run(self, tx: &mut Transaction<'_>, _: &Caller<'_>) -> Result<Return, ApiError> {
        let mut image = Image::clone(&*identifiers::image(tx, &self.image_id)?);
        own(&image)?;
        let mut description = self.description.map(|new| new.value);
        match self.attribute.as_deref() {
            None | Some(LAUNCH_PERMISSION) => {}
            Some("description") => description = self.value.or(description),
            Some(other) => return Err(unknown(other)),
        }
        let lists = PermissionChange::of_lists(self.operation_type.as_deref(), self.user_ids, self.groups)?;
        for change in [self.launch_permission.unwrap_or_default(), lists] {
            change.apply(&mut image.launch_permissions)?;
        }
        image.public = image.launch_permissions.contains(ALL);
        image.description = description.unwrap_or(image.description);
        dry_run::check(self.dry_run)?;
        tx.put(image);
        Ok(Return::TRUE)
    }
}

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ResetImageAttribute.html>
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ResetImageAttribute {
    image_id: String,
    attribute: String,
    #[serde(default)]
    dry_run: Option<bool>,
}

impl Operation for ResetImageAttribute {
    const ACTION: &'static str = "ResetImageAttribute";
    type Output = Return;

    fn run(self, tx: &mut Transaction<'_>, _: &Caller<'_>) -> Result<Return, ApiError> {
        let image = identifiers::image(tx, &self.image_id)?;
        own(&image)?;
        if self.attribute != LAUNCH_PERMISSION {
            return Err(unknown(&self.attribute));
        }
        dry_run::check(self.dry_run)?;
        tx.update::<Image>(&image.id, |image| {
            image.launch_permissions.clear();
            image.public = false;
        });
        Ok(Return::TRUE)
    }
}
