//! HTTPS and SSL listeners, and back ends that speak TLS themselves.

use std::{net::Ipv4Addr, os::unix::fs::PermissionsExt as _};

use localcloud::drivers::{BalancerProtocol, ProxyDriver as _};

use super::world::{Backend, FIRST, World, balancer, certificate, curl, encryption, free_port, get, plan, until};

/// The subject of the certificate that a server shows.
fn shown(port: u16, name: &str) -> String {
    let script = format!(
        "openssl s_client -connect 127.0.0.1:{port} -servername {name} </dev/null 2>/dev/null | openssl x509 -noout -subject"
    );
    let output = std::process::Command::new("sh").args(["-c", &script]).output().expect("sh");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_encrypted_listener_shows_its_certificate_and_says_what_was_spoken() {
    let world = World::new("https").await;
    let (backend, port) = (Backend::start("one", FIRST, 0).await, free_port().await);
    let mut web = balancer("web", port, backend.port, &[("i-1", FIRST, false)]);
    web.listeners[0].protocol = BalancerProtocol::Https;
    let first = certificate("first.example");
    web.listeners[0].encryption = Some(encryption(&first, "TLSv1.2"));
    world.proxy.apply(&plan(vec![web.clone()])).await.expect("applies");
    world.wait_until_healthy("i-1").await;

    let url = format!("https://127.0.0.1:{port}/");
    let (status, body) = curl(&url, &[]).await;
    let body = body.to_lowercase();
    assert_eq!(status, 200);
    assert!(body.contains("x-forwarded-proto: https") && body.contains(&format!("x-forwarded-port: {port}")), "{body}");
    assert!(shown(port, "x").contains("first.example"));
    let old = ["--tls-max", "1.1", "--ciphers", "DEFAULT:@SECLEVEL=0"];
    assert_eq!(curl(&url, &old).await.0, 0, "the policy begins with TLS 1.2");
    let files: Vec<_> = std::fs::read_dir(world.paths.certificates()).expect("a directory").flatten().collect();
    assert_eq!(files.len(), 1);
    assert_eq!(files[0].metadata().expect("is there").permissions().mode() & 0o777, 0o600);
    let mut told = Vec::new();
    until("the request", async || {
        told = world.proxy.ended_requests().await.expect("readable").requests;
        !told.is_empty()
    })
    .await;
    assert_eq!(told[0].cipher.as_deref(), Some("ECDHE-RSA-AES128-GCM-SHA256"));
    assert_eq!(told[0].tls_version.as_deref(), Some("TLSv1.2"));

    web.listeners[0].encryption = Some(encryption(&certificate("second.example"), "TLSv1.0"));
    world.proxy.apply(&plan(vec![web.clone()])).await.expect("applies");
    assert!(shown(port, "x").contains("second.example"));
    assert_eq!(curl(&url, &old).await.0, 200, "now TLS 1.1 will do");
    assert!(!files[0].path().exists(), "the first key is gone");

    // Another balancer on the same port: told apart by the name that the client asks for.
    let mut other = web.clone();
    other.name = "other".to_owned();
    other.dns_name = "other-7.elb.localhost".to_owned();
    other.listeners[0].encryption = Some(encryption(&first, "TLSv1.2"));
    world.proxy.apply(&plan(vec![web, other])).await.expect("applies");
    assert!(shown(port, "other-7.elb.localhost").contains("first.example"));
    assert!(shown(port, "web-7.elb.localhost").contains("second.example"));
    world.end().await;
}

#[tokio::test]
async fn instances_that_speak_tls_are_checked_and_reached_by_it() {
    let world = World::new("re-encryption").await;
    let backend = Backend::start("one", FIRST, 0).await;
    let (inner_port, http, ssl) = (free_port().await, free_port().await, free_port().await);
    let mut inner = balancer("inner", inner_port, backend.port, &[("i-1", FIRST, false)]);
    inner.listeners[0].protocol = BalancerProtocol::Https;
    inner.listeners[0].encryption = Some(encryption(&certificate("inner.example"), "TLSv1.2"));
    let mut outer = balancer("outer", http, inner_port, &[("i-2", Ipv4Addr::LOCALHOST, false)]);
    outer.health_check.target = format!("HTTPS:{inner_port}/health");
    outer.listeners[0].instance_protocol = BalancerProtocol::Https;
    let mut passed_on = outer.listeners[0].clone();
    passed_on.protocol = BalancerProtocol::Ssl;
    passed_on.port = ssl;
    passed_on.instance_protocol = BalancerProtocol::Ssl;
    passed_on.encryption = Some(encryption(&certificate("outer.example"), "TLSv1.2"));
    outer.listeners.push(passed_on);
    world.proxy.apply(&plan(vec![inner, outer])).await.expect("applies");
    world.wait_until_healthy("i-2").await;
    let answer = get(http, "/", &[]).await;
    assert_eq!(answer.status, 200);
    assert!(answer.body.starts_with("one\nGET /"), "{}", answer.body);
    let (status, body) = curl(&format!("https://127.0.0.1:{ssl}/"), &[]).await;
    assert_eq!(status, 200);
    assert!(body.starts_with("one\nGET /"), "{body}");
    world.end().await;
}
