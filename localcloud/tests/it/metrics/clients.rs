//! boto3 against the front, over each protocol that it knows for CloudWatch.

use std::{process::Stdio, sync::Arc};

use localcloud::{
    api::cloudwatch,
    metrics::Metrics,
    model::{id, identity::Credential, site::Site, time::Timestamp},
    paths::Paths,
    store::{Store, StoreError},
    wire::front::Front,
};
use tokio::{io::AsyncWriteExt as _, process::Command};

use crate::{ec2::clients::python, fake_world::Buckets};

const SCRIPT: &str = include_str!("boto3.py");

#[tokio::test]
async fn boto3_puts_and_gets_metrics_by_each_protocol() {
    let Some(python) = python() else {
        eprintln!("skipped: no Python with boto3; `python3 -m venv target/venv && target/venv/bin/pip install boto3`");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::open(&dir.path().join("records")).unwrap());
    let site = Site::new((10, 77), (127, 77), 8773);
    let secret_key = id::base64(40);
    let credential =
        Credential::of_root(&site.account_id, "AKIAIOSFODNN7EXAMPLE".to_owned(), secret_key.clone(), Timestamp::now());
    store
        .transact(|tx| {
            tx.put(site);
            tx.put(credential);
            Ok::<_, StoreError>(())
        })
        .unwrap();
    let metrics = Arc::new(Metrics::open(&dir.path().join("metrics")));
    let front = Front::new(store, vec![cloudwatch::service()], Arc::new(Buckets(Paths::new(dir.path()))), metrics);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/services/CloudWatch", listener.local_addr().unwrap());
    let serving = tokio::spawn(async move { axum::serve(listener, front.router()).await });
    let mut child = Command::new(python)
        .arg("-")
        .env_clear()
        .env("AWS_CLOUDWATCH_URL", url)
        .env("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
        .env("AWS_SECRET_ACCESS_KEY", secret_key)
        .env("AWS_DEFAULT_REGION", "localcloud")
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
    let output = child.wait_with_output().await.unwrap();
    serving.abort();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "done");
}
