//! Create or replace. Everything up to the complete body belongs to the client and ends with it; what follows runs on by
//! itself, so that a client that goes away cannot cut it between object and row.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tracing::Instrument;

use crate::error::HttpError;
use crate::handlers::NameInPath;
use crate::handlers::photos::described;
use crate::photo::{InvalidName, NewPhoto, ObjectKey, PhotoName, PictureKind, percent_encoded};
use crate::photos_db::CommitError;
use crate::router::{App, Form};
use crate::thumbnail::{self, Picture, PictureError};
use crate::upload_body::{UploadBody, check_declared_length, read_upload};
use crate::views;

/// How long an upload waits for others to end.
const SLOT_WAIT: Duration = Duration::from_secs(5);

/// Creates or replaces the picture that the address names.
pub async fn upload(
    State(app): State<Arc<App>>,
    NameInPath(name): NameInPath,
    request: Request,
) -> Result<Response, HttpError> {
    let form = Form::of(request.headers());
    let target = name.map(|name| Target { may_replace: !wants_new(&request), name: Some(name) });
    let kept = receive(&app, target, request).await?;
    Ok(match form {
        Form::Json => kept.json(&app).await?,
        Form::Html => Redirect::to(&kept.page()).into_response(),
        Form::Text => StatusCode::OK.into_response(),
    })
}

/// Adds a picture under the name that the form or else the file has. Never replaces: that name was not chosen with care.
pub async fn add(State(app): State<Arc<App>>, request: Request) -> Result<Response, HttpError> {
    let form = Form::of(request.headers());
    let kept = receive(&app, Ok(Target { name: None, may_replace: false }), request).await?;
    Ok(match form {
        Form::Json => kept.json(&app).await?,
        Form::Html => Redirect::to("/imagecrud/").into_response(),
        Form::Text => kept.page().into_response(),
    })
}

struct Target {
    /// None leaves it to the form.
    name: Option<PhotoName>,
    may_replace: bool,
}

struct Kept {
    name: PhotoName,
}

impl Kept {
    fn page(&self) -> String {
        format!("/imagecrud/{}", percent_encoded(self.name.as_str()))
    }

    /// As it is now: another may have replaced or deleted it meanwhile.
    async fn json(&self, app: &App) -> Result<Response, HttpError> {
        let photo = app.db.find(&self.name).await?.ok_or_else(|| HttpError::unknown_picture(self.name.as_str()))?;
        let signer = app.store.presigner.signer().await?;
        Ok(views::photo_json(&described(&signer, &photo)))
    }
}

/// Only `*` has a meaning here: whatever is there has another hash (RFC 9110, section 13.1.2).
fn wants_new(request: &Request) -> bool {
    request.headers().get(header::IF_NONE_MATCH).is_some_and(|value| value == "*")
}

async fn receive(app: &Arc<App>, target: Result<Target, InvalidName>, request: Request) -> Result<Kept, HttpError> {
    let asked_first = request.headers().contains_key(header::EXPECT);
    let (body, request) = UploadBody::share(request);
    let outcome = receive_and_keep(app, target, request).await;
    body.drain(asked_first, &app.tasks);
    outcome
}

async fn receive_and_keep(
    app: &Arc<App>,
    target: Result<Target, InvalidName>,
    request: Request,
) -> Result<Kept, HttpError> {
    let Target { name, may_replace } = target?;
    check_declared_length(&request)?;
    app.db.ready().await?;
    let slot = tokio::time::timeout(SLOT_WAIT, app.upload_slots.acquire()).await;
    let Ok(Ok(_slot)) = slot else {
        return Err(HttpError::unavailable("the server has too many uploads in hand"));
    };
    let form = read_upload(request).await?;
    let name = match (name, &form.name) {
        (Some(name), _) => name,
        (None, Some(name)) => PhotoName::parse(name)?,
        (None, None) => PhotoName::from_file_name(form.file_name.as_deref().unwrap_or_default())?,
    };
    let mut memory = app.memory.share(form.file.length()).await?;
    let file = form.file;
    let picture = on_a_core(app, move || {
        let bytes = file.into_memory().map_err(HttpError::internal)?;
        Ok(thumbnail::inspect(bytes)?)
    })
    .await?;
    memory.shrink_to(picture.bytes.len());
    if let Some(photo) = app.db.find(&name).await? {
        if photo.sha256 == picture.sha256 {
            return Ok(Kept { name });
        }
        if !may_replace {
            return Err(HttpError::name_taken(&name));
        }
    }
    let (picture, thumbnail) = if app.thumbnails {
        let started = Instant::now();
        let rendered = on_a_core(app, move || {
            let thumbnail = thumbnail::render(&picture)?;
            Ok((picture, thumbnail))
        });
        let rendered = rendered.await?;
        app.metrics.made_thumbnail(started.elapsed());
        rendered
    } else {
        (picture, None)
    };
    let keeping = keep(app.clone(), name.clone(), may_replace, picture, thumbnail).in_current_span();
    let keeping = async move {
        let kept = keeping.await;
        drop(memory);
        kept
    };
    app.tasks.spawn(keeping).await.map_err(HttpError::internal)??;
    Ok(Kept { name })
}

/// Intent, objects, row: in this order, whatever ends in between is swept.
async fn keep(
    app: Arc<App>,
    name: PhotoName,
    may_replace: bool,
    picture: Picture,
    thumbnail: Option<Vec<u8>>,
) -> Result<(), HttpError> {
    let key = ObjectKey::random();
    let (kind, bytes) = (picture.kind, picture.bytes.len() as u64);
    app.db.record_intent(&key).await?;
    let (original_key, thumbnail_key) = (key.original(), key.thumbnail());
    let disposition = disposition(&name, kind);
    let original = app.store.put(&original_key, Bytes::from(picture.bytes), kind.content_type(), &disposition);
    let small = async {
        let Some(thumbnail) = thumbnail else { return Ok(false) };
        app.store.put(&thumbnail_key, Bytes::from(thumbnail), "image/jpeg", "inline").await.map(|()| true)
    };
    // Where it is not known whether one was written, both stay an intent, and are swept.
    let (original, small) = tokio::join!(original, small);
    original?;
    let has_thumbnail = small?;
    let new = NewPhoto {
        name,
        may_replace,
        key,
        has_thumbnail,
        kind,
        bytes,
        width: picture.width,
        height: picture.height,
        sha256: picture.sha256,
    };
    match app.db.commit(&new).await {
        Err(CommitError::NameTaken) => return Err(HttpError::name_taken(&new.name)),
        outcome => outcome?,
    }
    app.metrics.kept_pictures.inc();
    app.metrics.kept_bytes.inc_by(bytes);
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
    work: impl FnOnce() -> Result<T, HttpError> + Send + 'static,
) -> Result<T, HttpError> {
    let permit = app.decoding.clone().acquire_owned().await;
    let permit = permit.map_err(|_| HttpError::unavailable("the server is ending"))?;
    let done = tokio::task::spawn_blocking(move || {
        // Held by the work itself: a client that goes away does not stop it.
        let _permit = permit;
        work()
    });
    match done.await {
        Ok(outcome) => outcome,
        Err(error) => Err(HttpError::from(PictureError::Damaged("picture")).cause(error)),
    }
}
