//! The resources of the stack, one file per noun. SDK types stay inside these files.

use crate::resource::ResourceKey;

/// Access keys of the VMs, for clouds without instance profiles.
pub mod access_key;
/// Auto Scaling group of the web VMs.
pub mod auto_scaling_group;
/// Snapshots of the data volume.
pub mod backup;
/// Images baked off a VM.
pub mod baked_image;
/// The private bucket.
pub mod bucket;
/// Small objects that the provisioner keeps in the bucket.
pub mod bucket_object;
/// The app's binary in the bucket.
pub mod bundle;
/// "The database serves", as the database VM itself says.
pub mod database_endpoint;
/// The database VM.
pub mod database_instance;
/// What the gallery holds.
pub mod gallery;
/// Instance profiles.
pub mod instance_profile;
/// The key pair for ssh.
pub mod key_pair;
/// Launch configuration, for clouds without templates.
pub mod launch_configuration;
/// What a web VM is launched with.
pub mod launch_spec;
/// Launch template.
pub mod launch_template;
/// Classic load balancer.
pub mod load_balancer;
/// CreateVolume, with a client token or without.
mod new_volume;
/// A MySQL of the user's own.
pub mod own_database;
/// Inline policies.
pub mod policy;
/// IAM roles.
pub mod role;
/// Replacing web VMs that run an older version.
pub mod rollout;
/// CloudWatch alarms that run the policies.
pub mod scaling_alarm;
/// Scaling policies.
pub mod scaling_policy;
/// Security groups.
pub mod security_group;
/// Judging the VMs of a new version.
pub mod trial;
/// IAM users, for clouds without instance profiles.
pub mod user;
/// The data volume.
pub mod volume;
/// The data volume at the database VM.
pub mod volume_attachment;
/// "The gallery answers", as a browser would see it.
pub mod web_endpoint;
/// The versions of the web VMs.
pub mod web_version;

macro_rules! keys {
    ($($(#[$doc:meta])* $name:ident = $kind:literal / $of:literal;)*) => {
        $($(#[$doc])* pub fn $name() -> ResourceKey { ResourceKey::new($kind, $of) })*
    };
}

/// The keys of the resources that others refer to.
pub mod keys {
    use super::ResourceKey;

    keys! {
        /// The bucket.
        bucket = "bucket" / "pictures";
        /// The marker by which the bucket is found again.
        stack_marker = "object" / "stack-marker";
        /// The database password.
        database_password = "object" / "database-password";
        /// The app's binary.
        bundle = "bundle" / "imagecrud";
        /// The key pair.
        key_pair = "key-pair" / "ssh";
        /// The data volume.
        volume = "volume" / "mysql-data";
        /// The database VM.
        database_instance = "instance" / "database";
        /// Its volume attached to it.
        volume_attachment = "volume-attachment" / "mysql-data";
        /// It serves.
        database_endpoint = "endpoint" / "database";
        /// The load balancer.
        load_balancer = "load-balancer" / "web";
        /// The launch template.
        launch_template = "launch-template" / "web";
        /// The launch configuration.
        launch_configuration = "launch-configuration" / "web";
        /// The group.
        auto_scaling_group = "auto-scaling-group" / "web";
        /// Its instances' versions.
        rollout = "rollout" / "web";
        /// The gallery.
        web_endpoint = "endpoint" / "web";
    }

    /// A security group by name.
    pub fn security_group(name: &str) -> ResourceKey {
        ResourceKey::new("security-group", name)
    }

    /// A role by name.
    pub fn role(name: &str) -> ResourceKey {
        ResourceKey::new("role", name)
    }

    /// An instance profile by name.
    pub fn instance_profile(name: &str) -> ResourceKey {
        ResourceKey::new("instance-profile", name)
    }

    /// A user by name.
    pub fn user(name: &str) -> ResourceKey {
        ResourceKey::new("user", name)
    }

    /// A user's access key by the user's name.
    pub fn access_key(name: &str) -> ResourceKey {
        ResourceKey::new("access-key", name)
    }

    /// A scaling policy by name.
    pub fn scaling_policy(name: &str) -> ResourceKey {
        ResourceKey::new("scaling-policy", name)
    }
}

/// The last lines of an instance's console, indented, for messages.
pub(crate) async fn console_tail(cloud: &crate::cloud::Cloud, instance_id: &str) -> Option<String> {
    use base64::Engine as _;
    let answer = cloud.ec2.get_console_output().instance_id(instance_id).send().await.ok()?;
    let bytes = base64::engine::general_purpose::STANDARD.decode(answer.output()?).ok()?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let tail = lines.len().saturating_sub(15);
    if lines.is_empty() {
        return None;
    }
    let mut message = match cloud_init_stage(&text) {
        Some(stage) => format!("cloud-init of {instance_id} {stage}; its console ends with:"),
        None => format!("the console of {instance_id} ends with:"),
    };
    for line in &lines[tail..] {
        message.push_str("\n  | ");
        message.push_str(line);
    }
    Some(message)
}

/// How far cloud-init says it is, on a console.
fn cloud_init_stage(console: &str) -> Option<String> {
    let last = console.lines().rev().find_map(|line| line.split_once("Cloud-init v. ").map(|(_, rest)| rest))?;
    if last.contains(" finished ") {
        return Some("has finished".to_owned());
    }
    let (_, rest) = last.split_once("running '")?;
    Some(format!("is in its stage {}", rest.split('\'').next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_stage_of_cloud_init_is_told() {
        let console = "[    1.0] Cloud-init v. 22.4.2 running 'init' at Fri, 27 Nov 2026 10:00:00 +0000. Up 4 seconds.\n\
                       [    3.0] Cloud-init v. 22.4.2 running 'modules:final' at Fri, 27 Nov 2026 10:00:03 +0000.\n";
        assert_eq!(cloud_init_stage(console).as_deref(), Some("is in its stage modules:final"));
        let finished = format!("{console}Cloud-init v. 22.4.2 finished at Fri, 27 Nov 2026 10:00:09 +0000.\n");
        assert_eq!(cloud_init_stage(&finished).as_deref(), Some("has finished"));
        assert_eq!(cloud_init_stage("Debian GNU/Linux 12 debian hvc0"), None);
    }
}
