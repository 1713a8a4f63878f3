//! What an instance may be launched with, as RunInstances and launch templates word it. What this cloud does not carry
//! out is refused here, and not dropped.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};

use super::super::{
    block_devices::{self, BlockDeviceMapping},
    identifiers,
    launch::USER_DATA_LIMIT_BYTES,
    tag_specifications::{TagSpecification, tags_for},
};
use crate::{
    api::error::ApiError,
    model::{
        launch_template::LaunchData,
        site::{Site, Zone},
    },
    store::Transaction,
};

/// Where the guest's root lies. It has no volume of its own: it is an overlay of the image's tree.
pub const ROOT_DEVICE: &str = "/dev/sda1";

/// The parameters that RunInstances and launch templates share; the body of LaunchTemplateData.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct LaunchParameters {
    #[serde(default)]
    pub image_id: Option<String>,
    #[serde(default)]
    pub instance_type: Option<String>,
    #[serde(default)]
    pub key_name: Option<String>,
    #[serde(default, rename = "SecurityGroupId")]
    pub security_group_ids: Vec<String>,
    #[serde(default, rename = "SecurityGroup")]
    pub security_groups: Vec<String>,
    #[serde(default)]
    pub user_data: Option<String>,
    #[serde(default)]
    pub iam_instance_profile: Option<IamInstanceProfile>,
    #[serde(default)]
    pub monitoring: Option<Monitoring>,
    #[serde(default)]
    pub metadata_options: Option<MetadataOptions>,
    #[serde(default)]
    pub instance_initiated_shutdown_behavior: Option<String>,
    #[serde(default)]
    pub placement: Option<Placement>,
    /// RunInstances has it beside what a template has.
    #[serde(skip)]
    pub subnet_id: Option<String>,
    #[serde(default, rename = "BlockDeviceMapping")]
    pub block_device_mappings: Vec<BlockDeviceMapping>,
    #[serde(default, rename = "NetworkInterface")]
    pub network_interfaces: Vec<NetworkInterface>,
    #[serde(default)]
    pub ebs_optimized: Option<bool>,
    #[serde(default)]
    pub disable_api_termination: Option<bool>,
    #[serde(default)]
    pub disable_api_stop: Option<bool>,
    #[serde(default, rename = "TagSpecification")]
    pub tag_specifications: Vec<TagSpecification>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct IamInstanceProfile {
    #[serde(default)]
    pub arn: Option<String>,
    #[serde(default)]
    pub name: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Monitoring {
    pub enabled: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct MetadataOptions {
    #[serde(default)]
    pub http_tokens: Option<String>,
    #[serde(default)]
    pub http_endpoint: Option<String>,
    #[serde(default)]
    pub http_put_response_hop_limit: Option<u32>,
    #[serde(default)]
    pub http_protocol_ipv6: Option<String>,
    #[serde(default)]
    pub instance_metadata_tags: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Placement {
    #[serde(default)]
    pub availability_zone: Option<String>,
    #[serde(default)]
    pub tenancy: Option<String>,
}

/// The primary interface only: an instance has no others here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct NetworkInterface {
    #[serde(default)]
    pub device_index: Option<u32>,
    #[serde(default)]
    pub subnet_id: Option<String>,
    #[serde(default, rename = "SecurityGroupId")]
    pub security_group_ids: Vec<String>,
    #[serde(default)]
    pub associate_public_ip_address: Option<bool>,
    #[serde(default)]
    pub delete_on_termination: Option<bool>,
    #[serde(default)]
    pub description: Option<String>,
}

impl LaunchParameters {
    /// Puts the parameters over those of `base`: what is given here wins.
    pub fn over(self, tx: &mut Transaction<'_>, site: &Site, base: LaunchData) -> Result<LaunchData, ApiError> {
        let mut data = base;
        data.disable_api_termination = self.disable_api_termination.unwrap_or(data.disable_api_termination);
        data.disable_api_stop = self.disable_api_stop.unwrap_or(data.disable_api_stop);
        data.ebs_optimized = self.ebs_optimized.unwrap_or(data.ebs_optimized);
        let mut zone = None;
        if let Some(placement) = &self.placement {
            zone = placement.availability_zone.as_deref().map(|name| zone_named(site, name)).transpose()?;
            if placement.tenancy.as_deref().is_some_and(|tenancy| tenancy != "default") {
                return Err(ApiError::unsupported("The only tenancy of this cloud is 'default'."));
            }
        }
        for device in block_devices::devices(&self.block_device_mappings)? {
            data.block_devices.retain(|other| other.device != device.device);
            data.block_devices.push(device);
        }
        let mut group_ids = self.security_group_ids;
        let mut subnet_id = self.subnet_id;
        if let Some(interface) = primary_interface(self.network_interfaces)? {
            if !group_ids.is_empty() || !self.security_groups.is_empty() {
                return Err(ApiError::new(
                    "InvalidParameterCombination",
                    "Network interfaces and an instance-level security groups may not be specified on the same request",
                ));
            }
            group_ids = interface.security_group_ids;
            subnet_id = interface.subnet_id.or(subnet_id);
        }
        if let Some(subnet_id) = &subnet_id {
            let of_subnet = zone_with(site, subnet_id)?;
            if zone.is_some_and(|zone| zone != of_subnet) {
                return Err(ApiError::invalid_parameter_value(format!(
                    "The availability zone of the subnet {subnet_id} is {}, not the one that is asked for",
                    of_subnet.name
                )));
            }
            zone = Some(of_subnet);
        }
        data.zone = zone.map(|zone| zone.name.clone()).or(data.zone);
        for name in &self.security_groups {
            group_ids.push(identifiers::security_group(tx, None, Some(name))?.id.clone());
        }
        if !group_ids.is_empty() {
            data.security_group_ids = group_ids;
        }
        data.image_id = self.image_id.or(data.image_id);
        data.instance_type = self.instance_type.or(data.instance_type);
        data.key_name = self.key_name.or(data.key_name);
        if let Some(text) = self.user_data {
            data.user_data = decode_user_data(&text)?;
        }
        if let Some(profile) = self.iam_instance_profile {
            data.instance_profile = Some(profile.name(site)?);
        }
        if let Some(monitoring) = self.monitoring {
            data.monitoring = monitoring.enabled;
        }
        if let Some(options) = self.metadata_options
            && let Some(required) = options.tokens_required()?
        {
            data.metadata_tokens_required = required;
        }
        if let Some(behaviour) = self.instance_initiated_shutdown_behavior {
            data.shutdown_terminates = shutdown_terminates(&behaviour)?;
        }
        for resource_type in ["instance", "volume"] {
            let tags = tags_for(&self.tag_specifications, resource_type, &["instance", "volume", "network-interface"])?;
            if !tags.is_empty() {
                data.tag_specifications.entry(resource_type.to_owned()).or_default().extend(tags);
            }
        }
        Ok(data)
    }
}

impl IamInstanceProfile {
    pub(super) fn name(self, site: &Site) -> Result<String, ApiError> {
        let invalid = |arn: &str| {
            ApiError::invalid_parameter_value(format!(
                "Value ({arn}) for parameter iamInstanceProfile.arn is invalid. Invalid IAM Instance Profile ARN"
            ))
        };
        match (self.name, self.arn) {
            (Some(name), None) => Ok(name),
            (None, Some(arn)) => {
                let prefix = format!("arn:aws:iam::{}:instance-profile/", site.account_id);
                let path = arn.strip_prefix(&prefix).ok_or_else(|| invalid(&arn))?;
                Ok(path.rsplit('/').next().unwrap_or(path).to_owned())
            }
            (Some(_), Some(_)) => Err(ApiError::new(
                "InvalidParameterCombination",
                "The parameter 'iamInstanceProfile.name' may not be used in combination with 'iamInstanceProfile.arn'",
            )),
            (None, None) => Err(ApiError::missing_parameter("IamInstanceProfile.Name")),
        }
    }
}

impl MetadataOptions {
    /// Whether tokens are required, if the options say so.
    pub(super) fn tokens_required(&self) -> Result<Option<bool>, ApiError> {
        if self.http_endpoint.as_deref().is_some_and(|state| state != "enabled") {
            return Err(ApiError::unsupported(
                "The metadata service cannot be switched off in this cloud (HttpEndpoint).",
            ));
        }
        if self.http_protocol_ipv6.as_deref().is_some_and(|state| state != "disabled") {
            return Err(ApiError::unsupported("This cloud's network has no IPv6 (HttpProtocolIpv6)."));
        }
        if self.instance_metadata_tags.as_deref().is_some_and(|state| state != "disabled") {
            return Err(ApiError::unsupported(
                "Tags in instance metadata are not available in this cloud (InstanceMetadataTags).",
            ));
        }
        if self.http_put_response_hop_limit.is_some_and(|limit| !(1..=64).contains(&limit)) {
            return Err(ApiError::invalid_parameter_value(
                "The value of HttpPutResponseHopLimit must be between 1 and 64",
            ));
        }
        match self.http_tokens.as_deref() {
            None => Ok(None),
            Some("required") => Ok(Some(true)),
            Some("optional") => Ok(Some(false)),
            Some(other) => Err(ApiError::invalid_parameter_value(format!(
                "Invalid value '{other}' for HttpTokens: optional or required"
            ))),
        }
    }
}

fn primary_interface(interfaces: Vec<NetworkInterface>) -> Result<Option<NetworkInterface>, ApiError> {
    let mut interfaces = interfaces.into_iter();
    let Some(interface) = interfaces.next() else { return Ok(None) };
    if interfaces.next().is_some() || interface.device_index.unwrap_or(0) != 0 {
        return Err(ApiError::unsupported(
            "An instance has one network interface in this cloud, of the device index 0.",
        ));
    }
    if interface.associate_public_ip_address == Some(false) || interface.delete_on_termination == Some(false) {
        return Err(ApiError::unsupported(
            "An instance's interface always has a public address and goes with the instance in this cloud.",
        ));
    }
    Ok(Some(interface))
}

fn zone_named<'s>(site: &'s Site, name: &str) -> Result<&'s Zone, ApiError> {
    site.zone(name).ok_or_else(|| {
        ApiError::invalid_parameter_value(format!(
            "Invalid availability zone: [{name}]; there are {}",
            site.zone_names()
        ))
    })
}

fn zone_with<'s>(site: &'s Site, subnet_id: &str) -> Result<&'s Zone, ApiError> {
    let missing = || identifiers::not_found("InvalidSubnetID", "subnet ID", subnet_id);
    site.zone_of_subnet(subnet_id).ok_or_else(missing)
}

pub(super) fn shutdown_terminates(behaviour: &str) -> Result<bool, ApiError> {
    match behaviour {
        "terminate" => Ok(true),
        "stop" => Ok(false),
        other => Err(ApiError::invalid_parameter_value(format!(
            "Value ({other}) for parameter instanceInitiatedShutdownBehavior is invalid. Allowed: stop, terminate"
        ))),
    }
}

/// Base64 as clients wrap it, with or without line ends; nothing for an empty text.
pub(super) fn decode_user_data(text: &str) -> Result<Option<Vec<u8>>, ApiError> {
    let joined: String = text.chars().filter(|character| !character.is_ascii_whitespace()).collect();
    let bytes = STANDARD
        .decode(joined)
        .map_err(|_| ApiError::new("InvalidUserData.Malformed", "Invalid BASE64 encoding of user data"))?;
    if bytes.len() > USER_DATA_LIMIT_BYTES {
        return Err(ApiError::invalid_parameter_value(format!(
            "User data is limited to {USER_DATA_LIMIT_BYTES} bytes"
        )));
    }
    Ok(Some(bytes).filter(|bytes| !bytes.is_empty()))
}
