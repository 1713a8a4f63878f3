//! Scripts of boto3 against the front of a world, over a socket: its own signatures, codecs and parsers.

use std::{process::Stdio, time::Duration};

use localcloud::{
    model::{id, identity::Credential, time::Timestamp},
    store::StoreError,
};
use tokio::{io::AsyncWriteExt as _, process::Command, task::JoinHandle};

use super::{ec2::clients::python, fake_world::FakeWorld};

const ACCESS_KEY: &str = "AKIAIOSFODNN7EXAMPLE";

pub(crate) struct Front {
    url: String,
    secret_key: String,
    serving: JoinHandle<()>,
}

impl Front {
    pub(crate) async fn serve(world: &FakeWorld) -> Self {
        let secret_key = id::base64(40);
        let (account_id, access_key) = (&world.site.account_id, ACCESS_KEY.to_owned());
        let credential = Credential::of_root(account_id, access_key, secret_key.clone(), Timestamp::now());
        world
            .store
            .transact(|tx| {
                tx.put(credential);
                Ok::<_, StoreError>(())
            })
            .unwrap();
        let front = world.front();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let serving = tokio::spawn(async move {
            let _ = axum::serve(listener, front.router()).await;
        });
        Self { url, secret_key, serving }
    }

    /// Where a client finds the cloud, and the key of its root.
    pub(crate) fn introduce(&self, client: &mut Command) {
        client
            .env("CLOUD_URL", &self.url)
            .env("AWS_ACCESS_KEY_ID", ACCESS_KEY)
            .env("AWS_SECRET_ACCESS_KEY", &self.secret_key)
            .env("AWS_DEFAULT_REGION", "localcloud")
            .env("AWS_EC2_METADATA_DISABLED", "true");
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// What the script prints; `None` where there is no boto3.
    pub(crate) async fn run(self, script: &str) -> Option<String> {
        let Some(python) = python() else {
            eprintln!(
                "skipped: no Python with boto3; `python3 -m venv target/venv && target/venv/bin/pip install boto3`"
            );
            return None;
        };
        let mut command = Command::new(python);
        command.arg("-").env_clear();
        self.introduce(&mut command);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(script.as_bytes()).await.unwrap();
        drop(stdin);
        let output = child.wait_with_output().await.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Lets the cloud live for as long as a client is at work.
pub(crate) async fn while_living<T>(world: &mut FakeWorld, client: impl Future<Output = T>) -> T {
    let mut client = std::pin::pin!(client);
    loop {
        world.pass().await;
        // Errands of the reconcilers run beside them.
        if let Ok(done) = tokio::time::timeout(Duration::from_millis(10), &mut client).await {
            return done;
        }
    }
}
