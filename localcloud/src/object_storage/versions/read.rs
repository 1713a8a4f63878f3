//! Reading objects, and the conditions under which they are read.

use s3s::{
    S3 as _, S3Error, S3ErrorCode, S3Request, S3Response, S3Result,
    dto::{ETagCondition, GetObjectInput, GetObjectOutput, HeadObjectInput, HeadObjectOutput, Timestamp},
};

use super::{Object, Versions, error};
use crate::object_storage::{access::Judge, index::unstamped};

/// What an object without a type is said to be.
const DEFAULT_TYPE: &str = "binary/octet-stream";

/// Reads an object, by GET or by HEAD: their inputs and outputs have the same fields, and no trait in common.
macro_rules! read {
    ($versions:ident, $req:ident, $operation:ident) => {{
        let (bucket, key) = ($req.input.bucket.clone(), $req.input.key.clone());
        let object = $versions.find(&bucket, &key).map_err(|cause| hidden(cause, &$req.extensions, &bucket))?;
        check(
            &object,
            $req.input.if_match.take().as_ref(),
            $req.input.if_unmodified_since.take().as_ref(),
            $req.input.if_none_match.take().as_ref(),
            $req.input.if_modified_since.take().as_ref(),
        )?;
        $req.input.key = object.version;
        let mut response = match $versions.0.files.$operation($req.clone()).await {
            // Replaced since it was found: the new one is read instead.
            Err(cause) if *cause.code() == S3ErrorCode::NoSuchKey => {
                $req.input.key = $versions.find(&bucket, &key)?.version;
                $versions.0.files.$operation($req).await?
            }
            other => other?,
        };
        let output = &mut response.output;
        output.metadata = unstamped(output.metadata.take());
        output.content_type.get_or_insert_with(|| DEFAULT_TYPE.to_owned());
        output.accept_ranges = Some("bytes".to_owned());
        Ok(response)
    }};
}

impl Versions {
    pub(super) async fn get(&self, mut req: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        read!(self, req, get_object)
    }

    pub(super) async fn head(&self, mut req: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        read!(self, req, head_object)
    }
}

/// Who may not list a bucket does not learn which keys there are
/// (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html>).
fn hidden(cause: S3Error, extensions: &http::Extensions, bucket: &str) -> S3Error {
    if *cause.code() != S3ErrorCode::NoSuchKey {
        return cause;
    }
    match Judge::of(extensions).and_then(|judge| judge.may_bucket("s3:ListBucket", bucket)) {
        Ok(()) => cause,
        Err(refusal) => refusal,
    }
}

/// The conditions in their order of precedence (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html>).
fn check(
    object: &Object,
    if_match: Option<&ETagCondition>,
    if_unmodified_since: Option<&Timestamp>,
    if_none_match: Option<&ETagCondition>,
    if_modified_since: Option<&Timestamp>,
) -> S3Result<()> {
    let failed =
        || error(S3ErrorCode::PreconditionFailed, "At least one of the pre-conditions you specified did not hold.");
    match (if_match, if_unmodified_since) {
        (Some(condition), _) if !matches(object, condition) => return Err(failed()),
        (None, Some(time)) if whole_seconds(&object.modified) > whole_seconds(time) => return Err(failed()),
        _ => {}
    }
    match (if_none_match, if_modified_since) {
        (Some(condition), _) if matches(object, condition) => Err(not_modified(object)),
        (None, Some(time)) if whole_seconds(&object.modified) <= whole_seconds(time) => Err(not_modified(object)),
        _ => Ok(()),
    }
}

pub(super) fn matches(object: &Object, condition: &ETagCondition) -> bool {
    match condition {
        ETagCondition::Any => true,
        ETagCondition::ETag(e_tag) => object.e_tag.weak_cmp(e_tag),
    }
}

fn not_modified(object: &Object) -> S3Error {
    let mut refusal = S3Error::new(S3ErrorCode::NotModified);
    if let Ok(e_tag) = object.e_tag.to_http_header() {
        let mut headers = http::HeaderMap::new();
        headers.insert(http::header::ETAG, e_tag);
        refusal.set_headers(headers);
    }
    refusal
}

/// HTTP dates have no fractions, files do.
fn whole_seconds(time: &Timestamp) -> Timestamp {
    let mut text = Vec::new();
    let format = s3s::dto::TimestampFormat::HttpDate;
    match time.format(format, &mut text) {
        Ok(()) => Timestamp::parse(format, &String::from_utf8_lossy(&text)).unwrap_or_else(|_| time.clone()),
        Err(_) => time.clone(),
    }
}
