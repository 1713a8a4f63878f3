//! Several availability zones: what is in one, what must share one, and what spreads over them.

use std::collections::BTreeMap;

use localcloud::model::{auto_scaling::AutoScalingGroup, instance::Instance, load_balancer::LoadBalancer};

use super::fake_world::{Answer, FakeWorld};

const ASG: &str = "autoscaling";
const ELB: &str = "elasticloadbalancing";
const FIRST: &str = "PARTI00";
const SECOND: &str = "PARTI01";

fn run(world: &FakeWorld, extra: &[(&str, &str)]) -> Answer {
    let parameters = [&[("ImageId", world.image_id.as_str()), ("MinCount", "1"), ("MaxCount", "1")], extra].concat();
    world.call("ec2", "RunInstances", &parameters).unwrap()
}

fn launched(world: &FakeWorld, zone: &str) -> String {
    run(world, &[("Placement.AvailabilityZone", zone)]).text("instancesSet.0.instanceId")
}

fn second_subnet(world: &FakeWorld) -> String {
    world.site.subnet_in(SECOND).to_owned()
}

fn balancer(world: &FakeWorld, zones: &[&str]) {
    let names: Vec<String> = (1..=zones.len()).map(|number| format!("AvailabilityZones.member.{number}")).collect();
    let mut parameters = vec![
        ("LoadBalancerName", "lb"),
        ("Listeners.member.1.Protocol", "HTTP"),
        ("Listeners.member.1.LoadBalancerPort", "8080"),
        ("Listeners.member.1.InstancePort", "80"),
    ];
    parameters.extend(names.iter().map(String::as_str).zip(zones.iter().copied()));
    world.call(ELB, "CreateLoadBalancer", &parameters).unwrap();
}

fn register(world: &FakeWorld, ids: &[&str]) {
    for id in ids {
        let parameters = [("LoadBalancerName", "lb"), ("Instances.member.1.InstanceId", id)];
        world.call(ELB, "RegisterInstancesWithLoadBalancer", &parameters).unwrap();
    }
}

/// By instance, the weight that the proxy was told.
fn weights(world: &FakeWorld) -> BTreeMap<String, u32> {
    let plan = world.cloud.proxy.plan();
    let backends = plan.iter().flat_map(|plan| &plan.balancers).flat_map(|balancer| balancer.backends.clone());
    backends.map(|backend| (backend.instance_id, backend.weight)).collect()
}

/// How many members are in service, by zone.
fn in_service(world: &FakeWorld) -> BTreeMap<String, usize> {
    let group = world.read(|tx| tx.get::<AutoScalingGroup>("web")).unwrap();
    let mut counts = BTreeMap::new();
    for member in group.members.iter().filter(|member| member.lifecycle.wire() == "InService") {
        *counts.entry(member.zone.clone()).or_default() += 1;
    }
    if group.members.len() != counts.values().sum::<usize>() {
        // Others come or go.
        counts.insert("elsewhere".to_owned(), 1);
    }
    counts
}

fn spread(first: usize, second: usize) -> BTreeMap<String, usize> {
    [(FIRST, first), (SECOND, second)]
        .iter()
        .filter(|(_, count)| *count > 0)
        .map(|(zone, count)| ((*zone).to_owned(), *count))
        .collect()
}

fn group(world: &FakeWorld, extra: &[(&str, &str)]) {
    let configuration = [("LaunchConfigurationName", "lc"), ("ImageId", &world.image_id), ("InstanceType", "t3.micro")];
    world.call(ASG, "CreateLaunchConfiguration", &configuration).unwrap();
    let mut parameters = vec![
        ("AutoScalingGroupName", "web"),
        ("LaunchConfigurationName", "lc"),
        ("MinSize", "0"),
        ("MaxSize", "4"),
        ("DesiredCapacity", "4"),
    ];
    parameters.extend(extra);
    world.call(ASG, "CreateAutoScalingGroup", &parameters).unwrap();
}

#[test]
fn each_zone_has_its_subnet_and_instances_are_where_they_were_asked_for() {
    let world = FakeWorld::new();
    let zones = world.call("ec2", "DescribeAvailabilityZones", &[]).unwrap();
    assert_eq!(zones.each("availabilityZoneInfo", "zoneName"), [FIRST, SECOND]);
    let subnets = world.call("ec2", "DescribeSubnets", &[]).unwrap();
    assert_eq!(subnets.each("subnetSet", "availabilityZone"), [FIRST, SECOND]);
    assert_eq!(subnets.each("subnetSet", "cidrBlock"), ["10.77.0.0/20", "10.77.16.0/20"]);

    let subnet = second_subnet(&world);
    for asked in [
        ("Placement.AvailabilityZone", SECOND),
        ("SubnetId", subnet.as_str()),
        ("NetworkInterface.1.SubnetId", subnet.as_str()),
    ] {
        let answer = run(&world, &[asked]);
        let field = |name: &str| answer.text(&format!("instancesSet.0.{name}"));
        assert_eq!((field("placement.availabilityZone"), field("subnetId")), (SECOND.to_owned(), subnet.clone()));
        assert!(field("privateIpAddress").starts_with("10.77.16."), "{}", field("privateIpAddress"));
    }
    assert_eq!(run(&world, &[]).text("instancesSet.0.placement.availabilityZone"), FIRST);
    let left = world.call("ec2", "DescribeSubnets", &[("SubnetId.1", &subnet)]).unwrap();
    assert_eq!(left.text("subnetSet.0.availableIpAddressCount"), (4096 - 10 - 3).to_string());
    let here = [("Filter.1.Name", "availability-zone"), ("Filter.1.Value.1", SECOND)];
    assert_eq!(world.call("ec2", "DescribeInstances", &here).unwrap().count("reservationSet"), 3);
}

#[test]
fn a_zone_that_is_not_there_or_not_the_subnet_s_is_refused() {
    let world = FakeWorld::new();
    let subnet = second_subnet(&world);
    let launch = [("ImageId", world.image_id.as_str()), ("MinCount", "1"), ("MaxCount", "1")];
    let refused = |extra: &[(&str, &str)]| world.refused("ec2", "RunInstances", &[&launch, extra].concat());
    assert_eq!(refused(&[("Placement.AvailabilityZone", "PARTI07")]), "InvalidParameterValue");
    let elsewhere = [("Placement.AvailabilityZone", FIRST), ("SubnetId", subnet.as_str())];
    assert_eq!(refused(&elsewhere), "InvalidParameterValue");
    let volume = [("AvailabilityZone", "PARTI07"), ("Size", "1")];
    assert_eq!(world.refused("ec2", "CreateVolume", &volume), "InvalidZone.NotFound");
    let mixed = [
        ("AutoScalingGroupName", "web"),
        ("MinSize", "0"),
        ("MaxSize", "0"),
        ("LaunchConfigurationName", "lc"),
        ("AvailabilityZones.member.1", FIRST),
        ("VPCZoneIdentifier", subnet.as_str()),
    ];
    let configuration = [("LaunchConfigurationName", "lc"), ("ImageId", &world.image_id), ("InstanceType", "t3.micro")];
    world.call(ASG, "CreateLaunchConfiguration", &configuration).unwrap();
    assert_eq!(world.refused(ASG, "CreateAutoScalingGroup", &mixed), "ValidationError");
}

#[test]
fn a_template_s_zone_is_used_unless_the_request_names_another() {
    let world = FakeWorld::new();
    let create = [
        ("LaunchTemplateName", "web"),
        ("LaunchTemplateData.ImageId", world.image_id.as_str()),
        ("LaunchTemplateData.Placement.AvailabilityZone", SECOND),
    ];
    world.call("ec2", "CreateLaunchTemplate", &create).unwrap();
    let versions = world.call("ec2", "DescribeLaunchTemplateVersions", &[("LaunchTemplateName", "web")]).unwrap();
    assert_eq!(versions.text("launchTemplateVersionSet.0.launchTemplateData.placement.availabilityZone"), SECOND);
    let of_template = ("LaunchTemplate.LaunchTemplateName", "web");
    let zone = |extra: &[(&str, &str)]| {
        run(&world, &[&[of_template], extra].concat()).text("instancesSet.0.placement.availabilityZone")
    };
    assert_eq!(zone(&[]), SECOND);
    assert_eq!(zone(&[("Placement.AvailabilityZone", FIRST)]), FIRST);
}

#[tokio::test]
async fn a_volume_goes_to_instances_of_its_own_zone_only() {
    let mut world = FakeWorld::new();
    let (near, far) = (launched(&world, SECOND), launched(&world, FIRST));
    let volume = world.call("ec2", "CreateVolume", &[("AvailabilityZone", SECOND), ("Size", "1")]).unwrap();
    let volume = volume.text("volumeId");
    world.until("all is there", |world| world.cloud.instances.running() == 2).await;
    let available = [("Filter.1.Name", "status"), ("Filter.1.Value.1", "available")];
    world
        .until("it is available", |world| {
            world.call("ec2", "DescribeVolumes", &available).unwrap().count("volumeSet") == 1
        })
        .await;
    let attach = |id| [("VolumeId", volume.as_str()), ("InstanceId", id), ("Device", "/dev/vdf")];
    assert_eq!(world.refused("ec2", "AttachVolume", &attach(&far)), "InvalidVolume.ZoneMismatch");
    world.call("ec2", "AttachVolume", &attach(&near)).unwrap();
}

#[tokio::test]
async fn a_balancer_sends_nothing_to_a_zone_where_it_does_not_stand() {
    let mut world = FakeWorld::new();
    balancer(&world, &[FIRST]);
    let (near, far) = (launched(&world, FIRST), launched(&world, SECOND));
    register(&world, &[&near, &far]);
    world.until("both run", |world| world.cloud.instances.running() == 2).await;
    world.until("the proxy knows one", |world| weights(world).into_keys().eq([near.clone()])).await;
    let health = || {
        let parameters = [("LoadBalancerName", "lb"), ("Instances.member.1.InstanceId", far.as_str())];
        let answer = world.call(ELB, "DescribeInstanceHealth", &parameters).unwrap();
        (answer.text("InstanceStates.0.State"), answer.text("InstanceStates.0.Description"))
    };
    let (state, why) = health();
    assert_eq!(state, "OutOfService");
    assert!(why.starts_with("Instance is in the EC2 Availability Zone for which"), "{why}");

    let subnet = second_subnet(&world);
    let attach = [("LoadBalancerName", "lb"), ("Subnets.member.1", subnet.as_str())];
    assert_eq!(world.call(ELB, "AttachLoadBalancerToSubnets", &attach).unwrap().count("Subnets"), 2);
    world.until("the proxy knows both", |world| weights(world).len() == 2).await;
    let leave = [("LoadBalancerName", "lb"), ("AvailabilityZones.member.1", FIRST)];
    world.call(ELB, "DisableAvailabilityZonesForLoadBalancer", &leave).unwrap();
    let record = world.read(|tx| tx.get::<LoadBalancer>("lb")).unwrap();
    assert_eq!(
        (record.zones.as_slice(), record.subnets.as_slice()),
        ([SECOND.to_owned()].as_slice(), [subnet].as_slice())
    );
    world.until("the proxy knows the other", |world| weights(world).into_keys().eq([far.clone()])).await;
}

#[tokio::test]
async fn without_cross_zone_balancing_each_zone_gets_the_same() {
    let mut world = FakeWorld::new();
    balancer(&world, &[FIRST, SECOND]);
    let (alone, first, second) = (launched(&world, FIRST), launched(&world, SECOND), launched(&world, SECOND));
    register(&world, &[&alone, &first, &second]);
    world.until("all run", |world| world.cloud.instances.running() == 3).await;
    world.until("all are known", |world| weights(world).len() == 3).await;
    let known = weights(&world);
    assert_eq!(known[&alone], known[&first] + known[&second]);

    let cross_zone = "LoadBalancerAttributes.CrossZoneLoadBalancing.Enabled";
    world.call(ELB, "ModifyLoadBalancerAttributes", &[("LoadBalancerName", "lb"), (cross_zone, "true")]).unwrap();
    world.until("all get the same", |world| weights(world).values().all(|weight| *weight == 1)).await;
}

#[tokio::test]
async fn a_group_spreads_over_its_subnets_and_gets_back_what_a_lost_zone_took() {
    let mut world = FakeWorld::new();
    let subnets = format!("{},{}", world.site.home.subnet_id, second_subnet(&world));
    group(&world, &[("VPCZoneIdentifier", &subnets)]);
    world.until("two are in each", |world| in_service(world) == spread(2, 2)).await;
    let described = world.call(ASG, "DescribeAutoScalingGroups", &[]).unwrap();
    let mut zones = described.each("AutoScalingGroups.0.Instances", "AvailabilityZone");
    zones.sort();
    assert_eq!(zones, [FIRST, FIRST, SECOND, SECOND]);

    let lost: Vec<String> = world.read(|tx| {
        let in_second = |instance: &&std::sync::Arc<Instance>| instance.zone == SECOND;
        tx.list::<Instance>().iter().filter(in_second).map(|instance| instance.id.clone()).collect()
    });
    for id in &lost {
        world.call("ec2", "TerminateInstances", &[("InstanceId.1", id)]).unwrap();
    }
    world
        .until("the others replace them", |world| {
            let group = world.read(|tx| tx.get::<AutoScalingGroup>("web")).unwrap();
            in_service(world) == spread(2, 2) && group.members.iter().all(|member| !lost.contains(&member.instance_id))
        })
        .await;
}

#[tokio::test]
async fn a_group_that_gets_another_zone_evens_out_and_never_has_fewer_than_it_wants() {
    let mut world = FakeWorld::new();
    group(&world, &[("AvailabilityZones.member.1", FIRST)]);
    world.until("all are in the first", |world| in_service(world) == spread(4, 0)).await;
    let both = [
        ("AutoScalingGroupName", "web"),
        ("AvailabilityZones.member.1", FIRST),
        ("AvailabilityZones.member.2", SECOND),
    ];
    world.call(ASG, "UpdateAutoScalingGroup", &both).unwrap();
    world
        .until("two are in each", |world| {
            let group = world.read(|tx| tx.get::<AutoScalingGroup>("web")).unwrap();
            let serving = group.members.iter().filter(|member| member.lifecycle.wire() == "InService").count();
            assert!(serving >= 4, "{serving} are in service");
            in_service(world) == spread(2, 2)
        })
        .await;
    let told = world.call(ASG, "DescribeScalingActivities", &[("AutoScalingGroupName", "web")]).unwrap();
    let causes = told.each("Activities", "Cause");
    assert!(
        causes.iter().any(|cause| cause.contains("PARTI00, PARTI01 had 4, 0 instances respectively")),
        "{causes:?}"
    );
}
