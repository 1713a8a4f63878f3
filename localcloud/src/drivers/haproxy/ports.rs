//! Which ports of the host the plan needs, and which of them others have. A port that cannot be had is left out of
//! the configuration, so that one occupied port does not keep all other balancers from changing.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, SocketAddrV4, TcpListener},
};

use super::{HaproxySettings, config};
use crate::drivers::{Balancer, BalancerProtocol, ProxyPlan};

/// An address that cannot be had, and who wanted it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Refused {
    pub(super) address: SocketAddrV4,
    /// Balancer of which the listener is, where not all that share the port are meant.
    pub(super) balancer: Option<String>,
    pub(super) wanted_by: String,
    pub(super) cause: String,
    pub(super) is_public: bool,
    pub(super) is_door: bool,
}

impl Refused {
    pub(super) fn sentence(&self) -> String {
        format!("port {} of {} on {}: {}", self.address.port(), self.wanted_by, self.address.ip(), self.cause)
    }
}

/// Whether this balancer's listener, or the whole address, was refused.
pub(super) fn is_refused(refused: &BTreeSet<Refused>, address: SocketAddrV4, balancer: Option<&str>) -> bool {
    refused.iter().any(|refusal| {
        refusal.address == address && (refusal.balancer.is_none() || refusal.balancer.as_deref() == balancer)
    })
}

/// What of the plan cannot be had. `held` are the front ends that the running HAProxy has open.
pub(super) fn refused(settings: &HaproxySettings, plan: &ProxyPlan, held: &BTreeSet<String>) -> BTreeSet<Refused> {
    let mut refused = conflicts(settings, plan);
    let mut wanted: BTreeMap<SocketAddrV4, (String, String, bool, bool)> = BTreeMap::new();
    let door = SocketAddrV4::new(Ipv4Addr::LOCALHOST, settings.port);
    wanted.insert(door, (config::API_DOOR.to_owned(), "the API".to_owned(), false, true));
    for balancer in &plan.balancers {
        for listener in &balancer.listeners {
            let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, listener.port);
            if is_refused(&refused, address, Some(&balancer.name)) {
                continue;
            }
            let name = config::balancer_frontend(listener.port);
            let (_, wanted_by, ..) =
                wanted.entry(address).or_insert_with(|| (name, "load balancer".to_owned(), false, false));
            wanted_by.push_str(&format!(" {}", balancer.name));
        }
    }
    for port in &plan.public_ports {
        let address = SocketAddrV4::new(port.public_address, port.port);
        let wanted_by = format!("the instance at {}", port.private_address);
        wanted.entry(address).or_insert((config::public_listener(address), wanted_by, true, false));
    }
    for (address, (frontend, wanted_by, is_public, is_door)) in wanted {
        if held.contains(&frontend) {
            continue;
        }
        if let Err(error) = TcpListener::bind(address) {
            let cause = match error.kind() {
                std::io::ErrorKind::AddrInUse => "another program has it".to_owned(),
                _ => error.to_string(),
            };
            refused.insert(Refused { address, balancer: None, wanted_by, cause, is_public, is_door });
        }
    }
    refused
}

/// Listeners that exclude each other: only HTTP listeners share a port, and only HTTPS listeners, told apart by the
/// Host header.
fn conflicts(settings: &HaproxySettings, plan: &ProxyPlan) -> BTreeSet<Refused> {
    let mut refused = BTreeSet::new();
    let mut first: BTreeMap<u16, (&str, BalancerProtocol)> = BTreeMap::new();
    let mut balancers: Vec<&Balancer> = plan.balancers.iter().map(|balancer| &**balancer).collect();
    balancers.sort_by(|left, right| left.name.cmp(&right.name));
    for balancer in balancers {
        for listener in &balancer.listeners {
            let cause = if listener.port == settings.port {
                Some("it is the API's own".to_owned())
            } else {
                match first.get(&listener.port) {
                    Some((_, first)) if *first == listener.protocol && first.is_http() => None,
                    Some((other, _)) => Some(format!(
                        "load balancer {other} has it, and only HTTP listeners share a port, or only HTTPS listeners"
                    )),
                    None => {
                        first.insert(listener.port, (&balancer.name, listener.protocol));
                        None
                    }
                }
            };
            if let Some(cause) = cause {
                refused.insert(Refused {
                    address: SocketAddrV4::new(Ipv4Addr::LOCALHOST, listener.port),
                    balancer: Some(balancer.name.clone()),
                    wanted_by: format!("load balancer {}", balancer.name),
                    cause,
                    is_public: false,
                    is_door: false,
                });
            }
        }
    }
    refused
}
