//! Faults on purpose, as a client meets them over HTTP.

use std::{
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use localcloud::{
    drivers::{
        ProxyDriver as _, ProxyPlan,
        haproxy::{Haproxy, HaproxySettings},
    },
    faults::Faults,
    model::{instance::Instance, volume::Volume},
    paths::Paths,
    wire::listener,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixListener,
};
use tokio_util::sync::CancellationToken;

use crate::{
    fake_world::FakeWorld,
    raw::{Served, Unsigned},
    sandbox::skipped,
};

fn served(world: &FakeWorld, plan: &str) -> (Served, Faults) {
    let faults = world.faults();
    faults.set(plan).unwrap();
    (Served::new(world, |front| front.with_faults(faults.clone())), faults)
}

fn volumes(world: &FakeWorld) -> usize {
    world.read(|tx| tx.list::<Volume>().len())
}

#[tokio::test]
async fn the_nth_call_is_dropped_before_its_effect_or_after_it_and_all_are_counted() {
    let world = FakeWorld::new();
    let zone = world.site.home.name.clone();
    let create = [("AvailabilityZone", zone.as_str()), ("Size", "1")];
    let plan = "[[fault]]\naction = 'ec2.CreateVolume'\neffect = 'drop-before'\nnth = 1\n\
                [[fault]]\naction = 'ec2.CreateVolume'\neffect = 'drop-after'\nnth = 2\n";
    let (cloud, faults) = served(&world, plan);
    assert!(cloud.call("ec2", "CreateVolume", &create).await.is_none(), "no answer");
    assert_eq!(volumes(&world), 0, "and no effect");
    assert!(cloud.call("ec2", "CreateVolume", &create).await.is_none(), "no answer");
    assert_eq!(volumes(&world), 1, "but an effect");
    assert_eq!(cloud.answered("ec2", "CreateVolume", &create).await.status, 200);
    assert_eq!(cloud.answered("ec2", "NoSuchAction", &[]).await.code(), "InvalidAction");
    let calls = faults.calls(0);
    let told: Vec<(u64, &str, &str)> = calls
        .calls
        .iter()
        .map(|call| (call.number, call.action.as_str(), call.outcome.as_deref().unwrap_or_default()))
        .collect();
    let expected = [
        (1, "CreateVolume", "InternalError"),
        (2, "CreateVolume", "OK"),
        (3, "CreateVolume", "OK"),
        (4, "NoSuchAction", "InvalidAction"),
    ];
    assert_eq!(told, expected);
    assert_eq!(calls.total, 4);
}

#[tokio::test]
async fn refusals_come_in_the_services_own_words_and_change_nothing() {
    let world = FakeWorld::new();
    let zone = world.site.home.name.clone();
    let create = [("AvailabilityZone", zone.as_str()), ("Size", "1")];
    let (cloud, faults) = served(&world, "");
    let role = [("RoleName", "web"), ("AssumeRolePolicyDocument", "{}")];
    for (effect, ec2, other) in [
        ("throttle", ("RequestLimitExceeded", 503), ("Throttling", 400)),
        ("internal-error", ("InternalError", 500), ("InternalFailure", 500)),
        ("unavailable", ("Unavailable", 503), ("ServiceUnavailable", 503)),
        ("dependency-violation", ("DependencyViolation", 400), ("DeleteConflict", 409)),
        ("expired-token", ("RequestExpired", 400), ("ExpiredToken", 403)),
    ] {
        faults.set(&format!("[[fault]]\naction = '*'\neffect = '{effect}'")).unwrap();
        let answer = cloud.answered("ec2", "CreateVolume", &create).await;
        assert_eq!((answer.code(), answer.status), ec2);
        let answer = cloud.answered("iam", "CreateRole", &role).await;
        assert_eq!((answer.code(), answer.status), other);
    }
    assert_eq!(volumes(&world), 0);
    faults.clear().unwrap();
    assert_eq!(cloud.answered("ec2", "CreateVolume", &create).await.status, 200);
}

#[tokio::test]
async fn a_delay_lasts_as_long_as_it_says_and_calls_wait_side_by_side() {
    let world = FakeWorld::new();
    let (cloud, _) = served(&world, "[[fault]]\naction = '*'\neffect = 'delay'\nmilliseconds = 300");
    let start = Instant::now();
    let calls = (0..20).map(|_| cloud.answered("ec2", "DescribeRegions", &[]));
    for answer in futures::future::join_all(calls).await {
        assert_eq!(answer.status, 200);
    }
    assert!(start.elapsed() >= Duration::from_millis(300));
    assert!(start.elapsed() < Duration::from_secs(3), "they waited for each other: {:?}", start.elapsed());
}

#[tokio::test]
async fn what_was_created_is_seen_late() {
    let world = FakeWorld::new();
    let (cloud, _) = served(&world, "[[fault]]\naction = 'RunInstances'\neffect = 'hide'\ncalls = 2");
    let image = world.image_id.clone();
    let run = [("ImageId", image.as_str()), ("MinCount", "1"), ("MaxCount", "1"), ("ClientToken", "t-1")];
    let answer = cloud.answered("ec2", "RunInstances", &run).await;
    let id = answer.element("instanceId").unwrap().to_owned();
    let again = cloud.answered("ec2", "RunInstances", &run).await;
    assert_eq!(again.element("instanceId"), Some(id.as_str()), "whoever asks again with its token is told");
    let by_id = [("InstanceId.1", id.as_str())];
    assert_eq!(cloud.answered("ec2", "DescribeInstances", &by_id).await.code(), "InvalidInstanceID.NotFound");
    let all = cloud.answered("ec2", "DescribeInstances", &[]).await;
    assert!(all.status == 200 && !all.body.contains(&id), "{all:?}");
    assert_eq!(cloud.answered("ec2", "DescribeInstances", &by_id).await.element("instanceId"), Some(id.as_str()));
}

#[tokio::test]
async fn a_group_that_lacks_capacity_says_so_and_launches_when_there_is_some() {
    let mut world = FakeWorld::new();
    let plan = "[[fault]]\naction = 'autoscaling.RunInstances'\neffect = 'insufficient-capacity'\nfirst = 1";
    let (cloud, _) = served(&world, plan);
    let (image, zone) = (world.image_id.clone(), world.site.home.name.clone());
    let configuration = [("LaunchConfigurationName", "lc"), ("ImageId", &image), ("InstanceType", "t3.micro")];
    assert_eq!(cloud.answered("autoscaling", "CreateLaunchConfiguration", &configuration).await.status, 200);
    let group = [
        ("AutoScalingGroupName", "web"),
        ("LaunchConfigurationName", "lc"),
        ("MinSize", "1"),
        ("MaxSize", "1"),
        ("AvailabilityZones.member.1", zone.as_str()),
    ];
    assert_eq!(cloud.answered("autoscaling", "CreateAutoScalingGroup", &group).await.status, 200);
    world.pass().await;
    let activities = cloud.answered("autoscaling", "DescribeScalingActivities", &[]).await;
    assert!(activities.body.contains("<StatusCode>Failed</StatusCode>"), "{activities:?}");
    assert!(activities.body.contains("not enough capacity"), "{activities:?}");
    world.until("the group has its instance", |world| world.read(|tx| tx.list::<Instance>().len()) == 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_answer_is_none_through_haproxy_too() {
    if skipped("a_dropped_answer_is_none_through_haproxy_too") {
        return;
    }
    let world = FakeWorld::new();
    let dir = tempfile::tempdir().unwrap();
    let paths = Paths::new(dir.path());
    std::fs::create_dir_all(paths.run_dir()).unwrap();
    let faults = Faults::default();
    faults.set("[[fault]]\naction = 'DescribeRegions'\neffect = 'drop-after'\nnth = 1").unwrap();
    let (served, faulty) = (world.front().with_faults(faults.clone()), CancellationToken::new());
    let listener = UnixListener::bind(paths.socket("api")).unwrap();
    let serving = tokio::spawn(listener::serve(listener, served.router(), faulty.clone()));
    let port = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let proxy = Haproxy::new(HaproxySettings {
        paths: paths.clone(),
        namespace: None,
        gateway: Ipv4Addr::new(10, 77, 0, 1),
        port,
        api_socket: paths.socket("api"),
        s3_socket: paths.socket("s3"),
        imds_socket: paths.socket("imds"),
    });
    proxy.apply(&ProxyPlan::default()).await.unwrap();
    // Its credential is the one that requests are signed with.
    let _served = Served::new(&world, |front| front);
    let request = Unsigned::query("ec2", &[("Action", "DescribeRegions")]).signed();
    let mut answers = Vec::new();
    for _ in 0..2 {
        let mut stream = tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
        stream.write_all(&request).await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        answers.push(String::from_utf8_lossy(&answer).into_owned());
    }
    proxy.stop().await.unwrap();
    faulty.cancel();
    serving.await.unwrap();
    let _ = std::fs::remove_dir_all(paths.run_dir());
    assert_eq!(answers[0], "", "the connection ends without a word");
    assert!(answers[1].starts_with("HTTP/1.1 200"), "{}", answers[1]);
    let outcomes: Vec<_> = faults.calls(0).calls.into_iter().map(|call| call.outcome).collect();
    assert_eq!(outcomes, [Some("OK".to_owned()), Some("OK".to_owned())]);
}
