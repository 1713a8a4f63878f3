//! Clients that we did not write, through every service: boto3 and awscli against the whole API on fake drivers.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use localcloud::{
    model::{id, identity::Credential, time::Timestamp},
    store::StoreError,
};
use tokio::process::Command;

use super::{ec2::clients::python, fake_world::FakeWorld};

/// Runs a walk's command against a living cloud; the command must print `walked`.
async fn walk(command: impl FnOnce(&str) -> Command) {
    let mut world = FakeWorld::new();
    let (access_key, secret_key) = ("AKIAIOSFODNN7EXAMPLE".to_owned(), id::base64(40));
    let root = Credential::of_root(&world.site.account_id, access_key.clone(), secret_key.clone(), Timestamp::now());
    world
        .store
        .transact(|tx| {
            tx.put(root);
            Ok::<_, StoreError>(())
        })
        .unwrap();
    let front = world.front().router();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let serving = tokio::spawn(async move { axum::serve(listener, front).await });
    let mut walking = command(&base);
    walking
        .env_remove("AWS_PROFILE")
        .env("AWS_CONFIG_FILE", "/dev/null")
        .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
        .env("AWS_ACCESS_KEY_ID", access_key)
        .env("AWS_SECRET_ACCESS_KEY", secret_key)
        .env("AWS_DEFAULT_REGION", "localcloud")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut walked = tokio::spawn(async move { walking.output().await });
    let output = loop {
        world.pass().await;
        tokio::select! {
            output = &mut walked => break output.unwrap().unwrap(),
            () = tokio::time::sleep(std::time::Duration::from_millis(10)) => {}
        }
    };
    serving.abort();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "walked");
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/walk").join(name)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn boto3_walks_through_every_service() {
    let Some(python) = python() else {
        eprintln!("skipped: no Python with boto3 (`make test` installs one)");
        return;
    };
    walk(|base| {
        let mut command = Command::new(python);
        command.arg(script("boto3_walk.py")).arg(base);
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
