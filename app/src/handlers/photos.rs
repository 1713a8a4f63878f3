//! List, show, delete. None of them asks S3 anything: URLs are signed here, and bytes are swept later.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::error::HttpError;
use crate::handlers::NameInPath;
use crate::photo::Photo;
use crate::router::{App, Form};
use crate::views::{self, IndexPage, Picture};

const DEFAULT_LIMIT: u32 = 100;
const MAX_LIMIT: u32 = 200;

pub async fn index(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, HttpError> {
    let query = query.unwrap_or_default();
    let limit = number(&query, "limit")?.unwrap_or(u64::from(DEFAULT_LIMIT));
    if !(1..=u64::from(MAX_LIMIT)).contains(&limit) {
        return Err(bad_query("limit"));
    }
    let before = number(&query, "before")?;
    // One more than shown tells whether there is an older page.
    let mut photos = app.db.list(limit as u32 + 1, before).await?;
    let more = photos.len() > limit as usize;
    photos.truncate(limit as usize);
    let older = match photos.last() {
        Some(last) if more => Some(format!("/imagecrud/?limit={limit}&before={}", last.id)),
        _ => None,
    };
    let mut pictures = Vec::with_capacity(photos.len());
    for photo in &photos {
        pictures.push(described(&app, photo).await?);
    }
    let page = IndexPage { pictures, older, newest: before.is_none() };
    match Form::of(&headers) {
        Form::Json => Ok(views::index_json(&page)),
        Form::Html | Form::Text => views::index_html(&page, &app.store.presigner.origin().await?),
    }
}

pub async fn show(
    State(app): State<Arc<App>>,
    NameInPath(name): NameInPath,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, HttpError> {
    let name = name.map_err(|_| no_such_picture())?;
    let photo = app.db.find(&name).await?;
    let photo = photo.ok_or_else(|| HttpError::unknown_picture(name.as_str()))?;
    let picture = described(&app, &photo).await?;
    if query.unwrap_or_default().split('&').any(|pair| pair == "raw" || pair.starts_with("raw=")) {
        let location = HeaderValue::from_str(&picture.url)
            .map_err(|error| HttpError::internal(format!("a URL is no header: {error}")))?;
        let headers = [(header::LOCATION, location), (header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
        return Ok((StatusCode::FOUND, headers).into_response());
    }
    match Form::of(&headers) {
        Form::Json => Ok(views::photo_json(&picture)),
        Form::Html | Form::Text => views::photo_html(&picture, &app.store.presigner.origin().await?),
    }
}

/// An address that is no picture's is harmless here: old clients send DELETE to every link that they find.
pub async fn delete(
    State(app): State<Arc<App>>,
    NameInPath(name): NameInPath,
    headers: HeaderMap,
) -> Result<Response, HttpError> {
    let name = name.map_err(|_| no_such_picture())?;
    if !app.db.delete(&name).await? {
        return Err(HttpError::unknown_picture(name.as_str()));
    }
    tracing::info!(%name, "deleted");
    Ok(match Form::of(&headers) {
        Form::Json => axum::Json(serde_json::json!({ "deleted": name.as_str() })).into_response(),
        Form::Html | Form::Text => StatusCode::OK.into_response(),
    })
}

/// A row with URLs that a browser can open.
pub(super) async fn described(app: &App, photo: &Photo) -> Result<Picture, HttpError> {
    let url = app.store.presigner.url(&photo.original_key).await?;
    let thumbnail_url = match &photo.thumbnail_key {
        Some(key) => app.store.presigner.url(key).await?,
        None => url.clone(),
    };
    Ok(Picture::new(photo, url, thumbnail_url))
}

fn no_such_picture() -> HttpError {
    HttpError::new(StatusCode::NOT_FOUND, "there is no such picture")
        .hint("the index at /imagecrud/ lists every picture")
}

fn number(query: &str, name: &str) -> Result<Option<u64>, HttpError> {
    let value = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    match value.map(str::parse) {
        None => Ok(None),
        Some(Ok(number)) => Ok(Some(number)),
        Some(Err(_)) => Err(bad_query(name)),
    }
}

fn bad_query(name: &str) -> HttpError {
    HttpError::new(StatusCode::BAD_REQUEST, format!("`{name}` in the address cannot be used"))
        .hint("`limit` is 1 to 200, `before` comes from the link to older pictures")
}
