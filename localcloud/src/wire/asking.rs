//! One request to a server of ours, at its Unix socket.

use std::path::Path;

use anyhow::Context as _;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

/// # Errors
/// When nobody answers; one who is not there is told by the `io::Error` within.
pub async fn ask(socket: &Path, request: Request<Vec<u8>>) -> anyhow::Result<Response<Bytes>> {
    let stream = UnixStream::connect(socket).await.with_context(|| format!("reaching {}", socket.display()))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let driving = tokio::spawn(connection);
    let answered = async {
        let (head, body) = sender.send_request(request.map(|body| Full::new(Bytes::from(body)))).await?.into_parts();
        anyhow::Ok(Response::from_parts(head, body.collect().await?.to_bytes()))
    };
    let answered = answered.await;
    driving.abort();
    answered
}
