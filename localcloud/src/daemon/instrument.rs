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

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use tower::ServiceExt as _;

    use super::*;

    async fn ask(faults: &Faults, method: &str, path: &str, body: &'static str) -> (u16, String) {
        let request =
            axum::http::Request::builder().method(method).uri(path).body(Body::from(body)).expect("a request");
        let response = router(faults.clone()).oneshot(request).await.expect("an answer");
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body(), 100_000).await.expect("a body");
        (status, String::from_utf8_lossy(&body).into_owned())
    }

    #[tokio::test]
    async fn faults_are_changed_and_calls_are_told_on_request() {
        let faults = Faults::default();
        let plan = "[[fault]]\naction = 'ec2.*'\neffect = 'throttle'";
        assert_eq!(ask(&faults, "PUT", "/faults", plan).await.0, 204);
        assert_eq!(ask(&faults, "GET", "/faults", "").await, (200, plan.to_owned()));
        let (status, said) = ask(&faults, "PUT", "/faults", "[[fault]]\naction = 'ec2.*'").await;
        assert!(status == 400 && said.contains("missing field `effect`"), "{status} {said}");
        for action in ["CreateTags", "DeleteTags"] {
            assert!(faults.meet("ec2", action, "r").failure.is_some(), "the former plan stays");
        }
        let (_, calls) = ask(&faults, "GET", "/calls?after=1", "").await;
        assert!(
            calls.contains(r#""total":2"#) && calls.contains("DeleteTags") && !calls.contains("CreateTags"),
            "{calls}"
        );
        assert_eq!(ask(&faults, "GET", "/calls?befor=1", "").await.0, 400);
        assert_eq!(ask(&faults, "DELETE", "/calls", "").await.0, 204);
        assert_eq!(ask(&faults, "DELETE", "/faults", "").await.0, 204);
        assert_eq!(faults.meet("ec2", "CreateTags", "r").failure, None);
        assert_eq!(faults.calls(0).total, 1);
    }
}
