//! Instances come into service and leave it.

use std::{net::Ipv4Addr, sync::atomic::Ordering};

use localcloud::drivers::{BalancerListener, BalancerProtocol, ProxyDriver as _};
use tokio::{io::AsyncReadExt as _, net::TcpStream};

use super::world::{Backend, FIRST, SECOND, World, balancer, free_port, get, plan, until};

#[tokio::test]
async fn a_new_back_end_is_out_of_service_until_it_passed_its_threshold_and_after_it_failed_it() {
    let world = World::new("threshold").await;
    let backend = Backend::start("one", FIRST, 0).await;
    backend.healthy.store(false, Ordering::SeqCst);
    let port = free_port().await;
    let plan = plan(vec![balancer("web", port, backend.port, &[("i-1", FIRST, false)])]);
    world.proxy.apply(&plan).await.expect("applies");

    let answer = get(port, "/", &[]).await;
    assert_eq!((answer.status, answer.body.as_str()), (503, ""), "out of service before any check");
    until("the first check", async || world.status_of("i-1").await.is_some_and(|status| status.healthy == Some(false)))
        .await;
    assert_eq!(world.status_of("i-1").await.expect("known").last_check, "the answer was HTTP 500 instead of 200");

    backend.healthy.store(true, Ordering::SeqCst);
    world.wait_until_healthy("i-1").await;
    let answer = get(port, "/hello", &[]).await;
    assert_eq!(answer.status, 200);
    assert!(answer.body.starts_with("one\nGET /hello"), "{}", answer.body);

    backend.healthy.store(false, Ordering::SeqCst);
    until("the back end to be taken out", async || {
        world.status_of("i-1").await.is_some_and(|status| status.healthy == Some(false))
    })
    .await;
    assert_eq!(get(port, "/", &[]).await.status, 503);
    world.end().await;
}

#[tokio::test]
async fn a_draining_back_end_ends_what_it_has_and_gets_nothing_new() {
    let world = World::new("drain").await;
    let one = Backend::start("one", FIRST, 0).await;
    let port = free_port().await;
    let with = |draining: bool, second: bool| {
        let mut backends = vec![("i-1", FIRST, draining)];
        if second {
            backends.push(("i-2", SECOND, false));
        }
        plan(vec![balancer("web", port, one.port, &backends)])
    };
    world.proxy.apply(&with(false, false)).await.expect("applies");
    world.wait_until_healthy("i-1").await;
    let slow = tokio::spawn(async move { get(port, "/slow", &[]).await });
    until("the slow request", async || one.slow.load(Ordering::SeqCst) == 1).await;

    let _two = Backend::start("two", SECOND, one.port).await;
    world.proxy.apply(&with(true, true)).await.expect("applies");
    world.wait_until_healthy("i-2").await;
    for _ in 0..6 {
        assert!(get(port, "/", &[]).await.body.starts_with("two"));
    }
    let status = world.status_of("i-1").await.expect("known");
    assert_eq!((status.healthy, status.current_sessions), (Some(true), 1), "an old worker's session counts");
    one.go.notify_one();
    assert_eq!(slow.await.expect("ends").status, 200);
    until("the session to end", async || {
        world.status_of("i-1").await.is_some_and(|status| status.current_sessions == 0)
    })
    .await;
    world.end().await;
}

#[tokio::test]
async fn a_second_listener_follows_the_health_of_the_first() {
    let world = World::new("listeners").await;
    let backend = Backend::start("one", FIRST, 0).await;
    let (first, second) = (free_port().await, free_port().await);
    let other = Backend::start("tcp", FIRST, 0).await;
    let mut web = balancer("web", first, backend.port, &[("i-1", FIRST, false)]);
    web.listeners.push(BalancerListener {
        protocol: BalancerProtocol::Tcp,
        port: second,
        instance_protocol: BalancerProtocol::Tcp,
        instance_port: other.port,
        encryption: None,
        stickiness: None,
    });
    web.health_check.healthy_threshold = 3;
    world.proxy.apply(&plan(vec![web])).await.expect("applies");
    let mut early = TcpStream::connect((Ipv4Addr::LOCALHOST, second)).await.expect("the balancer listens");
    let mut nothing = Vec::new();
    let _ = early.read_to_end(&mut nothing).await;
    assert!(nothing.is_empty(), "down with the first");
    world.wait_until_healthy("i-1").await;
    assert!(get(second, "/", &[]).await.body.starts_with("tcp"));
    world.end().await;
}
