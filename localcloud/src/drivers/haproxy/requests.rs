//! What HAProxy writes of each request or connection at its end, and how it is read.
//!
//! Counters would not do: a worker's own die with it at a reload, and they know no single request's latency, of which
//! percentiles are made and which access logs need. Nor would a syslog socket: it loses what the daemon, away or late,
//! does not take. So HAProxy writes a line per request to its standard output, a file ([`super::journal`]): no worker,
//! old or new, ever waits for the daemon, and the lines wait for its return. One `write` of some 300 bytes costs a few
//! microseconds. Threads of a worker share the file by a lock that is not waited for long; a thread that does not get it
//! drops its line. So balancers' front ends have one thread, which carries far more than 10,000 requests a second.

use crate::drivers::BalancerRequest;

/// First word of a line of ours; HAProxy says other things there too.
const MARK: &str = "elb2";
/// What workers of before write, who do not tell what they refused for a full queue.
const FORMER_MARK: &str = "elb1";
const LINE: &str = "log stdout len 16384 format raw local0 info";

/// Lines for a front end. `balancer` is a log-format expression for the balancer's name. Whatever a client may write
/// comes last, so that a tab in it shifts nothing.
pub(super) fn log_lines(is_http: bool, balancer: &str) -> Vec<String> {
    let format = |fields: &[&str]| format!("log-format \"{MARK}\\t{balancer}\\t%fp\\t{}\"", fields.join("\\t"));
    let common = [
        "%ci:%cp",
        "%si:%sp",
        "%s",
        "%ts",
        "%rc",
        "%sq",
        "%bq",
        "%[var(txn.elb_spilled)]",
        "%sslc",
        "%sslv",
        "%Ts%ms",
        "%[date(0,us)]",
    ];
    let mut lines = vec!["no log".to_owned(), LINE.to_owned()];
    if is_http {
        // HAProxy's own timers know milliseconds only; most answers here take less than one.
        for (variable, value) in [
            ("begin", "date(0,us)"),
            ("length", "req.fhdr(content-length)"),
            ("chunked", "req.fhdr(transfer-encoding)"),
            ("head", "req.hdrs,length"),
            ("host", "req.fhdr(host)"),
            ("agent", "req.fhdr(user-agent)"),
        ] {
            lines.push(format!("http-request set-var(txn.elb_{variable}) {value}"));
        }
        let mut fields = vec!["http"];
        fields.extend(common);
        fields.extend([
            "%[var(txn.elb_begin)]",
            "%[var(txn.elb_answered)]",
            "%Tw",
            "%Tc",
            "%ST",
            "%[var(txn.elb_status)]",
            "%U",
            "%[var(txn.elb_head)]",
            "%[var(txn.elb_length)]",
            "%[var(txn.elb_chunked)]",
            "%B",
            "%[var(txn.elb_answer_head)]",
            "%[var(txn.elb_answer_length)]",
            "%HM",
            "%HU",
            "%HV",
            "%[var(txn.elb_host)]",
            "%[var(txn.elb_agent)]",
        ]);
        lines.push(format(&fields));
    } else {
        let mut fields = vec!["tcp"];
        fields.extend(common);
        fields.extend(["%Tw", "%Tc", "%Tt", "%U", "%B"]);
        lines.push(format(&fields));
    }
    lines
}

/// Lines for a back end that speaks HTTP: what only the instance's own answer sets.
pub(super) fn answer_lines() -> [String; 4] {
    [
        ("answered", "date(0,us)"),
        ("status", "status"),
        ("answer_head", "res.hdrs,length"),
        ("answer_length", "res.fhdr(content-length)"),
    ]
    .map(|(variable, value)| format!("http-response set-var(txn.elb_{variable}) {value}"))
}

/// Lines for a back end that refuses whoever comes when so many wait already.
pub(super) fn refusal_lines(is_http: bool, longest_queue: u32) -> [String; 2] {
    let (stage, refuse) =
        if is_http { ("http-request", "deny deny_status 503") } else { ("tcp-request content", "reject") };
    [
        format!("{stage} set-var(txn.elb_spilled) int(1) if {{ queue ge {longest_queue} }}"),
        format!("{stage} {refuse} if {{ var(txn.elb_spilled) -m found }}"),
    ]
}

/// `None` for what is no such line.
pub(super) fn parse(line: &str) -> Option<BalancerRequest> {
    let mut fields = Fields(line.split('\t'));
    let is_former = match fields.0.next()? {
        MARK => false,
        FORMER_MARK => true,
        _ => return None,
    };
    let balancer = fields.text()?;
    let port = fields.number()?;
    let is_http = fields.0.next()? == "http";
    let client = fields.text()?;
    let instance = fields.text();
    let server = fields.0.next()?;
    let state = fields.0.next()?;
    let (connection_errors, is_refused) = connection_errors(fields.0.next()?, state);
    let queued = fields.number::<u32>()? + fields.number::<u32>()?;
    let is_refused_for_queue = !is_former && fields.text().is_some();
    let (cipher, tls_version) = (fields.text(), fields.text());
    let begin_millis: i64 = fields.number()?;
    let end_micros = fields.number()?;
    let is_sent = server != "<NOSRV>" && !is_refused;
    let request = BalancerRequest {
        balancer,
        is_http,
        port,
        begin_micros: begin_millis * 1000,
        end_micros,
        client,
        instance: instance.filter(|_| is_sent),
        connection_errors,
        queued,
        // The second letter tells where it was: in the queue.
        is_spilled: is_refused_for_queue || state.ends_with('Q') && state.starts_with('s'),
        cipher,
        tls_version,
        ..BalancerRequest::default()
    };
    if is_http { parse_http(request, fields) } else { parse_tcp(request, fields) }
}

fn parse_http(request: BalancerRequest, mut fields: Fields<'_>) -> Option<BalancerRequest> {
    let begin_micros = fields.number_or(request.begin_micros)?;
    let answered_micros: Option<i64> = fields.number();
    let (queue_millis, connect_millis): (i64, i64) = (fields.number()?, fields.number()?);
    let status = fields.number::<i32>()?;
    let instance_status = fields.number();
    let (up, head, length, chunked): (u64, Option<u64>, Option<u64>, _) =
        (fields.number()?, fields.number(), fields.number(), fields.text());
    let (down, answer_head, answer_length): (u64, Option<u64>, Option<u64>) =
        (fields.number()?, fields.number(), fields.number());
    let (method, uri, version) = (fields.0.next()?, fields.0.next()?, fields.0.next()?);
    let host = fields.text();
    let agent = fields.0.collect::<Vec<_>>().join("\t");
    let times_micros = answered_micros.filter(|_| request.instance.is_some()).map(|answered| {
        let whole = answered - begin_micros;
        let before = (1000 * (queue_millis.max(0) + connect_millis.max(0))).clamp(0, whole.max(0));
        let positive = |micros: i64| u64::try_from(micros).unwrap_or(0);
        (positive(before), positive(whole - before), positive(request.end_micros - answered))
    });
    Some(BalancerRequest {
        begin_micros,
        times_micros,
        status: u16::try_from(status).ok().filter(|status| *status > 0),
        instance_status,
        // HAProxy counts heads too. A body of a length that was not told is what is left, but for some bytes of the
        // request's first line.
        received_bytes: match (length, chunked) {
            (Some(length), _) => length.min(up),
            (None, Some(_)) => up.saturating_sub(head.unwrap_or(up)),
            (None, None) => 0,
        },
        sent_bytes: match answer_length {
            _ if method == "HEAD" => 0,
            Some(length) => length.min(down),
            None => down.saturating_sub(answer_head.unwrap_or(down)),
        },
        method: method.to_owned(),
        uri: uri.to_owned(),
        version: version.to_owned(),
        host,
        user_agent: Some(agent).filter(|agent| agent != "-" && !agent.is_empty()),
        ..request
    })
}

fn parse_tcp(request: BalancerRequest, mut fields: Fields<'_>) -> Option<BalancerRequest> {
    let (queue_millis, connect_millis, whole_millis): (i64, i64, i64) =
        (fields.number()?, fields.number()?, fields.number()?);
    let is_connected = connect_millis >= 0 && request.instance.is_some();
    let micros = |millis: i64| u64::try_from(millis.max(0)).unwrap_or(0) * 1000;
    Some(BalancerRequest {
        times_micros: is_connected.then(|| {
            let rest = whole_millis - queue_millis.max(0) - connect_millis;
            (micros(queue_millis), micros(connect_millis), micros(rest))
        }),
        received_bytes: fields.number()?,
        sent_bytes: fields.number()?,
        ..request
    })
}

/// How often an instance could not be connected to, and whether no other was reached after all.
fn connection_errors(retries: &str, state: &str) -> (u32, bool) {
    // "+2": the last attempt went to another instance.
    let failed = retries.trim_start_matches('+').parse().unwrap_or(0);
    let is_refused = state.ends_with('C') && (state.starts_with('S') || state.starts_with('s'));
    (failed + u32::from(is_refused), is_refused)
}

struct Fields<'a>(std::str::Split<'a, char>);

impl Fields<'_> {
    /// `-` stands for nothing.
    fn text(&mut self) -> Option<String> {
        self.0.next().filter(|text| !matches!(*text, "-" | "")).map(str::to_owned)
    }

    fn number<T: std::str::FromStr>(&mut self) -> Option<T> {
        self.0.next()?.parse().ok()
    }

    fn number_or<T: std::str::FromStr>(&mut self, otherwise: T) -> Option<T> {
        Some(self.0.next()?.parse().unwrap_or(otherwise))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GET: &str = "elb1\tweb\t8080\thttp\t127.0.0.1:5\t10.77.0.11:80\ti-1\t--\t0\t0\t0\t-\t-\t1795550745763\t1795550745768311\t1795550745763277\t1795550745768211\t0\t0\t200\t200\t85\t61\t-\t-\t159\t114\t29\tGET\t/a?b=c\tHTTP/1.1\tx:8080\tcurl\t7";

    #[test]
    fn a_request_is_read_to_the_microsecond_and_its_bodies_to_the_byte() {
        let request = parse(GET).expect("a request");
        assert_eq!((request.balancer.as_str(), request.port, request.is_http), ("web", 8080, true));
        assert_eq!(request.instance.as_deref(), Some("10.77.0.11:80"));
        assert_eq!(request.times_micros, Some((0, 4934, 100)));
        assert_eq!((request.status, request.instance_status), (Some(200), Some(200)));
        assert_eq!((request.received_bytes, request.sent_bytes), (0, 29));
        assert_eq!((request.method.as_str(), request.uri.as_str()), ("GET", "/a?b=c"));
        assert_eq!(request.user_agent.as_deref(), Some("curl\t7"), "a tab of the client shifts nothing");
        assert!(request.cipher.is_none());
    }

    #[test]
    fn what_no_instance_answered_has_the_balancers_status_only() {
        let line = "elb1\tweb\t8080\thttp\t127.0.0.1:5\t-:-\t<NOSRV>\tPR\t0\t0\t0\t-\t-\t1795550745830\t1795550745830100\t-\t-\t-1\t-1\t400\t-\t0\t-\t-\t-\t0\t-\t-\t<BADREQ>\t<BADREQ>\t<BADREQ>\t-\t-";
        let request = parse(line).expect("a request");
        assert_eq!((request.status, request.instance_status, request.instance), (Some(400), None, None));
        assert_eq!(request.times_micros, None);
        let refused = GET.replace("i-1\t--\t0", "i-1\tSC\t3").replace("\t200\t200\t", "\t503\t-\t");
        let refused = parse(&refused).expect("a request");
        assert_eq!((refused.connection_errors, refused.instance), (4, None));
        assert!(parse(&GET.replace("i-1\t--", "i-1\tsQ")).expect("a request").is_spilled);
        let full = line.replace("elb1", "elb2").replace("PR\t0\t0\t0\t", "PR\t0\t0\t0\t1\t");
        assert!(parse(&full).expect("a request").is_spilled && !parse(line).expect("a request").is_spilled);
    }

    #[test]
    fn a_connection_has_the_time_that_it_took_to_the_instance() {
        let line = "elb1\tdb\t3306\ttcp\t127.0.0.1:5\t10.77.0.11:3306\ti-1\t--\t0\t0\t0\tAES128-SHA\tTLSv1.2\t1795550745898\t1795550745904424\t1\t2\t6\t79\t160";
        let request = parse(line).expect("a connection");
        assert_eq!(request.times_micros, Some((1000, 2000, 3000)));
        assert_eq!((request.received_bytes, request.sent_bytes, request.status), (79, 160, None));
        assert_eq!(request.cipher.as_deref(), Some("AES128-SHA"));
        assert_eq!(parse("[WARNING] something else"), None);
    }
}
