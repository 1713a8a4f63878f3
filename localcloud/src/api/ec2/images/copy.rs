//! CopyImage, within the region: an image with snapshots of its own.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::{NewImage, ROOT_SIZE_GIB, check_name, state_name};
use crate::{
    api::{
        ec2::{
            dry_run, identifiers,
            snapshots::{check_region, pending},
            tag_specifications::{TagSpecification, tags_for},
        },
        error::ApiError,
        operation::{Caller, Operation},
    },
    model::{
        id,
        image::{Image, ImageState},
        snapshot::{Snapshot, Source},
        tag::Tags,
        time::Timestamp,
    },
    store::Transaction,
};

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CopyImage.html>
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct CopyImage {
    name: String,
    source_image_id: String,
    source_region: String,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    encrypted: Option<bool>,
    #[serde(default)]
    copy_image_tags: Option<bool>,
    #[serde(default)]
    client_token: Option<String>,
    #[serde(default, rename = "TagSpecification")]
    tag_specifications: Vec<TagSpecification>,
    #[serde(default)]
    dry_run: Option<bool>,
}

impl Operation for CopyImage {
    const ACTION: &'static str = "CopyImage";
    type Output = NewImage;

    fn run(self, tx: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<NewImage, ApiError> {
        check_region(caller, &self.source_region)?;
        let client_token = self.client_token.filter(|token| !token.is_empty());
        if let Some(token) = &client_token
            && let Some(earlier) = tx.list::<Image>().iter().find(|image| image.client_token.as_ref() == Some(token))
        {
            return Ok(NewImage { image_id: earlier.id.clone() });
        }
        if self.encrypted == Some(true) {
            return Err(ApiError::unsupported("Images of this cloud are not encrypted."));
        }
        let source = identifiers::image(tx, &self.source_image_id)?;
        if source.state != ImageState::Available {
            return Err(ApiError::new(
                "InvalidAMIID.Unavailable",
                format!("The image ID '{}' is not available: it is {}", source.id, state_name(source.state)),
            ));
        }
        let Some(root) = &source.root_snapshot else {
            return Err(ApiError::unsupported(
                "An image that was built on this machine has no snapshot to copy: launch an instance of it, and use CreateImage.",
            ));
        };
        check_name(tx, &self.name)?;
        let mut tags = if self.copy_image_tags == Some(true) { source.tags.clone() } else { Tags::new() };
        tags.extend(tags_for(&self.tag_specifications, "image", &["snapshot"])?);
        let snapshot_tags = tags_for(&self.tag_specifications, "snapshot", &["image"])?;
        dry_run::check(self.dry_run)?;

        let image_id = id::new("ami");
        let description = format!("Copied for DestinationAmi {image_id} from SourceAmi {}", source.id);
        let copy = |tx: &mut Transaction<'_>, of: &str, is_root: bool, size_gib: u32| {
            let source = Source::Snapshot(of.to_owned());
            let snapshot = Snapshot {
                is_root,
                image_id: Some(image_id.clone()),
                ..pending(source, size_gib, description.clone(), &caller.account_id, snapshot_tags.clone())
            };
            let id = snapshot.id.clone();
            tx.put(snapshot);
            id
        };
        let root_snapshot = Some(copy(tx, root, true, ROOT_SIZE_GIB));
        let mut block_devices = source.block_devices.clone();
        for device in &mut block_devices {
            if let Some(of) = &device.snapshot_id {
                let size_gib = tx.get::<Snapshot>(of).map_or(1, |snapshot| snapshot.size_gib);
                device.snapshot_id = Some(copy(tx, of, false, size_gib));
            }
        }
        tx.put(Image {
            id: image_id.clone(),
            name: self.name,
            description: self.description.unwrap_or_else(|| source.description.clone()),
            public: false,
            created: Timestamp::now(),
            state: ImageState::Pending,
            root_snapshot,
            source_instance: None,
            block_devices,
            launch_permissions: BTreeSet::new(),
            client_token,
            tags,
            ..Image::clone(&source)
        });
        Ok(NewImage { image_id })
    }
}
