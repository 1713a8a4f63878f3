//! Looks through every API for what carries the stack's tag, or a name of the stack where tags do not exist.
//! Teardown ends with it, and finds by it what no declaration names any more.

use aws_sdk_ec2::types::{Filter, Tag};

use crate::cloud::retry::{CloudError, found_if_known, gone};
use crate::cloud::{Cloud, RESOURCE_TAG, STACK_TAG};
use crate::resource::{CloudResult, ResourceKey};
use crate::resources::database_instance::is_alive;
use crate::resources::{backup, baked_image, scaling_alarm};

/// Something of the stack that is still there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leftover {
    /// The AWS noun.
    pub kind: &'static str,
    /// Its id.
    pub id: String,
    /// The resource its tag names.
    pub key: Option<ResourceKey>,
}

impl Leftover {
    fn new(kind: &'static str, id: Option<&str>, tags: &[Tag]) -> Self {
        let key = tags.iter().find(|tag| tag.key() == Some(RESOURCE_TAG)).and_then(|tag| tag.value());
        Self { kind, id: id.unwrap_or_default().to_owned(), key: key.and_then(ResourceKey::parse) }
    }

    /// Whether it holds the user's data.
    pub fn is_data(&self) -> bool {
        let is_backup = self.key.as_ref().is_some_and(|key| *key == backup::backup_key());
        matches!(self.kind, "volume" | "bucket") || self.kind == "snapshot" && is_backup
    }

    /// Deletes it, where it is of a kind that an older declaration may have left.
    pub async fn delete(&self, cloud: &Cloud) -> CloudResult<()> {
        let id = self.id.as_str();
        match self.kind {
            "instance" => gone(cloud.ec2.terminate_instances().instance_ids(id).send().await.map_err(CloudError::from)),
            "volume" => gone(cloud.ec2.delete_volume().volume_id(id).send().await.map_err(CloudError::from)),
            "image" => baked_image::delete(cloud, id).await,
            "snapshot" => gone(cloud.ec2.delete_snapshot().snapshot_id(id).send().await.map_err(CloudError::from)),
            "security-group" => {
                gone(cloud.ec2.delete_security_group().group_id(id).send().await.map_err(CloudError::from))
            }
            "launch-template" => {
                gone(cloud.ec2.delete_launch_template().launch_template_id(id).send().await.map_err(CloudError::from))
            }
            "key-pair" => gone(cloud.ec2.delete_key_pair().key_name(id).send().await.map_err(CloudError::from)),
            "launch-configuration" => gone(
                cloud
                    .autoscaling
                    .delete_launch_configuration()
                    .launch_configuration_name(id)
                    .send()
                    .await
                    .map_err(CloudError::from),
            ),
            "scaling-alarm" => {
                gone(cloud.cloudwatch.delete_alarms().alarm_names(id).send().await.map_err(CloudError::from))
            }
            other => Err(CloudError::other(format!("a {other} is not deleted this way"))),
        }
    }
}

/// Everything of the stack that is there.
pub async fn list(cloud: &Cloud) -> CloudResult<Vec<Leftover>> {
    let (ec2, scaling, balancing, iam, storage) =
        tokio::join!(in_ec2(cloud), in_auto_scaling(cloud), in_load_balancing(cloud), in_iam(cloud), in_s3(cloud));
    let mut all = ec2?;
    all.extend(scaling?);
    all.extend(balancing?);
    all.extend(iam?);
    all.extend(storage?);
    Ok(all)
}

async fn in_ec2(cloud: &Cloud) -> CloudResult<Vec<Leftover>> {
    let ours = Filter::builder().name(format!("tag:{STACK_TAG}")).values(&cloud.stack).build();
    let ec2 = &cloud.ec2;
    let (instances, volumes, images, snapshots, groups, templates, pairs) = tokio::join!(
        ec2.describe_instances().filters(ours.clone()).send(),
        ec2.describe_volumes().filters(ours.clone()).send(),
        ec2.describe_images().owners("self").filters(ours.clone()).send(),
        ec2.describe_snapshots().owner_ids("self").filters(ours.clone()).send(),
        ec2.describe_security_groups().filters(ours.clone()).send(),
        ec2.describe_launch_templates().filters(ours.clone()).send(),
        ec2.describe_key_pairs().key_names(cloud.name("ssh")).send(),
    );
    let mut all = Vec::new();
    let instances = found_if_known(instances.map_err(CloudError::from))?;
    let instances = instances.iter().flat_map(|answer| answer.reservations()).flat_map(|r| r.instances());
    all.extend(instances.filter(|i| is_alive(i)).map(|i| Leftover::new("instance", i.instance_id(), i.tags())));
    let volumes = found_if_known(volumes.map_err(CloudError::from))?;
    let volumes = volumes.iter().flat_map(|answer| answer.volumes());
    let volumes = volumes.filter(|v| v.state().is_none_or(|state| !state.as_str().starts_with("delet")));
    all.extend(volumes.map(|v| Leftover::new("volume", v.volume_id(), v.tags())));
    let images = found_if_known(images.map_err(CloudError::from))?;
    let images = images.iter().flat_map(|answer| answer.images());
    all.extend(images.map(|i| Leftover::new("image", i.image_id(), i.tags())));
    let snapshots = found_if_known(snapshots.map_err(CloudError::from))?;
    let snapshots = snapshots.iter().flat_map(|answer| answer.snapshots());
    all.extend(snapshots.map(|s| Leftover::new("snapshot", s.snapshot_id(), s.tags())));
    let groups = found_if_known(groups.map_err(CloudError::from))?;
    let groups = groups.iter().flat_map(|answer| answer.security_groups());
    all.extend(groups.map(|g| Leftover::new("security-group", g.group_id(), g.tags())));
    let templates = found_if_known(templates.map_err(CloudError::from))?;
    let templates = templates.iter().flat_map(|answer| answer.launch_templates());
    all.extend(templates.map(|t| Leftover::new("launch-template", t.launch_template_id(), t.tags())));
    let pairs = found_if_known(pairs.map_err(CloudError::from))?;
    let pairs = pairs.iter().flat_map(|answer| answer.key_pairs());
    all.extend(pairs.map(|p| Leftover::new("key-pair", p.key_name(), p.tags())));
    Ok(all)
}

async fn in_auto_scaling(cloud: &Cloud) -> CloudResult<Vec<Leftover>> {
    let name = cloud.name("web");
    let prefix = cloud.name("web-");
    let (groups, configurations, alarms) = tokio::join!(
        cloud.autoscaling.describe_auto_scaling_groups().auto_scaling_group_names(&name).send(),
        cloud.autoscaling.describe_launch_configurations().send(),
        cloud.cloudwatch.describe_alarms().set_alarm_names(Some(scaling_alarm::names(cloud))).send(),
    );
    let mut all = Vec::new();
    let groups = found_if_known(groups.map_err(CloudError::from))?;
    let groups = groups.iter().flat_map(|answer| answer.auto_scaling_groups());
    all.extend(groups.map(|g| Leftover::new("auto-scaling-group", g.auto_scaling_group_name(), &[])));
    let configurations = found_if_known(configurations.map_err(CloudError::from))?;
    let names = configurations
        .iter()
        .flat_map(|answer| answer.launch_configurations())
        .filter_map(|configuration| configuration.launch_configuration_name())
        .filter(|name| name.strip_prefix(&prefix).is_some_and(|rest| rest.len() == 12));
    all.extend(names.map(|name| Leftover::new("launch-configuration", Some(name), &[])));
    let alarms = found_if_known(alarms.map_err(CloudError::from))?;
    // Another stack's name may begin with ours and `-cpu`: the description tells whose an alarm is.
    let ours = |description: &str| description.rsplit(" of the stack ").next() == Some(cloud.stack.as_str());
    let alarms = alarms.iter().flat_map(|answer| answer.metric_alarms());
    let alarms = alarms.filter(|alarm| alarm.alarm_description().is_none_or(ours));
    all.extend(alarms.map(|alarm| Leftover::new("scaling-alarm", alarm.alarm_name(), &[])));
    Ok(all)
}

async fn in_load_balancing(cloud: &Cloud) -> CloudResult<Vec<Leftover>> {
    let request = cloud.elb.describe_load_balancers().load_balancer_names(&cloud.stack);
    let answer = found_if_known(request.send().await.map_err(CloudError::from))?;
    let all = answer.iter().flat_map(|answer| answer.load_balancer_descriptions());
    Ok(all.map(|lb| Leftover::new("load-balancer", lb.load_balancer_name(), &[])).collect())
}

async fn in_iam(cloud: &Cloud) -> CloudResult<Vec<Leftover>> {
    let mut all = Vec::new();
    for kind in ["web", "database"] {
        let name = cloud.regional_name(kind);
        let (role, profile) = tokio::join!(
            cloud.iam.get_role().role_name(&name).send(),
            cloud.iam.get_instance_profile().instance_profile_name(&name).send(),
        );
        if found_if_known(role.map_err(CloudError::from))?.is_some() {
            all.push(Leftover::new("role", Some(&name), &[]));
        }
        if found_if_known(profile.map_err(CloudError::from))?.is_some() {
            all.push(Leftover::new("instance-profile", Some(&name), &[]));
        }
        if !cloud.capabilities.instance_profiles {
            let user = cloud.iam.get_user().user_name(&name).send().await.map_err(CloudError::from);
            all.extend(found_if_known(user)?.map(|_| Leftover::new("user", Some(&name), &[])));
        }
    }
    Ok(all)
}

async fn in_s3(cloud: &Cloud) -> CloudResult<Vec<Leftover>> {
    let name = cloud.bucket();
    let head = found_if_known(cloud.s3.head_bucket().bucket(&name).send().await.map_err(CloudError::from))?;
    Ok(head.map(|_| Leftover::new("bucket", Some(&name), &[])).into_iter().collect())
}
