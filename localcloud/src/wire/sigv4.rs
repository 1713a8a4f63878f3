//! AWS signatures: who signed a request, and whether the signature is theirs. Knows no service and no store: whoever
//! asks hands in a lookup of secrets. Any region in the scope is taken and used, as Eucalyptus does
//! (Eucalyptus Hmacv4LoginModule), because its clients sign with regions of their own making.

/// The forms in which a request is signed.
pub mod canonical;
/// Signs requests that the cloud itself makes.
pub mod signer;
/// Signature version 2, which euca2ools and other old clients use.
pub mod version2;

use hmac::{Hmac, KeyInit as _, Mac as _};
use http::HeaderMap;
use sha2::{Digest as _, Sha256};

use canonical::{Encoding, canonical_headers, canonical_path, canonical_query, decoded_pairs};

/// How far a signer's clock may be off (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-signing-elements.html>).
pub const MAX_SKEW_SECS: i64 = 15 * 60;
const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// A request as it came in; path and query undecoded.
#[derive(Debug, Clone, Copy)]
pub struct SignedRequest<'a> {
    pub method: &'a str,
    pub path: &'a str,
    pub query: &'a str,
    pub headers: &'a HeaderMap,
    /// All of it: its hash is part of what was signed.
    pub body: &'a [u8],
}

/// What a lookup knows about an access key.
#[derive(Debug, Clone)]
pub struct Secret {
    pub secret_key: String,
    /// Set for temporary credentials: the request must carry the same.
    pub session_token: Option<String>,
    pub expires_epoch_secs: Option<i64>,
}

/// Who signed the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    pub access_key: String,
    /// Empty for version 2, which has none.
    pub region: String,
    /// Empty for version 2, which has none.
    pub service: String,
}

/// Why a request is refused. Codes differ between services, so the front gives them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    #[error("the request must carry an access key and a signature")]
    Missing,
    #[error("signature version 2 is not taken here: sign by version 4")]
    Version2,
    #[error("the signature is incomplete: {0}")]
    Incomplete(String),
    #[error("the access key {0} does not exist here")]
    UnknownAccessKey(String),
    #[error("the signature does not match: check the secret key and the signing method")]
    Mismatch,
    #[error("the request's time is {ahead_secs} s ahead of the server's clock: at most {MAX_SKEW_SECS} s pass")]
    Skewed { ahead_secs: i64 },
    #[error("the request has expired: its signature is too old, or the signer's clock is behind")]
    Expired,
    #[error("the session token is missing, or is not the access key's")]
    InvalidToken,
    #[error("the session token has expired")]
    TokenExpired,
}

type Result<T> = std::result::Result<T, AuthError>;

/// Verifies whatever signature the request carries: version 4 in the header or the query, version 2 in the query or
/// in a form body.
///
/// # Errors
/// See [`AuthError`].
pub fn verify(
    request: &SignedRequest<'_>,
    lookup: &dyn Fn(&str) -> Option<Secret>,
    now_epoch_secs: i64,
) -> Result<Verified> {
    let Some(signature) = Signature::parse(request.headers, request.query)? else {
        return version2::verify(request, lookup, now_epoch_secs);
    };
    let secret =
        lookup(&signature.access_key).ok_or_else(|| AuthError::UnknownAccessKey(signature.access_key.clone()))?;
    signature.check_time(now_epoch_secs)?;
    let hash = hex(&Sha256::digest(request.body));
    if header(request.headers, "x-amz-content-sha256").is_some_and(|declared| declared.trim() != hash) {
        return Err(AuthError::Mismatch);
    }
    signature.check(request, &hash, &secret.secret_key)?;
    check_session(signature.session_token.as_deref(), &secret, now_epoch_secs)?;
    Ok(Verified { access_key: signature.access_key, region: signature.region, service: signature.service })
}

/// Whether a request is signed by version 2, rightly or wrongly.
#[must_use]
pub fn is_version_2(request: &SignedRequest<'_>) -> bool {
    matches!(Signature::parse(request.headers, request.query), Ok(None)) && version2::is_stated(request)
}

/// The service that a version 4 signature was made for, unverified: it helps to tell where a request belongs.
#[must_use]
pub fn signing_service(headers: &HeaderMap, query: &str) -> Option<String> {
    Signature::parse(headers, query).ok().flatten().map(|signature| signature.service)
}

/// The parameters of a query or of a form, decoded, in the order given.
#[must_use]
pub fn parse_query(text: &str) -> Vec<(String, String)> {
    decoded_pairs(text)
}

/// A temporary credential is used with its token and before its end.
pub(crate) fn check_session(token: Option<&str>, secret: &Secret, now_epoch_secs: i64) -> Result<()> {
    if secret.expires_epoch_secs.is_some_and(|end| end <= now_epoch_secs) {
        return Err(AuthError::TokenExpired);
    }
    match &secret.session_token {
        Some(expected) if token.is_some_and(|token| same(token.as_bytes(), expected.as_bytes())) => Ok(()),
        Some(_) => Err(AuthError::InvalidToken),
        None if token.is_some_and(|token| !token.is_empty()) => Err(AuthError::InvalidToken),
        None => Ok(()),
    }
}

/// A version 4 signature as the request states it, not yet held against a secret.
#[derive(Debug, Clone)]
pub struct Signature {
    pub access_key: String,
    /// `YYYYMMDD`
    pub date: String,
    pub region: String,
    pub service: String,
    /// `YYYYMMDD'T'HHMMSS'Z'`
    pub timestamp: String,
    signed_at_epoch_secs: i64,
    pub signed_headers: Vec<String>,
    /// 64 lower-case hexadecimal digits.
    pub signature: String,
    pub session_token: Option<String>,
    pub presigned: Option<Presigned>,
}

/// What only a presigned URL says.
#[derive(Debug, Clone, Copy)]
pub struct Presigned {
    pub expires_secs: i64,
}

impl Signature {
    /// Reads the signature of the `Authorization` header, or of a presigned URL. `None` if the request has none of
    /// version 4.
    ///
    /// # Errors
    /// `Incomplete` when parts are missing or malformed.
    pub fn parse(headers: &HeaderMap, query: &str) -> Result<Option<Self>> {
        if let Some(authorization) = header(headers, "authorization")
            && let Some(fields) = authorization.trim().strip_prefix(ALGORITHM)
        {
            return Self::from_header(headers, fields).map(Some);
        }
        let query = decoded_pairs(query);
        if query.iter().any(|(name, _)| name == "X-Amz-Algorithm" || name == "X-Amz-Signature") {
            return Self::from_query(&query).map(Some);
        }
        Ok(None)
    }

    fn from_header(headers: &HeaderMap, fields: &str) -> Result<Self> {
        let field = |name: &str| {
            fields
                .split(',')
                .find_map(|field| field.trim().strip_prefix(name)?.strip_prefix('='))
                .map(str::trim)
                .ok_or_else(|| incomplete(format!("Authorization header requires '{name}' parameter")))
        };
        let timestamp = match header(headers, "x-amz-date") {
            Some(text) => text.trim().to_owned(),
            None => header(headers, "date").and_then(timestamp_of_http_date).ok_or_else(|| {
                incomplete("Authorization header requires existence of either 'X-Amz-Date' or a 'Date' header")
            })?,
        };
        let session_token = header(headers, "x-amz-security-token").map(str::to_owned);
        Self::assemble(
            field("Credential")?,
            field("SignedHeaders")?,
            field("Signature")?,
            timestamp,
            session_token,
            None,
        )
    }

    fn from_query(query: &[(String, String)]) -> Result<Self> {
        let parameter = |name: &str| query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let required = |name: &str| parameter(name).ok_or_else(|| incomplete(format!("the query requires '{name}'")));
        if required("X-Amz-Algorithm")? != ALGORITHM {
            return Err(incomplete(format!("X-Amz-Algorithm must be {ALGORITHM}")));
        }
        let expires_secs = match parameter("X-Amz-Expires") {
            Some(text) => text
                .parse::<i64>()
                .ok()
                .filter(|secs| (0..=604_800).contains(secs))
                .ok_or_else(|| incomplete("X-Amz-Expires must be between 0 and 604800 seconds"))?,
            None => MAX_SKEW_SECS,
        };
        Self::assemble(
            required("X-Amz-Credential")?,
            required("X-Amz-SignedHeaders")?,
            required("X-Amz-Signature")?,
            required("X-Amz-Date")?.to_owned(),
            parameter("X-Amz-Security-Token").map(str::to_owned),
            Some(Presigned { expires_secs }),
        )
    }

    fn assemble(
        credential: &str,
        signed_headers: &str,
        signature: &str,
        timestamp: String,
        session_token: Option<String>,
        presigned: Option<Presigned>,
    ) -> Result<Self> {
        // The scope is read from its end, as an access key may contain slashes and the others may not.
        let mut scope = credential.rsplitn(5, '/');
        let (Some("aws4_request"), Some(service), Some(region), Some(date), Some(access_key)) =
            (scope.next(), scope.next(), scope.next(), scope.next(), scope.next())
        else {
            return Err(incomplete("Credential must be ACCESS_KEY/YYYYMMDD/REGION/SERVICE/aws4_request"));
        };
        let signed_at_epoch_secs = epoch_secs(&timestamp)
            .ok_or_else(|| incomplete(format!("`{timestamp}` is not a time such as 20150830T123600Z")))?;
        if timestamp.get(..8) != Some(date) {
            return Err(incomplete(format!("the scope's date {date} is not that of {timestamp}")));
        }
        let mut signed_headers: Vec<String> =
            signed_headers.split(';').filter(|name| !name.is_empty()).map(str::to_ascii_lowercase).collect();
        signed_headers.sort_unstable();
        if !signed_headers.iter().any(|name| name == "host") {
            return Err(incomplete("'host' must be a signed header"));
        }
        Ok(Self {
            access_key: access_key.to_owned(),
            date: date.to_owned(),
            region: region.to_owned(),
            service: service.to_owned(),
            timestamp,
            signed_at_epoch_secs,
            signed_headers,
            signature: signature.to_ascii_lowercase(),
            session_token,
            presigned,
        })
    }

    /// Refuses what was signed too long ago, or in the future.
    ///
    /// # Errors
    /// `Expired` or `Skewed`.
    pub fn check_time(&self, now_epoch_secs: i64) -> Result<()> {
        let age_secs = now_epoch_secs - self.signed_at_epoch_secs;
        let longest_secs = self.presigned.map_or(MAX_SKEW_SECS, |presigned| presigned.expires_secs);
        if age_secs < -MAX_SKEW_SECS {
            Err(AuthError::Skewed { ahead_secs: -age_secs })
        } else if age_secs > longest_secs {
            Err(AuthError::Expired)
        } else {
            Ok(())
        }
    }

    /// Holds the signature against the secret, over the real path or over "/" (old Java SDKs; Eucalyptus
    /// Hmacv4LoginModule). S3 signs the path as it is; all others normalise it and encode it once more.
    ///
    /// # Errors
    /// `Mismatch`, or `Incomplete` when a signed header is not there.
    pub fn check(&self, request: &SignedRequest<'_>, payload_hash: &str, secret_key: &str) -> Result<()> {
        let paths = if self.service == "s3" {
            vec![canonical_path(request.path, Encoding::Once), request.path.to_owned()]
        } else {
            vec![
                canonical_path(request.path, Encoding::NormalisedTwice),
                canonical_path(request.path, Encoding::Once),
                "/".to_owned(),
            ]
        };
        for path in paths {
            let canonical = self.canonical_request(request, &path, payload_hash)?;
            if same(self.sign(&canonical, secret_key).as_bytes(), self.signature.as_bytes()) {
                return Ok(());
            }
        }
        Err(AuthError::Mismatch)
    }

    /// The text whose hash is signed (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>).
    ///
    /// # Errors
    /// `Incomplete` when a signed header is not there.
    pub fn canonical_request(
        &self,
        request: &SignedRequest<'_>,
        canonical_path: &str,
        payload_hash: &str,
    ) -> Result<String> {
        let query = canonical_query(request.query, "X-Amz-Signature");
        let headers = canonical_headers(request.headers, &self.signed_headers)
            .map_err(|name| incomplete(format!("the signed header '{name}' is missing")))?;
        let signed = self.signed_headers.join(";");
        Ok(format!("{}\n{canonical_path}\n{query}\n{headers}\n{signed}\n{payload_hash}", request.method))
    }

    /// `YYYYMMDD/REGION/SERVICE/aws4_request`
    #[must_use]
    pub fn scope(&self) -> String {
        format!("{}/{}/{}/aws4_request", self.date, self.region, self.service)
    }

    fn string_to_sign(&self, canonical_request: &str) -> String {
        let hash = hex(&Sha256::digest(canonical_request));
        format!("{ALGORITHM}\n{}\n{}\n{hash}", self.timestamp, self.scope())
    }

    /// The signature that the owner of the secret gives this canonical request.
    #[must_use]
    pub fn sign(&self, canonical_request: &str, secret_key: &str) -> String {
        self.signing_key(secret_key).sign(&self.string_to_sign(canonical_request))
    }

    #[must_use]
    pub fn signing_key(&self, secret_key: &str) -> SigningKey {
        let date = hmac(format!("AWS4{secret_key}").as_bytes(), self.date.as_bytes());
        let region = hmac(&date, self.region.as_bytes());
        let service = hmac(&region, self.service.as_bytes());
        SigningKey(hmac(&service, b"aws4_request"))
    }
}

/// A secret key bound to one day, region and service.
#[derive(Clone)]
pub struct SigningKey([u8; 32]);

impl SigningKey {
    /// The signature of a string to sign, in hexadecimal.
    #[must_use]
    pub fn sign(&self, string_to_sign: &str) -> String {
        hex(&hmac(&self.0, string_to_sign.as_bytes()))
    }
}

fn incomplete(what: impl Into<String>) -> AuthError {
    AuthError::Incomplete(what.into())
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

pub(crate) fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(message);
    mac.finalize().into_bytes().into()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        for nibble in [byte >> 4, byte & 15] {
            text.push(char::from(b"0123456789abcdef"[usize::from(nibble)]));
        }
        text
    })
}

/// Compares in a time that does not tell where the difference is.
pub(crate) fn same(left: &[u8], right: &[u8]) -> bool {
    left.len() == right.len() && std::hint::black_box(left.iter().zip(right).fold(0, |acc, (a, b)| acc | (a ^ b))) == 0
}

/// Seconds since the epoch of `20150830T123600Z`.
fn epoch_secs(timestamp: &str) -> Option<i64> {
    let time = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", timestamp).ok()?;
    Some(jiff::tz::TimeZone::UTC.to_timestamp(time).ok()?.as_second())
}

/// Seconds since the epoch of the time at which a request says that it was signed: either form of date.
pub(crate) fn signed_at_epoch_secs(headers: &HeaderMap) -> Option<i64> {
    let text = header(headers, "x-amz-date").or_else(|| header(headers, "date"))?;
    epoch_secs(&timestamp_of_http_date(text)?)
}

/// `Mon, 09 Sep 2011 23:36:00 GMT` as `20110909T233600Z`.
fn timestamp_of_http_date(text: &str) -> Option<String> {
    if epoch_secs(text.trim()).is_some() {
        return Some(text.trim().to_owned());
    }
    let time = jiff::fmt::rfc2822::DateTimeParser::new().relaxed_weekday(true).parse_timestamp(text.trim()).ok()?;
    Some(time.strftime("%Y%m%dT%H%M%SZ").to_string())
}

#[cfg(test)]
mod tests;
