//! Bodies that a client has compressed, as SDKs do with those of PutMetricData above 10 KiB
//! (<https://docs.aws.amazon.com/sdkref/latest/guide/feature-compression.html>).

use std::{borrow::Cow, io::Read as _};

use super::value::DecodeError;

/// The body as it was before compression, if that is not more than `most` bytes.
pub(super) fn unpack<'a>(encoding: &str, body: &'a [u8], most: usize) -> Result<Cow<'a, [u8]>, DecodeError> {
    match encoding {
        "" | "identity" => Ok(Cow::Borrowed(body)),
        "gzip" => {
            let mut content = Vec::new();
            // One byte more tells a body that is too large from one that just fits.
            let limited = flate2::read::MultiGzDecoder::new(body).take(most as u64 + 1);
            let read = { limited }.read_to_end(&mut content);
            read.map_err(|error| DecodeError::Invalid(format!("the body is not gzip: {error}")))?;
            if content.len() > most {
                return Err(DecodeError::Invalid(format!("the body is more than {most} bytes when it is unpacked")));
            }
            Ok(Cow::Owned(content))
        }
        other => Err(DecodeError::Invalid(format!("a body of Content-Encoding `{other}` cannot be read"))),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn packed(content: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(content).expect("packs");
        encoder.finish().expect("packs")
    }

    #[test]
    fn a_packed_body_is_read_up_to_the_limit_and_not_beyond() {
        assert_eq!(unpack("gzip", &packed(b"Action=PutMetricData"), 100).as_deref(), Ok(&b"Action=PutMetricData"[..]));
        assert_eq!(unpack("", b"plain", 100).as_deref(), Ok(&b"plain"[..]));
        assert!(unpack("gzip", &packed(&[0; 100]), 100).is_ok());
        let bomb = packed(&vec![0; 10_000_000]);
        assert!(bomb.len() < 20_000);
        assert!(unpack("gzip", &bomb, 1_000_000).is_err());
        assert!(unpack("gzip", b"plain", 100).is_err());
        assert!(unpack("gzip", &packed(b"cut")[..10], 100).is_err());
        assert!(unpack("br", b"", 100).is_err());
    }
}
