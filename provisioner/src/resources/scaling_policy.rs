//! Scaling policies: one step out or in, with a pause. Simple scaling, which every cloud has.

use async_trait::async_trait;
use aws_sdk_autoscaling::types::ScalingPolicy as SdkScalingPolicy;

use crate::cloud::Cloud;
use crate::cloud::retry::{CloudError, found, gone};
use crate::resource::{Changes, ClientToken, CloudResult, Desired, Observed, Outputs, Resource, ResourceKey};
use crate::resources::keys;

/// A policy.
pub struct ScalingPolicy {
    /// `scale-out` or `scale-in`.
    pub name: &'static str,
    /// How many instances more, or less.
    pub adjustment: i32,
    /// The pause before the next step.
    pub cooldown_secs: i32,
}

/// The group's own two.
async fn all(cloud: &Cloud) -> CloudResult<Vec<SdkScalingPolicy>> {
    let ask = async {
        let request = cloud.autoscaling.describe_policies().auto_scaling_group_name(cloud.name("web"));
        let request = request.policy_names("scale-out").policy_names("scale-in");
        let answer = found(request.send().await.map_err(CloudError::from))?;
        Ok(answer.map(|answer| answer.scaling_policies().to_vec()).unwrap_or_default())
    };
    cloud.once("policies", ask).await
}

impl ScalingPolicy {
    async fn put(&self, cloud: &Cloud) -> CloudResult<()> {
        cloud
            .autoscaling
            .put_scaling_policy()
            .auto_scaling_group_name(cloud.name("web"))
            .policy_name(self.name)
            .adjustment_type("ChangeInCapacity")
            .scaling_adjustment(self.adjustment)
            .cooldown(self.cooldown_secs)
            .send()
            .await?;
        Ok(())
    }
}

#[async_trait]
impl Resource for ScalingPolicy {
    fn key(&self) -> ResourceKey {
        keys::scaling_policy(self.name)
    }

    fn needs(&self) -> Vec<ResourceKey> {
        vec![keys::auto_scaling_group()]
    }

    fn desired(&self, _known: &Outputs) -> Desired {
        Desired::default().with("adjustment", self.adjustment).with("cooldown_secs", self.cooldown_secs)
    }

    fn goes_with(&self) -> Option<ResourceKey> {
        Some(keys::auto_scaling_group())
    }

    async fn find(&self, cloud: &Cloud) -> CloudResult<Option<Observed>> {
        Ok(all(cloud).await?.iter().find(|policy| policy.policy_name() == Some(self.name)).map(|policy| {
            let adjustment = policy.scaling_adjustment().unwrap_or_default();
            Observed::ready(self.name)
                .with("adjustment", adjustment)
                .with("cooldown_secs", policy.cooldown().unwrap_or_default())
                .with("arn", policy.policy_arn().unwrap_or_default())
                .detail(format!("{adjustment:+} instance"))
        }))
    }

    async fn create(&self, cloud: &Cloud, _: &Outputs, _: &ClientToken) -> CloudResult<()> {
        self.put(cloud).await
    }

    async fn update(&self, cloud: &Cloud, _: &Outputs, _: &Observed, _: &Changes) -> CloudResult<()> {
        self.put(cloud).await
    }

    async fn delete(&self, cloud: &Cloud, _observed: &Observed) -> CloudResult<()> {
        let delete = cloud.autoscaling.delete_policy().auto_scaling_group_name(cloud.name("web"));
        gone(delete.policy_name(self.name).send().await.map_err(CloudError::from))
    }
}
