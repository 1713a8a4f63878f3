//! Chunked bodies with signatures, to such without: each chunk's signature is verified and left out
//! (<https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html>).

use std::{io, pin::Pin};

use futures::{Stream, StreamExt as _, stream};
use hyper::body::Bytes;
use sha2::{Digest as _, Sha256};

use crate::wire::sigv4::{Signature, SigningKey, hex, same};

/// A chunk's head is a few hexadecimal digits and a signature.
const MAX_HEAD: usize = 1024;
const MAX_TRAILERS: usize = 16 * 1024;
const EMPTY_SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// The signatures so far: each covers the one before it.
pub(super) struct Chain {
    key: SigningKey,
    timestamp: String,
    scope: String,
    previous: String,
}

impl Chain {
    pub(super) fn new(signature: &Signature, secret_key: &str) -> Self {
        Self {
            key: signature.signing_key(secret_key),
            timestamp: signature.timestamp.clone(),
            scope: signature.scope(),
            previous: signature.signature.clone(),
        }
    }

    fn accept(&mut self, kind: &str, hashes: &str, signature: &str) -> io::Result<()> {
        let text = format!("{kind}\n{}\n{}\n{}\n{hashes}", self.timestamp, self.scope, self.previous);
        if !same(self.key.sign(&text).as_bytes(), signature.as_bytes()) {
            return Err(invalid("a chunk's signature does not match"));
        }
        signature.clone_into(&mut self.previous);
        Ok(())
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

enum Place {
    Head,
    Data {
        left: usize,
        hash: Sha256,
        signature: String,
    },
    /// The line end behind a chunk's data.
    DataEnd,
    Trailers,
    End,
}

struct Reader {
    body: Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>,
    buffer: Vec<u8>,
    chain: Chain,
    place: Place,
}

/// The same chunks without signatures.
pub(super) fn without_signatures<E: std::error::Error + Send + Sync + 'static>(
    body: impl Stream<Item = Result<Bytes, E>> + Send + 'static,
    chain: Chain,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    let body = Box::pin(body.map(|bytes| bytes.map_err(io::Error::other)));
    let reader = Reader { body, buffer: Vec::new(), chain, place: Place::Head };
    stream::try_unfold(reader, |mut reader| async move {
        loop {
            if matches!(reader.place, Place::End) {
                return Ok(None);
            }
            if let Some(bytes) = reader.step()? {
                return Ok(Some((Bytes::from(bytes), reader)));
            }
            match reader.body.next().await {
                Some(bytes) => reader.buffer.extend_from_slice(&bytes?),
                None => return Ok(reader.finish()?.map(|bytes| (Bytes::from(bytes), reader))),
            }
        }
    })
}

impl Reader {
    /// What can be said with what has been read; `None` if more must be read first.
    fn step(&mut self) -> io::Result<Option<Vec<u8>>> {
        match &mut self.place {
            Place::Head => {
                let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\r\n") else {
                    return if self.buffer.len() > MAX_HEAD { Err(invalid("a chunk has no head")) } else { Ok(None) };
                };
                let head: Vec<u8> = self.buffer.drain(..end + 2).take(end).collect();
                let head = String::from_utf8(head).map_err(|_| invalid("a chunk's head is not text"))?;
                let (size, signature) =
                    head.split_once(";chunk-signature=").ok_or_else(|| invalid("a chunk has no signature"))?;
                let left = usize::from_str_radix(size, 16).map_err(|_| invalid("a chunk's size is no number"))?;
                if left == 0 {
                    self.chain.accept(
                        "AWS4-HMAC-SHA256-PAYLOAD",
                        &format!("{EMPTY_SHA256}\n{EMPTY_SHA256}"),
                        signature,
                    )?;
                    self.place = Place::Trailers;
                } else {
                    self.place = Place::Data { left, hash: Sha256::new(), signature: signature.to_owned() };
                }
                Ok(Some(format!("{size}\r\n").into_bytes()))
            }
            Place::Data { left, hash, signature } => {
                if self.buffer.is_empty() {
                    return Ok(None);
                }
                let taken: Vec<u8> = self.buffer.drain(..self.buffer.len().min(*left)).collect();
                hash.update(&taken);
                *left -= taken.len();
                if *left == 0 {
                    let hashes = format!("{EMPTY_SHA256}\n{}", hex(&std::mem::take(hash).finalize()));
                    let signature = std::mem::take(signature);
                    self.chain.accept("AWS4-HMAC-SHA256-PAYLOAD", &hashes, &signature)?;
                    self.place = Place::DataEnd;
                }
                Ok(Some(taken))
            }
            Place::DataEnd => {
                if self.buffer.len() < 2 {
                    return Ok(None);
                }
                let end: Vec<u8> = self.buffer.drain(..2).collect();
                if end != b"\r\n" {
                    return Err(invalid("a chunk is longer than its head says"));
                }
                self.place = Place::Head;
                Ok(Some(end))
            }
            Place::Trailers if self.buffer.len() > MAX_TRAILERS => Err(invalid("the trailers are too long")),
            Place::Trailers | Place::End => Ok(None),
        }
    }

    /// At the body's end: the trailers without their signature.
    fn finish(&mut self) -> io::Result<Option<Vec<u8>>> {
        if !matches!(self.place, Place::Trailers) {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the body ends within a chunk"));
        }
        self.place = Place::End;
        let text = String::from_utf8(std::mem::take(&mut self.buffer)).map_err(|_| invalid("a trailer is not text"))?;
        let (mut signature, mut trailers) = (None, Vec::new());
        for line in text.lines().filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(':').ok_or_else(|| invalid("a trailer has no value"))?;
            match name.to_ascii_lowercase().as_str() {
                "x-amz-trailer-signature" => signature = Some(value.trim().to_owned()),
                name => trailers.push((name.to_owned(), value.trim().to_owned())),
            }
        }
        trailers.sort();
        if let Some(signature) = signature {
            let canonical: String = trailers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
            self.chain.accept("AWS4-HMAC-SHA256-TRAILER", &hex(&Sha256::digest(canonical)), &signature)?;
        } else if !trailers.is_empty() {
            return Err(invalid("the trailers are not signed"));
        }
        let lines: String = trailers.iter().map(|(name, value)| format!("{name}:{value}\r\n")).collect();
        Ok(Some(format!("{lines}\r\n").into_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt as _;
    use http::HeaderMap;

    use super::*;

    /// The chunked upload of S3's documentation: 64 KiB and 1 KiB of `a`
    /// (<https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html>).
    const CHUNKS: [(usize, &str); 3] = [
        (65536, "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648"),
        (1024, "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497"),
        (0, "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9"),
    ];

    fn documented_chain() -> Chain {
        let mut headers = HeaderMap::new();
        headers.insert("x-amz-date", "20130524T000000Z".parse().expect("a value"));
        let authorization = "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,\
                             SignedHeaders=host,Signature=4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9";
        headers.insert("authorization", authorization.parse().expect("a value"));
        let signature = Signature::parse(&headers, "").expect("complete").expect("version 4");
        Chain::new(&signature, "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
    }

    async fn read(body: Vec<u8>) -> io::Result<Vec<u8>> {
        // Cut at odd places, as a network does.
        let pieces: Vec<Result<Bytes, io::Error>> =
            body.chunks(777).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        let chunks: Vec<Bytes> = without_signatures(stream::iter(pieces), documented_chain()).try_collect().await?;
        Ok(chunks.concat())
    }

    fn body(letter: u8, end: &str) -> Vec<u8> {
        let mut body = Vec::new();
        for (size, signature) in CHUNKS {
            body.extend(format!("{size:x};chunk-signature={signature}\r\n").bytes());
            if size > 0 {
                body.extend(vec![letter; size]);
                body.extend(b"\r\n");
            }
        }
        body.extend(end.bytes());
        body
    }

    #[tokio::test]
    async fn the_documented_upload_comes_through_without_signatures() {
        let expected = [
            b"10000\r\n".to_vec(),
            vec![b'a'; 65536],
            b"\r\n400\r\n".to_vec(),
            vec![b'a'; 1024],
            b"\r\n0\r\n\r\n".to_vec(),
        ]
        .concat();
        assert_eq!(read(body(b'a', "\r\n")).await.expect("all signatures match"), expected);
    }

    #[tokio::test]
    async fn a_changed_chunk_an_early_end_and_an_unsigned_trailer_are_refused() {
        assert!(read(body(b'b', "\r\n")).await.is_err());
        assert!(read(body(b'a', "\r\n")[..60_000].to_vec()).await.is_err());
        assert!(read(body(b'a', "x-amz-checksum-crc32:AAAAAA==\r\n\r\n")).await.is_err());
    }
}
