//! Load balancers: front ends by port. Only HTTP listeners share a port, and only HTTPS listeners: they are told apart
//! by Host.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, SocketAddrV4},
    sync::Arc,
};

use super::{
    Text,
    backends::{self, Backend},
    balancer_frontend,
    certificates::{Certificates, Files},
    quoted,
};
use crate::drivers::{
    Balancer, BalancerListener, Encryption, MalformedRequests,
    haproxy::{
        HaproxySettings,
        ports::{Refused, is_refused},
        requests,
        server_state::Server,
    },
};

/// Where the balancer of a request is noted, on a port of several.
const BALANCER: &str = "txn.elb_balancer";

type Listener<'a> = (&'a Balancer, &'a BalancerListener);
/// A balancer, and which of its listeners.
type Place = (Arc<Balancer>, usize);

/// The front end of a port, with the files that it names.
struct Frontend {
    listeners: Vec<Place>,
    text: String,
    files: Files,
}

/// What was rendered for the last configuration: of balancers each for itself, and of ports for those that have them.
#[derive(Default)]
pub(in crate::drivers::haproxy) struct Kept {
    frontends: BTreeMap<u16, Frontend>,
    backends: BTreeMap<String, (Arc<Balancer>, String, Vec<Server>)>,
    /// How many of these were ever made.
    pub(super) made: usize,
}

impl Kept {
    /// Front ends and back ends of all balancers, with the servers that are checked and the files that are named.
    pub(super) fn balancers(
        &mut self,
        text: &mut Text,
        settings: &HaproxySettings,
        balancers: &[Arc<Balancer>],
        refused: &BTreeSet<Refused>,
    ) -> (Vec<Server>, Files) {
        let mut balancers: Vec<&Arc<Balancer>> = balancers.iter().collect();
        balancers.sort_by(|left, right| left.name.cmp(&right.name));
        let mut by_port: BTreeMap<u16, Vec<Place>> = BTreeMap::new();
        for balancer in &balancers {
            for (index, listener) in balancer.listeners.iter().enumerate() {
                let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, listener.port);
                if !is_refused(refused, address, Some(&balancer.name)) {
                    by_port.entry(listener.port).or_default().push((Arc::clone(balancer), index));
                }
            }
        }
        let mut all_files = Files::new();
        let mut frontends = BTreeMap::new();
        for (port, listeners) in by_port {
            let frontend = match self.frontends.remove(&port) {
                Some(kept) if are_same(&kept.listeners, &listeners) => Frontend { listeners, ..kept },
                _ => self.frontend(settings, port, listeners),
            };
            text.0.push_str(&frontend.text);
            all_files.extend(frontend.files.iter().map(|(path, content)| (path.clone(), content.clone())));
            frontends.insert(port, frontend);
        }
        self.frontends = frontends;
        let mut all_servers = Vec::new();
        let mut backends = BTreeMap::new();
        for balancer in balancers {
            let (balancer, part, servers) = match self.backends.remove(&balancer.name) {
                Some(kept) if is_same(&kept.0, balancer) => kept,
                _ => self.backend(settings, balancer),
            };
            text.0.push_str(&part);
            all_servers.extend_from_slice(&servers);
            backends.insert(balancer.name.clone(), (balancer, part, servers));
        }
        self.backends = backends;
        (all_servers, all_files)
    }

    fn frontend(&mut self, settings: &HaproxySettings, port: u16, listeners: Vec<Place>) -> Frontend {
        self.made += 1;
        let mut text = Text::default();
        let mut certificates = Certificates::new(&settings.paths.certificates());
        let all: Vec<Listener<'_>> =
            listeners.iter().map(|(balancer, index)| (&**balancer, &balancer.listeners[*index])).collect();
        render_frontend(&mut text, port, &all, &mut certificates);
        Frontend { listeners, text: text.0, files: certificates.into_files() }
    }

    fn backend(
        &mut self,
        settings: &HaproxySettings,
        balancer: &Arc<Balancer>,
    ) -> (Arc<Balancer>, String, Vec<Server>) {
        self.made += 1;
        let (mut text, mut servers) = (Text::default(), Vec::new());
        backends::render(&mut text, settings, balancer, &mut servers);
        (Arc::clone(balancer), text.0, servers)
    }
}

fn is_same(left: &Arc<Balancer>, right: &Arc<Balancer>) -> bool {
    Arc::ptr_eq(left, right) || left == right
}

/// Whether a port's front end would be the same. What only back ends have in it does not count.
fn are_same(left: &[Place], right: &[Place]) -> bool {
    let same = |(left, index): &Place, (right, other): &Place| {
        index == other
            && (Arc::ptr_eq(left, right)
                || (&left.name, &left.dns_name, &left.listeners) == (&right.name, &right.dns_name, &right.listeners)
                    && left.idle_timeout_secs == right.idle_timeout_secs
                    && left.malformed_requests == right.malformed_requests)
    };
    left.len() == right.len() && left.iter().zip(right).all(|(left, right)| same(left, right))
}

fn render_frontend(text: &mut Text, port: u16, listeners: &[Listener<'_>], certificates: &mut Certificates) {
    let is_http = listeners.iter().all(|(_, listener)| listener.protocol.is_http());
    let is_encrypted = listeners.iter().all(|(_, listener)| listener.protocol.is_encrypted());
    let idle_secs = listeners.iter().map(|(balancer, _)| balancer.idle_timeout_secs).max().unwrap_or(60).max(1);
    text.section(format!("frontend {}", balancer_frontend(port)));
    // One thread writes all lines about requests: of two, one that waits for the other drops its line.
    text.line(format!("bind 127.0.0.1:{port} thread 1{}", encryption(listeners, certificates)));
    text.line(format!("mode {}", if is_http { "http" } else { "tcp" }));
    text.line(format!("timeout client {idle_secs}s"));
    let balancer = match listeners {
        [(only, _)] => only.name.clone(),
        _ => format!("%[var({BALANCER})]"),
    };
    for line in requests::log_lines(is_http, &balancer) {
        text.line(line);
    }
    if is_http {
        render_http(text, idle_secs, is_encrypted, strictness(listeners));
        text.line(format!("use_backend {} if {{ stopping }}", relay(port)));
    }
    if let [(balancer, listener)] = listeners {
        text.line(format!("default_backend {}", Backend::of(listener).name(balancer)));
        if is_http {
            render_relay(text, port, idle_secs, is_encrypted);
        }
        return;
    }
    let is_for = |balancer: &Balancer| {
        format!("if {{ req.hdr(host),field(1,:),lower -m str {} }}", balancer.dns_name.to_ascii_lowercase())
    };
    for (balancer, _) in listeners {
        text.line(format!("http-request set-var({BALANCER}) str({}) {}", balancer.name, is_for(balancer)));
    }
    for (balancer, listener) in listeners {
        text.line(format!("use_backend {} {}", Backend::of(listener).name(balancer), is_for(balancer)));
    }
    text.line(format!("http-request return status 404 content-type text/plain string \"No load balancer of this name has this port.\" unless {{ var({BALANCER}) -m found }}"));
    render_relay(text, port, idle_secs, is_encrypted);
}

fn relay(port: u16) -> String {
    format!("relay:{port}")
}

/// A worker that was replaced lets go of the instances' namespace at once, so that it cannot connect to them any more, and
/// knows nothing of who has come and left. The last request on each connection that it keeps goes to its successor, who
/// has the port by then, and who logs it.
fn render_relay(text: &mut Text, port: u16, idle_secs: u32, is_encrypted: bool) {
    text.section(format!("backend {}", relay(port)));
    text.line(format!("timeout server {idle_secs}s"));
    let encryption = if is_encrypted { " ssl verify none sni ssl_fc_sni" } else { "" };
    text.line(format!("server successor 127.0.0.1:{port}{encryption}"));
}

fn render_http(text: &mut Text, idle_secs: u32, is_encrypted: bool, strictness: MalformedRequests) {
    text.line(format!("timeout http-keep-alive {idle_secs}s"));
    // HAProxy refuses what two servers could read differently unless it is told not to
    // (https://docs.aws.amazon.com/elasticloadbalancing/latest/classic/config-desync-mitigation-mode.html).
    match strictness {
        MalformedRequests::Pass => text.line("option accept-invalid-http-request"),
        MalformedRequests::RefuseAmbiguous => {}
        MalformedRequests::Refuse => text.line("option http-restrict-req-hdr-names reject"),
    }
    // The client's address comes last, behind what earlier proxies wrote
    // (https://docs.aws.amazon.com/elasticloadbalancing/latest/classic/x-forwarded-headers.html).
    text.line("http-request set-header X-Forwarded-For \"%[req.fhdr(x-forwarded-for)], %[src]\" if { req.hdr(x-forwarded-for) -m found } !{ stopping }");
    text.line("http-request set-header X-Forwarded-For %[src] if !{ req.hdr(x-forwarded-for) -m found } !{ stopping }");
    text.line("http-request set-log-level silent if { stopping }");
    text.line(format!("http-request set-header X-Forwarded-Proto {}", if is_encrypted { "https" } else { "http" }));
    text.line("http-request set-header X-Forwarded-Port %[dst_port]");
}

/// Of balancers that share a port the most lenient decides, as no one's requests may be refused for another's sake.
fn strictness(listeners: &[Listener<'_>]) -> MalformedRequests {
    let rank = |mode: &MalformedRequests| match mode {
        MalformedRequests::Pass => 0,
        MalformedRequests::RefuseAmbiguous => 1,
        MalformedRequests::Refuse => 2,
    };
    listeners.iter().map(|(balancer, _)| balancer.malformed_requests).min_by_key(rank).unwrap_or_default()
}

/// What follows the address of an encrypted listener. Of several the first one's certificate and policy are for clients
/// that name no server.
fn encryption(listeners: &[Listener<'_>], certificates: &mut Certificates) -> String {
    let encrypted: Vec<(&Balancer, &Encryption)> =
        listeners.iter().filter_map(|(balancer, listener)| Some((*balancer, listener.encryption.as_ref()?))).collect();
    let Some((_, first)) = encrypted.first() else { return String::new() };
    let file = match &encrypted[..] {
        [(_, only)] => format!("crt {}", quoted(&certificates.certificate(&only.certificate))),
        _ => {
            let lines = encrypted.iter().map(|(balancer, encryption)| {
                let file = certificates.certificate(&encryption.certificate);
                format!("{file} [{}] {}\n", options(encryption), balancer.dns_name.to_ascii_lowercase())
            });
            let lines: String = lines.collect();
            format!("crt-list {}", quoted(&certificates.list(lines)))
        }
    };
    let order = if first.server_order { "" } else { " prefer-client-ciphers" };
    format!(" ssl {file} {}{order}", options(first))
}

fn options(encryption: &Encryption) -> String {
    // At its usual level OpenSSL 3 refuses TLS 1.0 and 1.1 whatever the versions say.
    format!(
        "ssl-min-ver {} ssl-max-ver {} ciphers {}:@SECLEVEL=0",
        encryption.oldest_version,
        encryption.newest_version,
        encryption.ciphers.join(":")
    )
}
