//! Launch configurations: what an instance is launched with, under a name, never changed.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize, de::IgnoredAny};

use super::{create_group::check_name, launch_source, page_size};
use crate::{
    api::{
        error::ApiError,
        operation::{Caller, Done, Operation},
        page::page,
    },
    model::{
        auto_scaling::{AutoScalingGroup, LaunchConfiguration, LaunchSource},
        id,
        identity::InstanceProfile,
        image::Image,
        instance_type,
        key_pair::KeyPair,
        launch_template::LaunchData,
        security_group::SecurityGroup,
        time::Timestamp,
    },
    store::Transaction,
};

/// User-data before base64 (<https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_CreateLaunchConfiguration.html>).
const LONGEST_USER_DATA_BYTES: usize = 16 * 1024;

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct InstanceMonitoring {
    enabled: bool,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct MetadataOptions {
    http_tokens: Option<String>,
    http_put_response_hop_limit: Option<u32>,
    http_endpoint: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct CreateLaunchConfiguration {
    launch_configuration_name: String,
    image_id: Option<String>,
    key_name: Option<String>,
    #[serde(default)]
    security_groups: Vec<String>,
    user_data: Option<String>,
    instance_type: Option<String>,
    instance_id: Option<IgnoredAny>,
    instance_monitoring: Option<InstanceMonitoring>,
    iam_instance_profile: Option<String>,
    ebs_optimized: Option<bool>,
    associate_public_ip_address: Option<bool>,
    metadata_options: Option<MetadataOptions>,
}

impl Operation for CreateLaunchConfiguration {
    const ACTION: &'static str = "CreateLaunchConfiguration";
    type Output = Done;

    fn run(self, tx: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<Done, ApiError> {
        let name = self.launch_configuration_name.clone();
        check_name("LaunchConfigurationName", &name)?;
        if tx.get::<LaunchConfiguration>(&name).is_some() {
            return Err(ApiError::new(
                "AlreadyExists",
                format!(
                    "Launch Configuration by this name already exists - A launch configuration already exists with the name {name}"
                ),
            ));
        }
        let data = self.check(tx)?;
        tx.put(LaunchConfiguration {
            arn: format!(
                "arn:aws:autoscaling:{}:{}:launchConfiguration:{}:launchConfigurationName/{name}",
                caller.region,
                caller.account_id,
                id::uuid()
            ),
            name,
            created: Timestamp::now(),
            data,
        });
        Ok(Done {})
    }
}

impl CreateLaunchConfiguration {
    fn check(self, tx: &mut Transaction<'_>) -> Result<LaunchData, ApiError> {
        if self.instance_id.is_some() {
            return Err(ApiError::unsupported(
                "Launch configurations made after an instance (InstanceId) are not supported by this cloud.",
            ));
        }
        if self.ebs_optimized == Some(true) || self.associate_public_ip_address == Some(false) {
            return Err(ApiError::unsupported(
                "EbsOptimized, and instances without a public address, are not supported by this cloud.",
            ));
        }
        let image_id = self
            .image_id
            .ok_or_else(|| ApiError::validation("Valid requests must contain either the InstanceID parameter or both the ImageId and InstanceType parameters."))?;
        if tx.get::<Image>(&image_id).is_none() {
            return Err(ApiError::validation(format!("AMI cannot be described: the image {image_id} does not exist")));
        }
        if let Some(kind) = self.instance_type.as_deref()
            && instance_type::find(kind).is_none()
        {
            return Err(ApiError::validation(format!("Invalid instance type: {kind}")));
        }
        if let Some(key) = self.key_name.as_deref()
            && tx.get::<KeyPair>(key).is_none()
        {
            return Err(ApiError::validation(format!("The key pair '{key}' does not exist")));
        }
        let mut security_group_ids = Vec::new();
        for group in &self.security_groups {
            security_group_ids.push(security_group_id(tx, group)?);
        }
        let instance_profile = match self.iam_instance_profile {
            Some(profile) => Some(instance_profile_name(tx, &profile)?),
            None => None,
        };
        let metadata_tokens_required = match self.metadata_options {
            Some(options) => options.check()?,
            None => false,
        };
        Ok(LaunchData {
            image_id: Some(image_id),
            instance_type: self.instance_type,
            key_name: self.key_name,
            security_group_ids,
            instance_profile,
            user_data: self.user_data.as_deref().filter(|text| !text.is_empty()).map(decode_user_data).transpose()?,
            metadata_tokens_required,
            shutdown_terminates: false,
            monitoring: self.instance_monitoring.is_none_or(|monitoring| monitoring.enabled),
            ..LaunchData::default()
        })
    }
}

impl MetadataOptions {
    /// Whether tokens are required.
    fn check(self) -> Result<bool, ApiError> {
        if self.http_endpoint.is_some_and(|endpoint| endpoint != "enabled") {
            return Err(ApiError::unsupported("Instances without a metadata service are not supported by this cloud."));
        }
        match self.http_tokens.as_deref() {
            None | Some("optional") => Ok(false),
            Some("required") => Ok(true),
            Some(other) => Err(ApiError::validation(format!("HttpTokens '{other}' is neither optional nor required"))),
        }
    }
}

/// By id, or by name as old clients give it.
fn security_group_id(tx: &mut Transaction<'_>, group: &str) -> Result<String, ApiError> {
    let found = tx.list::<SecurityGroup>().into_iter().find(|known| known.id == group || known.name == group);
    found
        .map(|known| known.id.clone())
        .ok_or_else(|| ApiError::validation(format!("The security group '{group}' does not exist")))
}

/// By name, or by ARN.
fn instance_profile_name(tx: &mut Transaction<'_>, profile: &str) -> Result<String, ApiError> {
    let name = if profile.starts_with("arn:") { profile.rsplit('/').next().unwrap_or_default() } else { profile };
    match tx.get::<InstanceProfile>(name) {
        Some(_) => Ok(name.to_owned()),
        None => Err(ApiError::validation(format!("Invalid IamInstanceProfile: {profile}"))),
    }
}

fn decode_user_data(text: &str) -> Result<Vec<u8>, ApiError> {
    // Clients may break base64 into lines.
    let compact: String = text.chars().filter(|character| !character.is_ascii_whitespace()).collect();
    let bytes = STANDARD.decode(compact).map_err(|_| ApiError::validation("Invalid BASE64 encoding of user data."))?;
    if bytes.len() > LONGEST_USER_DATA_BYTES {
        return Err(ApiError::validation("User data is limited to 16384 bytes"));
    }
    Ok(bytes)
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DeleteLaunchConfiguration {
    launch_configuration_name: String,
}

impl Operation for DeleteLaunchConfiguration {
    const ACTION: &'static str = "DeleteLaunchConfiguration";
    type Output = Done;

    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Done, ApiError> {
        let name = self.launch_configuration_name;
        if tx.get::<LaunchConfiguration>(&name).is_none() {
            return Err(launch_source::configuration_not_found(&name));
        }
        let source = LaunchSource::Configuration(name.clone());
        if let Some(group) = tx.list::<AutoScalingGroup>().iter().find(|group| group.launch_source == source) {
            return Err(ApiError::new(
                "ResourceInUse",
                format!(
                    "Cannot delete launch configuration {name} because it is attached to AutoScalingGroup {}",
                    group.name
                ),
            ));
        }
        tx.delete::<LaunchConfiguration>(&name);
        Ok(Done {})
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DescribeLaunchConfigurations {
    #[serde(default)]
    launch_configuration_names: Vec<String>,
    next_token: Option<String>,
    max_records: Option<usize>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct DescribeLaunchConfigurationsOutput {
    launch_configurations: Vec<LaunchConfigurationDescription>,
    next_token: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct LaunchConfigurationDescription {
    launch_configuration_name: String,
    #[serde(rename = "LaunchConfigurationARN")]
    arn: String,
    image_id: String,
    key_name: String,
    security_groups: Vec<String>,
    user_data: String,
    instance_type: String,
    kernel_id: &'static str,
    ramdisk_id: &'static str,
    block_device_mappings: Vec<String>,
    instance_monitoring: InstanceMonitoring,
    iam_instance_profile: Option<String>,
    created_time: Timestamp,
    ebs_optimized: bool,
    metadata_options: Option<MetadataOptions>,
}

impl Operation for DescribeLaunchConfigurations {
    const ACTION: &'static str = "DescribeLaunchConfigurations";
    type Output = DescribeLaunchConfigurationsOutput;

    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        let size = page_size(self.max_records)?;
        let mut configurations = tx.list::<LaunchConfiguration>();
        let names = &self.launch_configuration_names;
        configurations.retain(|configuration| names.is_empty() || names.contains(&configuration.name));
        let (configurations, next_token) =
            page(configurations, |configuration| configuration.name.clone(), self.next_token.as_deref(), size)?;
        let launch_configurations = configurations.iter().map(|configuration| describe(configuration)).collect();
        Ok(DescribeLaunchConfigurationsOutput { launch_configurations, next_token })
    }
}

fn describe(configuration: &LaunchConfiguration) -> LaunchConfigurationDescription {
    let data = &configuration.data;
    LaunchConfigurationDescription {
        launch_configuration_name: configuration.name.clone(),
        arn: configuration.arn.clone(),
        image_id: data.image_id.clone().unwrap_or_default(),
        key_name: data.key_name.clone().unwrap_or_default(),
        security_groups: data.security_group_ids.clone(),
        user_data: data.user_data.as_deref().map(|bytes| STANDARD.encode(bytes)).unwrap_or_default(),
        instance_type: data.instance_type.clone().unwrap_or_else(|| "m1.small".to_owned()),
        kernel_id: "",
        ramdisk_id: "",
        block_device_mappings: Vec::new(),
        instance_monitoring: InstanceMonitoring { enabled: data.monitoring },
        iam_instance_profile: data.instance_profile.clone(),
        created_time: configuration.created,
        ebs_optimized: false,
        metadata_options: data.metadata_tokens_required.then(|| MetadataOptions {
            http_tokens: Some("required".to_owned()),
            http_put_response_hop_limit: None,
            http_endpoint: Some("enabled".to_owned()),
        }),
    }
}
