//! Create or replace. Everything up to the complete body belongs to the client and ends with it; what follows runs on by
//! itself, so that a client that goes away cannot cut it between object and row.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::error::HttpError;
use crate::handlers::NameInPath;
use crate::handlers::photos::described;
use crate::photo::{InvalidName, NewPhoto, ObjectKey, Photo, PhotoName, PictureKind};
use crate::router::{App, Form};
use crate::thumbnail::{self, Picture, PictureError};
use crate::upload_body::{UploadBody, check_declared_length, read_file};
use crate::views;

/// How long an upload waits for others to end.
const SLOT_WAIT: Duration = Duration::from_secs(5);

pub async fn upload(
    State(app): State<Arc<App>>,
    NameInPath(name): NameInPath,
    request: Request,
) -> Result<Response, HttpError> {
    let form = Form::of(request.headers());
    let asked_first = request.headers().contains_key(header::EXPECT);
    let (body, request) = UploadBody::share(request);
    let outcome = receive_and_keep(&app, name, request).await;
    body.drain(asked_first, &app.tasks);
    let kept = outcome?;
    if form != Form::Json {
        return Ok(StatusCode::OK.into_response());
    }
    match kept {
        Some(photo) => Ok(views::photo_json(&described(&app, &photo).await?)),
        // Kept, and deleted again before we could look.
        None => Ok(axum::Json(serde_json::json!({})).into_response()),
    }
}

async fn receive_and_keep(
    app: &Arc<App>,
    name: Result<PhotoName, InvalidName>,
    request: Request,
) -> Result<Option<Photo>, HttpError> {
    let name = name?;
    check_declared_length(&request)?;
    app.db.ready().await?;
    let slot = tokio::time::timeout(SLOT_WAIT, app.upload_slots.acquire()).await;
    let Ok(Ok(_slot)) = slot else {
        return Err(HttpError::unavailable("the server has too many uploads in hand"));
    };
    let bytes = read_file(request).await?;
    let picture = on_a_core(app, move || thumbnail::inspect(&bytes)).await?;
    if let Some(photo) = app.db.find(&name).await?
        && photo.sha256 == picture.sha256
    {
        return Ok(Some(photo));
    }
    let (picture, thumbnail) = on_a_core(app, move || {
        let thumbnail = thumbnail::render(&picture)?;
        Ok((picture, thumbnail))
    })
    .await?;
    let keeping = app.tasks.spawn(keep(app.clone(), name.clone(), picture, thumbnail));
    keeping.await.map_err(HttpError::internal)??;
    Ok(app.db.find(&name).await.unwrap_or_default())
}

/// Intent, objects, row: in this order, whatever ends in between is swept.
async fn keep(app: Arc<App>, name: PhotoName, picture: Picture, thumbnail: Option<Vec<u8>>) -> Result<(), HttpError> {
    let key = ObjectKey::random();
    let (kind, bytes) = (picture.kind, picture.bytes.len() as u64);
    app.db.record_intent(&key).await?;
    let (original_key, thumbnail_key) = (key.original(), key.thumbnail());
    let disposition = disposition(&name, kind);
    let original = app.store.put(&original_key, Bytes::from(picture.bytes), kind.content_type(), &disposition);
    let small = async {
        let Some(thumbnail) = thumbnail else { return false };
        match app.store.put(&thumbnail_key, Bytes::from(thumbnail), "image/jpeg", "inline").await {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(%name, "no thumbnail could be kept: {error}");
                false
            }
        }
    };
    let (original, has_thumbnail) = tokio::join!(original, small);
    original?;
    let new = NewPhoto {
        name,
        key,
        has_thumbnail,
        kind,
        bytes,
        width: picture.width,
        height: picture.height,
        sha256: picture.sha256,
    };
    app.db.commit(&new).await?;
    tracing::info!(name = %new.name, bytes, "kept");
    Ok(())
}

/// What a browser calls the file when it is saved.
fn disposition(name: &PhotoName, kind: PictureKind) -> String {
    let suffix = format!(".{}", kind.extension());
    let file =
        if name.as_str().to_lowercase().ends_with(&suffix) { name.to_string() } else { format!("{name}{suffix}") };
    if file.is_ascii() {
        format!("inline; filename=\"{file}\"")
    } else {
        format!("inline; filename*=UTF-8''{}", utf8_percent_encode(&file, NON_ALPHANUMERIC))
    }
}

/// Runs heavy work on a blocking thread, as many at once as there are cores. A decoder that panics has met a damaged file.
async fn on_a_core<T: Send + 'static>(
    app: &App,
    work: impl FnOnce() -> Result<T, PictureError> + Send + 'static,
) -> Result<T, HttpError> {
    let permit = app.decoding.clone().acquire_owned().await;
    let permit = permit.map_err(|_| HttpError::unavailable("the server is ending"))?;
    let done = tokio::task::spawn_blocking(move || {
        // Held by the work itself: a client that goes away does not stop it.
        let _permit = permit;
        work()
    });
    match done.await {
        Ok(outcome) => Ok(outcome?),
        Err(error) => Err(HttpError::from(PictureError::Damaged("picture")).cause(error)),
    }
}
