//! What becomes of registered instances, from what the proxy reports. Pure.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    drivers::{BackendStatus, ProxyPlan},
    model::{
        instance::Instance,
        load_balancer::{Backend, LoadBalancer},
        time::Timestamp,
    },
};

pub struct View<'a> {
    pub balancers: &'a [Arc<LoadBalancer>],
    pub instances: &'a BTreeMap<String, Arc<Instance>>,
    /// What the proxy had before it was asked for statuses.
    pub applied: Option<&'a ProxyPlan>,
    pub now: Timestamp,
}

/// A change to one registration. It holds what it was decided from: should that have changed meanwhile, it does nothing.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    Remove {
        balancer: String,
        instance_id: String,
        draining_since: Option<Timestamp>,
    },
    Report {
        balancer: String,
        instance_id: String,
        registered: Timestamp,
        healthy: Option<bool>,
        passing: bool,
        last_check: String,
        current_sessions: u64,
    },
}

impl Change {
    pub fn balancer(&self) -> &str {
        match self {
            Self::Remove { balancer, .. } | Self::Report { balancer, .. } => balancer,
        }
    }

    pub fn apply(&self, record: &mut LoadBalancer) {
        match self {
            Self::Remove { instance_id, draining_since, .. } => {
                if record.backends.get(instance_id).is_some_and(|backend| backend.draining_since == *draining_since) {
                    record.backends.remove(instance_id);
                }
            }
            Self::Report { instance_id, registered, healthy, passing, last_check, current_sessions, .. } => {
                if let Some(backend) =
                    record.backends.get_mut(instance_id).filter(|known| known.registered == *registered)
                {
                    backend.healthy = *healthy;
                    backend.passing = *passing;
                    backend.last_check.clone_from(last_check);
                    backend.current_sessions = *current_sessions;
                }
            }
        }
    }
}

/// Without statuses, as the proxy could not be asked, only time and the instances' own states count.
pub fn decide(view: &View<'_>, statuses: Option<&[BackendStatus]>) -> Vec<Change> {
    let mut changes = Vec::new();
    let by_backend: Option<BTreeMap<(&str, &str), &BackendStatus>> = statuses.map(|statuses| {
        statuses.iter().map(|status| ((status.balancer.as_str(), status.instance_id.as_str()), status)).collect()
    });
    for balancer in view.balancers {
        for (instance_id, backend) in &balancer.backends {
            let status =
                by_backend.as_ref().and_then(|all| all.get(&(balancer.name.as_str(), instance_id.as_str())).copied());
            if view.is_over(balancer, instance_id, backend, statuses.is_some(), status) {
                changes.push(Change::Remove {
                    balancer: balancer.name.clone(),
                    instance_id: instance_id.clone(),
                    draining_since: backend.draining_since,
                });
            } else if let Some(status) = status
                && (status.healthy, status.passing, &status.last_check)
                    != (backend.healthy, backend.passing, &backend.last_check)
            {
                changes.push(Change::Report {
                    balancer: balancer.name.clone(),
                    instance_id: instance_id.clone(),
                    registered: backend.registered,
                    healthy: status.healthy,
                    passing: status.passing,
                    last_check: status.last_check.clone(),
                    current_sessions: status.current_sessions,
                });
            }
        }
    }
    changes
}

impl View<'_> {
    fn is_over(
        &self,
        balancer: &LoadBalancer,
        instance_id: &str,
        backend: &Backend,
        asked: bool,
        status: Option<&BackendStatus>,
    ) -> bool {
        if !self.instances.get(instance_id).is_some_and(|instance| instance.state.is_alive()) {
            return true;
        }
        let Some(since) = backend.draining_since else { return false };
        let draining = &balancer.connection_draining;
        if !draining.enabled || since.age_secs(self.now) >= f64::from(draining.timeout_secs) {
            return true;
        }
        // The proxy must have been told before it was asked, or a request may just have been sent there.
        let told = self.applied.is_some_and(|plan| {
            let position = plan.balancers.binary_search_by(|planned| planned.name.cmp(&balancer.name));
            let planned = position.ok().map(|at| &plan.balancers[at]);
            let planned =
                planned.and_then(|planned| planned.backends.iter().find(|backend| backend.instance_id == instance_id));
            planned.is_some_and(|backend| backend.draining)
        });
        asked && told && status.is_none_or(|status| status.current_sessions == 0)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::{
        drivers::{Balancer, BalancerBackend, BalancerHealthCheck},
        model::{
            instance::InstanceState,
            load_balancer::{ConnectionDraining, HealthCheck},
        },
        reconcile::samples::instance,
    };

    const NOW: f64 = 10_000.0;

    fn balancer(draining_secs_ago: Option<i64>) -> LoadBalancer {
        let now = Timestamp::from_seconds(NOW);
        let backend = Backend {
            registered: now.plus_secs(-5000),
            draining_since: draining_secs_ago.map(|secs| now.plus_secs(-secs)),
            healthy: Some(true),
            passing: true,
            last_check: "fine".into(),
            current_sessions: 0,
        };
        LoadBalancer {
            name: "web".into(),
            dns_name: "web-1.elb.localhost".into(),
            created: now,
            address: Ipv4Addr::new(10, 77, 255, 1),
            scheme: "internet-facing".into(),
            zones: Vec::new(),
            subnets: Vec::new(),
            security_group_ids: Vec::new(),
            listeners: Vec::new(),
            health_check: HealthCheck {
                target: "TCP:80".into(),
                interval_secs: 5,
                timeout_secs: 2,
                unhealthy_threshold: 2,
                healthy_threshold: 2,
            },
            backends: BTreeMap::from([("i-1".to_owned(), backend)]),
            connection_draining: ConnectionDraining { enabled: true, timeout_secs: 300 },
            idle_timeout_secs: 60,
            cross_zone: false,
            policies: Default::default(),
            access_log: Default::default(),
            desync_mitigation: Default::default(),
            tags: BTreeMap::new(),
            trouble: None,
        }
    }

    fn plan(draining: bool) -> ProxyPlan {
        let check = BalancerHealthCheck {
            target: "TCP:80".into(),
            interval_secs: 5,
            timeout_secs: 2,
            healthy_threshold: 2,
            unhealthy_threshold: 2,
        };
        let backend =
            BalancerBackend { instance_id: "i-1".into(), address: Ipv4Addr::new(10, 77, 0, 10), weight: 1, draining };
        let balancer = Balancer {
            name: "web".into(),
            dns_name: "web-1.elb.localhost".into(),
            source: Ipv4Addr::new(10, 77, 255, 1),
            listeners: Vec::new(),
            health_check: check,
            backends: vec![backend],
            idle_timeout_secs: 60,
            proxy_protocol_ports: Default::default(),
            malformed_requests: Default::default(),
        };
        ProxyPlan { balancers: vec![Arc::new(balancer)], ..ProxyPlan::default() }
    }

    fn status(healthy: Option<bool>, current_sessions: u64) -> BackendStatus {
        BackendStatus {
            balancer: "web".into(),
            instance_id: "i-1".into(),
            healthy,
            passing: healthy == Some(true),
            last_check: "fine".into(),
            current_sessions,
        }
    }

    fn changes(
        record: LoadBalancer,
        state: InstanceState,
        applied: &ProxyPlan,
        statuses: Option<&[BackendStatus]>,
    ) -> Vec<Change> {
        let instances = BTreeMap::from([("i-1".to_owned(), Arc::new(instance("i-1", state)))]);
        let balancers = [Arc::new(record)];
        let view = View {
            balancers: &balancers,
            instances: &instances,
            applied: Some(applied),
            now: Timestamp::from_seconds(NOW),
        };
        decide(&view, statuses)
    }

    fn removes(changes: &[Change]) -> bool {
        matches!(changes, [Change::Remove { .. }])
    }

    #[test]
    fn a_draining_instance_goes_with_its_last_connection_or_at_the_timeout() {
        let (running, told) = (InstanceState::Running, plan(true));
        let busy = [status(Some(true), 2)];
        let idle = [status(Some(true), 0)];
        assert!(changes(balancer(Some(10)), running, &told, Some(&busy)).is_empty());
        assert!(removes(&changes(balancer(Some(10)), running, &told, Some(&idle))));
        assert!(removes(&changes(balancer(Some(300)), running, &told, Some(&busy))));
        assert!(removes(&changes(balancer(Some(300)), running, &told, None)), "time counts though the proxy is silent");
        assert!(changes(balancer(Some(10)), running, &told, None).is_empty());
    }

    #[test]
    fn idleness_seen_before_the_proxy_was_told_does_not_count() {
        let idle = [status(Some(true), 0)];
        assert!(changes(balancer(Some(0)), InstanceState::Running, &plan(false), Some(&idle)).is_empty());
    }

    #[test]
    fn without_draining_or_without_its_instance_it_goes_at_once() {
        let busy = [status(Some(true), 2)];
        let mut off = balancer(Some(0));
        off.connection_draining.enabled = false;
        assert!(removes(&changes(off, InstanceState::Running, &plan(true), Some(&busy))));
        assert!(removes(&changes(balancer(None), InstanceState::ShuttingDown, &plan(false), Some(&busy))));
    }

    #[test]
    fn only_a_change_of_health_is_reported_not_one_of_connections() {
        let running = InstanceState::Running;
        assert!(changes(balancer(None), running, &plan(false), Some(&[status(Some(true), 7)])).is_empty());
        let reported = changes(balancer(None), running, &plan(false), Some(&[status(Some(false), 7)]));
        assert!(matches!(reported[..], [Change::Report { healthy: Some(false), current_sessions: 7, .. }]));
    }

    #[test]
    fn a_registration_renewed_meanwhile_is_kept() {
        let change =
            changes(balancer(Some(10)), InstanceState::Running, &plan(true), Some(&[status(Some(true), 0)])).remove(0);
        let mut renewed = balancer(None);
        change.apply(&mut renewed);
        assert!(renewed.backends.contains_key("i-1"));
    }
}
