//! Bodies that are as their checksums say. A part's body is read through here: if at its end the checksum that was
//! declared in a header or in a trailer is not the body's, the body fails, and so does whoever writes it.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use futures::Stream;
use hyper::body::Bytes;
use s3s::{
    S3Error, S3ErrorCode, TrailingHeaders,
    checksum::ChecksumHasher,
    dto::{Checksum, StreamingBlob},
};

/// What became of a body; shared with the stream that reads it.
#[derive(Default, Clone)]
pub(super) struct Verification(Arc<Mutex<Outcome>>);

#[derive(Default)]
struct Outcome {
    size: u64,
    declared: Checksum,
    wrong: bool,
}

impl Verification {
    /// The same body, verified against `declared` and against the trailers named in `x-amz-trailer`.
    pub(super) fn of(
        &self,
        body: StreamingBlob,
        declared: Checksum,
        trailer: &str,
        trailers: Option<TrailingHeaders>,
    ) -> StreamingBlob {
        let named = |name: &str| trailer.to_ascii_lowercase().contains(&format!("x-amz-checksum-{name}"));
        let mut hasher = ChecksumHasher::default();
        if declared.checksum_crc32.is_some() || named("crc32") {
            hasher.crc32 = Some(Default::default());
        }
        if declared.checksum_crc32c.is_some() || named("crc32c") {
            hasher.crc32c = Some(Default::default());
        }
        if declared.checksum_sha1.is_some() || named("sha1") {
            hasher.sha1 = Some(Default::default());
        }
        if declared.checksum_sha256.is_some() || named("sha256") {
            hasher.sha256 = Some(Default::default());
        }
        if declared.checksum_crc64nvme.is_some() || named("crc64nvme") {
            hasher.crc64nvme = Some(Default::default());
        }
        self.outcome_mut().declared = declared;
        StreamingBlob::wrap(Checked { body, hasher: Some(hasher), trailers, verification: self.clone() })
    }

    /// Why the body failed, if its checksum is the reason.
    pub(super) fn refusal(&self) -> Option<S3Error> {
        self.outcome_mut().wrong.then(|| {
            S3Error::with_message(S3ErrorCode::BadDigest, "The checksum you specified did not match what we received.")
        })
    }

    /// Size and checksums of a body that was read to its end.
    pub(super) fn outcome(&self) -> (u64, Checksum) {
        let outcome = self.outcome_mut();
        (outcome.size, outcome.declared.clone())
    }

    fn outcome_mut(&self) -> MutexGuard<'_, Outcome> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// At the body's end. Tells whether all that was declared is so.
    fn conclude(&self, computed: &Checksum, trailers: Option<&TrailingHeaders>) -> bool {
        let mut outcome = self.outcome_mut();
        let from_trailer =
            |name: &str| trailers?.read(|headers| headers.get(name)?.to_str().ok().map(str::to_owned)).flatten();
        let declared = &mut outcome.declared;
        let pairs = [
            (&mut declared.checksum_crc32, &computed.checksum_crc32, "x-amz-checksum-crc32"),
            (&mut declared.checksum_crc32c, &computed.checksum_crc32c, "x-amz-checksum-crc32c"),
            (&mut declared.checksum_sha1, &computed.checksum_sha1, "x-amz-checksum-sha1"),
            (&mut declared.checksum_sha256, &computed.checksum_sha256, "x-amz-checksum-sha256"),
            (&mut declared.checksum_crc64nvme, &computed.checksum_crc64nvme, "x-amz-checksum-crc64nvme"),
        ];
        let mut right = true;
        for (declared, computed, trailer) in pairs {
            if declared.is_none() {
                *declared = from_trailer(trailer);
            }
            right &= declared.is_none() || declared == computed;
        }
        outcome.wrong = !right;
        right
    }
}

struct Checked {
    body: StreamingBlob,
    /// Taken at the end.
    hasher: Option<ChecksumHasher>,
    trailers: Option<TrailingHeaders>,
    verification: Verification,
}

impl Stream for Checked {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match ready!(Pin::new(&mut self.body).poll_next(context)) {
            Some(Ok(bytes)) => {
                if let Some(hasher) = &mut self.hasher {
                    hasher.update(&bytes);
                }
                self.verification.outcome_mut().size += bytes.len() as u64;
                Poll::Ready(Some(Ok(bytes)))
            }
            Some(Err(cause)) => Poll::Ready(Some(Err(io::Error::other(cause)))),
            None => {
                let Some(hasher) = self.hasher.take() else { return Poll::Ready(None) };
                if self.verification.conclude(&hasher.finalize(), self.trailers.as_ref()) {
                    return Poll::Ready(None);
                }
                Poll::Ready(Some(Err(io::Error::new(io::ErrorKind::InvalidData, "the checksum does not match"))))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt as _;

    use super::*;

    async fn read(declared: Option<&str>) -> (bool, Option<S3ErrorCode>) {
        let verification = Verification::default();
        let body = StreamingBlob::wrap(futures::stream::iter([Ok::<_, io::Error>(Bytes::from_static(b"123456789"))]));
        let declared = Checksum { checksum_crc32: declared.map(str::to_owned), ..Checksum::default() };
        let whole = verification.of(body, declared, "", None).try_collect::<Vec<Bytes>>().await.is_ok();
        (whole, verification.refusal().map(|refusal| refusal.code().clone()))
    }

    #[tokio::test]
    async fn a_body_fails_at_its_end_if_its_checksum_is_another() {
        // The check value of CRC-32: 0xcbf43926.
        assert_eq!(read(Some("y/Q5Jg==")).await, (true, None));
        assert_eq!(read(None).await, (true, None));
        assert_eq!(read(Some("AAAAAA==")).await, (false, Some(S3ErrorCode::BadDigest)));
    }
}
