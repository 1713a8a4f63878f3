//! The launch template of the web VMs. A changed spec is a new version; some old ones stay, to go back to.

use async_trait::async_trait;
use aws_sdk_ec2::types::{
    InstanceType, LaunchTemplate as SdkLaunchTemplate, LaunchTemplateHttpTokensState,
    LaunchTemplateIamInstanceProfileSpecificationRequest, LaunchTemplateInstanceMetadataOptionsRequest,
    LaunchTemplateVersion, LaunchTemplatesMonitoringRequest, RequestLaunchTemplateData, ResourceType,
};

use crate::cloud::Cloud;
use crate::cloud::retry::{CloudError, found, gone};
use crate::resource::{Changes, ClientToken, CloudResult, Desired, Observed, Outputs, Resource, ResourceKey, Value};
use crate::resources::keys;
use crate::resources::launch_spec::{LaunchSpec, digest, digest_of_user_data, metadata_tokens};
use crate::resources::web_version::{self, WebVersion};
use crate::state::sha256_hex;

/// The launch template.
pub struct LaunchTemplate(pub LaunchSpec);

impl LaunchTemplate {
    fn data(&self, known: &Outputs) -> CloudResult<RequestLaunchTemplateData> {
        let profile = self.0.access.profile(known, "web")?;
        let profile =
            profile.map(|name| LaunchTemplateIamInstanceProfileSpecificationRequest::builder().name(name).build());
        let tokens = LaunchTemplateHttpTokensState::Required;
        let tokens = LaunchTemplateInstanceMetadataOptionsRequest::builder().http_tokens(tokens).build();
        Ok(RequestLaunchTemplateData::builder()
            .image_id(&self.0.image_id)
            .instance_type(InstanceType::from(self.0.instance_type.as_str()))
            .key_name(known.require(&keys::key_pair())?)
            .security_group_ids(known.require(&keys::security_group("web"))?)
            .set_iam_instance_profile(profile)
            .set_metadata_options(self.0.metadata_tokens.then_some(tokens))
            // Minutes instead of five-minute averages, or the alarms of two minutes see nothing.
            .monitoring(LaunchTemplatesMonitoringRequest::builder().enabled(true).build())
            .user_data(self.0.user_data()?)
            .build())
    }
}

/// The template as EC2 shows it, which tells the number of its default version.
async fn template(cloud: &Cloud) -> CloudResult<Option<SdkLaunchTemplate>> {
    let ask = async {
        let request = cloud.ec2.describe_launch_templates().launch_template_names(cloud.name("web"));
        let answer = found(request.send().await.map_err(CloudError::from))?;
        Ok(answer.and_then(|answer| answer.launch_templates().first().cloned()))
    };
    cloud.once("launch template", ask).await
}

/// All versions as EC2 shows them.
async fn versions(cloud: &Cloud) -> CloudResult<Vec<LaunchTemplateVersion>> {
    let name = cloud.name("web");
    let ask = async {
        let mut versions = Vec::new();
        let mut next: Option<String> = None;
        loop {
            let request =
                cloud.ec2.describe_launch_template_versions().launch_template_name(&name).set_next_token(next);
            let Some(answer) = found(request.send().await.map_err(CloudError::from))? else { break };
            versions.extend(answer.launch_template_versions().iter().cloned());
            next = answer.next_token().filter(|token| !token.is_empty()).map(str::to_owned);
            if next.is_none() {
                break;
            }
        }
        Ok(versions)
    };
    cloud.once("launch template versions", ask).await
}

/// The template and its default version.
async fn in_default(cloud: &Cloud) -> CloudResult<Option<(SdkLaunchTemplate, LaunchTemplateVersion)>> {
    let (template, versions) = tokio::join!(template(cloud), versions(cloud));
    let (Some(template), versions) = (template?, versions?) else { return Ok(None) };
    let number = template.default_version_number();
    let version = versions.into_iter().find(|version| version.version_number() == number);
    Ok(version.map(|version| (template, version)))
}

fn flatten(version: &LaunchTemplateVersion) -> Observed {
    let number = version.version_number().unwrap_or_default();
    let observed = Observed::ready(version.launch_template_id().unwrap_or_default())
        .with("version", number)
        .detail(format!("version {number}"));
    let Some(data) = version.launch_template_data() else { return observed };
    let profile = data.iam_instance_profile().and_then(|profile| profile.name());
    let tokens = data.metadata_options().and_then(|options| options.http_tokens());
    let tokens = tokens == Some(&LaunchTemplateHttpTokensState::Required);
    let mut observed = observed
        .with("image_id", data.image_id().unwrap_or_default())
        .with("instance_type", data.instance_type().map_or("", InstanceType::as_str))
        .with("key_name", data.key_name().unwrap_or_default())
        .with("security_group", data.security_group_ids().join(", "))
        .with("instance_profile", profile.unwrap_or_default())
        .with("metadata_tokens", metadata_tokens(tokens))
        .with("user_data", digest_of_user_data(data.user_data().unwrap_or_default()));
    let digest = digest(&observed.attributes);
    observed.attributes.0.insert("digest", digest);
    observed
}

/// All versions, oldest first.
pub(crate) async fn list(cloud: &Cloud) -> CloudResult<Vec<WebVersion>> {
    let mut versions = versions(cloud).await?;
    versions.sort_by_key(|version| version.version_number());
    let known = |version: &LaunchTemplateVersion| {
        let number = version.version_number().unwrap_or_default();
        let user_data = version.launch_template_data().and_then(|data| data.user_data()).unwrap_or_default();
        let created_secs = version.create_time().map_or(0, |time| time.secs());
        WebVersion::new(number.to_string(), created_secs, flatten(version).attributes, user_data)
    };
    Ok(versions.iter().map(known).collect())
}

/// Makes a version the default one.
pub(crate) async fn put_in_service(cloud: &Cloud, version: &str) -> CloudResult<()> {
    let modify = cloud.ec2.modify_launch_template().launch_template_name(cloud.name("web"));
    modify.default_version(version).send().await?;
    Ok(())
}

/// The image that web VMs are launched from at the moment.
pub(crate) async fn image_in_use(cloud: &Cloud) -> CloudResult<Option<String>> {
    if cloud.capabilities.launch_templates {
        let version = in_default(cloud).await?;
        return Ok(version.map(|(_, version)| flatten(&version).attributes.get("image_id").to_owned()));
    }
    super::launch_configuration::image_in_use(cloud).await
}

#[async_trait]
impl Resource for LaunchTemplate {
    fn key(&self) -> ResourceKey {
        keys::launch_template()
    }

    fn needs(&self) -> Vec<ResourceKey> {
        self.0.needs()
    }

    fn desired(&self, known: &Outputs) -> Desired {
        self.0.desired(known)
    }

    async fn find(&self, cloud: &Cloud) -> CloudResult<Option<Observed>> {
        let Some((template, version)) = in_default(cloud).await? else { return Ok(None) };
        let tags = template.tags().iter().filter_map(|tag| Some((tag.key()?, tag.value()?)));
        cloud.check_ours(&format!("the launch template {}", cloud.name("web")), tags)?;
        Ok(Some(flatten(&version)))
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

    /// One that is there already (an answer was lost, or it was tried before) is not made twice.
    async fn update(&self, cloud: &Cloud, known: &Outputs, _: &Observed, _: &Changes) -> CloudResult<()> {
        let digest = self.0.digest(known);
        let versions = list(cloud).await?;
        let number = match versions.iter().rev().find(|v| Value::Known(v.digest().to_owned()) == digest) {
            Some(version) => version.name.clone(),
            None => {
                let latest = versions.last().map_or("", |version| version.name.as_str());
                let token = sha256_hex(format!("{}\n{digest}\n{latest}", cloud.stack_id).as_bytes());
                let create = cloud.ec2.create_launch_template_version().launch_template_name(cloud.name("web"));
                // Also where a version whose answer was lost is not among those listed yet.
                let create = create.launch_template_data(self.data(known)?).client_token(token);
                let answer = create.send().await?;
                let number = answer.launch_template_version().and_then(|version| version.version_number());
                number.ok_or_else(|| CloudError::other("the cloud told no version number"))?.to_string()
            }
        };
        put_in_service(cloud, &number).await?;
        // Old versions that cannot be removed now are a matter of the next change.
        if let Err(error) = web_version::prune(cloud, &number).await {
            tracing::warn!("removing old versions: {error}");
        }
        Ok(())
    }

    async fn delete(&self, cloud: &Cloud, observed: &Observed) -> CloudResult<()> {
        gone(cloud.ec2.delete_launch_template().launch_template_id(&observed.id).send().await.map_err(CloudError::from))
    }
}
