//! What the deployer works on: a cloud behind a proxy that strikes calls, with the VMs' parts played. The database VM
//! publishes its address when it is asked for, and the gallery answers once there is a load balancer.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_ec2::types::{ResourceType, Tag, TagSpecification};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Parser as _;
use hyper::StatusCode;
use imagecrud_deploy::cli::Cli;
use imagecrud_deploy::cloud::clients::{Clients, for_eucarc};
use imagecrud_deploy::cloud::eucarc::Eucarc;
use imagecrud_deploy::cloud::local::is_root;
use imagecrud_deploy::cloud::retry::CloudError;
use imagecrud_deploy::commands;
use imagecrud_deploy::error::{Exit, Failure};
use imagecrud_deploy::pace::{self, Pace};
use localcloud::faults::Faults;
use localcloud::paths::Paths;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

use crate::calls::{Call, is_read};
use crate::faulty_proxy::{Fault, FaultyProxy, Hook, Upstream};
use crate::listing::listing;
use crate::moto;

pub(crate) const STACK: &str = "matrix";
/// From how many looks the local cloud hides what a call made.
const HIDDEN_LOOKS: u32 = 2;

/// A cloud, the proxy before it, and a directory to deploy from.
pub(crate) struct Stage {
    pub(crate) proxy: FaultyProxy<Played>,
    /// For the test's own calls: neither counted nor struck.
    pub(crate) clients: Clients,
    pub(crate) directory: tempfile::TempDir,
    /// Of the commands that run in this process.
    pub(crate) pace: Pace,
    /// The database VM does not publish its address while this is set.
    pub(crate) is_silent: Arc<AtomicBool>,
    /// EC2's actions and the parameters of them that this cloud does not know.
    pub(crate) unknown: Unknown,
    gallery_port: u16,
}

pub(crate) type Unknown = Arc<Mutex<Vec<(&'static str, &'static str)>>>;

/// What a stage is built upon.
pub(crate) struct Ground {
    pub(crate) directory: tempfile::TempDir,
    /// The address in this eucarc leads to the counted port of the proxy.
    pub(crate) eucarc: PathBuf,
    /// That port.
    pub(crate) counted: (u16, TcpListener),
    pub(crate) upstream: Upstream,
    /// The cloud's own faults, where it can fail on purpose.
    pub(crate) faults: Option<Faults>,
    /// The image to boot, where the cloud has none of its own.
    pub(crate) image: Option<&'static str>,
}

/// The VMs' parts, played when the deployer asks.
pub(crate) struct Played {
    clients: Clients,
    faults: Option<Faults>,
    port: u16,
    gallery: Mutex<Option<AbortHandle>>,
    booted: tokio::sync::Mutex<HashSet<String>>,
    /// The database never gets so far.
    is_silent: Arc<AtomicBool>,
    unknown: Unknown,
    round_trip: Arc<Mutex<Duration>>,
}

impl Drop for Played {
    fn drop(&mut self) {
        self.close_gallery();
    }
}

impl Played {
    /// The database VM publishes its address at its boot, and never again.
    async fn boot_database(&self) {
        let mut booted = self.booted.lock().await;
        let running = moto::live_instances(&self.clients, "instance/database").await;
        if !self.is_silent.load(Ordering::SeqCst)
            && running.iter().any(|id| !booted.contains(id))
            && moto::publish(&self.clients).await
        {
            booted.extend(running);
        }
    }

    /// As Eucalyptus refuses a call for a parameter that it does not bind (BaseQueryBinding.java, tag v4.4.2).
    fn refusal(&self, call: &Call, body: &[u8]) -> Option<(StatusCode, String)> {
        let form = String::from_utf8_lossy(body);
        let unknown = self.unknown.lock().unwrap();
        let of_call = unknown.iter().filter(|(action, _)| call.service() == "ec2" && *action == call.action());
        let given = |name: &str| form.split('&').find_map(|pair| pair.strip_prefix(&format!("{name}=")));
        let fields: String =
            of_call.filter_map(|(_, name)| given(name).map(|value| format!("{name} = {value}\n"))).collect();
        let error =
            format!("<Code>400 Bad Request</Code><Message>Failed to bind the following fields:\n{fields}</Message>");
        let text = format!("<Response><Errors><Error>{error}</Error></Errors><RequestID>0</RequestID></Response>");
        (!fields.is_empty()).then_some((StatusCode::BAD_REQUEST, text))
    }

    fn close_gallery(&self) {
        if let Some(gallery) = self.gallery.lock().unwrap().take() {
            gallery.abort();
        }
    }
}

impl Hook for Played {
    async fn before(&self, call: &Call, fault: Option<Fault>) {
        if call.name == "s3.GetObject config/database.json" {
            self.boot_database().await;
        }
        if let Some(faults) = &self.faults
            && fault == Some(Fault::Hidden)
            && !is_read(call.action())
            && !is_unhidden_of_s3(call)
        {
            let plan = format!(
                "[[fault]]\naction = \"{}.{}\"\neffect = \"hide\"\nnth = 1\ncalls = {HIDDEN_LOOKS}\n",
                call.service(),
                call.action()
            );
            faults.set(&plan).unwrap();
        }
    }

    /// The cloud makes RSA keys, each in half a second of both cores: here its key pairs are imported ones.
    async fn instead(&self, call: &Call, body: &[u8]) -> Option<(StatusCode, String)> {
        if let Some(refusal) = self.refusal(call, body) {
            return Some(refusal);
        }
        if call.action() != "CreateKeyPair" {
            return None;
        }
        let url = reqwest::Url::parse(&format!("http://localhost/?{}", String::from_utf8_lossy(body))).unwrap();
        let parameters: HashMap<String, String> = url.query_pairs().into_owned().collect();
        let name = parameters.get("KeyName").cloned().unwrap_or_default();
        let mut tags = Vec::new();
        for n in 1.. {
            let tag = |what: &str| parameters.get(&format!("TagSpecification.1.Tag.{n}.{what}"));
            let (Some(key), Some(value)) = (tag("Key"), tag("Value")) else { break };
            tags.push(Tag::builder().key(key).value(value).build());
        }
        let public = [&b"\0\0\0\x0bssh-ed25519\0\0\0\x20"[..], &[7; 32]].concat();
        let public = format!("ssh-ed25519 {} matrix", STANDARD.encode(public));
        let import = self.clients.ec2.import_key_pair().key_name(&name).public_key_material(public.into_bytes().into());
        // Not every cloud takes tags here: then there are none.
        let tags = (!tags.is_empty()).then(|| {
            let tags = TagSpecification::builder().resource_type(ResourceType::KeyPair).set_tags(Some(tags));
            vec![tags.build()]
        });
        Some(match import.set_tag_specifications(tags).send().await.map_err(CloudError::from) {
            Ok(_) => {
                let material = format!("-----BEGIN TEST KEY-----\n{}\n", "0".repeat(200));
                let text = format!(
                    "<CreateKeyPairResponse><keyName>{name}</keyName><keyFingerprint>00</keyFingerprint><keyMaterial>{material}</keyMaterial></CreateKeyPairResponse>"
                );
                (StatusCode::OK, text)
            }
            Err(error) => {
                let code = error.code();
                (
                    StatusCode::BAD_REQUEST,
                    format!("<Response><Errors><Error><Code>{code}</Code></Error></Errors></Response>"),
                )
            }
        })
    }

    fn set_round_trip(&self, round_trip: Duration) {
        *self.round_trip.lock().unwrap() = round_trip;
    }

    async fn after(&self, call: &Call, status: StatusCode) {
        match call.action() {
            "CreateLoadBalancer" if status == StatusCode::OK => {
                let listener = TcpListener::bind(("127.0.0.1", self.port)).await;
                let Ok(listener) = listener else { return }; // made before, by a call that was not answered
                *self.gallery.lock().unwrap() =
                    Some(tokio::spawn(gallery(listener, self.round_trip.clone())).abort_handle());
            }
            "DeleteLoadBalancer" if status == StatusCode::OK => self.close_gallery(),
            _ => {}
        }
    }
}

/// What makes no bucket and no object.
fn is_unhidden_of_s3(call: &Call) -> bool {
    call.service() == "s3" && !localcloud::faults::CREATING.contains(&call.action())
}

/// Answers 200 to everything.
async fn gallery(listener: TcpListener, round_trip: Arc<Mutex<Duration>>) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    while let Ok((mut stream, _)) = listener.accept().await {
        let round_trip = *round_trip.lock().unwrap();
        tokio::spawn(async move {
            tokio::time::sleep(round_trip).await;
            if stream.read(&mut [0; 4096]).await.is_ok_and(|length| length > 0) {
                let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
                stream.write_all(answer).await.ok();
            }
        });
    }
}

/// A port that no connection of this machine takes by itself: below those that the kernel gives out.
pub(crate) async fn own_port() -> (u16, TcpListener) {
    loop {
        let port = rand::random_range(12_000..32_000);
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)).await {
            return (port, listener);
        }
    }
}

/// What the directories are called; the number is the process that owns one.
const PREFIX: &str = "imagecrud-fake-stack-";

/// Where many small files are written soonest. What killed predecessors left there goes.
pub(crate) fn directory() -> tempfile::TempDir {
    static SWEEP: std::sync::Once = std::sync::Once::new();
    let memory = Path::new("/dev/shm");
    let place = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    SWEEP.call_once(|| {
        for entry in std::fs::read_dir(&place).unwrap().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some(owner) = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next()) else { continue };
            if !Path::new("/proc").join(owner).exists() {
                std::fs::remove_dir_all(Paths::new(&entry.path().join("cloud")).run_dir()).ok();
                std::fs::remove_dir_all(entry.path()).ok();
            }
        }
    });
    tempfile::Builder::new().prefix(&format!("{PREFIX}{}-", std::process::id())).tempdir_in(place).unwrap()
}

impl Stage {
    pub(crate) async fn on(ground: Ground) -> Self {
        let Ground { directory, eucarc, counted: (port, counted), upstream, faults, image } = ground;
        let (plain_port, plain) = own_port().await;
        let (gallery_port, listener) = own_port().await;
        drop(listener);
        let text = std::fs::read_to_string(&eucarc).unwrap().replace(&format!(":{port}"), &format!(":{plain_port}"));
        let clients = for_eucarc(&Eucarc::parse(&text, "/"), None).await.unwrap();
        let is_silent = Arc::new(AtomicBool::new(false));
        let unknown = Unknown::default();
        let played = Played {
            clients: clients.clone(),
            faults,
            port: gallery_port,
            gallery: Mutex::default(),
            booted: tokio::sync::Mutex::default(),
            is_silent: is_silent.clone(),
            unknown: unknown.clone(),
            round_trip: Arc::default(),
        };
        let proxy = FaultyProxy::start(counted, plain, upstream, played);
        let root = directory.path();
        std::fs::write(root.join("app"), "first version").unwrap();
        let image = image.map_or_else(String::new, |image| format!("image = {image:?}\n"));
        let settings = format!(
            "stack = \"{STACK}\"\n[cloud]\nkind = \"eucalyptus\"\ncredentials = {eucarc:?}\n{image}\
             [web]\nbundle = {:?}\n[listener]\nport = {gallery_port}\n",
            root.join("app"),
        );
        std::fs::write(root.join("imagecrud.toml"), settings).unwrap();
        Self {
            proxy,
            clients,
            directory,
            pace: Pace { pauses: 20, limits: 1, answers: 1 },
            is_silent,
            unknown,
            gallery_port,
        }
    }

    pub(crate) fn state_dir(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    /// Everything that there is, the same for every cloud.
    pub(crate) async fn listing(&self) -> Vec<String> {
        let port = self.gallery_port.to_string();
        let lines = listing(&self.clients).await;
        lines.iter().map(|line| line.replace(&port, "PORT")).collect()
    }

    /// The arguments by which the program works on this cloud.
    pub(crate) fn arguments(&self, command: &[&str]) -> Vec<String> {
        let path = |path: PathBuf| path.to_str().unwrap().to_owned();
        let config = path(self.directory.path().join("imagecrud.toml"));
        let mut all = vec!["--quiet".to_owned(), "--config".to_owned(), config];
        all.extend(["--state-dir".to_owned(), path(self.state_dir())]);
        all.extend(command.iter().map(|argument| (*argument).to_owned()));
        all
    }

    /// Runs a command in this process.
    pub(crate) async fn run(&self, command: &[&str]) -> Result<Exit, Failure> {
        let loud = std::env::var_os("MATRIX_VERBOSE").is_some();
        let arguments = self.arguments(command).into_iter().filter(|argument| !loud || argument != "--quiet");
        let cli = Cli::try_parse_from(std::iter::once("imagecrud-deploy".to_owned()).chain(arguments)).unwrap();
        let code = Box::pin(pace::at(self.pace, commands::run(cli))).await?;
        let known = [Exit::Done, Exit::NotReady].into_iter().find(|exit| code == ExitCode::from(*exit as u8));
        Ok(known.unwrap_or_else(|| panic!("{command:?} ended with {code:?}")))
    }
}

/// Runs a test on threads with stacks that hold the deployer's futures.
pub(crate) fn on_deep_stacks<F: Future<Output = ()> + Send + 'static>(test: F) {
    if !is_root() {
        eprintln!("not root: the local cloud's sockets cannot be made, and this test is left out");
        return;
    }
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(4).thread_stack_size(32 << 20).enable_all().build().unwrap();
    runtime.block_on(async { tokio::spawn(test).await.unwrap() });
}
