//! Blocks of public access, each in a file beside its bucket and read once, and which policies are public.
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-control-block-public-access.html>

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use s3s::{S3Error, S3Result, dto::PublicAccessBlockConfiguration};
use serde::{Deserialize, Serialize};

use super::bucket_policies::kept_beside;
use crate::host::file;

const PREFIX: &str = ".public-access-";

/// What is switched on. Nothing here takes a public ACL, so that what is said of them is kept and changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Setting {
    BlockPublicAcls,
    BlockPublicPolicy,
    IgnorePublicAcls,
    RestrictPublicBuckets,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PublicAccessBlock(BTreeSet<Setting>);

impl PublicAccessBlock {
    /// As new buckets of AWS have it since April 2023
    /// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/create-bucket-faq.html>).
    pub(super) fn all() -> Self {
        Self(BTreeSet::from([
            Setting::BlockPublicAcls,
            Setting::BlockPublicPolicy,
            Setting::IgnorePublicAcls,
            Setting::RestrictPublicBuckets,
        ]))
    }

    pub(super) fn has(&self, setting: Setting) -> bool {
        self.0.contains(&setting)
    }
}

impl From<PublicAccessBlockConfiguration> for PublicAccessBlock {
    fn from(asked: PublicAccessBlockConfiguration) -> Self {
        let settings = [
            (asked.block_public_acls, Setting::BlockPublicAcls),
            (asked.block_public_policy, Setting::BlockPublicPolicy),
            (asked.ignore_public_acls, Setting::IgnorePublicAcls),
            (asked.restrict_public_buckets, Setting::RestrictPublicBuckets),
        ];
        Self(settings.into_iter().filter(|(on, _)| *on == Some(true)).map(|(_, setting)| setting).collect())
    }
}

impl From<&PublicAccessBlock> for PublicAccessBlockConfiguration {
    fn from(block: &PublicAccessBlock) -> Self {
        Self {
            block_public_acls: Some(block.has(Setting::BlockPublicAcls)),
            block_public_policy: Some(block.has(Setting::BlockPublicPolicy)),
            ignore_public_acls: Some(block.has(Setting::IgnorePublicAcls)),
            restrict_public_buckets: Some(block.has(Setting::RestrictPublicBuckets)),
        }
    }
}

pub(super) struct PublicAccessBlocks {
    root: PathBuf,
    known: Mutex<BTreeMap<String, PublicAccessBlock>>,
}

impl PublicAccessBlocks {
    /// Reads all there are. That of a bucket which is no more is removed.
    pub(super) fn open(root: &Path, is_bucket: impl Fn(&str) -> bool) -> Self {
        let mut known = BTreeMap::new();
        for (bucket, path) in kept_beside(root, PREFIX, is_bucket) {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            let block = serde_json::from_str(&text).unwrap_or_else(|error| {
                tracing::error!("reading the block of public access {}: {error}", path.display());
                // What cannot be read must not open anything.
                PublicAccessBlock::all()
            });
            known.insert(bucket, block);
        }
        Self { root: root.to_owned(), known: Mutex::new(known) }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, PublicAccessBlock>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, bucket: &str) -> PathBuf {
        self.root.join(format!("{PREFIX}{bucket}"))
    }

    pub(super) fn find(&self, bucket: &str) -> Option<PublicAccessBlock> {
        self.lock().get(bucket).cloned()
    }

    pub(super) fn has(&self, bucket: &str, setting: Setting) -> bool {
        self.lock().get(bucket).is_some_and(|block| block.has(setting))
    }

    pub(super) fn put(&self, bucket: &str, block: PublicAccessBlock) -> S3Result<()> {
        let text = serde_json::to_string(&block).map_err(S3Error::internal_error)?;
        let mut known = self.lock();
        file::replace(&self.path(bucket), &text).map_err(S3Error::internal_error)?;
        known.insert(bucket.to_owned(), block);
        Ok(())
    }

    pub(super) fn remove(&self, bucket: &str) -> S3Result<()> {
        let mut known = self.lock();
        match std::fs::remove_file(self.path(bucket)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(S3Error::internal_error(error)),
            _ => {
                known.remove(bucket);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_there_again_after_a_restart_and_goes_with_its_bucket() {
        let directory = tempfile::tempdir().expect("a directory");
        let open = |is_there: bool| PublicAccessBlocks::open(directory.path(), |_| is_there);
        let asked = PublicAccessBlockConfiguration { block_public_policy: Some(true), ..Default::default() };
        open(true).put("bucket", asked.into()).expect("written");
        let again = open(true);
        assert!(again.has("bucket", Setting::BlockPublicPolicy));
        assert!(!again.has("bucket", Setting::RestrictPublicBuckets) && !again.has("b", Setting::BlockPublicPolicy));
        std::fs::write(directory.path().join(".public-access-broken"), "{").expect("written");
        assert_eq!(open(true).find("broken"), Some(PublicAccessBlock::all()), "what cannot be read opens nothing");
        assert_eq!(open(false).find("bucket"), None);
        assert_eq!(open(true).find("bucket"), None, "with its bucket");
    }
}
