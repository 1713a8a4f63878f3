//! Images: those that were built on this machine, and those made of instances. One of an instance is a tree of files, kept
//! as a snapshot of the instance's root, and snapshots of its volumes.

/// DescribeImageAttribute, ModifyImageAttribute, ResetImageAttribute.
pub mod attributes;
/// CopyImage.
pub mod copy;
/// CreateImage.
pub mod create;
/// DescribeImages.
pub mod describe;
/// RegisterImage, DeregisterImage.
pub mod register;

use serde::Serialize;

use super::block_devices::MappingItem;
use crate::{
    api::error::ApiError,
    model::image::{Image, ImageState},
    store::Transaction,
};

/// What DescribeImages tells of a root, which has as much room as the machine's own disk.
pub(super) const ROOT_SIZE_GIB: u32 = 8;

/// What all actions answer that make an image.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NewImage {
    image_id: String,
}

pub(super) fn state_name(state: ImageState) -> &'static str {
    match state {
        ImageState::Pending => "pending",
        ImageState::Available => "available",
        ImageState::Failed => "failed",
    }
}

fn mappings(image: &Image) -> Vec<MappingItem> {
    let device = super::instances::parameters::ROOT_DEVICE;
    let root = MappingItem::root(device, image.root_snapshot.as_deref(), ROOT_SIZE_GIB);
    std::iter::once(root).chain(image.block_devices.iter().map(MappingItem::from)).collect()
}

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateImage.html>
fn check_name(tx: &mut Transaction<'_>, name: &str) -> Result<(), ApiError> {
    let fits = |character: char| character.is_ascii_alphanumeric() || "()[] ./-'@_".contains(character);
    if !(3..=128).contains(&name.chars().count()) || !name.chars().all(fits) {
        return Err(ApiError::new(
            "InvalidAMIName.Malformed",
            "AMI names must be between 3 and 128 characters long, and may contain letters, numbers, '(', ')', '.', '-', '/' and '_'",
        ));
    }
    match tx.list::<Image>().iter().find(|image| image.name == name && image.state != ImageState::Failed) {
        Some(image) => Err(ApiError::new(
            "InvalidAMIName.Duplicate",
            format!("AMI name {name} is already in use by AMI {}", image.id),
        )),
        None => Ok(()),
    }
}

/// Images that were built on this machine are not the caller's to change.
fn own(image: &Image) -> Result<(), ApiError> {
    match image.root_snapshot {
        Some(_) => Ok(()),
        None => Err(ApiError::new("AuthFailure", format!("Not authorized for images: [{}]", image.id)).status(403)),
    }
}
