//! The proxy driver with a real HAProxy: health, reloads, draining, occupied ports, doors. Back ends are small servers
//! of the test on loopback; only the doors' test needs root, as it makes a network namespace.

use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use localcloud::{
    drivers::{
        BackendStatus, Balancer, BalancerBackend, BalancerHealthCheck, BalancerListener, BalancerProtocol,
        ProxyDriver as _, ProxyPlan, PublicPort,
        haproxy::{Haproxy, HaproxySettings},
    },
    paths::Paths,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UnixListener},
};

const LIMIT: Duration = Duration::from_secs(30);

/// One HAProxy under a directory that is the test's own, the same in every run: what a killed predecessor left is
/// ended first.
struct World {
    directory: PathBuf,
    paths: Paths,
    port: u16,
    proxy: Haproxy,
}

impl World {
    async fn new(test: &str) -> Self {
        Self::in_namespace(test, None).await
    }

    async fn in_namespace(test: &str, namespace: Option<&str>) -> Self {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("haproxy-{test}"));
        let paths = Paths::new(&directory);
        let port = free_port().await;
        let proxy = Self::driver(&paths, port, namespace);
        proxy.stop().await.expect("a predecessor's HAProxy ends");
        let _ = std::fs::remove_dir_all(&directory);
        std::fs::create_dir_all(&directory).expect("a directory");
        Self { directory, paths, port, proxy }
    }

    fn driver(paths: &Paths, port: u16, namespace: Option<&str>) -> Haproxy {
        Haproxy::new(HaproxySettings {
            paths: paths.clone(),
            namespace: namespace.map(str::to_owned),
            gateway: Ipv4Addr::new(10, 77, 0, 1),
            port,
            api_socket: paths.socket("api"),
            s3_socket: paths.socket("s3"),
            imds_socket: paths.socket("imds"),
        })
    }

    async fn status_of(&self, instance: &str) -> Option<BackendStatus> {
        self.proxy.status().await.expect("status").into_iter().find(|status| status.instance_id == instance)
    }

    async fn wait_until_healthy(&self, instance: &str) {
        until(&format!("{instance} to be healthy"), async || {
            self.status_of(instance).await.is_some_and(|status| status.healthy == Some(true))
        })
        .await;
    }

    /// How often a worker was started.
    fn workers_started(&self) -> usize {
        let log = std::fs::read_to_string(self.paths.log("haproxy")).unwrap_or_default();
        log.matches("forked").count()
    }

    fn master_pid(&self) -> i32 {
        let text = std::fs::read_to_string(self.paths.pid_file("haproxy")).expect("a pid file");
        text.split_whitespace().next().expect("a pid").parse().expect("a number")
    }

    async fn end(self) {
        self.proxy.stop().await.expect("stops");
        assert!(!self.paths.socket("haproxy-master").exists());
        let _ = std::fs::remove_dir_all(self.paths.run_dir());
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !condition().await {
        assert!(start.elapsed() < LIMIT, "waited {LIMIT:?} for {what}");
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}

async fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    listener.local_addr().expect("an address").port()
}

/// An instance's web server: `/health` as set, `/slow` answers when let go, all else the name and the request.
struct Backend {
    port: u16,
    healthy: Arc<AtomicBool>,
    go: Arc<tokio::sync::Notify>,
    slow: Arc<AtomicUsize>,
}

impl Backend {
    async fn start(name: &'static str, address: Ipv4Addr, port: u16) -> Self {
        let listener = TcpListener::bind((address, port)).await.expect("the back end's port");
        let backend = Self {
            port: listener.local_addr().expect("an address").port(),
            healthy: Arc::new(AtomicBool::new(true)),
            go: Arc::new(tokio::sync::Notify::new()),
            slow: Arc::new(AtomicUsize::new(0)),
        };
        let (healthy, go, slow) = (backend.healthy.clone(), backend.go.clone(), backend.slow.clone());
        tokio::spawn(async move {
            loop {
                let Ok((mut stream, _)) = listener.accept().await else { return };
                let (healthy, go, slow) = (healthy.clone(), go.clone(), slow.clone());
                tokio::spawn(async move {
                    let Some(request) = read_head(&mut stream).await else { return };
                    let status =
                        if request.starts_with("GET /health ") && !healthy.load(Ordering::SeqCst) { 500 } else { 200 };
                    if request.starts_with("GET /slow ") {
                        slow.fetch_add(1, Ordering::SeqCst);
                        go.notified().await;
                    }
                    answer(&mut stream, status, &format!("{name}\n{request}")).await;
                });
            }
        });
        backend
    }
}

async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte).await.ok()? == 0 {
            return None;
        }
        head.push(byte[0]);
    }
    String::from_utf8(head).ok()
}

async fn answer(stream: &mut (impl AsyncWrite + Unpin), status: u16, body: &str) {
    let text = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
    let _ = stream.write_all(text.as_bytes()).await;
}

struct Answer {
    status: u16,
    headers: BTreeMap<String, String>,
    body: String,
}

async fn get(port: u16, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.expect("connects");
    let mut request = format!("GET {path} HTTP/1.1\r\nConnection: close\r\n");
    if !headers.iter().any(|(name, _)| *name == "Host") {
        request.push_str("Host: localhost\r\n");
    }
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str("\r\n");
    stream.write_all(request.as_bytes()).await.expect("sends");
    let mut text = String::new();
    stream.read_to_string(&mut text).await.expect("an answer");
    parse_answer(&text)
}

fn parse_answer(text: &str) -> Answer {
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no HTTP answer: {text:?}"));
    let mut lines = head.lines();
    let status =
        lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|code| code.parse().ok()).expect("a status");
    let headers = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    Answer { status, headers, body: body.to_owned() }
}

fn balancer(name: &str, port: u16, instance_port: u16, backends: &[(&str, Ipv4Addr, bool)]) -> Balancer {
    Balancer {
        name: name.to_owned(),
        dns_name: format!("{name}-7.elb.localhost"),
        source: Ipv4Addr::new(127, 0, 0, 9),
        listeners: vec![BalancerListener {
            protocol: BalancerProtocol::Http,
            port,
            instance_protocol: BalancerProtocol::Http,
            instance_port,
        }],
        health_check: BalancerHealthCheck {
            target: format!("HTTP:{instance_port}/health"),
            interval_secs: 1,
            timeout_secs: 1,
            healthy_threshold: 2,
            unhealthy_threshold: 2,
        },
        backends: backends
            .iter()
            .map(|&(id, address, draining)| BalancerBackend { instance_id: id.to_owned(), address, draining })
            .collect(),
        idle_timeout_secs: 60,
    }
}

fn plan(balancers: Vec<Balancer>) -> ProxyPlan {
    ProxyPlan { balancers, public_ports: Vec::new() }
}

const FIRST: Ipv4Addr = Ipv4Addr::new(127, 9, 0, 11);
const SECOND: Ipv4Addr = Ipv4Addr::new(127, 9, 0, 12);

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reloads_lose_no_request_and_no_health() {
    let world = World::new("reload").await;
    let backend = Backend::start("one", FIRST, 0).await;
    let port = free_port().await;
    let web = balancer("web", port, backend.port, &[("i-1", FIRST, false)]);
    world.proxy.apply(&plan(vec![web.clone()])).await.expect("applies");
    world.wait_until_healthy("i-1").await;

    let done = Arc::new(AtomicBool::new(false));
    let client = tokio::spawn({
        let done = done.clone();
        async move {
            let mut count = 0;
            while !done.load(Ordering::SeqCst) {
                assert_eq!(get(port, "/", &[]).await.status, 200, "request {count}");
                count += 1;
            }
            count
        }
    });
    for round in 0..4 {
        let other = balancer(&format!("other-{round}"), free_port().await, backend.port, &[("i-9", SECOND, false)]);
        let mut web = web.clone();
        if round % 2 == 0 {
            web.backends.push(BalancerBackend { instance_id: "i-2".to_owned(), address: SECOND, draining: false });
        }
        world.proxy.apply(&plan(vec![web, other])).await.expect("applies");
        assert_eq!(world.status_of("i-1").await.expect("known").healthy, Some(true), "after reload {round}");
        assert_ne!(world.status_of("i-9").await.expect("known").healthy, Some(true), "new ones begin out of service");
    }
    done.store(true, Ordering::SeqCst);
    let count = client.await.expect("no request failed");
    assert!(count > 10, "only {count} requests");
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

#[tokio::test]
async fn an_instances_port_is_reached_at_its_public_address() {
    let world = World::new("public").await;
    let backend = Backend::start("one", FIRST, 0).await;
    let public = Ipv4Addr::new(127, 9, 0, 77);
    let port = PublicPort { public_address: public, port: backend.port, private_address: FIRST };
    world.proxy.apply(&ProxyPlan { balancers: Vec::new(), public_ports: vec![port] }).await.expect("applies");
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
