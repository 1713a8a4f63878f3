//! Delete, and take it back while the bytes are still there. Neither asks S3 anything: bytes are swept later.

use std::sync::Arc;

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};

use crate::error::HttpError;
use crate::handlers::NameInPath;
use crate::handlers::photos::{described, no_such_picture};
use crate::photo::{ObjectKey, PhotoName, percent_encoded};
use crate::photos_db::{Deletion, Restored};
use crate::router::{App, Form};
use crate::views;

/// An address that is no picture's is harmless here: old clients send DELETE to every link that they find.
pub async fn delete(
    State(app): State<Arc<App>>,
    NameInPath(name): NameInPath,
    headers: HeaderMap,
) -> Result<Response, HttpError> {
    let name = name.map_err(|_| no_such_picture())?;
    let deletion = really_delete(&app, &name).await?;
    Ok(match Form::of(&headers) {
        Form::Json => written(&name, &deletion),
        Form::Html | Form::Text => StatusCode::OK.into_response(),
    })
}

/// The same for a form, which can only POST.
pub async fn delete_by_form(
    State(app): State<Arc<App>>,
    NameInPath(name): NameInPath,
    headers: HeaderMap,
) -> Result<Response, HttpError> {
    let name = name.map_err(|_| no_such_picture())?;
    let deletion = really_delete(&app, &name).await?;
    Ok(match Form::of(&headers) {
        Form::Json => written(&name, &deletion),
        Form::Html => Redirect::to(&format!("/imagecrud/?deleted={}", percent_encoded(name.as_str()))).into_response(),
        Form::Text => StatusCode::OK.into_response(),
    })
}

async fn really_delete(app: &App, name: &PhotoName) -> Result<Deletion, HttpError> {
    let deletion = app.db.delete(name).await?.ok_or_else(|| HttpError::unknown_picture(name.as_str()))?;
    tracing::info!(%name, "deleted");
    Ok(deletion)
}

fn written(name: &PhotoName, deletion: &Deletion) -> Response {
    Json(serde_json::json!({
        "deleted": name.as_str(),
        "undo": views::restore_address(name, &deletion.key),
        "undo_until": deletion.until,
    }))
    .into_response()
}

/// `key` tells which of several deleted pictures of one name is meant.
pub async fn restore(
    State(app): State<Arc<App>>,
    NameInPath(name): NameInPath,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, HttpError> {
    let name = name.map_err(|_| no_such_picture())?;
    let key = query.as_deref().and_then(|query| ObjectKey::from_random(query.strip_prefix("key=")?));
    let key = key.ok_or_else(|| {
        HttpError::new(StatusCode::BAD_REQUEST, "this address names no deletion")
            .hint("use the address that the deletion answered as `undo`")
    })?;
    match app.db.restore(&name, &key).await? {
        Restored::Back => tracing::info!(%name, "restored"),
        Restored::NameTaken => {
            let error =
                HttpError::new(StatusCode::CONFLICT, format!("another picture is named {:?} by now", name.as_str()));
            return Err(error.hint("delete that one first; the deleted picture can be restored for a few minutes"));
        }
        Restored::Gone => {
            let error = HttpError::new(StatusCode::GONE, format!("the picture {:?} is gone for good", name.as_str()));
            return Err(error.hint("a deletion can be undone for a few minutes only; upload the picture again"));
        }
    }
    match Form::of(&headers) {
        Form::Json => {
            let photo = app.db.find(&name).await?.ok_or_else(|| HttpError::unknown_picture(name.as_str()))?;
            let signer = app.store.presigner.signer().await?;
            Ok(views::photo_json(&described(&signer, &photo)))
        }
        Form::Html => Ok(Redirect::to(&format!("/imagecrud/{}", percent_encoded(name.as_str()))).into_response()),
        Form::Text => Ok(StatusCode::OK.into_response()),
    }
}
