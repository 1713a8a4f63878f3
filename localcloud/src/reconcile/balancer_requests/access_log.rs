//! Access logs of classic load balancers
//! (<https://docs.aws.amazon.com/elasticloadbalancing/latest/classic/access-log-collection.html>).

/// Into the bucket.
pub mod delivery;
/// On this machine's disk, until it is time.
pub mod spool;

use std::fmt::Write as _;

use crate::drivers::BalancerRequest;

/// A request as one line, without its end.
#[must_use]
pub fn line(request: &BalancerRequest) -> String {
    let mut line = String::with_capacity(256);
    let time = jiff::Timestamp::from_microsecond(request.begin_micros).unwrap_or_default();
    let _ = write!(line, "{} {} {}", time.strftime("%Y-%m-%dT%H:%M:%S.%6fZ"), request.balancer, request.client);
    let _ = write!(line, " {}", request.instance.as_deref().unwrap_or("-"));
    match request.times_micros {
        Some((before, at_instance, after)) => {
            for micros in [before, at_instance, after] {
                let _ = write!(line, " {}.{:06}", micros / 1_000_000, micros % 1_000_000);
            }
        }
        None => line.push_str(" -1 -1 -1"),
    }
    if request.is_http {
        let code = |status: Option<u16>| status.unwrap_or(0);
        let _ = write!(line, " {} {}", code(request.status), code(request.instance_status));
    } else {
        line.push_str(" - -");
    }
    let _ = write!(line, " {} {}", request.received_bytes, request.sent_bytes);
    let _ = write!(line, " \"{}\"", what_was_asked(request));
    let agent = request.user_agent.as_deref().map_or_else(|| "-".to_owned(), quotable);
    let _ = write!(line, " \"{agent}\"");
    let _ =
        write!(line, " {} {}", request.cipher.as_deref().unwrap_or("-"), request.tls_version.as_deref().unwrap_or("-"));
    line
}

/// `METHOD PROTOCOL://HOST:PORT/PATH VERSION`; three dashes and a blank where the balancer does not look into it.
fn what_was_asked(request: &BalancerRequest) -> String {
    if !request.is_http || request.method == "<BADREQ>" {
        return "- - - ".to_owned();
    }
    let scheme = if request.tls_version.is_some() { "https" } else { "http" };
    let host = request.host.as_deref().unwrap_or("-");
    // The host may name the port, or a literal IPv6 address that has colons of its own.
    let host = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let path = match request.uri.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("/", |at| &rest[at..]),
        None => &request.uri,
    };
    format!(
        "{} {scheme}://{}:{}{} {}",
        quotable(&request.method),
        quotable(host),
        request.port,
        quotable(path),
        request.version
    )
}

/// Without what would end the quotation or the line.
fn quotable(text: &str) -> String {
    let mut quotable = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '"' | '\\' => {
                quotable.push('\\');
                quotable.push(character);
            }
            character if character.is_control() => {
                let _ = write!(quotable, "\\x{:02x}", u32::from(character));
            }
            character => quotable.push(character),
        }
    }
    quotable
}

#[cfg(test)]
mod tests {
    use super::*;

    fn http() -> BalancerRequest {
        BalancerRequest {
            balancer: "my-loadbalancer".into(),
            is_http: true,
            port: 80,
            begin_micros: 1_431_560_383_945_958,
            client: "192.168.131.39:2817".into(),
            instance: Some("10.0.0.1:80".into()),
            times_micros: Some((73, 1048, 57)),
            status: Some(200),
            instance_status: Some(200),
            sent_bytes: 29,
            method: "GET".into(),
            uri: "/".into(),
            version: "HTTP/1.1".into(),
            host: Some("www.example.com:80".into()),
            user_agent: Some("curl/7.38.0".into()),
            ..BalancerRequest::default()
        }
    }

    #[test]
    fn lines_are_as_in_aws_s_examples() {
        assert_eq!(
            line(&http()),
            "2015-05-13T23:39:43.945958Z my-loadbalancer 192.168.131.39:2817 10.0.0.1:80 0.000073 0.001048 0.000057 \
             200 200 0 29 \"GET http://www.example.com:80/ HTTP/1.1\" \"curl/7.38.0\" - -"
        );
        let tcp = BalancerRequest {
            is_http: false,
            status: None,
            instance_status: None,
            user_agent: None,
            received_bytes: 82,
            sent_bytes: 305,
            cipher: Some("ECDHE-ECDSA-AES128-GCM-SHA256".into()),
            tls_version: Some("TLSv1.2".into()),
            ..http()
        };
        assert_eq!(
            line(&tcp),
            "2015-05-13T23:39:43.945958Z my-loadbalancer 192.168.131.39:2817 10.0.0.1:80 0.000073 0.001048 0.000057 \
             - - 82 305 \"- - - \" \"-\" ECDHE-ECDSA-AES128-GCM-SHA256 TLSv1.2"
        );
    }

    #[test]
    fn a_client_cannot_end_the_line_or_its_quotation() {
        let request = BalancerRequest { user_agent: Some("a\" \"b\n".into()), ..http() };
        assert!(line(&request).contains("\"a\\\" \\\"b\\x0a\""), "{}", line(&request));
    }
}
