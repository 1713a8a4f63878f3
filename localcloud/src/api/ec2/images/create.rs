//! CreateImage: an image off an instance, with snapshots of its volumes. The instance is rebooted for it, unless that is
//! not wanted, so that the image is of a system that was shut down in order.

use std::{collections::BTreeSet, path::PathBuf};

use serde::Deserialize;

use super::{NewImage, ROOT_SIZE_GIB, check_name};
use crate::{
    api::{
        ec2::{
            block_devices::{self, BlockDeviceMapping},
            dry_run, identifiers,
            instance_types::architecture,
            snapshots::{pending, volumes_of},
            tag_specifications::{TagSpecification, tags_for},
        },
        error::ApiError,
        operation::{Caller, Operation},
    },
    model::{
        block_device::BlockDevice,
        id,
        image::{Image, ImageState},
        instance::{Instance, InstanceState},
        snapshot::{Snapshot, Source},
        time::Timestamp,
    },
    store::Transaction,
};

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateImage.html>
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct CreateImage {
    instance_id: String,
    name: String,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    no_reboot: Option<bool>,
    #[serde(default, rename = "BlockDeviceMapping")]
    block_device_mappings: Vec<BlockDeviceMapping>,
    #[serde(default, rename = "TagSpecification")]
    tag_specifications: Vec<TagSpecification>,
    #[serde(default)]
    dry_run: Option<bool>,
}

impl Operation for CreateImage {
    const ACTION: &'static str = "CreateImage";
    type Output = NewImage;

    fn run(self, tx: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<NewImage, ApiError> {
        let instance = identifiers::instance(tx, &self.instance_id)?;
        if !matches!(instance.state, InstanceState::Running | InstanceState::Stopped) {
            let (_, state) = instance.state.wire();
            return Err(ApiError::new(
                "IncorrectInstanceState",
                format!("The instance '{}' is neither 'running' nor 'stopped': it is {state}.", instance.id),
            ));
        }
        check_name(tx, &self.name)?;
        let tags = tags_for(&self.tag_specifications, "image", &["snapshot"])?;
        let snapshot_tags = tags_for(&self.tag_specifications, "snapshot", &["image"])?;
        let asked = block_devices::devices(&self.block_device_mappings)?;
        let volumes = volumes_of(tx, &instance.id);
        let attached: Vec<(String, String)> = volumes
            .iter()
            .filter_map(|volume| volume.attachment.as_ref().map(|at| (at.device.clone(), volume.id.clone())))
            .collect();
        let is_attached = |device: &str| attached.iter().any(|(other, _)| other == device);
        if let Some(unknown) = asked.iter().find(|device| device.no_device && !is_attached(&device.device)) {
            return Err(ApiError::new(
                "InvalidBlockDeviceMapping",
                format!("No device {} is attached to the instance", unknown.device),
            ));
        }
        let base = tx.get::<Image>(&instance.image_id);
        let architecture = base.map_or_else(|| architecture().to_owned(), |image| image.architecture.clone());
        dry_run::check(self.dry_run)?;

        let image_id = id::new("ami");
        let description = format!("Created by CreateImage({}) for {image_id}", instance.id);
        let take = |tx: &mut Transaction<'_>, source: Source, size_gib: u32| {
            let snapshot = Snapshot {
                image_id: Some(image_id.clone()),
                ..pending(source, size_gib, description.clone(), &caller.account_id, snapshot_tags.clone())
            };
            let id = snapshot.id.clone();
            tx.put(snapshot);
            id
        };
        let root = take(tx, Source::Root { instance_id: instance.id.clone() }, ROOT_SIZE_GIB);
        let mut block_devices = Vec::new();
        for volume in &volumes {
            let Some(attachment) = &volume.attachment else { continue };
            let wanted = asked.iter().find(|device| device.device == attachment.device);
            if wanted.is_some_and(|device| device.no_device) {
                continue;
            }
            let size_gib = wanted.and_then(|device| device.size_gib).unwrap_or(volume.size_gib).max(volume.size_gib);
            let snapshot_id = take(tx, Source::Volume(volume.id.clone()), volume.size_gib);
            block_devices.push(BlockDevice {
                device: attachment.device.clone(),
                snapshot_id: Some(snapshot_id),
                size_gib: Some(size_gib),
                volume_type: wanted
                    .and_then(|device| device.volume_type.clone())
                    .or_else(|| Some(volume.volume_type.clone())),
                delete_on_termination: wanted
                    .map_or(attachment.delete_on_termination, |device| device.delete_on_termination),
                no_device: false,
            });
        }
        // Others than those that are attached are made with each instance, empty or of their own snapshots.
        let others: Vec<BlockDevice> =
            asked.into_iter().filter(|device| !device.no_device && !is_attached(&device.device)).collect();
        block_devices.extend(block_devices::merge(tx, &[], &others)?);
        let no_reboot = self.no_reboot == Some(true) || instance.state == InstanceState::Stopped;
        if !no_reboot {
            tx.update::<Instance>(&instance.id, |instance| instance.reboot_requested = true);
        }
        tx.put(Image {
            id: image_id.clone(),
            name: self.name,
            description: self.description.unwrap_or_default(),
            owner_id: caller.account_id.clone(),
            public: false,
            architecture,
            // Where its tree is, the reconciler writes down when it is there.
            root: PathBuf::new(),
            created: Timestamp::now(),
            state: ImageState::Pending,
            state_reason: None,
            root_snapshot: Some(root),
            source_instance: Some(instance.id.clone()),
            no_reboot,
            block_devices,
            launch_permissions: BTreeSet::new(),
            client_token: None,
            tags,
        });
        Ok(NewImage { image_id })
    }
}
