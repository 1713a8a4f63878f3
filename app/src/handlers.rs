//! What each route does, as steps. Handlers know names, rows and keys; they do not know SQL or how errors are written.

use axum::extract::FromRequestParts;
use axum::extract::Path;
use axum::http::request::Parts;

use crate::photo::{InvalidName, PhotoName};

/// The API's description and the metrics.
pub mod about;
/// Delete, and take it back.
pub mod deletion;
/// Liveness and readiness.
pub mod health;
/// List.
pub mod index;
/// Show.
pub mod photos;
/// Create or replace.
pub mod upload;

/// The name in the path, decoded once; whether a wrong one is 400 or 404 is the handler's to say.
pub struct NameInPath(pub Result<PhotoName, InvalidName>);

impl<S: Send + Sync> FromRequestParts<S> for NameInPath {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        let name = match Path::<String>::from_request_parts(parts, state).await {
            Ok(Path(text)) => PhotoName::parse(&text),
            Err(_) => Err(InvalidName),
        };
        Ok(Self(name))
    }
}
