//! One request, from its connection to its answer.

use std::sync::Arc;

use http::HeaderValue;
use hyper::{Request, body::Incoming};
use s3s::{HttpResponse, service::S3Service};

use super::{credentials::Keys, fate::Fate, prefix, request_body::RequestBody, version2};
use crate::{behaviour::Behaviour, faults::Faults, model::id, wire::listener::HeldBack};

/// What answers. Cheap to clone.
#[derive(Clone)]
pub(super) struct Answerer {
    pub(super) service: S3Service,
    pub(super) keys: Arc<Keys>,
    pub(super) behaviour: Behaviour,
    pub(super) faults: Faults,
}

impl Answerer {
    /// # Errors
    /// When the connection is to be closed without an answer.
    pub(super) async fn answer(&self, request: Request<Incoming>) -> Result<HttpResponse, HeldBack> {
        let request_id = id::uuid();
        let fate = Fate::new(&self.faults, &request_id);
        let mut request = request.map(RequestBody::new);
        let body = request.body().clone();
        request.extensions_mut().insert(fate.clone());
        let refused = !self.behaviour.has_signature_version_2() && version2::is_stated(&request);
        let answered = if refused {
            version2::refusal().to_http_response().map_err(|error| format!("{error:?}"))
        } else {
            let request = prefix::without_prefix(request, &self.keys);
            self.service.call(request).await.map_err(|error| format!("{error:?}"))
        };
        let mut response = answered.unwrap_or_else(|error| {
            tracing::error!("answering a request: {error}");
            let mut response = HttpResponse::new(s3s::Body::empty());
            *response.status_mut() = http::StatusCode::INTERNAL_SERVER_ERROR;
            response
        });
        fate.end(&response)?;
        if response.status().as_u16() >= 400 {
            body.drain().await;
        }
        if let Ok(request_id) = HeaderValue::try_from(request_id) {
            response.headers_mut().insert("x-amz-request-id", request_id);
        }
        Ok(response)
    }
}
