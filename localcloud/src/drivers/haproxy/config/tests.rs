use std::sync::Arc;

use super::*;
use crate::{
    drivers::{
        Balancer, BalancerBackend, BalancerHealthCheck, BalancerListener, BalancerProtocol, PublicPort, Stickiness,
    },
    paths::Paths,
};

fn settings(namespace: Option<&str>) -> HaproxySettings {
    HaproxySettings {
        paths: Paths::new(Path::new("/state")),
        namespace: namespace.map(str::to_owned),
        gateway: [10, 77, 0, 1].into(),
        port: 8773,
        api_socket: "/run/lc/api.sock".into(),
        s3_socket: "/run/lc/s3.sock".into(),
        imds_socket: "/run/lc/imds.sock".into(),
    }
}

fn balancer(name: &str, listeners: &[(BalancerProtocol, u16, u16)]) -> Balancer {
    Balancer {
        name: name.to_owned(),
        dns_name: format!("{name}-1.elb.localhost"),
        source: [10, 77, 0, 5].into(),
        listeners: listeners
            .iter()
            .map(|&(protocol, port, instance_port)| BalancerListener {
                protocol,
                port,
                instance_protocol: protocol,
                instance_port,
                encryption: None,
                stickiness: None,
            })
            .collect(),
        health_check: BalancerHealthCheck {
            target: "HTTP:80/healthz?a=\"b\"".to_owned(),
            interval_secs: 5,
            timeout_secs: 3,
            healthy_threshold: 2,
            unhealthy_threshold: 4,
        },
        backends: vec![
            BalancerBackend {
                instance_id: "i-1".to_owned(),
                address: [10, 77, 0, 11].into(),
                weight: 1,
                draining: false,
            },
            BalancerBackend {
                instance_id: "i-2".to_owned(),
                address: [10, 77, 0, 12].into(),
                weight: 1,
                draining: true,
            },
        ],
        idle_timeout_secs: 60,
        proxy_protocol_ports: BTreeSet::new(),
        malformed_requests: Default::default(),
    }
}

fn rendered(plan: &ProxyPlan, namespace: Option<&str>) -> Rendered {
    render(&settings(namespace), plan, Path::new("/state/servers"), &BTreeSet::new(), &mut Kept::default())
}

fn plan(balancers: Vec<Balancer>) -> ProxyPlan {
    ProxyPlan { balancers: balancers.into_iter().map(Arc::new).collect(), ..ProxyPlan::default() }
}

/// The lines of a section, without indentation.
fn section<'a>(text: &'a str, title: &str) -> Vec<&'a str> {
    let mut lines = text.lines().skip_while(|line| *line != title);
    lines.next().unwrap_or_else(|| panic!("no section `{title}` in:\n{text}"));
    lines.take_while(|line| !line.is_empty()).map(str::trim).collect()
}

#[test]
fn a_balancer_becomes_a_front_end_on_loopback_and_a_checked_back_end_in_the_namespace() {
    let plan = plan(vec![balancer("web", &[(BalancerProtocol::Http, 8080, 80)])]);
    let rendered = rendered(&plan, Some("lc"));
    let front = section(&rendered.text, "frontend elb:8080");
    let unlogged: Vec<&str> =
        front.iter().copied().filter(|line| !line.contains("log") && !line.contains("txn.elb_")).collect();
    assert_eq!(
        unlogged,
        [
            "bind 127.0.0.1:8080 thread 1",
            "mode http",
            "timeout client 60s",
            "timeout http-keep-alive 60s",
            "http-request set-header X-Forwarded-For \"%[req.fhdr(x-forwarded-for)], %[src]\" if { req.hdr(x-forwarded-for) -m found } !{ stopping }",
            "http-request set-header X-Forwarded-For %[src] if !{ req.hdr(x-forwarded-for) -m found } !{ stopping }",
            "http-request set-header X-Forwarded-Proto http",
            "http-request set-header X-Forwarded-Port %[dst_port]",
            "use_backend relay:8080 if { stopping }",
            "default_backend elb:web:http:80",
        ]
    );
    let relay = section(&rendered.text, "backend relay:8080");
    assert_eq!(relay, ["timeout server 60s", "server successor 127.0.0.1:8080"]);
    assert!(front.contains(&"log stdout len 16384 format raw local0 info"), "{front:?}");
    let back = section(&rendered.text, "backend elb:web:http:80");
    let unlogged: Vec<&str> = back.iter().copied().filter(|line| !line.contains("txn.elb_")).collect();
    assert_eq!(
        unlogged,
        [
            "mode http",
            "balance leastconn",
            "timeout server 60s",
            "timeout queue 60s",
            "http-error status 503",
            "source 10.77.0.5",
            "server i-1 10.77.0.11:80 namespace lc weight 1 maxconn 1000 maxqueue 1024 track elb:web:checks/i-1",
            "server i-2 10.77.0.12:80 namespace lc weight 0 maxconn 1000 maxqueue 1024 track elb:web:checks/i-2",
        ]
    );
    assert_eq!(
        section(&rendered.text, "backend elb:web:checks"),
        [
            "option httpchk",
            "http-check send meth GET uri \"/healthz?a=\\\"b\\\"\" ver HTTP/1.1 hdr Host web-1.elb.localhost hdr User-Agent ELB-HealthChecker/1.0 hdr Connection close",
            "http-check expect status 200",
            "timeout check 3s",
            "default-server inter 5s downinter 2s rise 2 fall 4",
            "source 10.77.0.5",
            "server i-1 10.77.0.11:80 namespace lc weight 1 check",
            "server i-2 10.77.0.12:80 namespace lc weight 0 check",
        ]
    );
    assert_eq!(
        rendered.servers.iter().map(|server| (server.name.as_str(), server.weight)).collect::<Vec<_>>(),
        [("i-1", 1), ("i-2", 0)]
    );
}

#[test]
fn health_is_checked_once_however_many_listeners_follow_it() {
    let listeners = [(BalancerProtocol::Http, 8080, 80), (BalancerProtocol::Tcp, 9000, 9001)];
    let plan = plan(vec![balancer("web", &listeners)]);
    let rendered = rendered(&plan, None);
    for backend in ["elb:web:http:80", "elb:web:tcp:9001"] {
        let lines = section(&rendered.text, &format!("backend {backend}"));
        assert!(lines.iter().any(|line| line.ends_with("track elb:web:checks/i-1")), "{lines:?}");
    }
    assert_eq!(rendered.servers.len(), 2, "only the checked ones have states");
}

#[test]
fn a_policy_changes_the_back_end_and_never_where_health_is_known() {
    let mut sticky = balancer("web", &[(BalancerProtocol::Http, 8080, 80)]);
    sticky.listeners[0].stickiness = Some(Stickiness::Balancer { expires_secs: Some(60) });
    sticky.proxy_protocol_ports.insert(80);
    let plan = plan(vec![sticky]);
    let rendered = rendered(&plan, None);
    let lines = section(&rendered.text, "backend elb:web:http:80:sticky-60");
    assert!(lines.contains(&"cookie AWSELB insert nocache maxlife 60s attr \"Max-Age=60\""), "{lines:?}");
    assert!(lines.iter().any(|line| line.starts_with("server i-1 10.77.0.11:80 weight 1 send-proxy cookie ")));
    assert!(
        lines.iter().any(|line| line.starts_with("server i-2 10.77.0.12:80 weight 0 send-proxy maxconn")),
        "one that drains gets nobody back: {lines:?}"
    );
    assert!(rendered.servers.iter().all(|server| server.backend == "elb:web:checks"));
}

#[test]
fn balancers_on_one_port_are_told_apart_by_host() {
    let listeners = [(BalancerProtocol::Http, 8080, 80)];
    let plan = plan(vec![balancer("b", &listeners), balancer("a", &listeners)]);
    let text = rendered(&plan, None).text;
    let front = section(&text, "frontend elb:8080");
    assert!(
        front.contains(&"use_backend elb:a:http:80 if { req.hdr(host),field(1,:),lower -m str a-1.elb.localhost }")
    );
    assert!(
        front.contains(&"use_backend elb:b:http:80 if { req.hdr(host),field(1,:),lower -m str b-1.elb.localhost }")
    );
    assert!(!front.iter().any(|line| line.starts_with("default_backend")));
}

#[test]
fn nothing_binds_anything_but_loopback_outside_the_namespace() {
    let port =
        PublicPort { public_address: [127, 77, 0, 11].into(), port: 22, private_address: [10, 77, 0, 11].into() };
    let plan =
        ProxyPlan { public_ports: [port].into(), ..plan(vec![balancer("web", &[(BalancerProtocol::Http, 8080, 80)])]) };
    let text = rendered(&plan, Some("lc")).text;
    let binds: Vec<&str> = text.lines().filter_map(|line| line.trim().strip_prefix("bind ")).collect();
    assert_eq!(
        binds,
        [
            "127.0.0.1:8773",
            "10.77.0.1:8773 namespace lc",
            "169.254.169.254:80 namespace lc",
            "127.0.0.1:8080 thread 1",
            "127.77.0.11:22",
        ]
    );
    assert_eq!(
        section(&text, "listen public:127.77.0.11:22").last(),
        Some(&"server instance 10.77.0.11:22 namespace lc")
    );
}

#[test]
fn without_a_namespace_there_are_no_doors_for_instances() {
    let text = rendered(&ProxyPlan::default(), None).text;
    assert!(!text.contains("namespace") && !text.contains("169.254"), "{text}");
}

#[test]
fn equal_plans_give_equal_digests_whatever_their_order() {
    let listeners = [(BalancerProtocol::Http, 8080, 80)];
    let of = |names: [&str; 2]| plan(names.iter().map(|name| balancer(name, &listeners)).collect());
    let (left, right) = (rendered(&of(["a", "b"]), None), rendered(&of(["b", "a"]), None));
    assert_eq!(left, right);
    assert!(left.text.contains(&format!("description {}", left.digest)));
    assert_ne!(left.digest, rendered(&ProxyPlan::default(), None).digest);
}

#[test]
fn only_what_has_changed_is_rendered_anew() {
    let mut kept = Kept::default();
    let mut render = |plan: &ProxyPlan| {
        let before = kept.made;
        let rendered = render(&settings(None), plan, Path::new("/state/servers"), &BTreeSet::new(), &mut kept);
        assert_eq!(rendered, self::rendered(plan, None), "what is kept is what would be made");
        kept.made - before
    };
    let mut many =
        plan((0..50).map(|n| balancer(&format!("lb-{n:02}"), &[(BalancerProtocol::Http, 8000 + n, 80)])).collect());
    assert_eq!(render(&many), 100, "a front end and the back ends of each");
    assert_eq!(render(&many), 0);
    let mut changed = Balancer::clone(&many.balancers[7]);
    changed.backends.pop();
    many.balancers[7] = Arc::new(changed);
    assert_eq!(render(&many), 1, "an instance is the back ends' only");
    many.balancers.remove(9);
    assert_eq!(render(&many), 0);
    many.balancers.push(Arc::new(balancer("lb-99", &[(BalancerProtocol::Http, 8007, 80)])));
    assert_eq!(render(&many), 2, "its own, and the front end of the port that it shares");
}

#[test]
fn a_back_ends_name_leads_to_its_balancer() {
    assert_eq!(balancer_of_backend("elb:web-1:http:80"), Some("web-1"));
    assert_eq!(balancer_of_backend("elb:web-1:ssl:443:sticky-60"), Some("web-1"));
    assert_eq!(balancer_of_backend("elb:web-1:checks"), Some("web-1"));
    assert_eq!(balancer_of_backend("elb:8080"), None);
    assert_eq!(balancer_of_backend("api:ec2"), None);
}

#[test]
fn words_are_quoted_against_what_haproxy_reads_into_them() {
    assert_eq!(quoted(r#"/a b/$x"\"#), r#""/a b/\$x\"\\""#);
}
