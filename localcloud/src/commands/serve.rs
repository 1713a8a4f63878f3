//! `localcloud serve`: checks that the machine can run a cloud, then runs it, in the foreground or detached.

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use tokio::{
    signal::unix::{SignalKind, signal},
    task::JoinSet,
};

use super::{Exit, progress, require_root, status};
use crate::{
    behaviour::Behaviour,
    config::Config,
    daemon::{
        DaemonLock, LocalCloud, Parts, real_drivers,
        watchman::{Troubles, Watchman},
    },
    faults::Faults,
    host::{
        command::Command,
        process::{self, PidFile},
    },
    image, object_storage,
    paths::Paths,
};

/// Programs without which nothing runs, and the Debian packages that bring them.
const PROGRAMS: &[(&str, &str)] = &[
    ("systemd-nspawn", "systemd-container"),
    ("haproxy", "haproxy"),
    ("dnsmasq", "dnsmasq-base"),
    ("nft", "nftables"),
    ("ip", "iproute2"),
    ("losetup", "mount"),
    ("nsenter", "util-linux"),
];

/// How long a detached daemon may take until its API answers.
const START_LIMIT: Duration = Duration::from_secs(60);

/// What makes the cloud an instrument for testing clients.
#[derive(Debug, Clone, Default, Args)]
pub struct Instrument {
    /// Have only what that cloud has
    #[arg(long, env = "LOCALCLOUD_BEHAVE_LIKE", value_enum, default_value_t)]
    pub behave_like: Behaviour,
    /// File of faults that calls are to meet; followed when it changes (docs/faults.md)
    #[arg(long, env = "LOCALCLOUD_FAULTS")]
    pub faults: Option<PathBuf>,
}

impl Instrument {
    fn faults(&self) -> Result<Faults> {
        Ok(match &self.faults {
            Some(path) => Faults::follow(path)?,
            None => Faults::default(),
        })
    }
}

/// # Errors
/// A sentence for the user.
pub async fn foreground(config: &Config, instrument: &Instrument) -> Result<Exit> {
    require_root("localcloud serve")?;
    check_programs()?;
    let faults = instrument.faults()?;
    let paths = Paths::new(&config.state_dir);
    let lock = DaemonLock::take(&paths)?;
    check_port(config, &paths)?;
    let Some(image) = image::find(config)? else {
        bail!("no VM image is built in {}\n\nhint: `localcloud image build`", config.cache_dir.display())
    };
    faults.tell(&paths.s3_faults())?;
    object_storage::ensure_running(&paths, &std::env::current_exe()?, instrument.behave_like)
        .await
        .context("starting S3")?;
    let (behaviour, troubles) = (instrument.behave_like, Troubles::default());
    let watchman =
        Watchman { paths: paths.clone(), own_exe: std::env::current_exe()?, behaviour, troubles: troubles.clone() };
    let parts = Parts { drivers: real_drivers(config, &paths), image, behaviour, faults, troubles };
    let cloud = LocalCloud::start(config, parts).await?;
    let mut watching = JoinSet::new();
    watching.spawn(watchman.watch());
    progress(&format!(
        "serving http://127.0.0.1:{}/services/ (credentials: {})",
        config.port,
        paths.eucarc().display()
    ));
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    // What is stopped from here on is stopped on purpose.
    watching.shutdown().await;
    cloud.shut_down().await;
    drop(lock);
    progress("the daemon has ended; instances, load balancers and S3 go on (`localcloud stop` ends them too)");
    Ok(Exit::Done)
}

/// Starts a daemon that outlives this process, and returns once its API answers.
///
/// # Errors
/// With the end of the daemon's log when it does not come up.
pub async fn detached(config: &Config, instrument: &Instrument) -> Result<Exit> {
    require_root("localcloud serve")?;
    // A plan that is wrong is told here, and not only in the daemon's log.
    instrument.faults()?;
    let paths = Paths::new(&config.state_dir);
    if status::ask(&paths).await.is_ok() {
        progress(&format!("already serving on {}", paths.root().display()));
        return Ok(Exit::Done);
    }
    let log = paths.log("daemon");
    let daemon = Command::new(std::env::current_exe()?.display().to_string()).args(arguments_of(config, instrument));
    let said_before = std::fs::metadata(&log).map_or(0, |log| log.len());
    let daemon = process::spawn(daemon, &log, &paths.pid_file("daemon")).await?;
    let deadline = tokio::time::Instant::now() + START_LIMIT;
    loop {
        if answers(config.port).await && status::ask(&paths).await.is_ok() {
            return Ok(Exit::Done);
        }
        if !daemon.is_alive() {
            bail!("the local cloud did not start:\n{}", said_since(&log, said_before));
        }
        if tokio::time::Instant::now() > deadline {
            bail!(
                "the local cloud does not answer after {} s:\n{}",
                START_LIMIT.as_secs(),
                said_since(&log, said_before)
            );
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn arguments_of(config: &Config, instrument: &Instrument) -> Vec<String> {
    let path = |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone()).display().to_string();
    let prefix = |prefix: crate::config::Prefix| format!("{}.{}", prefix.0, prefix.1);
    ["serve".to_owned()]
        .into_iter()
        .chain(["--state-dir".to_owned(), path(&config.state_dir)])
        .chain(["--cache-dir".to_owned(), path(&config.cache_dir)])
        .chain(["--port".to_owned(), config.port.to_string()])
        .chain(["--subnet".to_owned(), prefix(config.subnet)])
        .chain(["--public-subnet".to_owned(), prefix(config.public_subnet)])
        .chain(["--instance-limit".to_owned(), config.instance_limit.to_string()])
        .chain(["--zones".to_owned(), config.zones.to_string()])
        .chain(["--behave-like".to_owned(), instrument.behave_like.name().to_owned()])
        .chain(instrument.faults.iter().flat_map(|file| ["--faults".to_owned(), path(file)]))
        .collect()
}

/// What the daemon has said since it was started.
fn said_since(log: &Path, start: u64) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let start = usize::try_from(start).unwrap_or(0).min(text.len());
    String::from_utf8_lossy(&text[start..]).trim_end().to_owned()
}

/// Whether the front answers an unsigned request as a cloud does.
async fn answers(port: u16) -> bool {
    let Ok(mut stream) = tokio::net::TcpStream::connect(("127.0.0.1", port)).await else { return false };
    let request = b"GET /services/compute?Action=DescribeRegions HTTP/1.0\r\nhost: 127.0.0.1\r\n\r\n";
    let mut answer = Vec::new();
    if tokio::io::AsyncWriteExt::write_all(&mut stream, request).await.is_err() {
        return false;
    }
    let read = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut answer);
    matches!(tokio::time::timeout(Duration::from_secs(2), read).await, Ok(Ok(_)))
        && answer.windows(11).any(|window| window == b"AuthFailure")
}

fn check_programs() -> Result<()> {
    let missing: Vec<&str> = PROGRAMS
        .iter()
        .filter(|(program, _)| process::find_program(program).is_none())
        .map(|(_, package)| *package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    bail!("this machine lacks what a local cloud runs on\n\nhint: apt install {}", missing.join(" "))
}

/// The proxy of an earlier daemon may hold the port: it is ours then, and is adopted.
fn check_port(config: &Config, paths: &Paths) -> Result<()> {
    if PidFile::new(paths.pid_file("haproxy")).is_alive() {
        return Ok(());
    }
    match TcpListener::bind(("127.0.0.1", config.port)) {
        Ok(_) => Ok(()),
        Err(error) => bail!(
            "port {} of 127.0.0.1 cannot be used: {error}\n\nhint: end the program that holds it (`ss -ltnp`), or choose another with --port",
            config.port
        ),
    }
}
