//! One HAProxy of a test's own, back ends on loopback, and clients.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use localcloud::{
    drivers::{
        BackendStatus, Balancer, BalancerBackend, BalancerHealthCheck, BalancerListener, BalancerProtocol, Encryption,
        MalformedRequests, Pem, ProxyDriver as _, ProxyPlan,
        haproxy::{Haproxy, HaproxySettings},
    },
    paths::Paths,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

pub(super) const LIMIT: Duration = Duration::from_secs(30);

/// One HAProxy under a directory that is the test's own, the same in every run: what a killed predecessor left is
/// ended first.
pub(crate) struct World {
    pub(crate) directory: PathBuf,
    pub(crate) paths: Paths,
    pub(crate) port: u16,
    pub(crate) proxy: Haproxy,
}

impl World {
    pub(super) async fn new(test: &str) -> Self {
        Self::in_namespace(test, None).await
    }

    pub(crate) async fn in_namespace(test: &str, namespace: Option<&str>) -> Self {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("haproxy-{test}"));
        let paths = Paths::new(&directory);
        let port = free_port().await;
        let proxy = Self::driver(&paths, port, namespace);
        proxy.stop().await.expect("a predecessor's HAProxy ends");
        let _ = std::fs::remove_dir_all(&directory);
        std::fs::create_dir_all(&directory).expect("a directory");
        Self { directory, paths, port, proxy }
    }

    pub(crate) fn driver(paths: &Paths, port: u16, namespace: Option<&str>) -> Haproxy {
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

    pub(super) async fn status_of(&self, instance: &str) -> Option<BackendStatus> {
        self.proxy.status().await.expect("status").into_iter().find(|status| status.instance_id == instance)
    }

    pub(super) async fn wait_until_healthy(&self, instance: &str) {
        until(&format!("{instance} to be healthy"), async || {
            self.status_of(instance).await.is_some_and(|status| status.healthy == Some(true))
        })
        .await;
    }

    /// How often a worker was started.
    pub(super) fn workers_started(&self) -> usize {
        let log = std::fs::read_to_string(self.paths.log("haproxy")).unwrap_or_default();
        log.matches("forked").count()
    }

    pub(super) fn master_pid(&self) -> i32 {
        let text = std::fs::read_to_string(self.paths.pid_file("haproxy")).expect("a pid file");
        text.split_whitespace().next().expect("a pid").parse().expect("a number")
    }

    pub(crate) async fn end(self) {
        self.proxy.stop().await.expect("stops");
        assert!(!self.paths.socket("haproxy-master").exists());
        let _ = std::fs::remove_dir_all(self.paths.run_dir());
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

pub(super) async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !condition().await {
        assert!(start.elapsed() < LIMIT, "waited {LIMIT:?} for {what}");
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}

pub(crate) async fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    listener.local_addr().expect("an address").port()
}

/// An instance's web server: `/health` as set, `/slow` answers when let go, `/login` sets a cookie, all else the name and
/// the request.
pub(super) struct Backend {
    pub(super) port: u16,
    pub(super) healthy: Arc<AtomicBool>,
    pub(super) go: Arc<tokio::sync::Notify>,
    pub(super) slow: Arc<AtomicUsize>,
}

impl Backend {
    pub(super) async fn start(name: &'static str, address: Ipv4Addr, port: u16) -> Self {
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
                    let cookie = if request.starts_with("GET /login ") { "set-cookie: APP=1\r\n" } else { "" };
                    answer_with(&mut stream, status, cookie, &format!("{name}\n{request}")).await;
                });
            }
        });
        backend
    }
}

pub(crate) async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
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

pub(crate) async fn answer(stream: &mut (impl AsyncWrite + Unpin), status: u16, body: &str) {
    answer_with(stream, status, "", body).await;
}

async fn answer_with(stream: &mut (impl AsyncWrite + Unpin), status: u16, headers: &str, body: &str) {
    let length = body.len();
    let text = format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\n{headers}connection: close\r\n\r\n{body}");
    let _ = stream.write_all(text.as_bytes()).await;
}

pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: String,
}

pub(super) async fn get(port: u16, path: &str, headers: &[(&str, &str)]) -> Answer {
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

pub(super) fn parse_answer(text: &str) -> Answer {
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

pub(super) fn balancer(name: &str, port: u16, instance_port: u16, backends: &[(&str, Ipv4Addr, bool)]) -> Balancer {
    Balancer {
        name: name.to_owned(),
        dns_name: format!("{name}-7.elb.localhost"),
        source: Ipv4Addr::new(127, 0, 0, 9),
        listeners: vec![BalancerListener {
            protocol: BalancerProtocol::Http,
            port,
            instance_protocol: BalancerProtocol::Http,
            instance_port,
            encryption: None,
            stickiness: None,
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
            .map(|&(id, address, draining)| BalancerBackend {
                instance_id: id.to_owned(),
                address,
                weight: 1,
                draining,
            })
            .collect(),
        idle_timeout_secs: 60,
        proxy_protocol_ports: BTreeSet::new(),
        malformed_requests: MalformedRequests::default(),
    }
}

pub(super) fn plan(balancers: Vec<Balancer>) -> ProxyPlan {
    ProxyPlan { balancers: balancers.into_iter().map(Arc::new).collect(), ..ProxyPlan::default() }
}

pub(super) const FIRST: Ipv4Addr = Ipv4Addr::new(127, 9, 0, 11);
pub(super) const SECOND: Ipv4Addr = Ipv4Addr::new(127, 9, 0, 12);

/// Asks with curl, which speaks TLS, and believes every certificate. Status and body; 0 where there was no answer.
pub(super) async fn curl(url: &str, arguments: &[&str]) -> (u16, String) {
    let output = tokio::process::Command::new("curl")
        .args(["-sk", "--noproxy", "*", "--max-time", "20", "-w", "\n%{http_code}"])
        .args(arguments)
        .arg(url)
        .output()
        .await
        .expect("curl");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (body, status) = text.rsplit_once('\n').expect("a status");
    (status.parse().expect("a number"), body.to_owned())
}

/// A certificate for this name with its key, made anew.
pub(crate) fn certificate(name: &str) -> Pem {
    let script =
        format!("openssl req -x509 -nodes -days 2 -subj /CN={name} -newkey rsa:2048 -keyout k -out c && cat c k");
    let directory = tempfile::tempdir().expect("a directory");
    let output =
        std::process::Command::new("sh").args(["-c", &script]).current_dir(directory.path()).output().expect("sh");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Pem(String::from_utf8(output.stdout).expect("PEM"))
}

pub(super) fn encryption(certificate: &Pem, oldest_version: &str) -> Encryption {
    Encryption {
        certificate: certificate.clone(),
        oldest_version: oldest_version.to_owned(),
        newest_version: "TLSv1.2".to_owned(),
        ciphers: vec!["ECDHE-RSA-AES128-GCM-SHA256".to_owned(), "AES128-SHA".to_owned()],
        server_order: true,
    }
}

/// Asks again and again, until it is told to end; every answer must be a 200. Returns how many there were.
pub(super) fn client(port: u16, done: &Arc<AtomicBool>) -> tokio::task::JoinHandle<usize> {
    let done = Arc::clone(done);
    tokio::spawn(async move {
        let mut count = 0;
        while !done.load(Ordering::SeqCst) {
            assert_eq!(get(port, "/", &[]).await.status, 200, "request {count}");
            count += 1;
        }
        count
    })
}

/// As `client`, on a connection that it keeps for as long as the proxy does not announce its end, and on which it pauses
/// between requests: the proxy may close it then only if no request can be lost by that.
pub(crate) fn lasting_client(port: u16, done: &Arc<AtomicBool>) -> tokio::task::JoinHandle<usize> {
    let done = Arc::clone(done);
    tokio::spawn(async move {
        let (mut count, mut kept) = (0, None);
        while !done.load(Ordering::SeqCst) {
            let mut stream = match kept.take() {
                Some(stream) => stream,
                None => TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.expect("connects"),
            };
            stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.expect("sends");
            let head = read_head(&mut stream).await.unwrap_or_else(|| panic!("request {count} has no answer"));
            let answer = parse_answer(&head);
            assert_eq!(answer.status, 200, "request {count}");
            let length: usize = answer.headers["content-length"].parse().expect("a length");
            stream.read_exact(&mut vec![0; length]).await.expect("a body");
            count += 1;
            if answer.headers.get("connection").is_none_or(|connection| connection != "close") {
                kept = Some(stream);
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        count
    })
}
