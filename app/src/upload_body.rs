//! Reading a multipart upload within its limits. A refused upload is read to its end in the background and thrown away:
//! a server that closes while the client still sends makes the client see a reset instead of the refusal.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{DefaultBodyLimit, FromRequest, Multipart, Request};
use axum::http::{StatusCode, header};
use futures::{Stream, StreamExt};
use tokio_util::task::TaskTracker;

use crate::error::HttpError;
use crate::photo::MAX_BYTES;
use crate::thumbnail::PictureError;
use crate::upload_memory::{Arrived, Incoming};

/// What a form may hold beside the picture.
const MAX_OTHER_BYTES: usize = 64 * 1024;
const MAX_FIELDS: usize = 16;
/// The form's reader takes into memory what it can get at once. A sender may be quick.
const MAX_AT_ONCE: usize = 128 * 1024;
/// A sender may pause this long, and take this long in all.
const IDLE_LIMIT: Duration = Duration::from_secs(30);
const WHOLE_LIMIT: Duration = Duration::from_secs(300);
/// How much of a refused upload is read, and for how long.
const MAX_DRAINED_BYTES: usize = 256 * 1024 * 1024;
const DRAIN_LIMIT: Duration = Duration::from_secs(30);

const HOW_TO: &str =
    "send the picture as field `file` of a multipart form: curl -F file=@cat.jpeg http://HOST/imagecrud/cat";

/// A request's body, shared between the form's reader and whoever reads the rest.
#[derive(Clone)]
pub struct UploadBody {
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    body: Body,
    started: bool,
    ended: bool,
}

struct Chunks {
    body: UploadBody,
    at_once: usize,
}

impl Stream for Chunks {
    type Item = Result<Bytes, axum::Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.at_once >= MAX_AT_ONCE {
            self.at_once = 0;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let body = self.body.clone();
        let mut inner = body.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.started = true;
        loop {
            let frame = std::task::ready!(Pin::new(&mut inner.body).poll_frame(context));
            match frame {
                Some(Ok(frame)) => {
                    // Trailers say nothing about a form.
                    if let Ok(data) = frame.into_data() {
                        self.at_once += data.len();
                        return Poll::Ready(Some(Ok(data)));
                    }
                }
                Some(Err(error)) => {
                    inner.ended = true;
                    return Poll::Ready(Some(Err(error)));
                }
                None => {
                    inner.ended = true;
                    return Poll::Ready(None);
                }
            }
        }
    }
}

impl UploadBody {
    /// Takes the body out of a request and leaves the shared one in it.
    pub fn share(request: Request) -> (Self, Request) {
        let (parts, body) = request.into_parts();
        let shared = Self { inner: Arc::new(Mutex::new(Inner { body, started: false, ended: false })) };
        let request = Request::from_parts(parts, Body::from_stream(Chunks { body: shared.clone(), at_once: 0 }));
        (shared, request)
    }

    /// Reads what is left, within limits, without holding up the answer. A client that asked first (`Expect`) and has sent
    /// nothing is left alone: the answer comes instead of its permission.
    pub fn drain(self, asked_first: bool, tasks: &TaskTracker) {
        {
            let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
            if inner.ended || (asked_first && !inner.started) {
                return;
            }
        }
        tasks.spawn(async move {
            let mut chunks = Chunks { body: self, at_once: 0 };
            let mut bytes = 0;
            let read = async {
                while let Some(Ok(chunk)) = chunks.next().await {
                    bytes += chunk.len();
                    if bytes > MAX_DRAINED_BYTES {
                        break;
                    }
                }
            };
            let _ = tokio::time::timeout(DRAIN_LIMIT, read).await;
        });
    }
}

/// Refuses by the declared length alone, before anything is sent.
pub fn check_declared_length(request: &Request) -> Result<(), HttpError> {
    let declared =
        request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    match declared {
        Some(length) if length > (MAX_BYTES + MAX_OTHER_BYTES) as u64 => Err(PictureError::TooLarge.into()),
        _ => Ok(()),
    }
}

/// What an upload's form holds.
pub struct UploadForm {
    /// The field `file`.
    pub file: Arrived,
    pub file_name: Option<String>,
    /// The field `name`, where it is not empty.
    pub name: Option<String>,
}

pub async fn read_upload(mut request: Request) -> Result<UploadForm, HttpError> {
    // Bytes are counted here, so that a refusal can be read by the client.
    DefaultBodyLimit::disable().apply(&mut request);
    let mut form = Multipart::from_request(request, &())
        .await
        .map_err(|_| HttpError::new(StatusCode::BAD_REQUEST, "this is no multipart form").hint(HOW_TO))?;
    match tokio::time::timeout(WHOLE_LIMIT, read_form(&mut form)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(too_slow()),
    }
}

async fn read_form(form: &mut Multipart) -> Result<UploadForm, HttpError> {
    let (mut file, mut file_name, mut name) = (None, None, None);
    let mut others = 0;
    for _ in 0..MAX_FIELDS {
        let Some(mut field) = within(form.next_field()).await? else {
            let file: Incoming = file
                .ok_or_else(|| HttpError::new(StatusCode::BAD_REQUEST, "the form has no field `file`").hint(HOW_TO))?;
            return Ok(UploadForm { file: file.arrived().await.map_err(no_room)?, file_name, name });
        };
        let wanted = field.name() == Some("file");
        if wanted && file.is_some() {
            return Err(HttpError::new(StatusCode::BAD_REQUEST, "the form has more than one field `file`").hint(HOW_TO));
        }
        let named = field.name() == Some("name");
        if wanted {
            file_name = field.file_name().map(str::to_string);
        }
        let (mut incoming, mut text) = (Incoming::default(), Vec::new());
        while let Some(chunk) = within(field.chunk()).await? {
            if wanted {
                if incoming.length() + chunk.len() > MAX_BYTES {
                    return Err(PictureError::TooLarge.into());
                }
                incoming.push(&chunk).await.map_err(no_room)?;
            } else {
                others += chunk.len();
                if others > MAX_OTHER_BYTES {
                    return Err(HttpError::new(StatusCode::PAYLOAD_TOO_LARGE, "the form's other fields are too large")
                        .hint(HOW_TO));
                }
                if named {
                    text.extend_from_slice(&chunk);
                }
            }
        }
        if wanted {
            file = Some(incoming);
        } else if named {
            name = Some(String::from_utf8_lossy(&text).trim().to_string()).filter(|name| !name.is_empty());
        }
    }
    Err(HttpError::new(StatusCode::BAD_REQUEST, "the form has too many fields").hint(HOW_TO))
}

async fn within<T>(
    step: impl Future<Output = Result<T, axum::extract::multipart::MultipartError>>,
) -> Result<T, HttpError> {
    match tokio::time::timeout(IDLE_LIMIT, step).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(HttpError::new(StatusCode::BAD_REQUEST, "the form is malformed or was cut off")
            .hint(HOW_TO)
            .cause(error.body_text())),
        Err(_) => Err(too_slow()),
    }
}

fn no_room(error: std::io::Error) -> HttpError {
    HttpError::unavailable("the server has no room for this upload").cause(error)
}

fn too_slow() -> HttpError {
    HttpError::new(StatusCode::REQUEST_TIMEOUT, "the upload came too slowly")
        .hint("try again over a better connection, or with a smaller picture")
}
