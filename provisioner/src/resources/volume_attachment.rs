//! The data volume at the current database VM. On a terminated VM the volume comes free by itself, and until
//! then the attach is refused and tried again. It goes with its VM: detaching under a running database
//! would tear its file system.

use async_trait::async_trait;

use crate::cloud::Cloud;
use crate::cloud::retry::CloudError;
use crate::resource::{
    Changes, ClientToken, CloudResult, Desired, Observed, Outputs, Patience, Phase, Resource, ResourceKey,
};
use crate::resources::{database_instance, keys, volume};

/// The device name asked for where the cloud's hypervisor is KVM.
pub const DEVICE: &str = "/dev/vdf";
/// What AWS takes instead; the guest finds the disk by its serial number anyway.
/// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/device_naming.html
const DEVICE_ON_AWS: &str = "/dev/sdf";

/// The attachment.
pub struct VolumeAttachment;

#[async_trait]
impl Resource for VolumeAttachment {
    fn key(&self) -> ResourceKey {
        keys::volume_attachment()
    }

    fn needs(&self) -> Vec<ResourceKey> {
        vec![keys::volume(), keys::database_instance()]
    }

    fn desired(&self, known: &Outputs) -> Desired {
        Desired::default().with_value("instance", known.id(&keys::database_instance()))
    }

    fn immutable(&self) -> &'static [&'static str] {
        &["instance"]
    }

    fn refusal_hint(&self) -> &'static str {
        "run `imagecrud-deploy up` again"
    }

    fn patience(&self) -> Patience {
        Patience::secs(
            300,
            "the volume to be attached",
            "another instance may hold it: terminate that one, or detach the volume, and run `up` again",
        )
    }

    fn goes_with(&self) -> Option<ResourceKey> {
        Some(keys::database_instance())
    }

    async fn find(&self, cloud: &Cloud) -> CloudResult<Option<Observed>> {
        let (volume, instance) = tokio::join!(volume::current(cloud), database_instance::current(cloud));
        let (Some(volume), Some(instance)) = (volume?, instance?) else { return Ok(None) };
        let instance_id = instance.instance_id().unwrap_or_default();
        let Some(attachment) = volume.attachments().iter().find(|a| a.instance_id() == Some(instance_id)) else {
            return Ok(None);
        };
        let state = attachment.state().map_or("", |state| state.as_str());
        let phase = match state {
            "attached" => Phase::Ready,
            "detaching" => Phase::Deleting,
            "detached" => return Ok(None),
            _ => Phase::Pending,
        };
        Ok(Some(
            Observed::ready(format!("{}@{instance_id}", volume.volume_id().unwrap_or_default()))
                .phase(phase)
                .with("instance", instance_id)
                .detail(format!("{state} {}", attachment.device().unwrap_or_default())),
        ))
    }

    async fn create(&self, cloud: &Cloud, known: &Outputs, _token: &ClientToken) -> CloudResult<()> {
        let volume_id = known.require(&keys::volume())?;
        let instance_id = known.require(&keys::database_instance())?;
        let attach =
            |device| cloud.ec2.attach_volume().volume_id(volume_id).instance_id(instance_id).device(device).send();
        let mut answer = attach(DEVICE).await.map_err(CloudError::from);
        if let Err(error) = &answer
            && error.code() == "InvalidParameterValue"
        {
            answer = attach(DEVICE_ON_AWS).await.map_err(CloudError::from);
        }
        match answer {
            Ok(_) => Ok(()),
            // Refused as the answer to an earlier attach was lost: it is where it should be.
            Err(error) => match self.find(cloud).await? {
                Some(_) => Ok(()),
                None => match database_instance::death(cloud, instance_id).await? {
                    Some(why) => Err(CloudError::other(format!("{error}\n{why}"))),
                    None => Err(error),
                },
            },
        }
    }

    /// Stops the wait where the VM is gone.
    async fn poll(&self, cloud: &Cloud, known: &Outputs) -> CloudResult<Option<Observed>> {
        let observed = self.find(cloud).await?;
        if observed.as_ref().is_some_and(|observed| observed.phase == Phase::Ready) {
            return Ok(observed);
        }
        let instance_id = known.require(&keys::database_instance())?;
        match database_instance::death(cloud, instance_id).await? {
            Some(why) => Ok(Some(Observed::ready(instance_id).phase(Phase::Failed).detail(why))),
            None => Ok(observed),
        }
    }

    async fn update(&self, _: &Cloud, _: &Outputs, _: &Observed, _: &Changes) -> CloudResult<()> {
        Ok(())
    }

    async fn delete(&self, _: &Cloud, _: &Observed) -> CloudResult<()> {
        Ok(())
    }

    async fn explain(&self, cloud: &Cloud) -> Option<String> {
        let volume = volume::current(cloud).await.ok()??;
        let attachment = volume.attachments().first()?;
        let state = attachment.state().map_or("", |state| state.as_str());
        Some(format!("{} is {state} at {}", volume.volume_id()?, attachment.instance_id()?))
    }
}
