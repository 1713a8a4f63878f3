//! The configuration as text, from a plan. Pure: equal plans give equal text, and its digest stands in the
//! description, by which a running worker tells what it runs.

/// Balancers' back ends: health checks, and what carries the traffic.
mod backends;
/// Load balancers: front ends by port.
mod balancers;
/// Files that a configuration names besides itself.
mod certificates;
/// The doors to API, S3 and metadata service, and instances' public ports.
mod doors;

use std::{collections::BTreeSet, net::SocketAddrV4, path::Path};

use sha2::{Digest as _, Sha256};

pub(super) use self::balancers::Kept;
use self::certificates::Files;
use super::{HaproxySettings, ports::Refused, server_state::Server};
use crate::drivers::ProxyPlan;

pub(super) const API_DOOR: &str = "door:api";
/// The worker's own socket: by it listeners pass to the next worker.
pub(super) const ADMIN_SOCKET: &str = "haproxy-admin";
const DIGEST_PLACE: &str = "@digest@";

/// Front end of all balancers' listeners on a port.
pub(super) fn balancer_frontend(port: u16) -> String {
    format!("elb:{port}")
}

pub(super) fn public_listener(address: SocketAddrV4) -> String {
    format!("public:{address}")
}

/// The balancer whose back end has this name.
pub(super) fn balancer_of_backend(proxy: &str) -> Option<&str> {
    let (balancer, what) = proxy.strip_prefix("elb:")?.split_once(':')?;
    matches!(what.split(':').next(), Some("checks" | "http" | "https" | "tcp" | "ssl")).then_some(balancer)
}

/// The back end in which a balancer's instances are checked.
fn check_backend(balancer: &str) -> String {
    format!("elb:{balancer}:checks")
}

/// A configuration, and what of it the driver must know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rendered {
    pub(super) text: String,
    pub(super) digest: String,
    /// Servers whose health is checked.
    pub(super) servers: Vec<Server>,
    /// What must be there before HAProxy reads the text.
    pub(super) files: Files,
}

/// `kept` is what was rendered before: what has not changed is taken from there.
pub(super) fn render(
    settings: &HaproxySettings,
    plan: &ProxyPlan,
    state_file: &Path,
    refused: &BTreeSet<Refused>,
    kept: &mut Kept,
) -> Rendered {
    let mut text = Text::default();
    global(&mut text, settings, state_file);
    doors::render(&mut text, settings, refused);
    let (servers, files) = kept.balancers(&mut text, settings, &plan.balancers, refused);
    doors::render_public_ports(&mut text, settings, &plan.public_ports, refused);
    let digest: String = Sha256::digest(&text.0).iter().take(12).map(|byte| format!("{byte:02x}")).collect();
    Rendered { text: text.0.replacen(DIGEST_PLACE, &digest, 1), digest, servers, files }
}

fn global(text: &mut Text, settings: &HaproxySettings, state_file: &Path) {
    text.line("# Written by localcloud for each change; changes made here are lost.");
    text.section("global");
    text.line(format!("description {DIGEST_PLACE}"));
    text.line("maxconn 4000");
    // Without this a second HAProxy could bind the same port, and the two would share its connections.
    text.line("noreuseport");
    // Long enough for a draining of an hour, the longest that ELB knows.
    text.line("hard-stop-after 4h");
    text.line(format!(
        "stats socket {} mode 600 level admin expose-fd listeners",
        quoted(&settings.paths.socket(ADMIN_SOCKET).display().to_string())
    ));
    text.line(format!("server-state-file {}", quoted(&state_file.display().to_string())));
    // The standard output is for requests.
    text.line("log stderr format raw daemon err");
    text.section("defaults");
    text.line("mode http");
    text.line("log global");
    text.line("option dontlognull");
    // A worker that is replaced answers one more request on a connection that idles, and only then closes it: a client
    // that sends just then would otherwise lose its request.
    text.line("option idle-close-on-response");
    text.line("load-server-state-from-file global");
    text.line("timeout connect 5s");
    text.line("timeout client 60s");
    text.line("timeout server 60s");
    text.line("timeout http-request 60s");
    text.line("timeout queue 5s");
    text.line("retries 3");
    text.line("option redispatch");
}

/// Lines in sections.
#[derive(Default)]
struct Text(String);

impl Text {
    fn section(&mut self, title: impl AsRef<str>) {
        self.0.push('\n');
        self.0.push_str(title.as_ref());
        self.0.push('\n');
    }

    fn line(&mut self, line: impl AsRef<str>) {
        if !line.as_ref().starts_with('#') {
            self.0.push_str("    ");
        }
        self.0.push_str(line.as_ref());
        self.0.push('\n');
    }
}

/// One word of the configuration, whatever it holds.
fn quoted(word: &str) -> String {
    let mut quoted = String::with_capacity(word.len() + 2);
    quoted.push('"');
    for character in word.chars() {
        if matches!(character, '"' | '\\' | '$' | '`') {
            quoted.push('\\');
        }
        quoted.push(character);
    }
    quoted.push('"');
    quoted
}

/// ` namespace NAME`, or nothing where there is none.
fn in_namespace(settings: &HaproxySettings) -> String {
    settings.namespace.as_deref().map(|name| format!(" namespace {name}")).unwrap_or_default()
}

#[cfg(test)]
mod tests;
