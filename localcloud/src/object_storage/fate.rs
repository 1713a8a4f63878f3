//! Faults on purpose, as clients of S3 meet them. What becomes of a request is known where its operation is and its
//! signature was found valid; whether it is answered is decided where its connection is. Its fate goes with it.

use std::sync::{Arc, OnceLock};

use s3s::{HttpResponse, S3Error, S3ErrorCode, S3Result};

use crate::{
    faults::{
        CREATING, Faults, Verdict,
        plan::{Effect, S3},
    },
    wire::listener::HeldBack,
};

/// Of one request. Clones share one.
#[derive(Clone)]
pub(super) struct Fate(Arc<Inner>);

struct Inner {
    faults: Faults,
    request_id: String,
    met: OnceLock<Met>,
}

struct Met {
    verdict: Verdict,
    /// The bucket, or the object in it, that will be there if all goes well, and was not before.
    creates: Option<(String, Option<String>)>,
}

impl Fate {
    pub(super) fn new(faults: &Faults, request_id: &str) -> Self {
        Self(Arc::new(Inner { faults: faults.clone(), request_id: request_id.to_owned(), met: OnceLock::new() }))
    }

    /// Counts the request, and lets it be struck. `is_there` tells of a bucket or an object whether it exists.
    ///
    /// # Errors
    /// In S3's words.
    pub(super) async fn meet(
        &self,
        operation: &str,
        bucket: Option<&str>,
        key: Option<&str>,
        is_there: impl Fn(&str, Option<&str>) -> bool,
    ) -> S3Result<()> {
        let verdict = self.0.faults.meet(S3, operation, &self.0.request_id);
        let (delay, failure) = (verdict.delay, verdict.failure);
        let creates = bucket
            .filter(|bucket| CREATING.contains(&operation) && !is_there(bucket, key))
            .map(|bucket| (bucket.to_owned(), key.map(str::to_owned)));
        let _ = self.0.met.set(Met { verdict, creates });
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        match failure {
            None | Some(Effect::DropAfter) => Ok(()),
            Some(effect) => Err(injected(effect)),
        }
    }

    /// Notes what it came to, and hides what it has made, if that is to be.
    ///
    /// # Errors
    /// When the client is to be told nothing.
    pub(super) fn end(&self, response: &HttpResponse) -> Result<(), HeldBack> {
        let Some(Met { verdict, creates }) = self.0.met.get() else { return Ok(()) };
        let is_success = response.status().is_success();
        let outcome = if is_success { "OK".to_owned() } else { code_of(response) };
        self.0.faults.note(verdict.number, &outcome);
        if let (true, Some((bucket, key))) = (is_success, creates) {
            self.0.faults.hide_object(bucket, key.as_deref(), verdict);
        }
        match verdict.failure {
            Some(Effect::DropBefore | Effect::DropAfter) => Err(HeldBack),
            _ => Ok(()),
        }
    }
}

/// The error's code, as the answer's text has it.
fn code_of(response: &HttpResponse) -> String {
    let text = response.body().bytes().unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let code = text.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>")).map(|(code, _)| code);
    code.map_or_else(|| response.status().as_u16().to_string(), str::to_owned)
}

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html#ErrorCodeList>
fn injected(effect: Effect) -> S3Error {
    let (code, words) = match effect {
        Effect::Throttle => (S3ErrorCode::SlowDown, "Please reduce your request rate."),
        Effect::Unavailable => (S3ErrorCode::ServiceUnavailable, "Service is unable to handle request."),
        Effect::DependencyViolation => (S3ErrorCode::BucketNotEmpty, "The bucket you tried to delete is not empty."),
        Effect::ExpiredToken => return expired_token(),
        // Of these, S3 has no failure.
        Effect::InternalError
        | Effect::DropBefore
        | Effect::DropAfter
        | Effect::Delay
        | Effect::Hide
        | Effect::InsufficientCapacity => {
            (S3ErrorCode::InternalError, "We encountered an internal error. Please try again.")
        }
    };
    S3Error::with_message(code, words)
}

pub(super) fn expired_token() -> S3Error {
    S3Error::with_message(S3ErrorCode::ExpiredToken, "The provided token has expired.")
}
