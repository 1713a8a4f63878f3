//! Clients that we did not write, through every service: boto3 and awscli against the whole API on fake drivers.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Stdio,
};

use localcloud::api;
use tokio::process::Command;

use super::{
    boto3::{Front, while_living},
    ec2::clients::python,
    fake_world::FakeWorld,
    haproxy::world::certificate,
};

/// Runs a walk's command against a living cloud; the command must print `walked`.
async fn walk(command: impl FnOnce(&str) -> Command) {
    let mut world = FakeWorld::new();
    let front = Front::serve(&world).await;
    let mut walking = command(front.url());
    front.introduce(&mut walking);
    walking
        .env_remove("AWS_PROFILE")
        .env("AWS_CONFIG_FILE", "/dev/null")
        .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let output = while_living(&mut world, walking.output()).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "walked");
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/walk").join(name)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn boto3_walks_through_every_action_of_every_service() {
    let Some(python) = python() else {
        eprintln!("skipped: no Python with boto3 (`make test` installs one)");
        return;
    };
    let services = api::services();
    let actions: BTreeMap<&str, Vec<&str>> =
        services.iter().map(|service| (service.signing_name, service.actions().collect())).collect();
    walk(|base| {
        let mut command = Command::new(python);
        command.arg(script("boto3_every_action.py")).arg(base).arg(serde_json::to_string(&actions).unwrap());
        command.env("WALK_CERTIFICATE", certificate("walk.example").0).env("PYTHONDONTWRITEBYTECODE", "1");
        command
    })
    .await;
}

/// The genuine euca2ools are Python 2's and in no registry: their directory is named by `LOCALCLOUD_TEST_EUCA2OOLS`, or
/// they are installed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn euca2ools_walk_through_every_service() {
    let named = std::env::var_os("LOCALCLOUD_TEST_EUCA2OOLS").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let tools =
        named.into_iter().chain(std::env::split_paths(&path)).find(|dir| dir.join("euca-describe-images").exists());
    let Some(tools) = tools else {
        eprintln!("skipped: no euca2ools (LOCALCLOUD_TEST_EUCA2OOLS names their directory)");
        return;
    };
    walk(|base| {
        let mut command = Command::new(script("euca2ools_walk.sh"));
        command.arg(tools).arg(base);
        command
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn awscli_walks_through_every_service() {
    let aws = python().map(|python| python.with_file_name("aws")).filter(|program| program.exists());
    let Some(aws) = aws else {
        eprintln!("skipped: no awscli beside Python's boto3 (`make test` installs one)");
        return;
    };
    walk(|base| {
        let mut command = Command::new(script("awscli_walk.sh"));
        command.arg(aws).arg(base);
        command
    })
    .await;
}
