//! DescribeInstanceAttribute, ModifyInstanceAttribute, ModifyInstanceMetadataOptions.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};

use super::{
    super::{dry_run, identifiers},
    item::{DeviceItem, GroupItem, InstanceItem, MetadataOptionsItem, Surroundings},
    parameters::{MetadataOptions, ROOT_DEVICE, decode_user_data, shutdown_terminates},
};
use crate::{
    api::{
        error::ApiError,
        operation::{Caller, Operation, Return},
    },
    model::{
        instance::{Instance, InstanceState},
        instance_type,
    },
    store::Transaction,
};

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeInstanceAttribute.html>
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DescribeInstanceAttribute {
    instance_id: String,
    attribute: String,
    #[serde(default)]
    dry_run: Option<bool>,
}

#[derive(Debug, Serialize)]
struct Value<T> {
    value: T,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Attribute {
    instance_id: String,
    block_device_mapping: Option<Vec<DeviceItem>>,
    disable_api_termination: Option<Value<bool>>,
    disable_api_stop: Option<Value<bool>>,
    ebs_optimized: Option<Value<bool>>,
    ena_support: Option<Value<bool>>,
    group_set: Option<Vec<GroupItem>>,
    instance_initiated_shutdown_behavior: Option<Value<&'static str>>,
    instance_type: Option<Value<String>>,
    root_device_name: Option<Value<&'static str>>,
    source_dest_check: Option<Value<bool>>,
    user_data: Option<UserData>,
}

/// Without a value where there is no user-data.
#[derive(Debug, Serialize)]
struct UserData {
    value: Option<String>,
}

impl Operation for DescribeInstanceAttribute {
    const ACTION: &'static str = "DescribeInstanceAttribute";
    type Output = Attribute;

    fn run(self, tx: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<Attribute, ApiError> {
        let instance = identifiers::instance(tx, &self.instance_id)?;
        dry_run::check(self.dry_run)?;
        let mut answer = Attribute { instance_id: instance.id.clone(), ..Attribute::default() };
        let item = InstanceItem::new(&Surroundings::of(tx, caller.site, &[&*instance]), &instance);
        let no = Some(Value { value: false });
        match self.attribute.as_str() {
            "blockDeviceMapping" => answer.block_device_mapping = Some(item.block_device_mapping),
            "disableApiTermination" => answer.disable_api_termination = no,
            "disableApiStop" => answer.disable_api_stop = no,
            "ebsOptimized" => answer.ebs_optimized = no,
            "enaSupport" => answer.ena_support = no,
            "groupSet" => answer.group_set = Some(item.group_set),
            "instanceInitiatedShutdownBehavior" => {
                let value = if instance.shutdown_terminates { "terminate" } else { "stop" };
                answer.instance_initiated_shutdown_behavior = Some(Value { value });
            }
            "instanceType" => answer.instance_type = Some(Value { value: instance.instance_type.clone() }),
            "rootDeviceName" => answer.root_device_name = Some(Value { value: ROOT_DEVICE }),
            "sourceDestCheck" => answer.source_dest_check = Some(Value { value: true }),
            "userData" => {
                answer.user_data =
                    Some(UserData { value: instance.user_data.as_ref().map(|bytes| STANDARD.encode(bytes)) });
            }
            // They exist, and have no value here.
            "kernel" | "ramdisk" | "productCodes" | "sriovNetSupport" | "enclaveOptions" => {}
            other => {
                return Err(ApiError::invalid_parameter_value(format!(
                    "Value ({other}) for parameter attribute is invalid. Unknown attribute."
                )));
            }
        }
        Ok(answer)
    }
}

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ModifyInstanceAttribute.html>
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ModifyInstanceAttribute {
    instance_id: String,
    /// With `value`: the older way of naming the one to change.
    #[serde(default)]
    attribute: Option<String>,
    #[serde(default)]
    value: Option<String>,
    #[serde(default)]
    instance_type: Option<NewValue>,
    #[serde(default)]
    user_data: Option<NewValue>,
    #[serde(default)]
    instance_initiated_shutdown_behavior: Option<NewValue>,
    #[serde(default)]
    disable_api_termination: Option<NewValue>,
    #[serde(default, rename = "GroupId")]
    group_ids: Vec<String>,
    #[serde(default)]
    dry_run: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct NewValue {
    #[serde(default)]
    value: String,
}

impl Operation for ModifyInstanceAttribute {
    const ACTION: &'static str = "ModifyInstanceAttribute";
    type Output = Return;

    fn run(self, tx: &mut Transaction<'_>, _: &Caller<'_>) -> Result<Return, ApiError> {
        let mut instance = Instance::clone(&*identifiers::instance(tx, &self.instance_id)?);
        let old_form = |name: &str| match (&self.attribute, &self.value) {
            (Some(attribute), Some(value)) if attribute == name => Some(value.clone()),
            _ => None,
        };
        let known = ["instanceType", "userData", "instanceInitiatedShutdownBehavior", "disableApiTermination"];
        if let Some(attribute) = self.attribute.as_ref().filter(|attribute| !known.contains(&attribute.as_str())) {
            return Err(ApiError::unsupported(format!("The attribute {attribute} cannot be changed in this cloud.")));
        }
        let given =
            |new: &Option<NewValue>, name: &str| new.as_ref().map(|new| new.value.clone()).or_else(|| old_form(name));
        let must_be_stopped = |instance: &Instance| match instance.state {
            InstanceState::Stopped => Ok(()),
            _ => Err(ApiError::new(
                "IncorrectInstanceState",
                format!("The instance '{}' is not in the 'stopped' state.", instance.id),
            )),
        };
        if let Some(name) = given(&self.instance_type, "instanceType") {
            must_be_stopped(&instance)?;
            if instance_type::find(&name).is_none() {
                return Err(ApiError::invalid_parameter_value(format!("Invalid value '{name}' for InstanceType.")));
            }
            instance.instance_type = name;
        }
        if let Some(text) = given(&self.user_data, "userData") {
            must_be_stopped(&instance)?;
            instance.user_data = decode_user_data(&text)?;
        }
        if let Some(behaviour) = given(&self.instance_initiated_shutdown_behavior, "instanceInitiatedShutdownBehavior")
        {
            instance.shutdown_terminates = shutdown_terminates(&behaviour)?;
        }
        if given(&self.disable_api_termination, "disableApiTermination").is_some_and(|value| value != "false") {
            return Err(ApiError::unsupported(
                "Termination protection (DisableApiTermination) is not available in this cloud.",
            ));
        }
        if !self.group_ids.is_empty() {
            for id in &self.group_ids {
                identifiers::security_group(tx, Some(id), None)?;
            }
            instance.security_group_ids.clone_from(&self.group_ids);
        }
        dry_run::check(self.dry_run)?;
        tx.put(instance);
        Ok(Return::TRUE)
    }
}

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ModifyInstanceMetadataOptions.html>
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ModifyInstanceMetadataOptions {
    instance_id: String,
    #[serde(default)]
    http_tokens: Option<String>,
    #[serde(default)]
    http_endpoint: Option<String>,
    #[serde(default)]
    http_put_response_hop_limit: Option<u32>,
    #[serde(default)]
    http_protocol_ipv6: Option<String>,
    #[serde(default)]
    instance_metadata_tags: Option<String>,
    #[serde(default)]
    dry_run: Option<bool>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ModifiedMetadataOptions {
    instance_id: String,
    instance_metadata_options: MetadataOptionsItem,
}

impl Operation for ModifyInstanceMetadataOptions {
    const ACTION: &'static str = "ModifyInstanceMetadataOptions";
    type Output = ModifiedMetadataOptions;

    fn run(self, tx: &mut Transaction<'_>, _: &Caller<'_>) -> Result<ModifiedMetadataOptions, ApiError> {
        let mut instance = Instance::clone(&*identifiers::instance(tx, &self.instance_id)?);
        let options = MetadataOptions {
            http_tokens: self.http_tokens,
            http_endpoint: self.http_endpoint,
            http_put_response_hop_limit: self.http_put_response_hop_limit,
            http_protocol_ipv6: self.http_protocol_ipv6,
            instance_metadata_tags: self.instance_metadata_tags,
        };
        if let Some(required) = options.tokens_required()? {
            instance.metadata_tokens_required = required;
        }
        dry_run::check(self.dry_run)?;
        let instance_metadata_options = MetadataOptionsItem::new(&instance);
        let instance_id = instance.id.clone();
        tx.put(instance);
        Ok(ModifiedMetadataOptions { instance_id, instance_metadata_options })
    }
}
