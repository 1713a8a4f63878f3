//! DescribeInstanceAttribute.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};

use super::{
    super::{dry_run, identifiers},
    item::{DeviceItem, GroupItem, InstanceItem, Surroundings},
    parameters::ROOT_DEVICE,
};
use crate::{
    api::{
        error::ApiError,
        operation::{Caller, Operation},
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
        let item = InstanceItem::new(&Surroundings::load(tx, caller.site), &instance);
        let attributes = &instance.attributes;
        let told = |value: bool| Some(Value { value });
        match self.attribute.as_str() {
            "blockDeviceMapping" => answer.block_device_mapping = Some(item.block_device_mapping),
            "disableApiTermination" => answer.disable_api_termination = told(attributes.disable_api_termination),
            "disableApiStop" => answer.disable_api_stop = told(attributes.disable_api_stop),
            "ebsOptimized" => answer.ebs_optimized = told(attributes.ebs_optimized),
            "enaSupport" => answer.ena_support = told(true),
            "groupSet" => answer.group_set = Some(item.group_set),
            "instanceInitiatedShutdownBehavior" => {
                let value = if instance.shutdown_terminates { "terminate" } else { "stop" };
                answer.instance_initiated_shutdown_behavior = Some(Value { value });
            }
            "instanceType" => answer.instance_type = Some(Value { value: instance.instance_type.clone() }),
            "rootDeviceName" => answer.root_device_name = Some(Value { value: ROOT_DEVICE }),
            "sourceDestCheck" => answer.source_dest_check = told(!attributes.source_dest_check_off),
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
