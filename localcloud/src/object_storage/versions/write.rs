//! Writing, copying and deleting objects. What is written becomes the object at the end, in one step.

use s3s::{
    S3 as _, S3Error, S3ErrorCode, S3Request, S3Response, S3Result,
    dto::{
        CopyObjectInput, CopyObjectOutput, CopySource, ETagCondition, HeadObjectInput, MetadataDirective,
        PutObjectInput, PutObjectOutput,
    },
};

use super::{Object, Versions, error, index, no_such_bucket, read::matches, request};

/// A version that is not yet an object. Dropped before it is one, it is removed.
pub(super) struct Pending<'a> {
    versions: &'a Versions,
    bucket: String,
    key: String,
    pub(super) version: String,
    kept: bool,
}

/// What must hold of the object that is replaced.
#[derive(Default)]
pub(super) struct Conditions {
    pub(super) if_match: Option<ETagCondition>,
    pub(super) if_none_match: Option<ETagCondition>,
}

impl Conditions {
    fn check(&self, current: Option<&Object>) -> S3Result<()> {
        let holds = match (&self.if_match, current) {
            (Some(condition), Some(object)) => matches(object, condition),
            (Some(_), None) => return Err(super::no_such_key()),
            (None, _) => true,
        } && match (&self.if_none_match, current) {
            (Some(condition), Some(object)) => !matches(object, condition),
            _ => true,
        };
        if holds {
            return Ok(());
        }
        Err(error(S3ErrorCode::PreconditionFailed, "At least one of the pre-conditions you specified did not hold."))
    }
}

impl<'a> Pending<'a> {
    pub(super) fn new(versions: &'a Versions, bucket: &str, key: &str, version: String) -> Self {
        Self { versions, bucket: bucket.to_owned(), key: key.to_owned(), version, kept: false }
    }

    /// Makes it the object of its key, in place of the one before.
    pub(super) async fn commit(mut self, conditions: &Conditions) -> S3Result<Object> {
        let inspected = index::inspect(&self.versions.0.files, &self.bucket, &self.version).await?;
        let Some((_, object)) = inspected else {
            return Err(S3Error::internal_error(std::io::Error::other("what was written is not whole")));
        };
        let replaced = {
            let mut index = self.versions.index();
            let objects = index.buckets.get_mut(&self.bucket).ok_or_else(no_such_bucket)?;
            conditions.check(objects.get(&self.key))?;
            // A version that was begun later and is done already is the newer one.
            match objects.get(&self.key) {
                Some(newer) if newer.version > object.version => return Ok(object),
                _ => objects.insert(self.key.clone(), object.clone()),
            }
        };
        self.kept = true;
        if let Some(replaced) = replaced {
            index::remove_version(&self.versions.0.root, &self.bucket, &replaced.version);
        }
        Ok(object)
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        index::remove_version(&self.versions.0.root, &self.bucket, &self.version);
        // The bucket may have been deleted meanwhile, and its directory made anew by the writing.
        if self.versions.check_bucket(&self.bucket).is_err() {
            let _ = std::fs::remove_dir(self.versions.0.root.join(&self.bucket));
        }
    }
}

impl Versions {
    pub(super) async fn put(&self, mut req: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let input = &mut req.input;
        self.check_bucket(&input.bucket)?;
        let conditions = Conditions { if_match: input.if_match.take(), if_none_match: input.if_none_match.take() };
        let current = self.find(&input.bucket, &input.key).ok();
        conditions.check(current.as_ref())?;
        let pending = Pending::new(self, &input.bucket, &input.key, self.0.sequence.next());
        input.metadata = index::stamped(input.metadata.take(), &input.key);
        input.key.clone_from(&pending.version);
        // S3 keeps no encoding that belongs to the way of the upload.
        input.content_encoding = input.content_encoding.take().and_then(|encoding| without_aws_chunked(&encoding));
        let response = self.0.files.put_object(req).await?;
        pending.commit(&conditions).await?;
        Ok(response)
    }

    pub(super) async fn copy(&self, mut req: S3Request<CopyObjectInput>) -> S3Result<S3Response<CopyObjectOutput>> {
        let input = &mut req.input;
        let CopySource::Bucket { bucket: from_bucket, key: from_key, version_id } = &input.copy_source else {
            return Err(error(S3ErrorCode::NotImplemented, "Only buckets are copied from."));
        };
        let source = self.find(from_bucket, from_key)?;
        self.check_bucket(&input.bucket)?;
        let replace =
            input.metadata_directive.as_ref().is_some_and(|directive| directive.as_str() == MetadataDirective::REPLACE);
        if !replace {
            let head = HeadObjectInput {
                bucket: from_bucket.to_string(),
                key: source.version.clone(),
                ..HeadObjectInput::default()
            };
            let head = self.0.files.head_object(request(head)).await?.output;
            input.metadata = head.metadata;
            input.content_type = head.content_type;
            input.content_encoding = head.content_encoding;
            input.content_disposition = head.content_disposition;
            input.content_language = head.content_language;
            input.cache_control = head.cache_control;
            input.expires = head.expires;
            input.website_redirect_location = head.website_redirect_location;
        }
        let pending = Pending::new(self, &input.bucket, &input.key, self.0.sequence.next());
        input.metadata = index::stamped(input.metadata.take(), &input.key);
        input.metadata_directive = Some(MetadataDirective::from_static(MetadataDirective::REPLACE));
        input.copy_source = CopySource::Bucket {
            bucket: from_bucket.clone(),
            key: source.version.into(),
            version_id: version_id.clone(),
        };
        input.key.clone_from(&pending.version);
        let response = self.0.files.copy_object(req).await?;
        pending.commit(&Conditions::default()).await?;
        Ok(response)
    }

    /// Already gone is success.
    pub(super) fn delete(&self, bucket: &str, key: &str) -> S3Result<()> {
        let removed = self.index().buckets.get_mut(bucket).ok_or_else(no_such_bucket)?.remove(key);
        if let Some(object) = removed {
            index::remove_version(&self.0.root, bucket, &object.version);
        }
        Ok(())
    }
}

/// `aws-chunked` describes the request's body, not the object.
pub(super) fn without_aws_chunked(encoding: &str) -> Option<String> {
    let rest: Vec<&str> = encoding
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty() && !name.eq_ignore_ascii_case("aws-chunked"))
        .collect();
    (!rest.is_empty()).then(|| rest.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_uploads_own_encoding_is_not_the_objects() {
        assert_eq!(without_aws_chunked("aws-chunked"), None);
        assert_eq!(without_aws_chunked("aws-chunked, gzip").as_deref(), Some("gzip"));
        assert_eq!(without_aws_chunked("br").as_deref(), Some("br"));
    }
}
