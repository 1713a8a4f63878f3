//! The launch configuration of the web VMs, for clouds without launch templates. It cannot be changed, so
//! each version is one of its own, named after its digest; former ones go once the group has moved on.

use async_trait::async_trait;
use aws_sdk_autoscaling::types::{InstanceMonitoring, LaunchConfiguration as SdkLaunchConfiguration};

use crate::cloud::Cloud;
use crate::cloud::retry::{Class, CloudError, gone};
use crate::resource::{
    Attributes, Changes, ClientToken, CloudResult, Desired, Observed, Outputs, Resource, ResourceKey, Value,
};
use crate::resources::keys;
use crate::resources::launch_spec::{LaunchSpec, digest, digest_of_user_data};

/// The launch configuration.
pub struct LaunchConfiguration(pub LaunchSpec);

/// All versions that there are, oldest first.
async fn versions(cloud: &Cloud) -> CloudResult<Vec<SdkLaunchConfiguration>> {
    let prefix = cloud.name("web-");
    let mut mine = Vec::new();
    let mut next: Option<String> = None;
    loop {
        let answer = cloud.autoscaling.describe_launch_configurations().set_next_token(next).send().await?;
        let named = |c: &&SdkLaunchConfiguration| {
            c.launch_configuration_name().and_then(|n| n.strip_prefix(&prefix)).is_some_and(|rest| rest.len() == 12)
        };
        mine.extend(answer.launch_configurations().iter().filter(named).cloned());
        next = answer.next_token().filter(|token| !token.is_empty()).map(str::to_owned);
        if next.is_none() {
            break;
        }
    }
    mine.sort_by_key(|configuration| configuration.created_time().map(|time| time.as_nanos()));
    Ok(mine)
}

fn flatten(configuration: &SdkLaunchConfiguration) -> Attributes {
    let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
    // A profile may come back as an ARN; its last part is the name.
    let profile = text(configuration.iam_instance_profile());
    let mut attributes = Attributes::default()
        .with("image_id", text(configuration.image_id()))
        .with("instance_type", text(configuration.instance_type()))
        .with("key_name", text(configuration.key_name()))
        .with("security_group", configuration.security_groups().join(", "))
        .with("instance_profile", profile.rsplit('/').next().unwrap_or_default())
        .with("user_data", digest_of_user_data(configuration.user_data().unwrap_or_default()));
    let digest = digest(&attributes);
    attributes.0.insert("digest", digest);
    attributes
}

/// The digest of a version by its name.
pub(crate) async fn digest_of_name(cloud: &Cloud, name: &str) -> CloudResult<String> {
    let found = versions(cloud).await?.into_iter().find(|c| c.launch_configuration_name() == Some(name));
    Ok(found.map_or_else(String::new, |c| flatten(&c).get("digest").to_owned()))
}

pub(crate) async fn image_in_use(cloud: &Cloud) -> CloudResult<Option<String>> {
    Ok(versions(cloud).await?.last().and_then(|newest| newest.image_id()).map(str::to_owned))
}

impl LaunchConfiguration {
    async fn create_version(&self, cloud: &Cloud, known: &Outputs) -> CloudResult<()> {
        let Value::Known(digest) = self.0.digest(known) else {
            return Err(CloudError::other("what it refers to is not there yet"));
        };
        let create = cloud
            .autoscaling
            .create_launch_configuration()
            .launch_configuration_name(format!("{}{digest}", cloud.name("web-")))
            .image_id(&self.0.image_id)
            .instance_type(&self.0.instance_type)
            .key_name(known.require(&keys::key_pair())?)
            .security_groups(known.require(&keys::security_group("web"))?)
            .iam_instance_profile(known.require(&keys::instance_profile("web"))?)
            .instance_monitoring(InstanceMonitoring::builder().enabled(true).build())
            .user_data(self.0.user_data()?);
        match create.send().await.map_err(CloudError::from) {
            Ok(_) => Ok(()),
            Err(error) if error.code().starts_with("AlreadyExists") => Ok(()),
            Err(error) => Err(error),
        }
    }
}

#[async_trait]
impl Resource for LaunchConfiguration {
    fn key(&self) -> ResourceKey {
        keys::launch_configuration()
    }

    fn needs(&self) -> Vec<ResourceKey> {
        LaunchSpec::needs()
    }

    fn desired(&self, known: &Outputs) -> Desired {
        self.0.desired(known)
    }

    async fn find(&self, cloud: &Cloud) -> CloudResult<Option<Observed>> {
        Ok(versions(cloud).await?.last().map(|newest| {
            let name = newest.launch_configuration_name().unwrap_or_default();
            let mut observed = Observed::ready(name).with("version", name);
            observed.attributes.0.extend(flatten(newest).0);
            observed
        }))
    }

    async fn create(&self, cloud: &Cloud, known: &Outputs, _token: &ClientToken) -> CloudResult<()> {
        self.create_version(cloud, known).await
    }

    async fn update(&self, cloud: &Cloud, known: &Outputs, observed: &Observed, _: &Changes) -> CloudResult<()> {
        for former in versions(cloud).await? {
            let name = former.launch_configuration_name().unwrap_or_default();
            if name != observed.id {
                self.delete(cloud, &Observed::ready(name)).await.or_else(|error| match error.class() {
                    Class::RefusedForNow => Ok(()), // still in use: the next change takes it
                    _ => Err(error),
                })?;
            }
        }
        self.create_version(cloud, known).await
    }

    async fn delete(&self, cloud: &Cloud, observed: &Observed) -> CloudResult<()> {
        let delete = cloud.autoscaling.delete_launch_configuration().launch_configuration_name(&observed.id);
        gone(delete.send().await.map_err(CloudError::from))
    }
}
