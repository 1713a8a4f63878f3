//! The one declaration of what a deployment is. Everything else is a walk over it.

use std::path::Path;
use std::sync::{Arc, Mutex};

use crate::cloud::Cloud;
use crate::cloud::site::Site;
use crate::config::Config;
use crate::plan::order;
use crate::resource::{CloudResult, Resource};
use crate::resources::access_key::{Access, AccessKey, FormerAccessKeys, KeyPair as AccessKeyPair, Known};
use crate::resources::auto_scaling_group::AutoScalingGroup;
use crate::resources::bucket::Bucket;
use crate::resources::bucket_object::{BucketObject, Content};
use crate::resources::bundle::{Bundle, LocalBinary};
use crate::resources::database_endpoint::DatabaseEndpoint;
use crate::resources::database_instance::DatabaseInstance;
use crate::resources::instance_profile::InstanceProfile;
use crate::resources::key_pair::KeyPair;
use crate::resources::launch_configuration::LaunchConfiguration;
use crate::resources::launch_spec::{Held, LaunchSpec};
use crate::resources::launch_template::LaunchTemplate;
use crate::resources::load_balancer::LoadBalancer;
use crate::resources::own_database::OwnDatabase;
use crate::resources::role::Role;
use crate::resources::rollout::Rollout;
use crate::resources::scaling_alarm::ScalingAlarm;
use crate::resources::scaling_policy::ScalingPolicy;
use crate::resources::security_group::{Rule, SecurityGroup, Source};
use crate::resources::user::User;
use crate::resources::volume::DataVolume;
use crate::resources::volume_attachment::{DEVICE, VolumeAttachment};
use crate::resources::web_endpoint::WebEndpoint;
use crate::state::{ScaleBounds, private_key_path};
use crate::user_data::{self, DatabaseFacts, Facts, WebFacts, Writers};

/// What a declaration is made from. Commands that only look leave the site empty and name no binary.
pub struct Blueprint<'a> {
    /// The settings.
    pub config: &'a Config,
    /// The cloud, for its addresses and capabilities.
    pub cloud: &'a Cloud,
    /// Where the stack goes.
    pub site: Site,
    /// The app's binary.
    pub binary: Option<LocalBinary>,
    /// The group's bounds: the configured ones, or those chosen with `scale`.
    pub bounds: ScaleBounds,
    /// Where the private key is kept.
    pub state_dir: &'a Path,
    /// What the looks at the cloud tell beside what they find.
    pub learned: Learned,
}

/// Shared by the declarations of one run: what was found by one of them is known to the others.
#[derive(Clone, Default)]
pub struct Learned {
    held: Arc<Mutex<Option<Held>>>,
    web_key: Known,
    database_key: Known,
}

fn facts(cloud: &Cloud) -> Facts {
    Facts {
        stack: cloud.stack.clone(),
        region: cloud.endpoints.region.clone(),
        s3_endpoint: cloud.endpoints.s3_for_vms.clone(),
        s3_public_endpoint: cloud.endpoints.s3_for_browsers.clone(),
        s3_path_style: cloud.endpoints.s3_path_style,
        bucket: cloud.bucket(),
        access_key: None,
    }
}

/// How long the user-data of a database VM and of a web VM of this stack is, or what is wrong with it.
pub fn user_data_lengths(cloud: &Cloud) -> CloudResult<(usize, usize)> {
    let key = AccessKeyPair { access_key_id: "A".repeat(20), secret_access_key: "s".repeat(40) };
    let facts = facts(cloud).with_key((!cloud.capabilities.instance_profiles).then_some(key));
    let volume_id = format!("vol-{}", "0".repeat(17));
    let database = user_data::database(&DatabaseFacts { facts: facts.clone(), volume_id, device: DEVICE.to_owned() })?;
    let bundle = LocalBinary { sha256: "0".repeat(64), ..LocalBinary::default() };
    let web = user_data::web(&WebFacts {
        facts,
        bundle_key: bundle.object_key(),
        bundle_sha256: bundle.sha256,
        ..WebFacts::default()
    })?;
    Ok((database.len(), web.len()))
}

/// Declares every resource of the stack, each after what it needs.
pub fn declare(blueprint: Blueprint<'_>) -> Vec<Box<dyn Resource>> {
    let Blueprint { config, cloud, site, binary, bounds, state_dir, learned } = blueprint;
    // What is wrong with it was said when the settings were read.
    let own_database = config.own_database().ok().flatten();
    let bucket = cloud.bucket();
    let capabilities = cloud.capabilities;
    // cloud-init gets itself a token only where the machine says that it is AWS's: elsewhere it would find nothing.
    // https://github.com/canonical/cloud-init/blob/22.4/cloudinit/sources/DataSourceEc2.py
    let metadata_tokens = capabilities.metadata_tokens && cloud.endpoints.ec2.is_empty();
    let facts = facts(cloud);
    let access = |key| if capabilities.instance_profiles { Access::Profile } else { Access::Key(key) };
    let (web_access, database_access) = (access(learned.web_key), access(learned.database_key));
    let spec = LaunchSpec {
        image_id: site.image_id.clone(),
        instance_type: config.web_instance_type().to_owned(),
        facts: facts.clone(),
        binary: binary.clone().unwrap_or_default(),
        metadata_tokens,
        access: web_access.clone(),
        database_authority_sha256: own_database.as_ref().and_then(OwnDatabase::authority_sha256),
        writers: Writers {
            token_sha256: config.write_token_sha256().ok().flatten(),
            writes_per_minute: config.web.writes_per_minute,
        },
        held: learned.held,
    };
    let from = |port, source| Rule { port, from: source };
    let ssh: Vec<Rule> = config.network.ssh_from.iter().map(|range| from(22, Source::Range(range.clone()))).collect();
    let group =
        |name, description, rules: Vec<Rule>| SecurityGroup { name, description, vpc_id: site.vpc_id.clone(), rules };
    let launch: Box<dyn Resource> = if capabilities.launch_templates {
        Box::new(LaunchTemplate(spec.clone()))
    } else {
        Box::new(LaunchConfiguration(spec.clone()))
    };
    let (low, high) = config.scaling.thresholds(config.scaling.by);
    let period_secs = i32::try_from(config.scaling.period_secs()).unwrap_or(i32::MAX / 2);
    let mut resources: Vec<Box<dyn Resource>> = vec![
        // Storage
        Box::new(Bucket),
        Box::new(BucketObject(Content::StackMarker)),
        Box::new(BucketObject(Content::DatabasePassword)),
        Box::new(Bundle(binary)),
        Box::new(KeyPair { private_key: private_key_path(state_dir, &cloud.stack) }),
        // Who may talk to whom
        Box::new(group(
            "load-balancer",
            "IMAGE CRUD: everyone to the load balancer",
            vec![from(config.port(), Source::Range("0.0.0.0/0".to_owned()))],
        )),
        Box::new(group(
            "web",
            "IMAGE CRUD: the load balancer to the web VMs",
            [vec![from(80, Source::Group("load-balancer"))], ssh.clone()].concat(),
        )),
        // The web servers
        Box::new(LoadBalancer {
            port: config.port(),
            certificate: config.listener.certificate.clone(),
            host: config.listener.host.clone(),
            subnets: site.subnets.clone(),
            draining: capabilities.connection_draining,
        }),
        launch,
        Box::new(AutoScalingGroup { bounds, spec, templates: capabilities.launch_templates, subnets: site.subnets }),
        Box::new(Rollout::within(config.health_limit())),
        // A new instance needs a while to show in the group's average; taking away is the more careful step.
        Box::new(ScalingPolicy { name: "scale-out", adjustment: 1, cooldown_secs: period_secs }),
        Box::new(ScalingPolicy { name: "scale-in", adjustment: -1, cooldown_secs: 2 * period_secs }),
        Box::new(ScalingAlarm {
            metric: config.scaling.by,
            above: true,
            threshold: high,
            period_secs,
            policy: "scale-out",
        }),
        Box::new(ScalingAlarm {
            metric: config.scaling.by,
            above: false,
            threshold: low,
            period_secs,
            policy: "scale-in",
        }),
        Box::new(WebEndpoint),
    ];
    // The database
    let has_database_vm = own_database.is_none();
    match own_database {
        Some(own) => resources.push(Box::new(own)),
        None => {
            let vm: Vec<Box<dyn Resource>> = vec![
                Box::new(DataVolume {
                    size_gib: config.volume_gib(),
                    zone: site.zone.clone(),
                    encrypted: capabilities.encrypted_volumes,
                }),
                Box::new(group(
                    "database",
                    "IMAGE CRUD: the web VMs to the database",
                    [vec![from(3306, Source::Group("web"))], ssh].concat(),
                )),
                Box::new(DatabaseInstance {
                    instance_type: config.database_instance_type().to_owned(),
                    image_id: site.database_image_id.clone(),
                    zone: site.zone.clone(),
                    subnet_id: site.subnet_id.clone(),
                    facts,
                    metadata_tokens,
                    access: database_access.clone(),
                    device: DEVICE,
                    launched: std::sync::OnceLock::new(),
                }),
                Box::new(VolumeAttachment),
                Box::new(DatabaseEndpoint),
            ];
            resources.extend(vm);
        }
    }
    // Who may do what
    let vms = [(Role::web(&bucket), web_access), (Role::database(&bucket), database_access)];
    for (role, access) in vms.into_iter().filter(|(role, _)| has_database_vm || role.name == "web") {
        let name = role.name;
        match access {
            Access::Profile => {
                resources.push(Box::new(role));
                resources.push(Box::new(InstanceProfile { name }));
            }
            Access::Key(known) => {
                resources.push(Box::new(User::from(role)));
                resources.push(Box::new(AccessKey { name, known }));
            }
        }
    }
    if !capabilities.instance_profiles {
        resources.push(Box::new(FormerAccessKeys));
    }
    order(resources)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::cloud::capabilities::Capabilities;
    use crate::cloud::clients::for_eucarc;
    use crate::cloud::eucarc::Eucarc;
    use crate::resource::{ResourceKey, Retention};

    async fn declared(launch_templates: bool) -> Vec<Box<dyn Resource>> {
        let names = ["EC2", "S3", "AWS_ELB", "AWS_AUTO_SCALING", "AWS_CLOUDWATCH", "AWS_IAM"];
        let mut text: String = names.iter().map(|name| format!("export {name}_URL=http://127.0.0.1:9/\n")).collect();
        text.push_str("export AWS_ACCESS_KEY_ID=a\nexport AWS_SECRET_ACCESS_KEY=b\n");
        let clients = for_eucarc(&Eucarc::parse(&text, "/"), None).await.unwrap();
        let capabilities = Capabilities { launch_templates, ..Capabilities::default() };
        let cloud = Cloud::new(clients, "imagecrud", "0123456789", capabilities);
        let config = Config::default();
        declare(Blueprint {
            config: &config,
            cloud: &cloud,
            site: Site::default(),
            binary: None,
            bounds: config.bounds(),
            state_dir: Path::new("."),
            learned: Learned::default(),
        })
    }

    #[tokio::test]
    async fn every_resource_comes_once_and_after_what_it_needs() {
        for launch_templates in [true, false] {
            let mut seen: BTreeSet<ResourceKey> = BTreeSet::new();
            for resource in declared(launch_templates).await {
                for need in resource.needs() {
                    assert!(seen.contains(&need), "{} needs {need}", resource.key());
                }
                assert!(seen.insert(resource.key()), "{} twice", resource.key());
            }
        }
    }

    #[tokio::test]
    async fn only_the_volume_and_the_bucket_hold_data() {
        let kept: Vec<String> = declared(true)
            .await
            .iter()
            .filter(|r| r.retention() == Retention::Data && r.goes_with().is_none())
            .map(|r| r.key().to_string())
            .collect();
        assert_eq!(kept, ["bucket/pictures", "volume/mysql-data"]);
    }

    #[tokio::test]
    async fn a_web_vm_does_not_wait_for_the_database() {
        let resources = declared(true).await;
        let group = resources.iter().find(|r| r.key().kind() == "auto-scaling-group").unwrap();
        let mut open = group.needs();
        while let Some(need) = open.pop() {
            assert_ne!(need.to_string(), "instance/database");
            open.extend(resources.iter().find(|r| r.key() == need).unwrap().needs());
        }
    }
}
