//! What is told of each request, to whom, and how often.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use localcloud::drivers::{BalancerProtocol, BalancerRequest, ProxyDriver as _};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::world::{Backend, FIRST, World, balancer, client, free_port, get, plan, until};

/// Waits until so many requests are told of, and forgets them.
async fn take(world: &World, count: usize) -> Vec<BalancerRequest> {
    let mut taken = Vec::new();
    until(&format!("{count} requests"), async || {
        let ended = world.proxy.ended_requests().await.expect("readable");
        taken = ended.requests;
        if taken.len() < count {
            return false;
        }
        world.proxy.forget_requests(ended.position).await.expect("noted");
        true
    })
    .await;
    taken
}

#[tokio::test]
async fn a_request_is_told_once_whichever_worker_carried_it_and_whoever_asks() {
    let world = World::new("told").await;
    let (backend, port) = (Backend::start("one", FIRST, 0).await, free_port().await);
    let web = balancer("web", port, backend.port, &[("i-1", FIRST, false)]);
    world.proxy.apply(&plan(vec![web.clone()])).await.expect("applies");
    assert_eq!(get(port, "/early", &[]).await.status, 503);
    let early = take(&world, 1).await.remove(0);
    assert_eq!((early.status, early.instance_status, early.instance), (Some(503), None, None));

    world.wait_until_healthy("i-1").await;
    let slow = tokio::spawn(async move { get(port, "/slow", &[]).await });
    until("the slow request", async || backend.slow.load(Ordering::SeqCst) == 1).await;
    let mut changed = web;
    changed.idle_timeout_secs = 30;
    world.proxy.apply(&plan(vec![changed])).await.expect("applies");
    let answer = get(port, "/after?x=\"1\"", &[("User-Agent", "te st")]).await;
    assert_eq!(answer.status, 200);
    backend.go.notify_one();
    assert_eq!(slow.await.expect("ends").status, 200);
    // Whoever was away meanwhile is told, and only once.
    let successor = World::driver(&world.paths, world.port, None);
    let mut told = take(&world, 2).await;
    assert_eq!(successor.ended_requests().await.expect("readable").requests.len(), 0);
    told.sort_by(|left, right| left.uri.cmp(&right.uri));
    let [after, slow] = &told[..] else { panic!("{told:?}") };
    assert_eq!(slow.uri, "/slow", "the old worker's");
    assert!(slow.times_micros.expect("answered").1 > 20_000, "{slow:?}");
    assert_eq!(after.balancer, "web");
    assert_eq!((after.status, after.instance_status), (Some(200), Some(200)));
    assert_eq!(after.instance, Some(format!("{FIRST}:{}", backend.port)));
    assert_eq!((after.received_bytes, after.sent_bytes), (0, answer.body.len() as u64));
    assert_eq!(
        (after.port, after.user_agent.as_deref(), after.host.as_deref()),
        (port, Some("te st"), Some("localhost"))
    );
    let (before, at_instance, rest) = after.times_micros.expect("answered");
    let whole = u64::try_from(after.end_micros - after.begin_micros).expect("ends after it begins");
    assert_eq!(before + at_instance + rest, whole);
    assert!(at_instance > 0 && whole < 5_000_000, "{after:?}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reloads_and_a_daemon_that_is_away_change_no_count() {
    let world = World::new("counts").await;
    let (backend, port) = (Backend::start("one", FIRST, 0).await, free_port().await);
    let web = balancer("web", port, backend.port, &[("i-1", FIRST, false)]);
    world.proxy.apply(&plan(vec![web.clone()])).await.expect("applies");
    world.wait_until_healthy("i-1").await;
    let done = Arc::new(AtomicBool::new(false));
    let clients = [client(port, &done), client(port, &done)];
    let mut told = 0;
    for round in 0..4 {
        let mut changed = web.clone();
        changed.idle_timeout_secs = 30 + round;
        world.proxy.apply(&plan(vec![changed])).await.expect("applies");
        if round % 2 == 0 {
            let ended = world.proxy.ended_requests().await.expect("readable");
            told += ended.requests.len();
            world.proxy.forget_requests(ended.position).await.expect("noted");
        }
    }
    done.store(true, Ordering::SeqCst);
    let mut made = 0;
    for client in clients {
        made += client.await.expect("no request failed");
    }
    told += take(&world, made - told).await.len();
    assert_eq!(told, made);
    world.end().await;
}

#[tokio::test]
async fn a_connection_that_no_request_is_seen_in_is_told_with_its_bytes() {
    let world = World::new("told-tcp").await;
    let (backend, port) = (Backend::start("one", FIRST, 0).await, free_port().await);
    let mut web = balancer("web", port, backend.port, &[("i-1", FIRST, false)]);
    web.listeners[0].protocol = BalancerProtocol::Tcp;
    web.listeners[0].instance_protocol = BalancerProtocol::Tcp;
    world.proxy.apply(&plan(vec![web])).await.expect("applies");
    world.wait_until_healthy("i-1").await;
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("connects");
    let request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    stream.write_all(request).await.expect("sends");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("an answer");
    drop(stream);
    let connection = take(&world, 1).await.remove(0);
    assert!(!connection.is_http && connection.times_micros.is_some(), "{connection:?}");
    assert_eq!((connection.received_bytes, connection.sent_bytes), (request.len() as u64, answer.len() as u64));
    world.end().await;
}
