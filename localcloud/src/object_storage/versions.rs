//! S3 over `s3s-fs`. A request's key is turned into the name of a version, `s3s-fs` moves the bytes, and an upload
//! becomes the object in one step, in the index, after all its checksums were found right. What this mends of `s3s-fs`
//! 0.14: keys such as `a` and `a/b`, `a//b`, `../x` or of more than 140 bytes; uploads with wrong checksums that
//! replaced the object; sidecar files that stayed; listings without tags and encoding; parts joined unseen; buckets
//! deleted with all that was in them; conditional reads.

/// Reading objects.
mod read;
/// Uploading in parts.
mod upload;
/// Writing, copying and deleting objects.
mod write;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use s3s::{S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result, dto::*};
use s3s_fs::FileSystem;

use super::{
    access::Judge,
    bucket_policies::BucketPolicies,
    index::{self, Index, Object, Sequence, request},
    listing, multipart,
    public_access::{PublicAccessBlock, PublicAccessBlocks, Setting},
};
use crate::{behaviour::Behaviour, faults::Faults};

/// Tells objects from versions. Cheap to clone.
#[derive(Clone)]
pub(super) struct Versions(Arc<Inner>);

struct Inner {
    root: PathBuf,
    files: FileSystem,
    index: Mutex<Index>,
    policies: BucketPolicies,
    public_access: PublicAccessBlocks,
    /// Whether buckets are closed to the public when they are made.
    is_closed_at_birth: bool,
    sequence: Sequence,
    /// What is hidden is not listed.
    faults: Faults,
}

fn error(code: S3ErrorCode, message: &'static str) -> S3Error {
    S3Error::with_message(code, message)
}

pub(super) fn no_such_bucket() -> S3Error {
    error(S3ErrorCode::NoSuchBucket, "The specified bucket does not exist.")
}

pub(super) fn no_such_key() -> S3Error {
    error(S3ErrorCode::NoSuchKey, "The specified key does not exist.")
}

impl Versions {
    /// Opens the directory, and clears what a killed process left half-done.
    pub(super) async fn open(root: &Path, behaviour: Behaviour, faults: Faults) -> S3Result<Self> {
        let files = FileSystem::new(root)
            .map_err(|cause| S3Error::internal_error(std::io::Error::other(format!("{cause:?}"))))?;
        let sequence = Sequence::default();
        let index = index::load(root, &files, &sequence).await?;
        let is_bucket = |bucket: &str| index.buckets.contains_key(bucket);
        let policies = BucketPolicies::open(root, is_bucket);
        let public_access = PublicAccessBlocks::open(root, is_bucket);
        Ok(Self(Arc::new(Inner {
            root: root.to_owned(),
            files,
            index: Mutex::new(index),
            policies,
            public_access,
            is_closed_at_birth: behaviour.blocks_public_access(),
            sequence,
            faults,
        })))
    }

    pub(super) fn has_bucket(&self, bucket: &str) -> bool {
        self.index().buckets.contains_key(bucket)
    }

    pub(super) fn has_object(&self, bucket: &str, key: &str) -> bool {
        self.find(bucket, key).is_ok()
    }

    /// Whether it is to be seen already by one who looks for it.
    pub(super) fn shows(&self, bucket: &str, key: Option<&str>) -> bool {
        self.0.faults.shows_object(bucket, key)
    }

    pub(super) fn policies(&self) -> &BucketPolicies {
        &self.0.policies
    }

    pub(super) fn public_access(&self) -> &PublicAccessBlocks {
        &self.0.public_access
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        // Changes of the index are single steps: a panic between them leaves it whole.
        self.0.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The object of this key.
    fn find(&self, bucket: &str, key: &str) -> S3Result<Object> {
        let index = self.index();
        index.buckets.get(bucket).ok_or_else(no_such_bucket)?.get(key).cloned().ok_or_else(no_such_key)
    }

    fn check_bucket(&self, bucket: &str) -> S3Result<()> {
        if self.index().buckets.contains_key(bucket) { Ok(()) } else { Err(no_such_bucket()) }
    }

    /// A page of keys, encoded if so asked.
    fn list(&self, input: &ListObjectsV2Input, after: Option<&str>) -> S3Result<(ListObjectsV2Output, Option<String>)> {
        let index = self.index();
        let objects = index.buckets.get(&input.bucket).ok_or_else(no_such_bucket)?;
        let max_keys = input.max_keys.unwrap_or(1000).clamp(0, 1000);
        let prefix = input.prefix.as_deref().unwrap_or_default();
        let hidden = self.0.faults.hidden_keys(&input.bucket, prefix);
        let query = listing::Query {
            prefix,
            hidden: Some(&hidden),
            delimiter: input.delimiter.as_deref(),
            after,
            limit: usize::try_from(max_keys).unwrap_or(0),
        };
        let page = listing::page(objects, query);
        let url = input.encoding_type.as_ref().is_some_and(|encoding| encoding.as_str() == EncodingType::URL);
        let written = |text: &str| if url { listing::url_encoded(text) } else { text.to_owned() };
        let contents: Vec<_> = page
            .objects
            .iter()
            .map(|(key, object)| s3s::dto::Object {
                key: Some(written(key)),
                e_tag: Some(object.e_tag.clone()),
                size: i64::try_from(object.size).ok(),
                last_modified: Some(object.modified.clone()),
                storage_class: Some(ObjectStorageClass::from_static(ObjectStorageClass::STANDARD)),
                ..s3s::dto::Object::default()
            })
            .collect();
        let common_prefixes: Vec<_> =
            page.common_prefixes.iter().map(|prefix| CommonPrefix { prefix: Some(written(prefix)) }).collect();
        let output = ListObjectsV2Output {
            key_count: i32::try_from(contents.len() + common_prefixes.len()).ok(),
            max_keys: Some(max_keys),
            is_truncated: Some(page.next.is_some()),
            contents: (!contents.is_empty()).then_some(contents),
            common_prefixes: (!common_prefixes.is_empty()).then_some(common_prefixes),
            delimiter: input.delimiter.as_deref().map(written),
            encoding_type: input.encoding_type.clone(),
            name: Some(input.bucket.clone()),
            prefix: Some(written(input.prefix.as_deref().unwrap_or_default())),
            start_after: input.start_after.as_deref().map(written),
            ..ListObjectsV2Output::default()
        };
        Ok((output, page.next))
    }
}

#[async_trait::async_trait]
impl S3 for Versions {
    async fn create_bucket(&self, req: S3Request<CreateBucketInput>) -> S3Result<S3Response<CreateBucketOutput>> {
        let bucket = req.input.bucket.clone();
        if self.index().buckets.contains_key(&bucket) {
            return Err(error(
                S3ErrorCode::BucketAlreadyOwnedByYou,
                "Your previous request to create the named bucket succeeded and you already own it.",
            ));
        }
        match self.0.files.create_bucket(req).await {
            // A racing request may have been first.
            Err(cause) if *cause.code() != S3ErrorCode::BucketAlreadyExists => return Err(cause),
            _ => {}
        }
        if self.0.is_closed_at_birth {
            self.0.public_access.put(&bucket, PublicAccessBlock::all())?;
        }
        self.index().buckets.entry(bucket.clone()).or_default();
        Ok(S3Response::new(CreateBucketOutput { location: Some(format!("/{bucket}")) }))
    }

    async fn delete_bucket(&self, req: S3Request<DeleteBucketInput>) -> S3Result<S3Response<DeleteBucketOutput>> {
        let bucket = req.input.bucket.clone();
        let uploads = {
            let mut index = self.index();
            match index.buckets.get(&bucket) {
                None => return Err(no_such_bucket()),
                Some(objects) if !objects.is_empty() => {
                    return Err(error(S3ErrorCode::BucketNotEmpty, "The bucket you tried to delete is not empty."));
                }
                Some(_) => index.buckets.remove(&bucket),
            };
            let of_bucket: Vec<String> =
                index.uploads.iter().filter(|(_, upload)| upload.bucket == bucket).map(|(id, _)| id.clone()).collect();
            index.uploads.retain(|_, upload| upload.bucket != bucket);
            of_bucket
        };
        for id in uploads {
            multipart::remove(&self.0.root, &id);
        }
        self.0.policies.remove(&bucket)?;
        self.0.public_access.remove(&bucket)?;
        self.0.files.delete_bucket(req).await?;
        Ok(S3Response::with_status(DeleteBucketOutput {}, http::StatusCode::NO_CONTENT))
    }

    async fn head_bucket(&self, req: S3Request<HeadBucketInput>) -> S3Result<S3Response<HeadBucketOutput>> {
        self.check_bucket(&req.input.bucket)?;
        Ok(S3Response::new(HeadBucketOutput::default()))
    }

    async fn get_bucket_location(
        &self,
        req: S3Request<GetBucketLocationInput>,
    ) -> S3Result<S3Response<GetBucketLocationOutput>> {
        self.check_bucket(&req.input.bucket)?;
        Ok(S3Response::new(GetBucketLocationOutput::default()))
    }

    async fn get_bucket_versioning(
        &self,
        req: S3Request<GetBucketVersioningInput>,
    ) -> S3Result<S3Response<GetBucketVersioningOutput>> {
        self.check_bucket(&req.input.bucket)?;
        Ok(S3Response::new(GetBucketVersioningOutput::default()))
    }

    async fn put_bucket_policy(
        &self,
        req: S3Request<PutBucketPolicyInput>,
    ) -> S3Result<S3Response<PutBucketPolicyOutput>> {
        self.check_bucket(&req.input.bucket)?;
        let may_be_public = !self.0.public_access.has(&req.input.bucket, Setting::BlockPublicPolicy);
        self.0.policies.put(&req.input.bucket, req.input.policy, may_be_public)?;
        Ok(S3Response::with_status(PutBucketPolicyOutput {}, http::StatusCode::NO_CONTENT))
    }

    async fn get_bucket_policy(
        &self,
        req: S3Request<GetBucketPolicyInput>,
    ) -> S3Result<S3Response<GetBucketPolicyOutput>> {
        self.check_bucket(&req.input.bucket)?;
        let policy = self.0.policies.find(&req.input.bucket).map(|policy| policy.text.clone());
        let policy =
            policy.ok_or_else(|| error(S3ErrorCode::NoSuchBucketPolicy, "The bucket policy does not exist"))?;
        Ok(S3Response::new(GetBucketPolicyOutput { policy: Some(policy) }))
    }

    async fn delete_bucket_policy(
        &self,
        req: S3Request<DeleteBucketPolicyInput>,
    ) -> S3Result<S3Response<DeleteBucketPolicyOutput>> {
        self.check_bucket(&req.input.bucket)?;
        self.0.policies.remove(&req.input.bucket)?;
        Ok(S3Response::with_status(DeleteBucketPolicyOutput {}, http::StatusCode::NO_CONTENT))
    }

    async fn put_public_access_block(
        &self,
        req: S3Request<PutPublicAccessBlockInput>,
    ) -> S3Result<S3Response<PutPublicAccessBlockOutput>> {
        self.check_bucket(&req.input.bucket)?;
        self.0.public_access.put(&req.input.bucket, req.input.public_access_block_configuration.into())?;
        Ok(S3Response::new(PutPublicAccessBlockOutput {}))
    }

    async fn get_public_access_block(
        &self,
        req: S3Request<GetPublicAccessBlockInput>,
    ) -> S3Result<S3Response<GetPublicAccessBlockOutput>> {
        self.check_bucket(&req.input.bucket)?;
        let Some(block) = self.0.public_access.find(&req.input.bucket) else {
            let code = S3ErrorCode::Custom("NoSuchPublicAccessBlockConfiguration".into());
            let mut refusal = error(code, "The public access block configuration was not found");
            refusal.set_status_code(http::StatusCode::NOT_FOUND);
            return Err(refusal);
        };
        Ok(S3Response::new(GetPublicAccessBlockOutput { public_access_block_configuration: Some((&block).into()) }))
    }

    async fn delete_public_access_block(
        &self,
        req: S3Request<DeletePublicAccessBlockInput>,
    ) -> S3Result<S3Response<DeletePublicAccessBlockOutput>> {
        self.check_bucket(&req.input.bucket)?;
        self.0.public_access.remove(&req.input.bucket)?;
        Ok(S3Response::with_status(DeletePublicAccessBlockOutput {}, http::StatusCode::NO_CONTENT))
    }

    async fn list_buckets(&self, req: S3Request<ListBucketsInput>) -> S3Result<S3Response<ListBucketsOutput>> {
        let prefix = req.input.prefix.clone().unwrap_or_default();
        let mut response = self.0.files.list_buckets(req).await?;
        if let Some(buckets) = &mut response.output.buckets {
            let hidden = self.0.faults.hidden_buckets(&prefix);
            buckets.retain(|bucket| {
                bucket.name.as_ref().is_some_and(|name| name.starts_with(&prefix) && !hidden.contains(name))
            });
            buckets.sort_by(|left, right| left.name.cmp(&right.name));
        }
        response.output.owner = Some(Owner { id: Some("localcloud".to_owned()), ..Owner::default() });
        Ok(response)
    }

    async fn list_objects(&self, req: S3Request<ListObjectsInput>) -> S3Result<S3Response<ListObjectsOutput>> {
        let marker = req.input.marker.clone();
        let input: ListObjectsV2Input = req.input.into();
        let (page, next) = self.list(&input, marker.as_deref())?;
        let url = page.encoding_type.is_some();
        let written = |text: String| if url { listing::url_encoded(&text) } else { text };
        Ok(S3Response::new(ListObjectsOutput {
            contents: page.contents,
            common_prefixes: page.common_prefixes,
            delimiter: page.delimiter,
            encoding_type: page.encoding_type,
            name: page.name,
            prefix: page.prefix,
            max_keys: page.max_keys,
            is_truncated: page.is_truncated,
            marker: Some(written(marker.unwrap_or_default())),
            next_marker: next.map(written),
            ..ListObjectsOutput::default()
        }))
    }

    async fn list_objects_v2(&self, req: S3Request<ListObjectsV2Input>) -> S3Result<S3Response<ListObjectsV2Output>> {
        use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
        let input = req.input;
        // Opaque to clients: keys may hold what XML cannot.
        let token = match &input.continuation_token {
            None => None,
            Some(token) => {
                Some(URL_SAFE_NO_PAD.decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(
                    || error(S3ErrorCode::InvalidArgument, "The continuation token provided is incorrect."),
                )?)
            }
        };
        let (mut output, next) = self.list(&input, token.as_deref().or(input.start_after.as_deref()))?;
        output.continuation_token = input.continuation_token;
        output.next_continuation_token = next.map(|key| URL_SAFE_NO_PAD.encode(key));
        Ok(S3Response::new(output))
    }

    async fn get_object(&self, req: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        self.get(req).await
    }

    async fn head_object(&self, req: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        self.head(req).await
    }

    async fn put_object(&self, req: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        self.put(req).await
    }

    async fn copy_object(&self, req: S3Request<CopyObjectInput>) -> S3Result<S3Response<CopyObjectOutput>> {
        self.copy(req).await
    }

    async fn delete_object(&self, req: S3Request<DeleteObjectInput>) -> S3Result<S3Response<DeleteObjectOutput>> {
        self.delete(&req.input.bucket, &req.input.key)?;
        Ok(S3Response::with_status(DeleteObjectOutput::default(), http::StatusCode::NO_CONTENT))
    }

    async fn delete_objects(&self, req: S3Request<DeleteObjectsInput>) -> S3Result<S3Response<DeleteObjectsOutput>> {
        let judge = Judge::of(&req.extensions)?;
        let input = req.input;
        self.check_bucket(&input.bucket)?;
        let mut deleted = Vec::with_capacity(input.delete.objects.len());
        let mut errors = Vec::new();
        for object in input.delete.objects {
            // Each key is asked for by itself, and one that is refused keeps no other.
            match judge.may_object("s3:DeleteObject", &input.bucket, &object.key) {
                Ok(()) => {
                    self.delete(&input.bucket, &object.key)?;
                    deleted.push(DeletedObject { key: Some(object.key), ..DeletedObject::default() });
                }
                Err(refusal) => errors.push(Error {
                    code: Some("AccessDenied".to_owned()),
                    key: Some(object.key),
                    message: refusal.message().map(str::to_owned),
                    ..Error::default()
                }),
            }
        }
        let told = !input.delete.quiet.unwrap_or(false);
        Ok(S3Response::new(DeleteObjectsOutput {
            deleted: told.then_some(deleted),
            errors: (!errors.is_empty()).then_some(errors),
            ..DeleteObjectsOutput::default()
        }))
    }

    async fn create_multipart_upload(
        &self,
        req: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        self.create_upload(req).await
    }

    async fn upload_part(&self, req: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
        self.put_part(req).await
    }

    async fn upload_part_copy(
        &self,
        req: S3Request<UploadPartCopyInput>,
    ) -> S3Result<S3Response<UploadPartCopyOutput>> {
        self.copy_part(req).await
    }

    async fn list_parts(&self, req: S3Request<ListPartsInput>) -> S3Result<S3Response<ListPartsOutput>> {
        let input = req.input;
        let upload = self.upload(&input.bucket, &input.key, &input.upload_id)?;
        Ok(S3Response::new(ListPartsOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(input.upload_id),
            is_truncated: Some(false),
            parts: Some(upload.list()),
            ..ListPartsOutput::default()
        }))
    }

    async fn list_multipart_uploads(
        &self,
        req: S3Request<ListMultipartUploadsInput>,
    ) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
        let input = req.input;
        self.check_bucket(&input.bucket)?;
        let prefix = input.prefix.clone().unwrap_or_default();
        let index = self.index();
        let mut uploads: BTreeMap<(&str, &str), MultipartUpload> = BTreeMap::new();
        for (id, upload) in &index.uploads {
            if upload.bucket == input.bucket && upload.key.starts_with(&prefix) {
                uploads.insert(
                    (&upload.key, id),
                    MultipartUpload {
                        key: Some(upload.key.clone()),
                        upload_id: Some(id.clone()),
                        initiated: Some(Timestamp::from(upload.initiated)),
                        ..MultipartUpload::default()
                    },
                );
            }
        }
        Ok(S3Response::new(ListMultipartUploadsOutput {
            bucket: Some(input.bucket),
            prefix: input.prefix,
            is_truncated: Some(false),
            uploads: Some(uploads.into_values().collect()),
            ..ListMultipartUploadsOutput::default()
        }))
    }

    async fn complete_multipart_upload(
        &self,
        req: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let versions = self.clone();
        // In a task of its own: joining goes on when the client does not wait for it.
        tokio::spawn(async move { versions.complete_upload(req.input).await })
            .await
            .unwrap_or_else(|cause| Err(S3Error::internal_error(cause)))
    }

    async fn abort_multipart_upload(
        &self,
        req: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        let input = req.input;
        self.upload(&input.bucket, &input.key, &input.upload_id)?;
        self.index().uploads.remove(&input.upload_id);
        multipart::remove(&self.0.root, &input.upload_id);
        Ok(S3Response::with_status(AbortMultipartUploadOutput::default(), http::StatusCode::NO_CONTENT))
    }
}
