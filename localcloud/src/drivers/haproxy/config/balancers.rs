//! Load balancers: front ends by port, back ends by balancer. Only HTTP listeners share a port, told apart by Host.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, SocketAddrV4},
};

use super::{Text, balancer_frontend, in_namespace, quoted};
use crate::drivers::{
    Balancer, BalancerHealthCheck, BalancerListener, BalancerProtocol,
    haproxy::{
        HaproxySettings,
        ports::{Refused, is_refused},
        server_state::Server,
    },
};

/// While a server is down it is asked at least this often, so that a fresh instance is found soon; the checks that
/// count towards the threshold keep the balancer's own interval.
const LONGEST_DOWN_INTERVAL_SECS: u32 = 2;

pub(super) fn render(
    text: &mut Text,
    settings: &HaproxySettings,
    balancers: &[Balancer],
    refused: &BTreeSet<Refused>,
) -> Vec<Server> {
    let mut balancers: Vec<&Balancer> = balancers.iter().collect();
    balancers.sort_by(|left, right| left.name.cmp(&right.name));
    let mut by_port: BTreeMap<u16, Vec<(&Balancer, &BalancerListener)>> = BTreeMap::new();
    for balancer in &balancers {
        for listener in &balancer.listeners {
            let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, listener.port);
            if !is_refused(refused, address, Some(&balancer.name)) {
                by_port.entry(listener.port).or_default().push((balancer, listener));
            }
        }
    }
    for (port, listeners) in by_port {
        render_frontend(text, port, &listeners);
    }
    let mut servers = Vec::new();
    for balancer in balancers {
        render_backends(text, settings, balancer, &mut servers);
    }
    servers
}

fn protocol_name(protocol: BalancerProtocol) -> &'static str {
    match protocol {
        BalancerProtocol::Http => "http",
        BalancerProtocol::Tcp => "tcp",
    }
}

fn backend_name(balancer: &Balancer, protocol: BalancerProtocol, instance_port: u16) -> String {
    format!("elb:{}:{}:{instance_port}", balancer.name, protocol_name(protocol))
}

fn render_frontend(text: &mut Text, port: u16, listeners: &[(&Balancer, &BalancerListener)]) {
    let is_http = listeners.iter().all(|(_, listener)| listener.protocol == BalancerProtocol::Http);
    let idle_secs = listeners.iter().map(|(balancer, _)| balancer.idle_timeout_secs).max().unwrap_or(60).max(1);
    text.section(format!("frontend {}", balancer_frontend(port)));
    text.line(format!("bind 127.0.0.1:{port}"));
    text.line(format!("mode {}", if is_http { "http" } else { "tcp" }));
    text.line(format!("timeout client {idle_secs}s"));
    if is_http {
        text.line(format!("timeout http-keep-alive {idle_secs}s"));
        // The client's address comes last, behind what earlier proxies wrote
        // (https://docs.aws.amazon.com/elasticloadbalancing/latest/classic/x-forwarded-headers.html).
        text.line("http-request set-header X-Forwarded-For \"%[req.fhdr(x-forwarded-for)], %[src]\" if { req.hdr(x-forwarded-for) -m found }");
        text.line("http-request set-header X-Forwarded-For %[src] unless { req.hdr(x-forwarded-for) -m found }");
        text.line("http-request set-header X-Forwarded-Proto http");
        text.line("http-request set-header X-Forwarded-Port %[dst_port]");
    }
    let name = |(balancer, listener): &(&Balancer, &BalancerListener)| {
        backend_name(balancer, listener.protocol, listener.instance_port)
    };
    if let [only] = listeners {
        text.line(format!("default_backend {}", name(only)));
        return;
    }
    for listener in listeners {
        let host = listener.0.dns_name.to_ascii_lowercase();
        text.line(format!("use_backend {} if {{ req.hdr(host),field(1,:),lower -m str {host} }}", name(listener)));
    }
    text.line("http-request return status 404 content-type text/plain string \"No load balancer of this name has this port.\" unless { req.hdr(host),field(1,:),lower -m str ".to_owned()
        + &listeners.iter().map(|(balancer, _)| balancer.dns_name.to_ascii_lowercase()).collect::<Vec<_>>().join(" ")
        + " }");
}

fn render_backends(text: &mut Text, settings: &HaproxySettings, balancer: &Balancer, servers: &mut Vec<Server>) {
    let backends: BTreeSet<(&str, u16)> =
        balancer.listeners.iter().map(|listener| (protocol_name(listener.protocol), listener.instance_port)).collect();
    let namespace = in_namespace(settings);
    let mut checked: Option<String> = None;
    for (protocol, instance_port) in backends {
        let name = format!("elb:{}:{protocol}:{instance_port}", balancer.name);
        let idle_secs = balancer.idle_timeout_secs.max(1);
        text.section(format!("backend {name}"));
        text.line(format!("mode {protocol}"));
        text.line(format!("balance {}", if protocol == "http" { "leastconn" } else { "roundrobin" }));
        text.line(format!("timeout server {idle_secs}s"));
        if protocol == "http" {
            // As from a classic ELB: a bare status when no instance is in service.
            text.line("http-error status 503");
        }
        if checked.is_none() {
            render_check(text, balancer);
        }
        text.line(format!("source {}", balancer.source));
        for backend in &balancer.backends {
            let weight = u32::from(!backend.draining);
            let follows = match &checked {
                Some(first) => format!("track {first}/{}", backend.instance_id),
                None => {
                    servers.push(Server {
                        backend: name.clone(),
                        name: backend.instance_id.clone(),
                        address: backend.address,
                        port: instance_port,
                        weight,
                    });
                    check_of_server(&balancer.health_check)
                }
            };
            text.line(format!(
                "server {} {}:{instance_port}{namespace} weight {weight} {follows}",
                backend.instance_id, backend.address
            ));
        }
        checked.get_or_insert(name);
    }
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

fn render_check(text: &mut Text, balancer: &Balancer) {
    let check = &balancer.health_check;
    if let Some(path) = parse_target(&check.target).path {
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
}

fn check_of_server(check: &BalancerHealthCheck) -> String {
    let target = parse_target(&check.target);
    let tls = if target.tls { " check-ssl verify none" } else { "" };
    format!("check port {}{tls}", target.port)
}
