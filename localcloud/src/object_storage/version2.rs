//! Signature version 2 of S3, which euca2ools and old SDKs use
//! (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/RESTAuthentication.html>). Clients differ in the path that they
//! sign: with Eucalyptus' prefix or without, a bucket with a slash behind it or without, as all of these name the same.
//! `s3s` knows one form; what is signed in another is verified here, and signed anew in that one.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderValue, header::AUTHORIZATION, request::Parts};

use s3s::{S3Error, S3ErrorCode};

use super::{bucket_of_host, credentials::Keys};
use crate::wire::sigv4::{
    canonical::{decoded_pairs, encode},
    same,
    version2::hmac_sha1,
};

/// Parameters that belong to the resource, in their order.
const OF_RESOURCE: &[&str] = &[
    "accelerate",
    "acl",
    "analytics",
    "cors",
    "defaultObjectAcl",
    "delete",
    "inventory",
    "lifecycle",
    "location",
    "logging",
    "metrics",
    "notification",
    "object-lock",
    "partNumber",
    "policy",
    "replication",
    "requestPayment",
    "response-cache-control",
    "response-content-disposition",
    "response-content-encoding",
    "response-content-language",
    "response-content-type",
    "response-expires",
    "restore",
    "select",
    "select-type",
    "storageClass",
    "tagging",
    "torrent",
    "uploadId",
    "uploads",
    "versionId",
    "versioning",
    "versions",
    "website",
];
const TOKEN: &str = "x-amz-security-token";

/// A signature as the request states it.
struct Stated {
    access_key: String,
    signature: String,
    /// The time until which a presigned URL may be used.
    expires: Option<String>,
}

impl Stated {
    fn read(headers: &HeaderMap, query: &[(String, String)]) -> Option<Self> {
        let parameter = |name: &str| query.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
        if let Some(signature) = parameter("Signature") {
            return Some(Self {
                access_key: parameter("AWSAccessKeyId")?,
                signature,
                expires: Some(parameter("Expires")?),
            });
        }
        let (access_key, signature) = text(headers, AUTHORIZATION.as_str())?.strip_prefix("AWS ")?.split_once(':')?;
        Some(Self { access_key: access_key.to_owned(), signature: signature.to_owned(), expires: None })
    }
}

/// Whether a request says that it is signed so, rightly or wrongly.
pub(super) fn is_stated<T>(request: &http::Request<T>) -> bool {
    Stated::read(request.headers(), &decoded_pairs(request.uri().query().unwrap_or_default())).is_some()
}

/// As AWS refuses it where it knows version 4 alone: in regions since 2014, and for buckets since June 2020
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingAWSSDK.html#UsingAWSSDK-sig2-deprecation>,
/// <https://github.com/stevearc/pypicloud/issues/39>).
pub(super) fn refusal() -> S3Error {
    let words = "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.";
    S3Error::with_message(S3ErrorCode::InvalidRequest, words)
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Signs the request anew for `s3s`, which is to see it at the path `rest`. What is not signed by version 2, or wrongly,
/// stays as it is.
pub(super) fn resign(parts: &mut Parts, rest: &str, query: &mut Option<String>, keys: &Keys) {
    let pairs = decoded_pairs(query.as_deref().unwrap_or_default());
    let Some(stated) = Stated::read(&parts.headers, &pairs) else { return };
    let Some(key) = keys.find(&stated.access_key) else { return };
    let secret = key.credential.secret_key.as_bytes();
    let bucket = text(&parts.headers, "host").and_then(bucket_of_host);
    let within = bucket.map(|bucket| format!("/{bucket}")).unwrap_or_default();
    let sign = |path: &str, token: Option<&str>| {
        let message = string_to_sign(parts, &pairs, path, stated.expires.as_deref(), token);
        STANDARD.encode(hmac_sha1(secret, message.as_bytes()))
    };
    let anew = sign(&format!("{within}{rest}"), None);
    // The token of a presigned URL is signed as a header would be.
    let token = pairs.iter().find(|(name, _)| name.eq_ignore_ascii_case(TOKEN)).map(|(_, value)| value.as_str());
    let tokens = if token.is_some() { vec![token, None] } else { vec![None] };
    let is_right = [parts.uri.path(), rest].iter().any(|path| {
        let path = format!("{within}{path}");
        let with_slash = format!("{path}/");
        [path, with_slash]
            .iter()
            .any(|path| tokens.iter().any(|token| same(sign(path, *token).as_bytes(), stated.signature.as_bytes())))
    });
    if !is_right {
        return;
    }
    if stated.expires.is_some() {
        let others = pairs.iter().filter(|(name, _)| name != "Signature");
        let mut written: String = others.map(|(name, value)| format!("{}={}&", encode(name), encode(value))).collect();
        written.push_str(&format!("Signature={}", encode(&anew)));
        *query = Some(written);
    } else if let Ok(value) = HeaderValue::try_from(format!("AWS {}:{anew}", stated.access_key)) {
        parts.headers.insert(AUTHORIZATION, value);
    }
}

fn string_to_sign(
    parts: &Parts,
    query: &[(String, String)],
    path: &str,
    expires: Option<&str>,
    token: Option<&str>,
) -> String {
    let header = |name: &str| text(&parts.headers, name).unwrap_or_default();
    let date = match expires {
        Some(expires) => expires,
        None if parts.headers.contains_key("x-amz-date") => "",
        None => header("date"),
    };
    let mut amz: Vec<(String, String)> = parts
        .headers
        .keys()
        .filter(|name| name.as_str().starts_with("x-amz-"))
        .map(|name| {
            let values = parts.headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
            (name.as_str().to_owned(), values.map(str::trim).collect::<Vec<_>>().join(","))
        })
        .collect();
    amz.extend(token.map(|token| (TOKEN.to_owned(), token.to_owned())));
    amz.sort();
    let amz: String = amz.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
    let resource: Vec<String> = OF_RESOURCE
        .iter()
        .filter_map(|name| query.iter().find(|(key, _)| key == name))
        .map(|(name, value)| if value.is_empty() { name.clone() } else { format!("{name}={value}") })
        .collect();
    let question = if resource.is_empty() { String::new() } else { format!("?{}", resource.join("&")) };
    let (method, md5, kind) = (&parts.method, header("content-md5"), header("content-type"));
    format!("{method}\n{md5}\n{kind}\n{date}\n{amz}{path}{question}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(method: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = http::Request::builder().method(method).uri("/");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).expect("a request").into_parts().0
    }

    /// The examples of <https://docs.aws.amazon.com/AmazonS3/latest/userguide/RESTAuthentication.html>.
    #[test]
    fn the_documented_signatures_come_out() {
        const SECRET: &[u8] = b"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
        for (method, headers, query, path, signature) in [
            (
                "GET",
                &[("date", "Tue, 27 Mar 2007 19:36:42 +0000")][..],
                "",
                "/awsexamplebucket1/photos/puppy.jpg",
                "qgk2+6Sv9/oM7G3qLEjTH1a1l1g=",
            ),
            (
                "PUT",
                &[("content-type", "image/jpeg"), ("date", "Tue, 27 Mar 2007 21:15:45 +0000")],
                "",
                "/awsexamplebucket1/photos/puppy.jpg",
                "iqRzw+ileNPu1fhspnRs8nOjjIA=",
            ),
            (
                "GET",
                &[("date", "Tue, 27 Mar 2007 19:42:41 +0000")],
                "prefix=photos&max-keys=50&marker=puppy",
                "/awsexamplebucket1/",
                "m0WP8eCtspQl5Ahe6L1SozdX9YA=",
            ),
            (
                "GET",
                &[("date", "Tue, 27 Mar 2007 19:44:46 +0000")],
                "acl",
                "/awsexamplebucket1/",
                "82ZHiFIjc+WbcwFKGUVEQspPn+0=",
            ),
        ] {
            let message = string_to_sign(&parts(method, headers), &decoded_pairs(query), path, None, None);
            assert_eq!(STANDARD.encode(hmac_sha1(SECRET, message.as_bytes())), signature, "{path} {query}");
        }
    }
}
