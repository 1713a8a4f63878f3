//! RunInstances.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{
    super::{
        block_devices::BlockDeviceMapping,
        dry_run,
        launch::{ClientToken, launch, room},
        launch_templates,
        tag_specifications::TagSpecification,
    },
    item::{Reservation, Surroundings},
    parameters::{IamInstanceProfile, LaunchParameters, MetadataOptions, Monitoring, NetworkInterface, Placement},
};
use crate::{
    api::{
        error::ApiError,
        operation::{Caller, Operation},
    },
    model::{instance::Instance, launch_template::LaunchData, tag::Tags},
    store::Transaction,
};

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_RunInstances.html>
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct RunInstances {
    min_count: u32,
    max_count: u32,
    #[serde(default)]
    launch_template: Option<LaunchTemplateSpecification>,
    #[serde(default)]
    subnet_id: Option<String>,
    #[serde(default, skip_serializing)]
    client_token: Option<String>,
    #[serde(default, skip_serializing)]
    dry_run: Option<bool>,
    #[serde(default)]
    image_id: Option<String>,
    #[serde(default)]
    instance_type: Option<String>,
    #[serde(default)]
    key_name: Option<String>,
    #[serde(default, rename = "SecurityGroupId")]
    security_group_ids: Vec<String>,
    #[serde(default, rename = "SecurityGroup")]
    security_groups: Vec<String>,
    #[serde(default)]
    user_data: Option<String>,
    #[serde(default)]
    iam_instance_profile: Option<IamInstanceProfile>,
    #[serde(default)]
    monitoring: Option<Monitoring>,
    #[serde(default)]
    metadata_options: Option<MetadataOptions>,
    #[serde(default)]
    instance_initiated_shutdown_behavior: Option<String>,
    #[serde(default)]
    placement: Option<Placement>,
    #[serde(default, rename = "BlockDeviceMapping")]
    block_device_mappings: Vec<BlockDeviceMapping>,
    #[serde(default, rename = "NetworkInterface")]
    network_interfaces: Vec<NetworkInterface>,
    #[serde(default)]
    ebs_optimized: Option<bool>,
    #[serde(default)]
    disable_api_termination: Option<bool>,
    #[serde(default)]
    disable_api_stop: Option<bool>,
    #[serde(default, rename = "TagSpecification")]
    tag_specifications: Vec<TagSpecification>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct LaunchTemplateSpecification {
    #[serde(default)]
    launch_template_id: Option<String>,
    #[serde(default)]
    launch_template_name: Option<String>,
    #[serde(default)]
    version: Option<String>,
}

impl Operation for RunInstances {
    const ACTION: &'static str = "RunInstances";
    type Output = Reservation;

    fn run(self, tx: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<Reservation, ApiError> {
        let client_token = self.client_token()?;
        let site = caller.site;
        if self.min_count == 0 || self.min_count > self.max_count {
            return Err(ApiError::invalid_parameter_value(format!(
                "MinCount ({}) must be at least 1 and at most MaxCount ({})",
                self.min_count, self.max_count
            )));
        }
        let base = match &self.launch_template {
            None => LaunchData::default(),
            Some(template) => launch_templates::resolve(
                tx,
                template.launch_template_id.as_deref(),
                template.launch_template_name.as_deref(),
                template.version.as_deref(),
            )?,
        };
        // As many as fit, if that is at least MinCount.
        let fitting = u32::try_from(room(tx, caller.site)).unwrap_or(u32::MAX);
        let count = self.max_count.min(fitting.max(self.min_count));
        let dry_run = self.dry_run;
        let data = self.parameters().over(tx, site, base)?;
        dry_run::check(dry_run)?;
        let instances = launch(tx, site, &data, count, &Tags::new(), client_token.as_ref())?;
        let instances: Vec<&Instance> = instances.iter().collect();
        Ok(Reservation::new(&Surroundings::of(tx, site, &instances), &instances))
    }
}

impl RunInstances {
    fn client_token(&self) -> Result<Option<ClientToken>, ApiError> {
        let Some(token) = self.client_token.as_ref().filter(|token| !token.is_empty()) else { return Ok(None) };
        if token.len() > 64 || !token.is_ascii() {
            return Err(ApiError::invalid_parameter_value("The client token may have 64 ASCII characters at most"));
        }
        let parameters = serde_json::to_vec(self).map_err(|error| {
            ApiError::new("InternalError", format!("An internal error has occurred: {error}")).status(500)
        })?;
        let digest = Sha256::digest(parameters).iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Some(ClientToken { token: token.clone(), digest }))
    }

    fn parameters(self) -> LaunchParameters {
        LaunchParameters {
            image_id: self.image_id,
            instance_type: self.instance_type,
            key_name: self.key_name,
            security_group_ids: self.security_group_ids,
            security_groups: self.security_groups,
            user_data: self.user_data,
            iam_instance_profile: self.iam_instance_profile,
            monitoring: self.monitoring,
            metadata_options: self.metadata_options,
            instance_initiated_shutdown_behavior: self.instance_initiated_shutdown_behavior,
            placement: self.placement,
            subnet_id: self.subnet_id,
            block_device_mappings: self.block_device_mappings,
            network_interfaces: self.network_interfaces,
            ebs_optimized: self.ebs_optimized,
            disable_api_termination: self.disable_api_termination,
            disable_api_stop: self.disable_api_stop,
            tag_specifications: self.tag_specifications,
        }
    }
}
