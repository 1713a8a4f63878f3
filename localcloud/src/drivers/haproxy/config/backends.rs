//! Back ends: one per balancer that checks its instances' health, and those that carry the traffic and follow the checks.

use std::collections::BTreeSet;

use sha1::{Digest as _, Sha1};

use super::{Text, check_backend, in_namespace, quoted};
use crate::drivers::{
    Balancer, BalancerBackend, BalancerListener, BalancerProtocol, Stickiness,
    haproxy::{HaproxySettings, requests, server_state::Server},
};

/// While a server is down it is asked at least this often, so that a fresh instance is found soon; the checks that
/// count towards the threshold keep the balancer's own interval.
const LONGEST_DOWN_INTERVAL_SECS: u32 = 2;
/// More connections than these wait for an instance to be free, as many as a classic ELB lets wait; the others are
/// refused (<https://docs.aws.amazon.com/elasticloadbalancing/latest/classic/elb-cloudwatch-metrics.html>).
const MOST_CONNECTIONS: u32 = 1000;
const LONGEST_QUEUE: u32 = 1024;
/// The cookie by which a client comes back to its instance
/// (<https://docs.aws.amazon.com/elasticloadbalancing/latest/classic/elb-sticky-sessions.html>).
const COOKIE: &str = "AWSELB";

/// What traffic of a balancer goes through, from one or several listeners.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Backend<'a> {
    protocol: BalancerProtocol,
    port: u16,
    stickiness: Option<&'a Stickiness>,
}

impl<'a> Backend<'a> {
    pub(super) fn of(listener: &'a BalancerListener) -> Self {
        Self {
            protocol: listener.instance_protocol,
            port: listener.instance_port,
            stickiness: listener.stickiness.as_ref(),
        }
    }

    pub(super) fn name(&self, balancer: &Balancer) -> String {
        let protocol = match self.protocol {
            BalancerProtocol::Http => "http",
            BalancerProtocol::Https => "https",
            BalancerProtocol::Tcp => "tcp",
            BalancerProtocol::Ssl => "ssl",
        };
        let stickiness = match self.stickiness {
            None => String::new(),
            Some(Stickiness::Balancer { expires_secs: None }) => ":sticky".to_owned(),
            Some(Stickiness::Balancer { expires_secs: Some(secs) }) => format!(":sticky-{secs}"),
            // A cookie may have characters that a name here may not.
            Some(Stickiness::Application { cookie }) => format!(":follows-{}", &hex_sha1(cookie)[..12]),
        };
        format!("elb:{}:{protocol}:{}{stickiness}", balancer.name, self.port)
    }

    fn render(&self, text: &mut Text, settings: &HaproxySettings, balancer: &Balancer) {
        let is_http = self.protocol.is_http();
        text.section(format!("backend {}", self.name(balancer)));
        text.line(format!("mode {}", if is_http { "http" } else { "tcp" }));
        text.line(format!("balance {}", if is_http { "leastconn" } else { "roundrobin" }));
        for timeout in ["server", "queue"] {
            text.line(format!("timeout {timeout} {}s", balancer.idle_timeout_secs.max(1)));
        }
        // A server's `maxqueue` counts those only that must go to it; all others wait for whichever is free first.
        for line in requests::refusal_lines(is_http, LONGEST_QUEUE) {
            text.line(line);
        }
        if is_http {
            // As from a classic ELB: a bare status when no instance is in service.
            text.line("http-error status 503");
            for line in requests::answer_lines() {
                text.line(line);
            }
        }
        self.render_stickiness(text);
        text.line(format!("source {}", balancer.source));
        for backend in &balancer.backends {
            text.line(self.server(backend, settings, balancer));
        }
    }

    fn render_stickiness(&self, text: &mut Text) {
        match self.stickiness {
            None => {}
            Some(Stickiness::Balancer { expires_secs: None }) => text.line(format!("cookie {COOKIE} insert nocache")),
            // The age is in the cookie's value too, as clients may keep it for longer than they should.
            Some(Stickiness::Balancer { expires_secs: Some(secs) }) => {
                text.line(format!("cookie {COOKIE} insert nocache maxlife {secs}s attr \"Max-Age={secs}\""));
            }
            // It holds while the application's own cookie is sent, and begins anew with each that the application sets.
            Some(Stickiness::Application { cookie }) => {
                let cookie = quoted(cookie);
                text.line(format!("cookie {COOKIE}"));
                text.line(format!("ignore-persist unless {{ req.cook({cookie}) -m found }}"));
                text.line(format!("http-response add-header Set-Cookie \"{COOKIE}=%[srv_name,sha1,hex]; path=/\" if {{ res.cook({cookie}) -m found }}"));
            }
        }
    }

    fn server(&self, backend: &BalancerBackend, settings: &HaproxySettings, balancer: &Balancer) -> String {
        let BalancerBackend { instance_id, address, draining, .. } = backend;
        let mut line = format!(
            "server {instance_id} {address}:{}{} weight {}",
            self.port,
            in_namespace(settings),
            weight(backend)
        );
        // A classic ELB does not ask who an instance is, short of a policy of trusted keys.
        if self.protocol.is_encrypted() {
            line.push_str(" ssl verify none");
        }
        if balancer.proxy_protocol_ports.contains(&self.port) {
            line.push_str(" send-proxy");
        }
        // Whoever is on the way out gets nobody back.
        if self.stickiness.is_some() && !draining {
            line.push_str(&format!(" cookie {}", hex_sha1(instance_id)));
        }
        line.push_str(&format!(" maxconn {MOST_CONNECTIONS} maxqueue {LONGEST_QUEUE}"));
        line.push_str(&format!(" track {}/{instance_id}", check_backend(&balancer.name)));
        line
    }
}

/// As HAProxy's `sha1,hex` writes it.
fn hex_sha1(text: &str) -> String {
    Sha1::digest(text).iter().map(|byte| format!("{byte:02X}")).collect()
}

pub(super) fn render(text: &mut Text, settings: &HaproxySettings, balancer: &Balancer, servers: &mut Vec<Server>) {
    render_checks(text, settings, balancer, servers);
    let backends: BTreeSet<Backend<'_>> = balancer.listeners.iter().map(Backend::of).collect();
    for backend in backends {
        backend.render(text, settings, balancer);
    }
}

/// Health has a back end of its own, which carries nothing: so it goes on being known whatever becomes of the listeners.
fn render_checks(text: &mut Text, settings: &HaproxySettings, balancer: &Balancer, servers: &mut Vec<Server>) {
    let check = &balancer.health_check;
    let target = parse_target(&check.target);
    let name = check_backend(&balancer.name);
    text.section(format!("backend {name}"));
    if let Some(path) = target.path {
        text.line("option httpchk");
        text.line(format!(
            "http-check send meth GET uri {} ver HTTP/1.1 hdr Host {} hdr User-Agent ELB-HealthChecker/1.0 hdr Connection close",
            quoted(path),
            balancer.dns_name
        ));
        // A classic ELB takes 200 and nothing else for healthy.
        text.line("http-check expect status 200");
    }
    let interval_secs = check.interval_secs.max(1);
    text.line(format!("timeout check {}s", check.timeout_secs.max(1)));
    text.line(format!(
        "default-server inter {interval_secs}s downinter {}s rise {} fall {}",
        interval_secs.min(LONGEST_DOWN_INTERVAL_SECS),
        check.healthy_threshold.max(1),
        check.unhealthy_threshold.max(1)
    ));
    text.line(format!("source {}", balancer.source));
    let tls = if target.tls { " check-ssl verify none" } else { "" };
    for backend in &balancer.backends {
        let BalancerBackend { instance_id, address, .. } = backend;
        let weight = weight(backend);
        let port = target.port;
        text.line(format!(
            "server {instance_id} {address}:{port}{} weight {weight} check{tls}",
            in_namespace(settings)
        ));
        servers.push(Server { backend: name.clone(), name: instance_id.clone(), address: *address, port, weight });
    }
}

/// Whoever is on the way out gets nothing new.
fn weight(backend: &BalancerBackend) -> u32 {
    if backend.draining { 0 } else { backend.weight }
}

/// ELB's HealthCheck.Target: `HTTP:80/path`, `HTTPS:443/path`, `TCP:80`, `SSL:443`.
struct Target<'a> {
    tls: bool,
    port: u16,
    path: Option<&'a str>,
}

fn parse_target(target: &str) -> Target<'_> {
    let (protocol, rest) = target.split_once(':').unwrap_or(("TCP", target));
    let (port, path) = match rest.find('/') {
        Some(at) => (&rest[..at], Some(&rest[at..])),
        None => (rest, None),
    };
    let protocol = protocol.to_ascii_uppercase();
    let is_http = protocol.starts_with("HTTP");
    Target {
        tls: matches!(protocol.as_str(), "HTTPS" | "SSL"),
        port: port.parse().unwrap_or(80),
        path: is_http.then(|| path.unwrap_or("/")),
    }
}
