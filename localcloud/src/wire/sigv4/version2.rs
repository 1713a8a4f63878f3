//! Signature version 2: an HMAC over the sorted parameters, in the query or in a form body
//! (<https://docs.aws.amazon.com/general/latest/gr/signature-version-2.html>).

use base64::{Engine as _, engine::general_purpose::STANDARD};
use s3s::crypto::{Checksum as _, Sha1};

use super::{
    AuthError, MAX_SKEW_SECS, Result, Secret, SignedRequest, Verified,
    canonical::{decoded_pairs, encode},
    check_session, header, hmac, incomplete, same,
};

/// Parameters of the query and of a form body.
fn parameters_of(request: &SignedRequest<'_>) -> Vec<(String, String)> {
    let mut parameters = decoded_pairs(request.query);
    if header(request.headers, "content-type").is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"))
    {
        parameters.extend(decoded_pairs(&String::from_utf8_lossy(request.body)));
    }
    parameters
}

pub(super) fn is_stated(request: &SignedRequest<'_>) -> bool {
    let parameters = parameters_of(request);
    ["AWSAccessKeyId", "Signature"].iter().all(|name| parameters.iter().any(|(known, _)| known == name))
}

pub(super) fn verify(
    request: &SignedRequest<'_>,
    lookup: &dyn Fn(&str) -> Option<Secret>,
    now_epoch_secs: i64,
) -> Result<Verified> {
    let parameters = parameters_of(request);
    let parameter = |name: &str| parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let (Some(access_key), Some(signature)) = (parameter("AWSAccessKeyId"), parameter("Signature")) else {
        return Err(AuthError::Missing);
    };
    if parameter("SignatureVersion") != Some("2") {
        return Err(incomplete("SignatureVersion must be 2, or use version 4"));
    }
    let secret = lookup(access_key).ok_or_else(|| AuthError::UnknownAccessKey(access_key.to_owned()))?;
    check_time(parameter("Timestamp"), parameter("Expires"), now_epoch_secs)?;

    let mut sorted: Vec<(String, String)> = parameters
        .iter()
        .filter(|(name, _)| name != "Signature")
        .map(|(name, value)| (encode(name), encode(value)))
        .collect();
    sorted.sort();
    let query = sorted.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&");
    let host = header(request.headers, "host").unwrap_or_default().to_ascii_lowercase();
    // Clients differ in whether a port belongs to the host, and old ones sign "/".
    let hosts = [host.as_str(), host.split(':').next().unwrap_or_default()];
    let path = if request.path.is_empty() { "/" } else { request.path };
    let digest: fn(&[u8], &[u8]) -> Vec<u8> = match parameter("SignatureMethod") {
        Some("HmacSHA256") => |key, message| hmac(key, message).to_vec(),
        Some("HmacSHA1") => hmac_sha1,
        _ => return Err(incomplete("SignatureMethod must be HmacSHA256 or HmacSHA1")),
    };
    let matches = hosts.iter().any(|host| {
        [path, "/"].iter().any(|path| {
            let text = format!("{}\n{host}\n{path}\n{query}", request.method);
            same(
                STANDARD.encode(digest(secret.secret_key.as_bytes(), text.as_bytes())).as_bytes(),
                signature.as_bytes(),
            )
        })
    });
    if !matches {
        return Err(AuthError::Mismatch);
    }
    check_session(parameter("SecurityToken"), &secret, now_epoch_secs)?;
    Ok(Verified { access_key: access_key.to_owned(), region: String::new(), service: String::new() })
}

fn check_time(timestamp: Option<&str>, expires: Option<&str>, now_epoch_secs: i64) -> Result<()> {
    let (text, grace_secs) = match (timestamp, expires) {
        (Some(text), _) => (text, MAX_SKEW_SECS),
        (None, Some(text)) => (text, 0),
        (None, None) => return Err(incomplete("Timestamp or Expires is required")),
    };
    let time = text
        .parse::<jiff::Timestamp>()
        .or_else(|_| format!("{text}Z").parse::<jiff::Timestamp>())
        .map_err(|_| incomplete(format!("`{text}` is not a time such as 2026-11-24T03:04:05Z")))?
        .as_second();
    if now_epoch_secs - time > grace_secs {
        return Err(AuthError::Expired);
    }
    if timestamp.is_some() && time - now_epoch_secs > MAX_SKEW_SECS {
        return Err(AuthError::Skewed { ahead_secs: time - now_epoch_secs });
    }
    Ok(())
}

/// RFC 2104 over SHA-1: what clients of version 2 may still ask for.
pub(crate) fn hmac_sha1(key: &[u8], message: &[u8]) -> Vec<u8> {
    const BLOCK: usize = 64;
    let sha1 = |parts: [&[u8]; 2]| {
        let mut hash = Sha1::new();
        parts.iter().for_each(|part| hash.update(part));
        hash.finalize().to_vec()
    };
    let mut block = if key.len() > BLOCK { sha1([key, &[]]) } else { key.to_vec() };
    block.resize(BLOCK, 0);
    let inner: Vec<u8> = block.iter().map(|byte| byte ^ 0x36).collect();
    let outer: Vec<u8> = block.iter().map(|byte| byte ^ 0x5c).collect();
    sha1([&outer, &sha1([&inner, message])])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hmac_sha1_agrees_with_rfc_2202() {
        let digest = |key: &[u8], message: &[u8]| super::super::hex(&hmac_sha1(key, message));
        assert_eq!(digest(&[0x0b; 20], b"Hi There"), "b617318655057264e28bc0b6fb378c8ef146be00");
        assert_eq!(
            digest(&[0xaa; 80], b"Test Using Larger Than Block-Size Key - Hash Key First"),
            "aa4ae5e15272d00e95705637ce8a3b55ed402112"
        );
    }
}
