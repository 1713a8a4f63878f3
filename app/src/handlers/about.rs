//! What programs ask about the server itself.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use crate::error::HttpError;
use crate::metrics::{self, Readings};
use crate::router::App;

pub async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], include_str!("../../../templates/openapi.json")).into_response()
}

pub async fn metrics(State(app): State<Arc<App>>) -> Result<Response, HttpError> {
    let (open, idle) = app.db.connections();
    let readings = Readings {
        requests_in_hand: app.requests_in_hand(),
        uploads_in_hand: app.uploads_in_hand(),
        database_connections: open,
        database_connections_idle: idle,
    };
    let text = app.metrics.render(&readings).map_err(HttpError::internal)?;
    Ok(([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response())
}
