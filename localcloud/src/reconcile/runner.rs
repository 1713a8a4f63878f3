//! Runs the reconcilers: each in a task of its own, on a change of the records and at the latest after its period.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{config::Config, drivers::Drivers, faults::Faults, metrics::Metrics, paths::Paths, store::Store};

/// All that a reconciler works with.
#[derive(Clone)]
pub struct Context {
    pub store: Arc<Store>,
    pub metrics: Arc<Metrics>,
    pub drivers: Drivers,
    pub paths: Paths,
    pub config: Config,
    /// Groups' launches may fail on purpose.
    pub faults: Faults,
}

/// What a pass came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// The world is as the records say.
    Settled,
    /// Something is under way: look again after this time at the latest.
    Again(Duration),
}

/// Brings the world one step nearer to the records. Takes no input on purpose: what there is to do is seen, not told.
#[async_trait]
pub trait Reconciler: Send + Sync {
    fn name(&self) -> &'static str;
    /// How long it may sleep while nothing changes in the records, since the world changes too.
    fn period(&self) -> Duration;
    async fn reconcile(&mut self, cx: &Context) -> anyhow::Result<Progress>;
}

/// Pause after a pass that failed, doubled with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Starts them all. They end when `stop` is cancelled, each after the pass it is in.
pub fn start(cx: &Context, reconcilers: Vec<Box<dyn Reconciler>>, stop: &CancellationToken) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    for reconciler in reconcilers {
        tasks.spawn(run(cx.clone(), reconciler, stop.clone()));
    }
    tasks
}

async fn run(cx: Context, mut reconciler: Box<dyn Reconciler>, stop: CancellationToken) {
    let mut changed = cx.store.subscribe();
    let mut failures: u32 = 0;
    while !stop.is_cancelled() {
        // What is committed from here on wakes this loop again, so that nothing falls between look and sleep.
        changed.mark_unchanged();
        let pause = match reconciler.reconcile(&cx).await {
            Ok(progress) => {
                failures = 0;
                match progress {
                    Progress::Settled => reconciler.period(),
                    Progress::Again(pause) => pause.min(reconciler.period()),
                }
            }
            Err(error) => {
                failures += 1;
                tracing::warn!(reconciler = reconciler.name(), "{error:#}");
                FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(failures - 1)).min(LONGEST_PAUSE)
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(pause) => {}
            // After a failure a change must not shorten the pause, or two failing loops would drive each other.
            _ = changed.changed(), if failures == 0 => {}
        }
    }
}
