//! What the proxy should do, from the records: every balancer with its instances, and every port of an instance that its
//! security groups open to the world, or to the gateway, where the proxy stands.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    sync::Arc,
};

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
    store::{Transaction, changes::Changes},
};

/// Each port is a socket of the proxy, so that whole ranges are left out.
const MOST_PORTS_OF_A_RANGE: u16 = 16;
/// HAProxy's (<https://docs.haproxy.org/2.6/configuration.html#5.2-weight>).
const GREATEST_WEIGHT: u32 = 256;

/// The plan, and what it takes to follow the records without looking at all of them.
#[derive(Default)]
pub struct Planned {
    pub plan: ProxyPlan,
    /// How often the plan has become another.
    pub revision: u64,
    /// By balancer: the instances that are registered with it.
    registered: BTreeMap<String, BTreeSet<String>>,
    /// By instance: the balancers with which it is registered.
    balancers_of: BTreeMap<String, BTreeSet<String>>,
    /// Balancers that show a certificate.
    encrypted: BTreeSet<String>,
    /// By instance: its groups, and what they open of it.
    opened: BTreeMap<String, (Vec<String>, BTreeSet<PublicPort>)>,
    /// By group: the instances that are in it.
    members: BTreeMap<String, BTreeSet<String>>,
}

impl Planned {
    /// Brings the plan to the records. Returns the balancers of which something has changed, be it in the plan or not.
    pub fn follow(&mut self, tx: &mut Transaction<'_>, changes: &Changes) -> BTreeSet<String> {
        let (Some(mut balancers), Some(mut instances), Some(groups), false) = (
            changes.of::<LoadBalancer>(),
            changes.of::<Instance>(),
            changes.of::<SecurityGroup>(),
            changes.touch::<Site>(),
        ) else {
            return self.begin(tx);
        };
        balancers.extend(instances.iter().filter_map(|id| self.balancers_of.get(id)).flatten().cloned());
        if changes.touch::<ServerCertificate>() {
            balancers.extend(self.encrypted.iter().cloned());
        }
        instances.extend(groups.iter().filter_map(|id| self.members.get(id)).flatten().cloned());
        self.take(tx, &balancers, &instances);
        balancers
    }

    /// Looks at everything.
    fn begin(&mut self, tx: &mut Transaction<'_>) -> BTreeSet<String> {
        let mut balancers: BTreeSet<String> = self.registered.keys().cloned().collect();
        balancers.extend(tx.list::<LoadBalancer>().iter().map(|balancer| balancer.name.clone()));
        let mut instances: BTreeSet<String> = self.opened.keys().cloned().collect();
        instances.extend(tx.list::<Instance>().iter().map(|instance| instance.id.clone()));
        self.take(tx, &balancers, &instances);
        balancers
    }

    fn take(&mut self, tx: &mut Transaction<'_>, balancers: &BTreeSet<String>, instances: &BTreeSet<String>) {
        for name in balancers {
            self.take_balancer(tx, name);
        }
        if let Some(site) = tx.get::<Site>(Site::KEY) {
            let gateway = Ipv4Addr::new(site.subnet.0, site.subnet.1, 0, 1);
            for id in instances {
                self.take_ports(tx, id, gateway);
            }
        }
    }

    fn take_balancer(&mut self, tx: &mut Transaction<'_>, name: &str) {
        let record = tx.get::<LoadBalancer>(name);
        let registered: BTreeSet<String> =
            record.iter().flat_map(|balancer| balancer.backends.keys()).cloned().collect();
        let before = self.registered.remove(name).unwrap_or_default();
        for id in before.difference(&registered) {
            remove(&mut self.balancers_of, id, name);
        }
        for id in registered.difference(&before) {
            self.balancers_of.entry(id.clone()).or_default().insert(name.to_owned());
        }
        self.encrypted.remove(name);
        let position = self.plan.balancers.binary_search_by(|balancer| balancer.name.as_str().cmp(name));
        let Some(record) = record else {
            if let Ok(at) = position {
                self.plan.balancers.remove(at);
                self.revision += 1;
            }
            return;
        };
        self.registered.insert(name.to_owned(), registered);
        if record.listeners.iter().any(Listener::is_encrypted) {
            self.encrypted.insert(name.to_owned());
        }
        let balancer = planned(tx, &record);
        match position {
            // Health is written into the record all the time, and is none of the plan's.
            Ok(at) if *self.plan.balancers[at] == balancer => return,
            Ok(at) => self.plan.balancers[at] = Arc::new(balancer),
            Err(at) => self.plan.balancers.insert(at, Arc::new(balancer)),
        }
        self.revision += 1;
    }

    fn take_ports(&mut self, tx: &mut Transaction<'_>, id: &str, gateway: Ipv4Addr) {
        let instance = tx.get::<Instance>(id);
        let instance = instance.filter(|one| matches!(one.state, InstanceState::Pending | InstanceState::Running));
        let (groups, before) = self.opened.remove(id).unwrap_or_default();
        for group in &groups {
            remove(&mut self.members, group, id);
        }
        let after = instance.as_ref().map(|instance| public_ports(tx, instance, gateway)).unwrap_or_default();
        if before != after {
            for port in &before {
                self.plan.public_ports.remove(port);
            }
            self.plan.public_ports.extend(after.iter().cloned());
            self.revision += 1;
        }
        let Some(instance) = instance else { return };
        for group in &instance.security_group_ids {
            self.members.entry(group.clone()).or_default().insert(id.to_owned());
        }
        self.opened.insert(id.to_owned(), (instance.security_group_ids.clone(), after));
    }
}

/// Removes a value of a key, and the key with its last one.
fn remove(lists: &mut BTreeMap<String, BTreeSet<String>>, key: &str, value: &str) {
    if let Some(list) = lists.get_mut(key) {
        list.remove(value);
        if list.is_empty() {
            lists.remove(key);
        }
    }
}

fn planned(tx: &mut Transaction<'_>, balancer: &LoadBalancer) -> Balancer {
    let check = &balancer.health_check;
    let mut of_zones: BTreeMap<String, u32> = BTreeMap::new();
    let mut zones: Vec<String> = Vec::new();
    let mut backends: Vec<BalancerBackend> = Vec::new();
    for (instance_id, backend) in &balancer.backends {
        let instance = tx.get::<Instance>(instance_id).filter(|instance| instance.state.is_alive());
        // What is in a zone where the balancer does not stand gets nothing.
        let Some(instance) = instance.filter(|instance| balancer.zones.contains(&instance.zone)) else { continue };
        let draining = backend.draining_since.is_some();
        *of_zones.entry(instance.zone.clone()).or_default() += u32::from(!draining);
        zones.push(instance.zone.clone());
        let (instance_id, address) = (instance_id.clone(), instance.private_ip);
        backends.push(BalancerBackend { instance_id, address, weight: 1, draining });
    }
    if !balancer.cross_zone && of_zones.len() > 1 {
        // Each zone gets the same, and each instance its share of its zone's.
        for (backend, zone) in backends.iter_mut().zip(&zones) {
            backend.weight = (GREATEST_WEIGHT / of_zones[zone].max(1)).max(1);
        }
    }
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
    // The name, which is its key, is the ARN's last part.
    let certificate = tx.get::<ServerCertificate>(arn.rsplit('/').next()?)?;
    if certificate.arn(&site.account_id) != arn {
        return None;
    }
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

/// What an instance's groups open of it.
fn public_ports(tx: &mut Transaction<'_>, instance: &Instance, gateway: Ipv4Addr) -> BTreeSet<PublicPort> {
    let mut ports = BTreeSet::new();
    for group in instance.security_group_ids.iter().filter_map(|id| tx.get::<SecurityGroup>(id)) {
        for (first, last) in group.ingress.iter().filter_map(|rule| opened(rule, gateway)) {
            ports.extend((first..=last).map(|port| PublicPort {
                public_address: instance.public_ip,
                port,
                private_address: instance.private_ip,
            }));
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
