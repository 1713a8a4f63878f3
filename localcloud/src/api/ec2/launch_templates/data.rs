//! A version's data in an answer: what was given, in the answers' names.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Serialize;

use crate::{
    api::ec2::{
        block_devices::MappingItem,
        tag_specifications::{TagItem, tag_set},
    },
    model::launch_template::LaunchData,
};

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DataItem {
    image_id: Option<String>,
    instance_type: Option<String>,
    key_name: Option<String>,
    security_group_id_set: Option<Vec<String>>,
    iam_instance_profile: Option<ProfileItem>,
    block_device_mapping_set: Option<Vec<MappingItem>>,
    disable_api_termination: Option<bool>,
    disable_api_stop: Option<bool>,
    ebs_optimized: Option<bool>,
    placement: Option<PlacementItem>,
    user_data: Option<String>,
    monitoring: Option<MonitoringItem>,
    instance_initiated_shutdown_behavior: Option<&'static str>,
    metadata_options: Option<MetadataItem>,
    tag_specification_set: Option<Vec<TagSpecificationItem>>,
}

#[derive(Debug, Serialize)]
struct ProfileItem {
    name: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PlacementItem {
    availability_zone: String,
}

#[derive(Debug, Serialize)]
struct MonitoringItem {
    enabled: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct MetadataItem {
    http_tokens: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct TagSpecificationItem {
    resource_type: String,
    tag_set: Vec<TagItem>,
}

impl From<&LaunchData> for DataItem {
    fn from(data: &LaunchData) -> Self {
        let groups = Some(data.security_group_ids.clone()).filter(|ids| !ids.is_empty());
        let specification = |(resource_type, tags): (&String, &_)| TagSpecificationItem {
            resource_type: resource_type.clone(),
            tag_set: tag_set(tags),
        };
        Self {
            image_id: data.image_id.clone(),
            instance_type: data.instance_type.clone(),
            key_name: data.key_name.clone(),
            security_group_id_set: groups,
            iam_instance_profile: data.instance_profile.clone().map(|name| ProfileItem { name }),
            block_device_mapping_set: (!data.block_devices.is_empty())
                .then(|| data.block_devices.iter().map(MappingItem::from).collect()),
            disable_api_termination: data.disable_api_termination.then_some(true),
            disable_api_stop: data.disable_api_stop.then_some(true),
            ebs_optimized: data.ebs_optimized.then_some(true),
            placement: data.zone.clone().map(|availability_zone| PlacementItem { availability_zone }),
            user_data: data.user_data.as_ref().map(|bytes| STANDARD.encode(bytes)),
            monitoring: data.monitoring.then_some(MonitoringItem { enabled: true }),
            instance_initiated_shutdown_behavior: data.shutdown_terminates.then_some("terminate"),
            metadata_options: data.metadata_tokens_required.then_some(MetadataItem { http_tokens: "required" }),
            tag_specification_set: (!data.tag_specifications.is_empty())
                .then(|| data.tag_specifications.iter().map(specification).collect()),
        }
    }
}
