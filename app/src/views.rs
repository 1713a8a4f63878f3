//! The pages and their JSON twins. Names are escaped by the templates; URLs of bytes come from the object store.

use std::sync::Arc;

use askama::Template;
use axum::Json;
use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use serde::Serialize;

use crate::assets;
use crate::error::{Explanation, HttpError};
use crate::photo::{Listed, ObjectKey, Photo, PhotoName, percent_encoded};
use crate::photos_db::{Deletion, Order};
use crate::router::Form;

/// A picture as clients see it.
#[derive(Debug, Serialize)]
pub struct Picture {
    pub name: String,
    /// Its own page, below this server.
    pub page: String,
    pub url: String,
    pub thumbnail: Thumbnail,
    pub content_type: String,
    pub bytes: u64,
    pub width: u32,
    pub height: u32,
    pub sha256: String,
    pub created: String,
    pub updated: String,
}

#[derive(Debug, Serialize)]
pub struct Thumbnail {
    pub url: String,
    pub width: u32,
    pub height: u32,
}

impl Picture {
    pub fn new(photo: &Photo, url: &str, thumbnail_url: &str) -> Self {
        let (width, height) = photo.thumbnail_size();
        let encoded = percent_encoded(&photo.name);
        Self {
            name: photo.name.clone(),
            page: format!("/imagecrud/{encoded}"),
            url: url.into(),
            thumbnail: Thumbnail { url: thumbnail_url.into(), width, height },
            content_type: photo.content_type.clone(),
            bytes: photo.bytes,
            width: photo.width,
            height: photo.height,
            sha256: photo.sha256_hex(),
            created: photo.created.clone(),
            updated: photo.updated.clone(),
        }
    }

    /// The size as people read it.
    fn size(&self) -> String {
        match self.bytes {
            0..1_000_000 => format!("{} kB", self.bytes.div_ceil(1000)),
            bytes => format!("{:.1} MB", bytes as f64 / 1_000_000.0),
        }
    }

    /// To the minute.
    fn updated_text(&self) -> String {
        self.updated.get(..16).unwrap_or(&self.updated).replace('T', " ")
    }

    fn kind(&self) -> &str {
        match self.content_type.strip_prefix("image/").unwrap_or(&self.content_type) {
            "jpeg" => "JPEG",
            "png" => "PNG",
            "gif" => "GIF",
            "webp" => "WebP",
            other => other,
        }
    }
}

/// What every page shows around its own.
#[derive(Debug, Clone)]
pub struct Site {
    /// One server of many, in words.
    served_by: Option<String>,
}

impl Site {
    /// Of `INSTANCE/BINARY` only the first is for people.
    pub fn new(served_by: Option<&HeaderValue>, served_in: Option<&str>) -> Self {
        let instance = served_by.and_then(|value| value.to_str().ok()?.split('/').next());
        let served_by = instance.map(|instance| match served_in {
            Some(zone) => format!("{instance} in {zone}"),
            None => instance.into(),
        });
        Self { served_by }
    }

    fn asset(&self, name: &str) -> String {
        assets::address(name)
    }
}

/// A picture as the index shows it: no more than that is looked up and signed.
pub struct Tile {
    pub name: String,
    /// Of the thumbnail.
    pub url: Arc<str>,
    pub width: u32,
    pub height: u32,
}

impl Tile {
    pub fn new(row: Listed, url: Arc<str>) -> Self {
        let (width, height) = row.size();
        Self { name: row.name, url, width, height }
    }
}

/// A deletion that the index tells of.
pub struct Notice {
    pub name: String,
    /// Where a form can take it back; none once that is too late.
    pub restore: Option<String>,
}

impl Notice {
    pub fn new(name: &PhotoName, deletion: Option<Deletion>) -> Self {
        Self { name: name.as_str().into(), restore: deletion.map(|deletion| restore_address(name, &deletion.key)) }
    }
}

pub fn restore_address(name: &PhotoName, key: &ObjectKey) -> String {
    format!("/imagecrud/{}/restore?key={}", percent_encoded(name.as_str()), key.random_part())
}

#[derive(Template)]
#[template(path = "index.html")]
pub struct IndexPage<'a> {
    pub site: &'a Site,
    pub tiles: Vec<Tile>,
    /// The address of the next page, and of the first where this is another.
    pub next: Option<String>,
    pub first_page: Option<String>,
    pub order: Order,
    pub prefix: &'a str,
    /// Where it is not the usual one.
    pub limit: Option<u32>,
    pub notice: Option<Notice>,
}

#[derive(Template)]
#[template(path = "photo.html")]
pub struct PhotoPage<'a> {
    pub site: &'a Site,
    pub picture: &'a Picture,
    /// The pages of those uploaded next after and before it.
    pub newer: Option<String>,
    pub older: Option<String>,
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage<'a> {
    site: &'a Site,
    status: u16,
    message: &'a str,
    hint: Option<&'a str>,
    /// A picture that stands in the way.
    instead: Option<&'a str>,
}

pub fn index_json(pictures: &[Picture], next: Option<&str>) -> Result<Page, HttpError> {
    // `older` is what the first clients call the next page.
    let index = serde_json::json!({ "pictures": pictures, "next": next, "older": next });
    let body = serde_json::to_vec(&index).map_err(HttpError::internal)?;
    Ok(Page { body: body.into(), content_type: "application/json", policy: None })
}

pub fn photo_json(picture: &Picture) -> Response {
    Json(picture).into_response()
}

/// What went wrong, in the form that the client asked for.
pub fn failure(
    site: &Site,
    status: StatusCode,
    explanation: &Explanation,
    instead: Option<&str>,
    form: Form,
) -> Response {
    let (message, hint) = (explanation.message.as_ref(), explanation.hint.as_deref());
    let text = || match hint {
        Some(hint) => format!("{message}\nhint: {hint}\n"),
        None => format!("{message}\n"),
    };
    match form {
        Form::Json => (status, Json(serde_json::json!({ "error": message, "hint": hint }))).into_response(),
        Form::Html => match (ErrorPage { site, status: status.as_u16(), message, hint, instead }).render() {
            Ok(page) => (status, Html(page)).into_response(),
            Err(_) => (status, text()).into_response(),
        },
        Form::Text => (status, text()).into_response(),
    }
}

/// A page may show pictures from the object store, and nothing else from anywhere.
pub fn with_images_from(origin: &str, page: &impl Template) -> Result<Page, HttpError> {
    let page = page.render().map_err(HttpError::internal)?;
    let policy = format!(
        "default-src 'none'; img-src 'self' {origin}; style-src 'self'; script-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    );
    let policy = HeaderValue::from_str(&policy).map_err(HttpError::internal)?;
    Ok(Page { body: page.into(), content_type: "text/html; charset=utf-8", policy: Some(policy) })
}

/// A page that is finished. A clone is the same bytes.
#[derive(Debug, Clone)]
pub struct Page {
    pub body: Bytes,
    content_type: &'static str,
    /// Where the pictures of the page may come from; none leaves it to what all answers say.
    policy: Option<HeaderValue>,
}

#[cfg(test)]
pub(crate) fn plain_page(body: String) -> Page {
    Page { body: body.into(), content_type: "text/plain", policy: None }
}

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.body));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        if let Some(policy) = self.policy {
            response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
        }
        response
    }
}
