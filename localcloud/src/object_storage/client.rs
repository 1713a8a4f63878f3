//! What the daemon itself puts into buckets: a request to the S3 process's socket, signed like anybody's.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use http::{Request, header};

use super::DOMAIN;
use crate::wire::{
    asking,
    sigv4::{canonical::encode_path, signer},
};

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
        let answer = asking::ask(&self.socket, request.map(|()| body)).await.context("asking S3")?;
        if !answer.status().is_success() {
            bail!("S3 answered {}: {}", answer.status(), String::from_utf8_lossy(answer.body()));
        }
        Ok(())
    }
}
