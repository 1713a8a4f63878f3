//! Images that were baked off a VM of the stack, by kind of VM. Later launches of that kind boot the newest. As a backup,
//! no declaration names them; unlike one they hold no data, and go with every teardown.

use aws_sdk_ec2::types::{
    BlockDeviceMapping, Filter, Image, ImageState, Instance, ResourceType, Tag, TagSpecification,
};

use crate::cloud::retry::{CloudError, found_if_known, gone};
use crate::cloud::{Cloud, RESOURCE_TAG, STACK_TAG};
use crate::resource::{CloudResult, ResourceKey};

/// On an image: the one under it.
const BASE_TAG: &str = "imagecrud:base-image";

/// The key of all images of a kind of VM, `web` or `database`.
pub fn key(kind: &str) -> ResourceKey {
    ResourceKey::new("image", kind)
}

/// Whether an image was baked, for whatever stack: then it is no base for others.
pub fn is_baked(image: &Image) -> bool {
    image.tags().iter().any(|tag| tag.key() == Some(STACK_TAG))
}

/// All images of the stack, oldest first.
pub async fn list(cloud: &Cloud) -> CloudResult<Vec<Image>> {
    let request = cloud.ec2.describe_images().owners("self").filters(cloud.stack_filter());
    let answer = found_if_known(request.send().await.map_err(CloudError::from))?;
    Ok(among(cloud, answer.map(|answer| answer.images().to_vec()).unwrap_or_default()))
}

/// Those of the stack among others, oldest first.
pub fn among(cloud: &Cloud, mut images: Vec<Image>) -> Vec<Image> {
    images.retain(|image| tag(image, STACK_TAG) == Some(&cloud.stack));
    images.sort_by(|a, b| a.creation_date().cmp(&b.creation_date()));
    images
}

fn tag<'i>(image: &'i Image, key: &str) -> Option<&'i str> {
    image.tags().iter().find(|tag| tag.key() == Some(key)).and_then(Tag::value)
}

/// The kind of VM that an image is for.
pub fn kind_of(image: &Image) -> &str {
    tag(image, RESOURCE_TAG).and_then(|key| key.strip_prefix("image/")).unwrap_or_default()
}

/// The image under a baked one.
pub fn base_of(image: &Image) -> Option<&str> {
    tag(image, BASE_TAG)
}

/// The image that later launches of a kind boot, if one was baked.
pub fn newest<'i>(images: &'i [Image], kind: &str) -> Option<&'i Image> {
    images.iter().rev().find(|image| image.state() == Some(&ImageState::Available) && kind_of(image) == kind)
}

/// Begins an image off a running VM, which goes on running; without the volumes that are attached to it.
pub async fn create(cloud: &Cloud, kind: &str, name: &str, instance: &Instance, base: &str) -> CloudResult<String> {
    let root = instance.root_device_name();
    let attached = instance.block_device_mappings().iter().filter_map(|mapping| mapping.device_name());
    let left_out: Vec<BlockDeviceMapping> = attached
        .filter(|device| Some(*device) != root)
        .map(|device| BlockDeviceMapping::builder().device_name(device).no_device("").build())
        .collect();
    let mut tags = cloud.ec2_tags(&key(kind));
    tags.push(Tag::builder().key(BASE_TAG).value(base).build());
    let specifications = cloud.capabilities.tags_at_creation.then(|| {
        let of_image = TagSpecification::builder().resource_type(ResourceType::Image);
        vec![of_image.set_tags(Some(tags.clone())).build()]
    });
    let create = cloud.ec2.create_image().instance_id(instance.instance_id().unwrap_or_default()).name(name);
    let create = create.no_reboot(true).set_tag_specifications(specifications);
    let create = create.set_block_device_mappings((!left_out.is_empty()).then_some(left_out));
    let id = match create.send().await.map_err(CloudError::from) {
        Ok(answer) => answer.image_id().unwrap_or_default().to_owned(),
        // Made by a call whose answer was lost: the name is this run's alone.
        Err(error) if error.code() == "InvalidAMIName.Duplicate" => {
            let filter = Filter::builder().name("name").values(name).build();
            let answer = cloud.ec2.describe_images().owners("self").filters(filter).send().await?;
            answer.images().first().and_then(Image::image_id).ok_or(error)?.to_owned()
        }
        Err(error) => return Err(error),
    };
    if !cloud.capabilities.tags_at_creation {
        cloud.ec2.create_tags().resources(&id).set_tags(Some(tags)).send().await?;
    }
    Ok(id)
}

/// One image as EC2 shows it now.
pub async fn find(cloud: &Cloud, id: &str) -> CloudResult<Option<Image>> {
    let answer = cloud.ec2.describe_images().image_ids(id).send().await.map_err(CloudError::from);
    Ok(crate::cloud::retry::found(answer)?.and_then(|answer| answer.images().first().cloned()))
}

/// The snapshots that an image is made of.
fn snapshots(image: &Image) -> Vec<String> {
    let volumes = image.block_device_mappings().iter().filter_map(|mapping| mapping.ebs());
    volumes.filter_map(|volume| volume.snapshot_id().map(str::to_owned)).collect()
}

/// Tags the snapshots of an image, so that they are found should they ever outlive it.
pub async fn tag_snapshots(cloud: &Cloud, kind: &str, image: &Image) -> CloudResult<()> {
    let snapshots = snapshots(image);
    if !snapshots.is_empty() {
        let tags = cloud.ec2_tags(&key(kind));
        cloud.ec2.create_tags().set_resources(Some(snapshots)).set_tags(Some(tags)).send().await?;
    }
    Ok(())
}

/// Deletes an image and the snapshots that it is made of.
pub async fn delete(cloud: &Cloud, id: &str) -> CloudResult<()> {
    let image = find(cloud, id).await?;
    gone(cloud.ec2.deregister_image().image_id(id).send().await.map_err(CloudError::from))?;
    for snapshot in image.iter().flat_map(snapshots) {
        gone(cloud.ec2.delete_snapshot().snapshot_id(snapshot).send().await.map_err(CloudError::from))?;
    }
    Ok(())
}
