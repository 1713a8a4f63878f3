//! What instances, volumes and groups do is found in their metrics.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use localcloud::{
    drivers::{InstanceDriver as _, NetworkDriver as _, Transfer, Usage, VolumeUsage},
    metrics::{Metric, StatisticSet},
    model::{
        auto_scaling::AutoScalingGroup,
        instance::{Instance, InstanceState},
        time::Timestamp,
        volume::{AttachmentState, Volume, VolumeState},
    },
    reconcile::measures::Measures,
    store::StoreError,
};

use super::{
    fake_world::FakeWorld,
    sandbox::{Sandbox, announced, skipped},
};

/// Looks at the n-th point of the clock's grid, however late it is.
async fn look(measures: &mut Measures, world: &FakeWorld, n: i64) {
    measures.look(world.context(), Timestamp::from_seconds(0.0).plus_secs(n * 10)).await.unwrap();
}

/// What was measured in the ten seconds that began at the n-th point of the grid.
fn measured(world: &FakeWorld, n: i64, namespace: &str, name: &str, dimensions: &[(&str, &str)]) -> StatisticSet {
    let metric = Metric::new(namespace, name, dimensions);
    let begin = Timestamp::from_seconds(0.0).plus_secs(n * 10);
    let datapoints = world.context().metrics.datapoints(&metric, None, (begin, begin.plus_secs(10)), 10);
    assert_eq!(datapoints.len(), 1, "{metric:?}");
    datapoints[0].values.clone()
}

fn usage(factor: u64) -> Usage {
    let moved = |bytes, count| Some(Transfer { bytes: bytes * factor, count: count * factor });
    Usage {
        cpu_nanos: Some(4_000_000_000 * factor),
        received: moved(1000, 10),
        sent: moved(2000, 20),
        read: moved(4096, 1),
        written: None,
    }
}

async fn running(world: &mut FakeWorld, count: &str) -> Vec<String> {
    let image = world.image_id.clone();
    let run = [
        ("ImageId", image.as_str()),
        ("InstanceType", "t3.micro"),
        ("MinCount", count),
        ("MaxCount", count),
        ("Monitoring.Enabled", "true"),
    ];
    let ids = world.call("ec2", "RunInstances", &run).unwrap().each("instancesSet", "instanceId");
    let wanted = ids.clone();
    world
        .until("the instances run", |world| {
            let state = |id: &String| world.read(|tx| tx.get::<Instance>(id).map(|instance| instance.state));
            wanted.iter().all(|id| state(id) == Some(InstanceState::Running))
        })
        .await;
    ids
}

#[tokio::test]
async fn what_instances_use_is_measured_by_instance_and_together() {
    let mut world = FakeWorld::new();
    let ids = running(&mut world, "2").await;
    let mut measures = Measures::default();
    look(&mut measures, &world, 1).await;
    world.cloud.instances.set_usage(&ids[0], usage(1));
    world.cloud.instances.set_usage(&ids[1], usage(2));
    // A second look within the same ten seconds tells nothing new.
    measures.look(world.context(), Timestamp::from_seconds(15.0)).await.unwrap();
    look(&mut measures, &world, 2).await;
    for id in &ids {
        let cpu = Metric::new("AWS/EC2", "CPUUtilization", &[("InstanceId", id)]);
        let all = world.context().metrics.since(&cpu, Timestamp::from_seconds(0.0));
        assert!(all.is_empty(), "nothing was counted before, so that there is no difference: {all:?}");
    }
    world.cloud.instances.set_usage(&ids[0], usage(2));
    world.cloud.instances.set_usage(&ids[1], usage(4));
    look(&mut measures, &world, 3).await;
    let of = |name: &str, dimensions: &[(&str, &str)]| measured(&world, 2, "AWS/EC2", name, dimensions);
    // Four seconds of the two processors of a t3.micro, in ten seconds.
    assert_eq!(of("CPUUtilization", &[("InstanceId", &ids[0])]), StatisticSet::of(20.0));
    assert_eq!(of("NetworkIn", &[("InstanceId", &ids[0])]), StatisticSet::of(1000.0));
    assert_eq!(of("NetworkPacketsOut", &[("InstanceId", &ids[1])]), StatisticSet::of(40.0));
    assert_eq!(of("DiskReadOps", &[("InstanceId", &ids[1])]), StatisticSet::of(2.0));
    assert_eq!(of("StatusCheckFailed", &[("InstanceId", &ids[1])]), StatisticSet::of(0.0));
    for dimensions in [&[("InstanceType", "t3.micro")][..], &[("ImageId", world.image_id.as_str())], &[]] {
        let cpu = of("CPUUtilization", dimensions);
        assert_eq!((cpu.count, cpu.sum, cpu.minimum, cpu.maximum), (2.0, 60.0, 20.0, 40.0));
    }
    let uncounted = Metric::new("AWS/EC2", "DiskWriteBytes", &[("InstanceId", &ids[0])]);
    assert!(world.context().metrics.since(&uncounted, Timestamp::from_seconds(0.0)).is_empty());
}

#[tokio::test]
async fn a_new_daemon_counts_from_its_first_look() {
    let mut world = FakeWorld::new();
    let id = running(&mut world, "1").await.remove(0);
    world.cloud.instances.set_usage(&id, usage(100));
    let mut measures = Measures::default();
    look(&mut measures, &world, 1).await;
    let cpu = Metric::new("AWS/EC2", "CPUUtilization", &[("InstanceId", &id)]);
    assert!(world.context().metrics.since(&cpu, Timestamp::from_seconds(0.0)).is_empty());
    // The instance was started anew: its counters are low again, and all that they tell is new.
    world.cloud.instances.set_usage(&id, usage(1));
    look(&mut measures, &world, 2).await;
    assert_eq!(measured(&world, 1, "AWS/EC2", "CPUUtilization", &[("InstanceId", &id)]), StatisticSet::of(20.0));
}

#[tokio::test]
async fn what_an_attached_volume_is_used_for_is_measured_for_it_and_for_its_instance() {
    let mut world = FakeWorld::new();
    let id = running(&mut world, "1").await.remove(0);
    let create = [("AvailabilityZone", "PARTI00"), ("Size", "1")];
    let volume = world.call("ec2", "CreateVolume", &create).unwrap().text("volumeId");
    let volume_state = |world: &FakeWorld| world.read(|tx| tx.get::<Volume>(&volume).unwrap().state);
    world.until("the volume is there", |world| volume_state(world) == VolumeState::Available).await;
    let attach = [("VolumeId", volume.as_str()), ("InstanceId", &id), ("Device", "/dev/sdf")];
    world.call("ec2", "AttachVolume", &attach).unwrap();
    world
        .until("it is attached", |world| {
            let attachment = world.read(|tx| tx.get::<Volume>(&volume).unwrap().attachment.clone());
            attachment.is_some_and(|attachment| attachment.state == AttachmentState::Attached)
        })
        .await;
    let mut measures = Measures::default();
    look(&mut measures, &world, 1).await;
    let used = VolumeUsage {
        read: Transfer { bytes: 4096, count: 2 },
        written: Transfer { bytes: 1024, count: 1 },
        read_millis: 500,
        write_millis: 100,
        busy_millis: 600,
        queued_millis: 5000,
    };
    world.cloud.volumes.set_usage(&volume, used);
    look(&mut measures, &world, 2).await;
    let of = |name: &str| measured(&world, 1, "AWS/EBS", name, &[("VolumeId", &volume)]).sum;
    assert_eq!((of("VolumeReadBytes"), of("VolumeReadOps"), of("VolumeTotalReadTime")), (4096.0, 2.0, 0.5));
    assert_eq!((of("VolumeWriteBytes"), of("VolumeWriteOps"), of("VolumeTotalWriteTime")), (1024.0, 1.0, 0.1));
    assert_eq!((of("VolumeIdleTime"), of("VolumeQueueLength")), (9.4, 0.5));
    let ebs = |name: &str| measured(&world, 1, "AWS/EC2", name, &[("InstanceId", &id)]).sum;
    assert_eq!((ebs("EBSReadBytes"), ebs("EBSWriteOps")), (4096.0, 1.0));
}

#[tokio::test]
async fn sizes_of_a_group_are_measured_once_that_is_enabled() {
    const ASG: &str = "autoscaling";
    let mut world = FakeWorld::new();
    let image = world.image_id.clone();
    let configuration = [("LaunchConfigurationName", "lc"), ("ImageId", image.as_str()), ("InstanceType", "t3.micro")];
    world.call(ASG, "CreateLaunchConfiguration", &configuration).unwrap();
    let group = [
        ("AutoScalingGroupName", "web"),
        ("LaunchConfigurationName", "lc"),
        ("MinSize", "1"),
        ("MaxSize", "6"),
        ("DesiredCapacity", "2"),
        ("AvailabilityZones.member.1", "PARTI00"),
    ];
    world.call(ASG, "CreateAutoScalingGroup", &group).unwrap();
    let in_service = |world: &FakeWorld| {
        let members = world.read(|tx| tx.get::<AutoScalingGroup>("web").unwrap().members.clone());
        members.iter().filter(|member| member.in_service_since.is_some()).count()
    };
    world.until("two are in service", |world| in_service(world) == 2).await;
    let mut measures = Measures::default();
    look(&mut measures, &world, 1).await;
    let desired = Metric::new("AWS/AutoScaling", "GroupDesiredCapacity", &[("AutoScalingGroupName", "web")]);
    assert!(world.context().metrics.since(&desired, Timestamp::from_seconds(0.0)).is_empty());

    let web = ("AutoScalingGroupName", "web");
    let enable = |more: &[(&'static str, &'static str)]| [&[web], more].concat();
    assert_eq!(
        world.refused(ASG, "EnableMetricsCollection", &enable(&[("Granularity", "5Minute")])),
        "ValidationError"
    );
    let minute = ("Granularity", "1Minute");
    let unknown = enable(&[minute, ("Metrics.member.1", "GroupColour")]);
    assert_eq!(world.refused(ASG, "EnableMetricsCollection", &unknown), "ValidationError");
    world.call(ASG, "EnableMetricsCollection", &enable(&[minute])).unwrap();
    world.call(ASG, "DisableMetricsCollection", &enable(&[("Metrics.member.1", "GroupMinSize")])).unwrap();
    let described = world.call(ASG, "DescribeAutoScalingGroups", &[]).unwrap();
    let enabled = described.each("AutoScalingGroups.0.EnabledMetrics", "Metric");
    assert_eq!(enabled.len(), 12);
    assert!(!enabled.contains(&"GroupMinSize".to_owned()));
    assert_eq!(described.text("AutoScalingGroups.0.EnabledMetrics.0.Granularity"), "1Minute");

    look(&mut measures, &world, 2).await;
    let of = |name: &str| measured(&world, 1, "AWS/AutoScaling", name, &[web]).sum;
    assert_eq!((of("GroupDesiredCapacity"), of("GroupMaxSize"), of("GroupInServiceInstances")), (2.0, 6.0, 2.0));
    assert_eq!((of("GroupPendingInstances"), of("GroupTotalInstances"), of("GroupTotalCapacity")), (0.0, 2.0, 2.0));
    // Instances of a group are measured together, detailed monitoring or not.
    assert_eq!(measured(&world, 1, "AWS/EC2", "StatusCheckFailed", &[web]).count, 2.0);
}

#[tokio::test]
async fn a_guest_that_computes_is_seen_to() {
    if skipped("a_guest_that_computes_is_seen_to") {
        return;
    }
    let sandbox = Sandbox::new().await;
    let spec = sandbox.spec(11).await;
    let id = spec.id.as_str();
    let ids = BTreeSet::from([id.to_owned()]);
    sandbox.network.start().await.unwrap();
    sandbox.network.set(&announced(&[&spec])).await.unwrap();
    assert!(sandbox.instances.usage(&ids).await.unwrap().is_empty(), "it does not run yet");
    sandbox.instances.launch(&spec).await.unwrap();
    sandbox.wait_for_lease(id, spec.private_ip).await;
    let usage = || async { sandbox.instances.usage(&ids).await.unwrap()[id] };
    let before = usage().await;
    eprintln!("booted with {before:?}");
    assert!(before.received.unwrap().bytes > 0 && before.sent.unwrap().count > 0, "it has a lease");

    // The record of a t3.micro, which has two processors, stands for it.
    let mut world = FakeWorld::new();
    let fake = running(&mut world, "1").await.remove(0);
    let record = world.read(|tx| Instance::clone(&*tx.get::<Instance>(&fake).unwrap()));
    let keep = world.store.transact(|tx| {
        tx.put(Instance { id: id.to_owned(), ..record });
        Ok::<_, StoreError>(())
    });
    keep.unwrap();
    let mut cx = world.context().clone();
    cx.drivers.instances = Arc::new(sandbox.after_a_restart());
    let mut measures = Measures::default();
    measures.look(&cx, Timestamp::from_seconds(10.0)).await.unwrap();
    let unit = "printf '[Unit]\\nDefaultDependencies=no\\n[Service]\\nExecStart=sh -c \"while :; do :; done\"\\n' \
                >/run/systemd/system/burn.service && systemctl daemon-reload && systemctl start burn.service";
    sandbox.eventually_in_guest(id, unit).await;
    let deadline = Instant::now() + Duration::from_secs(60);
    while usage().await.cpu_nanos.unwrap() < before.cpu_nanos.unwrap() + 2_000_000_000 {
        assert!(Instant::now() < deadline, "a busy guest uses no processor");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    measures.look(&cx, Timestamp::from_seconds(20.0)).await.unwrap();
    let cpu = measured(&world, 1, "AWS/EC2", "CPUUtilization", &[("InstanceId", id)]).sum;
    // Two of the twenty seconds that two processors have in ten.
    assert!((9.0..=100.0).contains(&cpu), "{cpu} %");
}
