//! What a large cloud costs while nothing goes on in it, and what its answers cost. To be run alone, with
//! `cargo nextest run -p localcloud --run-ignored only -E 'test(cost)' --no-capture`: processor time is the whole process's.

use std::{
    fs,
    time::{Duration, Instant},
};

use localcloud::{
    drivers::{Transfer, Usage},
    model::{
        auto_scaling::{AutoScalingGroup, Lifecycle},
        site::Site,
    },
    reconcile::{self, runner},
    wire::xml::{self, Dialect},
};
use tokio_util::sync::CancellationToken;

use super::fake_world::FakeWorld;

const ASG: &str = "autoscaling";
const ELB: &str = "elasticloadbalancing";
const GROUPS: usize = 100;
const MEMBERS: usize = 10;

/// A hundred groups of ten, each ten of them behind one balancer, and two ports open to the world.
async fn large_world() -> FakeWorld {
    let mut world = FakeWorld::new();
    world.site.instance_limit = u32::try_from(2 * GROUPS * MEMBERS).unwrap();
    let limit = world.site.instance_limit;
    world.change::<Site>(Site::KEY, |site| site.instance_limit = limit);
    let image = world.image_id.clone();
    let groups = world.call("ec2", "DescribeSecurityGroups", &[]).unwrap();
    let security_group = groups.text("securityGroupInfo.0.groupId");
    for port in ["22", "80"] {
        let rule = [
            ("GroupId", security_group.as_str()),
            ("IpProtocol", "tcp"),
            ("FromPort", port),
            ("ToPort", port),
            ("CidrIp", "0.0.0.0/0"),
        ];
        world.call("ec2", "AuthorizeSecurityGroupIngress", &rule).unwrap();
    }
    for number in 0..GROUPS / 10 {
        let balancer = [
            ("LoadBalancerName", &*format!("lb{number}")),
            ("AvailabilityZones.member.1", "PARTI00"),
            ("Listeners.member.1.Protocol", "HTTP"),
            ("Listeners.member.1.LoadBalancerPort", "8080"),
            ("Listeners.member.1.InstancePort", "80"),
        ];
        world.call(ELB, "CreateLoadBalancer", &balancer).unwrap();
    }
    let members = MEMBERS.to_string();
    for number in 0..GROUPS {
        let (name, balancer) = (format!("group{number}"), format!("lb{}", number / 10));
        let configuration = [("LaunchConfigurationName", &*name), ("ImageId", &*image), ("InstanceType", "t3.micro")];
        world.call(ASG, "CreateLaunchConfiguration", &configuration).unwrap();
        let group = [
            ("AutoScalingGroupName", &*name),
            ("LaunchConfigurationName", &*name),
            ("MinSize", "1"),
            ("MaxSize", "20"),
            ("DesiredCapacity", &*members),
            ("AvailabilityZones.member.1", "PARTI00"),
            ("LoadBalancerNames.member.1", &*balancer),
            ("HealthCheckType", "ELB"),
            ("HealthCheckGracePeriod", "300"),
        ];
        world.call(ASG, "CreateAutoScalingGroup", &group).unwrap();
        world.call(ASG, "EnableMetricsCollection", &[group[0], ("Granularity", "1Minute")]).unwrap();
    }
    let stop = CancellationToken::new();
    let mut loops = runner::start(world.context(), reconcile::all(), &stop);
    let began = Instant::now();
    while !is_settled(&world) {
        assert!(began.elapsed() < Duration::from_secs(300), "{}", world.cloud.instances.running());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    eprintln!("{} instances were in service after {:.1} s", GROUPS * MEMBERS, began.elapsed().as_secs_f64());
    stop.cancel();
    while loops.join_next().await.is_some() {}
    world
}

fn is_settled(world: &FakeWorld) -> bool {
    let groups = world.read(|tx| tx.list::<AutoScalingGroup>());
    let in_service = |group: &AutoScalingGroup| {
        group.members.iter().filter(|member| member.lifecycle == Lifecycle::InService).count()
    };
    groups.iter().all(|group| in_service(group) == MEMBERS)
}

/// What this process has used of the processor.
fn processor_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_ascii_whitespace().collect();
    let ticks: u32 = fields[11..13].iter().map(|field| field.parse::<u32>().unwrap()).sum();
    f64::from(ticks) / 100.0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures for a minute, alone on the machine"]
async fn a_quiet_cloud_of_a_thousand_instances_costs_a_hundredth_of_a_core() {
    let world = large_world().await;
    let moved = Some(Transfer { bytes: 1, count: 1 });
    let usage = Usage { cpu_nanos: Some(1), received: moved, sent: moved, read: moved, written: moved };
    let ids = world.call("ec2", "DescribeInstances", &[]).unwrap().each("reservationSet", "instancesSet.0.instanceId");
    for id in &ids {
        world.cloud.instances.set_usage(id, usage);
    }
    let mut dearest = (0.0, "");
    for mut reconciler in reconcile::all() {
        reconciler.reconcile(world.context()).await.unwrap();
        let began = processor_seconds();
        let stop = CancellationToken::new();
        let name = reconciler.name();
        let mut one = runner::start(world.context(), vec![reconciler], &stop);
        tokio::time::sleep(Duration::from_secs(4)).await;
        let share = (processor_seconds() - began) / 4.0 * 100.0;
        eprintln!("{name}: {share:.2} % of a core");
        dearest = if share > dearest.0 { (share, name) } else { dearest };
        stop.cancel();
        while one.join_next().await.is_some() {}
    }
    let stop = CancellationToken::new();
    let mut loops = runner::start(world.context(), reconcile::all(), &stop);
    tokio::time::sleep(Duration::from_secs(12)).await;
    let began = processor_seconds();
    tokio::time::sleep(Duration::from_secs(20)).await;
    let share = (processor_seconds() - began) / 20.0 * 100.0;
    eprintln!("all: {share:.2} % of a core");
    stop.cancel();
    while loops.join_next().await.is_some() {}
    assert!(share <= 1.0, "{share:.2} % of a core; the dearest is {dearest:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures for a minute, alone on the machine"]
async fn answers_of_a_large_cloud_are_told() {
    let world = large_world().await;
    let image = world.image_id.clone();
    let run = [("ImageId", image.as_str()), ("MinCount", "1"), ("MaxCount", "1")];
    let calls: [(&str, &str, &[(&str, &str)]); 4] = [
        ("ec2", "DescribeInstances", &[]),
        ("ec2", "RunInstances", &run),
        (ASG, "DescribeAutoScalingGroups", &[("MaxRecords", "100")]),
        (ASG, "SetDesiredCapacity", &[("AutoScalingGroupName", "group1"), ("DesiredCapacity", "10")]),
    ];
    for (service, action, parameters) in calls {
        let dialect = if service == "ec2" { Dialect::Ec2 } else { Dialect::Query };
        let (mut called, mut bytes, mut written) = (Duration::ZERO, 0, Duration::ZERO);
        const TIMES: u32 = 20;
        for _ in 0..TIMES {
            let began = Instant::now();
            let answer = world.call(service, action, parameters).unwrap();
            called += began.elapsed();
            let began = Instant::now();
            bytes = xml::response(dialect, "http://example.com/", action, answer.tree(), "id").len();
            written += began.elapsed();
        }
        eprintln!("{action}: {:?} carried out, {:?} written ({bytes} bytes)", called / TIMES, written / TIMES);
        assert!(called / TIMES < Duration::from_millis(200), "{action} took {:?}", called / TIMES);
    }
}
