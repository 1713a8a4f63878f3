//! Faults and counted calls on the socket `admin`: `GET /calls?after=N&s3_after=N`, `DELETE /calls`; `GET`, `PUT` and
//! `DELETE /faults`, whose body is a plan as the file of `--faults` has it. Calls of S3 are told by its own process.

use std::path::{Path, PathBuf};

use axum::{
    Json, Router,
    extract::{Query, State},
    http::StatusCode,
    routing::get,
};
use serde::{Deserialize, Serialize};

use crate::{
    faults::{Calls, Faults, plan::PlanError},
    object_storage::counted,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct After {
    #[serde(default)]
    after: u64,
    #[serde(default)]
    s3_after: u64,
}

/// Those of the API, and those of S3, which have numbers of their own.
#[derive(Serialize)]
struct AllCalls {
    #[serde(flatten)]
    api: Calls,
    /// None when S3 does not run.
    s3: Option<Calls>,
}

#[derive(Clone)]
struct Instrument {
    faults: Faults,
    /// Where S3 tells of its calls.
    s3: PathBuf,
}

type Refusal = (StatusCode, String);

pub fn router(faults: Faults, s3: &Path) -> Router {
    Router::new()
        .route("/calls", get(calls).delete(forget_calls))
        .route("/faults", get(text).put(set).delete(clear))
        .with_state(Instrument { faults, s3: s3.to_owned() })
}

async fn calls(
    State(Instrument { faults, s3 }): State<Instrument>,
    Query(After { after, s3_after }): Query<After>,
) -> Result<Json<AllCalls>, Refusal> {
    let s3 = counted::calls(&s3, s3_after).await.map_err(no_answer)?;
    Ok(Json(AllCalls { api: faults.calls(after), s3 }))
}

async fn forget_calls(State(Instrument { faults, s3 }): State<Instrument>) -> Result<StatusCode, Refusal> {
    counted::forget(&s3).await.map_err(no_answer)?;
    faults.forget_calls();
    Ok(StatusCode::NO_CONTENT)
}

fn no_answer(error: anyhow::Error) -> Refusal {
    (StatusCode::BAD_GATEWAY, format!("{error:#}\n"))
}

async fn text(State(Instrument { faults, .. }): State<Instrument>) -> String {
    faults.text()
}

async fn set(State(Instrument { faults, .. }): State<Instrument>, text: String) -> Result<StatusCode, Refusal> {
    faults.set(&text).map(|()| StatusCode::NO_CONTENT).map_err(refusal)
}

async fn clear(State(Instrument { faults, .. }): State<Instrument>) -> Result<StatusCode, Refusal> {
    faults.clear().map(|()| StatusCode::NO_CONTENT).map_err(refusal)
}

fn refusal(error: PlanError) -> Refusal {
    let status = match error {
        PlanError::Wrong(_) => StatusCode::BAD_REQUEST,
        PlanError::Untold(_) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    (status, format!("{error}\n"))
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use tower::ServiceExt as _;

    use super::*;

    async fn ask(faults: &Faults, method: &str, path: &str, body: &'static str) -> (u16, String) {
        let request =
            axum::http::Request::builder().method(method).uri(path).body(Body::from(body)).expect("a request");
        let router = router(faults.clone(), Path::new("/nonexistent/s3-admin.sock"));
        let response = router.oneshot(request).await.expect("an answer");
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
        assert!(calls.contains(r#""s3":null"#), "S3 does not run: {calls}");
        assert_eq!(ask(&faults, "GET", "/calls?befor=1", "").await.0, 400);
        assert_eq!(ask(&faults, "DELETE", "/calls", "").await.0, 204);
        assert_eq!(ask(&faults, "DELETE", "/faults", "").await.0, 204);
        assert_eq!(faults.meet("ec2", "CreateTags", "r").failure, None);
        assert_eq!(faults.calls(0).total, 1);
    }

    #[tokio::test]
    async fn a_plan_of_which_s3_cannot_be_told_is_not_in_force() {
        let directory = tempfile::tempdir().expect("a directory");
        let faults = Faults::default();
        let told = directory.path().join("run/told.toml");
        faults.tell(&told).expect("nothing is told by no file");
        assert_eq!(ask(&faults, "PUT", "/faults", "[[fault]]\naction = '*'\neffect = 'throttle'").await.0, 204);
        std::fs::remove_dir_all(directory.path().join("run")).expect("removed");
        std::fs::write(directory.path().join("run"), "in the way").expect("written");
        let (status, said) = ask(&faults, "PUT", "/faults", "").await;
        assert!(status == 500 && said.starts_with("S3 cannot be told"), "{status} {said}");
        assert_eq!(ask(&faults, "DELETE", "/faults", "").await.0, 500);
        assert!(faults.meet("ec2", "CreateTags", "r").failure.is_some(), "the former plan stays");
    }
}
