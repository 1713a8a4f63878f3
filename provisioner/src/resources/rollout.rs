//! Moves web VMs on to the current version, one surplus at a time behind the load balancer: add one, wait
//! until it serves, take an old one away. The size to come back to stands in a tag of the group, so that an
//! interrupted rollout is finished by the next `up`.

use async_trait::async_trait;
use aws_sdk_autoscaling::types::{AutoScalingGroup, Instance, Tag};

use crate::cloud::Cloud;
use crate::cloud::retry::CloudError;
use crate::resource::{
    Changes, ClientToken, CloudResult, Desired, Observed, Outputs, Patience, Phase, Resource, ResourceKey,
};
use crate::resources::auto_scaling_group::{current, in_service_at_load_balancer, serves, version_of};
use crate::resources::{auto_scaling_group, keys};

/// Holds `desired/max` of the group as they were before the rollout.
const TAG: &str = "imagecrud:rollout";

/// The rollout.
pub struct Rollout;

/// One step of a rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    /// Nothing is old and nothing is noted.
    Done,
    /// Note the size to come back to.
    Begin,
    /// Make room for one more.
    AddSurplus { desired: i32, max: i32 },
    /// Everything that was launched has to serve first.
    Wait,
    /// Take this one away.
    Terminate(String),
    /// Take the bounds back and the note away.
    Finish { max: i32 },
}

/// What a step is decided from.
struct View {
    desired: i32,
    max: i32,
    /// desired/max before the rollout.
    noted: Option<(i32, i32)>,
    /// How many serve.
    serving: i32,
    /// How many there are.
    total: i32,
    /// Ids of those that run an older version.
    old: Vec<String>,
}

fn decide(view: &View) -> Step {
    match view.noted {
        None if view.old.is_empty() => Step::Done,
        None => Step::Begin,
        Some((base, max)) => match view.old.first() {
            _ if view.serving < view.desired || view.total != view.desired => Step::Wait,
            None => Step::Finish { max: max.max(base) },
            Some(_) if view.desired <= base => {
                Step::AddSurplus { desired: view.desired + 1, max: view.max.max(view.desired + 1) }
            }
            Some(id) => Step::Terminate(id.clone()),
        },
    }
}

fn is_old(instance: &Instance, group: &AutoScalingGroup) -> bool {
    version_of(instance.launch_template(), instance.launch_configuration_name())
        != version_of(group.launch_template(), group.launch_configuration_name())
}

fn noted(group: &AutoScalingGroup) -> Option<(i32, i32)> {
    let tag = group.tags().iter().find(|tag| tag.key() == Some(TAG))?;
    let (base, max) = tag.value()?.split_once('/')?;
    Some((base.parse().ok()?, max.parse().ok()?))
}

fn tag(group: &str, value: &str) -> Tag {
    let tag = Tag::builder().key(TAG).value(value).propagate_at_launch(false);
    tag.resource_type("auto-scaling-group").resource_id(group).build()
}

fn count(n: usize) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}

async fn take(cloud: &Cloud, group: &AutoScalingGroup) -> CloudResult<Step> {
    let name = group.auto_scaling_group_name().unwrap_or_default();
    let at_load_balancer = in_service_at_load_balancer(cloud).await?;
    let instances = group.instances();
    let old = instances.iter().filter(|i| is_old(i, group)).filter_map(|i| i.instance_id().map(str::to_owned));
    let view = View {
        desired: group.desired_capacity().unwrap_or_default(),
        max: group.max_size().unwrap_or_default(),
        noted: noted(group),
        serving: count(instances.iter().filter(|i| serves(i, &at_load_balancer)).count()),
        total: count(instances.len()),
        old: old.collect(),
    };
    let step = decide(&view);
    let resize = || cloud.autoscaling.update_auto_scaling_group().auto_scaling_group_name(name);
    match &step {
        Step::Done | Step::Wait => {}
        Step::Begin => {
            let note = tag(name, &format!("{}/{}", view.desired, view.max));
            cloud.autoscaling.create_or_update_tags().tags(note).send().await?;
        }
        Step::AddSurplus { desired, max } => {
            resize().max_size(*max).desired_capacity(*desired).send().await?;
        }
        Step::Terminate(id) => {
            let terminate = cloud.autoscaling.terminate_instance_in_auto_scaling_group().instance_id(id);
            terminate.should_decrement_desired_capacity(true).send().await?;
        }
        Step::Finish { max } => {
            resize().max_size(*max).send().await?;
            cloud.autoscaling.delete_tags().tags(tag(name, "")).send().await?;
        }
    }
    Ok(step)
}

#[async_trait]
impl Resource for Rollout {
    fn key(&self) -> ResourceKey {
        keys::rollout()
    }

    fn needs(&self) -> Vec<ResourceKey> {
        vec![keys::auto_scaling_group()]
    }

    fn desired(&self, _known: &Outputs) -> Desired {
        Desired::default().with("previous", "0")
    }

    fn is_awaited(&self) -> bool {
        true
    }

    fn goes_with(&self) -> Option<ResourceKey> {
        Some(keys::auto_scaling_group())
    }

    fn patience(&self) -> Patience {
        Patience::secs(
            1800,
            "the instances to be replaced",
            "`imagecrud-deploy up` goes on; the console output of a new instance tells why it does not serve",
        )
    }

    async fn find(&self, cloud: &Cloud) -> CloudResult<Option<Observed>> {
        let Some(group) = current(cloud).await? else { return Ok(None) };
        let total = group.instances().len();
        let old = group.instances().iter().filter(|instance| is_old(instance, &group)).count();
        // A note without old instances is a rollout that only has to be finished.
        let previous = if old == 0 && noted(&group).is_some() { "unfinished".to_owned() } else { old.to_string() };
        let detail = match old {
            0 => format!("{total} on the current version"),
            _ => format!("{old} of {total} still run the previous version"),
        };
        let phase = if previous == "0" { Phase::Ready } else { Phase::Pending };
        Ok(Some(Observed::ready(cloud.name("web")).phase(phase).with("previous", previous).detail(detail)))
    }

    async fn create(&self, _: &Cloud, _: &Outputs, _: &ClientToken) -> CloudResult<()> {
        Ok(())
    }

    /// One step per call; "refused for now" brings the walk back for the next one.
    async fn update(&self, cloud: &Cloud, _: &Outputs, _: &Observed, _: &Changes) -> CloudResult<()> {
        let Some(group) = current(cloud).await? else { return Ok(()) };
        let old = group.instances().iter().filter(|instance| is_old(instance, &group)).count();
        match take(cloud, &group).await? {
            Step::Done | Step::Finish { .. } => Ok(()),
            _ => Err(CloudError::NotYet(format!("{old} still run the previous version"))),
        }
    }

    async fn explain(&self, cloud: &Cloud) -> Option<String> {
        auto_scaling_group::explain(cloud).await
    }

    async fn delete(&self, _: &Cloud, _: &Observed) -> CloudResult<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays a cloud that launches and terminates at once and checks that capacity never falls below the base.
    #[test]
    fn a_rollout_ends_at_its_old_size_and_never_serves_with_fewer() {
        let (base, max) = (3, 3);
        let mut view = View {
            desired: base,
            max,
            noted: None,
            serving: base,
            total: base,
            old: vec!["a".into(), "b".into(), "c".into()],
        };
        let mut steps = 0;
        loop {
            steps += 1;
            assert!(steps < 50, "it does not end");
            match decide(&view) {
                Step::Done => break,
                Step::Begin => view.noted = Some((view.desired, view.max)),
                Step::AddSurplus { desired, max } => {
                    (view.desired, view.max) = (desired, max);
                    view.total = desired; // launched, not serving yet
                    assert_eq!(decide(&view), Step::Wait);
                    view.serving = desired;
                }
                Step::Wait => panic!("nothing to wait for"),
                Step::Terminate(id) => {
                    view.old.retain(|other| *other != id);
                    view.desired -= 1;
                    view.total -= 1;
                    view.serving -= 1;
                }
                Step::Finish { max } => {
                    view.max = max;
                    view.noted = None;
                }
            }
            assert!(view.serving >= base, "fewer than before the rollout");
        }
        assert_eq!((view.desired, view.max, view.old.len()), (base, max, 0));
    }
}
