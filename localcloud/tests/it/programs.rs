//! The programs beside the daemon are killed, each by its pid: all serve again within seconds, and the status tells of it.

use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use localcloud::{
    behaviour::Behaviour,
    commands::status,
    config::{Config, Prefix},
    daemon::{
        LocalCloud, Parts, real_drivers, stopping,
        watchman::{Troubles, Watchman},
    },
    drivers::{Drivers, fake::FakeCloud},
    faults::Faults,
    host::process::{PidFile, ProcessId},
    image::BuiltImage,
    object_storage,
    paths::Paths,
};
use rustix::process::Signal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::sandbox::skipped;

/// HAProxy and dnsmasq are looked after every five seconds, S3 every second.
const SECONDS: Duration = Duration::from_secs(20);
const PROGRAMS: [&str; 3] = ["haproxy", "dnsmasq", object_storage::PROGRAM];

async fn until<F: Future<Output = bool>>(what: &str, so: impl Fn() -> F) {
    let start = Instant::now();
    while !so().await {
        assert!(start.elapsed() < SECONDS, "waited {SECONDS:?}: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Whether the API, or S3 behind the same door, answers as itself.
async fn answers(port: u16, path: &str, words: &str) -> bool {
    let Ok(mut stream) = tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await else { return false };
    let request = format!("GET {path} HTTP/1.0\r\nhost: localhost\r\n\r\n");
    let mut answer = Vec::new();
    stream.write_all(request.as_bytes()).await.is_ok()
        && stream.read_to_end(&mut answer).await.is_ok()
        && String::from_utf8_lossy(&answer).contains(words)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_programs_serve_again_within_seconds_and_are_told_of() {
    if skipped("killed_programs_serve_again_within_seconds_and_are_told_of") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let port = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let config = Config {
        state_dir: dir.path().to_owned(),
        cache_dir: dir.path().to_owned(),
        port,
        subnet: Prefix(10, 77),
        public_subnet: Prefix(127, 78),
        instance_limit: 40,
        zones: 2,
    };
    let paths = Paths::new(dir.path());
    let (own_exe, behaviour) = (env!("CARGO_BIN_EXE_localcloud"), Behaviour::Everything);
    object_storage::ensure_running(&paths, own_exe.as_ref(), behaviour).await.unwrap();
    let fake = FakeCloud::new().drivers();
    let drivers = Drivers { instances: fake.instances, volumes: fake.volumes, ..real_drivers(&config, &paths) };
    let image = BuiltImage {
        name: "debian".to_owned(),
        description: "Debian".to_owned(),
        root: dir.path().to_owned(),
        created: jiff::Timestamp::now(),
        recipe_hash: "0".to_owned(),
        suite: "bookworm".to_owned(),
        architecture: "x86_64".to_owned(),
    };
    let troubles = Troubles::default();
    let parts = Parts { drivers, image, behaviour, faults: Faults::default(), troubles: troubles.clone() };
    let cloud = LocalCloud::start(&config, parts).await.unwrap();
    let pid_of = |program: &str| PidFile::new(paths.pid_file(program)).process();
    let all_serve = async || {
        answers(port, "/services/compute?Action=DescribeRegions", "AuthFailure").await
            && answers(port, "/services/objectstorage/", "AccessDenied").await
            && PROGRAMS.iter().all(|program| pid_of(program).is_some())
    };
    until("all serve", &all_serve).await;
    let watchman = Watchman { paths: paths.clone(), own_exe: own_exe.into(), behaviour, troubles: troubles.clone() };
    let watching = tokio::spawn(watchman.watch());
    until("the watchman has been round", async || troubles.has_looked()).await;

    let killed: BTreeMap<&str, ProcessId> = PROGRAMS.into_iter().map(|name| (name, pid_of(name).unwrap())).collect();
    for process in killed.values() {
        process.signal(Signal::KILL);
    }
    until("what ended is told of as running again", async || {
        let told = status::ask(&paths).await.unwrap().troubles;
        // dnsmasq may be back before anybody is sure that it was gone.
        ["haproxy", object_storage::PROGRAM].iter().all(|program| {
            let begin = format!("{program} (");
            told.iter().any(|trouble| trouble.starts_with(&begin) && trouble.contains("it runs again since"))
        })
    })
    .await;
    until("all serve again", &all_serve).await;
    for (program, before) in &killed {
        assert_ne!(pid_of(program), Some(*before));
    }
    watching.abort();
    cloud.shut_down().await;
    stopping::stop_everything(&config, &|_| {}).await.unwrap();
    assert!(PROGRAMS.iter().all(|program| pid_of(program).is_none()));
}
