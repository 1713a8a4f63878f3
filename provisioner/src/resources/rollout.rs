//! Moves web VMs on to the current version, one surplus at a time behind the load balancer: add one, wait
//! until it has answered through it, take an old one away. The size to come back to, and the version, stand in
//! a tag of the group, so that an interrupted rollout is finished by the next `up`. A newcomer that does not get
//! healthy within its limit turns the rollout round: the former version goes back into service.

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_autoscaling::types::{AutoScalingGroup, Instance, LifecycleState, Tag};

use crate::cloud::Cloud;
use crate::cloud::retry::{CloudError, gone};
use crate::resource::{
    Attributes, Changes, ClientToken, CloudResult, Desired, Observed, Outputs, Patience, Phase, Resource, ResourceKey,
};
use crate::resources::auto_scaling_group::{current, in_service_at_load_balancer, put_in_service, serves, version_of};
use crate::resources::launch_spec::Held;
use crate::resources::trial::{Trial, Verdict};
use crate::resources::web_version::{self, WebVersion};
use crate::resources::{auto_scaling_group, keys, launch_template};

/// Holds `desired/max/version` of the group as they were before the rollout.
const TAG: &str = "imagecrud:rollout";
/// Holds the digests of versions that were rolled back by word.
pub(crate) const ROLLED_BACK_TAG: &str = "imagecrud:rolled-back";
/// Holds the digests of versions that did not get healthy.
pub(crate) const FAILED_TAG: &str = "imagecrud:failed";
/// Alarms do not change the size while a rollout counts with it.
const ALARMS: &str = "AlarmNotification";
/// How long requests may go on at an instance that has left a load balancer without draining.
const LEAVING: Duration = Duration::from_secs(10);
/// How long a newcomer may take to get healthy, unless told otherwise.
pub const HEALTH_LIMIT: Duration = Duration::from_secs(300);

/// The rollout.
pub struct Rollout {
    trial: Mutex<Trial>,
    /// Why it was turned round.
    turned: Mutex<Option<String>>,
}

impl Default for Rollout {
    fn default() -> Self {
        Self::within(HEALTH_LIMIT)
    }
}

/// What was before the rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Note {
    desired: i32,
    max: i32,
    pub(crate) previous: Option<String>,
}

/// An instance of an older version.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Old {
    id: String,
    serves: bool,
}

/// One step of a rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    /// Nothing is old and nothing is noted.
    Done,
    /// Note what to come back to.
    Begin,
    /// Make room for one more.
    AddSurplus { desired: i32, max: i32 },
    /// Everything that was launched has to prove itself first.
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
    noted: Option<Note>,
    /// How many serve.
    serving: i32,
    /// How many there are.
    total: i32,
    old: Vec<Old>,
    /// Whether every instance of the current version has proven itself.
    proven: bool,
}

fn decide(view: &View) -> Step {
    let Some(note) = &view.noted else { return if view.old.is_empty() { Step::Done } else { Step::Begin } };
    if !view.proven || view.total != view.desired {
        return Step::Wait;
    }
    match view.old.iter().find(|old| !old.serves).or(view.old.first()) {
        None if view.serving < view.desired => Step::Wait,
        None => Step::Finish { max: note.max.max(note.desired) },
        Some(_) if view.desired <= note.desired => {
            Step::AddSurplus { desired: view.desired + 1, max: view.max.max(view.desired + 1) }
        }
        Some(old) if old.serves && view.serving <= note.desired => Step::Wait,
        Some(old) => Step::Terminate(old.id.clone()),
    }
}

fn is_old(instance: &Instance, group: &AutoScalingGroup) -> bool {
    version_of(instance.launch_template(), instance.launch_configuration_name()) != web_version::in_service(group)
}

pub(crate) fn tag_of<'g>(group: &'g AutoScalingGroup, key: &str) -> Option<&'g str> {
    group.tags().iter().find(|tag| tag.key() == Some(key))?.value()
}

/// What stands in the tag of versions that were rolled back, with the one that stays instead.
pub(crate) fn held(tag: Option<&str>, instead: &Attributes) -> Option<Held> {
    let rolled_back: Vec<String> = digests(tag).map(str::to_owned).collect();
    (!rolled_back.is_empty()).then(|| Held { rolled_back, instead: instead.clone() })
}

/// The digests in a tag.
pub(crate) fn digests(tag: Option<&str>) -> impl Iterator<Item = &str> {
    tag.unwrap_or_default().split(' ').filter(|digest| !digest.is_empty())
}

/// The digests to remember, the newest last: one joins them, another leaves them.
fn remembered(before: Option<&str>, joins: &str, leaves: &str) -> String {
    let former = digests(before).filter(|digest| *digest != joins);
    let all: Vec<&str> = former.chain([joins]).filter(|digest| !digest.is_empty() && *digest != leaves).collect();
    all[all.len().saturating_sub(web_version::KEPT)..].join(" ")
}

/// Writes into a tag of digests.
pub(crate) async fn remember(
    cloud: &Cloud,
    group: &AutoScalingGroup,
    key: &str,
    joins: &str,
    leaves: &str,
) -> CloudResult<()> {
    let before = tag_of(group, key);
    let value = remembered(before, joins, leaves);
    if before.unwrap_or_default() != value {
        let tag = Tag::builder().key(key).value(value).propagate_at_launch(false);
        let tag = tag.resource_type("auto-scaling-group").resource_id(cloud.name("web")).build();
        cloud.autoscaling.create_or_update_tags().tags(tag).send().await?;
    }
    Ok(())
}

pub(crate) fn noted(group: &AutoScalingGroup) -> Option<Note> {
    let mut parts = tag_of(group, TAG)?.splitn(3, '/');
    let (desired, max) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    Some(Note { desired, max, previous: parts.next().filter(|name| !name.is_empty()).map(str::to_owned) })
}

fn tag(group: &str, value: &str) -> Tag {
    let tag = Tag::builder().key(TAG).value(value).propagate_at_launch(false);
    tag.resource_type("auto-scaling-group").resource_id(group).build()
}

fn count(n: usize) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}

fn is_leaving(instance: &Instance) -> bool {
    instance.lifecycle_state().is_some_and(|state| state.as_str().starts_with("Terminat"))
        || instance.lifecycle_state() == Some(&LifecycleState::Detaching)
}

fn locked<T>(place: &Mutex<T>) -> CloudResult<MutexGuard<'_, T>> {
    place.lock().map_err(|_| CloudError::other("an earlier step of the rollout panicked"))
}

/// Where the load balancer does not drain: no new requests, and time for those under way to end.
async fn leave_load_balancer(cloud: &Cloud, id: &str) -> CloudResult<()> {
    let instance = aws_sdk_elasticloadbalancing::types::Instance::builder().instance_id(id).build();
    let deregister = cloud.elb.deregister_instances_from_load_balancer().load_balancer_name(&cloud.stack);
    gone(deregister.instances(instance).send().await.map_err(CloudError::from))?;
    tokio::time::sleep(LEAVING).await;
    Ok(())
}

impl Rollout {
    /// A rollout whose newcomers have to be healthy within a limit.
    pub fn within(limit: Duration) -> Self {
        Self { trial: Mutex::new(Trial::new(limit)), turned: Mutex::default() }
    }

    /// Sends every VM of the current version through its trial.
    async fn judge(&self, cloud: &Cloud, group: &AutoScalingGroup, serving: &[String]) -> CloudResult<Verdict> {
        let newcomers: Vec<String> = group
            .instances()
            .iter()
            .filter(|instance| !is_old(instance, group) && !is_leaving(instance))
            .filter_map(|instance| instance.instance_id().map(str::to_owned))
            .collect();
        let awaited = count(group.instances().len()) < group.desired_capacity().unwrap_or_default();
        let mut trial = locked(&self.trial)?.clone();
        let verdict = trial.judge(cloud, web_version::in_service(group), &newcomers, serving, awaited).await;
        *locked(&self.trial)? = trial;
        verdict
    }

    /// Puts the former version back into service; the next steps bring the VMs there.
    async fn turn_round(&self, cloud: &Cloud, group: &AutoScalingGroup, why: String) -> CloudResult<()> {
        let failed = web_version::in_service(group);
        let previous = noted(group).and_then(|note| note.previous).filter(|previous| previous != failed);
        let turned_before = locked(&self.turned)?.clone();
        let Some(previous) = previous.filter(|_| turned_before.is_none()) else {
            let before = turned_before.map_or_else(String::new, |before| format!("\nbefore that: {before}"));
            return Err(CloudError::with_hint(
                format!("version {failed} does not get healthy, and no other is left to go back to: {why}{before}"),
                "`imagecrud-deploy versions` lists what there is; `imagecrud-deploy rollback VERSION` takes one",
            ));
        };
        let versions = web_version::list(cloud).await?;
        let digest = versions.iter().find(|version| version.name == failed).map_or("", WebVersion::digest);
        remember(cloud, group, FAILED_TAG, digest, "").await?;
        put_in_service(cloud, &previous).await?;
        if cloud.capabilities.launch_templates {
            launch_template::put_in_service(cloud, &previous).await?;
        }
        locked(&self.trial)?.begin_anew();
        *locked(&self.turned)? = Some(format!("version {failed} was rolled back to {previous}: {why}"));
        Ok(())
    }

    async fn take(&self, cloud: &Cloud, group: &AutoScalingGroup) -> CloudResult<(Step, String)> {
        let name = group.auto_scaling_group_name().unwrap_or_default();
        let at_load_balancer = in_service_at_load_balancer(cloud).await?;
        let instances = group.instances();
        let serving: Vec<String> = instances
            .iter()
            .filter(|instance| serves(instance, &at_load_balancer))
            .filter_map(|instance| instance.instance_id().map(str::to_owned))
            .collect();
        let note = noted(group);
        let mut detail = String::new();
        let mut proven = true;
        if note.is_some() {
            match self.judge(cloud, group, &serving).await? {
                Verdict::Proven => {}
                Verdict::Open(what) => (proven, detail) = (false, what),
                Verdict::Failed(why) => {
                    self.turn_round(cloud, group, why).await?;
                    return Ok((Step::Wait, "the former version goes back into service".to_owned()));
                }
            }
        }
        let old = instances.iter().filter(|instance| is_old(instance, group) && !is_leaving(instance));
        let old = old.filter_map(|instance| instance.instance_id());
        let view = View {
            desired: group.desired_capacity().unwrap_or_default(),
            max: group.max_size().unwrap_or_default(),
            noted: note,
            serving: count(serving.len()),
            total: count(instances.len()),
            old: old.map(|id| Old { id: id.to_owned(), serves: serving.iter().any(|other| other == id) }).collect(),
            proven,
        };
        let step = decide(&view);
        let resize = || cloud.autoscaling.update_auto_scaling_group().auto_scaling_group_name(name);
        match &step {
            Step::Done | Step::Wait => {}
            Step::Begin => {
                let suspend = cloud.autoscaling.suspend_processes().auto_scaling_group_name(name);
                suspend.scaling_processes(ALARMS).send().await?;
                let previous = instances.iter().find(|instance| is_old(instance, group));
                let previous = previous.map_or("", |i| version_of(i.launch_template(), i.launch_configuration_name()));
                let note = tag(name, &format!("{}/{}/{previous}", view.desired, view.max));
                cloud.autoscaling.create_or_update_tags().tags(note).send().await?;
            }
            Step::AddSurplus { desired, max } => {
                resize().max_size(*max).desired_capacity(*desired).send().await?;
            }
            Step::Terminate(id) => {
                if !cloud.capabilities.connection_draining {
                    leave_load_balancer(cloud, id).await?;
                }
                let terminate = cloud.autoscaling.terminate_instance_in_auto_scaling_group().instance_id(id);
                terminate.should_decrement_desired_capacity(true).send().await?;
            }
            Step::Finish { max } => {
                // What failed once and got healthy now has not failed.
                if digests(tag_of(group, FAILED_TAG)).next().is_some() {
                    let versions = web_version::list(cloud).await?;
                    let now = versions.iter().find(|version| version.name == web_version::in_service(group));
                    remember(cloud, group, FAILED_TAG, "", now.map_or("", WebVersion::digest)).await?;
                }
                resize().max_size(*max).send().await?;
                let resume = cloud.autoscaling.resume_processes().auto_scaling_group_name(name);
                resume.scaling_processes(ALARMS).send().await?;
                cloud.autoscaling.delete_tags().tags(tag(name, "")).send().await?;
            }
        }
        Ok((step, detail))
    }
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
            _ => format!("{old} of {total} still run another version"),
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
        match self.take(cloud, &group).await? {
            (Step::Done | Step::Finish { .. }, _) => match locked(&self.turned)?.clone() {
                None => Ok(()),
                Some(why) => Err(CloudError::with_hint(
                    why,
                    "the former version served meanwhile; mend the new one and run the command again",
                )),
            },
            (_, detail) if detail.is_empty() => Err(CloudError::NotYet(format!("{old} still run another version"))),
            (_, detail) => Err(CloudError::NotYet(detail)),
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
    use aws_sdk_autoscaling::types::TagDescription;

    use super::*;

    fn view(base: i32, old: &[(&str, bool)]) -> View {
        View {
            desired: base,
            max: base,
            noted: None,
            serving: base,
            total: base,
            old: old.iter().map(|(id, serves)| Old { id: (*id).to_owned(), serves: *serves }).collect(),
            proven: true,
        }
    }

    fn note(desired: i32) -> Option<Note> {
        Some(Note { desired, max: desired, previous: Some("1".to_owned()) })
    }

    /// Plays a cloud that launches and terminates at once and checks that capacity never falls below the base.
    #[test]
    fn a_rollout_ends_at_its_old_size_and_never_serves_with_fewer() {
        let base = 3;
        let mut view = view(base, &[("a", true), ("b", true), ("c", true)]);
        let mut steps = 0;
        loop {
            steps += 1;
            assert!(steps < 50, "it does not end");
            match decide(&view) {
                Step::Done => break,
                Step::Begin => view.noted = note(view.desired),
                Step::AddSurplus { desired, max } => {
                    (view.desired, view.max) = (desired, max);
                    assert_eq!(decide(&view), Step::Wait, "it is not launched yet");
                    view.total = desired;
                    view.proven = false;
                    assert_eq!(decide(&view), Step::Wait, "it has not proven itself");
                    (view.serving, view.proven) = (desired, true);
                }
                Step::Wait => panic!("nothing to wait for"),
                Step::Terminate(id) => {
                    view.old.retain(|other| other.id != id);
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
        assert_eq!((view.desired, view.max, view.old.len()), (base, base, 0));
    }

    #[test]
    fn what_does_not_serve_goes_first_and_what_serves_only_beyond_the_base() {
        let turned =
            View { desired: 3, total: 3, serving: 2, noted: note(2), ..view(2, &[("ok", true), ("ko", false)]) };
        assert_eq!(decide(&turned), Step::Terminate("ko".to_owned()));
        let short = View { desired: 3, total: 3, serving: 2, noted: note(2), ..view(2, &[("ok", true)]) };
        assert_eq!(decide(&short), Step::Wait);
    }

    #[test]
    fn a_group_of_which_nothing_serves_is_mended_by_a_new_version() {
        let broken = View { serving: 0, noted: note(2), ..view(2, &[("a", false), ("b", false)]) };
        assert_eq!(decide(&broken), Step::AddSurplus { desired: 3, max: 3 });
    }

    #[test]
    fn what_is_brought_again_is_no_longer_held_back() {
        assert_eq!(remembered(None, "d3", "d2"), "d3");
        assert_eq!(remembered(Some("d3"), "d2", "d1"), "d3 d2");
        assert_eq!(remembered(Some("d3 d2"), "d1", "d3"), "d2 d1");
        assert_eq!(remembered(Some("1 2 3 4 5"), "6", "7"), "2 3 4 5 6");
        assert_eq!(remembered(Some("1"), "", "1"), "");
    }

    #[test]
    fn a_note_is_read_back_also_without_a_version() {
        let with = |value: &str| {
            let tag = TagDescription::builder().key(TAG).value(value).build();
            AutoScalingGroup::builder().tags(tag).build()
        };
        assert_eq!(noted(&with("2/6/imagecrud-web-0a")).unwrap().previous.as_deref(), Some("imagecrud-web-0a"));
        assert_eq!(noted(&with("2/6")), Some(Note { desired: 2, max: 6, previous: None }));
        assert_eq!(noted(&with("two")), None);
    }
}
