//! Who may change pictures, and how often. Reading is free to all. It knows requests, and nothing of pictures.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use axum::extract::Request;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use sha2::{Digest as _, Sha256};

use crate::config::Config;
use crate::error::HttpError;
use crate::photo::hex;

/// Addresses remembered; those that have been quiet are forgotten first.
const REMEMBERED: usize = 20_000;

/// The other end of a connection.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub IpAddr);

pub struct Guard {
    /// Its hash.
    token: Option<String>,
    allowance: Option<Allowance>,
}

impl Guard {
    pub fn new(config: &Config) -> Self {
        Self { token: config.write_token.clone(), allowance: config.writes_per_minute.map(Allowance::new) }
    }

    /// The refusal of a request that may not change anything.
    pub fn refusal(&self, request: &Request) -> Option<Response> {
        if matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS) {
            return None;
        }
        if comes_from_another_site(request) {
            let error = HttpError::new(StatusCode::FORBIDDEN, "another site's page may not change pictures here")
                .hint("use this site's own pages, or a client that is no browser");
            return Some(error.into_response());
        }
        if self.token.as_ref().is_some_and(|token| !carries(request, token)) {
            let error = HttpError::new(StatusCode::UNAUTHORIZED, "changing pictures here needs a token")
                .hint("send `Authorization: Bearer TOKEN`; the command-line tools take it from IMAGECRUD_TOKEN");
            let mut response = error.into_response();
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            return Some(response);
        }
        let wait = self.allowance.as_ref()?.take(sender(request)?, Instant::now()).err()?;
        let error = HttpError::new(StatusCode::TOO_MANY_REQUESTS, "too many changes come from this address")
            .hint(format!("try again in {wait} s"));
        let mut response = error.into_response();
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(wait));
        Some(response)
    }
}

/// There are no cookies to steal, but a form of any site could make a visitor's browser upload or replace. Browsers say where
/// a request comes from; a client that says nothing is no browser.
fn comes_from_another_site(request: &Request) -> bool {
    let text = |name: &str| request.headers().get(name).map(|value| value.to_str().unwrap_or("?"));
    if let Some(site) = text("sec-fetch-site") {
        return !matches!(site, "same-origin" | "none");
    }
    match text("origin") {
        None => false,
        Some(origin) => {
            let host = origin.split_once("://").map(|(_, host)| host);
            host.is_none() || host != text("host")
        }
    }
}

/// Hashes are compared, so that the time it takes says nothing of how far two tokens agree.
fn carries(request: &Request, token: &str) -> bool {
    let value = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let sent = value.and_then(|value| value.split_once(' ')).filter(|(kind, _)| kind.eq_ignore_ascii_case("bearer"));
    sent.is_some_and(|(_, sent)| hex(&Sha256::digest(sent.trim())) == token)
}

/// Whom a load balancer has taken the request from: it writes that address behind whatever stood there
/// (https://docs.aws.amazon.com/elasticloadbalancing/latest/classic/x-forwarded-headers.html), so only the last one counts.
/// Without a load balancer, the other end of the connection.
fn sender(request: &Request) -> Option<IpAddr> {
    let forwarded = request.headers().get_all("x-forwarded-for").iter().next_back();
    let forwarded = forwarded.and_then(|value| value.to_str().ok()?.rsplit(',').next()?.trim().parse().ok());
    let address: IpAddr = forwarded.or_else(|| request.extensions().get::<Peer>().map(|peer| peer.0))?;
    Some(match address.to_canonical() {
        // One subscriber has all addresses below a /64.
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        IpAddr::V4(address) => address.into(),
    })
}

/// So many a minute, and as many at once after a quiet minute.
struct Allowance {
    per_minute: f64,
    /// What an address may do at once, and since when it has been so.
    left: Mutex<HashMap<IpAddr, (f64, Instant)>>,
}

impl Allowance {
    fn new(per_minute: u32) -> Self {
        Self { per_minute: per_minute.into(), left: Mutex::default() }
    }

    /// Fails with the seconds after which there is another.
    fn take(&self, address: IpAddr, now: Instant) -> Result<(), u64> {
        let mut all = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let refilled = |(left, since): (f64, Instant)| {
            (left + now.duration_since(since).as_secs_f64() * self.per_minute / 60.0).min(self.per_minute)
        };
        if all.len() >= REMEMBERED {
            all.retain(|_, state| refilled(*state) < self.per_minute);
            if all.len() >= REMEMBERED {
                all.clear();
            }
        }
        let left = all.get(&address).map_or(self.per_minute, |state| refilled(*state));
        if left < 1.0 {
            all.insert(address, (left, now));
            return Err(((1.0 - left) * 60.0 / self.per_minute).ceil() as u64);
        }
        all.insert(address, (left - 1.0, now));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::body::Body;

    use super::*;

    fn request(method: &str, headers: &[(&str, &str)]) -> Request {
        let mut request = Request::builder().method(method).uri("/imagecrud/cat").header("host", "h:8080");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(Body::empty()).unwrap()
    }

    fn guard(token: Option<&str>, writes_per_minute: Option<u32>) -> Guard {
        Guard {
            token: token.map(|token| hex(&Sha256::digest(token))),
            allowance: writes_per_minute.map(Allowance::new),
        }
    }

    fn status(guard: &Guard, method: &str, headers: &[(&str, &str)]) -> Option<u16> {
        guard.refusal(&request(method, headers)).map(|response| response.status().as_u16())
    }

    #[test]
    fn only_another_sites_page_is_refused() {
        let open = guard(None, None);
        let refused = |method: &str, headers: &[(&str, &str)]| status(&open, method, headers) == Some(403);
        assert!(!refused("POST", &[]));
        assert!(!refused("POST", &[("sec-fetch-site", "same-origin"), ("origin", "http://h:8080")]));
        assert!(!refused("POST", &[("origin", "http://h:8080")]));
        assert!(!refused("GET", &[("sec-fetch-site", "cross-site")]));
        assert!(refused("POST", &[("sec-fetch-site", "cross-site")]));
        assert!(refused("DELETE", &[("sec-fetch-site", "same-site")]));
        assert!(refused("POST", &[("origin", "http://evil.example")]));
        assert!(refused("POST", &[("origin", "null")]));
    }

    #[test]
    fn a_token_is_needed_to_change_and_not_to_read() {
        let guard = guard(Some("open sesame"), None);
        let nothing: &[(&str, &str)] = &[];
        for wrong in [nothing, &[("authorization", "Bearer other")], &[("authorization", "Basic open sesame")]] {
            assert_eq!(status(&guard, "POST", wrong), Some(401), "{wrong:?}");
            assert_eq!(status(&guard, "DELETE", wrong), Some(401), "{wrong:?}");
            assert_eq!(status(&guard, "GET", wrong), None);
        }
        assert_eq!(status(&guard, "POST", &[("authorization", "bearer open sesame")]), None);
    }

    #[test]
    fn an_address_is_what_the_load_balancer_wrote_last() {
        let guard = guard(None, Some(1));
        let from = |list: &str| status(&guard, "POST", &[("x-forwarded-for", list)]);
        assert_eq!(from("198.51.100.7"), None);
        assert_eq!(from("203.0.113.1, 198.51.100.7"), Some(429), "what the client wrote itself does not count");
        assert_eq!(from("198.51.100.8"), None);
        assert_eq!(from("2001:db8::1"), None);
        assert_eq!(from("2001:db8::2"), Some(429), "one subscriber");
        assert_eq!(status(&guard, "GET", &[("x-forwarded-for", "198.51.100.7")]), None);
    }

    #[test]
    fn an_allowance_comes_back_with_time() {
        let (allowance, address, start) = (Allowance::new(60), IpAddr::from([192, 0, 2, 1]), Instant::now());
        assert_eq!((0..100).filter(|_| allowance.take(address, start).is_ok()).count(), 60);
        assert_eq!(allowance.take(address, start), Err(1));
        let later = start + Duration::from_secs(5);
        assert_eq!((0..100).filter(|_| allowance.take(address, later).is_ok()).count(), 5);
        let much_later = start + Duration::from_secs(3600);
        assert_eq!((0..100).filter(|_| allowance.take(address, much_later).is_ok()).count(), 60, "never more at once");
    }
}
