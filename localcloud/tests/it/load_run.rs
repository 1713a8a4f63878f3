//! The whole way of a load: alarm, policy, a VM that boots, the balancer, and back; on real containers, driven by boto3
//! from outside, while the daemon is killed again and again.

use std::{
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use localcloud::{config::Config, image};

use super::{ec2::clients::python, sandbox::skipped};

/// What the directories of this test are called; the number is the process that owns one.
const PREFIX: &str = "localcloud-load-run-";
/// Metrics are sampled every 10 s, and a difference needs two samples: a daemon that never lives longer measures nothing.
const BETWEEN_KILLS: Duration = Duration::from_secs(22);

struct Cloud {
    dir: PathBuf,
    port: u16,
}

impl Cloud {
    fn new() -> Self {
        for entry in std::fs::read_dir(std::env::temp_dir()).unwrap().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if let Some(pid) = name.strip_prefix(PREFIX)
                && !Path::new("/proc").join(pid).exists()
            {
                remove(&entry.path());
            }
        }
        let dir = std::env::temp_dir().join(format!("{PREFIX}{}", std::process::id()));
        Self { dir, port: free_port() }
    }

    fn serve(&self) {
        let started = localcloud(&self.dir)
            .args(["serve", "--detach", "--public-subnet", "127.83", "--port", &self.port.to_string()])
            .output()
            .unwrap();
        assert!(started.status.success(), "{}", String::from_utf8_lossy(&started.stderr));
    }

    fn kill(&self) {
        let pid = std::fs::read_to_string(self.dir.join("daemon.lock")).unwrap();
        assert!(Command::new("kill").args(["-9", pid.trim()]).status().unwrap().success());
    }
}

impl Drop for Cloud {
    fn drop(&mut self) {
        remove(&self.dir);
    }
}

fn localcloud(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_localcloud"));
    command.env("LOCALCLOUD_STATE_DIR", dir);
    command
}

fn remove(dir: &Path) {
    let reset = localcloud(dir).args(["reset", "--yes"]).output();
    if !reset.as_ref().is_ok_and(|reset| reset.status.success()) {
        eprintln!("cleaning {}: {reset:?}", dir.display());
    }
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

#[test]
fn the_whole_way_of_a_load_grows_and_shrinks_the_group_though_the_daemon_is_killed_and_no_request_fails() {
    if skipped("the_whole_way_of_a_load") {
        return;
    }
    let arguments = ["localcloud", "--state-dir", "/nonexistent"];
    let config = <Arguments as clap::Parser>::parse_from(arguments).config;
    let (Some(python), Ok(Some(_))) = (python(), image::find(&config)) else {
        eprintln!("SKIPPED the_whole_way_of_a_load: it needs boto3 and a VM image (`make test` makes both)");
        return;
    };
    let cloud = Cloud::new();
    cloud.serve();
    let mut run = Command::new(python)
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../bench/load-run.py"))
        .arg("--eucarc")
        .arg(cloud.dir.join("eucarc"))
        .args(["--port", &free_port().to_string(), "--load-secs", "30"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut kills = 0;
    let mut served = Instant::now();
    let status = loop {
        if let Some(status) = run.try_wait().unwrap() {
            break status;
        }
        if served.elapsed() > BETWEEN_KILLS {
            cloud.kill();
            cloud.serve();
            kills += 1;
            served = Instant::now();
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    let figures = std::io::read_to_string(run.stdout.take().unwrap()).unwrap();
    assert!(status.success(), "{figures}");
    let figures: serde_json::Value = serde_json::from_str(&figures).unwrap();
    assert!(figures["requests"].as_u64().unwrap() > 500 && kills >= 2, "{kills} kills, {figures}");
    assert_eq!(figures["failed"], 0, "{figures}");
    assert!(figures["web_servers"].as_u64().unwrap() >= 2, "{figures}");
    println!("{kills} kills, {figures}");
}

#[derive(clap::Parser)]
struct Arguments {
    #[command(flatten)]
    config: Config,
}
