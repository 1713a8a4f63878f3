//! DescribeImages. Images are built on the machine, not registered by the API.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    dry_run,
    filters::{self, Column, Filter},
    identifiers,
    instances::parameters::ROOT_DEVICE,
    pagination,
    tag_specifications::{TagItem, tag_set},
};
use crate::{
    api::{
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
    image_owner_id: String,
    is_public: bool,
    product_codes: Vec<String>,
    architecture: String,
    image_type: &'static str,
    name: String,
    description: String,
    root_device_type: &'static str,
    root_device_name: &'static str,
    block_device_mapping: Vec<String>,
    virtualization_type: &'static str,
    hypervisor: &'static str,
    tag_set: Vec<TagItem>,
    creation_date: String,
}

impl From<&Image> for ImageItem {
    fn from(image: &Image) -> Self {
        Self {
            image_id: image.id.clone(),
            image_location: format!("{}/{}", image.owner_id, image.name),
            image_state: "available",
            image_owner_id: image.owner_id.clone(),
            is_public: image.public,
            product_codes: Vec::new(),
            architecture: image.architecture.clone(),
            image_type: "machine",
            name: image.name.clone(),
            description: image.description.clone(),
            root_device_type: "ebs",
            root_device_name: ROOT_DEVICE,
            block_device_mapping: Vec::new(),
            virtualization_type: "hvm",
            hypervisor: "xen",
            tag_set: tag_set(&image.tags),
            creation_date: image.created.to_string(),
        }
    }
}

const COLUMNS: &[Column<Arc<Image>>] = &[
    ("architecture", |image| vec![image.architecture.clone()]),
    ("creation-date", |image| vec![image.created.to_string()]),
    ("description", |image| vec![image.description.clone()]),
    ("hypervisor", |_| vec!["xen".to_owned()]),
    ("image-id", |image| vec![image.id.clone()]),
    ("image-type", |_| vec!["machine".to_owned()]),
    ("is-public", |image| vec![image.public.to_string()]),
    ("manifest-location", |image| vec![format!("{}/{}", image.owner_id, image.name)]),
    ("name", |image| vec![image.name.clone()]),
    ("owner-alias", |_| Vec::new()),
    ("owner-id", |image| vec![image.owner_id.clone()]),
    ("platform", |_| Vec::new()),
    ("root-device-name", |_| vec![ROOT_DEVICE.to_owned()]),
    ("root-device-type", |_| vec!["ebs".to_owned()]),
    ("state", |_| vec!["available".to_owned()]),
    ("virtualization-type", |_| vec!["hvm".to_owned()]),
];

impl Operation for DescribeImages {
    const ACTION: &'static str = "DescribeImages";
    type Output = Images;

    fn run(self, tx: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<Images, ApiError> {
        dry_run::check(self.dry_run)?;
        let mut images = tx.list::<Image>();
        if !self.image_ids.is_empty() {
            for id in &self.image_ids {
                identifiers::check_form("InvalidAMIID", id, &["ami-", "emi-"])?;
                if !images.iter().any(|image| image.id == *id) {
                    return Err(ApiError::new(
                        "InvalidAMIID.NotFound",
                        format!("The image id '[{id}]' does not exist"),
                    ));
                }
            }
            images.retain(|image| self.image_ids.contains(&image.id));
        }
        let of = |wanted: &str, image: &Image| match wanted {
            "self" => image.owner_id == caller.account_id,
            other => image.owner_id == other,
        };
        if !self.owners.is_empty() {
            images.retain(|image| self.owners.iter().any(|owner| of(owner, image)));
        }
        if !self.executable_by.is_empty() {
            images.retain(|image| {
                self.executable_by.iter().any(|user| (user == "all" && image.public) || of(user, image))
            });
        }
        let images = filters::retain(&self.filters, COLUMNS, Some(|image| &image.tags), images)?;
        let (images, next_token) =
            pagination::page(images, |image| image.id.clone(), self.max_results, self.next_token.as_deref())?;
        Ok(Images { images_set: images.iter().map(|image| ImageItem::from(&**image)).collect(), next_token })
    }
}
