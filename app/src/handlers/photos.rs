//! List and show. Neither asks S3 anything: URLs are signed here.

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use icu_normalizer::ComposingNormalizerBorrowed;

use crate::error::HttpError;
use crate::handlers::NameInPath;
use crate::object_store::Signer;
use crate::photo::{MAX_NAME_CHARS, Photo, PhotoName, percent_encoded};
use crate::photos_db::{Cursor, Listing, Order};
use crate::router::{App, Form};
use crate::views::{self, IndexPage, Notice, PhotoPage, Picture, Tile};

const DEFAULT_LIMIT: u32 = 100;
const MAX_LIMIT: u32 = 200;

/// What the address asks for. A field that a form sent empty is one that was not sent.
type Parameters = HashMap<String, String>;

pub async fn index(
    State(app): State<Arc<App>>,
    parameters: Result<Query<Parameters>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, HttpError> {
    let Query(parameters) = parameters.map_err(|_| bad_query("what stands behind the `?`"))?;
    let limit = parameter(&parameters, "limit")?.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(bad_query("limit"));
    }
    let order: Order = match text(&parameters, "sort") {
        Some(sort) => sort.parse().map_err(|()| bad_query("sort"))?,
        None => Order::default(),
    };
    let prefix = text(&parameters, "q").map(search_text).unwrap_or_default();
    let behind: Option<Cursor> = parameter(&parameters, "before")?;
    // One more than shown tells whether there is another page.
    let listing = Listing { order, prefix: prefix.clone(), behind: behind.clone(), limit: limit + 1 };
    let address = |cursor: Option<&Cursor>| {
        let mut address = Vec::new();
        if limit != DEFAULT_LIMIT {
            address.push(format!("limit={limit}"));
        }
        if order != Order::default() {
            address.push(format!("sort={}", order.as_str()));
        }
        if !prefix.is_empty() {
            address.push(format!("q={}", percent_encoded(&prefix)));
        }
        if let Some(cursor) = cursor {
            address.push(format!("before={}", percent_encoded(&cursor.to_string())));
        }
        if address.is_empty() { "/imagecrud/".into() } else { format!("/imagecrud/?{}", address.join("&")) }
    };
    // Of a page that is too long, where the next begins: behind the last that is shown.
    let next = |more: bool, last: Option<(u64, &str)>| {
        let (id, name) = last.filter(|_| more)?;
        Some(address(Some(&Cursor::behind(id, name, order))))
    };
    let (first, shown) = (behind.is_none(), limit as usize);
    let signer = app.store.presigner.signer().await?;
    if Form::of(&headers) == Form::Json {
        let mut photos = app.db.list(&listing).await?;
        let more = photos.len() > shown;
        photos.truncate(shown);
        let next = next(more, photos.last().map(|photo| (photo.id, photo.name.as_str())));
        let pictures: Vec<Picture> = photos.iter().map(|photo| described(&signer, photo)).collect();
        return Ok(views::index_json(&pictures, next.as_deref()));
    }
    let mut rows = app.db.list_shown(&listing).await?;
    let more = rows.len() > shown;
    rows.truncate(shown);
    let next = next(more, rows.last().map(|row| (row.id, row.name.as_str())));
    let notice = match text(&parameters, "deleted").map(PhotoName::parse) {
        Some(Ok(name)) => Some(Notice::new(&name, app.db.last_deletion(&name).await?)),
        _ => None,
    };
    let limit = (limit != DEFAULT_LIMIT).then_some(limit);
    let first_page = (!first).then(|| address(None));
    let tiles = rows.into_iter().map(|row| {
        let url = signer.url(&row.shown_key);
        Tile::new(row, url)
    });
    let page = IndexPage { site: app.site(), tiles: tiles.collect(), next, first_page, order, prefix, limit, notice };
    views::with_images_from(signer.origin(), &page)
}

/// As names are spelt. What no name can hold finds nothing.
fn search_text(text: &str) -> String {
    let text: String = text.trim().chars().take(MAX_NAME_CHARS).collect();
    ComposingNormalizerBorrowed::new_nfc().normalize(&text).into_owned()
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
    views::with_images_from(signer.origin(), &page)
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

fn text<'a>(parameters: &'a Parameters, name: &str) -> Option<&'a str> {
    parameters.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
}

fn parameter<T: FromStr>(parameters: &Parameters, name: &str) -> Result<Option<T>, HttpError> {
    text(parameters, name).map(str::parse).transpose().map_err(|_| bad_query(name))
}

fn bad_query(name: &str) -> HttpError {
    HttpError::new(StatusCode::BAD_REQUEST, format!("`{name}` in the address cannot be used"))
        .hint("`limit` is 1 to 200, `sort` is newest, oldest or name, `q` is how a name begins, `before` comes from the link to the next page")
}
