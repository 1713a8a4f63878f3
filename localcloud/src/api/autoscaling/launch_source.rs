//! What a group launches from: a launch configuration by name, or a version of a launch template.

use serde::{Deserialize, Serialize};

use crate::{
    api::error::ApiError,
    model::{
        auto_scaling::{LaunchConfiguration, LaunchSource},
        launch_template::{LaunchData, LaunchTemplate},
    },
    store::Transaction,
};

/// A template as requests and answers name it.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct LaunchTemplateSpecification {
    pub launch_template_id: Option<String>,
    pub launch_template_name: Option<String>,
    pub version: Option<String>,
}

/// What a request says to launch from.
///
/// # Errors
/// When it is none or several, or is not there.
pub fn requested(
    tx: &mut Transaction<'_>,
    configuration_name: Option<String>,
    template: Option<LaunchTemplateSpecification>,
) -> Result<LaunchSource, ApiError> {
    let source = match (configuration_name, template) {
        (Some(name), None) => LaunchSource::Configuration(name),
        (None, Some(specification)) => {
            let template = find_template(tx, &specification)?;
            let version = specification.version.filter(|version| !version.is_empty());
            LaunchSource::Template {
                id: template.id.clone(),
                version: version.unwrap_or_else(|| "$Default".to_owned()),
            }
        }
        _ => {
            return Err(ApiError::validation(
                "Valid requests must contain either LaunchTemplate, LaunchConfigurationName, InstanceId or MixedInstancesPolicy parameter.",
            ));
        }
    };
    let (_, data) = resolve(tx, &source)?;
    if data.image_id.is_none() {
        return Err(ApiError::validation(
            "You must use a valid fully-formed launch template. The request must contain the parameter ImageId",
        ));
    }
    Ok(source)
}

fn find_template(
    tx: &mut Transaction<'_>,
    specification: &LaunchTemplateSpecification,
) -> Result<std::sync::Arc<LaunchTemplate>, ApiError> {
    match (&specification.launch_template_id, &specification.launch_template_name) {
        (Some(id), None) => tx.get::<LaunchTemplate>(id).ok_or_else(|| template_not_found("ID", id)),
        (None, Some(name)) => tx
            .list::<LaunchTemplate>()
            .into_iter()
            .find(|template| template.name == *name)
            .ok_or_else(|| template_not_found("name", name)),
        _ => Err(ApiError::validation("Valid requests must contain either launchTemplateId or LaunchTemplateName")),
    }
}

fn template_not_found(what: &str, value: &str) -> ApiError {
    ApiError::validation(format!(
        "You must use a valid fully-formed launch template. The specified launch template, with template {what} {value}, does not exist."
    ))
}

/// What a launch made now would use: the source with its version's number, and the data.
///
/// # Errors
/// When it is not there any more.
pub fn resolve(tx: &mut Transaction<'_>, source: &LaunchSource) -> Result<(LaunchSource, LaunchData), ApiError> {
    match source {
        LaunchSource::Configuration(name) => match tx.get::<LaunchConfiguration>(name) {
            Some(configuration) => Ok((source.clone(), configuration.data.clone())),
            None => Err(configuration_not_found(name)),
        },
        LaunchSource::Template { id, version } => {
            let template = tx.get::<LaunchTemplate>(id).ok_or_else(|| template_not_found("ID", id))?;
            let number = match version.as_str() {
                "$Latest" => Some(template.latest_version),
                "$Default" => Some(template.default_version),
                number => number.parse().ok(),
            };
            let found = number.and_then(|number| Some((number, template.versions.get(&number)?)));
            let (number, version) = found.ok_or_else(|| {
                ApiError::validation(format!(
                    "You must use a valid fully-formed launch template. Could not find launch template version {version} for {id}"
                ))
            })?;
            Ok((LaunchSource::Template { id: id.clone(), version: number.to_string() }, version.data.clone()))
        }
        LaunchSource::Elsewhere => Err(ApiError::validation("There is no launch template or configuration")),
    }
}

pub fn configuration_not_found(name: &str) -> ApiError {
    ApiError::validation(format!("Launch configuration name not found - Launch configuration {name} not found"))
}

/// Configuration name and template, of which one is there, as answers have them.
pub fn described(
    tx: &mut Transaction<'_>,
    source: &LaunchSource,
) -> (Option<String>, Option<LaunchTemplateSpecification>) {
    match source {
        LaunchSource::Configuration(name) => (Some(name.clone()), None),
        LaunchSource::Template { id, version } => {
            let name = tx.get::<LaunchTemplate>(id).map(|template| template.name.clone());
            let specification = LaunchTemplateSpecification {
                launch_template_id: Some(id.clone()),
                launch_template_name: name,
                version: Some(version.clone()),
            };
            (None, Some(specification))
        }
        LaunchSource::Elsewhere => (None, None),
    }
}
