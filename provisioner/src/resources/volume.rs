//! The data volume: every row lives on it. It outlives the VM, and unless told otherwise the stack.

use async_trait::async_trait;
use aws_sdk_ec2::types::{ResourceType, Volume as SdkVolume, VolumeState, VolumeType};

use crate::cloud::Cloud;
use crate::cloud::retry::{CloudError, found, gone};
use crate::resource::{
    Changes, ClientToken, CloudResult, Desired, Observed, Outputs, Patience, Phase, Resource, ResourceKey, Retention,
};
use crate::resources::{keys, new_volume};

/// The volume.
pub struct DataVolume {
    /// Its size.
    pub size_gib: u32,
    /// Its zone, which becomes that of the database VM.
    pub zone: String,
    /// Whether to make it encrypted and of the type gp3; one that is there stays as it is.
    pub encrypted: bool,
}

/// The stack's volume as EC2 shows it.
pub(crate) async fn current(cloud: &Cloud) -> CloudResult<Option<SdkVolume>> {
    let ask = async {
        let filters = cloud.ec2_filters(&keys::volume());
        let answer = cloud.ec2.describe_volumes().set_filters(Some(filters)).send().await.map_err(CloudError::from);
        let Some(answer) = found(answer)? else { return Ok(None) };
        let alive = answer.volumes().iter().filter(|volume| volume.state() != Some(&VolumeState::Deleted));
        Ok(alive.min_by_key(|volume| volume.create_time().map(|time| time.as_nanos())).cloned())
    };
    cloud.once("volume", ask).await
}

#[async_trait]
impl Resource for DataVolume {
    fn key(&self) -> ResourceKey {
        keys::volume()
    }

    fn needs(&self) -> Vec<ResourceKey> {
        Vec::new()
    }

    fn desired(&self, _known: &Outputs) -> Desired {
        Desired::default().with("size_gib", self.size_gib).with("zone", &self.zone)
    }

    fn immutable(&self) -> &'static [&'static str] {
        &["size_gib", "zone"]
    }

    fn refusal_hint(&self) -> &'static str {
        "the volume holds the data and is left as it is: take the old value back into imagecrud.toml"
    }

    fn retention(&self) -> Retention {
        Retention::Data
    }

    fn patience(&self) -> Patience {
        Patience::secs(120, "the volume to be available", "the cloud may be short of storage")
    }

    async fn find(&self, cloud: &Cloud) -> CloudResult<Option<Observed>> {
        Ok(current(cloud).await?.map(|volume| {
            let phase = match volume.state() {
                Some(VolumeState::Available | VolumeState::InUse) => Phase::Ready,
                Some(VolumeState::Deleting) => Phase::Deleting,
                Some(VolumeState::Error) => Phase::Failed,
                _ => Phase::Pending,
            };
            let state = volume.state().map_or("", VolumeState::as_str);
            let size_gib = volume.size().unwrap_or_default();
            Observed::ready(volume.volume_id().unwrap_or_default())
                .phase(phase)
                .with("size_gib", size_gib)
                .with("zone", volume.availability_zone().unwrap_or_default())
                .detail(format!("{size_gib} GiB, {state}"))
        }))
    }

    async fn create(&self, cloud: &Cloud, _known: &Outputs, token: &ClientToken) -> CloudResult<()> {
        let size_gib = i32::try_from(self.size_gib).map_err(|error| CloudError::other(error.to_string()))?;
        let create = cloud
            .ec2
            .create_volume()
            .availability_zone(&self.zone)
            .size(size_gib)
            .set_volume_type(self.encrypted.then_some(VolumeType::Gp3))
            .set_encrypted(self.encrypted.then_some(true))
            .set_tag_specifications(cloud.tag_specification(ResourceType::Volume, &self.key()).map(|tags| vec![tags]));
        let id = new_volume::create(cloud, create, token).await?;
        cloud.tag_afterwards(&id, &self.key()).await
    }

    async fn update(&self, _: &Cloud, _: &Outputs, _: &Observed, _: &Changes) -> CloudResult<()> {
        Ok(())
    }

    async fn delete(&self, cloud: &Cloud, observed: &Observed) -> CloudResult<()> {
        gone(cloud.ec2.delete_volume().volume_id(&observed.id).send().await.map_err(CloudError::from))
    }
}
