//! `versions`: what the web servers can be rolled back to, and which of it is in service.

use aws_sdk_autoscaling::types::AutoScalingGroup;
use serde_json::json;

use crate::cli::VersionsOptions;
use crate::cloud::Cloud;
use crate::cloud::retry::CloudError;
use crate::commands::Session;
use crate::error::{Exit, Failure};
use crate::report::table;
use crate::resources::auto_scaling_group::{self, version_of};
use crate::resources::rollout::{self, FAILED_TAG};
use crate::resources::web_version::{self, WebVersion};

/// Runs it.
pub async fn run(session: Session, options: VersionsOptions) -> Result<Exit, Failure> {
    let clients = session.running_clients("listing the versions").await?;
    let (cloud, _state) = session.connect(clients).await?;
    let (versions, group) = look(&cloud).await?;
    if options.json {
        let list: Vec<_> = versions.iter().map(|version| as_json(version, group.as_ref())).collect();
        session.report.data(format!("{:#}", json!({ "stack": cloud.stack, "versions": list })));
        return Ok(Exit::Done);
    }
    if versions.is_empty() {
        session.report.say("there is no version yet; `imagecrud-deploy up` makes one");
    }
    let rows: Vec<Vec<String>> = versions.iter().rev().map(|version| row(version, group.as_ref())).collect();
    session.report.data(table(&["VERSION", "CREATED", "BINARY", "IMAGE", "TYPE", "RUNNING", "IN SERVICE"], &rows));
    Ok(Exit::Done)
}

/// The versions, oldest first, and the group.
pub async fn look(cloud: &Cloud) -> Result<(Vec<WebVersion>, Option<AutoScalingGroup>), Failure> {
    let fail = |error: CloudError| Failure::cloud("listing the versions", &error);
    let (versions, group) = tokio::join!(web_version::list(cloud), auto_scaling_group::current(cloud));
    Ok((versions.map_err(fail)?, group.map_err(fail)?))
}

/// How many instances run a version, and whether the group launches it.
fn use_of(version: &WebVersion, group: Option<&AutoScalingGroup>) -> (usize, bool) {
    let Some(group) = group else { return (0, false) };
    let runs = |i: &&aws_sdk_autoscaling::types::Instance| {
        version_of(i.launch_template(), i.launch_configuration_name()) == version.name
    };
    (group.instances().iter().filter(runs).count(), web_version::in_service(group) == version.name)
}

/// Whether it did not get healthy when it was last tried.
fn has_failed(version: &WebVersion, group: Option<&AutoScalingGroup>) -> bool {
    group.is_some_and(|group| rollout::digests(rollout::tag_of(group, FAILED_TAG)).any(|of| of == version.digest()))
}

fn when(version: &WebVersion) -> String {
    jiff::Timestamp::from_second(version.created_secs)
        .map_or_else(|_| String::new(), |time| time.strftime("%FT%TZ").to_string())
}

fn row(version: &WebVersion, group: Option<&AutoScalingGroup>) -> Vec<String> {
    let (running, in_service) = use_of(version, group);
    let sha256 = &version.bundle_sha256;
    vec![
        version.short_name().to_owned(),
        when(version),
        sha256.get(..12).unwrap_or(sha256).to_owned(),
        version.attributes.get("image_id").to_owned(),
        version.attributes.get("instance_type").to_owned(),
        running.to_string(),
        match (in_service, has_failed(version, group)) {
            (true, _) => "yes",
            (false, true) => "failed",
            (false, false) => "",
        }
        .to_owned(),
    ]
}

fn as_json(version: &WebVersion, group: Option<&AutoScalingGroup>) -> serde_json::Value {
    let (running, in_service) = use_of(version, group);
    json!({
        "version": version.short_name(), "created": when(version), "sha256": version.bundle_sha256,
        "image": version.attributes.get("image_id"), "instance_type": version.attributes.get("instance_type"),
        "running": running, "in_service": in_service, "failed": has_failed(version, group),
    })
}
