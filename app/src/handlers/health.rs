//! Liveness and readiness. A load balancer asks the first: whether this process serves. It must not depend on what all
//! servers share, or one database away would take every server out at once, and have them replaced for ever.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::router::App;

const CACHED: Duration = Duration::from_secs(5);
const LIMIT: Duration = Duration::from_secs(1);

pub async fn healthz(State(app): State<Arc<App>>) -> Response {
    if app.draining.load(Ordering::Relaxed) {
        (StatusCode::SERVICE_UNAVAILABLE, "draining\n").into_response()
    } else {
        "ok\n".into_response()
    }
}

/// The last look at what this server depends on.
#[derive(Default)]
pub struct Readiness {
    last: tokio::sync::Mutex<Option<(Instant, Report)>>,
}

#[derive(Debug, Clone, Serialize)]
struct Report {
    ready: bool,
    draining: bool,
    database: Dependency,
    object_store: Dependency,
}

#[derive(Debug, Clone, Serialize)]
struct Dependency {
    ok: bool,
    detail: &'static str,
}

/// For people and alarms. What exactly fails stands in the log.
pub async fn readyz(State(app): State<Arc<App>>) -> Response {
    let mut last = app.readiness.last.lock().await;
    let report = match &*last {
        Some((at, report)) if at.elapsed() < CACHED => report.clone(),
        _ => {
            let (database, object_store) =
                tokio::join!(look("database", app.db.answers()), look("object store", app.store.answers()));
            let ready = database.ok && object_store.ok;
            let report = Report { ready, draining: false, database, object_store };
            *last = Some((Instant::now(), report.clone()));
            report
        }
    };
    drop(last);
    let draining = app.draining.load(Ordering::Relaxed);
    let report = Report { draining, ready: report.ready && !draining, ..report };
    let status = if report.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(report)).into_response()
}

async fn look<E: std::fmt::Display>(what: &str, answer: impl Future<Output = Result<(), E>>) -> Dependency {
    match tokio::time::timeout(LIMIT, answer).await {
        Ok(Ok(())) => Dependency { ok: true, detail: "answers" },
        Ok(Err(error)) => {
            tracing::info!("not ready: {what}: {error}");
            Dependency { ok: false, detail: "fails" }
        }
        Err(_) => Dependency { ok: false, detail: "did not answer within 1 s" },
    }
}
