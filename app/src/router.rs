//! Every route, and what is done around each: asking who may, limits, security headers, an id and a line in the
//! log, counting, and writing errors in the form that the client asked for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{MethodRouter, get, post};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use crate::assets;
use crate::config::Config;
use crate::error::{Explanation, HttpError};
use crate::guard::Guard;
use crate::handlers::index::IndexPages;
use crate::handlers::{about, deletion, health, index, photos, upload};
use crate::kept_pages::KeptPages;
use crate::metrics::Metrics;
use crate::object_store::ObjectStore;
use crate::photos_db::PhotosDb;
use crate::request_id;
use crate::upload_memory::MemoryBudget;
use crate::views::{self, Site};

/// Requests in hand at once; beyond it 503 at once is kinder than a queue.
const MAX_REQUESTS: usize = 1024;

/// What every handler may use.
pub struct App {
    pub db: PhotosDb,
    pub store: ObjectStore,
    pub index: KeptPages<IndexPages>,
    pub metrics: Arc<Metrics>,
    /// Uploads in hand.
    pub upload_slots: Semaphore,
    /// What uploads that have come wholly may hold in memory.
    pub memory: MemoryBudget,
    /// Decodings at once: one per core, each may hold 192 MB.
    pub decoding: Arc<Semaphore>,
    /// What must end before the process does, though no client waits for it.
    pub tasks: TaskTracker,
    /// Set from SIGTERM on.
    pub draining: AtomicBool,
    pub readiness: health::Readiness,
    /// Whether small versions are made.
    pub thumbnails: bool,
    guard: Guard,
    requests: Semaphore,
    served_by: Option<HeaderValue>,
    site: Site,
    max_uploads: usize,
}

impl App {
    pub fn new(db: PhotosDb, store: ObjectStore, config: &Config) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let site = Site::new(config.served_by.as_ref(), config.served_in.as_deref());
        let index = IndexPages { db: db.clone(), presigner: store.presigner.clone(), site: site.clone() };
        Self {
            db,
            store,
            index: KeptPages::new(index),
            metrics: Arc::default(),
            upload_slots: Semaphore::new(config.upload_slots),
            memory: MemoryBudget::default(),
            decoding: Arc::new(Semaphore::new(cores)),
            tasks: TaskTracker::new(),
            draining: AtomicBool::new(false),
            readiness: health::Readiness::default(),
            thumbnails: config.thumbnails,
            guard: Guard::new(config),
            requests: Semaphore::new(MAX_REQUESTS),
            served_by: config.served_by.clone(),
            site,
            max_uploads: config.upload_slots,
        }
    }

    pub fn site(&self) -> &Site {
        &self.site
    }

    pub fn requests_in_hand(&self) -> usize {
        MAX_REQUESTS - self.requests.available_permits()
    }

    pub fn uploads_in_hand(&self) -> usize {
        self.max_uploads - self.upload_slots.available_permits()
    }
}

type Table = Vec<(&'static str, MethodRouter<Arc<App>>)>;

/// What needs the database, and is shed under too much load.
fn gallery() -> Table {
    vec![
        ("/imagecrud/", get(index::index).post(upload::add)),
        ("/imagecrud/{name}", get(photos::show).post(upload::upload).delete(deletion::delete)),
        ("/imagecrud/{name}/delete", post(deletion::delete_by_form)),
        ("/imagecrud/{name}/restore", post(deletion::restore)),
    ]
}

fn beside() -> Table {
    vec![
        ("/", get(|| async { Redirect::temporary("/imagecrud/") })),
        ("/imagecrud", get(|| async { Redirect::temporary("/imagecrud/") })),
        ("/static/{file}", get(assets::serve)),
        ("/openapi.json", get(about::openapi)),
        ("/metrics", get(about::metrics)),
        ("/healthz", get(health::healthz)),
        ("/readyz", get(health::readyz)),
    ]
}

/// Every path that there is.
pub fn paths() -> Vec<&'static str> {
    gallery().into_iter().chain(beside()).map(|(path, _)| path).collect()
}

pub fn routes(app: Arc<App>) -> Router {
    let table = gallery().into_iter().chain(beside());
    table
        .fold(Router::new(), |router, (path, route)| router.route(path, route))
        .fallback(|| async {
            HttpError::new(StatusCode::NOT_FOUND, "there is no such page").hint("the pictures are at /imagecrud/")
        })
        .layer(from_fn_with_state(app.clone(), around))
        .with_state(app)
}

/// What of a request the log and the counters tell.
struct Asked {
    form: Form,
    method: Method,
    path: String,
    route: Option<MatchedPath>,
    forwarded_for: Option<String>,
    started: Instant,
}

impl Asked {
    fn by(request: &Request) -> Self {
        let forwarded_for = request.headers().get("x-forwarded-for").and_then(|value| value.to_str().ok());
        Self {
            form: Form::of(request.headers()),
            method: request.method().clone(),
            path: request.uri().path().to_string(),
            route: request.extensions().get::<MatchedPath>().cloned(),
            forwarded_for: forwarded_for.map(str::to_string),
            started: Instant::now(),
        }
    }

    /// Of `gallery`.
    fn needs_the_database(&self) -> bool {
        self.route.as_ref().is_some_and(|route| route.as_str().starts_with("/imagecrud/"))
    }

    fn is_for_people(&self) -> bool {
        !matches!(self.path.as_str(), "/healthz" | "/readyz" | "/metrics")
    }
}

async fn around(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let id = request_id::of(request.headers());
    let span = tracing::info_span!("request", id = id.to_str().unwrap_or_default());
    let mut response = answer(&app, request, next).instrument(span).await;
    response.headers_mut().insert(request_id::HEADER, id);
    response
}

async fn answer(app: &App, request: Request, next: Next) -> Response {
    let asked = Asked::by(&request);
    let response = match app.guard.refusal(&request) {
        Some(refusal) => refusal,
        None if asked.needs_the_database() => match app.requests.try_acquire() {
            Ok(_permit) => next.run(request).await,
            Err(_) => HttpError::unavailable("the server has too much to do").into_response(),
        },
        None => next.run(request).await,
    };
    let mut response = explained(app, response, &asked);
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("private, no-cache"));
    headers.entry(header::VARY).or_insert(HeaderValue::from_static("Accept"));
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(HeaderValue::from_static(
        "default-src 'none'; img-src 'self'; style-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    ));
    if let Some(served_by) = &app.served_by {
        headers.insert("x-served-by", served_by.clone());
    }
    if app.draining.load(Ordering::Relaxed) {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    account(app, &asked, response.status().as_u16());
    response
}

/// Counts, and writes one line. What load balancers and monitoring ask every few seconds is for those who look closer.
fn account(app: &App, asked: &Asked, status: u16) {
    let took = asked.started.elapsed();
    let route = asked.route.as_ref().map_or("other", |route| route.as_str());
    let method = match asked.method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        _ => "other",
    };
    app.metrics.answered(route, method, status, took);
    let ms = took.as_micros() as f64 / 1000.0;
    let path = asked.path.as_str();
    let from = asked.forwarded_for.as_deref().unwrap_or("-");
    if asked.is_for_people() {
        tracing::info!(method, path, status, ms, from, "answered");
    } else {
        tracing::debug!(method, path, status, ms, from, "answered");
    }
}

/// Writes what went wrong in the form that the client asked for, and one line of it into the log.
fn explained(app: &App, mut response: Response, asked: &Asked) -> Response {
    let status = response.status();
    if !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    // /readyz answers 503 with a body of its own.
    let Some(explanation) =
        response.extensions_mut().remove::<Explanation>().or_else(|| from_the_framework(status, &response))
    else {
        return response;
    };
    let cause = explanation.cause.as_deref().unwrap_or_default();
    if status.is_server_error() {
        tracing::warn!(status = status.as_u16(), cause, "{}", explanation.message);
    } else {
        tracing::info!(status = status.as_u16(), cause, "{}", explanation.message);
    }
    let instead = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
    let mut written = views::failure(&app.site, status, &explanation, instead, asked.form);
    for name in [header::RETRY_AFTER, header::ALLOW, header::LOCATION, header::WWW_AUTHENTICATE] {
        if let Some(value) = response.headers().get(&name) {
            written.headers_mut().insert(name, value.clone());
        }
    }
    written
}

fn from_the_framework(status: StatusCode, response: &Response) -> Option<Explanation> {
    if status != StatusCode::METHOD_NOT_ALLOWED {
        return None;
    }
    let allowed = response.headers().get(header::ALLOW).and_then(|value| value.to_str().ok()).unwrap_or("GET");
    Some(Explanation {
        message: "this address does not do that".into(),
        hint: Some(format!("it knows {allowed}").into()),
        cause: None,
    })
}

/// The forms in which we answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Json,
    Html,
    Text,
}

impl Form {
    /// The best-liked of what the client names; one that names nothing of ours is no browser.
    pub fn of(headers: &HeaderMap) -> Self {
        let accept = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let mut best = (Self::Text, 0.0f32);
        for range in accept.flat_map(|value| value.split(',')) {
            let mut parts = range.split(';').map(str::trim);
            let form = match parts.next().unwrap_or_default() {
                "application/json" => Self::Json,
                "text/html" | "application/xhtml+xml" => Self::Html,
                _ => continue,
            };
            let quality = parts.find_map(|part| part.strip_prefix("q=")?.parse().ok()).unwrap_or(1.0);
            if quality > best.1 {
                best = (form, quality);
            }
        }
        best.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepting(accept: &str) -> Form {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_str(accept).unwrap());
        Form::of(&headers)
    }

    #[test]
    fn the_best_liked_form_is_chosen() {
        assert_eq!(accepting("application/json"), Form::Json);
        assert_eq!(accepting("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"), Form::Html);
        assert_eq!(accepting("application/json;q=0.5, text/html"), Form::Html);
        assert_eq!(accepting("*/*"), Form::Text);
        assert_eq!(Form::of(&HeaderMap::new()), Form::Text);
    }
}
