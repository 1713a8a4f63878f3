//! Snapshots of the data volume, and the volumes that a restore makes of them or leaves behind. No declaration names
//! them: they come and go by the user's word, carry the stack's tag, and are its data.

use aws_sdk_ec2::types::{Filter, ResourceType, Snapshot, Tag, Volume, VolumeState};

use crate::cloud::retry::{CloudError, found, gone};
use crate::cloud::{Cloud, RESOURCE_TAG, STACK_TAG};
use crate::resource::{ClientToken, CloudResult, ResourceKey};
use crate::resources::{keys, new_volume};

/// On a volume made of a backup: which one.
const RESTORED_FROM_TAG: &str = "imagecrud:restored-from";

/// The key of every backup.
pub fn backup_key() -> ResourceKey {
    ResourceKey::new("backup", "mysql-data")
}

/// A volume made of a backup that has not taken the data volume's place yet.
pub fn restored_key() -> ResourceKey {
    ResourceKey::new("volume", "mysql-data-restored")
}

/// A volume whose place a restored one has taken.
pub fn former_key() -> ResourceKey {
    ResourceKey::new("volume", "mysql-data-former")
}

/// The stack's backups, oldest first.
pub async fn list(cloud: &Cloud) -> CloudResult<Vec<Snapshot>> {
    let mut all = Vec::new();
    let mut next: Option<String> = None;
    loop {
        let request = cloud.ec2.describe_snapshots().owner_ids("self").set_next_token(next);
        let filters = cloud.ec2_filters(&backup_key());
        let answer = request.set_filters(Some(filters)).send().await?;
        all.extend_from_slice(answer.snapshots());
        next = answer.next_token().filter(|token| !token.is_empty()).map(str::to_owned);
        if next.is_none() {
            break;
        }
    }
    all.sort_by_key(|snapshot| snapshot.start_time().map(|time| time.as_nanos()));
    Ok(all)
}

/// One backup as EC2 shows it now.
pub async fn find(cloud: &Cloud, id: &str) -> CloudResult<Option<Snapshot>> {
    let answer = cloud.ec2.describe_snapshots().snapshot_ids(id).send().await.map_err(CloudError::from);
    Ok(found(answer)?.and_then(|answer| answer.snapshots().first().cloned()))
}

/// Whether a snapshot is a backup of this stack.
pub fn is_ours(cloud: &Cloud, snapshot: &Snapshot) -> bool {
    let has = |key: &str, value: &str| snapshot.tags().iter().any(|t| t.key() == Some(key) && t.value() == Some(value));
    has(STACK_TAG, &cloud.stack) && has(RESOURCE_TAG, backup_key().as_str())
}

/// Begins a snapshot and returns its id. CreateSnapshot takes no client token: where the answer is lost, the
/// description, which is this call's alone, tells whether it was made.
pub async fn create(cloud: &Cloud, volume_id: &str, description: &str) -> CloudResult<String> {
    let create =
        cloud.ec2.create_snapshot().volume_id(volume_id).description(description).set_tag_specifications(
            cloud.tag_specification(ResourceType::Snapshot, &backup_key()).map(|tags| vec![tags]),
        );
    let once = aws_sdk_ec2::config::Builder::new().retry_config(aws_config::retry::RetryConfig::disabled());
    let id = match create.customize().config_override(once).send().await.map_err(CloudError::from) {
        Ok(snapshot) => snapshot.snapshot_id().unwrap_or_default().to_owned(),
        Err(error) if error.answer_lost() => {
            let filter = Filter::builder().name("description").values(description).build();
            let answer = cloud.ec2.describe_snapshots().owner_ids("self").filters(filter).send().await?;
            let made = answer.snapshots().first().and_then(|snapshot| snapshot.snapshot_id());
            made.ok_or(error)?.to_owned()
        }
        Err(error) => return Err(error),
    };
    cloud.tag_afterwards(&id, &backup_key()).await?;
    Ok(id)
}

/// Deletes a backup; already gone is success.
pub async fn delete(cloud: &Cloud, id: &str) -> CloudResult<()> {
    gone(cloud.ec2.delete_snapshot().snapshot_id(id).send().await.map_err(CloudError::from))
}

async fn volumes(cloud: &Cloud, filters: Vec<Filter>) -> CloudResult<Vec<Volume>> {
    let answer = cloud.ec2.describe_volumes().set_filters(Some(filters)).send().await?;
    let there = |volume: &&Volume| !matches!(volume.state(), Some(VolumeState::Deleted | VolumeState::Deleting));
    let mut all: Vec<Volume> = answer.volumes().iter().filter(there).cloned().collect();
    all.sort_by_key(|volume| volume.create_time().map(|time| time.as_nanos()));
    Ok(all)
}

/// The volumes that restores have left behind, oldest first.
pub async fn former_volumes(cloud: &Cloud) -> CloudResult<Vec<Volume>> {
    volumes(cloud, cloud.ec2_filters(&former_key())).await
}

/// What an earlier restore of this backup made and did not bring to its end.
pub async fn unfinished(cloud: &Cloud, snapshot_id: &str, current: Option<&str>) -> CloudResult<Option<Volume>> {
    let of_snapshot = |key: &ResourceKey| {
        let mut filters = cloud.ec2_filters(key);
        filters.push(Filter::builder().name(format!("tag:{RESTORED_FROM_TAG}")).values(snapshot_id).build());
        filters
    };
    if let Some(volume) = volumes(cloud, of_snapshot(&restored_key())).await?.pop() {
        return Ok(Some(volume));
    }
    // It has the data volume's key, but an older one has it still and counts.
    let mut taking = volumes(cloud, of_snapshot(&keys::volume())).await?;
    taking.retain(|volume| volume.volume_id() != current);
    Ok(taking.pop())
}

/// Makes a volume of a backup, under a key that nothing else looks at.
pub async fn create_volume(
    cloud: &Cloud,
    snapshot_id: &str,
    zone: &str,
    size_gib: i32,
    token: &ClientToken,
) -> CloudResult<String> {
    let key = restored_key();
    let from = Tag::builder().key(RESTORED_FROM_TAG).value(snapshot_id).build();
    let tags = cloud.capabilities.tags_at_creation.then(|| {
        let tags = aws_sdk_ec2::types::TagSpecification::builder().resource_type(ResourceType::Volume);
        vec![tags.set_tags(Some(cloud.ec2_tags(&key))).tags(from.clone()).build()]
    });
    let create = cloud.ec2.create_volume().snapshot_id(snapshot_id).availability_zone(zone).size(size_gib);
    let id = new_volume::create(cloud, create.set_tag_specifications(tags), token).await?;
    if !cloud.capabilities.tags_at_creation {
        cloud.ec2.create_tags().resources(&id).set_tags(Some(cloud.ec2_tags(&key))).tags(from).send().await?;
    }
    Ok(id)
}

/// Gives a volume another key. The elder of two that have the same one counts, so the new volume takes the key
/// first, and the change happens in the one call that takes it from the old.
pub async fn give_key(cloud: &Cloud, volume_id: &str, key: &ResourceKey) -> CloudResult<()> {
    cloud.ec2.create_tags().resources(volume_id).set_tags(Some(cloud.ec2_tags(key))).send().await?;
    Ok(())
}
