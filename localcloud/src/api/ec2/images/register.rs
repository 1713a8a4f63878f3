//! RegisterImage and DeregisterImage. The snapshots of an image outlive it, and the root's can be registered again.

use std::{collections::BTreeSet, path::PathBuf};

use serde::{Deserialize, Serialize};

use super::{NewImage, check_name, own};
use crate::{
    api::{
        ec2::{
            block_devices::{self, BlockDeviceMapping},
            dry_run, identifiers,
            instance_types::architecture,
            snapshots,
            tag_specifications::{TagSpecification, tags_for},
        },
        error::ApiError,
        operation::{Caller, Operation, Return},
    },
    model::{
        id,
        image::{Image, ImageState},
        snapshot::{Snapshot, SnapshotState},
        time::Timestamp,
    },
    store::Transaction,
};

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_RegisterImage.html>
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct RegisterImage {
    name: String,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    image_location: Option<String>,
    #[serde(default)]
    architecture: Option<String>,
    #[serde(default)]
    root_device_name: Option<String>,
    #[serde(default)]
    virtualization_type: Option<String>,
    #[serde(default, rename = "EnaSupport")]
    _ena_support: Option<bool>,
    #[serde(default, rename = "BlockDeviceMapping")]
    block_device_mappings: Vec<BlockDeviceMapping>,
    #[serde(default, rename = "TagSpecification")]
    tag_specifications: Vec<TagSpecification>,
    #[serde(default)]
    dry_run: Option<bool>,
}

impl Operation for RegisterImage {
    const ACTION: &'static str = "RegisterImage";
    type Output = NewImage;

    fn run(self, tx: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<NewImage, ApiError> {
        check_name(tx, &self.name)?;
        if self.image_location.is_some() {
            return Err(ApiError::unsupported("Images from S3 (ImageLocation) are not available in this cloud."));
        }
        if self.virtualization_type.as_deref().is_some_and(|kind| kind != "hvm") {
            return Err(ApiError::unsupported("The only virtualization type of this cloud is 'hvm'."));
        }
        if let Some(other) = self.architecture.as_deref().filter(|name| *name != architecture()) {
            return Err(ApiError::invalid_parameter_value(format!(
                "Value ({other}) for parameter architecture is invalid. The only one of this machine is {}.",
                architecture()
            )));
        }
        if let Some(name) = self.root_device_name.as_deref().filter(|name| !block_devices::is_root(name)) {
            return Err(ApiError::invalid_parameter_value(format!("Invalid value '{name}' for rootDeviceName.")));
        }
        let root = self.block_device_mappings.iter().find_map(BlockDeviceMapping::root_snapshot);
        let root = match root {
            Some(id) => identifiers::snapshot(tx, id)?,
            None => {
                return Err(ApiError::new(
                    "InvalidBlockDeviceMapping",
                    "The root device needs a mapping with a snapshot of an image's root.",
                ));
            }
        };
        if !root.is_root {
            return Err(ApiError::unsupported(format!(
                "Instances boot from a tree of files in this cloud, and the snapshot '{}' is of a volume: use one of an image's root.",
                root.id
            )));
        }
        if root.state != SnapshotState::Completed {
            return Err(ApiError::new("IncorrectState", format!("The snapshot '{}' is not 'completed'.", root.id)));
        }
        let asked = block_devices::devices(&self.block_device_mappings)?;
        let block_devices = block_devices::merge(tx, &[], &asked)?;
        let tags = tags_for(&self.tag_specifications, "image", &["snapshot"])?;
        dry_run::check(self.dry_run)?;
        let image = Image {
            id: id::new("ami"),
            name: self.name,
            description: self.description.unwrap_or_default(),
            owner_id: caller.account_id.clone(),
            public: false,
            architecture: self.architecture.unwrap_or_else(|| architecture().to_owned()),
            root: PathBuf::new(),
            created: Timestamp::now(),
            state: ImageState::Pending,
            state_reason: None,
            root_snapshot: Some(root.id.clone()),
            source_instance: None,
            no_reboot: true,
            block_devices,
            launch_permissions: BTreeSet::new(),
            client_token: None,
            tags,
        };
        let image_id = image.id.clone();
        tx.put(image);
        Ok(NewImage { image_id })
    }
}

/// Instances of it go on, and can be stopped and started
/// (<https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DeregisterImage.html>).
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DeregisterImage {
    image_id: String,
    #[serde(default)]
    delete_associated_snapshots: Option<bool>,
    #[serde(default)]
    dry_run: Option<bool>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Deregistered {
    #[serde(flatten)]
    done: Return,
    delete_snapshot_result_set: Vec<Deleted>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Deleted {
    snapshot_id: String,
    return_code: &'static str,
}

impl Operation for DeregisterImage {
    const ACTION: &'static str = "DeregisterImage";
    type Output = Deregistered;

    fn run(self, tx: &mut Transaction<'_>, _: &Caller<'_>) -> Result<Deregistered, ApiError> {
        let image = identifiers::image(tx, &self.image_id)?;
        own(&image)?;
        dry_run::check(self.dry_run)?;
        tx.delete::<Image>(&image.id);
        let mut delete_snapshot_result_set = Vec::new();
        if self.delete_associated_snapshots == Some(true) {
            let of_devices = image.block_devices.iter().filter_map(|device| device.snapshot_id.as_ref());
            for id in image.root_snapshot.iter().chain(of_devices) {
                let return_code = if snapshots::image_of(tx, id).is_some() {
                    "skipped"
                } else {
                    tx.update::<Snapshot>(id, |snapshot| snapshot.state = SnapshotState::Deleting);
                    "success"
                };
                delete_snapshot_result_set.push(Deleted { snapshot_id: id.clone(), return_code });
            }
        }
        Ok(Deregistered { done: Return::TRUE, delete_snapshot_result_set })
    }
}
