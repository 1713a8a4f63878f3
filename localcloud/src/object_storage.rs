//! S3 as a process of its own, so that pictures are served while the daemon is away. `s3s` speaks the protocol and
//! `s3s-fs` keeps the bytes; between them `Versions` gives every upload a file of its own, so that keys may be
//! anything, an upload is there wholly or not at all, and listings are complete. Buckets are private, but for what
//! policies say.

/// Who may what: policies of whoever signs, and of buckets.
mod access;
/// A request from its connection to its answer.
mod answer;
/// Policies of buckets.
mod bucket_policies;
/// Bodies that are as their checksums say.
mod checksum;
/// What the daemon itself puts into buckets.
pub mod client;
/// Counted calls, as the daemon asks for them.
pub mod counted;
/// Who signs: access keys from a file that the daemon writes.
mod credentials;
/// What becomes of a request that faults strike.
mod fate;
/// Which object is kept where.
mod index;
/// Pages of keys.
mod listing;
/// Uploads in parts.
mod multipart;
/// Eucalyptus' paths `/services/objectstorage` and `/services/Walrus`.
mod prefix;
/// Blocks of public access.
mod public_access;
/// Bodies that are read to their end also when a request is refused.
mod request_body;
/// Chunked bodies with signatures, to such without.
mod signed_chunks;
/// Signature version 2.
mod version2;
/// Objects over s3s-fs.
mod versions;

use std::{
    io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use clap::Args;
use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::{conn::auto, graceful::GracefulShutdown},
};
use s3s::{
    S3Result,
    host::{S3Host, VirtualHost},
    service::S3ServiceBuilder,
};
use tokio::{
    net::{UnixListener, UnixStream},
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::CancellationToken;

pub use self::credentials::{S3Credential, S3Credentials};
use self::{answer::Answerer, credentials::Keys, versions::Versions};
use crate::{
    behaviour::Behaviour,
    faults::Faults,
    host::{
        self, HostError,
        command::Command,
        process::{self, PidFile},
    },
    paths::Paths,
    wire::listener,
};

/// What it carries out, in the order of the alphabet.
pub const OPERATIONS: &[&str] = &[
    "AbortMultipartUpload",
    "CompleteMultipartUpload",
    "CopyObject",
    "CreateBucket",
    "CreateMultipartUpload",
    "DeleteBucket",
    "DeleteBucketPolicy",
    "DeleteObject",
    "DeleteObjects",
    "DeletePublicAccessBlock",
    "GetBucketLocation",
    "GetBucketPolicy",
    "GetBucketVersioning",
    "GetObject",
    "GetPublicAccessBlock",
    "HeadBucket",
    "HeadObject",
    "ListBuckets",
    "ListMultipartUploads",
    "ListObjects",
    "ListObjectsV2",
    "ListParts",
    "PutBucketPolicy",
    "PutObject",
    "PutPublicAccessBlock",
    "UploadPart",
    "UploadPartCopy",
];

/// Name of the subcommand, of the pid file, of the log.
pub const PROGRAM: &str = "object-storage";
/// Host by which S3 is told from the API; buckets are its subdomains.
const DOMAIN: &str = "s3.localhost";
/// What the program logs, as for all of its commands.
const LOG_VARIABLE: &str = "LOCALCLOUD_LOG";
const BEHAVE_LIKE: &str = "--behave-like";
const START_LIMIT: Duration = Duration::from_secs(20);
const STOP_LIMIT: Duration = Duration::from_secs(15);
/// How long requests under way may take when the process is asked to end.
const FINISH_LIMIT: Duration = Duration::from_secs(10);

/// What the process is started with.
#[derive(Debug, Clone, Args)]
pub struct Arguments {
    /// Unix socket to listen on
    #[arg(long)]
    pub socket: PathBuf,
    /// Directory of the buckets
    #[arg(long)]
    pub root: PathBuf,
    /// File of the access keys, read again whenever it changes
    #[arg(long)]
    pub credentials: PathBuf,
    /// Have only what that cloud has
    #[arg(long, value_enum, default_value_t)]
    pub behave_like: Behaviour,
    /// File in which the daemon says which faults are in force
    #[arg(long)]
    pub faults: Option<PathBuf>,
    /// Unix socket on which the counted calls are told
    #[arg(long)]
    pub admin_socket: Option<PathBuf>,
}

/// Serves S3 until it is asked to end (SIGTERM).
///
/// # Errors
/// When the directory or the socket cannot be had.
pub async fn run(arguments: Arguments) -> anyhow::Result<()> {
    std::fs::create_dir_all(&arguments.root).with_context(|| format!("creating {}", arguments.root.display()))?;
    let behaviour = arguments.behave_like;
    let faults = arguments.faults.as_deref().map(Faults::heed).unwrap_or_default();
    let versions = Versions::open(&arguments.root, behaviour, faults.clone())
        .await
        .map_err(|error| anyhow::anyhow!("opening {}: {error}", arguments.root.display()))?;
    let keys = Arc::new(Keys::new(arguments.credentials.clone()));
    let mut builder = S3ServiceBuilder::new(versions.clone());
    builder.set_auth(credentials::Auth(Arc::clone(&keys)));
    builder.set_access(access::Access { keys: Arc::clone(&keys), versions, behaviour });
    builder.set_host(Host);
    let answerer = Answerer { service: builder.build(), keys, behaviour, faults: faults.clone() };

    let stop = CancellationToken::new();
    let _stopping = stop.clone().drop_guard();
    if let Some(socket) = &arguments.admin_socket {
        let listener = bind(socket)?;
        std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o600))?;
        tokio::spawn(listener::serve(listener, counted::router(faults), stop));
    }
    let listener = bind(&arguments.socket)?;
    let mut terminate = signal(SignalKind::terminate()).context("waiting for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("waiting for SIGINT")?;
    let server = auto::Builder::new(TokioExecutor::new());
    let connections = GracefulShutdown::new();
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!("accepting a connection: {error}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        };
        let answerer = answerer.clone();
        let answer = service_fn(move |request| {
            let answerer = answerer.clone();
            async move { answerer.answer(request).await }
        });
        let connection = connections.watch(server.serve_connection(TokioIo::new(stream), answer).into_owned());
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!("a connection ended: {error}");
            }
        });
    }
    drop(listener);
    let _ = tokio::time::timeout(FINISH_LIMIT, connections.shutdown()).await;
    Ok(())
}

/// A socket file of a killed predecessor is replaced.
fn bind(socket: &Path) -> anyhow::Result<UnixListener> {
    let _ = std::fs::remove_file(socket);
    if let Some(parent) = socket.parent() {
        std::fs::create_dir_all(parent).with_context(|| format!("creating {}", parent.display()))?;
    }
    UnixListener::bind(socket).with_context(|| format!("listening on {}", socket.display()))
}

fn bucket_of_host(host: &str) -> Option<String> {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name).to_ascii_lowercase();
    name.strip_suffix(DOMAIN).and_then(|rest| rest.strip_suffix('.')).map(str::to_owned)
}

/// `BUCKET.s3.localhost`; every other host is path style.
struct Host;

impl S3Host for Host {
    fn parse_host_header<'a>(&'a self, host: &'a str) -> S3Result<VirtualHost<'a>> {
        Ok(match bucket_of_host(host) {
            Some(bucket) => VirtualHost::new(DOMAIN).with_bucket(bucket),
            None => VirtualHost::new(DOMAIN),
        })
    }
}

/// Starts the process if it does not run, and waits until it answers. One that a former daemon has started goes on, unless
/// it was told to behave like another cloud.
///
/// # Errors
/// When it cannot be started or does not answer in time.
pub async fn ensure_running(paths: &Paths, own_exe: &Path, behaviour: Behaviour) -> host::Result<()> {
    let pid_file = PidFile::new(paths.pid_file(PROGRAM));
    let socket = paths.socket("s3");
    let behaves = pid_file.process().is_some_and(|process| behaves_like(process.pid, behaviour));
    if behaves && pid_file.is_alive() && UnixStream::connect(&socket).await.is_ok() {
        return Ok(());
    }
    pid_file.stop(STOP_LIMIT).await;
    let command = Command::new(own_exe.to_string_lossy())
        .arg(PROGRAM)
        .arg("--socket")
        .arg(&socket)
        .arg("--root")
        .arg(paths.s3_root())
        .arg("--credentials")
        .arg(paths.s3_credentials())
        .arg("--faults")
        .arg(paths.s3_faults())
        .arg("--admin-socket")
        .arg(paths.socket(counted::SOCKET))
        .arg(BEHAVE_LIKE)
        .arg(behaviour.name());
    // `s3s` logs each refused request as an error.
    let command = match std::env::var_os(LOG_VARIABLE) {
        Some(_) => command,
        None => command.env(LOG_VARIABLE, "warn,s3s::ops=off"),
    };
    let log = paths.log(PROGRAM);
    let started = process::spawn(command, &log, &paths.pid_file(PROGRAM)).await?;
    let deadline = tokio::time::Instant::now() + START_LIMIT;
    while UnixStream::connect(&socket).await.is_err() {
        if !started.is_alive() || tokio::time::Instant::now() >= deadline {
            let said = process::tail(&log, 3);
            return Err(HostError::new(
                "starting the object storage",
                if said.is_empty() { "it does not answer" } else { &said },
            )
            .hint(format!("see {}", log.display())));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

/// Whether a process was started so, as its command line tells.
fn behaves_like(pid: i32, behaviour: Behaviour) -> bool {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let arguments: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
    arguments.windows(2).any(|pair| pair == [BEHAVE_LIKE.as_bytes(), behaviour.name().as_bytes()])
}

/// Ends the process; requests under way are finished. Not running is success.
///
/// # Errors
/// When it resists even SIGKILL.
pub async fn stop(paths: &Paths) -> host::Result<()> {
    let pid_file = PidFile::new(paths.pid_file(PROGRAM));
    let process = pid_file.process();
    pid_file.stop(STOP_LIMIT).await;
    let _ = std::fs::remove_file(paths.socket("s3"));
    let _ = std::fs::remove_file(paths.socket(counted::SOCKET));
    match process.filter(|process| process.is_alive()) {
        Some(process) => {
            Err(HostError::new("stopping the object storage", format!("process {} does not end", process.pid)))
        }
        None => Ok(()),
    }
}

/// How much is kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    pub buckets: usize,
    pub objects: usize,
    pub bytes: u64,
}

/// Counts buckets and objects on disk, whether the process runs or not.
///
/// # Errors
/// When a directory cannot be read.
pub fn usage(paths: &Paths) -> io::Result<Usage> {
    let mut usage = Usage::default();
    let buckets = match std::fs::read_dir(paths.s3_root()) {
        Ok(buckets) => buckets,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(usage),
        Err(error) => return Err(error),
    };
    for bucket in buckets {
        let bucket = bucket?;
        if !bucket.file_type()?.is_dir() {
            continue;
        }
        usage.buckets += 1;
        for object in std::fs::read_dir(bucket.path())? {
            usage.objects += 1;
            usage.bytes += object?.metadata().map(|metadata| metadata.len()).unwrap_or(0);
        }
    }
    Ok(usage)
}

/// Whether there is a bucket of this name, whether the process runs or not.
#[must_use]
pub fn has_bucket(paths: &Paths, name: &str) -> bool {
    let is_name = !name.is_empty() && !name.starts_with('.') && !name.contains('/');
    is_name && paths.s3_root().join(name).is_dir()
}

/// Counts the buckets on disk; none where they cannot be read.
#[must_use]
pub fn bucket_count(paths: &Paths) -> usize {
    usage(paths).map(|usage| usage.buckets).unwrap_or(0)
}
