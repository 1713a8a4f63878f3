//! A request's body that can be read to its end by someone else. A client that is refused in the midst of an upload
//! goes on sending; were the connection closed at once, the refusal would be lost on its way. So what is left of the
//! body is read, within limits, before the refusal is sent.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use http_body_util::BodyExt as _;
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};

const LIMIT_BYTES: usize = 256 * 1024 * 1024;
const LIMIT: Duration = Duration::from_secs(30);

/// Read by whoever holds it; a clone reads on where the other has stopped.
#[derive(Clone)]
pub(super) struct RequestBody(Arc<Mutex<State>>);

struct State {
    body: Incoming,
    ended: bool,
}

impl RequestBody {
    pub(super) fn new(body: Incoming) -> Self {
        let ended = body.is_end_stream();
        Self(Arc::new(Mutex::new(State { body, ended })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads what is left. A client that waits to be told to begin (`Expect: 100-continue`) is told so here: were it
    /// answered without, its next request would be taken for the body by whoever stands between.
    pub(super) async fn drain(mut self) {
        let drained = async {
            let mut bytes = 0;
            while let Some(Ok(frame)) = self.frame().await {
                bytes += frame.data_ref().map_or(0, Bytes::len);
                if bytes > LIMIT_BYTES {
                    return;
                }
            }
        };
        let _ = tokio::time::timeout(LIMIT, drained).await;
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let mut state = self.state();
        if state.ended {
            return Poll::Ready(None);
        }
        let polled = Pin::new(&mut state.body).poll_frame(context);
        state.ended = matches!(polled, Poll::Ready(None | Some(Err(_))));
        polled
    }

    fn is_end_stream(&self) -> bool {
        let state = self.state();
        state.ended || state.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.state().body.size_hint()
    }
}
