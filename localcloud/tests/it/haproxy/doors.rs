//! The doors to API, S3 and metadata service, and instances' public ports. Only the namespace's test needs root.

use std::{net::Ipv4Addr, path::Path, process::Command};

use localcloud::drivers::{ProxyDriver as _, ProxyPlan, PublicPort};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UnixListener},
};

use super::world::{Backend, FIRST, World, answer, balancer, free_port, get, parse_answer, plan, read_head};

#[tokio::test]
async fn an_instances_port_is_reached_at_its_public_address() {
    let world = World::new("public").await;
    let backend = Backend::start("one", FIRST, 0).await;
    let public = Ipv4Addr::new(127, 9, 0, 77);
    let port = PublicPort { public_address: public, port: backend.port, private_address: FIRST };
    world.proxy.apply(&ProxyPlan { public_ports: [port].into(), ..ProxyPlan::default() }).await.expect("applies");
    let mut stream = TcpStream::connect((public, backend.port)).await.expect("connects");
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("sends");
    let mut text = String::new();
    stream.read_to_string(&mut text).await.expect("an answer");
    assert!(parse_answer(&text).body.starts_with("one"));
    world.end().await;
}

/// Stands for a service behind a unix socket, and answers with its name and what it was asked.
fn service(name: &'static str, socket: &Path) -> tokio::task::JoinHandle<()> {
    let _ = std::fs::remove_file(socket);
    let listener = UnixListener::bind(socket).expect("a socket");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                if let Some(request) = read_head(&mut stream).await {
                    answer(&mut stream, 200, &format!("{name}\n{request}")).await;
                }
            });
        }
    })
}

#[tokio::test]
async fn the_front_tells_s3_from_the_api_and_says_so_when_they_are_down() {
    let world = World::new("front").await;
    world.proxy.apply(&ProxyPlan::default()).await.expect("applies");
    let down = get(world.port, "/services/compute?Action=DescribeInstances", &[]).await;
    assert_eq!(down.status, 503);
    assert_eq!(down.headers.get("content-type").map(String::as_str), Some("text/xml"));
    assert!(down.body.starts_with("<Response><Errors><Error><Code>ServiceUnavailable</Code>"), "{}", down.body);
    let down = get(world.port, "/services/AutoScaling", &[]).await;
    assert!(
        down.body.starts_with("<ErrorResponse><Error><Type>Receiver</Type><Code>ServiceUnavailable"),
        "{}",
        down.body
    );

    let services = [service("api", &world.paths.socket("api")), service("s3", &world.paths.socket("s3"))];
    let scope = |service: &str| {
        format!("AWS4-HMAC-SHA256 Credential=AK/20261124/r/{service}/aws4_request, SignedHeaders=host, Signature=0")
    };
    let (s3_scope, ec2_scope) = (scope("s3"), scope("ec2"));
    type Headers<'a> = &'a [(&'a str, &'a str)];
    let cases: &[(&str, &str, Headers<'_>)] = &[
        ("api", "/services/compute", &[]),
        ("api", "/services/objectstorages/x", &[]),
        ("api", "/", &[("Authorization", &ec2_scope)]),
        ("api", "/services/compute?AWSAccessKeyId=A&SignatureVersion=2&Signature=x", &[]),
        ("api", "/?AWSAccessKeyId=A&SignatureVersion=2&Signature=x", &[]),
        ("s3", "/services/objectstorage", &[]),
        ("s3", "/services/objectstorage/bucket/key", &[]),
        ("s3", "/services/Walrus/bucket/key", &[]),
        ("s3", "/bucket/key", &[("Host", "s3.localhost:8773")]),
        ("s3", "/key", &[("Host", "bucket.s3.localhost")]),
        ("s3", "/bucket/key", &[("Authorization", &s3_scope)]),
        ("s3", "/bucket/key", &[("Authorization", "AWS AK:sig=")]),
        ("s3", "/bucket/key?X-Amz-Credential=AK%2F20261124%2Fr%2Fs3%2Faws4_request&X-Amz-Signature=0", &[]),
        ("api", "/bucket/key?X-Amz-Credential=AK%2F20261124%2Fr%2Fsts%2Faws4_request&X-Amz-Signature=0", &[]),
        ("s3", "/bucket/key?AWSAccessKeyId=A&Expires=1&Signature=x", &[]),
    ];
    for (expected, path, headers) in cases {
        let answer = get(world.port, path, headers).await;
        assert_eq!(answer.body.lines().next(), Some(*expected), "{path} {headers:?}");
    }
    let forged = get(world.port, "/services/compute", &[("X-Localcloud-Source", "10.77.0.11")]).await;
    assert!(!forged.body.contains("10.77.0.11"), "{}", forged.body);
    assert!(forged.body.to_lowercase().contains("x-localcloud-source: 127.0.0.1"), "{}", forged.body);
    services.into_iter().for_each(|service| service.abort());
    world.end().await;
}

fn shell(script: &str) -> String {
    let output = Command::new("sh").args(["-ec", script]).output().expect("sh");
    assert!(output.status.success(), "{script}\n{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_reach_the_doors_from_their_namespace_and_are_named_by_their_address() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: making a network namespace needs root");
        return;
    }
    const NAMESPACE: &str = "lctest-haproxy";
    let cleanup = format!(
        "ip netns pids {NAMESPACE} 2>/dev/null | xargs -r kill -9; ip netns del {NAMESPACE} 2>/dev/null || true"
    );
    let world = World::in_namespace("doors", Some(NAMESPACE)).await;
    shell(&cleanup);
    shell(&format!(
        "ip netns add {NAMESPACE}
         ip -n {NAMESPACE} link set lo up
         ip -n {NAMESPACE} link add br0 type bridge
         ip -n {NAMESPACE} addr add 10.77.0.1/16 dev br0
         ip -n {NAMESPACE} addr add 10.77.0.5/16 dev br0
         ip -n {NAMESPACE} addr add 10.77.0.11/16 dev br0
         ip -n {NAMESPACE} addr add 169.254.169.254/32 dev br0
         ip -n {NAMESPACE} link set br0 up"
    ));
    let mut server = Command::new("nsenter")
        .args([&format!("--net=/run/netns/{NAMESPACE}"), "python3", "-c"])
        .arg("import http.server as h\nclass H(h.BaseHTTPRequestHandler):\n def do_GET(s):\n  s.send_response(200); s.end_headers(); s.wfile.write(('from '+s.client_address[0]).encode())\n def log_message(s,*a): pass\nh.ThreadingHTTPServer(('10.77.0.11',80),H).serve_forever()")
        .spawn()
        .expect("python3");
    let port = free_port().await;
    let mut web = balancer("web", port, 80, &[("i-1", Ipv4Addr::new(10, 77, 0, 11), false)]);
    web.source = Ipv4Addr::new(10, 77, 0, 5);
    world.proxy.apply(&plan(vec![web])).await.expect("applies");
    let services = [service("api", &world.paths.socket("api")), service("imds", &world.paths.socket("imds"))];
    world.wait_until_healthy("i-1").await;
    assert_eq!(get(port, "/", &[]).await.body, "from 10.77.0.5", "the balancer's own address");

    let inside = |arguments: &str| {
        let script =
            format!("nsenter --net=/run/netns/{NAMESPACE} curl -sS --max-time 10 --interface 10.77.0.11 {arguments}");
        tokio::task::block_in_place(|| shell(&script)).to_lowercase()
    };
    let answer = inside("-H 'X-Localcloud-Source: 10.77.0.99' http://169.254.169.254/latest/meta-data/");
    assert!(answer.starts_with("imds"), "{answer}");
    assert!(answer.contains("x-localcloud-source: 10.77.0.11\r") && !answer.contains("10.77.0.99"), "{answer}");
    assert!(!answer.contains("x-forwarded-for"), "version 2 refuses what came through a proxy: {answer}");
    let answer = inside(&format!("http://10.77.0.1:{}/services/compute", world.port));
    assert!(answer.starts_with("api"), "{answer}");

    services.into_iter().for_each(|service| service.abort());
    world.end().await;
    let _ = server.kill();
    let _ = server.wait();
    shell(&cleanup);
}
