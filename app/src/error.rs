//! What goes wrong on the way to an HTTP answer: a status, a sentence, a hint, and the cause, which is logged once and never
//! sent. How it is written (JSON, a page, plain text) is decided around the routes, where the request's Accept is known.

use std::borrow::Cow;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::database::DatabaseError;
use crate::object_store::ObjectStoreError;
use crate::photo::{InvalidName, MAX_AREA, MAX_SIDE, PhotoName, percent_encoded};
use crate::photos_db::CommitError;
use crate::thumbnail::PictureError;

#[derive(Debug, Clone)]
pub struct HttpError {
    pub status: StatusCode,
    pub message: Cow<'static, str>,
    pub hint: Option<Cow<'static, str>>,
    /// For the log alone.
    pub cause: Option<String>,
    /// Of the picture that stands in the way.
    pub location: Option<HeaderValue>,
}

/// What a failed response carries until it is written.
#[derive(Debug, Clone)]
pub struct Explanation {
    pub message: Cow<'static, str>,
    pub hint: Option<Cow<'static, str>>,
    pub cause: Option<String>,
}

impl HttpError {
    pub fn new(status: StatusCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { status, message: message.into(), hint: None, cause: None, location: None }
    }

    pub fn hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub fn cause(mut self, cause: impl std::fmt::Display) -> Self {
        self.cause = Some(cause.to_string());
        self
    }

    pub fn unavailable(message: &'static str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, message).hint("try again in a few seconds; nothing is lost")
    }

    /// The reader learns nothing of the cause; the log does.
    pub fn internal(cause: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "the server could not do this")
            .hint("its log says why")
            .cause(cause)
    }

    /// An upload that was not to replace anything.
    pub fn name_taken(name: &PhotoName) -> Self {
        let mut error =
            Self::new(StatusCode::CONFLICT, format!("there is already another picture named {:?}", name.as_str()))
                .hint("choose another name, or replace the picture on its own page");
        error.location = HeaderValue::from_str(&format!("/imagecrud/{}", percent_encoded(name.as_str()))).ok();
        error
    }

    pub fn unknown_picture(name: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, format!("there is no picture named {name:?}"))
            .hint("the index at /imagecrud/ lists every picture")
    }
}

impl IntoResponse for HttpError {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
        }
        if let Some(location) = self.location {
            response.headers_mut().insert(header::LOCATION, location);
        }
        response.extensions_mut().insert(Explanation { message: self.message, hint: self.hint, cause: self.cause });
        response
    }
}

impl From<DatabaseError> for HttpError {
    fn from(error: DatabaseError) -> Self {
        if error.is_unavailable() {
            Self::unavailable("the database does not answer").cause(error)
        } else {
            Self::internal(error)
        }
    }
}

impl From<ObjectStoreError> for HttpError {
    fn from(error: ObjectStoreError) -> Self {
        Self::unavailable("the object store does not answer").cause(error)
    }
}

impl From<CommitError> for HttpError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Swept => Self::unavailable("the upload took too long").cause(error),
            CommitError::NameTaken => Self::new(StatusCode::CONFLICT, error.to_string()),
            CommitError::Database(error) => error.into(),
        }
    }
}

impl From<InvalidName> for HttpError {
    fn from(error: InvalidName) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error.to_string()).hint(PhotoName::HINT)
    }
}

impl From<PictureError> for HttpError {
    fn from(error: PictureError) -> Self {
        let message = error.to_string();
        match error {
            PictureError::NotAPicture => Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message)
                .hint("JPEG, PNG, GIF and WebP are kept, whatever the file is called"),
            PictureError::Damaged(_) => {
                Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message).hint("open it in a viewer and save it again")
            }
            PictureError::TooManyPixels { .. } | PictureError::TooMuchMemory => {
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, message).hint(format!(
                    "make it smaller: at most {MAX_SIDE} pixels a side and {} million in all",
                    MAX_AREA / 1_000_000
                ))
            }
            PictureError::TooLarge => {
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, message).hint("save it smaller or at a lower quality")
            }
        }
    }
}
