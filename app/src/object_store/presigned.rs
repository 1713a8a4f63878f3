//! Presigned URLs. Signing needs no request, so pages can be made while S3 is away. A URL dies with the credentials that
//! signed it, whatever it says itself (https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-presigned-url.html),
//! so it never claims to live longer. The signing time is rounded down, so that a browser sees the same URL twice.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{Credentials, ProvideCredentials, SharedCredentialsProvider};
use aws_sdk_s3::presigning::PresigningConfig;

use super::ObjectStoreError;

/// The longest life of a URL.
const URL_LIFE: Duration = Duration::from_secs(3600);
/// Signing times are multiples of this.
const STEP: Duration = Duration::from_secs(300);
/// Credentials are asked for again after this, and when they end within it.
const REFRESH: Duration = Duration::from_secs(300);
/// URLs remembered within one step.
const REMEMBERED: usize = 20_000;

#[derive(Clone)]
pub struct Presigner {
    shared: Arc<Shared>,
}

struct Shared {
    config: aws_sdk_s3::config::Builder,
    credentials: SharedCredentialsProvider,
    bucket: String,
    signing: tokio::sync::Mutex<Option<Arc<Signing>>>,
}

/// One set of credentials, and the URLs made with it.
struct Signing {
    client: Client,
    expiry: Option<SystemTime>,
    loaded: Instant,
    /// The step of the remembered URLs, and they by key.
    urls: Mutex<(u64, HashMap<String, String>)>,
}

impl std::fmt::Debug for Presigner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Presigner").field("bucket", &self.shared.bucket).finish_non_exhaustive()
    }
}

impl Presigner {
    pub(super) fn new(
        config: aws_sdk_s3::config::Builder,
        credentials: SharedCredentialsProvider,
        bucket: String,
    ) -> Self {
        Self { shared: Arc::new(Shared { config, credentials, bucket, signing: tokio::sync::Mutex::new(None) }) }
    }

    /// A URL under which a browser can GET the object.
    pub async fn url(&self, key: &str) -> Result<String, ObjectStoreError> {
        let signing = self.signing().await?;
        let now = SystemTime::now();
        let step = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() / STEP.as_secs();
        {
            let mut urls = signing.urls.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if urls.0 != step || urls.1.len() >= REMEMBERED {
                *urls = (step, HashMap::new());
            }
            if let Some(url) = urls.1.get(key) {
                return Ok(url.clone());
            }
        }
        let start = UNIX_EPOCH + Duration::from_secs(step * STEP.as_secs());
        let life = match signing.expiry {
            Some(expiry) => expiry.duration_since(start).unwrap_or_default().clamp(Duration::from_secs(1), URL_LIFE),
            None => URL_LIFE,
        };
        let failed = |cause: String| ObjectStoreError::Failed { doing: format!("signing the URL of {key}"), cause };
        let config = PresigningConfig::builder()
            .start_time(start)
            .expires_in(life)
            .build()
            .map_err(|error| failed(error.to_string()))?;
        let request = signing.client.get_object().bucket(&self.shared.bucket).key(key).presigned(config).await;
        let url = request
            .map_err(|error| failed(aws_sdk_s3::error::DisplayErrorContext(error).to_string()))?
            .uri()
            .to_string();
        signing.urls.lock().unwrap_or_else(std::sync::PoisonError::into_inner).1.insert(key.into(), url.clone());
        Ok(url)
    }

    /// Scheme, host and port of the URLs, for the pages' Content-Security-Policy.
    pub async fn origin(&self) -> Result<String, ObjectStoreError> {
        let url = self.url("p/origin").await?;
        let rest = url.find("://").map_or(0, |at| at + 3);
        let end = url[rest..].find('/').map_or(url.len(), |at| rest + at);
        Ok(url[..end].to_string())
    }

    async fn signing(&self) -> Result<Arc<Signing>, ObjectStoreError> {
        let mut current = self.shared.signing.lock().await;
        let now = SystemTime::now();
        if let Some(signing) = current.as_ref() {
            let ends_soon = signing.expiry.is_some_and(|expiry| expiry < now + REFRESH);
            // One try a second, also where the source has nothing newer to give.
            if signing.loaded.elapsed() < if ends_soon { Duration::from_secs(1) } else { REFRESH } {
                return Ok(signing.clone());
            }
        }
        match self.shared.credentials.provide_credentials().await {
            Ok(credentials) => {
                let signing = Arc::new(self.sign_with(credentials));
                *current = Some(signing.clone());
                Ok(signing)
            }
            Err(error) => match current.as_ref() {
                Some(signing) if signing.expiry.is_none_or(|expiry| expiry > now) => Ok(signing.clone()),
                _ => Err(ObjectStoreError::Failed {
                    doing: "asking for AWS credentials".into(),
                    cause: error.to_string(),
                }),
            },
        }
    }

    fn sign_with(&self, credentials: Credentials) -> Signing {
        let expiry = credentials.expiry();
        let config = self.shared.config.clone().credentials_provider(credentials).build();
        Signing {
            client: Client::from_conf(config),
            expiry,
            loaded: Instant::now(),
            urls: Mutex::new((0, HashMap::new())),
        }
    }
}
