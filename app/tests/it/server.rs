//! The real binary: one `imagecrud serve`, and one-off client commands.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use reqwest::multipart::{Form, Part};
use reqwest::{Response, header};
use serde_json::Value;

use crate::room::{MARK, Room, signal};
use crate::s3::{ACCESS_KEY, BUCKET, S3, SECRET_KEY};

pub(crate) struct Server {
    child: Child,
    pub(crate) address: String,
    log: Arc<Mutex<Vec<String>>>,
    http: reqwest::Client,
}

impl Server {
    /// `database` is DATABASE_URL=… or DATABASE_CONFIG=…; the rest are more variables.
    pub(crate) fn start(room: &Room, s3: &S3, database: (&str, &str), more: &[(&str, &str)]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_imagecrud"))
            .arg("serve")
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env(MARK, room.dir())
            .env("HOME", room.dir())
            .env("LISTEN_ADDRESS", "127.0.0.1:0")
            .env(database.0, database.1)
            .env("S3_BUCKET", BUCKET)
            .env("AWS_REGION", "localcloud")
            .env("S3_ENDPOINT", &s3.endpoint)
            .env("S3_PUBLIC_ENDPOINT", &s3.endpoint)
            .env("S3_FORCE_PATH_STYLE", "true")
            .env("AWS_ACCESS_KEY_ID", ACCESS_KEY)
            .env("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("DRAIN_SECONDS", "0")
            .env("SWEEP_INTERVAL_SECONDS", "1")
            .env("SWEEP_GRACE_SECONDS", "1")
            .env("UNDO_SECONDS", "1")
            .envs(more.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        room.remember(child.id());
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let log = Arc::new(Mutex::new(Vec::new()));
        let mut address = None;
        for line in lines.by_ref().map_while(Result::ok) {
            // In JSON the text ends with a quote.
            let text = line.split_once("listening on ").map(|(_, rest)| rest.split('"').next().unwrap_or(rest));
            address = text.map(str::to_string);
            log.lock().unwrap().push(line);
            if address.is_some() {
                break;
            }
        }
        let address = address.unwrap_or_else(|| panic!("the server did not start: {:#?}", log.lock().unwrap()));
        let rest = log.clone();
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| rest.lock().unwrap().push(line)));
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(Duration::from_secs(60))
            .build()
            .unwrap();
        Self { child, address, log, http }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// A request that follows no redirect.
    pub(crate) fn request(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, self.url(path))
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        self.http.get(self.url(path)).send().await.unwrap()
    }

    pub(crate) async fn get_as(&self, path: &str, accept: &str) -> Response {
        self.http.get(self.url(path)).header(header::ACCEPT, accept).send().await.unwrap()
    }

    pub(crate) async fn json(&self, path: &str) -> Value {
        let response = self.get_as(path, "application/json").await;
        assert!(response.status().is_success(), "{path}: {}", response.status());
        serde_json::from_str(&response.text().await.unwrap()).unwrap()
    }

    pub(crate) async fn post(&self, name: &str, bytes: Vec<u8>) -> Response {
        self.try_post(name, bytes).await.unwrap()
    }

    pub(crate) async fn try_post(&self, name: &str, bytes: Vec<u8>) -> reqwest::Result<Response> {
        let form = Form::new().part("file", Part::bytes(bytes).file_name("any.jpg"));
        self.http.post(self.url(&format!("/imagecrud/{name}"))).multipart(form).send().await
    }

    pub(crate) async fn post_raw(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<reqwest::Body>,
    ) -> Response {
        let request =
            headers.iter().fold(self.http.post(self.url(path)), |request, (name, value)| request.header(*name, *value));
        request.body(body).send().await.unwrap()
    }

    pub(crate) async fn delete(&self, name: &str) -> Response {
        self.http.delete(self.url(&format!("/imagecrud/{name}"))).send().await.unwrap()
    }

    pub(crate) async fn fetch(&self, url: &str) -> Response {
        self.http.get(url).send().await.unwrap()
    }

    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().join("\n")
    }

    pub(crate) fn signal(&self, name: &str) {
        signal(&self.child.id().to_string(), name);
    }

    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits for the process's end; its exit code.
    pub(crate) async fn ended(&mut self) -> Option<i32> {
        let deadline = Instant::now() + Duration::from_secs(30);
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the server did not end");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- the server's log ---\n{}", self.log());
        }
    }
}

/// Runs a client command to its end.
pub(crate) async fn imagecrud(arguments: &[&str]) -> Output {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_imagecrud"));
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    tokio::time::timeout(Duration::from_secs(60), command.output()).await.expect("the command ends").unwrap()
}
