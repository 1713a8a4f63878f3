//! Samples in memory: those of the last quarter of an hour or so, packed, and what of them is not on disk yet.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::Bound,
    sync::Arc,
};

use super::{
    Metric, StatisticSet,
    chunk::{Chunk, Point, points, read_unsigned, write_unsigned},
    tier::RAW,
};

/// Samples come late: a window is kept in memory for so long after its end.
const GRACE_MILLIS: i64 = 60_000;
/// When the packed samples take more than this, all of them go to disk.
const MOST_BYTES: usize = 64 * 1024 * 1024;

/// A metric in one unit.
pub(super) struct Series {
    pub metric: Arc<Metric>,
    pub unit: String,
    /// Time of its newest sample.
    pub last: i64,
    /// By window.
    chunks: BTreeMap<i64, Chunk>,
    /// On the way to the disk.
    leaving: Vec<(i64, Arc<Chunk>)>,
}

#[derive(Default)]
pub(super) struct Recent {
    ids: HashMap<Arc<Metric>, Vec<u64>>,
    /// The same metrics, for listings.
    order: BTreeSet<Arc<Metric>>,
    series: HashMap<u64, Series>,
    next_id: u64,
    /// Windows that some series has in memory.
    windows: BTreeSet<i64>,
    bytes: usize,
    /// What has not been journalled, by window; `None` where nothing is kept on disk.
    pub(super) pending: Option<Pending>,
}

#[derive(Default)]
pub(super) struct Pending {
    pub batches: BTreeMap<i64, Batch>,
    pub series: Vec<u64>,
}

/// Samples of many series, in the order of their arrival.
#[derive(Default)]
pub(super) struct Batch {
    ids: Vec<u8>,
    samples: Chunk,
}

impl Batch {
    pub(super) fn push(&mut self, id: u64, time: i64, set: &StatisticSet) {
        write_unsigned(&mut self.ids, id);
        self.samples.push(time, set);
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.ids.len() + self.samples.bytes().len() + 8);
        write_unsigned(&mut bytes, self.ids.len() as u64);
        bytes.extend_from_slice(&self.ids);
        bytes.extend_from_slice(self.samples.bytes());
        bytes
    }

    /// What `bytes` has written.
    pub(super) fn read(mut bytes: &[u8]) -> Vec<(u64, Point)> {
        let length = read_unsigned(&mut bytes).and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
        let Some((mut ids, samples)) = bytes.split_at_checked(length) else { return Vec::new() };
        std::iter::from_fn(|| read_unsigned(&mut ids)).zip(points(samples)).collect()
    }
}

/// What goes to disk now.
pub(super) struct Leaving {
    /// Windows that leave memory.
    pub windows: BTreeSet<i64>,
    /// By window and series.
    pub blocks: BTreeMap<(i64, u64), Arc<Chunk>>,
    /// For the journal.
    pub batches: BTreeMap<i64, Batch>,
    pub series: Vec<u64>,
}

impl Recent {
    pub(super) fn with_journal() -> Self {
        Self { pending: Some(Pending::default()), ..Self::default() }
    }

    /// A series that is on disk already.
    pub(super) fn known(&mut self, id: u64, metric: Metric, unit: String, last: i64) {
        self.next_id = self.next_id.max(id + 1);
        self.add(id, metric, unit, last);
    }

    fn add(&mut self, id: u64, metric: Metric, unit: String, last: i64) {
        let metric = Arc::new(metric);
        self.ids.entry(Arc::clone(&metric)).or_default().push(id);
        self.order.insert(Arc::clone(&metric));
        let series = Series { metric, unit, last, chunks: BTreeMap::new(), leaving: Vec::new() };
        self.series.insert(id, series);
    }

    pub(super) fn record(&mut self, metric: Metric, unit: String, time: i64, set: &StatisticSet) {
        let known = self.ids.get(&metric).and_then(|ids| {
            ids.iter().copied().find(|id| self.series.get(id).is_some_and(|series| series.unit == unit))
        });
        let id = known.unwrap_or_else(|| {
            let id = self.next_id;
            self.next_id += 1;
            self.add(id, metric, unit, time);
            if let Some(pending) = &mut self.pending {
                pending.series.push(id);
            }
            id
        });
        self.push(id, time, set);
        if let Some(pending) = &mut self.pending {
            pending.batches.entry(RAW.window_of(time)).or_default().push(id, time, set);
        }
    }

    /// Without the journal: where the sample comes from there.
    pub(super) fn push(&mut self, id: u64, time: i64, set: &StatisticSet) {
        let Some(series) = self.series.get_mut(&id) else { return };
        let window = RAW.window_of(time);
        let chunk = series.chunks.entry(window).or_default();
        let before = chunk.bytes().len();
        chunk.push(time, set);
        self.bytes += chunk.bytes().len() - before;
        series.last = series.last.max(time);
        self.windows.insert(window);
    }

    /// The series of a metric, one for each unit.
    pub(super) fn of(&self, metric: &Metric) -> impl Iterator<Item = (u64, &Series)> {
        let ids = self.ids.get(metric).map(Vec::as_slice).unwrap_or_default();
        ids.iter().filter_map(|id| Some((*id, self.series.get(id)?)))
    }

    pub(super) fn get(&self, id: u64) -> Option<&Series> {
        self.series.get(&id)
    }

    pub(super) fn ids(&self) -> BTreeSet<u64> {
        self.series.keys().copied().collect()
    }

    pub(super) fn len(&self) -> usize {
        self.series.len()
    }

    /// Metrics with a sample since a time, in their order.
    pub(super) fn list(&self, namespace: Option<&str>, name: Option<&str>, since: i64) -> Vec<Arc<Metric>> {
        let first =
            Metric::new(namespace.unwrap_or_default(), name.filter(|_| namespace.is_some()).unwrap_or_default(), &[]);
        let from = self.order.range::<Metric, _>((Bound::Included(&first), Bound::Unbounded));
        from.take_while(|metric| namespace.is_none_or(|known| known == metric.namespace))
            .take_while(|metric| namespace.is_none() || name.is_none_or(|known| *known >= *metric.name))
            .filter(|metric| name.is_none_or(|known| known == metric.name))
            .filter(|metric| self.of(metric).any(|(_, series)| series.last >= since))
            .map(Arc::clone)
            .collect()
    }

    /// Takes what is not journalled, and with it the windows that are over. Until [`Self::left`] they can still be read.
    pub(super) fn leave(&mut self, now: i64) -> Leaving {
        let all = self.bytes > MOST_BYTES;
        let over = |window: &&i64| all || RAW.end_of(**window) + GRACE_MILLIS <= now;
        let windows: BTreeSet<i64> = self.windows.iter().filter(over).copied().collect();
        let mut blocks = BTreeMap::new();
        if !windows.is_empty() {
            for (id, series) in &mut self.series {
                for window in &windows {
                    if let Some(chunk) = series.chunks.remove(window) {
                        self.bytes -= chunk.bytes().len();
                        let chunk = Arc::new(chunk);
                        blocks.insert((*window, *id), Arc::clone(&chunk));
                        series.leaving.push((*window, chunk));
                    }
                }
            }
            self.windows.retain(|window| !windows.contains(window));
        }
        let pending = self.pending.as_mut().map(std::mem::take).unwrap_or_default();
        Leaving { windows, blocks, batches: pending.batches, series: pending.series }
    }

    /// They are on disk.
    pub(super) fn left(&mut self) {
        for series in self.series.values_mut() {
            series.leaving.clear();
            series.leaving.shrink_to_fit();
        }
    }

    /// They could not be written: they are in memory as before.
    pub(super) fn come_back(&mut self) {
        for series in self.series.values_mut() {
            for (window, chunk) in std::mem::take(&mut series.leaving) {
                let newer = series.chunks.entry(window).or_default();
                let before = newer.bytes().len();
                let all: Vec<Point> = chunk.points().chain(newer.points()).collect();
                *newer = Chunk::of(&all);
                self.bytes += newer.bytes().len() - before;
                self.windows.insert(window);
            }
        }
    }

    /// Where the disk refuses for long, memory must not fill up: the oldest samples are lost.
    pub(super) fn lose_surplus(&mut self) -> bool {
        let mut lost = false;
        while self.bytes > 4 * MOST_BYTES
            && let Some(oldest) = self.windows.pop_first()
        {
            for series in self.series.values_mut() {
                self.bytes -= series.chunks.remove(&oldest).map_or(0, |chunk| chunk.bytes().len());
            }
            lost = true;
        }
        lost
    }

    /// Forgets series, those without a sample for the longest time first, until there are at most so many and none is older
    /// than `oldest`.
    pub(super) fn forget(&mut self, most: usize, oldest: i64) -> Vec<u64> {
        let mut by_age: Vec<(i64, u64)> = self.series.iter().map(|(id, series)| (series.last, *id)).collect();
        by_age.sort_unstable();
        let surplus = by_age.len().saturating_sub(most);
        let gone: Vec<u64> = by_age
            .into_iter()
            .enumerate()
            .take_while(|(index, (last, _))| *index < surplus || *last < oldest)
            .map(|(_, (_, id))| id)
            .collect();
        for id in &gone {
            let Some(series) = self.series.remove(id) else { continue };
            self.bytes -= series.chunks.values().map(|chunk| chunk.bytes().len()).sum::<usize>();
            if let Some(ids) = self.ids.get_mut(&series.metric) {
                ids.retain(|known| known != id);
                if ids.is_empty() {
                    self.ids.remove(&series.metric);
                    self.order.remove(&series.metric);
                }
            }
        }
        gone
    }
}

impl Series {
    /// Its samples in memory between two times, in no order.
    pub(super) fn points(&self, (start, end): (i64, i64)) -> Vec<Point> {
        let overlaps = |window: i64| window < end && RAW.end_of(window) > start;
        let leaving = self.leaving.iter().filter(|(window, _)| overlaps(*window)).map(|(_, chunk)| &**chunk);
        let present = self.chunks.iter().filter(|(window, _)| overlaps(**window)).map(|(_, chunk)| chunk);
        leaving.chain(present).flat_map(Chunk::points).filter(|point| (start..end).contains(&point.time)).collect()
    }
}
