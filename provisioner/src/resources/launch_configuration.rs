//! The launch configuration of the web VMs, for clouds without launch templates. It cannot be changed, so
//! each version is one of its own, named after its digest; some former ones stay, to go back to.

use async_trait::async_trait;
use aws_sdk_autoscaling::types::{
    InstanceMetadataHttpTokensState, InstanceMetadataOptions, InstanceMonitoring,
    LaunchConfiguration as SdkLaunchConfiguration,
};

use crate::cloud::Cloud;
use crate::cloud::retry::{CloudError, gone};
use crate::resource::{
    Attributes, Changes, ClientToken, CloudResult, Desired, Observed, Outputs, Resource, ResourceKey, Value,
};
use crate::resources::auto_scaling_group::current;
use crate::resources::keys;
use crate::resources::launch_spec::{LaunchSpec, digest, digest_of_user_data, metadata_tokens};
use crate::resources::web_version::{self, WebVersion};

/// The launch configuration.
pub struct LaunchConfiguration(pub LaunchSpec);

/// All versions that there are, oldest first.
async fn versions(cloud: &Cloud) -> CloudResult<Vec<SdkLaunchConfiguration>> {
    let prefix = cloud.name("web-");
    let ask = async {
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
    };
    cloud.once("launch configurations", ask).await
}

/// As `versions`, in the form that both kinds share.
pub(crate) async fn list(cloud: &Cloud) -> CloudResult<Vec<WebVersion>> {
    let known = |c: &SdkLaunchConfiguration| {
        let name = c.launch_configuration_name().unwrap_or_default().to_owned();
        let created_secs = c.created_time().map_or(0, |time| time.secs());
        WebVersion::new(name, created_secs, flatten(c), c.user_data().unwrap_or_default())
    };
    Ok(versions(cloud).await?.iter().map(known).collect())
}

fn flatten(configuration: &SdkLaunchConfiguration) -> Attributes {
    let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
    // A profile may come back as an ARN; its last part is the name.
    let profile = text(configuration.iam_instance_profile());
    let tokens = configuration.metadata_options().and_then(|options| options.http_tokens());
    let tokens = tokens == Some(&InstanceMetadataHttpTokensState::Required);
    let mut attributes = Attributes::default()
        .with("image_id", text(configuration.image_id()))
        .with("instance_type", text(configuration.instance_type()))
        .with("key_name", text(configuration.key_name()))
        .with("security_group", configuration.security_groups().join(", "))
        .with("instance_profile", profile.rsplit('/').next().unwrap_or_default())
        .with("metadata_tokens", metadata_tokens(tokens))
        .with("user_data", digest_of_user_data(configuration.user_data().unwrap_or_default()));
    let digest = digest(&attributes);
    attributes.0.insert("digest", digest);
    attributes
}

pub(crate) async fn image_in_use(cloud: &Cloud) -> CloudResult<Option<String>> {
    Ok(versions(cloud).await?.last().and_then(|newest| newest.image_id()).map(str::to_owned))
}

impl LaunchConfiguration {
    async fn create_version(&self, cloud: &Cloud, known: &Outputs) -> CloudResult<()> {
        let Value::Known(digest) = self.0.digest(known) else {
            return Err(CloudError::other("what it refers to is not there yet"));
        };
        let tokens = InstanceMetadataOptions::builder().http_tokens(InstanceMetadataHttpTokensState::Required).build();
        let create = cloud
            .autoscaling
            .create_launch_configuration()
            .launch_configuration_name(format!("{}{digest}", cloud.name("web-")))
            .image_id(&self.0.image_id)
            .instance_type(&self.0.instance_type)
            .key_name(known.require(&keys::key_pair())?)
            .security_groups(known.require(&keys::security_group("web"))?)
            .set_iam_instance_profile(self.0.access.profile(known, "web")?)
            .set_metadata_options(self.0.metadata_tokens.then_some(tokens))
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
        self.0.needs()
    }

    fn desired(&self, known: &Outputs) -> Desired {
        self.0.desired(known)
    }

    /// The one that the group launches; before there is a group, the newest.
    async fn find(&self, cloud: &Cloud) -> CloudResult<Option<Observed>> {
        let (versions, group) = tokio::join!(versions(cloud), current(cloud));
        let (versions, group) = (versions?, group?);
        let in_service = group.as_ref().and_then(|group| group.launch_configuration_name());
        let of_group = versions.iter().find(|version| version.launch_configuration_name() == in_service);
        let Some(version) = of_group.or(versions.last()) else { return Ok(None) };
        let name = version.launch_configuration_name().unwrap_or_default();
        let mut observed = Observed::ready(name).with("version", name);
        observed.attributes.0.extend(flatten(version).0);
        Ok(Some(observed))
    }

    /// The one that was made just now is not the group's yet.
    async fn poll(&self, cloud: &Cloud, known: &Outputs) -> CloudResult<Option<Observed>> {
        let Value::Known(digest) = self.0.digest(known) else { return self.find(cloud).await };
        let made = list(cloud).await?.into_iter().rev().find(|version| version.digest() == digest);
        Ok(made.map(|version| {
            let mut observed = Observed::ready(&version.name).with("version", &version.name);
            observed.attributes.0.extend(version.attributes.0);
            observed
        }))
    }

    async fn create(&self, cloud: &Cloud, known: &Outputs, _token: &ClientToken) -> CloudResult<()> {
        self.create_version(cloud, known).await
    }

    async fn update(&self, cloud: &Cloud, known: &Outputs, _: &Observed, _: &Changes) -> CloudResult<()> {
        self.create_version(cloud, known).await?;
        let Value::Known(digest) = self.0.digest(known) else { return Ok(()) };
        // Old versions that cannot be removed now are a matter of the next change.
        if let Err(error) = web_version::prune(cloud, &format!("{}{digest}", cloud.name("web-"))).await {
            tracing::warn!("removing old versions: {error}");
        }
        Ok(())
    }

    async fn delete(&self, cloud: &Cloud, observed: &Observed) -> CloudResult<()> {
        let delete = cloud.autoscaling.delete_launch_configuration().launch_configuration_name(&observed.id);
        gone(delete.send().await.map_err(CloudError::from))
    }
}
