//! The whole way on real containers: `up`, upload, browse, `scale`, a killed database, `up`, `teardown`, nothing left.
//! It runs the three programs as a user does, beside any cloud of the user's own.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use aws_sdk_ec2::types::Filter;
use imagecrud_deploy::cloud::local::is_root;
use serde_json::Value;

/// A cloud and a stack of this test's own, removed when it is dropped.
pub(crate) struct Way {
    pub(crate) dir: PathBuf,
    behaviour: &'static str,
    cloud_port: u16,
    pub(crate) listener_port: u16,
    /// Clouds of one process share an address range: one after the other.
    _alone: MutexGuard<'static, ()>,
}

static ALONE: Mutex<()> = Mutex::new(());

/// What the directories of this test are called; the number is the process that owns one.
const PREFIX: &str = "imagecrud-whole-way-";

impl Way {
    fn new() -> Self {
        Self::with("")
    }

    /// With more settings than the listener's port.
    pub(crate) fn with(settings: &str) -> Self {
        Self::like_with("everything", settings)
    }

    /// On a cloud that behaves like another one.
    pub(crate) fn like(behaviour: &'static str) -> Self {
        Self::like_with(behaviour, "")
    }

    fn like_with(behaviour: &'static str, settings: &str) -> Self {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        sweep_predecessors();
        let dir = std::env::temp_dir().join(format!("{PREFIX}{}-{behaviour}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a directory");
        let way = Self { dir, behaviour, cloud_port: free_port(), listener_port: free_port(), _alone: alone };
        // ssh from this machine; and alarms that never ring, as a slow machine would give them time to change the scale.
        let config = format!(
            "[listener]\nport = {}\n[network]\nssh_from = \"0.0.0.0/0\"\n\
             [scaling]\ncpu_low_percent = 0\ncpu_high_percent = 100\n{settings}",
            way.listener_port
        );
        std::fs::write(way.dir.join("imagecrud.toml"), config).expect("a config");
        way
    }

    /// A program of this test's own, as a path.
    pub(crate) fn file(&self, name: &str, content: &[u8]) -> String {
        let path = self.dir.join(name);
        std::fs::write(&path, content).expect("a file");
        path.display().to_string()
    }

    fn cloud_dir(&self) -> PathBuf {
        self.dir.join("cloud")
    }

    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(binary(program));
        command
            .env("LOCALCLOUD_STATE_DIR", self.cloud_dir())
            .env("LOCALCLOUD_PORT", self.cloud_port.to_string())
            .env("LOCALCLOUD_PUBLIC_SUBNET", "127.78")
            .env("LOCALCLOUD_BEHAVE_LIKE", self.behaviour)
            .env("NO_COLOR", "1")
            .envs(self.authority().map(|path| ("SSL_CERT_FILE", path)))
            .current_dir(&self.dir);
        command
    }

    /// The certificate authority of a test that has one.
    pub(crate) fn authority(&self) -> Option<PathBuf> {
        Some(self.dir.join("authority.pem")).filter(|path| path.exists())
    }

    pub(crate) fn deploy(&self, arguments: &[&str]) -> Output {
        let output = self.command("imagecrud-deploy").args(arguments).output().expect("imagecrud-deploy starts");
        eprintln!("$ imagecrud-deploy {}\n{}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
        output
    }

    /// Runs a command of the deployer that must succeed, and returns its stdout.
    pub(crate) fn deployed(&self, arguments: &[&str]) -> String {
        let output = self.deploy(arguments);
        assert!(output.status.success(), "imagecrud-deploy {} failed: {:?}", arguments.join(" "), output.status);
        String::from_utf8(output.stdout).expect("text")
    }

    fn status(&self) -> Value {
        let output = self.deploy(&["status", "--json"]);
        serde_json::from_slice(&output.stdout).expect("status --json prints JSON")
    }

    pub(crate) fn client(&self, arguments: &[&str]) -> Output {
        let output = self.command("imagecrud").args(arguments).output().expect("imagecrud starts");
        eprintln!("$ imagecrud {}\n{}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
        output
    }

    /// An EC2 client with the credentials that the local cloud gives its user.
    pub(crate) fn ec2(&self) -> aws_sdk_ec2::Client {
        let eucarc = std::fs::read_to_string(self.cloud_dir().join("eucarc")).expect("an eucarc");
        let value = |name: &str| {
            let prefix = format!("export {name}=");
            let line = eucarc.lines().find_map(|line| line.strip_prefix(&prefix));
            line.unwrap_or_else(|| panic!("{name} in the eucarc")).to_owned()
        };
        let credentials = aws_sdk_ec2::config::Credentials::new(
            value("AWS_ACCESS_KEY_ID"),
            value("AWS_SECRET_ACCESS_KEY"),
            None,
            None,
            "eucarc",
        );
        let config = aws_sdk_ec2::Config::builder()
            .behavior_version(aws_sdk_ec2::config::BehaviorVersion::latest())
            .region(aws_sdk_ec2::config::Region::new(value("AWS_AUTH_REGION")))
            .endpoint_url(value("EC2_URL"))
            .credentials_provider(credentials)
            .build();
        aws_sdk_ec2::Client::from_conf(config)
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        remove(&self.dir);
    }
}

/// Ends whatever a cloud under this directory still runs, and removes it.
fn remove(dir: &Path) {
    let reset =
        Command::new(binary("localcloud")).args(["reset", "--yes", "--state-dir"]).arg(dir.join("cloud")).output();
    match reset {
        Ok(output) if output.status.success() => {
            let _ = std::fs::remove_dir_all(dir);
        }
        Ok(output) => eprintln!("cleaning {}: {}", dir.display(), String::from_utf8_lossy(&output.stderr)),
        Err(error) => eprintln!("cleaning {}: {error}", dir.display()),
    }
}

/// A run that was killed has left its cloud: its directory names a process that is gone.
fn sweep_predecessors() {
    for entry in std::fs::read_dir(std::env::temp_dir()).expect("a directory of temporary files").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if let Some(pid) = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next())
            && !Path::new("/proc").join(pid).exists()
        {
            remove(&entry.path());
        }
    }
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port").local_addr().expect("bound").port()
}

/// The programs lie beside each other, as `cargo build --workspace` puts them.
pub(crate) fn binary(program: &str) -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_imagecrud-deploy")).with_file_name(program)
}

/// Names ending in `.localhost` are loopback (RFC 6761), whatever the system's resolver says.
struct Loopback;

impl reqwest::dns::Resolve for Loopback {
    fn resolve(&self, _name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let addresses: reqwest::dns::Addrs =
            Box::new(std::iter::once(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0)));
        Box::pin(std::future::ready(Ok(addresses)))
    }
}

/// One that trusts an authority of the test's own besides.
pub(crate) fn browser(authority: Option<PathBuf>) -> reqwest::Client {
    let mut builder = reqwest::Client::builder().dns_resolver(std::sync::Arc::new(Loopback));
    if let Some(path) = authority {
        let pem = std::fs::read(path).expect("an authority");
        builder = builder.add_root_certificate(reqwest::Certificate::from_pem(&pem).expect("a certificate"));
    }
    builder.pool_max_idle_per_host(0).timeout(Duration::from_secs(30)).build().expect("a client")
}

/// The gallery's JSON twin: every picture with its name and the URL of its bytes.
pub(crate) async fn pictures(browser: &reqwest::Client, url: &str) -> Vec<(String, String)> {
    let answer = browser.get(url).header("accept", "application/json").send().await.expect("the gallery answers");
    assert_eq!(answer.status(), 200, "{url}");
    let body: Value = answer.json().await.expect("JSON");
    let list = body["pictures"].as_array().expect("a list of pictures");
    list.iter()
        .map(|picture| {
            let text = |key: &str| picture[key].as_str().unwrap_or_else(|| panic!("{key} in {picture}")).to_owned();
            (text("name"), text("url"))
        })
        .collect()
}

pub(crate) async fn assert_every_picture_opens(browser: &reqwest::Client, url: &str, expected: usize) {
    let pictures = pictures(browser, url).await;
    assert_eq!(pictures.len(), expected);
    for (name, source) in pictures {
        let answer = browser.get(&source).send().await.expect("S3 answers");
        assert_eq!(answer.status(), 200, "{name}: {source}");
        assert!(answer.bytes().await.expect("the picture's bytes").len() > 1000, "{name} is a whole picture");
    }
}

async fn until<F: Future<Output = bool>>(what: &str, limit: Duration, mut condition: impl FnMut() -> F) {
    let deadline = Instant::now() + limit;
    while !condition().await {
        assert!(Instant::now() < deadline, "waited {limit:?} for {what}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn resource<'a>(status: &'a Value, kind: &str, name: &str) -> &'a Value {
    let list = status["resources"].as_array().expect("a list of resources");
    let found = list.iter().find(|resource| resource["type"] == kind && resource["name"] == name);
    found.unwrap_or_else(|| panic!("{kind} {name} in {status}"))
}

#[tokio::test]
async fn up_upload_scale_heal_and_teardown_leave_every_picture_and_then_nothing() {
    if !is_root() {
        eprintln!("skipped: the local cloud needs root for namespaces, mounts and loop devices");
        return;
    }
    let way = Way::new();
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sample");
    let browser = browser(None);

    // From nothing to a gallery.
    let url = way.deployed(&["up"]).trim().to_owned();
    assert!(url.ends_with("/imagecrud/") && url.contains(".elb.localhost:"), "{url}");
    assert_eq!(browser.get(&url).send().await.expect("the ELB answers").status(), 200);

    // Up again changes nothing.
    let again = way.deploy(&["up"]);
    assert!(again.status.success());
    assert!(String::from_utf8_lossy(&again.stderr).contains("nothing changes"));

    crate::vms::are_reached(&way);

    // Pictures.
    let cat = samples.join("cat.jpeg");
    let one = format!("{url}afdef75e0376bddfd");
    assert!(way.client(&["upload", &cat.display().to_string(), &one]).status.success());
    assert!(way.client(&["upload-many", "-c", "5", &samples.display().to_string(), &url]).status.success());
    assert_every_picture_opens(&browser, &url, 6).await;
    assert!(way.client(&["get-many", "-c", "6", &url]).status.success());
    assert!(way.client(&["delete", &one]).status.success());
    assert!(!way.client(&["delete", &one]).status.success(), "a second delete of one name is an error");
    let text = way.client(&["upload", &samples.join("PROVENANCE.md").display().to_string(), &one]);
    assert!(!text.status.success() && String::from_utf8_lossy(&text.stderr).contains("415"), "a text is not a picture");
    assert_every_picture_opens(&browser, &url, 5).await;

    // Scale: bounds are kept to, three instances serve.
    assert_eq!(way.deploy(&["scale", "99"]).status.code(), Some(2));
    way.deployed(&["scale", "3"]);
    assert!(
        resource(&way.status(), "auto-scaling-group", "web")["detail"].as_str().expect("a detail").starts_with("3/3")
    );
    assert!(String::from_utf8_lossy(&way.deploy(&["up"]).stderr).contains("nothing changes"), "up keeps the scale");

    // The database dies; `up` brings it back on the same volume, and the web servers find it.
    let database = resource(&way.status(), "instance", "database")["id"].as_str().expect("an id").to_owned();
    way.ec2().terminate_instances().instance_ids(&database).send().await.expect("terminated");
    way.deployed(&["up"]);
    let replaced = resource(&way.status(), "instance", "database")["id"].as_str().expect("an id").to_owned();
    assert_ne!(replaced, database);
    assert_every_picture_opens(&browser, &url, 5).await;

    // The daemon is killed: everything serves on, and `up` starts it again.
    let daemon = std::fs::read_to_string(way.cloud_dir().join("daemon.lock")).expect("the daemon's lock");
    assert!(Command::new("kill").args(["-9", daemon.trim()]).status().expect("kill runs").success());
    assert_every_picture_opens(&browser, &url, 5).await;
    assert_eq!(way.deploy(&["status"]).status.code(), Some(3));
    assert!(String::from_utf8_lossy(&way.deploy(&["up"]).stderr).contains("nothing changes"));

    // Everything is stopped, as with the machine: `up` boots the same instances again.
    assert!(way.command("localcloud").arg("stop").status().expect("localcloud starts").success());
    assert_nothing_runs(&way);
    way.deployed(&["up"]);
    assert_eq!(resource(&way.status(), "instance", "database")["id"], replaced);
    assert_every_picture_opens(&browser, &url, 5).await;

    // Without data gone, `teardown` and `up` bring the same pictures back.
    assert_eq!(way.deploy(&["teardown"]).status.code(), Some(3), "without --yes it only says what would go");
    way.deployed(&["teardown", "--yes"]);
    let url = way.deployed(&["up"]).trim().to_owned();
    assert_every_picture_opens(&browser, &url, 5).await;

    // A web server dies; the group replaces it by itself.
    let web = Filter::builder().name("tag:aws:autoscaling:groupName").values("*").build();
    let alive = Filter::builder().name("instance-state-name").values("running").build();
    let ec2 = way.ec2();
    let running = || async {
        let found =
            ec2.describe_instances().filters(web.clone()).filters(alive.clone()).send().await.expect("described");
        let instances = found.reservations().iter().flat_map(aws_sdk_ec2::types::Reservation::instances);
        instances.filter_map(|instance| instance.instance_id().map(str::to_owned)).collect::<Vec<_>>()
    };
    let before = running().await;
    ec2.terminate_instances().instance_ids(&before[0]).send().await.expect("terminated");
    until("the group's replacement", Duration::from_secs(60), || async {
        let now = running().await;
        now.len() == before.len() && !now.contains(&before[0])
    })
    .await;

    // And then nothing.
    let farewell = way.deploy(&["teardown", "--yes", "--delete-data"]);
    assert!(farewell.status.success());
    assert_eq!(String::from_utf8_lossy(&farewell.stdout), "0 left\n");
    assert_nothing_runs(&way);
}

/// No process, mount, namespace or loop device names this test's directory any more.
pub(crate) fn assert_nothing_runs(way: &Way) {
    let dir = way.dir.display().to_string();
    let mine = std::process::id();
    for process in std::fs::read_dir("/proc").expect("/proc").flatten() {
        let Ok(pid) = process.file_name().to_string_lossy().parse::<u32>() else { continue };
        let command = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        assert!(pid == mine || !command.contains(&dir), "process {pid} is left: {command}");
    }
    let mounts = std::fs::read_to_string("/proc/mounts").expect("/proc/mounts");
    assert!(!mounts.contains(&dir), "a mount is left: {mounts}");
    let loops = Command::new("losetup").arg("--list").output().expect("losetup runs");
    assert!(!String::from_utf8_lossy(&loops.stdout).contains(&dir), "a loop device is left");
    for port in [way.cloud_port, way.listener_port] {
        assert!(TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok(), "port {port} is still held");
    }
}
