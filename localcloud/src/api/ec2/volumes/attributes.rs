//! DescribeVolumeAttribute, ModifyVolumeAttribute, EnableVolumeIO.

use serde::{Deserialize, Serialize};

use crate::{
    api::{
        ec2::{dry_run, identifiers},
        error::ApiError,
        operation::{Caller, Operation, Return},
    },
    model::volume::Volume,
    store::Transaction,
};

#[derive(Debug, Serialize, Deserialize)]
struct Value {
    #[serde(alias = "Value")]
    value: bool,
}

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeVolumeAttribute.html>
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DescribeVolumeAttribute {
    volume_id: String,
    attribute: String,
    #[serde(default)]
    dry_run: Option<bool>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Attribute {
    volume_id: String,
    #[serde(rename = "autoEnableIO")]
    auto_enable_io: Option<Value>,
    product_codes: Option<Vec<String>>,
}

impl Operation for DescribeVolumeAttribute {
    const ACTION: &'static str = "DescribeVolumeAttribute";
    type Output = Attribute;

    fn run(self, tx: &mut Transaction<'_>, _: &Caller<'_>) -> Result<Attribute, ApiError> {
        let volume = identifiers::volume(tx, &self.volume_id)?;
        dry_run::check(self.dry_run)?;
        let volume_id = volume.id.clone();
        match self.attribute.as_str() {
            "autoEnableIO" => {
                let auto_enable_io = Some(Value { value: volume.auto_enable_io });
                Ok(Attribute { volume_id, auto_enable_io, product_codes: None })
            }
            "productCodes" => Ok(Attribute { volume_id, auto_enable_io: None, product_codes: Some(Vec::new()) }),
            other => Err(ApiError::invalid_parameter_value(format!(
                "Value ({other}) for parameter attribute is invalid. Unknown attribute."
            ))),
        }
    }
}

/// A volume here is never cut off as inconsistent, so that the attribute is kept and never has anything to do
/// (<https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ModifyVolumeAttribute.html>).
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ModifyVolumeAttribute {
    volume_id: String,
    #[serde(rename = "AutoEnableIO")]
    auto_enable_io: Value,
    #[serde(default)]
    dry_run: Option<bool>,
}

impl Operation for ModifyVolumeAttribute {
    const ACTION: &'static str = "ModifyVolumeAttribute";
    type Output = Return;

    fn run(self, tx: &mut Transaction<'_>, _: &Caller<'_>) -> Result<Return, ApiError> {
        let volume = identifiers::volume(tx, &self.volume_id)?;
        dry_run::check(self.dry_run)?;
        tx.update::<Volume>(&volume.id, |volume| volume.auto_enable_io = self.auto_enable_io.value);
        Ok(Return::TRUE)
    }
}

/// Input and output are always on (<https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_EnableVolumeIO.html>).
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct EnableVolumeIO {
    volume_id: String,
    #[serde(default)]
    dry_run: Option<bool>,
}

impl Operation for EnableVolumeIO {
    const ACTION: &'static str = "EnableVolumeIO";
    type Output = Return;

    fn run(self, tx: &mut Transaction<'_>, _: &Caller<'_>) -> Result<Return, ApiError> {
        identifiers::volume(tx, &self.volume_id)?;
        dry_run::check(self.dry_run)?;
        Ok(Return::TRUE)
    }
}
