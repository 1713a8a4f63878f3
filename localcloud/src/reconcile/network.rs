//! Leases, firewall rules and balancers' addresses follow instances, security groups and load balancers. The instances'
//! reconciler goes through the same [`Wiring`] before each launch, so that a guest never asks in vain for its lease.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use tokio::{sync::Mutex, time::Instant};

use super::runner::{Context, Progress, Reconciler};
use crate::{
    api::ec2::instances::item::hostname,
    drivers::{AllowRule, DriverError, Host, Protocol},
    model::{
        instance::{Instance, InstanceState},
        load_balancer::LoadBalancer,
        security_group::{RuleSource, SecurityGroup},
    },
    store::changes::Cursor,
};

/// How often the network is looked over for what went missing.
const MEND_EVERY: Duration = Duration::from_secs(15);

/// All that the network is told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    pub hosts: BTreeSet<Host>,
    pub rules: BTreeSet<AllowRule>,
    pub balancer_addresses: BTreeSet<Ipv4Addr>,
}

/// What the network should be by the records. An instance keeps its lease until nothing of it runs any more.
#[must_use]
pub fn decide(instances: &[Arc<Instance>], groups: &[Arc<SecurityGroup>], balancers: &[Arc<LoadBalancer>]) -> Plan {
    let present: Vec<&Arc<Instance>> =
        instances.iter().filter(|instance| instance.state != InstanceState::Terminated).collect();
    let mut members: BTreeMap<&str, BTreeSet<Ipv4Addr>> = BTreeMap::new();
    for instance in present.iter().filter(|instance| instance.state.is_alive()) {
        for group in &instance.security_group_ids {
            members.entry(group).or_default().insert(instance.private_ip);
        }
    }
    // A balancer sends from an address of its own, and counts as a member; nothing is let in to it here.
    let mut sources = members.clone();
    for balancer in balancers {
        for group in &balancer.security_group_ids {
            sources.entry(group).or_default().insert(balancer.address);
        }
    }
    let mut rules = BTreeSet::new();
    for group in groups {
        let Some(to) = members.get(group.id.as_str()) else { continue };
        for rule in &group.ingress {
            let from: BTreeSet<String> = match &rule.source {
                // The network has no IPv6 to let in.
                RuleSource::Cidr(cidr) if cidr.contains(':') => BTreeSet::new(),
                RuleSource::Cidr(cidr) => BTreeSet::from([cidr.clone()]),
                RuleSource::Group(id) => {
                    sources.get(id.as_str()).into_iter().flatten().map(|address| format!("{address}/32")).collect()
                }
            };
            let protocol = match rule.protocol.as_str() {
                "tcp" => Protocol::Tcp,
                "udp" => Protocol::Udp,
                "icmp" => Protocol::Icmp,
                _ => Protocol::Any,
            };
            if !from.is_empty() {
                rules.insert(AllowRule { to: to.clone(), protocol, ports: rule.ports, from });
            }
        }
    }
    let host = |instance: &&Arc<Instance>| Host {
        mac_address: instance.mac_address.clone(),
        address: instance.private_ip,
        hostname: hostname(instance.private_ip),
    };
    Plan {
        hosts: present.iter().map(host).collect(),
        rules,
        balancer_addresses: balancers.iter().map(|balancer| balancer.address).collect(),
    }
}

#[derive(Default)]
struct Applied {
    followed: Cursor,
    started: Option<Instant>,
    hosts: Option<BTreeSet<Host>>,
    rules: Option<BTreeSet<AllowRule>>,
    balancer_addresses: Option<BTreeSet<Ipv4Addr>>,
}

/// Brings the network to the records, one caller at a time: reading the records and telling the network are one step,
/// so that no older reading overwrites a newer one.
#[derive(Default)]
pub struct Wiring {
    applied: Mutex<Applied>,
}

impl Wiring {
    /// Starts the network if this process has not yet done so, or long ago, and tells it what has changed.
    ///
    /// # Errors
    /// When the network refuses. What it was told is then told again.
    pub async fn bring(&self, cx: &Context) -> anyhow::Result<()> {
        let mut applied = self.applied.lock().await;
        let outcome = Self::apply(&mut applied, cx).await;
        if outcome.is_err() {
            *applied = Applied::default();
        }
        outcome
    }

    async fn apply(applied: &mut Applied, cx: &Context) -> anyhow::Result<()> {
        let network = &cx.drivers.network;
        if applied.started.is_none_or(|time| time.elapsed() >= MEND_EVERY) {
            network.start().await?;
            // Whatever was mended is empty now.
            *applied = Applied { started: Some(Instant::now()), ..Applied::default() };
        }
        let changes = cx.store.changes(&mut applied.followed);
        if !(changes.touch::<Instance>() || changes.touch::<SecurityGroup>() || changes.touch::<LoadBalancer>()) {
            return Ok(());
        }
        let plan = cx.store.read(|tx| {
            let (instances, groups, balancers) =
                (tx.list::<Instance>(), tx.list::<SecurityGroup>(), tx.list::<LoadBalancer>());
            decide(&instances, &groups, &balancers)
        })?;
        if applied.balancer_addresses.as_ref() != Some(&plan.balancer_addresses) {
            network.set_balancer_addresses(&plan.balancer_addresses).await?;
            applied.balancer_addresses = Some(plan.balancer_addresses);
        }
        if applied.hosts.as_ref() != Some(&plan.hosts) {
            network.set_hosts(&plan.hosts).await?;
            applied.hosts = Some(plan.hosts);
        }
        if applied.rules.as_ref() != Some(&plan.rules) {
            network.set_rules(&plan.rules).await?;
            applied.rules = Some(plan.rules);
        }
        Ok(())
    }
}

/// The same for a caller that words its troubles as the drivers do.
pub(super) fn as_driver_error(error: &anyhow::Error) -> DriverError {
    DriverError::new("preparing the network", format!("{error:#}"))
}

/// Keeps the network as the records say.
#[derive(Default)]
pub struct Network {
    wiring: Arc<Wiring>,
}

impl Network {
    #[must_use]
    pub fn new(wiring: Arc<Wiring>) -> Self {
        Self { wiring }
    }
}

#[async_trait]
impl Reconciler for Network {
    fn name(&self) -> &'static str {
        "network"
    }

    fn period(&self) -> Duration {
        MEND_EVERY
    }

    async fn reconcile(&mut self, cx: &Context) -> anyhow::Result<Progress> {
        self.wiring.bring(cx).await?;
        Ok(Progress::Settled)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::samples::instance, *};
    use crate::model::{
        load_balancer::{ConnectionDraining, HealthCheck},
        security_group::Rule,
        tag::Tags,
        time::Timestamp,
    };

    type Allowed<'a> = (&'a str, Option<(u16, u16)>, RuleSource);

    fn group(id: &str, rules: &[Allowed<'_>]) -> Arc<SecurityGroup> {
        let rule = |(protocol, ports, source): &Allowed<'_>| Rule {
            id: "sgr-1".to_owned(),
            protocol: (*protocol).to_owned(),
            ports: *ports,
            source: source.clone(),
            description: None,
        };
        Arc::new(SecurityGroup {
            id: id.to_owned(),
            name: id.to_owned(),
            description: String::new(),
            vpc_id: String::new(),
            owner_id: String::new(),
            ingress: rules.iter().map(rule).collect(),
            egress: Vec::new(),
            tags: Tags::new(),
        })
    }

    fn member(last: u8, group: &str, state: InstanceState) -> Arc<Instance> {
        let mut instance = instance(&format!("i-{last}"), state);
        instance.private_ip = Ipv4Addr::new(10, 77, 0, last);
        instance.security_group_ids = vec![group.to_owned()];
        Arc::new(instance)
    }

    fn balancer(group: &str) -> Arc<LoadBalancer> {
        Arc::new(LoadBalancer {
            name: "lb".to_owned(),
            dns_name: String::new(),
            created: Timestamp::now(),
            address: Ipv4Addr::new(10, 77, 255, 1),
            scheme: String::new(),
            zones: Vec::new(),
            subnets: Vec::new(),
            security_group_ids: vec![group.to_owned()],
            listeners: Vec::new(),
            health_check: HealthCheck {
                target: "TCP:80".to_owned(),
                interval_secs: 5,
                timeout_secs: 2,
                unhealthy_threshold: 2,
                healthy_threshold: 2,
            },
            backends: BTreeMap::new(),
            connection_draining: ConnectionDraining { enabled: false, timeout_secs: 300 },
            idle_timeout_secs: 60,
            cross_zone: false,
            policies: Default::default(),
            access_log: Default::default(),
            desync_mitigation: Default::default(),
            tags: Tags::new(),
            trouble: None,
        })
    }

    fn addresses(lasts: &[u8]) -> BTreeSet<Ipv4Addr> {
        lasts.iter().map(|last| Ipv4Addr::new(10, 77, 0, *last)).collect()
    }

    #[test]
    fn a_group_as_source_means_its_members_and_the_balancers_that_have_it() {
        let groups = [group("sg-db", &[("tcp", Some((3306, 3306)), RuleSource::Group("sg-web".to_owned()))])];
        let instances = [
            member(10, "sg-db", InstanceState::Running),
            member(11, "sg-web", InstanceState::Running),
            member(12, "sg-web", InstanceState::ShuttingDown),
        ];
        let plan = decide(&instances, &groups, &[balancer("sg-web")]);
        let rule = AllowRule {
            to: addresses(&[10]),
            protocol: Protocol::Tcp,
            ports: Some((3306, 3306)),
            from: ["10.77.0.11/32", "10.77.255.1/32"].map(str::to_owned).into(),
        };
        assert_eq!(plan.rules, BTreeSet::from([rule]));
        assert_eq!(plan.balancer_addresses, BTreeSet::from([Ipv4Addr::new(10, 77, 255, 1)]));
    }

    #[test]
    fn leases_last_until_an_instance_is_terminated_and_rules_until_it_is_told_to_go() {
        let groups = [group("sg-web", &[("-1", None, RuleSource::Cidr("0.0.0.0/0".to_owned()))])];
        let instances = [
            member(10, "sg-web", InstanceState::Pending),
            member(11, "sg-web", InstanceState::ShuttingDown),
            member(12, "sg-web", InstanceState::Terminated),
        ];
        let plan = decide(&instances, &groups, &[]);
        assert_eq!(plan.hosts.iter().map(|host| host.address).collect::<BTreeSet<_>>(), addresses(&[10, 11]));
        assert_eq!(plan.rules.first().map(|rule| rule.to.clone()), Some(addresses(&[10])));
    }

    #[test]
    fn without_members_or_sources_nothing_is_let_in() {
        let groups = [
            group("sg-empty", &[("tcp", Some((80, 80)), RuleSource::Cidr("0.0.0.0/0".to_owned()))]),
            group(
                "sg-web",
                &[
                    ("tcp", Some((80, 80)), RuleSource::Group("sg-empty".to_owned())),
                    ("tcp", Some((80, 80)), RuleSource::Cidr("::/0".to_owned())),
                ],
            ),
        ];
        assert!(decide(&[member(10, "sg-web", InstanceState::Running)], &groups, &[]).rules.is_empty());
    }
}
