//! The pages and their JSON twins. Names are escaped by the templates; URLs of bytes come from the object store.

use askama::Template;
use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use serde::Serialize;

use crate::error::{Explanation, HttpError};
use crate::photo::{Photo, percent_encoded};
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
    pub fn new(photo: &Photo, url: String, thumbnail_url: String) -> Self {
        let (width, height) = photo.thumbnail_size();
        let encoded = percent_encoded(&photo.name);
        Self {
            name: photo.name.clone(),
            page: format!("/imagecrud/{encoded}"),
            url,
            thumbnail: Thumbnail { url: thumbnail_url, width, height },
            content_type: photo.content_type.clone(),
            bytes: photo.bytes,
            width: photo.width,
            height: photo.height,
            sha256: photo.sha256_hex(),
            created: photo.created.clone(),
            updated: photo.updated.clone(),
        }
    }

    fn kilobytes(&self) -> u64 {
        self.bytes.div_ceil(1000)
    }
}

#[derive(Template)]
#[template(path = "index.html")]
pub struct IndexPage {
    pub pictures: Vec<Picture>,
    /// The address of the next older page.
    pub older: Option<String>,
    /// Whether this is the first page.
    pub newest: bool,
}

#[derive(Template)]
#[template(path = "photo.html")]
struct PhotoPage<'a> {
    picture: &'a Picture,
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage<'a> {
    status: u16,
    message: &'a str,
    hint: Option<&'a str>,
}

pub fn index_json(page: &IndexPage) -> Response {
    Json(serde_json::json!({ "pictures": page.pictures, "older": page.older })).into_response()
}

pub fn index_html(page: &IndexPage, image_origin: &str) -> Result<Response, HttpError> {
    with_images_from(image_origin, page.render())
}

pub fn photo_json(picture: &Picture) -> Response {
    Json(picture).into_response()
}

pub fn photo_html(picture: &Picture, image_origin: &str) -> Result<Response, HttpError> {
    with_images_from(image_origin, PhotoPage { picture }.render())
}

/// What went wrong, in the form that the client asked for.
pub fn failure(status: StatusCode, explanation: &Explanation, form: Form) -> Response {
    let (message, hint) = (explanation.message.as_ref(), explanation.hint.as_deref());
    let text = || match hint {
        Some(hint) => format!("{message}\nhint: {hint}\n"),
        None => format!("{message}\n"),
    };
    match form {
        Form::Json => (status, Json(serde_json::json!({ "error": message, "hint": hint }))).into_response(),
        Form::Html => match (ErrorPage { status: status.as_u16(), message, hint }).render() {
            Ok(page) => (status, Html(page)).into_response(),
            Err(_) => (status, text()).into_response(),
        },
        Form::Text => (status, text()).into_response(),
    }
}

pub async fn style() -> Response {
    let headers = [(header::CONTENT_TYPE, "text/css; charset=utf-8"), (header::CACHE_CONTROL, "public, max-age=3600")];
    (headers, include_str!("../../templates/style.css")).into_response()
}

/// A page may show pictures from the object store, and nothing else from anywhere.
fn with_images_from(origin: &str, page: askama::Result<String>) -> Result<Response, HttpError> {
    let page = page.map_err(HttpError::internal)?;
    let policy = format!(
        "default-src 'none'; img-src 'self' {origin}; style-src 'self'; script-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    );
    let policy = HeaderValue::from_str(&policy).map_err(HttpError::internal)?;
    let mut response = Html(page).into_response();
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    Ok(response)
}
