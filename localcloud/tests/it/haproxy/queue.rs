//! Who has to wait for an instance, and who is refused.

use std::{sync::atomic::Ordering, time::Duration};

use localcloud::{
    drivers::ProxyDriver as _,
    metrics::{Metric, Metrics, statistic::Statistic},
    model::{site::Site, time::Timestamp},
    reconcile::balancer_requests::measure,
};
use tokio::task::JoinSet;

use super::world::{Backend, FIRST, World, balancer, free_port, get, plan, until};

/// Connections that an instance gets at once, and those that a classic ELB lets wait for it.
const AT_ONCE: usize = 1000;
const WAITING: usize = 1024;
const TOO_MANY: usize = 6;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn as_many_requests_wait_as_a_classic_elb_lets_wait_and_the_others_are_refused_and_counted() {
    let world = World::new("queue").await;
    let (backend, port) = (Backend::start("one", FIRST, 0).await, free_port().await);
    let web = balancer("web", port, backend.port, &[("i-1", FIRST, false)]);
    world.proxy.apply(&plan(vec![web])).await.expect("applies");
    world.wait_until_healthy("i-1").await;

    let mut requests = JoinSet::new();
    for _ in 0..AT_ONCE + WAITING + TOO_MANY {
        requests.spawn(async move { get(port, "/slow", &[]).await.status });
    }
    for _ in 0..TOO_MANY {
        assert_eq!(requests.join_next().await.expect("one of them").expect("an answer"), 503, "nobody else has ended");
    }
    until("the instance to have all that it takes", async || backend.slow.load(Ordering::SeqCst) == AT_ONCE).await;
    // Each that ends lets one of those that wait through.
    let let_go = tokio::spawn({
        let go = backend.go.clone();
        async move {
            loop {
                go.notify_waiters();
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    });
    while let Some(status) = requests.join_next().await {
        assert_eq!(status.expect("an answer"), 200, "who waits is served");
    }
    let_go.abort();
    assert_eq!(backend.slow.load(Ordering::SeqCst), AT_ONCE + WAITING);

    let mut ended = Vec::new();
    until("all to be told", async || {
        let told = world.proxy.ended_requests().await.expect("readable");
        world.proxy.forget_requests(told.position).await.expect("noted");
        ended.extend(told.requests);
        ended.len() == AT_ONCE + WAITING + TOO_MANY
    })
    .await;
    let metrics = Metrics::default();
    metrics.record(measure::requests(&ended, &Site::new((10, 77), (127, 77), 8773), 10));
    let now = Timestamp::now();
    let of = |name: &str, statistic: Statistic| {
        let metric = Metric::new("AWS/ELB", name, &[("LoadBalancerName", "web")]);
        let points = metrics.datapoints(&metric, None, (now.plus_secs(-3600), now.plus_secs(60)), 7200);
        points.iter().filter_map(|point| statistic.of(&point.values)).fold(0.0, |sum: f64, value| sum.max(value))
    };
    assert_eq!(of("SpilloverCount", Statistic::Sum), 6.0);
    assert_eq!(of("SurgeQueueLength", Statistic::Maximum), 1024.0);
    assert_eq!(of("HTTPCode_ELB_5XX", Statistic::Sum), 6.0);
    world.end().await;
}
