//! The versions of the web VMs that the cloud still has: template versions, or launch configurations where it
//! has no templates. What is no longer needed to go back to is pruned, with its binary.

use std::collections::BTreeSet;

use aws_sdk_autoscaling::types::AutoScalingGroup;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::cloud::Cloud;
use crate::cloud::retry::{CloudError, gone};
use crate::resource::{Attributes, CloudResult};
use crate::resources::auto_scaling_group::{current, version_of};
use crate::resources::{bundle, launch_configuration, launch_template, rollout};

/// So many versions are kept, the one in service among them.
pub const KEPT: usize = 5;

/// One version.
#[derive(Clone, Debug, Default)]
pub struct WebVersion {
    /// What the group calls it: a template version's number, or a launch configuration's name.
    pub name: String,
    /// When it was made, in seconds since 1970.
    pub created_secs: i64,
    /// The SHA-256 of the app's binary.
    pub bundle_sha256: String,
    /// What makes it that version, with its digest.
    pub attributes: Attributes,
    /// Whether its web servers say who they are.
    pub tells_who_serves: bool,
}

impl WebVersion {
    pub(crate) fn new(name: String, created_secs: i64, attributes: Attributes, user_data: &str) -> Self {
        let text = STANDARD.decode(user_data).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let bundle = text.lines().find_map(|line| line.trim().strip_prefix("BUNDLE_SHA256="));
        Self {
            name,
            created_secs,
            bundle_sha256: bundle.unwrap_or_default().to_owned(),
            attributes,
            tells_who_serves: text.contains("SERVED_BY="),
        }
    }

    /// The digest of what it launches.
    pub fn digest(&self) -> &str {
        self.attributes.get("digest")
    }

    /// The part of its name that tells it from the others.
    pub fn short_name(&self) -> &str {
        self.name.rsplit('-').next().unwrap_or_default()
    }

    /// Whether somebody means this version: its name, the end of it, or the begin of its binary's hash.
    pub fn is_meant_by(&self, word: &str) -> bool {
        self.name == word || self.short_name() == word || word.len() >= 4 && self.bundle_sha256.starts_with(word)
    }
}

/// All that there are, oldest first.
pub async fn list(cloud: &Cloud) -> CloudResult<Vec<WebVersion>> {
    if cloud.capabilities.launch_templates {
        launch_template::list(cloud).await
    } else {
        launch_configuration::list(cloud).await
    }
}

/// The version that a group launches.
pub fn in_service(group: &AutoScalingGroup) -> &str {
    version_of(group.launch_template(), group.launch_configuration_name())
}

/// The versions that the group, its instances, or a rollout that is under way still need.
fn needed(group: Option<&AutoScalingGroup>) -> BTreeSet<String> {
    let Some(group) = group else { return BTreeSet::new() };
    let instances = group.instances().iter();
    let mut names: BTreeSet<String> = instances
        .map(|instance| version_of(instance.launch_template(), instance.launch_configuration_name()).to_owned())
        .collect();
    names.insert(in_service(group).to_owned());
    names.extend(rollout::noted(group).and_then(|note| note.previous));
    names
}

/// Which go: the oldest beyond the number kept, but none that is needed.
fn too_many<'v>(versions: &'v [WebVersion], needed: &BTreeSet<String>, latest: &str) -> Vec<&'v WebVersion> {
    let beyond = versions.len().saturating_sub(KEPT);
    versions[..beyond].iter().filter(|v| v.name != latest && !needed.contains(&v.name)).collect()
}

/// Removes old versions, and binaries that no version names any more. `latest` is about to go into service.
pub(crate) async fn prune(cloud: &Cloud, latest: &str) -> CloudResult<()> {
    let versions = list(cloud).await?;
    let group = current(cloud).await?;
    let doomed = too_many(&versions, &needed(group.as_ref()), latest);
    let names: Vec<String> = doomed.iter().map(|version| version.name.clone()).collect();
    if names.is_empty() {
        return Ok(());
    }
    if cloud.capabilities.launch_templates {
        let delete = cloud.ec2.delete_launch_template_versions().launch_template_name(cloud.name("web"));
        delete.set_versions(Some(names.clone())).send().await?;
    } else {
        for name in &names {
            let delete = cloud.autoscaling.delete_launch_configuration().launch_configuration_name(name);
            gone(delete.send().await.map_err(CloudError::from))?;
        }
    }
    let kept = versions.iter().filter(|version| !names.contains(&version.name));
    bundle::delete_all_but(cloud, &kept.map(|version| version.bundle_sha256.as_str()).collect()).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(name: &str, sha256: &str) -> WebVersion {
        WebVersion { name: name.to_owned(), bundle_sha256: sha256.to_owned(), ..WebVersion::default() }
    }

    #[test]
    fn the_newest_five_stay_and_older_ones_only_while_they_are_needed() {
        let versions: Vec<WebVersion> = (1..=9).map(|n| version(&n.to_string(), "")).collect();
        let needed = BTreeSet::from(["2".to_owned()]);
        let names: Vec<&str> = too_many(&versions, &needed, "1").iter().map(|v| v.name.as_str()).collect();
        assert_eq!(names, ["3", "4"]);
        assert!(too_many(&versions[..5], &BTreeSet::new(), "").is_empty());
    }

    #[test]
    fn a_version_is_meant_by_its_number_its_digest_or_its_binary() {
        let template = version("3", "abcdef0123");
        assert!(template.is_meant_by("3") && template.is_meant_by("abcd") && !template.is_meant_by("abc"));
        assert!(version("imagecrud-web-0123456789ab", "ff").is_meant_by("0123456789ab"));
    }

    #[test]
    fn the_binary_and_the_identity_are_read_out_of_the_user_data() {
        let text = "#cloud-config\n      BUNDLE_SHA256=ab12\n  printf 'SERVED_BY=%s'\n";
        let version = WebVersion::new("1".into(), 0, Attributes::default(), &STANDARD.encode(text));
        assert_eq!((version.bundle_sha256.as_str(), version.tells_who_serves), ("ab12", true));
        assert!(!WebVersion::new("1".into(), 0, Attributes::default(), "").tells_who_serves);
    }
}
