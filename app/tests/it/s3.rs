//! An S3 in this process (s3s-fs on a directory), which can be away: then each connection is cut as soon as it comes.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

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
        let gone = away.clone();
        tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { return };
                if gone.load(Ordering::SeqCst) {
                    continue;
                }
                let (service, mut cuts, holding) = (service.clone(), cuts.clone(), holding.clone());
                cuts.borrow_and_update();
                let service = hyper::service::service_fn(move |request| {
                    let (service, mut holding) = (service.clone(), holding.clone());
                    async move {
                        let _ = holding.wait_for(|held| !held).await;
                        hyper::service::Service::call(&service, request).await
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
        Self { endpoint, root, away, cut, held }
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

    /// Writes an object as some other program would.
    pub(crate) fn write(&self, key: &str, text: &str) {
        let path = self.root.join(BUCKET).join(key);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let new = path.with_extension("new");
        fs::write(&new, text).unwrap();
        fs::rename(new, path).unwrap();
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
