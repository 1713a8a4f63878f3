//! DescribeImages.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{mappings, state_name};
use crate::{
    api::{
        ec2::{
            block_devices::MappingItem,
            dry_run,
            filters::{self, Column, Filter},
            identifiers,
            instances::parameters::ROOT_DEVICE,
            pagination,
            tag_specifications::{TagItem, tag_set},
        },
        error::ApiError,
        operation::{Caller, Operation},
    },
    model::image::Image,
    store::Transaction,
};

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeImages.html>
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DescribeImages {
    #[serde(default, rename = "ImageId")]
    image_ids: Vec<String>,
    #[serde(default, rename = "Owner")]
    owners: Vec<String>,
    #[serde(default, rename = "ExecutableBy")]
    executable_by: Vec<String>,
    #[serde(default, rename = "Filter")]
    filters: Vec<Filter>,
    /// There are no deprecated and no disabled images.
    #[serde(default, rename = "IncludeDeprecated")]
    _include_deprecated: Option<bool>,
    #[serde(default, rename = "IncludeDisabled")]
    _include_disabled: Option<bool>,
    #[serde(default)]
    max_results: Option<u32>,
    #[serde(default)]
    next_token: Option<String>,
    #[serde(default)]
    dry_run: Option<bool>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Images {
    images_set: Vec<ImageItem>,
    next_token: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ImageItem {
    image_id: String,
    image_location: String,
    image_state: &'static str,
    state_reason: Option<Reason>,
    /// Images that were built on this machine are the cloud's own.
    image_owner_alias: Option<&'static str>,
    image_owner_id: String,
    is_public: bool,
    product_codes: Vec<String>,
    architecture: String,
    image_type: &'static str,
    name: String,
    description: String,
    root_device_type: &'static str,
    root_device_name: &'static str,
    block_device_mapping: Vec<MappingItem>,
    virtualization_type: &'static str,
    hypervisor: &'static str,
    tag_set: Vec<TagItem>,
    creation_date: String,
    ena_support: bool,
    platform_details: &'static str,
    usage_operation: &'static str,
    imds_support: &'static str,
    source_instance_id: Option<String>,
}

#[derive(Debug, Serialize)]
struct Reason {
    code: &'static str,
    message: String,
}

fn alias(image: &Image) -> Option<&'static str> {
    image.root_snapshot.is_none().then_some("amazon")
}

/// Snapshots of its volumes, and of its root.
fn snapshots(image: &Image) -> Vec<String> {
    image
        .root_snapshot
        .iter()
        .chain(image.block_devices.iter().filter_map(|device| device.snapshot_id.as_ref()))
        .cloned()
        .collect()
}

fn of_mappings(image: &Image, of: impl Fn(&MappingItem) -> Option<String>) -> Vec<String> {
    mappings(image).iter().filter_map(of).collect()
}

impl From<&Image> for ImageItem {
    fn from(image: &Image) -> Self {
        Self {
            image_id: image.id.clone(),
            image_location: format!("{}/{}", image.owner_id, image.name),
            image_state: state_name(image.state),
            state_reason: image.state_reason.clone().map(|message| Reason { code: "Server.InternalError", message }),
            image_owner_alias: alias(image),
            image_owner_id: image.owner_id.clone(),
            is_public: image.public,
            product_codes: Vec::new(),
            architecture: image.architecture.clone(),
            image_type: "machine",
            name: image.name.clone(),
            description: image.description.clone(),
            root_device_type: "ebs",
            root_device_name: ROOT_DEVICE,
            block_device_mapping: mappings(image),
            virtualization_type: "hvm",
            hypervisor: "xen",
            tag_set: tag_set(&image.tags),
            creation_date: image.created.to_string(),
            ena_support: true,
            platform_details: "Linux/UNIX",
            usage_operation: "RunInstances",
            imds_support: "v2.0",
            source_instance_id: image.source_instance.clone(),
        }
    }
}

const COLUMNS: &[Column<Arc<Image>>] = &[
    ("architecture", |image| vec![image.architecture.clone()]),
    ("block-device-mapping.delete-on-termination", |image| {
        of_mappings(image, |item| item.ebs.as_ref().map(|ebs| ebs.delete_on_termination.to_string()))
    }),
    ("block-device-mapping.device-name", |image| of_mappings(image, |item| Some(item.device_name.clone()))),
    ("block-device-mapping.encrypted", |_| vec!["false".to_owned()]),
    ("block-device-mapping.snapshot-id", |image| snapshots(image)),
    ("block-device-mapping.volume-size", |image| {
        of_mappings(image, |item| item.ebs.as_ref().and_then(|ebs| ebs.volume_size).map(|size| size.to_string()))
    }),
    ("block-device-mapping.volume-type", |image| {
        of_mappings(image, |item| item.ebs.as_ref().and_then(|ebs| ebs.volume_type.clone()))
    }),
    ("creation-date", |image| vec![image.created.to_string()]),
    ("description", |image| vec![image.description.clone()]),
    ("ena-support", |_| vec!["true".to_owned()]),
    ("hypervisor", |_| vec!["xen".to_owned()]),
    ("image-id", |image| vec![image.id.clone()]),
    ("image-type", |_| vec!["machine".to_owned()]),
    ("imds-support", |_| vec!["v2.0".to_owned()]),
    ("is-public", |image| vec![image.public.to_string()]),
    ("manifest-location", |image| vec![format!("{}/{}", image.owner_id, image.name)]),
    ("name", |image| vec![image.name.clone()]),
    ("owner-alias", |image| alias(image).map(str::to_owned).into_iter().collect()),
    ("owner-id", |image| vec![image.owner_id.clone()]),
    ("platform", |_| Vec::new()),
    ("root-device-name", |_| vec![ROOT_DEVICE.to_owned()]),
    ("root-device-type", |_| vec!["ebs".to_owned()]),
    ("source-instance-id", |image| image.source_instance.iter().cloned().collect()),
    ("state", |image| vec![state_name(image.state).to_owned()]),
    ("state-reason-message", |image| image.state_reason.iter().cloned().collect()),
    ("virtualization-type", |_| vec!["hvm".to_owned()]),
];

impl Operation for DescribeImages {
    const ACTION: &'static str = "DescribeImages";
    type Output = Images;

    fn run(self, tx: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<Images, ApiError> {
        dry_run::check(self.dry_run)?;
        if self.max_results.is_some() && !self.image_ids.is_empty() {
            return Err(pagination::ids_with_max_results("imagesSet"));
        }
        let mut images = tx.list::<Image>();
        if !self.image_ids.is_empty() {
            identifiers::images(tx, &self.image_ids)?;
            images.retain(|image| self.image_ids.contains(&image.id));
        }
        let of = |wanted: &str, image: &Image| match wanted {
            "amazon" => alias(image).is_some(),
            "self" => image.owner_id == caller.account_id,
            other => image.owner_id == other,
        };
        if !self.owners.is_empty() {
            images.retain(|image| self.owners.iter().any(|owner| of(owner, image)));
        }
        if !self.executable_by.is_empty() {
            images.retain(|image| {
                self.executable_by.iter().any(|user| {
                    (user == "all" && image.public) || of(user, image) || image.launch_permissions.contains(user)
                })
            });
        }
        let images = filters::retain(&self.filters, COLUMNS, Some(|image| &image.tags), images)?;
        let (images, next_token) =
            pagination::page(images, |image| image.id.clone(), self.max_results, self.next_token.as_deref())?;
        Ok(Images { images_set: images.iter().map(|image| ImageItem::from(&**image)).collect(), next_token })
    }
}
