//! Requests signed as SDKs sign them, by version 4.

use axum::http::{HeaderMap, HeaderValue, Method, Request, Uri, header};
use localcloud::wire::sigv4::{
    Signature, SignedRequest,
    canonical::{Encoding, canonical_path, encode},
};
use sha2::{Digest as _, Sha256};

/// Who signs.
#[derive(Debug, Clone)]
pub(crate) struct Signer {
    pub(crate) access_key: String,
    pub(crate) secret_key: String,
    pub(crate) token: Option<String>,
}

impl Signer {
    pub(crate) fn new(access_key: &str, secret_key: &str, token: Option<&str>) -> Self {
        Self { access_key: access_key.to_owned(), secret_key: secret_key.to_owned(), token: token.map(str::to_owned) }
    }
}

/// A request as it is to be signed.
pub(crate) struct Plain<'a> {
    pub(crate) method: Method,
    pub(crate) path_and_query: &'a str,
    pub(crate) service: &'a str,
    pub(crate) headers: &'a [(&'static str, &'a str)],
    pub(crate) body: &'a [u8],
}

fn now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Signs in the header.
pub(crate) fn signed(plain: &Plain<'_>, signer: &Signer) -> Request<axum::body::Body> {
    signed_at(plain, signer, now())
}

/// As `signed`, by a clock of the test's own.
pub(crate) fn signed_at(plain: &Plain<'_>, signer: &Signer, at: jiff::Timestamp) -> Request<axum::body::Body> {
    let (date, time) = (at.strftime("%Y%m%d").to_string(), at.strftime("%Y%m%dT%H%M%SZ").to_string());
    let hash = hex(&Sha256::digest(plain.body));
    let mut headers = HeaderMap::new();
    let mut set = |name: &'static str, value: &str| headers.insert(name, HeaderValue::from_str(value).unwrap());
    set("host", "127.0.0.1:8773");
    set("x-amz-date", &time);
    set("x-amz-content-sha256", &hash);
    if let Some(token) = &signer.token {
        set("x-amz-security-token", token);
    }
    for (name, value) in plain.headers {
        set(name, value);
    }
    let mut names: Vec<String> = headers.keys().map(|name| name.as_str().to_owned()).collect();
    names.sort();
    let authorization = |signature: &str| {
        format!(
            "AWS4-HMAC-SHA256 Credential={}/{date}/anywhere/{}/aws4_request, SignedHeaders={}, Signature={signature}",
            signer.access_key,
            plain.service,
            names.join(";")
        )
    };
    headers.insert(header::AUTHORIZATION, HeaderValue::from_str(&authorization("0")).unwrap());
    let uri: Uri = plain.path_and_query.parse().unwrap();
    let unsigned = Signature::parse(&headers, "").unwrap().unwrap();
    let request = SignedRequest {
        method: plain.method.as_str(),
        path: uri.path(),
        query: uri.query().unwrap_or_default(),
        headers: &headers,
        body: plain.body,
    };
    let encoding = if plain.service == "s3" { Encoding::Once } else { Encoding::NormalisedTwice };
    let canonical = unsigned.canonical_request(&request, &canonical_path(uri.path(), encoding), &hash).unwrap();
    let signature = unsigned.sign(&canonical, &signer.secret_key);
    headers.insert(header::AUTHORIZATION, HeaderValue::from_str(&authorization(&signature)).unwrap());
    let mut built = Request::new(axum::body::Body::from(plain.body.to_vec()));
    *built.method_mut() = plain.method.clone();
    *built.uri_mut() = uri;
    *built.headers_mut() = headers;
    built
}

/// Path and query of a URL that whoever has it may GET, as `signer`.
pub(crate) fn presigned(path: &str, signer: &Signer) -> String {
    let at = now();
    let (date, time) = (at.strftime("%Y%m%d").to_string(), at.strftime("%Y%m%dT%H%M%SZ").to_string());
    let credential = format!("{}/{date}/anywhere/s3/aws4_request", signer.access_key);
    let mut query = format!(
        "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={}&X-Amz-Date={time}&X-Amz-Expires=60&X-Amz-SignedHeaders=host",
        encode(&credential)
    );
    if let Some(token) = &signer.token {
        query.push_str(&format!("&X-Amz-Security-Token={}", encode(token)));
    }
    let mut headers = HeaderMap::new();
    headers.insert("host", HeaderValue::from_static("127.0.0.1:8773"));
    let unsigned = Signature::parse(&headers, &format!("{query}&X-Amz-Signature=0")).unwrap().unwrap();
    let request = SignedRequest { method: "GET", path, query: &query, headers: &headers, body: b"" };
    let canonical =
        unsigned.canonical_request(&request, &canonical_path(path, Encoding::Once), "UNSIGNED-PAYLOAD").unwrap();
    format!("{path}?{query}&X-Amz-Signature={}", unsigned.sign(&canonical, &signer.secret_key))
}
