//! Eucalyptus' paths. `/services/objectstorage/BUCKET/KEY` is `/BUCKET/KEY`, signed over the whole path, or, as
//! Eucalyptus also takes it, over the path without the prefix. `s3s` knows one path only: a signature over the whole
//! path is verified here, and the request then signed anew for `s3s`, with the same key, over the shorter path.

use futures::TryStreamExt as _;
use http::{HeaderValue, Uri, header::AUTHORIZATION, request::Parts, uri::PathAndQuery};
use http_body_util::{BodyDataStream, StreamBody};
use hyper::body::Frame;

use super::{credentials::Keys, request_body::RequestBody, signed_chunks, version2};
use crate::wire::sigv4::{
    Signature, SignedRequest,
    canonical::{Encoding, canonical_path},
};

const PREFIXES: [&str; 2] = ["/services/objectstorage", "/services/walrus"];
const CONTENT_SHA256: &str = "x-amz-content-sha256";
const UNSIGNED_CHUNKS: &str = "STREAMING-UNSIGNED-PAYLOAD-TRAILER";

/// The rest of a path with one of the prefixes.
fn rest_of(path: &str) -> Option<&str> {
    PREFIXES.iter().find_map(|prefix| {
        let rest = path.get(prefix.len()..).filter(|_| path[..prefix.len()].eq_ignore_ascii_case(prefix))?;
        match rest {
            "" => Some("/"),
            rest => rest.starts_with('/').then_some(rest),
        }
    })
}

/// The request as `s3s` is to see it.
pub(super) fn without_prefix(request: hyper::Request<RequestBody>, keys: &Keys) -> s3s::HttpRequest {
    let (mut parts, body) = request.into_parts();
    let with_prefix = rest_of(parts.uri.path()).map(str::to_owned);
    let rest = with_prefix.clone().unwrap_or_else(|| parts.uri.path().to_owned());
    let mut resigned = match with_prefix {
        Some(_) => resign(&mut parts, &rest, keys),
        None => Resigned { query: parts.uri.query().map(str::to_owned), chunks: None },
    };
    version2::resign(&mut parts, &rest, &mut resigned.query, keys);
    let query = resigned.query.map(|query| format!("?{query}")).unwrap_or_default();
    if let Ok(path_and_query) = PathAndQuery::try_from(format!("{rest}{query}")) {
        let mut uri = std::mem::take(&mut parts.uri).into_parts();
        uri.path_and_query = Some(path_and_query);
        parts.uri = Uri::from_parts(uri).unwrap_or_default();
    }
    let body = match resigned.chunks {
        None => s3s::Body::http_body_unsync(body),
        Some(chain) => {
            let chunks = signed_chunks::without_signatures(BodyDataStream::new(body), chain);
            s3s::Body::http_body_unsync(StreamBody::new(chunks.map_ok(Frame::data)))
        }
    };
    s3s::HttpRequest::from_parts(parts, body)
}

/// What `resign` leaves to be put together.
struct Resigned {
    query: Option<String>,
    /// Set when the body's chunks are signed, each after the one before, beginning with the request's own signature.
    chunks: Option<signed_chunks::Chain>,
}

/// Signs anew what is signed over the whole path. All else stays as it is, for `s3s` to accept or refuse.
fn resign(parts: &mut Parts, rest: &str, keys: &Keys) -> Resigned {
    let mut resigned = Resigned { query: parts.uri.query().map(str::to_owned), chunks: None };
    let query = resigned.query.clone().unwrap_or_default();
    let Ok(Some(signature)) = Signature::parse(&parts.headers, &query) else { return resigned };
    let Some(key) = keys.find(&signature.access_key) else { return resigned };
    let credential = &key.credential;
    let presigned = signature.presigned.is_some();
    let payload = match parts.headers.get(CONTENT_SHA256).and_then(|value| value.to_str().ok()) {
        _ if presigned => "UNSIGNED-PAYLOAD".to_owned(),
        Some(declared) => declared.to_owned(),
        None => return resigned,
    };
    let full = SignedRequest {
        method: parts.method.as_str(),
        path: parts.uri.path(),
        query: &query,
        headers: &parts.headers,
        body: b"",
    };
    if signature.check(&full, &payload, &credential.secret_key).is_err() {
        return resigned;
    }
    let signed_chunks = !presigned && payload.starts_with("STREAMING-AWS4-HMAC-SHA256-PAYLOAD");
    if signed_chunks {
        parts.headers.insert(CONTENT_SHA256, HeaderValue::from_static(UNSIGNED_CHUNKS));
        // `s3s` wants the header with this kind of body, whether a trailer follows or not.
        parts.headers.entry("x-amz-trailer").or_insert(HeaderValue::from_static("none"));
        resigned.chunks = Some(signed_chunks::Chain::new(&signature, &credential.secret_key));
    }
    let payload = if signed_chunks { UNSIGNED_CHUNKS } else { &payload };
    let shorter =
        SignedRequest { method: parts.method.as_str(), path: rest, query: &query, headers: &parts.headers, body: b"" };
    let Ok(canonical) = signature.canonical_request(&shorter, &canonical_path(rest, Encoding::Once), payload) else {
        return resigned;
    };
    let anew = signature.sign(&canonical, &credential.secret_key);
    if presigned {
        resigned.query = Some(query.replace(&signature.signature, &anew));
    } else if let Some(header) = parts.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok())
        && let Ok(header) = HeaderValue::try_from(header.replace(&signature.signature, &anew))
    {
        parts.headers.insert(AUTHORIZATION, header);
    }
    resigned
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefix_ends_at_a_slash() {
        assert_eq!(rest_of("/services/objectstorage"), Some("/"));
        assert_eq!(rest_of("/services/Walrus/b/k%20x"), Some("/b/k%20x"));
        assert_eq!(rest_of("/services/objectstorages/b"), None);
        assert_eq!(rest_of("/b/services/objectstorage"), None);
        assert_eq!(rest_of("/services/objéctstorage"), None);
    }
}
