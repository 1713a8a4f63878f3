//! What balancers did, as metrics and as access logs in a bucket, with a real S3.

use std::path::Path;

use localcloud::{
    drivers::BalancerRequest,
    metrics::Metric,
    model::{identity::Credential, load_balancer::LoadBalancer, time::Timestamp},
    object_storage,
    store::StoreError,
};

use super::fake_world::FakeWorld;

const ELB: &str = "elasticloadbalancing";
const NAME: (&str, &str) = ("LoadBalancerName", "web");

fn create(world: &FakeWorld) {
    let parameters = [
        NAME,
        ("AvailabilityZones.member.1", "PARTI00"),
        ("Listeners.member.1.Protocol", "HTTP"),
        ("Listeners.member.1.LoadBalancerPort", "8080"),
        ("Listeners.member.1.InstancePort", "80"),
    ];
    world.call(ELB, "CreateLoadBalancer", &parameters).unwrap();
}

fn request(ended_secs_ago: i64) -> BalancerRequest {
    let end_micros = Timestamp::now().plus_secs(-ended_secs_ago).millis() * 1000;
    BalancerRequest {
        balancer: "web".into(),
        is_http: true,
        port: 8080,
        begin_micros: end_micros - 1000,
        end_micros,
        client: "127.0.0.1:1234".into(),
        instance: Some("10.77.0.10:80".into()),
        times_micros: Some((1, 998, 1)),
        status: Some(200),
        instance_status: Some(200),
        method: "GET".into(),
        uri: format!("/ended-{ended_secs_ago}"),
        version: "HTTP/1.1".into(),
        ..BalancerRequest::default()
    }
}

fn sum(world: &FakeWorld, metric: &str) -> f64 {
    let metric = Metric::new("AWS/ELB", metric, &[NAME]);
    world.metrics().since(&metric, Timestamp::from_seconds(0.0)).iter().map(|sample| sample.values.sum).sum()
}

/// Everything in the bucket.
fn objects(world: &FakeWorld) -> Vec<String> {
    let bucket = std::fs::read_dir(world.paths().s3_root().join("logs")).unwrap();
    bucket.flatten().filter_map(|file| std::fs::read_to_string(file.path()).ok()).collect()
}

fn has(world: &FakeWorld, what: &str) -> bool {
    objects(world).iter().any(|text| text.contains(what))
}

#[tokio::test]
async fn ended_requests_are_counted_once_and_instances_all_the_time() {
    let mut world = FakeWorld::new();
    create(&world);
    world.cloud.proxy.end_request(request(3600));
    world.until("the request is counted", |world| sum(world, "RequestCount") > 0.0).await;
    world.cloud.proxy.end_request(request(1));
    world.restart();
    world.until("the next one too", |world| sum(world, "RequestCount") > 1.0).await;
    world.restart();
    world.pass().await;
    assert_eq!(sum(&world, "RequestCount"), 2.0);
    assert_eq!(sum(&world, "HealthyHostCount"), 0.0, "nothing is registered");

    let image = world.image_id.clone();
    let run = [("ImageId", image.as_str()), ("MinCount", "1"), ("MaxCount", "1"), ("InstanceType", "t3.micro")];
    let id = world.call("ec2", "RunInstances", &run).unwrap().text("instancesSet.0.instanceId");
    world.call(ELB, "RegisterInstancesWithLoadBalancer", &[NAME, ("Instances.member.1.InstanceId", &id)]).unwrap();
    let is_healthy = |balancer: &LoadBalancer| balancer.backends.values().any(|backend| backend.healthy == Some(true));
    world.until("it is healthy", |world| world.read(|tx| is_healthy(&tx.get::<LoadBalancer>("web").unwrap()))).await;
    world.restart();
    world.until("it is counted though nobody asks", |world| sum(world, "HealthyHostCount") > 0.0).await;
}

#[tokio::test]
async fn access_logs_reach_the_bucket_also_after_a_restart_and_when_the_balancer_is_gone() {
    let mut world = FakeWorld::new();
    create(&world);
    let root = Credential::of_root("000000000001", "AKIAROOT".into(), "secret/of+root".into(), Timestamp::now());
    world
        .store
        .transact(|tx| {
            tx.put(root);
            Ok::<_, StoreError>(())
        })
        .unwrap();
    let enable = |bucket: &'static str, interval: &'static str| {
        vec![
            NAME,
            ("LoadBalancerAttributes.AccessLog.Enabled", "true"),
            ("LoadBalancerAttributes.AccessLog.S3BucketName", bucket),
            ("LoadBalancerAttributes.AccessLog.S3BucketPrefix", "prod"),
            ("LoadBalancerAttributes.AccessLog.EmitInterval", interval),
        ]
    };
    std::fs::create_dir_all(world.paths().s3_root().join("logs")).unwrap();
    assert_eq!(
        world.refused(ELB, "ModifyLoadBalancerAttributes", &enable("nowhere", "5")),
        "InvalidConfigurationRequest"
    );
    assert_eq!(world.refused(ELB, "ModifyLoadBalancerAttributes", &enable("logs", "7")), "ValidationError");
    world.call(ELB, "ModifyLoadBalancerAttributes", &enable("logs", "60")).unwrap();
    let described = world.call(ELB, "DescribeLoadBalancerAttributes", &[NAME]).unwrap();
    let log = |field: &str| described.text(&format!("LoadBalancerAttributes.AccessLog.{field}"));
    assert_eq!(
        (log("S3BucketName"), log("S3BucketPrefix"), log("EmitInterval")),
        ("logs".into(), "prod".into(), "60".into())
    );

    // S3 is not there yet: what is due waits for it.
    world.cloud.proxy.end_request(request(7200));
    world.cloud.proxy.end_request(request(0));
    world.pass().await;
    assert!(objects(&world).is_empty());
    object_storage::ensure_running(world.paths(), Path::new(env!("CARGO_BIN_EXE_localcloud"))).await.unwrap();
    world.until("the bucket is tried", |world| has(world, "Enable AccessLog for ELB: web")).await;
    for _ in 0..2 {
        world.restart();
        world.pass().await;
    }
    assert!(has(&world, "\"GET http://-:8080/ended-7200 HTTP/1.1\""));
    assert!(!has(&world, "/ended-0 "), "its interval goes on");
    assert_eq!(objects(&world).len(), 2, "nothing is written twice");

    world.call(ELB, "DeleteLoadBalancer", &[NAME]).unwrap();
    world.restart();
    world.until("what was left is delivered", |world| has(world, "/ended-0 ")).await;
    assert!(!world.paths().access_logs().join("web").exists());
    object_storage::stop(world.paths()).await.unwrap();
    let _ = std::fs::remove_dir_all(world.paths().run_dir());
}
