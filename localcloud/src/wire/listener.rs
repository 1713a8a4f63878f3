//! Serves a router on a socket: connections whose requests do not come to an end are closed, and an answer may be
//! held back altogether.

use std::{convert::Infallible, time::Duration};

use axum::{Router, body::Body, response::Response, serve::Listener};
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

/// HAProxy passes a request on when it has its head, so that whoever is slower than this is no client.
const HEAD_LIMIT: Duration = Duration::from_secs(20);
/// How long requests under way may take when the daemon ends.
const FINISH_LIMIT: Duration = Duration::from_secs(10);

/// Put on a response: the connection is closed, and the client is told nothing.
#[derive(Debug, Clone, Copy)]
pub struct Unanswered;

/// The connection is closed instead of an answer.
#[derive(Debug, thiserror::Error)]
#[error("the answer is held back on purpose")]
pub struct HeldBack;

/// Serves until it is told to stop; requests under way are finished.
pub async fn serve(listener: impl Listener, router: Router, stop: CancellationToken) {
    serve_within(HEAD_LIMIT, listener, router, stop).await;
}

/// The same, with another limit for a request's head.
pub async fn serve_within(head: Duration, mut listener: impl Listener, router: Router, stop: CancellationToken) {
    let connections = GracefulShutdown::new();
    loop {
        let (stream, _) = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let router = router.clone();
        let service = service_fn(move |request: Request<Incoming>| answer(router.clone(), request));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(head)
            .serve_connection(TokioIo::new(stream), service);
        let connection = connections.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!("a connection ended: {error}");
            }
        });
    }
    drop(listener);
    let _ = tokio::time::timeout(FINISH_LIMIT, connections.shutdown()).await;
}

/// An error of the service is what lets hyper close the connection without a word.
async fn answer(router: Router, request: Request<Incoming>) -> Result<Response, HeldBack> {
    let answered: Result<Response, Infallible> = router.oneshot(request.map(Body::new)).await;
    match answered {
        Ok(response) if response.extensions().get::<Unanswered>().is_some() => Err(HeldBack),
        Ok(response) => Ok(response),
    }
}
