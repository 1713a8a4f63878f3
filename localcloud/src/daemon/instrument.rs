//! Faults and counted calls on the socket `admin`: `GET /calls?after=N`, `DELETE /calls`; `GET`, `PUT` and `DELETE /faults`,
//! whose body is a plan as the file of `--faults` has it.

use axum::{
    Json, Router,
    extract::{Query, State},
    http::StatusCode,
    routing::get,
};
use serde::Deserialize;

use crate::faults::{Calls, Faults};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct After {
    #[serde(default)]
    after: u64,
}

pub fn router(faults: Faults) -> Router {
    Router::new()
        .route("/calls", get(calls).delete(forget_calls))
        .route("/faults", get(text).put(set).delete(clear))
        .with_state(faults)
}

async fn calls(State(faults): State<Faults>, Query(After { after }): Query<After>) -> Json<Calls> {
    Json(faults.calls(after))
}

async fn forget_calls(State(faults): State<Faults>) -> StatusCode {
    faults.forget_calls();
    StatusCode::NO_CONTENT
}

async fn text(State(faults): State<Faults>) -> String {
    faults.text()
}

async fn set(State(faults): State<Faults>, text: String) -> Result<StatusCode, (StatusCode, String)> {
    faults.set(&text).map_err(|error| (StatusCode::BAD_REQUEST, format!("{error}\n")))?;
    Ok(StatusCode::NO_CONTENT)
}

async fn clear(State(faults): State<Faults>) -> StatusCode {
    faults.clear();
    StatusCode::NO_CONTENT
}
