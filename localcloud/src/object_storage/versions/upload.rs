//! Uploading in parts.

use std::{collections::BTreeMap, time::SystemTime};

use s3s::{
    S3 as _, S3Error, S3ErrorCode, S3Request, S3Response, S3Result,
    auth::{Credentials, SecretKey},
    dto::{
        Checksum, CompleteMultipartUploadInput, CompleteMultipartUploadOutput, CompletedMultipartUpload, CompletedPart,
        CopySource, CreateMultipartUploadInput, CreateMultipartUploadOutput, UploadPartCopyInput, UploadPartCopyOutput,
        UploadPartInput, UploadPartOutput,
    },
};

use super::{
    Versions, error, index, multipart, request,
    write::{Conditions, Pending, without_aws_chunked},
};
use crate::object_storage::{
    checksum::Verification,
    multipart::{Upload, UploadedPart},
};

/// `s3s-fs` ties an upload to the access key that began it. A role's keys change while it goes on, so that all
/// uploads are begun by the same.
#[expect(clippy::unnecessary_wraps, reason = "it is a request's credentials")]
fn one_owner() -> Option<Credentials> {
    Some(Credentials { access_key: "localcloud".to_owned(), secret_key: SecretKey::from("") })
}

fn no_such_upload() -> S3Error {
    error(
        S3ErrorCode::NoSuchUpload,
        "The specified upload does not exist: the id may be wrong, or the upload was completed or aborted.",
    )
}

impl Versions {
    /// The upload of this id, if it is of that object.
    pub(super) fn upload(&self, bucket: &str, key: &str, id: &str) -> S3Result<Upload> {
        self.check_bucket(bucket)?;
        self.index()
            .uploads
            .get(id)
            .filter(|upload| upload.bucket == bucket && upload.key == key)
            .cloned()
            .ok_or_else(no_such_upload)
    }

    pub(super) async fn create_upload(
        &self,
        mut req: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let input = &mut req.input;
        self.check_bucket(&input.bucket)?;
        let (bucket, key) = (input.bucket.clone(), input.key.clone());
        let version = self.0.sequence.next();
        input.metadata = index::stamped(input.metadata.take(), &key);
        input.key.clone_from(&version);
        input.content_encoding = input.content_encoding.take().and_then(|encoding| without_aws_chunked(&encoding));
        let checksum_algorithm = input.checksum_algorithm.clone();
        req.credentials = one_owner();
        let mut response = self.0.files.create_multipart_upload(req).await?;
        let id = response.output.upload_id.clone().unwrap_or_default();
        let upload = Upload { bucket, key: key.clone(), version, initiated: SystemTime::now(), parts: BTreeMap::new() };
        self.index().uploads.insert(id, upload);
        response.output.key = Some(key);
        response.output.checksum_algorithm = checksum_algorithm;
        Ok(response)
    }

    pub(super) async fn put_part(&self, mut req: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
        let input = &mut req.input;
        let upload = self.upload(&input.bucket, &input.key, &input.upload_id)?;
        let (id, number) = (input.upload_id.clone(), input.part_number);
        let declared = Checksum {
            checksum_crc32: input.checksum_crc32.clone(),
            checksum_crc32c: input.checksum_crc32c.clone(),
            checksum_sha1: input.checksum_sha1.clone(),
            checksum_sha256: input.checksum_sha256.clone(),
            checksum_crc64nvme: input.checksum_crc64nvme.clone(),
            ..Checksum::default()
        };
        let trailer = req.headers.get("x-amz-trailer").and_then(|names| names.to_str().ok()).unwrap_or_default();
        let verification = Verification::default();
        let body = input.body.take().ok_or_else(|| error(S3ErrorCode::IncompleteBody, "The part has no body."))?;
        input.body = Some(verification.of(body, declared, trailer, req.trailing_headers.clone()));
        input.key.clone_from(&upload.version);
        req.credentials = one_owner();
        let mut response =
            self.0.files.upload_part(req).await.map_err(|cause| verification.refusal().unwrap_or(cause))?;
        let e_tag = response.output.e_tag.clone().ok_or_else(|| S3Error::new(S3ErrorCode::InternalError))?;
        let (size, checksum) = verification.outcome();
        self.note_part(&id, number, UploadedPart { e_tag, size, modified: SystemTime::now() })?;
        let output = &mut response.output;
        output.checksum_crc32 = checksum.checksum_crc32;
        output.checksum_crc32c = checksum.checksum_crc32c;
        output.checksum_sha1 = checksum.checksum_sha1;
        output.checksum_sha256 = checksum.checksum_sha256;
        output.checksum_crc64nvme = checksum.checksum_crc64nvme;
        Ok(response)
    }

    pub(super) async fn copy_part(
        &self,
        mut req: S3Request<UploadPartCopyInput>,
    ) -> S3Result<S3Response<UploadPartCopyOutput>> {
        let input = &mut req.input;
        let upload = self.upload(&input.bucket, &input.key, &input.upload_id)?;
        let CopySource::Bucket { bucket, key, version_id } = &input.copy_source else {
            return Err(error(S3ErrorCode::NotImplemented, "Only buckets are copied from."));
        };
        let source = self.find(bucket, key)?;
        let (id, number) = (input.upload_id.clone(), input.part_number);
        input.copy_source =
            CopySource::Bucket { bucket: bucket.clone(), key: source.version.into(), version_id: version_id.clone() };
        input.key.clone_from(&upload.version);
        req.credentials = one_owner();
        let mut response = self.0.files.upload_part_copy(req).await?;
        let part =
            std::fs::metadata(multipart::part_path(&self.0.root, &id, number)).map_err(S3Error::internal_error)?;
        if let Some(result) = &mut response.output.copy_part_result {
            let e_tag = result.e_tag.clone().ok_or_else(|| S3Error::new(S3ErrorCode::InternalError))?;
            let modified = part.modified().unwrap_or_else(|_| SystemTime::now());
            result.last_modified = Some(modified.into());
            self.note_part(&id, number, UploadedPart { e_tag, size: part.len(), modified })?;
        }
        Ok(response)
    }

    fn note_part(&self, id: &str, number: i32, part: UploadedPart) -> S3Result<()> {
        if let Some(upload) = self.index().uploads.get_mut(id) {
            upload.parts.insert(number, part);
            return Ok(());
        }
        // Aborted meanwhile: what has just been written belongs to nobody.
        multipart::remove(&self.0.root, id);
        Err(no_such_upload())
    }

    pub(super) async fn complete_upload(
        &self,
        input: CompleteMultipartUploadInput,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let (bucket, key, id) = (input.bucket.clone(), input.key.clone(), input.upload_id.clone());
        let wanted = input.multipart_upload.and_then(|upload| upload.parts).unwrap_or_default();
        let conditions = Conditions { if_match: input.if_match, if_none_match: input.if_none_match };
        let upload = self.upload(&bucket, &key, &id)?;
        let numbers = upload.check(&wanted)?;
        // From here on no other request sees the upload: two completions cannot both join it.
        self.index().uploads.remove(&id).ok_or_else(no_such_upload)?;
        let pending = Pending::new(self, &bucket, &key, upload.version);
        let joined = self.join(&bucket, &pending.version, &id, &numbers).await;
        multipart::remove(&self.0.root, &id);
        joined?;
        let object = pending.commit(&conditions).await?;
        Ok(S3Response::new(CompleteMultipartUploadOutput {
            location: Some(format!("/{bucket}/{key}")),
            bucket: Some(bucket),
            key: Some(key),
            e_tag: Some(object.e_tag),
            ..CompleteMultipartUploadOutput::default()
        }))
    }

    async fn join(&self, bucket: &str, version: &str, id: &str, numbers: &[i32]) -> S3Result<()> {
        multipart::renumber(&self.0.root, id, numbers).map_err(S3Error::internal_error)?;
        let parts = (1..)
            .zip(numbers)
            .map(|(number, _)| CompletedPart { part_number: Some(number), ..CompletedPart::default() })
            .collect();
        let input = CompleteMultipartUploadInput {
            bucket: bucket.to_owned(),
            key: version.to_owned(),
            upload_id: id.to_owned(),
            multipart_upload: Some(CompletedMultipartUpload { parts: Some(parts) }),
            ..CompleteMultipartUploadInput::default()
        };
        let mut req = request(input);
        req.credentials = one_owner();
        let response = self.0.files.complete_multipart_upload(req).await?;
        match response.output.future {
            Some(rest) => rest.await.map(drop),
            None => Ok(()),
        }
    }
}
