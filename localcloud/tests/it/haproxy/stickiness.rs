//! Clients come back to their instance, and instances learn who their clients are.

use std::{collections::BTreeSet, net::Ipv4Addr};

use localcloud::drivers::{Balancer, BalancerProtocol, ProxyDriver as _, Stickiness};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use super::world::{Backend, FIRST, SECOND, World, balancer, free_port, get, plan};

/// Two instances behind one balancer.
async fn pair(world: &World, stickiness: Stickiness) -> (Balancer, [Backend; 2]) {
    let one = Backend::start("one", FIRST, 0).await;
    let two = Backend::start("two", SECOND, one.port).await;
    let backends = [("i-1", FIRST, false), ("i-2", SECOND, false)];
    let mut web = balancer("web", free_port().await, one.port, &backends);
    web.listeners[0].stickiness = Some(stickiness);
    world.proxy.apply(&plan(vec![web.clone()])).await.expect("applies");
    for instance in ["i-1", "i-2"] {
        world.wait_until_healthy(instance).await;
    }
    (web, [one, two])
}

async fn who(port: u16, cookie: &str) -> String {
    let headers = [("Cookie", cookie)];
    let answer = get(port, "/", if cookie.is_empty() { &[] } else { &headers }).await;
    assert_eq!(answer.status, 200);
    answer.body.lines().next().expect("a name").to_owned()
}

/// Whom some requests reached.
async fn whom(port: u16, cookie: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for _ in 0..6 {
        names.insert(who(port, cookie).await);
    }
    names
}

/// Whether all requests reach this one.
async fn all_reach(port: u16, cookie: &str, name: &str) -> bool {
    whom(port, cookie).await.iter().all(|reached| reached == name)
}

#[tokio::test]
async fn the_balancers_cookie_leads_back_until_its_instance_leaves() {
    let world = World::new("sticky").await;
    let (mut web, _backends) = pair(&world, Stickiness::Balancer { expires_secs: Some(60) }).await;
    let port = web.listeners[0].port;
    let answer = get(port, "/", &[]).await;
    let first = answer.body.lines().next().expect("a name").to_owned();
    let set = &answer.headers["set-cookie"];
    assert!(set.starts_with("AWSELB=") && set.contains("path=/") && set.contains("Max-Age=60"), "{set}");
    let cookie = set.split(';').next().expect("a cookie").to_owned();
    assert!(all_reach(port, &cookie, &first).await);
    assert_eq!(whom(port, "").await.len(), 2, "without it any will do");
    // A reload forgets nothing, and one that drains gets nobody back.
    web.idle_timeout_secs = 30;
    world.proxy.apply(&plan(vec![web.clone()])).await.expect("applies");
    assert!(all_reach(port, &cookie, &first).await);
    for backend in &mut web.backends {
        backend.draining = (backend.instance_id == "i-1") == (first == "one");
    }
    world.proxy.apply(&plan(vec![web])).await.expect("applies");
    assert!(!whom(port, &cookie).await.contains(&first));
    world.end().await;
}

#[tokio::test]
async fn the_applications_cookie_begins_and_ends_it() {
    let world = World::new("sticky-app").await;
    let (web, _backends) = pair(&world, Stickiness::Application { cookie: "APP".to_owned() }).await;
    let port = web.listeners[0].port;
    assert_eq!(get(port, "/", &[]).await.headers.get("set-cookie"), None, "the application has set none");
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.expect("connects");
    stream.write_all(b"GET /login HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.expect("sends");
    let mut text = String::new();
    stream.read_to_string(&mut text).await.expect("an answer");
    let own = text.lines().find_map(|line| line.strip_prefix("set-cookie: AWSELB=")).expect("a cookie of its own");
    let own = format!("AWSELB={}", own.split(';').next().expect("a value"));
    let first = text.split("\r\n\r\n").nth(1).and_then(|body| body.lines().next()).expect("a name").to_owned();
    assert!(all_reach(port, &format!("{own}; APP=1"), &first).await);
    assert_eq!(whom(port, &own).await.len(), 2, "the application's cookie has expired");
    world.end().await;
}

#[tokio::test]
async fn the_proxy_protocol_tells_the_clients_address() {
    let world = World::new("proxy-protocol").await;
    let listener = TcpListener::bind((FIRST, 0)).await.expect("a port");
    let instance_port = listener.local_addr().expect("an address").port();
    let heads = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut head = [0; 64];
            let read = stream.read(&mut head).await.unwrap_or(0);
            // Health checks connect and say nothing.
            if read > 0 {
                return String::from_utf8_lossy(&head[..read]).into_owned();
            }
        }
    });
    let port = free_port().await;
    let mut db = balancer("db", port, instance_port, &[("i-1", FIRST, false)]);
    db.health_check.target = format!("TCP:{instance_port}");
    db.listeners[0].protocol = BalancerProtocol::Tcp;
    db.listeners[0].instance_protocol = BalancerProtocol::Tcp;
    db.proxy_protocol_ports.insert(instance_port);
    world.proxy.apply(&plan(vec![db])).await.expect("applies");
    world.wait_until_healthy("i-1").await;
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.expect("connects");
    let own = stream.local_addr().expect("an address").port();
    stream.write_all(b"hello").await.expect("sends");
    let head = heads.await.expect("a head");
    assert!(head.starts_with(&format!("PROXY TCP4 127.0.0.1 127.0.0.1 {own} {port}\r\n")), "{head:?}");
    world.end().await;
}
