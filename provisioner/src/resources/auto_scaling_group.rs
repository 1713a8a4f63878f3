//! The Auto Scaling group of the web VMs. How many run is the alarms' and the user's to say: the plan holds
//! the group to its bounds, never to a number.

use std::collections::BTreeMap;

use async_trait::async_trait;
use aws_sdk_autoscaling::types::{
    AutoScalingGroup as SdkGroup, Instance, LaunchTemplateSpecification, LifecycleState, Tag,
};
use aws_sdk_ec2::types::InstanceStateName;

use crate::cloud::retry::{CloudError, found, gone};
use crate::cloud::{Cloud, RESOURCE_TAG, STACK_TAG};
use crate::resource::{
    Changes, ClientToken, CloudResult, Desired, Observed, Outputs, Patience, Phase, Resource, ResourceKey, Value,
};
use crate::resources::launch_spec::LaunchSpec;
use crate::resources::rollout::{ROLLED_BACK_TAG, held, tag_of};
use crate::resources::{keys, web_version};
use crate::state::ScaleBounds;

/// A VM that is not healthy this long after its launch is replaced. Always sent, as the API's default is 0
/// and would kill every VM while it boots.
/// https://docs.aws.amazon.com/autoscaling/ec2/userguide/health-check-grace-period.html
const GRACE_SECS: i32 = 180;

/// The group.
pub struct AutoScalingGroup {
    /// Its bounds, and its size at its creation.
    pub bounds: ScaleBounds,
    /// What it launches.
    pub spec: LaunchSpec,
    /// Whether that is kept as a template.
    pub templates: bool,
    /// Its subnets.
    pub subnets: Vec<String>,
}

/// The group as Auto Scaling shows it.
pub(crate) async fn current(cloud: &Cloud) -> CloudResult<Option<SdkGroup>> {
    let name = cloud.name("web");
    let ask = async {
        let request = cloud.autoscaling.describe_auto_scaling_groups().auto_scaling_group_names(&name);
        let Some(answer) = found(request.send().await.map_err(CloudError::from))? else { return Ok(None) };
        Ok(answer.auto_scaling_groups().first().cloned())
    };
    let Some(group) = cloud.once("group", ask).await? else { return Ok(None) };
    let tags = group.tags().iter().filter_map(|tag| Some((tag.key()?, tag.value()?)));
    cloud.check_ours(&format!("the Auto Scaling group {name}"), tags)?;
    Ok(Some(group))
}

/// What a group, or one of its instances, was launched with: a template's version or a configuration's name.
pub(crate) fn version_of<'v>(
    template: Option<&'v LaunchTemplateSpecification>,
    configuration: Option<&'v str>,
) -> &'v str {
    template.and_then(LaunchTemplateSpecification::version).or(configuration).unwrap_or_default()
}

/// The ids that the load balancer sends requests to.
pub(crate) async fn in_service_at_load_balancer(cloud: &Cloud) -> CloudResult<Vec<String>> {
    let request = cloud.elb.describe_instance_health().load_balancer_name(&cloud.stack);
    let Some(answer) = found(request.send().await.map_err(CloudError::from))? else { return Ok(Vec::new()) };
    let states = answer.instance_states().iter().filter(|state| state.state() == Some("InService"));
    Ok(states.filter_map(|state| state.instance_id().map(str::to_owned)).collect())
}

/// Whether an instance of the group serves: the group says so and the load balancer too.
pub(crate) fn serves(instance: &Instance, at_load_balancer: &[String]) -> bool {
    instance.lifecycle_state() == Some(&LifecycleState::InService)
        && instance.instance_id().is_some_and(|id| at_load_balancer.iter().any(|other| other == id))
}

/// Instances of a group that is gone already, still on their way out.
async fn lingering(cloud: &Cloud) -> CloudResult<usize> {
    let filters = cloud.ec2_filters(&keys::auto_scaling_group());
    let answer = cloud.ec2.describe_instances().set_filters(Some(filters)).send().await.map_err(CloudError::from);
    let answer = found(answer)?;
    let instances = answer.iter().flat_map(|answer| answer.reservations()).flat_map(|r| r.instances());
    let live = instances
        .filter(|instance| instance.state().and_then(|state| state.name()) != Some(&InstanceStateName::Terminated));
    Ok(live.count())
}

fn launch_template(cloud: &Cloud, version: &str) -> LaunchTemplateSpecification {
    LaunchTemplateSpecification::builder().launch_template_name(cloud.name("web")).version(version).build()
}

/// Has the group launch another version from now on.
pub(crate) async fn put_in_service(cloud: &Cloud, version: &str) -> CloudResult<()> {
    let update = cloud.autoscaling.update_auto_scaling_group().auto_scaling_group_name(cloud.name("web"));
    let update = if cloud.capabilities.launch_templates {
        update.launch_template(launch_template(cloud, version))
    } else {
        update.launch_configuration_name(version)
    };
    update.send().await?;
    Ok(())
}

fn number(text: &str) -> CloudResult<i32> {
    text.parse().map_err(|_| CloudError::other(format!("`{text}` is not a number of instances")))
}

fn signed(count: u32) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

impl AutoScalingGroup {
    fn launch_key(&self) -> ResourceKey {
        if self.templates { keys::launch_template() } else { keys::launch_configuration() }
    }

    fn launch_version(&self, known: &Outputs) -> CloudResult<String> {
        match known.attribute(&self.launch_key(), "version") {
            Value::Known(version) => Ok(version),
            Value::AfterCreate(key) => Err(CloudError::other(format!("{key} is not there yet"))),
        }
    }

    fn sorted_subnets(&self) -> String {
        let mut subnets = self.subnets.clone();
        subnets.sort();
        subnets.join(",")
    }
}

#[async_trait]
impl Resource for AutoScalingGroup {
    fn key(&self) -> ResourceKey {
        keys::auto_scaling_group()
    }

    fn needs(&self) -> Vec<ResourceKey> {
        vec![self.launch_key(), keys::load_balancer(), keys::database_password()]
    }

    fn desired(&self, known: &Outputs) -> Desired {
        Desired::default()
            .with("min", self.bounds.min)
            .with("max", self.bounds.max)
            .with("health_check", format!("ELB after {GRACE_SECS}s"))
            .with("subnets", self.sorted_subnets())
            .with_value("load_balancers", known.id(&keys::load_balancer()))
            .with_value("launches", self.spec.digest(known))
    }

    fn immutable(&self) -> &'static [&'static str] {
        &["load_balancers"]
    }

    fn patience(&self) -> Patience {
        Patience::secs(
            900,
            "the instances to be in service",
            "the load balancer asks each for /healthz; the console output of one tells why it does not answer",
        )
    }

    async fn find(&self, cloud: &Cloud) -> CloudResult<Option<Observed>> {
        let (group, at_load_balancer, versions) =
            tokio::join!(current(cloud), in_service_at_load_balancer(cloud), web_version::list(cloud));
        let Some(group) = group? else {
            let left = lingering(cloud).await?;
            return Ok((left > 0).then(|| {
                let detail = format!("{left} instances are on their way out");
                Observed::ready(cloud.name("web")).phase(Phase::Deleting).detail(detail)
            }));
        };
        let at_load_balancer = at_load_balancer?;
        let version = version_of(group.launch_template(), group.launch_configuration_name());
        let versions = versions?;
        let launches = versions.iter().find(|other| other.name == version);
        let launches = launches.map(|version| version.attributes.clone()).unwrap_or_default();
        self.spec.hold(held(tag_of(&group, ROLLED_BACK_TAG), &launches));
        let wanted = usize::try_from(group.desired_capacity().unwrap_or_default()).unwrap_or_default();
        let mut zones: BTreeMap<&str, usize> = BTreeMap::new();
        for instance in group.instances().iter().filter(|instance| serves(instance, &at_load_balancer)) {
            *zones.entry(instance.availability_zone().unwrap_or_default()).or_default() += 1;
        }
        let serving: usize = zones.values().sum();
        let mut detail = format!("{serving}/{wanted} in service");
        if zones.len() > 1 {
            detail.push_str(&format!(" in {}", zones.keys().copied().collect::<Vec<_>>().join(", ")));
        }
        let zones: Vec<String> = zones.iter().map(|(zone, count)| format!("{zone} {count}")).collect();
        let phase = if group.status().is_some_and(|status| status.starts_with("Delete")) {
            Phase::Deleting
        } else if serving >= wanted && group.instances().len() <= wanted {
            Phase::Ready
        } else {
            Phase::Pending
        };
        let mut subnets: Vec<&str> =
            group.vpc_zone_identifier().unwrap_or_default().split(',').map(str::trim).collect();
        subnets.sort_unstable();
        let suspended: Vec<&str> = group.suspended_processes().iter().filter_map(|p| p.process_name()).collect();
        let kind = group.health_check_type().unwrap_or_default();
        let grace_secs = group.health_check_grace_period().unwrap_or_default();
        Ok(Some(
            Observed::ready(group.auto_scaling_group_name().unwrap_or_default())
                .phase(phase)
                .with("min", group.min_size().unwrap_or_default())
                .with("max", group.max_size().unwrap_or_default())
                .with("desired", wanted)
                .with("in_service", serving)
                .with("health_check", format!("{kind} after {grace_secs}s"))
                .with("subnets", subnets.join(","))
                .with("load_balancers", group.load_balancer_names().join(","))
                .with("launches", launches.get("digest"))
                .with("suspended", suspended.join(","))
                .with("zones", zones.join(", "))
                .detail(detail),
        ))
    }

    async fn create(&self, cloud: &Cloud, known: &Outputs, _token: &ClientToken) -> CloudResult<()> {
        let name = cloud.name("web");
        let version = self.launch_version(known)?;
        let tag = |key: &str, value: &str| {
            let tag = Tag::builder().key(key).value(value).propagate_at_launch(true);
            tag.resource_type("auto-scaling-group").resource_id(&name).build()
        };
        let mut request = cloud
            .autoscaling
            .create_auto_scaling_group()
            .auto_scaling_group_name(&name)
            .min_size(signed(self.bounds.min))
            .max_size(signed(self.bounds.max))
            .desired_capacity(signed(self.bounds.desired))
            .vpc_zone_identifier(self.sorted_subnets())
            .load_balancer_names(known.require(&keys::load_balancer())?)
            .health_check_type("ELB")
            .health_check_grace_period(GRACE_SECS)
            .tags(tag(STACK_TAG, &cloud.stack))
            .tags(tag(RESOURCE_TAG, self.key().as_str()))
            .tags(tag("Name", &name));
        request = if self.templates {
            request.launch_template(launch_template(cloud, &version))
        } else {
            request.launch_configuration_name(version)
        };
        match request.send().await.map_err(CloudError::from) {
            Ok(_) => Ok(()),
            // Made by a run whose answer was lost: find() sees it.
            Err(error) if error.code().starts_with("AlreadyExists") => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Also the way of `scale`, which changes nothing but min, max and desired.
    async fn update(&self, cloud: &Cloud, known: &Outputs, observed: &Observed, changes: &Changes) -> CloudResult<()> {
        let mut request = cloud.autoscaling.update_auto_scaling_group().auto_scaling_group_name(&observed.id);
        if let Some(min) = changes.to("min") {
            request = request.min_size(number(min)?);
        }
        if let Some(max) = changes.to("max") {
            request = request.max_size(number(max)?);
        }
        if let Some(desired) = changes.to("desired") {
            request = request.desired_capacity(number(desired)?);
        }
        if changes.to("health_check").is_some() {
            request = request.health_check_type("ELB").health_check_grace_period(GRACE_SECS);
        }
        if changes.to("subnets").is_some() {
            request = request.vpc_zone_identifier(self.sorted_subnets());
        }
        if changes.to("launches").is_some() {
            let version = self.launch_version(known)?;
            request = if self.templates {
                request.launch_template(launch_template(cloud, &version))
            } else {
                request.launch_configuration_name(version)
            };
        }
        request.send().await?;
        Ok(())
    }

    /// Its policies and instances go with it; its alarms do not.
    async fn delete(&self, cloud: &Cloud, observed: &Observed) -> CloudResult<()> {
        // With Terminate suspended its instances, and so the group itself, would stay for ever.
        let resumed = match observed.attributes.get("suspended") {
            "" => Ok(()),
            _ => {
                let resume = cloud.autoscaling.resume_processes().auto_scaling_group_name(&observed.id);
                gone(resume.send().await.map_err(CloudError::from))
            }
        };
        if observed.phase == Phase::Deleting {
            return resumed;
        }
        resumed?;
        let delete = cloud.autoscaling.delete_auto_scaling_group().auto_scaling_group_name(&observed.id);
        gone(delete.force_delete(true).send().await.map_err(CloudError::from))
    }

    async fn explain(&self, cloud: &Cloud) -> Option<String> {
        explain(cloud).await
    }
}

/// Why instances of the group do not serve: its newest activity, what the load balancer says, a console.
pub(crate) async fn explain(cloud: &Cloud) -> Option<String> {
    let group = current(cloud).await.ok()??;
    let name = group.auto_scaling_group_name()?;
    let balancer = cloud.elb.describe_instance_health().load_balancer_name(&cloud.stack);
    let activities = cloud.autoscaling.describe_scaling_activities().auto_scaling_group_name(name);
    let (health, activities) = tokio::join!(balancer.send(), activities.send());
    let mut lines = Vec::new();
    let activities: Vec<_> = activities.iter().flat_map(|answer| answer.activities()).collect();
    let troubled = activities.iter().find(|activity| activity.status_message().is_some());
    if let Some(activity) = troubled.or(activities.first()) {
        let status = activity.status_code().map_or("", |code| code.as_str());
        let words = activity.status_message().or(activity.description()).unwrap_or_default();
        lines.push(format!("newest activity of the group: {status}: {words}"));
    }
    let states: Vec<_> = health.iter().flat_map(|answer| answer.instance_states()).collect();
    for state in states.iter().filter(|state| state.state() != Some("InService")) {
        let id = state.instance_id().unwrap_or_default();
        lines.push(format!("the load balancer says of {id}: {}", state.description().unwrap_or("nothing")));
    }
    let in_service = |id: &str| states.iter().any(|s| s.state() == Some("InService") && s.instance_id() == Some(id));
    let idle = group.instances().iter().filter_map(|instance| instance.instance_id()).find(|id| !in_service(id));
    if let Some(id) = idle
        && let Some(console) = super::console_tail(cloud, id).await
    {
        lines.push(console);
    }
    (!lines.is_empty()).then(|| lines.join("\n"))
}
