//! The files that pages need, compiled in. A page names each with the hash of its content, so browsers keep it for ever and
//! never show a new page with an old style; asked for by its bare name it is checked by its ETag.

use std::sync::LazyLock;

use axum::extract::{Path, RawQuery};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use crate::error::HttpError;
use crate::photo::hex;

struct Asset {
    name: &'static str,
    content_type: &'static str,
    content: &'static str,
    version: String,
}

static ASSETS: LazyLock<[Asset; 3]> = LazyLock::new(|| {
    let asset = |name, content_type, content: &'static str| {
        let version = hex(&Sha256::digest(content.as_bytes())[..8]);
        Asset { name, content_type, content, version }
    };
    [
        asset("style.css", "text/css; charset=utf-8", include_str!("../../templates/style.css")),
        asset("gallery.js", "text/javascript; charset=utf-8", include_str!("../../templates/gallery.js")),
        asset("icon.svg", "image/svg+xml", include_str!("../../templates/icon.svg")),
    ]
});

/// Where a page finds an asset.
pub fn address(name: &str) -> String {
    let version = ASSETS.iter().find(|asset| asset.name == name).map(|asset| asset.version.as_str());
    format!("/static/{name}?v={}", version.unwrap_or_default())
}

pub async fn serve(
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, HttpError> {
    let Some(asset) = ASSETS.iter().find(|asset| asset.name == name) else {
        return Err(HttpError::new(StatusCode::NOT_FOUND, "there is no such file"));
    };
    let tag = format!("\"{}\"", asset.version);
    // A page of another version, from before or after a roll-out, names another hash: it gets ours, but does not keep it.
    let asked_for_this = query.is_some_and(|query| query.strip_prefix("v=") == Some(asset.version.as_str()));
    let caching = if asked_for_this { "public, max-age=31536000, immutable" } else { "public, no-cache" };
    let known = headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|known| known.trim().trim_start_matches("W/") == tag || known.trim() == "*");
    let headers = [(header::CACHE_CONTROL, caching.to_string()), (header::ETAG, tag)];
    if known {
        return Ok((StatusCode::NOT_MODIFIED, headers).into_response());
    }
    Ok((headers, [(header::CONTENT_TYPE, asset.content_type)], asset.content).into_response())
}
