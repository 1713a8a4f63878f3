//! Policies of buckets, each in a file beside them, and read once.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use s3s::{S3Error, S3ErrorCode, S3Result};

use super::index::names;
use crate::{
    host::file,
    policy::{Document, Kind, pattern},
};

/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/BucketRestrictions.html>
const LONGEST_BYTES: usize = 20 * 1024;
const PREFIX: &str = ".policy-";

pub(super) struct BucketPolicy {
    pub(super) text: String,
    pub(super) document: Document,
}

pub(super) struct BucketPolicies {
    root: PathBuf,
    known: Mutex<BTreeMap<String, Arc<BucketPolicy>>>,
}

impl BucketPolicies {
    /// Reads all there are. That of a bucket which is no more is removed.
    pub(super) fn open(root: &Path, is_bucket: impl Fn(&str) -> bool) -> Self {
        let mut known = BTreeMap::new();
        for (bucket, path) in kept_beside(root, PREFIX, is_bucket) {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            match Document::parse(&text, Kind::Bucket) {
                Ok(document) => {
                    known.insert(bucket, Arc::new(BucketPolicy { text, document }));
                }
                Err(error) => tracing::error!("reading the bucket policy {}: {error}", path.display()),
            }
        }
        Self { root: root.to_owned(), known: Mutex::new(known) }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<BucketPolicy>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, bucket: &str) -> PathBuf {
        self.root.join(format!("{PREFIX}{bucket}"))
    }

    pub(super) fn find(&self, bucket: &str) -> Option<Arc<BucketPolicy>> {
        self.lock().get(bucket).cloned()
    }

    /// `may_be_public` is what stands in the way of a policy that lets everybody in.
    pub(super) fn put(&self, bucket: &str, text: String, may_be_public: bool) -> S3Result<()> {
        let malformed = |message: String| S3Error::with_message(S3ErrorCode::MalformedPolicy, message);
        if text.len() > LONGEST_BYTES {
            return Err(malformed("Policies must be at most 20 KB".to_owned()));
        }
        let document = Document::parse(&text, Kind::Bucket).map_err(|error| malformed(error.to_string()))?;
        let arn = format!("arn:aws:s3:::{bucket}");
        let is_ours = |resource: &str| {
            resource == "*" || pattern::matches(resource.split('/').next().unwrap_or_default(), &arn, None)
        };
        if !document.resources().all(is_ours) {
            return Err(malformed("Policy has invalid resource".to_owned()));
        }
        if document.is_public() && !may_be_public {
            return Err(S3Error::with_message(S3ErrorCode::AccessDenied, "Access Denied"));
        }
        let mut known = self.lock();
        file::replace(&self.path(bucket), &text).map_err(S3Error::internal_error)?;
        known.insert(bucket.to_owned(), Arc::new(BucketPolicy { text, document }));
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

/// What is kept in files `PREFIXBUCKET` beside the buckets; what is of a bucket that is no more is removed.
pub(super) fn kept_beside(root: &Path, prefix: &str, is_bucket: impl Fn(&str) -> bool) -> Vec<(String, PathBuf)> {
    let mut kept = Vec::new();
    for name in names(root, false) {
        let Some(bucket) = name.strip_prefix(prefix) else { continue };
        let path = root.join(&name);
        if is_bucket(bucket) {
            kept.push((bucket.to_owned(), path));
        } else {
            let _ = std::fs::remove_file(&path);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_about_its_bucket_and_there_again_after_a_restart() {
        let directory = tempfile::tempdir().expect("a directory");
        let policies = BucketPolicies::open(directory.path(), |_| true);
        let about = |resource: &str| {
            format!(
                r#"{{"Statement":{{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"{resource}"}}}}"#
            )
        };
        for resource in ["arn:aws:s3:::other/*", "arn:aws:s3:::b", "arn:aws:s3:::bucket2/x", "arn:aws:s3:::other*"] {
            let refusal = policies.put("bucket", about(resource), true).expect_err(resource);
            assert_eq!(*refusal.code(), S3ErrorCode::MalformedPolicy);
        }
        let public = policies.put("bucket", about("arn:aws:s3:::bucket/*"), false).expect_err("it is public");
        assert_eq!(*public.code(), S3ErrorCode::AccessDenied);
        policies.put("bucket", about("arn:aws:s3:::bucket/*"), true).expect("its own");
        let text = about("arn:aws:s3:::bucket/*");
        let again = BucketPolicies::open(directory.path(), |_| true);
        assert_eq!(again.find("bucket").expect("is there").text, text);
        let gone = BucketPolicies::open(directory.path(), |_| false);
        assert!(gone.find("bucket").is_none());
        assert!(BucketPolicies::open(directory.path(), |_| true).find("bucket").is_none(), "with its bucket");
    }
}
