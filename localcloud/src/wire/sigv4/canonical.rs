//! The forms in which a request is signed: encoded path, sorted query, folded headers. Pure text.

use http::HeaderMap;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// All but RFC 3986's unreserved characters.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
const RESERVED_IN_PATH: &AsciiSet = &RESERVED.remove(b'/');

/// How a path is brought into the canonical request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// S3: decoded, and encoded again.
    Once,
    /// All other services: dots and double slashes resolved, and what is already encoded is encoded again.
    NormalisedTwice,
}

#[must_use]
pub fn canonical_path(path: &str, encoding: Encoding) -> String {
    let path = if path.is_empty() { "/" } else { path };
    match encoding {
        Encoding::Once => encode_path(&percent_decode_str(path).collect::<Vec<u8>>()),
        Encoding::NormalisedTwice => {
            let once = encode_path(&percent_decode_str(&normalised(path)).collect::<Vec<u8>>());
            encode_path(once.as_bytes())
        }
    }
}

fn normalised(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            segment => segments.push(segment),
        }
    }
    let directory = path.ends_with('/') || path.ends_with("/.") || path.ends_with("/..");
    let slash = if directory && !segments.is_empty() { "/" } else { "" };
    format!("/{}{slash}", segments.join("/"))
}

/// Percent-encodes all but unreserved characters and slashes.
#[must_use]
pub fn encode_path(bytes: &[u8]) -> String {
    percent_encoding::percent_encode(bytes, RESERVED_IN_PATH).to_string()
}

/// Percent-encodes all but unreserved characters, slashes too.
#[must_use]
pub fn encode(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

/// The query's parameters, decoded, in the order given. `+` is a space, as forms write it.
#[must_use]
pub fn decoded_pairs(query: &str) -> Vec<(String, String)> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name), decode(value))
        })
        .collect()
}

fn decode(text: &str) -> String {
    percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
}

/// Parameters sorted by encoded name and value, without the one that holds the signature.
#[must_use]
pub fn canonical_query(query: &str, without: &str) -> String {
    let mut pairs: Vec<(String, String)> = decoded_pairs(query)
        .iter()
        .filter(|(name, _)| name != without)
        .map(|(name, value)| (encode(name), encode(value)))
        .collect();
    pairs.sort();
    pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

/// One line `name:value` per signed header; fails with the name of one that is missing.
///
/// # Errors
/// The name of a signed header that the request does not have.
pub fn canonical_headers(headers: &HeaderMap, signed: &[String]) -> Result<String, String> {
    let mut lines = String::new();
    for name in signed {
        let values: Vec<String> = headers
            .get_all(name.as_str())
            .iter()
            .map(|value| String::from_utf8_lossy(value.as_bytes()).split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        if values.is_empty() {
            return Err(name.clone());
        }
        lines.push_str(name);
        lines.push(':');
        lines.push_str(&values.join(","));
        lines.push('\n');
    }
    Ok(lines)
}
