//! The launch template of the web VMs. A changed spec is a new version; the old ones stay.

use async_trait::async_trait;
use aws_sdk_ec2::types::{
    InstanceType, LaunchTemplateIamInstanceProfileSpecificationRequest, LaunchTemplateVersion,
    LaunchTemplatesMonitoringRequest, RequestLaunchTemplateData, ResourceType,
};

use crate::cloud::Cloud;
use crate::cloud::retry::{CloudError, found, gone};
use crate::resource::{Changes, ClientToken, CloudResult, Desired, Observed, Outputs, Resource, ResourceKey};
use crate::resources::keys;
use crate::resources::launch_spec::{LaunchSpec, digest, digest_of_user_data};

/// The launch template.
pub struct LaunchTemplate(pub LaunchSpec);

impl LaunchTemplate {
    fn data(&self, known: &Outputs) -> CloudResult<RequestLaunchTemplateData> {
        let profile = known.require(&keys::instance_profile("web"))?;
        Ok(RequestLaunchTemplateData::builder()
            .image_id(&self.0.image_id)
            .instance_type(InstanceType::from(self.0.instance_type.as_str()))
            .key_name(known.require(&keys::key_pair())?)
            .security_group_ids(known.require(&keys::security_group("web"))?)
            .iam_instance_profile(LaunchTemplateIamInstanceProfileSpecificationRequest::builder().name(profile).build())
            // Minutes instead of five-minute averages, or the alarms of two minutes see nothing.
            .monitoring(LaunchTemplatesMonitoringRequest::builder().enabled(true).build())
            .user_data(self.0.user_data()?)
            .build())
    }
}

/// One version by its number, or `$Default`.
async fn version(cloud: &Cloud, version: &str) -> CloudResult<Option<LaunchTemplateVersion>> {
    let name = cloud.name("web");
    let request = cloud.ec2.describe_launch_template_versions().launch_template_name(name).versions(version);
    let answer = found(request.send().await.map_err(CloudError::from))?;
    Ok(answer.and_then(|answer| answer.launch_template_versions().first().cloned()))
}

fn flatten(version: &LaunchTemplateVersion) -> Observed {
    let number = version.version_number().unwrap_or_default();
    let observed = Observed::ready(version.launch_template_id().unwrap_or_default())
        .with("version", number)
        .detail(format!("version {number}"));
    let Some(data) = version.launch_template_data() else { return observed };
    let profile = data.iam_instance_profile().and_then(|profile| profile.name());
    let mut observed = observed
        .with("image_id", data.image_id().unwrap_or_default())
        .with("instance_type", data.instance_type().map_or("", InstanceType::as_str))
        .with("key_name", data.key_name().unwrap_or_default())
        .with("security_group", data.security_group_ids().join(", "))
        .with("instance_profile", profile.unwrap_or_default())
        .with("user_data", digest_of_user_data(data.user_data().unwrap_or_default()));
    let digest = digest(&observed.attributes);
    observed.attributes.0.insert("digest", digest);
    observed
}

/// The digest of a version of the template, for those that run it.
pub(crate) async fn digest_of_version(cloud: &Cloud, number: &str) -> CloudResult<String> {
    Ok(version(cloud, number).await?.map_or_else(String::new, |v| flatten(&v).attributes.get("digest").to_owned()))
}

/// The image that web VMs are launched from at the moment.
pub(crate) async fn image_in_use(cloud: &Cloud) -> CloudResult<Option<String>> {
    if cloud.capabilities.launch_templates {
        let version = version(cloud, "$Default").await?;
        return Ok(version.map(|version| flatten(&version).attributes.get("image_id").to_owned()));
    }
    super::launch_configuration::image_in_use(cloud).await
}

#[async_trait]
impl Resource for LaunchTemplate {
    fn key(&self) -> ResourceKey {
        keys::launch_template()
    }

    fn needs(&self) -> Vec<ResourceKey> {
        LaunchSpec::needs()
    }

    fn desired(&self, known: &Outputs) -> Desired {
        self.0.desired(known)
    }

    async fn find(&self, cloud: &Cloud) -> CloudResult<Option<Observed>> {
        let name = cloud.name("web");
        let request = cloud.ec2.describe_launch_templates().launch_template_names(&name);
        let Some(answer) = found(request.send().await.map_err(CloudError::from))? else { return Ok(None) };
        let Some(template) = answer.launch_templates().first() else { return Ok(None) };
        let tags = template.tags().iter().filter_map(|tag| Some((tag.key()?, tag.value()?)));
        cloud.check_ours(&format!("the launch template {name}"), tags)?;
        Ok(version(cloud, "$Default").await?.as_ref().map(flatten))
    }

    async fn create(&self, cloud: &Cloud, known: &Outputs, token: &ClientToken) -> CloudResult<()> {
        let tags = cloud.tag_specification(ResourceType::LaunchTemplate, &self.key());
        let create = cloud
            .ec2
            .create_launch_template()
            .launch_template_name(cloud.name("web"))
            .launch_template_data(self.data(known)?)
            .set_tag_specifications(tags.map(|tags| vec![tags]))
            .client_token(&token.0);
        match create.send().await.map_err(CloudError::from) {
            Ok(answer) => {
                let id = answer.launch_template().and_then(|t| t.launch_template_id()).unwrap_or_default();
                cloud.tag_afterwards(id, &self.key()).await
            }
            // Made by a run whose answer was lost: find() sees it.
            Err(error) if error.code() == "InvalidLaunchTemplateName.AlreadyExistsException" => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn update(&self, cloud: &Cloud, known: &Outputs, _: &Observed, _: &Changes) -> CloudResult<()> {
        let name = cloud.name("web");
        let create = cloud.ec2.create_launch_template_version().launch_template_name(&name);
        let answer = create.launch_template_data(self.data(known)?).send().await?;
        let number = answer.launch_template_version().and_then(|version| version.version_number());
        let Some(number) = number else { return Err(CloudError::other("the cloud told no version number")) };
        let modify = cloud.ec2.modify_launch_template().launch_template_name(&name);
        modify.default_version(number.to_string()).send().await?;
        Ok(())
    }

    async fn delete(&self, cloud: &Cloud, observed: &Observed) -> CloudResult<()> {
        gone(cloud.ec2.delete_launch_template().launch_template_id(&observed.id).send().await.map_err(CloudError::from))
    }
}
