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
    drivers::{AllowRule, Change, DriverError, Host, NetworkChange, NetworkPlan, Protocol, Source},
    model::{
        instance::{Instance, InstanceState},
        load_balancer::LoadBalancer,
        security_group::{RuleSource, SecurityGroup},
    },
    store::{
        Transaction,
        changes::{Changes, Cursor},
    },
};

/// How often the network is looked over for what went missing.
const MEND_EVERY: Duration = Duration::from_secs(5);
/// How often it is told all though nothing is known to be missing: somebody else may have changed it.
const TELL_ALL_EVERY: Duration = Duration::from_secs(60);

/// What the network should be by the records.
#[must_use]
pub fn decide(
    instances: &[Arc<Instance>],
    groups: &[Arc<SecurityGroup>],
    balancers: &[Arc<LoadBalancer>],
) -> NetworkPlan {
    let hosts = instances.iter().filter_map(|instance| host(instance));
    NetworkPlan {
        hosts: hosts.map(|host| (host.address, host)).collect(),
        rules: groups.iter().map(|group| (group.id.clone(), rules(group))).collect(),
        balancers: balancers.iter().map(|balancer| sender(balancer)).collect(),
    }
}

/// An instance keeps its lease until nothing of it runs any more, and is talked to until it is told to go.
fn host(instance: &Instance) -> Option<Host> {
    let alive = instance.state.is_alive();
    (instance.state != InstanceState::Terminated).then(|| Host {
        mac_address: instance.mac_address.clone(),
        address: instance.private_ip,
        hostname: hostname(instance.private_ip),
        groups: instance.security_group_ids.iter().filter(|_| alive).cloned().collect(),
    })
}

fn rules(group: &SecurityGroup) -> BTreeSet<AllowRule> {
    let allowed = group.ingress.iter().filter_map(|rule| {
        let from = match &rule.source {
            // The network has no IPv6 to let in.
            RuleSource::Cidr(cidr) if cidr.contains(':') => return None,
            RuleSource::Cidr(cidr) => Source::Block(cidr.clone()),
            RuleSource::Group(id) => Source::Group(id.clone()),
        };
        let protocol = match rule.protocol.as_str() {
            "tcp" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            "icmp" => Protocol::Icmp,
            _ => Protocol::Any,
        };
        Some(AllowRule { protocol, ports: rule.ports, from })
    });
    allowed.collect()
}

/// A balancer sends from an address of its own, and counts as a member; nothing is let in to it here.
fn sender(balancer: &LoadBalancer) -> (Ipv4Addr, BTreeSet<String>) {
    (balancer.address, balancer.security_group_ids.iter().cloned().collect())
}

/// What the network was told, by the records' keys.
#[derive(Default)]
struct Told {
    hosts: BTreeMap<String, Host>,
    rules: BTreeMap<String, BTreeSet<AllowRule>>,
    balancers: BTreeMap<String, (Ipv4Addr, BTreeSet<String>)>,
}

impl Told {
    /// Everything is to be told.
    fn all(&mut self, tx: &mut Transaction<'_>) -> NetworkPlan {
        let (instances, groups, balancers) =
            (tx.list::<Instance>(), tx.list::<SecurityGroup>(), tx.list::<LoadBalancer>());
        let hosts = instances.iter().filter_map(|instance| Some((instance.id.clone(), host(instance)?)));
        *self = Self {
            hosts: hosts.collect(),
            rules: groups.iter().map(|group| (group.id.clone(), rules(group))).collect(),
            balancers: balancers.iter().map(|balancer| (balancer.name.clone(), sender(balancer))).collect(),
        };
        decide(&instances, &groups, &balancers)
    }

    /// What has changed with these records. Most changes of an instance, such as its being up, are none to the network.
    fn follow(&mut self, tx: &mut Transaction<'_>, changed: &Changed) -> NetworkChange {
        let mut change = NetworkChange::default();
        for id in &changed.instances {
            let after = tx.get::<Instance>(id).and_then(|instance| host(&instance));
            let before = exchange(&mut self.hosts, id, after.clone());
            note(&mut change.hosts, before.map(|host| (host.address, host)), after.map(|host| (host.address, host)));
        }
        for id in &changed.groups {
            let after = tx.get::<SecurityGroup>(id).map(|group| rules(&group));
            let before = exchange(&mut self.rules, id, after.clone());
            note(&mut change.rules, before.map(|rules| (id.clone(), rules)), after.map(|rules| (id.clone(), rules)));
        }
        for name in &changed.balancers {
            let after = tx.get::<LoadBalancer>(name).map(|balancer| sender(&balancer));
            let before = exchange(&mut self.balancers, name, after.clone());
            note(&mut change.balancers, before, after);
        }
        change.without_equals()
    }
}

/// Puts what is now there in the place of what was, and returns that.
fn exchange<T>(things: &mut BTreeMap<String, T>, key: &str, after: Option<T>) -> Option<T> {
    match after {
        Some(after) => things.insert(key.to_owned(), after),
        None => things.remove(key),
    }
}

/// Records that follow each other may have one place, such as an address: what was there is the one's, what is there
/// the other's.
fn note<K: Ord, T>(changes: &mut BTreeMap<K, Change<T>>, before: Option<(K, T)>, after: Option<(K, T)>) {
    if let Some((place, before)) = before {
        changes.entry(place).or_default().before = Some(before);
    }
    if let Some((place, after)) = after {
        changes.entry(place).or_default().after = Some(after);
    }
}

/// Keys of records that have changed.
struct Changed {
    instances: BTreeSet<String>,
    groups: BTreeSet<String>,
    balancers: BTreeSet<String>,
}

impl Changed {
    /// `None` if it may be any.
    fn of(changes: &Changes) -> Option<Self> {
        Some(Self {
            instances: changes.of::<Instance>()?,
            groups: changes.of::<SecurityGroup>()?,
            balancers: changes.of::<LoadBalancer>()?,
        })
    }

    fn is_empty(&self) -> bool {
        self.instances.is_empty() && self.groups.is_empty() && self.balancers.is_empty()
    }
}

#[derive(Default)]
struct Applied {
    followed: Cursor,
    told: Told,
    looked_over: Option<Instant>,
    told_all: Option<Instant>,
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
    /// When the network refuses. It is then told all again.
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
        let is_due = |since: Option<Instant>, every| since.is_none_or(|time| time.elapsed() >= every);
        if is_due(applied.looked_over, MEND_EVERY) {
            // Whatever was mended is empty now.
            if network.start().await? || is_due(applied.told_all, TELL_ALL_EVERY) {
                applied.told_all = None;
            }
            applied.looked_over = Some(Instant::now());
        }
        let changed = Changed::of(&cx.store.changes(&mut applied.followed)).filter(|_| applied.told_all.is_some());
        match changed {
            Some(changed) if changed.is_empty() => {}
            Some(changed) => {
                let change = cx.store.read(|tx| applied.told.follow(tx, &changed))?;
                if !change.is_empty() {
                    network.change(&change).await?;
                }
            }
            None => {
                let plan = cx.store.read(|tx| applied.told.all(tx))?;
                network.set(&plan).await?;
                applied.told_all = Some(Instant::now());
            }
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

    fn sg(ids: &[&str]) -> BTreeSet<String> {
        ids.iter().map(|&id| id.to_owned()).collect()
    }

    #[test]
    fn a_group_as_source_means_its_members_and_the_balancers_that_have_it() {
        let groups = [group("sg-db", &[("tcp", Some((3306, 3306)), RuleSource::Group("sg-web".to_owned()))])];
        let instances =
            [member(10, "sg-db", InstanceState::Running), member(12, "sg-web", InstanceState::ShuttingDown)];
        let plan = decide(&instances, &groups, &[balancer("sg-web")]);
        let from = Source::Group("sg-web".to_owned());
        let rule = AllowRule { protocol: Protocol::Tcp, ports: Some((3306, 3306)), from };
        assert_eq!(plan.rules["sg-db"], BTreeSet::from([rule]));
        assert_eq!(plan.balancers, BTreeMap::from([(Ipv4Addr::new(10, 77, 255, 1), sg(&["sg-web"]))]));
    }

    #[test]
    fn leases_last_until_an_instance_is_terminated_and_membership_until_it_is_told_to_go() {
        let instances = [
            member(10, "sg-web", InstanceState::Pending),
            member(11, "sg-web", InstanceState::ShuttingDown),
            member(12, "sg-web", InstanceState::Terminated),
        ];
        let plan = decide(&instances, &[], &[]);
        let members: Vec<(u8, BTreeSet<String>)> =
            plan.hosts.values().map(|host| (host.address.octets()[3], host.groups.clone())).collect();
        assert_eq!(members, [(10, sg(&["sg-web"])), (11, sg(&[]))]);
    }

    #[test]
    fn there_is_no_version_6_to_let_in() {
        let groups = [group("sg-web", &[("tcp", Some((80, 80)), RuleSource::Cidr("::/0".to_owned()))])];
        assert!(decide(&[], &groups, &[]).rules["sg-web"].is_empty());
    }

    #[test]
    fn an_address_that_passes_to_another_instance_is_one_change() {
        let (first, second) =
            (member(10, "sg-web", InstanceState::Running), member(10, "sg-db", InstanceState::Pending));
        let mut changes = BTreeMap::new();
        let place = |instance: &Instance| host(instance).map(|host| (host.address, host));
        // In whatever order the two are looked at.
        note(&mut changes, None, place(&second));
        note(&mut changes, place(&first), None);
        let change = &changes[&first.private_ip];
        assert_eq!((change.before.clone(), change.after.clone()), (host(&first), host(&second)));
    }
}
