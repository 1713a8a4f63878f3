//! CreateLaunchTemplateVersion, DescribeLaunchTemplateVersions, DeleteLaunchTemplateVersions, ModifyLaunchTemplate.

use serde::{Deserialize, Serialize};

use super::{OneTemplate, TemplateItem, data::DataItem, find, version_number};
use crate::{
    api::{
        ec2::{
            dry_run,
            filters::{self, Column, Filter},
            instances::parameters::LaunchParameters,
            pagination,
        },
        error::ApiError,
        operation::{Caller, Operation},
    },
    model::{
        launch_template::{LaunchData, LaunchTemplate, LaunchTemplateVersion},
        time::Timestamp,
    },
    store::Transaction,
};

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VersionItem {
    launch_template_id: String,
    launch_template_name: String,
    version_number: u64,
    version_description: Option<String>,
    create_time: Timestamp,
    created_by: String,
    default_version: bool,
    launch_template_data: DataItem,
}

impl VersionItem {
    fn new(template: &LaunchTemplate, number: u64, version: &LaunchTemplateVersion) -> Self {
        Self {
            launch_template_id: template.id.clone(),
            launch_template_name: template.name.clone(),
            version_number: number,
            version_description: version.description.clone(),
            create_time: version.created,
            created_by: template.created_by.clone(),
            default_version: number == template.default_version,
            launch_template_data: DataItem::from(&version.data),
        }
    }
}

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateLaunchTemplateVersion.html>
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct CreateLaunchTemplateVersion {
    #[serde(default)]
    launch_template_id: Option<String>,
    #[serde(default)]
    launch_template_name: Option<String>,
    /// The version that the data are put over.
    #[serde(default)]
    source_version: Option<String>,
    launch_template_data: LaunchParameters,
    #[serde(default)]
    version_description: Option<String>,
    /// A repeated request is told by its data: they are the latest version's already.
    #[serde(default)]
    client_token: Option<String>,
    #[serde(default)]
    dry_run: Option<bool>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OneVersion {
    launch_template_version: VersionItem,
}

impl Operation for CreateLaunchTemplateVersion {
    const ACTION: &'static str = "CreateLaunchTemplateVersion";
    type Output = OneVersion;

    fn run(self, tx: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<OneVersion, ApiError> {
        let template = find(tx, self.launch_template_id.as_deref(), self.launch_template_name.as_deref())?;
        let mut template = LaunchTemplate::clone(&template);
        let base = match &self.source_version {
            None => LaunchData::default(),
            Some(version) => {
                let number = version_number(&template, Some(version))?;
                template.versions.get(&number).map(|version| version.data.clone()).unwrap_or_default()
            }
        };
        let data = self.launch_template_data.over(tx, caller.site, base)?;
        let number = template.latest_version + 1;
        let version = LaunchTemplateVersion { description: self.version_description, created: Timestamp::now(), data };
        if self.client_token.is_some_and(|token| !token.is_empty())
            && let Some(latest) = template.versions.get(&template.latest_version)
            && (&latest.data, &latest.description) == (&version.data, &version.description)
        {
            return Ok(OneVersion {
                launch_template_version: VersionItem::new(&template, template.latest_version, latest),
            });
        }
        dry_run::check(self.dry_run)?;
        let item = VersionItem::new(&template, number, &version);
        template.versions.insert(number, version);
        template.latest_version = number;
        tx.put(template);
        Ok(OneVersion { launch_template_version: item })
    }
}

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeLaunchTemplateVersions.html>
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DescribeLaunchTemplateVersions {
    #[serde(default)]
    launch_template_id: Option<String>,
    #[serde(default)]
    launch_template_name: Option<String>,
    #[serde(default, rename = "LaunchTemplateVersion")]
    versions: Vec<String>,
    #[serde(default)]
    min_version: Option<u64>,
    #[serde(default)]
    max_version: Option<u64>,
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
pub struct Versions {
    launch_template_version_set: Vec<VersionItem>,
    next_token: Option<String>,
}

const COLUMNS: &[Column<(u64, LaunchTemplateVersion, bool)>] = &[
    ("create-time", |(_, version, _)| vec![version.created.to_string()]),
    ("iam-instance-profile", |(_, version, _)| version.data.instance_profile.iter().cloned().collect()),
    ("image-id", |(_, version, _)| version.data.image_id.iter().cloned().collect()),
    ("instance-type", |(_, version, _)| version.data.instance_type.iter().cloned().collect()),
    ("is-default-version", |(_, _, default)| vec![default.to_string()]),
];

const ALL_OR_ONE: &str = "Name a launch template by LaunchTemplateId or LaunchTemplateName; without one, LaunchTemplateVersion must be $Latest, $Default or both.";

impl Operation for DescribeLaunchTemplateVersions {
    const ACTION: &'static str = "DescribeLaunchTemplateVersions";
    type Output = Versions;

    fn run(self, tx: &mut Transaction<'_>, _: &Caller<'_>) -> Result<Versions, ApiError> {
        dry_run::check(self.dry_run)?;
        let templates = match (&self.launch_template_id, &self.launch_template_name) {
            // Without a template: the latest or default versions of all.
            (None, None)
                if !self.versions.is_empty() && self.versions.iter().all(|version| version.starts_with('$')) =>
            {
                tx.list::<LaunchTemplate>()
            }
            (None, None) if self.versions.is_empty() => return Err(ApiError::new("MissingParameter", ALL_OR_ONE)),
            (None, None) => return Err(ApiError::invalid_parameter_value(ALL_OR_ONE)),
            (id, name) => vec![find(tx, id.as_deref(), name.as_deref())?],
        };
        let mut items: Vec<(String, VersionItem)> = Vec::new();
        for template in templates {
            let mut wanted = Vec::new();
            for version in &self.versions {
                wanted.push(version_number(&template, Some(version))?);
            }
            let range = self.min_version.unwrap_or(0)..=self.max_version.unwrap_or(u64::MAX);
            let versions = template
                .versions
                .iter()
                .filter(|(number, _)| if wanted.is_empty() { range.contains(number) } else { wanted.contains(number) })
                .map(|(number, version)| (*number, version.clone(), *number == template.default_version))
                .collect();
            for (number, version, _) in filters::retain(&self.filters, COLUMNS, None, versions)? {
                // The newest first, as AWS lists them.
                let key = format!("{}/{:020}", template.id, u64::MAX - number);
                items.push((key, VersionItem::new(&template, number, &version)));
            }
        }
        let (items, next_token) =
            pagination::page(items, |(key, _)| key.clone(), self.max_results, self.next_token.as_deref())?;
        Ok(Versions { launch_template_version_set: items.into_iter().map(|(_, item)| item).collect(), next_token })
    }
}

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ModifyLaunchTemplate.html>
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ModifyLaunchTemplate {
    #[serde(default)]
    launch_template_id: Option<String>,
    #[serde(default)]
    launch_template_name: Option<String>,
    #[serde(rename = "SetDefaultVersion")]
    default_version: String,
    /// Setting the same version again changes nothing.
    #[serde(default, rename = "ClientToken")]
    _client_token: Option<String>,
    #[serde(default)]
    dry_run: Option<bool>,
}

impl Operation for ModifyLaunchTemplate {
    const ACTION: &'static str = "ModifyLaunchTemplate";
    type Output = OneTemplate;

    fn run(self, tx: &mut Transaction<'_>, _: &Caller<'_>) -> Result<OneTemplate, ApiError> {
        if self.launch_template_id.is_some() && self.launch_template_name.is_some() {
            return Err(ApiError::new(
                "InvalidParameterCombination",
                "Either provide launch template ID or launch template name to modify the template.",
            ));
        }
        let template = find(tx, self.launch_template_id.as_deref(), self.launch_template_name.as_deref())?;
        let mut template = LaunchTemplate::clone(&template);
        template.default_version =
            version_number(&template, Some(&self.default_version)).map_err(|error| match error.code.as_str() {
                "InvalidLaunchTemplateId.VersionNotFound" => ApiError {
                    message: format!(
                        "The launch template version {} is not found for the specified launch template.",
                        self.default_version
                    ),
                    ..error
                },
                _ => error,
            })?;
        dry_run::check(self.dry_run)?;
        let launch_template = TemplateItem::from(&template);
        tx.put(template);
        Ok(OneTemplate { launch_template })
    }
}

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DeleteLaunchTemplateVersions.html>
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DeleteLaunchTemplateVersions {
    #[serde(default)]
    launch_template_id: Option<String>,
    #[serde(default)]
    launch_template_name: Option<String>,
    #[serde(default, rename = "LaunchTemplateVersion")]
    versions: Vec<String>,
    #[serde(default)]
    dry_run: Option<bool>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeletedVersions {
    successfully_deleted_launch_template_version_set: Vec<DeletedVersion>,
    unsuccessfully_deleted_launch_template_version_set: Vec<DeletedVersion>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct DeletedVersion {
    launch_template_id: String,
    launch_template_name: String,
    version_number: u64,
    response_error: Option<ResponseError>,
}

#[derive(Debug, Serialize)]
struct ResponseError {
    code: &'static str,
    message: String,
}

impl Operation for DeleteLaunchTemplateVersions {
    const ACTION: &'static str = "DeleteLaunchTemplateVersions";
    type Output = DeletedVersions;

    fn run(self, tx: &mut Transaction<'_>, _: &Caller<'_>) -> Result<DeletedVersions, ApiError> {
        let template = find(tx, self.launch_template_id.as_deref(), self.launch_template_name.as_deref())?;
        let mut template = LaunchTemplate::clone(&template);
        if self.versions.is_empty() {
            return Err(ApiError::missing_parameter("LaunchTemplateVersion"));
        }
        dry_run::check(self.dry_run)?;
        let (mut deleted, mut kept) = (Vec::new(), Vec::new());
        for version in &self.versions {
            let number: u64 = version.parse().map_err(|_| {
                ApiError::invalid_parameter_value(format!("Invalid launch template version: {version}"))
            })?;
            let error = if number == template.default_version {
                Some(ResponseError { code: "unexpectedError", message: "Cannot delete the default version".to_owned() })
            } else if template.versions.remove(&number).is_none() {
                let message = format!("Could not find launch template version {number}");
                Some(ResponseError { code: "launchTemplateVersionDoesNotExist", message })
            } else {
                None
            };
            let list = if error.is_some() { &mut kept } else { &mut deleted };
            list.push(DeletedVersion {
                launch_template_id: template.id.clone(),
                launch_template_name: template.name.clone(),
                version_number: number,
                response_error: error,
            });
        }
        tx.put(template);
        Ok(DeletedVersions {
            successfully_deleted_launch_template_version_set: deleted,
            unsuccessfully_deleted_launch_template_version_set: kept,
        })
    }
}
