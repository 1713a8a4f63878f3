//! Launch templates: made, described, deleted here; their versions in the files below.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{
    dry_run,
    filters::{self, Column, Filter},
    identifiers,
    instances::parameters::LaunchParameters,
    pagination,
    tag_specifications::{TagItem, TagSpecification, tag_set, tags_for},
};
use crate::{
    api::{
        error::ApiError,
        operation::{Caller, Operation},
    },
    model::{
        id,
        launch_template::{LaunchData, LaunchTemplate, LaunchTemplateVersion},
        time::Timestamp,
    },
    store::Transaction,
};

/// A version's data in an answer.
pub mod data;
/// CreateLaunchTemplateVersion, DescribeLaunchTemplateVersions, DeleteLaunchTemplateVersions, ModifyLaunchTemplate.
pub mod versions;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TemplateItem {
    launch_template_id: String,
    launch_template_name: String,
    create_time: Timestamp,
    created_by: String,
    default_version_number: u64,
    latest_version_number: u64,
    tag_set: Vec<TagItem>,
}

impl From<&LaunchTemplate> for TemplateItem {
    fn from(template: &LaunchTemplate) -> Self {
        Self {
            launch_template_id: template.id.clone(),
            launch_template_name: template.name.clone(),
            create_time: template.created,
            created_by: template.created_by.clone(),
            default_version_number: template.default_version,
            latest_version_number: template.latest_version,
            tag_set: tag_set(&template.tags),
        }
    }
}

/// An answer that is one template.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OneTemplate {
    launch_template: TemplateItem,
}

/// The template named by id or by name.
pub fn find(tx: &mut Transaction<'_>, id: Option<&str>, name: Option<&str>) -> Result<Arc<LaunchTemplate>, ApiError> {
    match (id, name) {
        (Some(_), Some(_)) => Err(ApiError::new(
            "InvalidParameterCombination",
            "A launch template is named by LaunchTemplateId or LaunchTemplateName, not both",
        )),
        (Some(id), None) => {
            identifiers::check_form("InvalidLaunchTemplateId", id, &["lt-"])?;
            tx.get::<LaunchTemplate>(id).ok_or_else(|| {
                ApiError::new(
                    "InvalidLaunchTemplateId.NotFound",
                    format!("The specified launch template, with template ID {id}, does not exist."),
                )
            })
        }
        (None, Some(name)) => {
            let templates = tx.list::<LaunchTemplate>();
            templates.into_iter().find(|template| template.name == name).ok_or_else(|| {
                ApiError::new(
                    "InvalidLaunchTemplateName.NotFoundException",
                    format!("The specified launch template, with template name {name}, does not exist."),
                )
            })
        }
        (None, None) => Err(ApiError::missing_parameter("LaunchTemplateId")),
    }
}

/// The number that a version's word stands for: a number, `$Latest` or `$Default`, which is meant without a word too.
pub fn version_number(template: &LaunchTemplate, version: Option<&str>) -> Result<u64, ApiError> {
    let missing = |version: &str| {
        ApiError::new(
            "InvalidLaunchTemplateId.VersionNotFound",
            format!("Could not find the specified version {version} for the launch template with ID {}.", template.id),
        )
    };
    let number = match version.filter(|version| !version.is_empty()) {
        None | Some("$Default") => template.default_version,
        Some("$Latest") => template.latest_version,
        Some(number) => number.parse().map_err(|_| {
            ApiError::invalid_parameter_value(format!(
                "Invalid launch template version: {number} is no number, $Latest or $Default"
            ))
        })?,
    };
    if template.versions.contains_key(&number) { Ok(number) } else { Err(missing(&number.to_string())) }
}

/// What a template says that instances are launched with.
///
/// # Errors
/// In EC2's words, when there is no such template or version.
pub fn resolve(
    tx: &mut Transaction<'_>,
    id: Option<&str>,
    name: Option<&str>,
    version: Option<&str>,
) -> Result<LaunchData, ApiError> {
    let template = find(tx, id, name)?;
    let number = version_number(&template, version)?;
    Ok(template.versions.get(&number).map(|version| version.data.clone()).unwrap_or_default())
}

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateLaunchTemplate.html>
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct CreateLaunchTemplate {
    launch_template_name: String,
    launch_template_data: LaunchParameters,
    #[serde(default)]
    version_description: Option<String>,
    #[serde(default)]
    client_token: Option<String>,
    #[serde(default, rename = "TagSpecification")]
    tag_specifications: Vec<TagSpecification>,
    #[serde(default)]
    dry_run: Option<bool>,
}

impl Operation for CreateLaunchTemplate {
    const ACTION: &'static str = "CreateLaunchTemplate";
    type Output = OneTemplate;

    fn run(self, tx: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<OneTemplate, ApiError> {
        let name = self.launch_template_name;
        let allowed = |character: char| character.is_ascii_alphanumeric() || "().-/_".contains(character);
        if !(3..=128).contains(&name.len()) || !name.chars().all(allowed) {
            return Err(ApiError::new(
                "InvalidLaunchTemplateName.MalformedException",
                format!(
                    "The launch template name '{name}' must have 3 to 128 characters out of a-z, A-Z, 0-9 and ().-/_"
                ),
            ));
        }
        let data = self.launch_template_data.over(tx, caller.site, LaunchData::default())?;
        let tags = tags_for(&self.tag_specifications, "launch-template", &[])?;
        let client_token = self.client_token.filter(|token| !token.is_empty());
        let templates = tx.list::<LaunchTemplate>();
        if let Some(earlier) = client_token
            .as_ref()
            .and_then(|token| templates.iter().find(|template| template.client_token.as_ref() == Some(token)))
        {
            let same = earlier.name == name && earlier.versions.get(&1).is_none_or(|version| version.data == data);
            if !same {
                return Err(ApiError::new(
                    "IdempotentParameterMismatch",
                    "The request uses the same client token as a previous, but non-identical request.",
                ));
            }
            return Ok(OneTemplate { launch_template: TemplateItem::from(&**earlier) });
        }
        if templates.iter().any(|template| template.name == name) {
            return Err(ApiError::new(
                "InvalidLaunchTemplateName.AlreadyExistsException",
                "Launch template name already in use.",
            ));
        }
        dry_run::check(self.dry_run)?;
        let created = Timestamp::now();
        let first = LaunchTemplateVersion { description: self.version_description, created, data };
        let template = LaunchTemplate {
            id: id::new("lt"),
            name,
            created,
            created_by: caller.principal_arn.clone(),
            default_version: 1,
            latest_version: 1,
            versions: BTreeMap::from([(1, first)]),
            client_token,
            tags,
        };
        let launch_template = TemplateItem::from(&template);
        tx.put(template);
        Ok(OneTemplate { launch_template })
    }
}

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DeleteLaunchTemplate.html>
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DeleteLaunchTemplate {
    #[serde(default)]
    launch_template_id: Option<String>,
    #[serde(default)]
    launch_template_name: Option<String>,
    #[serde(default)]
    dry_run: Option<bool>,
}

impl Operation for DeleteLaunchTemplate {
    const ACTION: &'static str = "DeleteLaunchTemplate";
    type Output = OneTemplate;

    fn run(self, tx: &mut Transaction<'_>, _: &Caller<'_>) -> Result<OneTemplate, ApiError> {
        let template = find(tx, self.launch_template_id.as_deref(), self.launch_template_name.as_deref())?;
        dry_run::check(self.dry_run)?;
        tx.delete::<LaunchTemplate>(&template.id);
        Ok(OneTemplate { launch_template: TemplateItem::from(&*template) })
    }
}

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeLaunchTemplates.html>
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DescribeLaunchTemplates {
    #[serde(default, rename = "LaunchTemplateId")]
    launch_template_ids: Vec<String>,
    #[serde(default, rename = "LaunchTemplateName")]
    launch_template_names: Vec<String>,
    #[serde(default, rename = "Filter")]
    filters: Vec<Filter>,
    #[serde(default)]
    max_results: Option<u32>,
    #[serde(default)]
    next_token: Option<String>,
    #[serde(default)]
    dry_run: Option<bool>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Templates {
    launch_templates: Vec<TemplateItem>,
    next_token: Option<String>,
}

const COLUMNS: &[Column<Arc<LaunchTemplate>>] = &[
    ("create-time", |template| vec![template.created.to_string()]),
    ("launch-template-name", |template| vec![template.name.clone()]),
];

impl Operation for DescribeLaunchTemplates {
    const ACTION: &'static str = "DescribeLaunchTemplates";
    type Output = Templates;

    fn run(self, tx: &mut Transaction<'_>, _: &Caller<'_>) -> Result<Templates, ApiError> {
        dry_run::check(self.dry_run)?;
        let mut templates = tx.list::<LaunchTemplate>();
        for id in &self.launch_template_ids {
            find(tx, Some(id), None)?;
        }
        for name in &self.launch_template_names {
            find(tx, None, Some(name)).map_err(|error| ApiError {
                message: "At least one of the launch templates specified in the request does not exist.".to_owned(),
                ..error
            })?;
        }
        if !self.launch_template_ids.is_empty() || !self.launch_template_names.is_empty() {
            templates.retain(|template| {
                self.launch_template_ids.contains(&template.id) || self.launch_template_names.contains(&template.name)
            });
        }
        let templates = filters::retain(&self.filters, COLUMNS, Some(|template| &template.tags), templates)?;
        let (templates, next_token) =
            pagination::page(templates, |template| template.id.clone(), self.max_results, self.next_token.as_deref())?;
        Ok(Templates {
            launch_templates: templates.iter().map(|template| TemplateItem::from(&**template)).collect(),
            next_token,
        })
    }
}
