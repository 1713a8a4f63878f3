//! The API as a client sees it: signed requests over the front's own socket.

use std::path::PathBuf;

use http::{HeaderMap, HeaderName, HeaderValue};
use localcloud::{
    model::{identity::Credential, time::Timestamp},
    store::StoreError,
    wire::{
        front::Front,
        listener,
        sigv4::{Signature, SignedRequest, canonical},
    },
};
use sha2::{Digest as _, Sha256};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixListener, UnixStream},
};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::fake_world::FakeWorld;

const ACCESS_KEY: &str = "AKIAIOSFODNN7EXAMPLE";
const SECRET_KEY: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

/// A front that is served until this is dropped.
pub(crate) struct Served {
    socket: PathBuf,
    _dir: tempfile::TempDir,
    _stop: DropGuard,
}

/// What a client got.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

impl Answer {
    /// What stands between the first tags of this name.
    pub(crate) fn element(&self, name: &str) -> Option<&str> {
        let (_, rest) = self.body.split_once(&format!("<{name}>"))?;
        Some(rest.split_once(&format!("</{name}>"))?.0)
    }

    pub(crate) fn code(&self) -> &str {
        self.element("Code").unwrap_or_default()
    }
}

/// A request before it is signed.
pub(crate) struct Unsigned {
    pub(crate) path: String,
    pub(crate) service: &'static str,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
}

impl Unsigned {
    pub(crate) fn query(service: &'static str, parameters: &[(&str, &str)]) -> Self {
        let encode = canonical::encode;
        let pairs: Vec<String> =
            parameters.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
        Self {
            path: "/".to_owned(),
            service,
            headers: vec![("content-type", "application/x-www-form-urlencoded".to_owned())],
            body: pairs.join("&").into_bytes(),
        }
    }

    /// The request as it goes over the wire.
    pub(crate) fn signed(&self) -> Vec<u8> {
        let time = Timestamp::now().to_string().replace(['-', ':'], "");
        let time = format!("{}Z", time.split(['.', 'Z']).next().unwrap());
        let mut headers = HeaderMap::new();
        headers.insert("host", HeaderValue::from_static("localhost"));
        headers.insert("x-amz-date", HeaderValue::from_str(&time).unwrap());
        for (name, value) in &self.headers {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        let authorization = |signature: &str| {
            format!(
                "AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/{}/localcloud/{}/aws4_request, SignedHeaders=host;x-amz-date, Signature={signature}",
                &time[..8],
                self.service
            )
        };
        headers.insert("authorization", HeaderValue::from_str(&authorization("0")).unwrap());
        let request =
            SignedRequest { method: "POST", path: &self.path, query: "", headers: &headers, body: &self.body };
        let signature = Signature::parse(&headers, "").unwrap().unwrap();
        let hash: String = Sha256::digest(&self.body).iter().map(|byte| format!("{byte:02x}")).collect();
        let path = canonical::canonical_path(&self.path, canonical::Encoding::NormalisedTwice);
        let canonical = signature.canonical_request(&request, &path, &hash).unwrap();
        let signature = signature.sign(&canonical, SECRET_KEY);
        headers.insert("authorization", HeaderValue::from_str(&authorization(&signature)).unwrap());
        let mut bytes = format!("POST {} HTTP/1.1\r\nconnection: close\r\n", self.path).into_bytes();
        for (name, value) in &headers {
            bytes.extend(format!("{name}: ").into_bytes());
            bytes.extend(value.as_bytes());
            bytes.extend(b"\r\n");
        }
        bytes.extend(format!("content-length: {}\r\n\r\n", self.body.len()).into_bytes());
        bytes.extend(&self.body);
        bytes
    }
}

impl Served {
    /// Serves the world's front, as it is changed by `change`.
    pub(crate) fn new(world: &FakeWorld, change: impl FnOnce(Front) -> Front) -> Self {
        let (account_id, access_key) = (&world.site.account_id, ACCESS_KEY.to_owned());
        let credential = Credential::of_root(account_id, access_key, SECRET_KEY.to_owned(), Timestamp::now());
        world
            .store
            .transact(|tx| {
                tx.put(credential);
                Ok::<_, StoreError>(())
            })
            .unwrap();
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("api");
        let stop = CancellationToken::new();
        let listener = UnixListener::bind(&socket).unwrap();
        tokio::spawn(listener::serve(listener, change(world.front()).router(), stop.clone()));
        Self { socket, _dir: dir, _stop: stop.drop_guard() }
    }

    /// Sends these bytes and returns what comes back until the connection ends: nothing, if nothing does.
    pub(crate) async fn send(&self, bytes: &[u8]) -> Option<Answer> {
        let stream = UnixStream::connect(&self.socket).await.unwrap();
        let (mut from, mut to) = stream.into_split();
        let bytes = bytes.to_vec();
        // The server may answer, and close, before it has read all.
        let writing = tokio::spawn(async move {
            let _ = to.write_all(&bytes).await;
            to
        });
        let mut answer = Vec::new();
        let _ = from.read_to_end(&mut answer).await;
        writing.abort();
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some(Answer { status: head.split(' ').nth(1)?.parse().ok()?, body: body.to_owned() })
    }

    pub(crate) async fn call(
        &self,
        service: &'static str,
        action: &str,
        parameters: &[(&str, &str)],
    ) -> Option<Answer> {
        let all: Vec<(&str, &str)> = [("Action", action)].iter().chain(parameters).copied().collect();
        self.send(&Unsigned::query(service, &all).signed()).await
    }

    /// As `call`, for what must be answered.
    pub(crate) async fn answered(&self, service: &'static str, action: &str, parameters: &[(&str, &str)]) -> Answer {
        self.call(service, action, parameters).await.unwrap_or_else(|| panic!("{action} was not answered"))
    }
}
