//! Keeps the disk up with what is recorded: every ten seconds what is new is written at once, and now and then what is old
//! becomes coarser.

use std::{
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio_util::sync::CancellationToken;

use super::{
    Metric, Metrics,
    disk::{self, Disk, DiskError, Snapshot, Writing},
    recent::{Batch, Recent},
    tier::TIERS,
};
use crate::model::time::Timestamp;

/// What a kill may cost.
const PAUSE: Duration = Duration::from_secs(10);
/// Beyond this, the series without a sample for the longest time are forgotten.
const MOST_SERIES: usize = 200_000;
/// Of the series, so many are kept then.
const SERIES_KEPT: usize = 180_000;

/// The disk, and what could not be written to it yet.
pub(super) struct Keeper {
    disk: Disk,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    sequence: u64,
    journal: Vec<(i64, u64, Vec<u8>)>,
    series: Vec<u64>,
}

impl Keeper {
    pub(super) fn snapshot(&self, range: (i64, i64), period_secs: i64) -> Option<Snapshot> {
        or_log(self.disk.snapshot(range, period_secs)).flatten()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An answer without the samples on disk is better than none.
pub(super) fn or_log<T>(outcome: disk::Result<T>) -> Option<T> {
    outcome.inspect_err(|error| tracing::error!("reading metrics: {error}")).ok()
}

/// Writes every few seconds, and a last time when the cloud ends.
pub async fn keep(metrics: Arc<Metrics>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(PAUSE) => {}
        }
        let last = stop.is_cancelled();
        let metrics = Arc::clone(&metrics);
        let kept = tokio::task::spawn_blocking(move || metrics.keep(Timestamp::now())).await;
        if let Err(error) = kept {
            tracing::error!("keeping metrics: {error}");
        }
        if last {
            return;
        }
    }
}

impl Metrics {
    /// Opens the file, or creates it. Where that cannot be, the samples are in memory only, and the log says so.
    #[must_use]
    pub fn open(path: &Path) -> Self {
        let (disk, found) = match Disk::open(path) {
            Ok(opened) => opened,
            Err(error) => {
                tracing::error!("metrics are in memory only, as {} cannot be used: {error}", path.display());
                return Self::default();
            }
        };
        let mut recent = Recent::with_journal();
        for (id, metric, unit, last) in found.series {
            recent.known(id, metric, unit, last);
        }
        for (id, point) in found.journal.iter().flat_map(|bytes| Batch::read(bytes)) {
            recent.push(id, point.time, &point.values);
        }
        let state = State { sequence: found.sequence, ..State::default() };
        Self { recent: Mutex::new(recent), keeper: Some(Keeper { disk, state: Mutex::new(state) }) }
    }

    /// Writes what is new, and makes coarser what is old at `now`.
    pub fn keep(&self, now: Timestamp) {
        let Some(keeper) = &self.keeper else { return };
        // Held throughout: one writes at a time.
        let mut state = keeper.state();
        if let Err(error) = self.write(keeper, &mut state, now.millis()) {
            tracing::error!("writing metrics: {error} (is the disk full?)");
            if self.lock().lose_surplus() {
                tracing::error!("metrics that could not be written for long are lost");
            }
            return;
        }
        if let Err(error) = self.age(keeper, now.millis()) {
            tracing::error!("making old metrics coarser: {error}");
        }
    }

    fn write(&self, keeper: &Keeper, state: &mut State, now: i64) -> disk::Result<()> {
        let leaving = self.lock().leave(now);
        for (window, batch) in &leaving.batches {
            state.journal.push((*window, state.sequence, batch.bytes()));
            state.sequence += 1;
        }
        state.series.extend(&leaving.series);
        if state.journal.is_empty() && state.series.is_empty() && leaving.windows.is_empty() {
            return Ok(());
        }
        let mut writing = Writing { windows: leaving.windows, blocks: leaving.blocks, ..Writing::default() };
        {
            let recent = self.lock();
            let written = writing.blocks.keys().map(|(_, id)| id);
            let described = written.chain(&state.series).filter_map(|id| {
                let series = recent.get(*id)?;
                Some((*id, Metric::clone(&series.metric), series.unit.clone(), series.last))
            });
            writing.series = described.collect();
        }
        // What becomes a block needs no journal.
        let needed = |(window, ..): &&(i64, u64, Vec<u8>)| !writing.windows.contains(window);
        writing.journal = state.journal.iter().filter(needed).cloned().collect();
        let mut visible = writing.windows.is_empty();
        let outcome = keeper.disk.write(&writing, |commit| {
            let mut recent = self.lock();
            commit.now()?;
            visible = true;
            recent.left();
            Ok(())
        });
        if outcome.is_ok() || visible && !writing.windows.is_empty() {
            state.journal.clear();
            state.series.clear();
        } else {
            self.lock().come_back();
        }
        outcome
    }

    fn age(&self, keeper: &Keeper, now: i64) -> Result<(), DiskError> {
        let known = || self.lock().ids();
        let rolled = keeper.disk.roll(now, known)?;
        let too_many = self.lock().len() > MOST_SERIES;
        if !rolled && !too_many {
            return Ok(());
        }
        let oldest = now - TIERS[TIERS.len() - 1].keep_millis();
        let gone = self.lock().forget(if too_many { SERIES_KEPT } else { usize::MAX }, oldest);
        if too_many {
            tracing::warn!("{} metrics without new samples are forgotten, as there are too many", gone.len());
        }
        if gone.is_empty() { Ok(()) } else { keeper.disk.forget(&gone) }
    }
}
