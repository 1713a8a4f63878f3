//! Objects in S3: put, delete, read a small text, and presigned URLs for browsers. It knows keys and bytes, and
//! nothing about rows or pages. Checksums beyond the signed SHA-256 are off: Walrus and older S3 do not know them.

use std::time::Duration;

use aws_config::BehaviorVersion;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{Region, RequestChecksumCalculation, ResponseChecksumValidation, SharedCredentialsProvider};
use aws_sdk_s3::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use axum::body::Bytes;

use crate::config::ObjectStoreConfig;

/// Credentials where the metadata service has no tokens.
mod instance_metadata;
/// Presigned URLs.
mod presigned;

use instance_metadata::OrWithoutToken;
pub use presigned::{Presigner, Signer};

/// The longest that an object's one request may take, then all of its tries together. The latter stays below
/// the 60 s after which load balancers give up.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(10);
const OPERATION_LIMIT: Duration = Duration::from_secs(25);
const CONNECT_LIMIT: Duration = Duration::from_secs(2);
/// For small texts that somebody waits for.
const READ_LIMIT: Duration = Duration::from_secs(3);

#[derive(Debug, thiserror::Error)]
pub enum ObjectStoreError {
    #[error("{doing}: there is no such object")]
    NotFound { doing: String },
    #[error("{doing}: {cause}")]
    Failed { doing: String, cause: String },
}

#[derive(Debug, Clone)]
pub struct ObjectStore {
    client: Client,
    bucket: String,
    pub presigner: Presigner,
}

impl ObjectStore {
    /// Takes credentials from the SDK's default chain; asks for none of them yet.
    pub async fn connect(config: &ObjectStoreConfig) -> Result<Self, ObjectStoreError> {
        let shared = aws_config::defaults(BehaviorVersion::latest())
            .region(Region::new(config.region.clone()))
            .retry_config(RetryConfig::standard().with_max_attempts(3).with_initial_backoff(Duration::from_millis(200)))
            .timeout_config(
                TimeoutConfig::builder()
                    .connect_timeout(CONNECT_LIMIT)
                    .operation_attempt_timeout(ATTEMPT_LIMIT)
                    .operation_timeout(OPERATION_LIMIT)
                    .build(),
            )
            .load()
            .await;
        let chain: SharedCredentialsProvider =
            shared.credentials_provider().ok_or_else(|| ObjectStoreError::Failed {
                doing: "looking for AWS credentials".into(),
                cause: "the SDK's default chain is empty".into(),
            })?;
        let credentials = SharedCredentialsProvider::new(OrWithoutToken::new(chain));
        let mut builder = aws_sdk_s3::config::Builder::from(&shared)
            .credentials_provider(credentials.clone())
            .force_path_style(config.force_path_style)
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
        builder.set_endpoint_url(config.endpoint.clone());
        let mut public = builder.clone();
        if let Some(endpoint) = &config.public_endpoint {
            public.set_endpoint_url(Some(endpoint.clone()));
        }
        Ok(Self {
            client: Client::from_conf(builder.build()),
            bucket: config.bucket.clone(),
            presigner: Presigner::new(public, credentials, config.bucket.clone()),
        })
    }

    /// Writes a picture. The type is the sniffed one, so that no browser takes it for a page.
    pub async fn put(
        &self,
        key: &str,
        bytes: Bytes,
        content_type: &str,
        disposition: &str,
    ) -> Result<(), ObjectStoreError> {
        self.client
            .put_object()
            .bucket(&self.bucket)
            .key(key)
            .content_type(content_type)
            .content_disposition(disposition)
            .cache_control("private, max-age=31536000, immutable")
            .body(ByteStream::from(bytes))
            .send()
            .await
            .map_err(|error| failed(format!("writing object {key}"), error))?;
        Ok(())
    }

    /// Already gone is success.
    pub async fn delete(&self, key: &str) -> Result<(), ObjectStoreError> {
        match self.client.delete_object().bucket(&self.bucket).key(key).send().await {
            Ok(_) => Ok(()),
            Err(error) if error.raw_response().is_some_and(|response| response.status().as_u16() == 404) => Ok(()),
            Err(error) => Err(failed(format!("deleting object {key}"), error)),
        }
    }

    /// Reads a small text of any bucket.
    pub async fn read_text(&self, bucket: &str, key: &str) -> Result<String, ObjectStoreError> {
        let doing = || format!("reading s3://{bucket}/{key}");
        let read = async {
            let object = self
                .client
                .get_object()
                .bucket(bucket)
                .key(key)
                .send()
                .await
                .map_err(|error| failed(doing(), error))?;
            let bytes = object
                .body
                .collect()
                .await
                .map_err(|error| ObjectStoreError::Failed { doing: doing(), cause: error.to_string() })?;
            String::from_utf8(bytes.to_vec())
                .map_err(|_| ObjectStoreError::Failed { doing: doing(), cause: "it is no text".into() })
        };
        match tokio::time::timeout(READ_LIMIT, read).await {
            Ok(outcome) => outcome,
            Err(_) => {
                Err(ObjectStoreError::Failed { doing: doing(), cause: format!("no answer within {READ_LIMIT:?}") })
            }
        }
    }

    /// Whether the store answers at all. Asking for one object that is not there needs no right to list; without
    /// that right S3 answers 403 instead of 404 (https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html).
    pub async fn answers(&self) -> Result<(), ObjectStoreError> {
        match self.client.head_object().bucket(&self.bucket).key("p/readyz").send().await {
            Ok(_) => Ok(()),
            Err(error)
                if error.raw_response().is_some_and(|response| matches!(response.status().as_u16(), 403 | 404)) =>
            {
                Ok(())
            }
            Err(error) => Err(failed("asking the object store".into(), error)),
        }
    }
}

fn failed<E>(doing: String, error: SdkError<E>) -> ObjectStoreError
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    if error.raw_response().is_some_and(|response| response.status().as_u16() == 404)
        && error.code() != Some("NoSuchBucket")
    {
        return ObjectStoreError::NotFound { doing };
    }
    ObjectStoreError::Failed { doing, cause: DisplayErrorContext(error).to_string() }
}
