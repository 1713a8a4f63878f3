//! What the proxy should do, from the records: every balancer with its instances, and every port of an instance that its
//! security groups open to the world, or to the gateway, where the proxy stands.

use std::{collections::BTreeSet, net::Ipv4Addr};

use crate::{
    drivers::{
        Balancer, BalancerBackend, BalancerHealthCheck, BalancerListener, BalancerProtocol, Encryption,
        MalformedRequests, Pem, ProxyPlan, PublicPort, Stickiness,
    },
    model::{
        balancer_policy::{APP_COOKIE, Policy},
        instance::{Instance, InstanceState},
        load_balancer::{DesyncMitigation, Listener, LoadBalancer},
        security_group::{Rule, RuleSource, SecurityGroup},
        server_certificate::ServerCertificate,
        site::Site,
        tls_policy::{self, Predefined, TlsPolicy},
    },
    store::Transaction,
};

/// Each port is a socket of the proxy, so that whole ranges are left out.
const MOST_PORTS_OF_A_RANGE: u16 = 16;

pub fn plan(tx: &mut Transaction<'_>) -> ProxyPlan {
    let balancers = tx.list::<LoadBalancer>();
    ProxyPlan {
        balancers: balancers.iter().map(|balancer| planned(tx, balancer)).collect(),
        public_ports: public_ports(tx).into_iter().collect(),
    }
}

fn planned(tx: &mut Transaction<'_>, balancer: &LoadBalancer) -> Balancer {
    let check = &balancer.health_check;
    let backends: Vec<BalancerBackend> = balancer
        .backends
        .iter()
        .filter_map(|(instance_id, backend)| {
            let instance = tx.get::<Instance>(instance_id).filter(|instance| instance.state.is_alive())?;
            Some(BalancerBackend {
                instance_id: instance_id.clone(),
                address: instance.private_ip,
                draining: backend.draining_since.is_some(),
            })
        })
        .collect();
    Balancer {
        name: balancer.name.clone(),
        dns_name: balancer.dns_name.clone(),
        source: balancer.address,
        backends,
        listeners: balancer.listeners.iter().filter_map(|listener| planned_listener(tx, balancer, listener)).collect(),
        health_check: BalancerHealthCheck {
            target: check.target.clone(),
            interval_secs: check.interval_secs,
            timeout_secs: check.timeout_secs,
            healthy_threshold: check.healthy_threshold,
            unhealthy_threshold: check.unhealthy_threshold,
        },
        idle_timeout_secs: balancer.idle_timeout_secs,
        proxy_protocol_ports: balancer
            .listeners
            .iter()
            .map(|listener| listener.instance_port)
            .filter(|port| balancer.policies.has_proxy_protocol(*port))
            .collect(),
        malformed_requests: match balancer.desync_mitigation {
            DesyncMitigation::Monitor => MalformedRequests::Pass,
            DesyncMitigation::Defensive => MalformedRequests::RefuseAmbiguous,
            DesyncMitigation::Strictest => MalformedRequests::Refuse,
        },
    }
}

/// `None` for an encrypted listener whose certificate is gone.
fn planned_listener(
    tx: &mut Transaction<'_>,
    balancer: &LoadBalancer,
    listener: &Listener,
) -> Option<BalancerListener> {
    let policies = listener.policy_names.iter().filter_map(|name| balancer.policies.by_name.get(name));
    let encryption = if listener.is_encrypted() {
        let negotiation = policies.clone().find_map(Policy::tls);
        Some(encryption(tx, listener.certificate_id.as_deref()?, negotiation)?)
    } else {
        None
    };
    let stickiness = policies.clone().find(|policy| policy.is_stickiness()).and_then(|policy| {
        if policy.type_name == APP_COOKIE {
            Some(Stickiness::Application { cookie: policy.attribute("CookieName")?.to_owned() })
        } else {
            Some(Stickiness::Balancer { expires_secs: policy.cookie_expires_secs() })
        }
    });
    Some(BalancerListener {
        protocol: protocol(&listener.protocol),
        port: listener.load_balancer_port,
        instance_protocol: protocol(&listener.instance_protocol),
        instance_port: listener.instance_port,
        encryption,
        stickiness: stickiness.filter(|_| listener.is_http()),
    })
}

fn encryption(tx: &mut Transaction<'_>, arn: &str, negotiation: Option<TlsPolicy>) -> Option<Encryption> {
    let site = tx.get::<Site>(Site::KEY)?;
    let certificates = tx.list::<ServerCertificate>();
    let certificate = certificates.iter().find(|certificate| certificate.arn(&site.account_id) == arn)?;
    let default = || Predefined::find(tls_policy::DEFAULT).map(|policy| TlsPolicy::of(&policy.attributes()));
    let policy = negotiation.or_else(default)?;
    Some(Encryption {
        certificate: Pem(certificate.bundle()),
        oldest_version: (*policy.versions.first()?).to_owned(),
        newest_version: (*policy.versions.last()?).to_owned(),
        ciphers: policy.ciphers.iter().map(|cipher| (*cipher).to_owned()).collect(),
        server_order: policy.server_order,
    })
}

fn protocol(name: &str) -> BalancerProtocol {
    match name {
        "HTTP" => BalancerProtocol::Http,
        "HTTPS" => BalancerProtocol::Https,
        "SSL" => BalancerProtocol::Ssl,
        _ => BalancerProtocol::Tcp,
    }
}

fn public_ports(tx: &mut Transaction<'_>) -> BTreeSet<PublicPort> {
    let Some(site) = tx.get::<Site>(Site::KEY) else { return BTreeSet::new() };
    let gateway = Ipv4Addr::new(site.subnet.0, site.subnet.1, 0, 1);
    let mut ports = BTreeSet::new();
    for instance in tx.list::<Instance>() {
        if !matches!(instance.state, InstanceState::Pending | InstanceState::Running) {
            continue;
        }
        for group in instance.security_group_ids.iter().filter_map(|id| tx.get::<SecurityGroup>(id)) {
            for (first, last) in group.ingress.iter().filter_map(|rule| opened(rule, gateway)) {
                ports.extend((first..=last).map(|port| PublicPort {
                    public_address: instance.public_ip,
                    port,
                    private_address: instance.private_ip,
                }));
            }
        }
    }
    ports
}

/// The TCP ports that a rule opens to the gateway, if they are few.
fn opened(rule: &Rule, gateway: Ipv4Addr) -> Option<(u16, u16)> {
    let (first, last) = rule.ports.filter(|_| rule.protocol == "tcp")?;
    let RuleSource::Cidr(cidr) = &rule.source else { return None };
    let few = last.checked_sub(first)? < MOST_PORTS_OF_A_RANGE && first > 0;
    (few && contains(cidr, gateway)).then_some((first, last))
}

fn contains(cidr: &str, address: Ipv4Addr) -> bool {
    let Some((network, length)) = cidr.split_once('/') else { return false };
    let (Ok(network), Ok(length)) = (network.parse::<Ipv4Addr>(), length.parse::<u32>()) else { return false };
    let mask = u32::MAX.checked_shl(32_u32.saturating_sub(length)).unwrap_or(0);
    length <= 32 && network.to_bits() & mask == address.to_bits() & mask
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(protocol: &str, ports: Option<(u16, u16)>, source: RuleSource) -> Rule {
        Rule { id: "sgr-1".into(), protocol: protocol.into(), ports, source, description: None }
    }

    #[test]
    fn only_few_tcp_ports_that_the_gateway_may_reach_are_public() {
        let gateway = Ipv4Addr::new(10, 77, 0, 1);
        let world = || RuleSource::Cidr("0.0.0.0/0".into());
        assert_eq!(opened(&rule("tcp", Some((22, 22)), world()), gateway), Some((22, 22)));
        assert_eq!(opened(&rule("tcp", Some((8000, 8015)), world()), gateway), Some((8000, 8015)));
        assert_eq!(opened(&rule("tcp", Some((8000, 8016)), world()), gateway), None);
        assert_eq!(opened(&rule("tcp", None, world()), gateway), None);
        assert_eq!(opened(&rule("udp", Some((53, 53)), world()), gateway), None);
        assert_eq!(opened(&rule("tcp", Some((22, 22)), RuleSource::Group("sg-1".into())), gateway), None);
        for (cidr, expected) in
            [("10.77.0.1/32", true), ("10.77.0.0/16", true), ("10.78.0.0/16", false), ("10.0.0.0/33", false)]
        {
            assert_eq!(contains(cidr, gateway), expected, "{cidr}");
        }
    }
}
