//! Presigned URLs. Signing needs no request, so pages can be made while S3 is away. A URL dies with the credentials that
//! signed it, whatever it says itself (https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-presigned-url.html),
//! so it never claims to live longer. The signing time is rounded down, so that a browser sees the same URL twice.
//!
//! The SDK presigns one URL a step, and with it decides where objects are and what every URL says; the others differ in key and
//! signature alone, and are signed here: that is a hundred times cheaper, and checked against the SDK's own each time.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{Credentials, ProvideCredentials, SharedCredentialsProvider};
use aws_sdk_s3::presigning::PresigningConfig;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

use super::ObjectStoreError;
use crate::photo::hex;

/// The longest life of a URL.
const URL_LIFE: Duration = Duration::from_secs(3600);
/// Signing times are multiples of this.
const STEP: Duration = Duration::from_secs(300);
/// Credentials are asked for again after this, and when they end within it.
const REFRESH: Duration = Duration::from_secs(300);
/// URLs remembered within one step.
const REMEMBERED: usize = 20_000;
/// The key of the URL that the SDK signs.
const PATTERN_KEY: &str = "p/pattern";
const SIGNATURE: &str = "X-Amz-Signature=";

static SIGNERS: AtomicU64 = AtomicU64::new(0);

#[derive(Clone)]
pub struct Presigner {
    shared: Arc<Shared>,
}

struct Shared {
    config: aws_sdk_s3::config::Builder,
    credentials: SharedCredentialsProvider,
    bucket: String,
    signing: tokio::sync::Mutex<Option<Signing>>,
}

/// One set of credentials.
struct Signing {
    client: Client,
    secret: String,
    expiry: Option<SystemTime>,
    loaded: Instant,
    signer: Option<Arc<Signer>>,
}

/// Signs within one step.
pub struct Signer {
    /// Of all signers that there were since the start.
    number: u64,
    step: u64,
    pattern: Pattern,
    urls: Mutex<HashMap<String, Arc<str>>>,
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

    /// What signs the URLs of now; one does for a whole page.
    pub async fn signer(&self) -> Result<Arc<Signer>, ObjectStoreError> {
        let mut current = self.shared.signing.lock().await;
        self.refresh(&mut current).await?;
        let signing = current.as_mut().ok_or_else(|| failed("there are no credentials".into()))?;
        let now = SystemTime::now();
        let step = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() / STEP.as_secs();
        if let Some(signer) = signing.signer.as_ref().filter(|signer| signer.step == step) {
            return Ok(signer.clone());
        }
        let start = UNIX_EPOCH + Duration::from_secs(step * STEP.as_secs());
        let url = signing.by_the_sdk(&self.shared.bucket, PATTERN_KEY, start).await?;
        let pattern = Pattern::of(&url, &signing.secret).filter(|pattern| pattern.url(PATTERN_KEY) == url);
        let pattern = pattern.ok_or_else(|| failed("the SDK signs URLs of this bucket in an unknown way".into()))?;
        let signer =
            Arc::new(Signer { number: SIGNERS.fetch_add(1, Ordering::Relaxed), step, pattern, urls: Mutex::default() });
        signing.signer = Some(signer.clone());
        Ok(signer)
    }

    async fn refresh(&self, current: &mut Option<Signing>) -> Result<(), ObjectStoreError> {
        let now = SystemTime::now();
        if let Some(signing) = current.as_ref() {
            let ends_soon = signing.expiry.is_some_and(|expiry| expiry < now + REFRESH);
            // One try a second, also where the source has nothing newer to give.
            if signing.loaded.elapsed() < if ends_soon { Duration::from_secs(1) } else { REFRESH } {
                return Ok(());
            }
        }
        match self.shared.credentials.provide_credentials().await {
            Ok(credentials) => {
                *current = Some(self.sign_with(credentials));
                Ok(())
            }
            Err(error) => match current.as_ref() {
                Some(signing) if signing.expiry.is_none_or(|expiry| expiry > now) => Ok(()),
                _ => Err(ObjectStoreError::Failed {
                    doing: "asking for AWS credentials".into(),
                    cause: error.to_string(),
                }),
            },
        }
    }

    fn sign_with(&self, credentials: Credentials) -> Signing {
        let (secret, expiry) = (credentials.secret_access_key().to_string(), credentials.expiry());
        let config = self.shared.config.clone().credentials_provider(credentials).build();
        Signing { client: Client::from_conf(config), secret, expiry, loaded: Instant::now(), signer: None }
    }
}

impl Signing {
    async fn by_the_sdk(&self, bucket: &str, key: &str, start: SystemTime) -> Result<String, ObjectStoreError> {
        let life = match self.expiry {
            Some(expiry) => expiry.duration_since(start).unwrap_or_default().clamp(Duration::from_secs(1), URL_LIFE),
            None => URL_LIFE,
        };
        let config = PresigningConfig::builder().start_time(start).expires_in(life).build();
        let config = config.map_err(|error| failed(error.to_string()))?;
        let request = self.client.get_object().bucket(bucket).key(key).presigned(config).await;
        let request = request.map_err(|error| failed(aws_sdk_s3::error::DisplayErrorContext(error).to_string()))?;
        Ok(request.uri().to_string())
    }
}

impl Signer {
    /// A URL under which a browser can GET the object.
    pub fn url(&self, key: &str) -> Arc<str> {
        let mut urls = self.urls.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(url) = urls.get(key) {
            return url.clone();
        }
        if urls.len() >= REMEMBERED {
            urls.clear();
        }
        let url: Arc<str> = self.pattern.url(key).into();
        urls.insert(key.into(), url.clone());
        url
    }

    /// Two with the same number sign the same.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Scheme, host and port of the URLs, for the pages' Content-Security-Policy.
    pub fn origin(&self) -> &str {
        &self.pattern.origin
    }
}

fn failed(cause: String) -> ObjectStoreError {
    ObjectStoreError::Failed { doing: "signing the URLs of pictures".into(), cause }
}

/// What the URLs of one step share.
struct Pattern {
    origin: String,
    /// Before the key.
    path: String,
    /// Before and behind the signature.
    query: (String, String),
    /// All of a canonical request behind the path, and of a string to sign before that request's hash
    /// (https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html).
    canonical: String,
    to_sign: String,
    key: Hmac<Sha256>,
}

impl Pattern {
    /// Read out of a URL that the SDK has signed; none where it is not what we know.
    fn of(url: &str, secret: &str) -> Option<Self> {
        let (address, query) = url.split_once('?')?;
        let host_at = address.find("://")? + 3;
        let path_at = host_at + address[host_at..].find('/')?;
        let path = address[path_at..].strip_suffix(PATTERN_KEY)?;
        let signature_at = query.find(SIGNATURE)? + SIGNATURE.len();
        let (before, rest) = query.split_at(signature_at);
        let after = rest.get(64..)?;
        let parameter = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        let mut signed: Vec<&str> = query.split('&').filter(|pair| !pair.starts_with(SIGNATURE)).collect();
        signed.sort_unstable();
        let date = parameter("X-Amz-Date")?;
        let credential = parameter("X-Amz-Credential")?.replace("%2F", "/");
        let (_, scope) = credential.split_once('/')?;
        // Of day, region, service and `aws4_request`, each keys the next.
        let key = scope.split('/').fold(format!("AWS4{secret}").into_bytes(), |key, part| mac(&key, part));
        Some(Self {
            origin: address[..path_at].into(),
            path: path.into(),
            query: (before.into(), after.into()),
            canonical: format!("\n{}\nhost:{}\n\nhost\nUNSIGNED-PAYLOAD", signed.join("&"), &address[host_at..path_at]),
            to_sign: format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n"),
            key: keyed(&key),
        })
    }

    /// Keys are of our own making: nothing in them needs encoding.
    fn url(&self, key: &str) -> String {
        let request = Sha256::new()
            .chain_update("GET\n")
            .chain_update(&self.path)
            .chain_update(key)
            .chain_update(&self.canonical)
            .finalize();
        let signature = self.key.clone().chain_update(&self.to_sign).chain_update(hex(&request)).finalize();
        let (before, after) = &self.query;
        let mut url = String::with_capacity(self.origin.len() + self.path.len() + before.len() + after.len() + 128);
        let signature = hex(&signature.into_bytes());
        let _ = write!(url, "{}{}{key}?{before}{signature}{after}", self.origin, self.path);
        url
    }
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length")
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    keyed(key).chain_update(text).finalize().into_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use aws_sdk_s3::config::{BehaviorVersion, Region};

    use super::*;

    fn presigner(bucket: &str, endpoint: Option<&str>, path_style: bool, token: Option<&str>) -> Presigner {
        let expiry = SystemTime::now() + Duration::from_secs(1800);
        let credentials = Credentials::new("AKID", "se/cr+et", token.map(Into::into), Some(expiry), "test");
        let mut config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("eu-central-1"))
            .force_path_style(path_style);
        config.set_endpoint_url(endpoint.map(Into::into));
        Presigner::new(config, SharedCredentialsProvider::new(credentials), bucket.into())
    }

    #[tokio::test]
    async fn every_url_is_the_one_that_the_sdk_would_sign() {
        for (bucket, endpoint, path_style, token) in [
            ("pictures", None, false, None),
            ("pictures", None, false, Some("to/ken+with==signs")),
            ("pictures.with.dots", None, false, None),
            ("pictures", Some("http://s3.localhost:8773"), true, None),
            ("pictures", Some("http://10.77.0.1:8773/services/Walrus/"), true, Some("token")),
            ("pictures", Some("https://s3.example"), false, None),
        ] {
            let presigner = presigner(bucket, endpoint, path_style, token);
            let signer = presigner.signer().await.unwrap();
            let start = UNIX_EPOCH + STEP * u32::try_from(signer.step).unwrap();
            for key in ["p/abcdefghijklmnopqrstuvwxyz", "t/234567"] {
                let signing = presigner.shared.signing.lock().await;
                let expected = signing.as_ref().unwrap().by_the_sdk(bucket, key, start).await.unwrap();
                assert_eq!(*signer.url(key), *expected);
                assert!(expected.starts_with(&format!("{}/", signer.origin())), "{expected}");
                let remembered = signer.url(key);
                assert_eq!(*remembered, *expected, "the second time");
            }
        }
    }
}
