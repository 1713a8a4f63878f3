//! Signs requests that the cloud itself makes.

use http::{HeaderValue, Request};
use sha2::{Digest as _, Sha256};

use super::{
    ALGORITHM, Result, Signature, SignedRequest,
    canonical::{Encoding, canonical_path},
    hex, incomplete,
};

pub struct Key<'a> {
    pub access_key: &'a str,
    pub secret_key: &'a str,
}

/// Adds the headers by which the request is signed for a region and service.
///
/// # Errors
/// When the request has no `Host`, or the access key is none that a header can hold.
pub fn sign<B>(
    request: &mut Request<B>,
    body: &[u8],
    key: &Key<'_>,
    (region, service): (&str, &str),
    now: jiff::Timestamp,
) -> Result<()> {
    let timestamp = now.strftime("%Y%m%dT%H%M%SZ").to_string();
    let hash = hex(&Sha256::digest(body));
    let value = |text: &str| HeaderValue::from_str(text).map_err(|_| incomplete("a value that no header can hold"));
    request.headers_mut().insert("x-amz-date", value(&timestamp)?);
    request.headers_mut().insert("x-amz-content-sha256", value(&hash)?);
    let credential = format!("{}/{}/{region}/{service}/aws4_request", key.access_key, &timestamp[..8]);
    let signed_headers = "host;x-amz-content-sha256;x-amz-date";
    let signature = Signature::assemble(&credential, signed_headers, "", timestamp, None, None)?;
    let signed = SignedRequest {
        method: request.method().as_str(),
        path: request.uri().path(),
        query: request.uri().query().unwrap_or_default(),
        headers: request.headers(),
        body,
    };
    let encoding = if service == "s3" { Encoding::Once } else { Encoding::NormalisedTwice };
    let canonical = signature.canonical_request(&signed, &canonical_path(signed.path, encoding), &hash)?;
    let signature = signature.sign(&canonical, key.secret_key);
    let authorization =
        format!("{ALGORITHM} Credential={credential}, SignedHeaders={signed_headers}, Signature={signature}");
    request.headers_mut().insert("authorization", value(&authorization)?);
    Ok(())
}
