//! What instances, volumes and groups do becomes metrics: the counters of the drivers are read every ten seconds, and what
//! was added since is recorded.
//!
//! AWS measures an instance every five minutes, or every minute with detailed monitoring. Here all are measured every
//! ten seconds, as local experiments with alarms cannot wait; a sum over a minute is the same, an average over it is that
//! of six samples.

/// AWS/AutoScaling: sizes of groups. Pure.
pub mod groups;
/// AWS/EC2: what instances use. Pure.
pub mod instances;
/// AWS/EBS: what volumes are used for. Pure.
pub mod volumes;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;

use super::runner::{Context, Progress, Reconciler};
use crate::{
    drivers::{self, Transfer, Usage, VolumeUsage},
    model::{
        auto_scaling::AutoScalingGroup,
        instance::{Instance, InstanceState},
        time::Timestamp,
        volume::Volume,
    },
    store::Transaction,
};

const PERIOD_SECS: u32 = 10;
const PERIOD: Duration = Duration::from_secs(PERIOD_SECS as u64);

/// The counters as they were read last. A new daemon begins with them: what was used while none ran is in no metric.
#[derive(Debug, Clone)]
pub struct Look {
    pub at: Timestamp,
    pub instances: BTreeMap<String, Usage>,
    pub volumes: BTreeMap<String, VolumeUsage>,
}

/// The time between two looks.
#[derive(Debug, Clone, Copy)]
pub struct Interval {
    /// What samples of it are dated: its begin on the clock's grid, as a period is named by its begin.
    pub begin: Timestamp,
    /// How long it really was.
    pub seconds: f64,
}

/// Records metrics.
#[derive(Default)]
pub struct Measures {
    last: Option<Look>,
}

#[async_trait]
impl Reconciler for Measures {
    fn name(&self) -> &'static str {
        "measures"
    }

    fn period(&self) -> Duration {
        PERIOD
    }

    async fn reconcile(&mut self, cx: &Context) -> anyhow::Result<Progress> {
        self.look(cx, Timestamp::now()).await?;
        let now = Timestamp::now();
        let next = now.floor_to(PERIOD_SECS).plus_secs(PERIOD_SECS.into());
        Ok(Progress::Again(Duration::from_millis(u64::try_from(next.millis() - now.millis()).unwrap_or(0))))
    }
}

impl Measures {
    /// Looks, if it has not yet in this period, and records what was done since the look before.
    ///
    /// # Errors
    /// When the records cannot be read.
    pub async fn look(&mut self, cx: &Context, now: Timestamp) -> anyhow::Result<()> {
        let grid = now.floor_to(PERIOD_SECS);
        if self.last.as_ref().is_some_and(|last| last.at.floor_to(PERIOD_SECS) == grid) {
            return Ok(());
        }
        let records = cx.store.read(Records::read)?;
        let running = records.running.iter().map(|instance| instance.id.clone()).collect();
        let open = records.attached.iter().map(|volume| volume.id.clone()).collect();
        let look = Look {
            at: now,
            instances: known(cx.drivers.instances.usage(&running).await),
            volumes: known(cx.drivers.volumes.usage(&open).await),
        };
        let last = self.last.replace(look.clone());
        let interval = Interval {
            begin: grid.plus_secs(-i64::from(PERIOD_SECS)),
            seconds: last.as_ref().map_or(0.0, |last| last.at.age_secs(now)),
        };
        // A clock that was set back measures nothing.
        let before = last.filter(|_| interval.seconds > 0.0);
        let mut samples = instances::samples(&records, interval, before.as_ref(), &look);
        samples.extend(volumes::samples(&records.attached, interval, before.as_ref(), &look));
        samples.extend(groups::samples(&records.groups, interval));
        cx.metrics.record(samples);
        Ok(())
    }
}

/// What could be read. What could not is no reason to leave out the rest.
fn known<T>(read: drivers::Result<BTreeMap<String, T>>) -> BTreeMap<String, T> {
    read.unwrap_or_else(|error| {
        tracing::warn!("{error}");
        BTreeMap::new()
    })
}

/// The records that are measured.
#[derive(Debug, Default)]
pub struct Records {
    pub running: Vec<Arc<Instance>>,
    pub attached: Vec<Arc<Volume>>,
    pub groups: Vec<Arc<AutoScalingGroup>>,
}

impl Records {
    fn read(tx: &mut Transaction<'_>) -> Self {
        let mut records = Self { running: tx.list(), attached: tx.list(), groups: tx.list() };
        records.running.retain(|instance| instance.state == InstanceState::Running);
        records.attached.retain(|volume| volume.attachment.is_some());
        records
    }

    /// The group of each member.
    fn groups_of_members(&self) -> BTreeMap<&str, &str> {
        let members = self.groups.iter().flat_map(|group| group.members.iter().map(move |member| (group, member)));
        members.map(|(group, member)| (member.instance_id.as_str(), group.name.as_str())).collect()
    }

    /// The volumes of each instance.
    fn volumes_of_instances(&self) -> BTreeMap<&str, BTreeSet<&str>> {
        let mut volumes: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for volume in &self.attached {
            if let Some(attachment) = &volume.attachment {
                volumes.entry(&attachment.instance_id).or_default().insert(&volume.id);
            }
        }
        volumes
    }
}

/// What was added to a counter. One that is lower than before was started anew, and all of it is new.
#[must_use]
fn added(before: u64, after: u64) -> u64 {
    after.checked_sub(before).unwrap_or(after)
}

#[must_use]
fn transferred(before: Transfer, after: Transfer) -> Transfer {
    Transfer { bytes: added(before.bytes, after.bytes), count: added(before.count, after.count) }
}

/// As metrics have it. No counter of ours comes near 2^53.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "counters of bytes and milliseconds stay below 2^53")]
fn number(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_that_went_back_was_started_anew() {
        assert_eq!(added(10, 15), 5);
        assert_eq!(added(10, 10), 0);
        assert_eq!(added(10, 3), 3);
        let (before, after) = (Transfer { bytes: 100, count: 9 }, Transfer { bytes: 150, count: 2 });
        assert_eq!(transferred(before, after), Transfer { bytes: 50, count: 2 });
    }
}
