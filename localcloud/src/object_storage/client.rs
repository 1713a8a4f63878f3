//! What the daemon itself puts into buckets: a request to the S3 process's socket, signed like anybody's.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use http::{Request, header};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use super::DOMAIN;
use crate::wire::sigv4::{canonical::encode_path, signer};

pub struct Client {
    socket: PathBuf,
    region: String,
    access_key: String,
    secret_key: String,
}

impl Client {
    #[must_use]
    pub fn new(socket: &Path, region: &str, access_key: &str, secret_key: &str) -> Self {
        Self {
            socket: socket.to_owned(),
            region: region.to_owned(),
            access_key: access_key.to_owned(),
            secret_key: secret_key.to_owned(),
        }
    }

    /// Writes an object, replacing one of the same key.
    ///
    /// # Errors
    /// When S3 does not answer, or refuses.
    pub async fn put(&self, bucket: &str, key: &str, body: Vec<u8>) -> anyhow::Result<()> {
        let path = format!("/{bucket}/{}", encode_path(key.as_bytes()));
        let mut request = Request::put(&path).header(header::HOST, DOMAIN).body(())?;
        let key = signer::Key { access_key: &self.access_key, secret_key: &self.secret_key };
        signer::sign(&mut request, &body, &key, (&self.region, "s3"), jiff::Timestamp::now())?;
        let stream = UnixStream::connect(&self.socket)
            .await
            .with_context(|| format!("reaching S3 at {}", self.socket.display()))?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let response = sender.send_request(request.map(|()| Full::new(Bytes::from(body)))).await?;
        let status = response.status();
        let answer = response.into_body().collect().await?.to_bytes();
        connection.abort();
        if !status.is_success() {
            bail!("S3 answered {status}: {}", String::from_utf8_lossy(&answer));
        }
        Ok(())
    }
}
