//! One picture's page. It asks S3 nothing: URLs are signed here.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::error::HttpError;
use crate::handlers::NameInPath;
use crate::object_store::Signer;
use crate::photo::{Photo, percent_encoded};
use crate::router::{App, Form};
use crate::views::{self, PhotoPage, Picture};

pub async fn show(
    State(app): State<Arc<App>>,
    NameInPath(name): NameInPath,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, HttpError> {
    let name = name.map_err(|_| no_such_picture())?;
    let photo = app.db.find(&name).await?;
    let photo = photo.ok_or_else(|| HttpError::unknown_picture(name.as_str()))?;
    let signer = app.store.presigner.signer().await?;
    let picture = described(&signer, &photo);
    if query.unwrap_or_default().split('&').any(|pair| pair == "raw" || pair.starts_with("raw=")) {
        let location = HeaderValue::from_str(&picture.url)
            .map_err(|error| HttpError::internal(format!("a URL is no header: {error}")))?;
        let headers = [(header::LOCATION, location), (header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
        return Ok((StatusCode::FOUND, headers).into_response());
    }
    if Form::of(&headers) == Form::Json {
        return Ok(views::photo_json(&picture));
    }
    let (newer, older) = app.db.neighbours(photo.id).await?;
    let page = |name: Option<String>| name.map(|name| format!("/imagecrud/{}", percent_encoded(&name)));
    let page = PhotoPage { site: app.site(), picture: &picture, newer: page(newer), older: page(older) };
    Ok(views::with_images_from(signer.origin(), &page)?.into_response())
}

/// A row with URLs that a browser can open.
pub(super) fn described(signer: &Signer, photo: &Photo) -> Picture {
    let url = signer.url(&photo.original_key);
    let thumbnail_url = photo.thumbnail_key.as_ref().map_or_else(|| url.clone(), |key| signer.url(key));
    Picture::new(photo, &url, &thumbnail_url)
}

pub(super) fn no_such_picture() -> HttpError {
    HttpError::new(StatusCode::NOT_FOUND, "there is no such picture")
        .hint("the index at /imagecrud/ lists every picture")
}
