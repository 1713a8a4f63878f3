//! The app's binary in the bucket, under its SHA-256, from where every web VM fetches it. Former ones stay
//! as long as a version of the web VMs names them.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use sha2::{Digest, Sha256};

use crate::cloud::Cloud;
use crate::cloud::retry::{CloudError, found, gone};
use crate::error::Failure;
use crate::files::Unreadable;
use crate::resource::{
    Changes, ClientToken, CloudResult, Desired, Observed, Outputs, Patience, Resource, ResourceKey, Retention,
};
use crate::resources::keys;
use crate::state::hex;

const PREFIX: &str = "bundle/";

/// A binary on this machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LocalBinary {
    /// Where it is.
    pub path: PathBuf,
    /// Its SHA-256.
    pub sha256: String,
}

impl LocalBinary {
    /// Opens a binary, which takes no time and tells whether it can be one.
    pub fn open(path: &Path) -> Result<std::fs::File, Failure> {
        let fail = |error| wrong(path, Unreadable::of(path, &error));
        let file = std::fs::File::open(path).map_err(fail)?;
        let metadata = file.metadata().map_err(fail)?;
        match (metadata.is_file(), metadata.is_dir()) {
            (_, true) => Err(wrong(path, "it is a directory")),
            (false, _) => Err(wrong(path, "it is no file")),
            (true, _) if metadata.len() == 0 => Err(wrong(path, "it is empty")),
            _ => Ok(file),
        }
    }

    /// Reads and hashes a binary.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let fail = |error| wrong(path, Unreadable::of(path, &error));
        let mut file = Self::open(path)?;
        let mut hash = Sha256::new();
        let mut buffer = vec![0; 1 << 20];
        loop {
            match file.read(&mut buffer).map_err(fail)? {
                0 => break,
                n => hash.update(&buffer[..n]),
            }
        }
        Ok(Self { path: path.to_owned(), sha256: hex(&hash.finalize()) })
    }

    /// Its key in the bucket.
    pub fn object_key(&self) -> String {
        format!("{PREFIX}{}/imagecrud", self.sha256)
    }
}

fn wrong(path: &Path, why: impl std::fmt::Display) -> Failure {
    Failure::usage(format!("reading the app's binary {}: {why}", path.display()))
        .hint("`make build` builds it; another place is named by web.bundle or --bundle")
}

/// The binary in the bucket. Without a local one (a command that only looks) any will do.
pub struct Bundle(pub Option<LocalBinary>);

#[async_trait]
impl Resource for Bundle {
    fn key(&self) -> ResourceKey {
        keys::bundle()
    }

    fn needs(&self) -> Vec<ResourceKey> {
        vec![keys::bucket()]
    }

    fn desired(&self, _known: &Outputs) -> Desired {
        match &self.0 {
            Some(binary) => Desired::default().with("sha256", &binary.sha256),
            None => Desired::default(),
        }
    }

    fn retention(&self) -> Retention {
        Retention::Data
    }

    fn goes_with(&self) -> Option<ResourceKey> {
        Some(keys::bucket())
    }

    fn patience(&self) -> Patience {
        Patience::secs(600, "the upload", "is the bucket's cloud reachable? run `imagecrud-deploy up` again")
    }

    async fn find(&self, cloud: &Cloud) -> CloudResult<Option<Observed>> {
        let bucket = cloud.bucket();
        if let Some(binary) = &self.0 {
            let key = binary.object_key();
            let head = cloud.s3.head_object().bucket(bucket).key(&key).send().await.map_err(CloudError::from);
            return Ok(found(head)?.map(|head| observed(&key, head.content_length().unwrap_or_default())));
        }
        let listing = cloud.s3.list_objects_v2().bucket(bucket).prefix(PREFIX).send().await.map_err(CloudError::from);
        let Some(listing) = found(listing)? else { return Ok(None) };
        let newest = listing.contents().iter().max_by_key(|object| object.last_modified().map(|t| t.as_nanos()));
        Ok(newest.and_then(|object| Some(observed(object.key()?, object.size().unwrap_or_default()))))
    }

    async fn create(&self, cloud: &Cloud, _known: &Outputs, _token: &ClientToken) -> CloudResult<()> {
        let Some(binary) = &self.0 else {
            return Err(CloudError::other("no local binary was named"));
        };
        let body = aws_sdk_s3::primitives::ByteStream::from_path(&binary.path)
            .await
            .map_err(|error| CloudError::other(format!("reading {}: {error}", binary.path.display())))?;
        cloud.s3.put_object().bucket(cloud.bucket()).key(binary.object_key()).body(body).send().await?;
        Ok(())
    }

    async fn update(&self, _: &Cloud, _: &Outputs, _: &Observed, _: &Changes) -> CloudResult<()> {
        Ok(())
    }

    async fn delete(&self, cloud: &Cloud, observed: &Observed) -> CloudResult<()> {
        gone(cloud.s3.delete_object().bucket(cloud.bucket()).key(&observed.id).send().await.map_err(CloudError::from))
    }
}

/// Removes every binary but those with one of these hashes.
pub(crate) async fn delete_all_but(cloud: &Cloud, kept: &BTreeSet<&str>) -> CloudResult<()> {
    let bucket = cloud.bucket();
    let mut next: Option<String> = None;
    loop {
        let list = cloud.s3.list_objects_v2().bucket(&bucket).prefix(PREFIX).set_continuation_token(next);
        let listing = list.send().await?;
        for key in listing.contents().iter().filter_map(|object| object.key()) {
            if !kept.contains(sha256_of(key)) {
                gone(cloud.s3.delete_object().bucket(&bucket).key(key).send().await.map_err(CloudError::from))?;
            }
        }
        next = listing.next_continuation_token().map(str::to_owned);
        if next.is_none() {
            return Ok(());
        }
    }
}

fn sha256_of(key: &str) -> &str {
    key.strip_prefix(PREFIX).and_then(|rest| rest.split('/').next()).unwrap_or_default()
}

fn observed(key: &str, bytes: i64) -> Observed {
    Observed::ready(key).with("sha256", sha256_of(key)).detail(format!("{:.1} MB", bytes as f64 / 1e6))
}
