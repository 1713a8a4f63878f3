//! The doors to API, S3 and metadata service, and instances' public ports.

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, SocketAddrV4},
    path::Path,
};

use super::{API_DOOR, Text, in_namespace, public_listener, quoted};
use crate::drivers::{
    PublicPort,
    haproxy::{
        HaproxySettings,
        ports::{Refused, is_refused},
    },
};

const METADATA_ADDRESS: &str = "169.254.169.254:80";
/// Tells the services who asks. Only HAProxy sets it: what a client sends is removed.
const SOURCE_HEADER: &str = "X-Localcloud-Source";
const NOT_RUNNING: &str = "The local cloud is not running at the moment; it is started by: localcloud serve";

pub(super) fn render(text: &mut Text, settings: &HaproxySettings, refused: &BTreeSet<Refused>) {
    let loopback = SocketAddrV4::new(Ipv4Addr::LOCALHOST, settings.port);
    if !is_refused(refused, loopback, None) {
        render_front(text, API_DOOR, &format!("{loopback}"));
    }
    if let Some(namespace) = &settings.namespace {
        render_front(text, "door:gateway", &format!("{}:{} namespace {namespace}", settings.gateway, settings.port));
        text.section("frontend door:metadata");
        text.line(format!("bind {METADATA_ADDRESS} namespace {namespace}"));
        text.line(format!("http-request set-header {SOURCE_HEADER} %[src]"));
        text.line("default_backend metadata");
        let body = format!("{NOT_RUNNING}\n");
        render_service(text, "metadata", &settings.imds_socket, "text/plain", &body);
    }
    let words = |open: &str, close: &str| {
        format!("{open}<Code>ServiceUnavailable</Code><Message>{NOT_RUNNING}</Message>{close}")
    };
    let xml = "text/xml";
    render_service(
        text,
        "api:ec2",
        &settings.api_socket,
        xml,
        &words("<Response><Errors><Error>", "</Error></Errors></Response>"),
    );
    render_service(
        text,
        "api:query",
        &settings.api_socket,
        xml,
        &words("<ErrorResponse><Error><Type>Receiver</Type>", "</Error></ErrorResponse>"),
    );
    render_service(text, "s3", &settings.s3_socket, "application/xml", &words("<Error>", "</Error>"));
}

/// One door for API and S3. What is S3's is told by host, by path, or by what the signature was made for.
fn render_front(text: &mut Text, name: &str, bind: &str) {
    text.section(format!("frontend {name}"));
    text.line(format!("bind {bind}"));
    text.line("timeout client 5m");
    // Policies may be about the address that a request comes from.
    text.line(format!("http-request set-header {SOURCE_HEADER} %[src]"));
    text.line("acl s3_host req.hdr(host),field(1,:),lower -m str s3.localhost");
    text.line("acl s3_host req.hdr(host),field(1,:),lower -m end .s3.localhost");
    text.line("acl s3_path path,lower -m reg ^/services/(objectstorage|walrus)(/|$)");
    text.line("acl s3_signed req.fhdr(authorization) -m sub /s3/aws4_request");
    text.line("acl s3_signed req.fhdr(authorization) -m beg \"AWS \"");
    text.line("acl s3_presigned query -m reg -i X-Amz-Credential=[^&]*(%2F|/)s3(%2F|/)aws4_request");
    // Version 2: S3 has no SignatureVersion in its presigned URLs, the query services must have one.
    text.line("acl version_2 urlp(AWSAccessKeyId) -m found");
    text.line("acl query_version urlp(SignatureVersion) -m found");
    text.line("acl a_service path_beg /services/");
    text.line("use_backend s3 if s3_host or s3_path or s3_signed or s3_presigned");
    text.line("use_backend s3 if version_2 !query_version !a_service");
    text.line("use_backend api:ec2 if { path,lower -m reg ^/services/(compute|eucalyptus)(/|$) }");
    text.line("default_backend api:query");
}

/// A service of ours behind a unix socket. Short of it being there the client is told in its own protocol to come again.
fn render_service(text: &mut Text, name: &str, socket: &Path, content_type: &str, unavailable: &str) {
    text.section(format!("backend {name}"));
    text.line("timeout server 5m");
    // A connection is cheap here, and one that a restarted daemon has closed would cost a request.
    text.line("option http-server-close");
    // A request that got no answer gets none here: whether it was carried out nobody can say.
    text.line("http-error status 502 errorfile /dev/null");
    text.line(format!(
        "http-error status 503 content-type \"{content_type}\" string {}",
        quoted(unavailable.trim_end())
    ));
    text.line(format!("server {name} {}", quoted(&format!("unix@{}", socket.display()))));
}

pub(super) fn render_public_ports(
    text: &mut Text,
    settings: &HaproxySettings,
    ports: &BTreeSet<PublicPort>,
    refused: &BTreeSet<Refused>,
) {
    let mut last = None;
    for port in ports {
        if last.replace((port.public_address, port.port)) == Some((port.public_address, port.port)) {
            continue;
        }
        let address = SocketAddrV4::new(port.public_address, port.port);
        if is_refused(refused, address, None) {
            continue;
        }
        text.section(format!("listen {}", public_listener(address)));
        text.line(format!("bind {address}"));
        text.line("mode tcp");
        text.line("timeout client 2h");
        text.line("timeout server 2h");
        text.line(format!("server instance {}:{}{}", port.private_address, port.port, in_namespace(settings)));
    }
}
