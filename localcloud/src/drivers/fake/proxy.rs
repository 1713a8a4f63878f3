//! A proxy that remembers its plan, and sees what health it is told to see.

use std::{collections::BTreeMap, sync::Mutex};

use async_trait::async_trait;

use super::{faults::Faults, lock};
use crate::drivers::{BackendStatus, BalancerRequest, EndedRequests, ProxyDriver, ProxyPlan, Result};

#[derive(Default)]
struct Proxied {
    plan: Option<ProxyPlan>,
    /// By instance.
    health: BTreeMap<String, Option<bool>>,
    /// Of whoever is not in it; healthy if nothing is said.
    health_of_others: Option<Option<bool>>,
    /// Ended and not yet forgotten, with the position of the first.
    requests: (u64, Vec<BalancerRequest>),
}

#[derive(Default)]
pub struct FakeProxy {
    faults: Faults,
    proxied: Mutex<Proxied>,
}

impl FakeProxy {
    pub(super) fn striking(faults: Faults) -> Self {
        Self { faults, ..Self::default() }
    }

    /// The plan that is in force; `None` before the first and after a stop.
    #[must_use]
    pub fn plan(&self) -> Option<ProxyPlan> {
        lock(&self.proxied).plan.clone()
    }

    /// What the health checks of this instance see from now on. They see health where nothing else is said.
    pub fn set_health(&self, instance_id: &str, healthy: Option<bool>) {
        lock(&self.proxied).health.insert(instance_id.to_owned(), healthy);
    }

    /// What they see of every instance of which nothing else is said.
    pub fn set_health_of_others(&self, healthy: Option<bool>) {
        lock(&self.proxied).health_of_others = Some(healthy);
    }

    /// A request has ended.
    pub fn end_request(&self, request: BalancerRequest) {
        lock(&self.proxied).requests.1.push(request);
    }
}

#[async_trait]
impl ProxyDriver for FakeProxy {
    async fn apply(&self, plan: &ProxyPlan) -> Result<()> {
        self.faults.call("apply".to_owned(), || {
            lock(&self.proxied).plan = Some(plan.clone());
            Ok(())
        })
    }

    async fn status(&self) -> Result<Vec<BackendStatus>> {
        let proxied = lock(&self.proxied);
        let balancers = proxied.plan.iter().flat_map(|plan| &plan.balancers);
        let backends = balancers.flat_map(|balancer| balancer.backends.iter().map(|backend| (&balancer.name, backend)));
        let statuses = backends.map(|(balancer, backend)| {
            let others = proxied.health_of_others.unwrap_or(Some(true));
            let healthy = proxied.health.get(&backend.instance_id).copied().unwrap_or(others);
            let last_check = match healthy {
                None => "not checked yet",
                Some(true) => "answered 200",
                Some(false) => "no answer",
            };
            BackendStatus {
                balancer: balancer.clone(),
                instance_id: backend.instance_id.clone(),
                healthy,
                passing: healthy == Some(true),
                last_check: last_check.to_owned(),
                current_sessions: 0,
            }
        });
        Ok(statuses.collect())
    }

    async fn ended_requests(&self) -> Result<EndedRequests> {
        let (first, requests) = &lock(&self.proxied).requests;
        let position = first + requests.len() as u64;
        Ok(EndedRequests { requests: requests.clone(), position, is_truncated: false })
    }

    async fn forget_requests(&self, position: u64) -> Result<()> {
        let (first, requests) = &mut lock(&self.proxied).requests;
        let known = usize::try_from(position.saturating_sub(*first)).unwrap_or(usize::MAX).min(requests.len());
        requests.drain(..known);
        *first += known as u64;
        Ok(())
    }

    async fn stop(&self) -> Result<()> {
        self.faults.call("stop proxy".to_owned(), || {
            lock(&self.proxied).plan = None;
            Ok(())
        })
    }
}
