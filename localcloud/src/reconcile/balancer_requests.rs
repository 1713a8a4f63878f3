//! What balancers did: every ten seconds the requests that have ended become metrics and access logs, and the health of
//! their instances is counted.
//!
//! Requests go to the access logs first, are noted as taken care of, and are counted then. A daemon that is killed in the
//! first of these steps writes up to ten seconds of log entries twice; one that is killed between the last two, which is
//! a matter of microseconds, leaves them uncounted.

/// Access logs: their lines, and their way into buckets.
pub mod access_log;
/// Requests and health as metrics. Pure.
pub mod measure;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use anyhow::Context as _;
use async_trait::async_trait;

use self::access_log::{delivery, spool::Spool};
use super::runner::{Context, Progress, Reconciler};
use crate::{
    model::{instance::Instance, load_balancer::LoadBalancer, site::Site, time::Timestamp},
    store::changes::Cursor,
};

/// A multiple of this since the epoch is when the next look is due.
const EVERY_SECS: u32 = 10;

#[derive(Default)]
pub struct BalancerRequests {
    next: Option<Timestamp>,
    followed: Cursor,
    /// Balancers have changed and were not looked at.
    is_behind: bool,
}

#[async_trait]
impl Reconciler for BalancerRequests {
    fn name(&self) -> &'static str {
        "balancer_requests"
    }

    fn period(&self) -> Duration {
        Duration::from_secs(EVERY_SECS.into())
    }

    async fn reconcile(&mut self, cx: &Context) -> anyhow::Result<Progress> {
        let now = Timestamp::now();
        // Other records change all the time.
        self.is_behind |= cx.store.changes(&mut self.followed).touch::<LoadBalancer>();
        if let Some(next) = self.next.filter(|next| now < *next && !self.is_behind) {
            return Ok(Progress::Again(until(next, now)));
        }
        let (site, balancers) = cx.store.read(|tx| (tx.get::<Site>(Site::KEY), tx.list::<LoadBalancer>()))?;
        let Some(site) = site else { return Ok(Progress::Settled) };
        if let Some(next) = self.next.filter(|next| now < *next) {
            // A bucket that is to be tried is the one thing that need not wait.
            delivery::try_buckets(cx, &site, &balancers).await?;
            self.is_behind = false;
            return Ok(Progress::Again(until(next, now)));
        }
        let slot = now.floor_to(EVERY_SECS);
        let next = slot.plus_secs(EVERY_SECS.into());
        self.next = Some(next);
        let zones = cx.store.read(|tx| {
            let ids = balancers.iter().flat_map(|balancer| balancer.backends.keys());
            let zone = |id: &String| Some((id.clone(), tx.get::<Instance>(id)?.zone.clone()));
            ids.filter_map(zone).collect::<BTreeMap<_, _>>()
        })?;
        cx.metrics.record(measure::health(&balancers, &zones, slot));
        let spool = Spool::new(&cx.paths.access_logs());
        take_requests(cx, &site, &balancers, &spool).await?;
        let tried = delivery::try_buckets(cx, &site, &balancers).await;
        delivery::deliver(cx, &site, &balancers, &spool, now).await?;
        tried?;
        self.is_behind = false;
        Ok(Progress::Again(until(next, Timestamp::now())))
    }
}

async fn take_requests(
    cx: &Context,
    site: &Site,
    balancers: &[Arc<LoadBalancer>],
    spool: &Spool,
) -> anyhow::Result<()> {
    let logged: BTreeMap<&str, &LoadBalancer> = balancers
        .iter()
        .filter(|balancer| balancer.access_log.enabled)
        .map(|balancer| (balancer.name.as_str(), &**balancer))
        .collect();
    loop {
        let ended = cx.drivers.proxy.ended_requests().await?;
        if ended.requests.is_empty() && !ended.is_truncated {
            return Ok(());
        }
        spool.write(&ended.requests, &logged).context("writing access logs")?;
        cx.drivers.proxy.forget_requests(ended.position).await?;
        cx.metrics.record(measure::requests(&ended.requests, site, EVERY_SECS));
        if !ended.is_truncated {
            return Ok(());
        }
    }
}

fn until(next: Timestamp, now: Timestamp) -> Duration {
    Duration::from_millis(u64::try_from(next.millis() - now.millis()).unwrap_or(0).max(1))
}
