//! A change of the plan: what it must not disturb, and what it may not have.

use std::{
    net::Ipv4Addr,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use localcloud::drivers::{
    BalancerBackend, BalancerListener, BalancerProtocol, MalformedRequests, ProxyDriver as _, Stickiness,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use super::world::{
    Backend, FIRST, SECOND, World, balancer, certificate, client, curl, encryption, free_port, get, lasting_client,
    parse_answer, plan, read_head, until,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reloads_lose_no_request_and_no_health() {
    let world = World::new("reload").await;
    let backend = Backend::start("one", FIRST, 0).await;
    let port = free_port().await;
    let web = balancer("web", port, backend.port, &[("i-1", FIRST, false)]);
    world.proxy.apply(&plan(vec![web.clone()])).await.expect("applies");
    world.wait_until_healthy("i-1").await;

    let done = Arc::new(AtomicBool::new(false));
    let (client, lasting) = (client(port, &done), lasting_client(port, &done));
    for round in 0..4 {
        let other = balancer(&format!("other-{round}"), free_port().await, backend.port, &[("i-9", SECOND, false)]);
        let mut web = web.clone();
        if round % 2 == 0 {
            web.backends.push(BalancerBackend {
                instance_id: "i-2".to_owned(),
                address: SECOND,
                weight: 1,
                draining: false,
            });
        }
        world.proxy.apply(&plan(vec![web, other])).await.expect("applies");
        assert_eq!(world.status_of("i-1").await.expect("known").healthy, Some(true), "after reload {round}");
        assert_ne!(world.status_of("i-9").await.expect("known").healthy, Some(true), "new ones begin out of service");
    }
    done.store(true, Ordering::SeqCst);
    let count = client.await.expect("no request failed");
    assert!(count > 10, "only {count} requests");
    lasting.await.expect("no request on a kept connection failed");
    world.end().await;
}

#[tokio::test]
async fn an_equal_plan_changes_nothing_also_for_the_next_daemon() {
    let world = World::new("equal").await;
    let backend = Backend::start("one", FIRST, 0).await;
    let plan = plan(vec![balancer("web", free_port().await, backend.port, &[("i-1", FIRST, false)])]);
    world.proxy.apply(&plan).await.expect("applies");
    let pid = world.master_pid();
    world.proxy.apply(&plan).await.expect("applies again");
    World::driver(&world.paths, world.port, None).apply(&plan).await.expect("adopts");
    assert_eq!(world.master_pid(), pid);
    assert_eq!(world.workers_started(), 1);
    world.end().await;
}

#[tokio::test]
async fn an_occupied_port_is_named_and_keeps_no_other_balancer_from_working() {
    let world = World::new("occupied").await;
    let backend = Backend::start("one", FIRST, 0).await;
    let occupant = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).await.expect("a port");
    let taken = occupant.local_addr().expect("an address").port();
    let free = free_port().await;
    let plan = plan(vec![
        balancer("blocked", taken, backend.port, &[("i-1", FIRST, false)]),
        balancer("web", free, backend.port, &[("i-2", FIRST, false)]),
    ]);
    let error = world.proxy.apply(&plan).await.expect_err("the port is taken").to_string();
    assert!(error.contains(&format!("port {taken} of load balancer blocked")), "{error}");
    assert!(error.contains("hint: find the program"), "{error}");
    world.wait_until_healthy("i-2").await;
    assert_eq!(get(free, "/", &[]).await.status, 200);
    drop(occupant);
    world.proxy.apply(&plan).await.expect("now it is free");
    until("the other balancer", async || get(taken, "/", &[]).await.status == 200).await;
    world.end().await;
}

#[tokio::test]
async fn a_killed_proxy_is_started_anew_with_the_health_that_was_known() {
    let world = World::new("killed").await;
    let backend = Backend::start("one", FIRST, 0).await;
    let port = free_port().await;
    let plan = plan(vec![balancer("web", port, backend.port, &[("i-1", FIRST, false)])]);
    world.proxy.apply(&plan).await.expect("applies");
    world.wait_until_healthy("i-1").await;
    let killed = world.master_pid();
    Command::new("kill").args(["-9", &killed.to_string()]).status().expect("kill");
    until("the workers to follow their master", async || {
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_err()
    })
    .await;
    world.proxy.apply(&plan).await.expect("starts again");
    assert_ne!(world.master_pid(), killed);
    assert_eq!(get(port, "/", &[]).await.status, 200);
    world.end().await;
}

#[tokio::test]
async fn balancers_share_a_port_by_host_and_tell_the_client_address_last() {
    let world = World::new("shared").await;
    let (one, two) = (Backend::start("one", FIRST, 0).await, Backend::start("two", SECOND, 0).await);
    let port = free_port().await;
    let plan = plan(vec![
        balancer("a", port, one.port, &[("i-1", FIRST, false)]),
        balancer("b", port, two.port, &[("i-2", SECOND, false)]),
    ]);
    world.proxy.apply(&plan).await.expect("applies");
    world.wait_until_healthy("i-1").await;
    world.wait_until_healthy("i-2").await;
    let host = format!("B-7.elb.localhost:{port}");
    let answer = get(port, "/", &[("Host", &host), ("X-Forwarded-For", "1.2.3.4")]).await;
    assert!(answer.body.starts_with("two"), "{}", answer.body);
    let body = answer.body.to_lowercase();
    assert!(body.contains("x-forwarded-for: 1.2.3.4, 127.0.0.1"), "{body}");
    assert!(body.contains(&format!("x-forwarded-port: {port}")) && body.contains("x-forwarded-proto: http"), "{body}");
    let answer = get(port, "/", &[("Host", "a-7.elb.localhost")]).await;
    assert!(answer.body.starts_with("one") && answer.body.to_lowercase().contains("x-forwarded-for: 127.0.0.1\r"));
    assert_eq!(get(port, "/", &[("Host", "nobody.localhost")]).await.status, 404);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_change_of_listeners_certificates_policies_or_instances_fails_a_request() {
    let world = World::new("under-load").await;
    let (one, port) = (Backend::start("one", FIRST, 0).await, free_port().await);
    let _two = Backend::start("two", SECOND, one.port).await;
    let (second, third) = (free_port().await, free_port().await);
    let certificates = [certificate("a.example"), certificate("b.example")];
    let with = |round: usize| {
        let mut web = balancer("web", port, one.port, &[("i-1", FIRST, false)]);
        if !round.is_multiple_of(3) {
            web.backends.push(BalancerBackend {
                instance_id: "i-2".to_owned(),
                address: SECOND,
                weight: 1,
                draining: round % 3 == 2,
            });
        }
        web.listeners[0].stickiness = match round % 3 {
            0 => None,
            1 => Some(Stickiness::Balancer { expires_secs: None }),
            _ => Some(Stickiness::Application { cookie: "APP".to_owned() }),
        };
        let listener = |port, protocol, instance_protocol| BalancerListener {
            protocol,
            port,
            instance_protocol,
            encryption: (protocol == BalancerProtocol::Https).then(|| encryption(&certificates[round % 2], "TLSv1.2")),
            stickiness: None,
            ..web.listeners[0].clone()
        };
        let mut more = vec![listener(second, BalancerProtocol::Https, BalancerProtocol::Http)];
        if round % 2 == 1 {
            more.push(listener(third, BalancerProtocol::Tcp, BalancerProtocol::Tcp));
        }
        web.health_check.interval_secs = 1 + u32::try_from(round % 2).expect("small");
        web.listeners.extend(more);
        plan(vec![web])
    };
    world.proxy.apply(&with(0)).await.expect("applies");
    world.wait_until_healthy("i-1").await;
    let done = Arc::new(AtomicBool::new(false));
    let plain = [client(port, &done), client(port, &done), lasting_client(port, &done), lasting_client(port, &done)];
    let encrypted = tokio::spawn({
        let done = done.clone();
        async move {
            let mut count = 0;
            while !done.load(Ordering::SeqCst) {
                assert_eq!(curl(&format!("https://127.0.0.1:{second}/"), &[]).await.0, 200, "request {count}");
                count += 1;
            }
            count
        }
    });
    for round in 1..9 {
        world.proxy.apply(&with(round)).await.expect("applies");
        assert_eq!(world.status_of("i-1").await.expect("known").healthy, Some(true), "after change {round}");
        assert_eq!(get(port, "/", &[]).await.status, 200);
    }
    done.store(true, Ordering::SeqCst);
    let mut count = encrypted.await.expect("no request failed");
    for client in plain {
        count += client.await.expect("no request failed");
    }
    assert!(count > 50, "only {count} requests");
    world.end().await;
}

#[tokio::test]
async fn strictness_decides_about_unusual_requests() {
    let world = World::new("strictness").await;
    let (backend, port) = (Backend::start("one", FIRST, 0).await, free_port().await);
    let mut web = balancer("web", port, backend.port, &[("i-1", FIRST, false)]);
    let odd_name = [("X-Odd!", "1")];
    for (mode, expected) in
        [(MalformedRequests::Pass, 200), (MalformedRequests::RefuseAmbiguous, 200), (MalformedRequests::Refuse, 403)]
    {
        web.malformed_requests = mode;
        world.proxy.apply(&plan(vec![web.clone()])).await.expect("applies");
        world.wait_until_healthy("i-1").await;
        assert_eq!(get(port, "/", &odd_name).await.status, expected, "{mode:?}");
        assert_eq!(get(port, "/", &[]).await.status, 200, "{mode:?}");
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kept_connection_is_not_led_to_an_instance_that_leaves() {
    let world = World::new("leaving").await;
    let (one, port) = (Backend::start("one", FIRST, 0).await, free_port().await);
    let _two = Backend::start("two", SECOND, one.port).await;
    let both =
        |draining| plan(vec![balancer("web", port, one.port, &[("i-1", FIRST, false), ("i-2", SECOND, draining)])]);
    world.proxy.apply(&both(false)).await.expect("applies");
    world.wait_until_healthy("i-1").await;
    world.wait_until_healthy("i-2").await;
    let mut idle = Vec::new();
    for _ in 0..8 {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.expect("connects");
        assert!(ask(&mut stream).await.starts_with("HTTP/1.1 200"));
        idle.push(stream);
    }
    world.proxy.apply(&both(true)).await.expect("applies");
    for mut stream in idle {
        let answer = ask(&mut stream).await;
        assert!(answer.contains("\r\n\r\none"), "{answer}");
    }
    world.end().await;
}

/// One request on a connection that goes on.
async fn ask(stream: &mut TcpStream) -> String {
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.expect("sends");
    let head = read_head(stream).await.expect("an answer");
    let length: usize = parse_answer(&head).headers["content-length"].parse().expect("a length");
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.expect("a body");
    head + &String::from_utf8(body).expect("text")
}
