//! The daemon is killed at every commit and at every change of the world, before it and after it, and a new one goes on:
//! in the end there is what there is after a run that nothing disturbed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use localcloud::{
    drivers::fake::FakeCloud,
    model::{
        auto_scaling::{AutoScalingGroup, Lifecycle},
        instance::{Instance, InstanceState},
        load_balancer::LoadBalancer,
        volume::Volume,
    },
};
use tokio::{sync::Semaphore, task::JoinSet};

use crate::{
    fake_world::FakeWorld,
    lives::Lives,
    mortal::{Disk, Life, Moment},
};

const LIMIT: Duration = Duration::from_secs(60);
/// So many runs at a time: each mostly waits.
const ABREAST: usize = 12;

fn world(disk: &Disk, cloud: &FakeCloud, life: &Life) -> FakeWorld {
    FakeWorld::over(cloud.clone(), |_| disk.open(life), |drivers| life.around(drivers))
}

/// Daemons over one disk and its machines, the first of which lives until then.
fn lives(end: Option<(Moment, usize)>) -> Lives {
    let (disk, cloud) = (Disk::default(), FakeCloud::new());
    // Founding is not what is tried here.
    drop(world(&disk, &cloud, &Life::new(None)));
    let life = Life::new(end);
    let first = world(&disk, &cloud, &life);
    life.begin();
    Lives::new((life, first), LIMIT, portrait, move |_| {
        let life = Life::new(None);
        let world = world(&disk, &cloud, &life);
        (life, world)
    })
}

impl Lives {
    async fn until_instance(&mut self, id: &str, state: InstanceState) {
        let what = format!("{id} is {state:?}");
        self.until(&what, |world| {
            world.read(|tx| tx.get::<Instance>(id).is_some_and(|instance| instance.state == state))
        })
        .await;
    }

    async fn until_members(&mut self, count: usize) {
        self.until(&format!("{count} members serve"), |world| {
            world.read(|tx| {
                tx.get::<AutoScalingGroup>("web").is_some_and(|group| {
                    group.members.len() == count
                        && group.members.iter().all(|member| member.lifecycle == Lifecycle::InService)
                })
            })
        })
        .await;
    }

    /// Everything that a record can go through.
    async fn script(&mut self) {
        let (ec2, asg, elb) = ("ec2", "autoscaling", "elasticloadbalancing");
        let (image, zone) = (self.world.image_id.clone(), self.world.site.home.name.clone());
        let launch = [
            ("ImageId", image.as_str()),
            ("MinCount", "1"),
            ("MaxCount", "1"),
            ("ClientToken", "db"),
            ("TagSpecification.1.ResourceType", "instance"),
            ("TagSpecification.1.Tag.1.Key", "Name"),
            ("TagSpecification.1.Tag.1.Value", "db"),
        ];
        let launched = self.call(ec2, "RunInstances", &launch, &[]).unwrap();
        let db = launched.get("instancesSet.0.instanceId").unwrap();
        self.until_instance(&db, InstanceState::Running).await;
        let create = [("AvailabilityZone", zone.as_str()), ("Size", "1"), ("ClientToken", "data")];
        let volume = self.call(ec2, "CreateVolume", &create, &[]).unwrap().get("volumeId").unwrap();
        self.until("the volume is there", |world| world.cloud.volumes.get(&volume).is_some()).await;
        self.until("the volume is available", |world| status(world, &volume) == "available").await;
        let attach = [("VolumeId", volume.as_str()), ("InstanceId", db.as_str()), ("Device", "/dev/sdf")];
        self.call(ec2, "AttachVolume", &attach, &["VolumeInUse", "IncorrectState"]);
        let attached = |world: &FakeWorld| world.cloud.instances.get(&db).is_some_and(|db| db.attached.len() == 1);
        self.until("the volume is attached", attached).await;
        self.until("and said to be", |world| attachment(world, &volume).as_deref() == Some("attached")).await;

        let balancer = [
            ("LoadBalancerName", "lb"),
            ("AvailabilityZones.member.1", zone.as_str()),
            ("Listeners.member.1.Protocol", "HTTP"),
            ("Listeners.member.1.LoadBalancerPort", "8080"),
            ("Listeners.member.1.InstancePort", "80"),
        ];
        self.call(elb, "CreateLoadBalancer", &balancer, &["DuplicateLoadBalancerName"]);
        let draining = [
            ("LoadBalancerName", "lb"),
            ("LoadBalancerAttributes.ConnectionDraining.Enabled", "true"),
            ("LoadBalancerAttributes.ConnectionDraining.Timeout", "1"),
        ];
        self.call(elb, "ModifyLoadBalancerAttributes", &draining, &[]);
        let configuration = [("LaunchConfigurationName", "lc"), ("ImageId", &image), ("InstanceType", "t3.micro")];
        self.call(asg, "CreateLaunchConfiguration", &configuration, &["AlreadyExists"]);
        let group = [
            ("AutoScalingGroupName", "web"),
            ("LaunchConfigurationName", "lc"),
            ("MinSize", "1"),
            ("MaxSize", "3"),
            ("DesiredCapacity", "2"),
            ("AvailabilityZones.member.1", zone.as_str()),
            ("LoadBalancerNames.member.1", "lb"),
        ];
        self.call(asg, "CreateAutoScalingGroup", &group, &["AlreadyExists"]);
        self.until_members(2).await;
        for (capacity, members) in [("3", 3), ("1", 1)] {
            let desired = [("AutoScalingGroupName", "web"), ("DesiredCapacity", capacity)];
            self.call(asg, "SetDesiredCapacity", &desired, &[]);
            self.until_members(members).await;
        }

        let instance = [("InstanceId.1", db.as_str())];
        self.call(ec2, "StopInstances", &instance, &[]);
        self.until_instance(&db, InstanceState::Stopped).await;
        self.call(ec2, "StartInstances", &instance, &[]);
        self.until_instance(&db, InstanceState::Running).await;
        self.until("the volume is attached again", attached).await;
        self.call(ec2, "DetachVolume", &[("VolumeId", volume.as_str())], &["IncorrectState"]);
        self.until("the volume is detached", |world| status(world, &volume) == "available").await;
        self.call(ec2, "DeleteVolume", &[("VolumeId", volume.as_str())], &["InvalidVolume.NotFound"]);
        self.until("the volume is gone", |world| world.cloud.volumes.get(&volume).is_none()).await;
        self.call(ec2, "TerminateInstances", &instance, &[]);
        self.until_instance(&db, InstanceState::Terminated).await;
        self.until("all is quiet", is_quiet).await;
    }
}

fn status(world: &FakeWorld, volume_id: &str) -> String {
    let answer = world.call("ec2", "DescribeVolumes", &[("VolumeId.1", volume_id)]);
    answer.ok().and_then(|answer| answer.get("volumeSet.0.status")).unwrap_or_default()
}

fn attachment(world: &FakeWorld, volume_id: &str) -> Option<String> {
    let answer = world.call("ec2", "DescribeVolumes", &[("VolumeId.1", volume_id)]).ok()?;
    answer.get("volumeSet.0.attachmentSet.0.status")
}

/// Whether the world is as the records say.
fn is_quiet(world: &FakeWorld) -> bool {
    let (instances, volumes) = world.read(|tx| (tx.list::<Instance>(), tx.list::<Volume>()));
    let running: Vec<&str> = instances
        .iter()
        .filter(|instance| instance.state == InstanceState::Running)
        .map(|instance| instance.id.as_str())
        .collect();
    let settled = instances
        .iter()
        .all(|i| matches!(i.state, InstanceState::Running | InstanceState::Stopped | InstanceState::Terminated));
    let backends = world.cloud.proxy.plan().map_or(0, |plan| plan.balancers.iter().map(|lb| lb.backends.len()).sum());
    settled
        && volumes.is_empty()
        && world.cloud.instances.running() == running.len()
        && running.iter().all(|id| world.cloud.instances.get(id).is_some_and(|instance| instance.running))
        && world.cloud.network.state().plan.hosts.len() == running.len()
        && backends == 1
}

/// Records and world without the names that differ from run to run.
fn portrait(world: &FakeWorld) -> String {
    let mut lines = Vec::new();
    world.read(|tx| {
        let mut instances = BTreeMap::new();
        for instance in tx.list::<Instance>() {
            let name = instance.tags.get("Name").map_or("web", String::as_str);
            let there = world.cloud.instances.get(&instance.id).map(|machine| machine.running);
            let line = format!("instance {name} {:?}, machine runs: {there:?}, {:?}", instance.state, instance.trouble);
            *instances.entry(line).or_insert(0) += 1;
        }
        lines.extend(instances.into_iter().map(|(line, count)| format!("{count} × {line}")));
        for volume in tx.list::<Volume>() {
            lines.push(format!("volume {:?}", volume.trouble));
        }
        for balancer in tx.list::<LoadBalancer>() {
            lines.push(format!("balancer {} with {} instances", balancer.name, balancer.backends.len()));
        }
        for group in tx.list::<AutoScalingGroup>() {
            let members: Vec<String> = group
                .members
                .iter()
                .map(|member| format!("{:?}, healthy: {}", member.lifecycle, member.healthy))
                .collect();
            lines.push(format!("group {} wants {}, has {members:?}", group.name, group.desired_capacity));
        }
    });
    let activities = world.call("autoscaling", "DescribeScalingActivities", &[("AutoScalingGroupName", "web")]);
    if let Ok(activities) = activities {
        let mut counts = BTreeMap::new();
        for index in 0..activities.count("Activities") {
            let text = |field: &str| activities.text(&format!("Activities.{index}.{field}"));
            let verb = text("Description").split(' ').next().unwrap_or_default().to_owned();
            *counts.entry(format!("{verb} {}", text("StatusCode"))).or_insert(0) += 1;
        }
        lines.push(format!("activities {counts:?}"));
    }
    let plan = world.cloud.proxy.plan();
    let network = world.cloud.network.state().plan;
    lines.push(format!(
        "{} machines run; {} leases, {} rules, {} balancer addresses, {} balancers of {:?} backends",
        world.cloud.instances.running(),
        network.hosts.len(),
        network.rules.values().map(BTreeSet::len).sum::<usize>(),
        network.balancers.len(),
        plan.iter().flat_map(|plan| &plan.balancers).count(),
        plan.iter().flat_map(|plan| &plan.balancers).map(|balancer| balancer.backends.len()).collect::<Vec<_>>(),
    ));
    lines.join("\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_killed_at_any_commit_or_call_is_followed_by_one_that_ends_the_work() {
    let mut undisturbed = lives(None);
    undisturbed.script().await;
    let (commits, calls) = undisturbed.life.passed();
    let expected = Arc::new(portrait(&undisturbed.world));
    println!("undisturbed: {commits} commits, {calls} changes of the world\n{expected}");

    let moments: Vec<(Moment, usize)> = (1..=commits)
        .flat_map(|n| [(Moment::BeforeCommit, n), (Moment::AfterCommit, n)])
        .chain((1..=calls).flat_map(|n| [(Moment::BeforeCall, n), (Moment::AfterCall, n)]))
        .collect();
    let places = Arc::new(Semaphore::new(ABREAST));
    let mut runs = JoinSet::new();
    for moment in moments {
        let (places, expected) = (Arc::clone(&places), Arc::clone(&expected));
        runs.spawn(async move {
            let _place = places.acquire_owned().await.unwrap();
            let mut run = lives(Some(moment));
            run.script().await;
            let seen = portrait(&run.world);
            assert_eq!(seen, *expected, "killed at {moment:?}");
            run.kills
        });
    }
    let (mut ended, mut kills, mut failed) = (0, 0, Vec::new());
    while let Some(outcome) = runs.join_next().await {
        match outcome {
            Ok(killed) => {
                ended += 1;
                kills += killed;
            }
            Err(error) => failed.push(error.to_string()),
        }
    }
    println!("{kills} daemons killed in {ended} runs");
    assert!(failed.is_empty(), "{} of {} runs: {failed:#?}", failed.len(), failed.len() + ended);
    // Commits and calls come in another number each time, as work goes on side by side; nearly all runs reach their end.
    assert!(kills * 10 >= ended * 9, "only {kills} of {ended} runs were disturbed");
}
