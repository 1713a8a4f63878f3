//! Listening, draining, ending. Binds first, so that `/healthz` answers while the database is still being looked for.
//!
//!     SIGTERM: /healthz 503, still accepting (a load balancer needs its interval to notice) -> stop accepting, let requests
//!     end -> let what no client waits for end -> exit 0. A second signal ends at once.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::body::Body;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::config::Config;
use crate::database::{Database, Source};
use crate::guard::Peer;
use crate::object_store::ObjectStore;
use crate::photos_db::PhotosDb;
use crate::router::{App, routes};
use crate::sweeper;

/// A new connection must have sent its first request's head within this.
const FIRST_HEAD_LIMIT: Duration = Duration::from_secs(10);
/// hyper counts the idle time between two requests as reading a head. It must outlast a load balancer's own idle time
/// (60 s, https://docs.aws.amazon.com/elasticloadbalancing/latest/classic/config-idle-timeout.html), or 504s appear.
const IDLE_LIMIT: Duration = Duration::from_secs(90);
const MAX_CONNECTIONS: usize = 4096;

pub async fn run(config: Config) -> anyhow::Result<()> {
    let mut signals = Signals::listen().context("listening for signals")?;
    let listener = TcpListener::bind(config.listen_address).await.with_context(|| {
        format!("listening on {} (LISTEN_ADDRESS)\nhint: is the port taken? `ss -ltnp` tells; ports below 1024 need root or CAP_NET_BIND_SERVICE", config.listen_address)
    })?;
    let address = listener.local_addr().context("reading the listening address")?;

    let store = ObjectStore::connect(&config.object_store).await?;
    let stop = CancellationToken::new();
    let source = Source::new(&config.database, &store);
    let (database, keeper) = Database::start(source, config.database_connections, stop.clone());
    let db = PhotosDb::new(database, config.sweep_grace, config.upload_intent, config.undo_grace);
    let app = Arc::new(App::new(db.clone(), store.clone(), &config));
    let sweeping = tokio::spawn(sweeper::run(db, store, app.metrics.clone(), config.sweep_interval, stop.clone()));
    tracing::info!("listening on {address}");

    let accepting = CancellationToken::new();
    let accept = tokio::spawn(accept(listener, routes(app.clone()), accepting.clone()));

    let urgent = signals.next().await;
    app.draining.store(true, Ordering::Relaxed);
    if !urgent && !config.drain.is_zero() {
        tracing::info!(seconds = config.drain.as_secs(), "draining");
        tokio::select! {
            () = tokio::time::sleep(config.drain) => {}
            _ = signals.next() => {}
        }
    }
    tracing::info!("no longer accepting");
    accepting.cancel();
    let connections = accept.await.context("accepting connections")?;
    let ending = async {
        connections.shutdown().await;
        app.tasks.close();
        app.tasks.wait().await;
        stop.cancel();
        let _ = sweeping.await;
        let _ = keeper.await;
    };
    tokio::select! {
        () = ending => tracing::info!("ended"),
        () = tokio::time::sleep(config.shutdown_limit) => tracing::warn!(seconds = config.shutdown_limit.as_secs(), "requests still ran at the limit and were cut"),
        _ = signals.next() => tracing::warn!("ended at once by a second signal"),
    }
    Ok(())
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits; answers whether a person is waiting in turn (Ctrl-C).
    async fn next(&mut self) -> bool {
        tokio::select! {
            _ = self.terminate.recv() => false,
            _ = self.interrupt.recv() => true,
        }
    }
}

/// Accepts until `stop`; hands back the connections that are still open.
async fn accept(listener: TcpListener, router: Router, stop: CancellationToken) -> GracefulShutdown {
    let open = GracefulShutdown::new();
    let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => return open,
        };
        match accepted {
            Ok((stream, address)) => {
                // Above the cap a connection is closed at once rather than kept waiting unseen.
                let Ok(permit) = connections.clone().try_acquire_owned() else { continue };
                let (router, watcher) = (router.clone(), open.watcher());
                tokio::spawn(async move {
                    serve_connection(stream, Peer(address.ip()), router, watcher).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!("accepting a connection: {error}");
                // Out of file descriptors, most likely: let some connections end.
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn serve_connection(stream: TcpStream, peer: Peer, router: Router, watcher: Watcher) {
    let _ = stream.set_nodelay(true);
    let asked = Arc::new(AtomicBool::new(false));
    let service = {
        let asked = asked.clone();
        hyper::service::service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
            request.extensions_mut().insert(peer);
            asked.store(true, Ordering::Relaxed);
            let router = router.clone();
            async move { router.oneshot(request.map(Body::new)).await.map_err(|never: Infallible| never) }
        })
    };
    let mut builder = auto::Builder::new(TokioExecutor::new()).http1_only();
    builder.http1().timer(TokioTimer::new()).header_read_timeout(IDLE_LIMIT).keep_alive(true);
    let connection = watcher.watch(builder.serve_connection(TokioIo::new(stream), service).into_owned());
    tokio::pin!(connection);
    let first = tokio::select! {
        ended = &mut connection => Some(ended),
        () = tokio::time::sleep(FIRST_HEAD_LIMIT) => None,
    };
    let ended = match first {
        Some(ended) => ended,
        None if asked.load(Ordering::Relaxed) => connection.await,
        None => return,
    };
    if let Err(error) = ended {
        tracing::debug!("a connection ended: {error}");
    }
}
