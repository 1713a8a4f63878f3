//! The id of a request: the load balancer's where it sends one, so that its log and ours can be matched, else a new one.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use rand::RngExt;

pub const HEADER: HeaderName = HeaderName::from_static("x-request-id");
/// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-request-tracing.html
const AMAZON: HeaderName = HeaderName::from_static("x-amzn-trace-id");
const MAX_LENGTH: usize = 128;

/// A client's id goes into the log and back to it, so it is short and plain, or not taken.
pub fn of(headers: &HeaderMap) -> HeaderValue {
    let plain = |value: &&HeaderValue| {
        !value.is_empty()
            && value.len() <= MAX_LENGTH
            && value.as_bytes().iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_=;:.,+/".contains(byte))
    };
    let sent = [AMAZON, HEADER].into_iter().find_map(|name| headers.get(name).filter(plain).cloned());
    sent.unwrap_or_else(|| {
        let new = format!("{:016x}", rand::rng().random::<u64>());
        HeaderValue::try_from(new).unwrap_or_else(|_| HeaderValue::from_static("none"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_load_balancers_id_comes_first_and_a_strange_one_is_not_taken() {
        let mut headers = HeaderMap::new();
        assert_eq!(of(&headers).len(), 16);
        headers.insert(HEADER, HeaderValue::from_static("abc-1"));
        assert_eq!(of(&headers), "abc-1");
        headers.insert(AMAZON, HeaderValue::from_static("Root=1-67891233-abcdef012345678912345678"));
        assert_eq!(of(&headers), "Root=1-67891233-abcdef012345678912345678");
        for strange in ["a b", "\"", "", "a\tb"] {
            let mut headers = HeaderMap::new();
            headers.insert(HEADER, HeaderValue::from_static(strange));
            assert_eq!(of(&headers).len(), 16, "{strange:?}");
        }
    }
}
