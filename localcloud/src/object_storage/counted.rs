//! The calls that S3 has counted: told on a socket of its own, and asked for by the daemon.

use std::{io, path::Path, time::Duration};

use anyhow::{Context as _, bail};
use axum::{
    Json, Router,
    extract::{Query, State},
    http::StatusCode,
    routing::get,
};
use http::{Method, Request, Response};
use hyper::body::Bytes;
use serde::Deserialize;

use crate::{
    faults::{Calls, Faults},
    wire::asking,
};

/// In the directory of sockets.
pub const SOCKET: &str = "s3-admin";
/// It takes no millisecond.
const LIMIT: Duration = Duration::from_secs(5);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct After {
    #[serde(default)]
    after: u64,
}

/// `GET /calls?after=N`, `DELETE /calls`
pub(super) fn router(faults: Faults) -> Router {
    Router::new().route("/calls", get(tell).delete(forget_all)).with_state(faults)
}

async fn tell(State(faults): State<Faults>, Query(After { after }): Query<After>) -> Json<Calls> {
    Json(faults.calls(after))
}

async fn forget_all(State(faults): State<Faults>) -> StatusCode {
    faults.forget_calls();
    StatusCode::NO_CONTENT
}

/// The calls after that of the number given; none when S3 does not run.
///
/// # Errors
/// When it runs and does not answer.
pub async fn calls(socket: &Path, after: u64) -> anyhow::Result<Option<Calls>> {
    match ask(socket, Method::GET, &format!("/calls?after={after}")).await? {
        Some(answer) => Ok(Some(serde_json::from_slice(answer.body()).context("reading the calls of S3")?)),
        None => Ok(None),
    }
}

/// Counts from 1 again. One that does not run will do so anyway.
///
/// # Errors
/// When it runs and does not answer.
pub async fn forget(socket: &Path) -> anyhow::Result<()> {
    ask(socket, Method::DELETE, "/calls").await.map(drop)
}

async fn ask(socket: &Path, method: Method, path: &str) -> anyhow::Result<Option<Response<Bytes>>> {
    let request = Request::builder().method(method).uri(path).header("host", "localcloud").body(Vec::new())?;
    let answered = tokio::time::timeout(LIMIT, asking::ask(socket, request));
    let answer = match answered.await.context("S3 does not tell of its calls")? {
        Ok(answer) => answer,
        Err(error) if is_absent(&error) => return Ok(None),
        Err(error) => return Err(error.context("asking S3 for its calls")),
    };
    if !answer.status().is_success() {
        bail!("S3 answered {}: {}", answer.status(), String::from_utf8_lossy(answer.body()));
    }
    Ok(Some(answer))
}

fn is_absent(error: &anyhow::Error) -> bool {
    let kind = error.chain().find_map(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind);
    matches!(kind, Some(io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused))
}
