//! What a network is told: machines, what security groups let in to them, balancers' addresses. All of it as a plan, or,
//! where most of it stays, what has changed.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

/// One machine on the network.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Host {
    pub mac_address: String,
    pub address: Ipv4Addr,
    pub hostname: String,
    /// Security groups whose member it is. A machine that nobody is to talk to any more is in none.
    pub groups: BTreeSet<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    Tcp,
    Udp,
    Icmp,
    Any,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// `0.0.0.0/0`, `10.77.0.5/32`
    Block(String),
    /// Whoever is in the group, balancers included.
    Group(String),
}

/// Traffic that a group lets in to its members; all else to them is dropped. Answers to what is let in pass.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct AllowRule {
    pub protocol: Protocol,
    /// Inclusive; `None` for all ports.
    pub ports: Option<(u16, u16)>,
    pub from: Source,
}

/// All that there is to be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NetworkPlan {
    pub hosts: BTreeMap<Ipv4Addr, Host>,
    /// By the groups' ids.
    pub rules: BTreeMap<String, BTreeSet<AllowRule>>,
    /// Load balancers' own addresses on the bridge, each with the groups that it sends as a member of.
    pub balancers: BTreeMap<Ipv4Addr, BTreeSet<String>>,
}

/// Something that came, went, or became another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change<T> {
    pub before: Option<T>,
    pub after: Option<T>,
}

impl<T> Default for Change<T> {
    fn default() -> Self {
        Self { before: None, after: None }
    }
}

/// What of a plan has changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NetworkChange {
    pub hosts: BTreeMap<Ipv4Addr, Change<Host>>,
    pub rules: BTreeMap<String, Change<BTreeSet<AllowRule>>>,
    pub balancers: BTreeMap<Ipv4Addr, Change<BTreeSet<String>>>,
}

impl NetworkChange {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many things have changed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.hosts.len() + self.rules.len() + self.balancers.len()
    }

    /// Leaves out what is as it was.
    #[must_use]
    pub fn without_equals(mut self) -> Self {
        self.hosts.retain(|_, change| change.before != change.after);
        self.rules.retain(|_, change| change.before != change.after);
        self.balancers.retain(|_, change| change.before != change.after);
        self
    }
}

impl NetworkPlan {
    /// The same as a change of nothing.
    #[must_use]
    pub fn as_change(&self) -> NetworkChange {
        fn all<K: Clone + Ord, T: Clone>(things: &BTreeMap<K, T>) -> BTreeMap<K, Change<T>> {
            let come = |thing: &T| Change { before: None, after: Some(thing.clone()) };
            things.iter().map(|(key, thing)| (key.clone(), come(thing))).collect()
        }
        NetworkChange { hosts: all(&self.hosts), rules: all(&self.rules), balancers: all(&self.balancers) }
    }

    /// The plan after the change.
    pub fn apply(&mut self, change: &NetworkChange) {
        fn each<K: Clone + Ord, T: Clone>(things: &mut BTreeMap<K, T>, changes: &BTreeMap<K, Change<T>>) {
            for (key, change) in changes {
                match &change.after {
                    Some(after) => drop(things.insert(key.clone(), after.clone())),
                    None => drop(things.remove(key)),
                }
            }
        }
        each(&mut self.hosts, &change.hosts);
        each(&mut self.rules, &change.rules);
        each(&mut self.balancers, &change.balancers);
    }
}
