use std::{process::Stdio, time::Duration};

use localcloud::{
    model::{id, identity::Credential, time::Timestamp},
    store::StoreError,
};
use tokio::{io::AsyncWriteExt as _, net::TcpListener, process::Command};

use super::*;
use crate::ec2::clients::python;

const SCRIPT: &str = include_str!("boto3.py");
const ACCESS_KEY: &str = "AKIAIOSFODNN7EXAMPLE";

/// The key of the account's root.
fn credential(world: &FakeWorld) -> Credential {
    Credential::of_root(&world.site.account_id, ACCESS_KEY.to_owned(), id::base64(40), Timestamp::now())
}

#[tokio::test]
async fn boto3_reads_all_that_a_group_does() {
    let Some(python) = python() else {
        eprintln!("skipped: no Python with boto3; `python3 -m venv target/venv && target/venv/bin/pip install boto3`");
        return;
    };
    let mut world = world(&[]);
    let credential = credential(&world);
    let secret_key = credential.secret_key.clone();
    world
        .store
        .transact(|tx| {
            tx.put(credential);
            Ok::<_, StoreError>(())
        })
        .unwrap();
    let front = world.front();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/services/", listener.local_addr().unwrap());
    let server = tokio::spawn(async move { axum::serve(listener, front.router()).await });

    let mut child = Command::new(python)
        .arg("-")
        .env_clear()
        .env("API_URL", url)
        .env("AWS_ACCESS_KEY_ID", ACCESS_KEY)
        .env("AWS_SECRET_ACCESS_KEY", secret_key)
        .env("AWS_DEFAULT_REGION", &world.site.region)
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(SCRIPT.as_bytes()).await.unwrap();
    drop(stdin);
    let mut output = Box::pin(child.wait_with_output());
    let output = loop {
        world.pass().await;
        // Errands of the reconcilers run beside them.
        if let Ok(output) = tokio::time::timeout(Duration::from_millis(10), &mut output).await {
            break output.unwrap();
        }
    };
    server.abort();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "done");
}
