//! An S3 in this process (s3s-fs on a directory), which can be away: then each connection is cut as soon as it comes. It can
//! also fail uploads in the ways that networks and servers do.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use tokio::sync::watch;

use crate::room::Room;

pub(crate) const BUCKET: &str = "imagecrud-test";
pub(crate) const ACCESS_KEY: &str = "AKTEST";
pub(crate) const SECRET_KEY: &str = "secret-for-tests";

pub(crate) struct S3 {
    pub(crate) endpoint: String,
    root: PathBuf,
    away: Arc<AtomicBool>,
    cut: watch::Sender<u32>,
    held: watch::Sender<bool>,
    strike: watch::Sender<Option<Strike>>,
    struck: Arc<AtomicUsize>,
}

/// What becomes of every third upload of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Strike {
    /// An answer with status 500.
    Fails,
    /// No answer.
    Hangs,
    /// The connection is cut when half of the body has come.
    ResetsAtHalf,
    /// The object is written, and the connection is cut instead of the answer.
    LosesItsAnswer,
}

/// What an upload meets before the store sees it; none where it is to go on.
async fn meet(strike: Strike, request: &mut Request<Incoming>) -> Option<std::io::Result<Response<s3s::Body>>> {
    match strike {
        Strike::Fails => {
            let mut response = Response::new(s3s::Body::from("<Error><Code>InternalError</Code></Error>".to_string()));
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            Some(Ok(response))
        }
        Strike::Hangs => std::future::pending().await,
        Strike::ResetsAtHalf => {
            let length = request.body().size_hint().lower() as usize;
            let mut seen = 0;
            while seen < length / 2 {
                let Some(Ok(frame)) = request.body_mut().frame().await else { break };
                seen += frame.data_ref().map_or(0, hyper::body::Bytes::len);
            }
            Some(Err(std::io::Error::other("cut at half of the body")))
        }
        Strike::LosesItsAnswer => None,
    }
}

impl S3 {
    pub(crate) async fn start(room: &Room) -> Self {
        let root = room.path("s3");
        fs::create_dir_all(root.join(BUCKET)).unwrap();
        let service = {
            let mut builder = S3ServiceBuilder::new(s3s_fs::FileSystem::new(&root).unwrap());
            builder.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
            builder.build()
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let away = Arc::new(AtomicBool::new(false));
        let (cut, cuts) = watch::channel(0);
        let (held, holding) = watch::channel(false);
        let (strike, striking) = watch::channel(None);
        let (struck, uploads) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (gone, count) = (away.clone(), struck.clone());
        tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { return };
                if gone.load(Ordering::SeqCst) {
                    continue;
                }
                let (service, mut cuts, holding) = (service.clone(), cuts.clone(), holding.clone());
                let (striking, uploads, count) = (striking.clone(), uploads.clone(), count.clone());
                cuts.borrow_and_update();
                let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
                    let (service, mut holding) = (service.clone(), holding.clone());
                    let strike: Option<Strike> = *striking.borrow();
                    let strike = strike.filter(|_| {
                        request.method() == Method::PUT && uploads.fetch_add(1, Ordering::SeqCst).is_multiple_of(3)
                    });
                    let count = count.clone();
                    async move {
                        let _ = holding.wait_for(|held| !held).await;
                        if let Some(strike) = strike {
                            count.fetch_add(1, Ordering::SeqCst);
                            if let Some(met) = meet(strike, &mut request).await {
                                return met;
                            }
                        }
                        let answer = hyper::service::Service::call(&service, request).await;
                        let answer = answer.map_err(|error| std::io::Error::other(format!("{error:?}")))?;
                        match strike {
                            Some(_) => Err(std::io::Error::other("the answer is lost")),
                            None => Ok(answer),
                        }
                    }
                });
                tokio::spawn(async move {
                    let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                    tokio::select! {
                        _ = server.serve_connection(TokioIo::new(stream), service) => {}
                        _ = cuts.changed() => {}
                    }
                });
            }
        });
        Self { endpoint, root, away, cut, held, strike, struck }
    }

    pub(crate) fn go_away(&self) {
        self.away.store(true, Ordering::SeqCst);
        self.cut.send_modify(|cuts| *cuts += 1);
    }

    pub(crate) fn come_back(&self) {
        self.away.store(false, Ordering::SeqCst);
    }

    /// Lets requests wait, or lets them go on.
    pub(crate) fn hold(&self, held: bool) {
        self.held.send_replace(held);
    }

    /// From now on every third upload meets this, or none does.
    pub(crate) fn strike(&self, strike: Option<Strike>) {
        self.strike.send_replace(strike);
    }

    /// How many uploads were struck.
    pub(crate) fn struck(&self) -> usize {
        self.struck.load(Ordering::SeqCst)
    }

    /// Writes an object as some other program would.
    pub(crate) fn write(&self, key: &str, text: &str) {
        self.writer()(key, text);
    }

    /// The same, apart from this.
    pub(crate) fn writer(&self) -> impl Fn(&str, &str) + use<> {
        let bucket = self.root.join(BUCKET);
        move |key, text| {
            let path = bucket.join(key);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let new = path.with_extension("new");
            fs::write(&new, text).unwrap();
            fs::rename(new, path).unwrap();
        }
    }

    /// The keys of originals and thumbnails.
    pub(crate) fn pictures(&self) -> BTreeSet<String> {
        let keys = |prefix: &str| {
            let names = fs::read_dir(self.root.join(BUCKET).join(prefix)).into_iter().flatten().flatten();
            let visible = names
                .map(|entry| entry.file_name().to_string_lossy().into_owned())
                .filter(|name| !name.starts_with('.'));
            visible.map(|name| format!("{prefix}/{name}")).collect::<Vec<_>>()
        };
        keys("p").into_iter().chain(keys("t")).collect()
    }

    pub(crate) fn bytes(&self, key: &str) -> Vec<u8> {
        fs::read(Path::new(&self.root).join(BUCKET).join(key)).unwrap()
    }
}
