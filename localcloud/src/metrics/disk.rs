//! Samples on disk. What is new goes into a journal, a few seconds' samples of all series at once; a window that is over
//! becomes a block for each series, in its tier.

use std::{
    collections::{BTreeMap, BTreeSet},
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use redb::{
    Builder, Database, Durability, ReadTransaction, ReadableDatabase as _, ReadableTable as _, Table, TableDefinition,
    WriteTransaction,
};
use serde::{Deserialize, Serialize};

use super::{
    Metric,
    chunk::{Chunk, Point, points},
    tier::{RAW, TIERS, Tier},
};
use crate::model::time::Timestamp;

/// By series.
const SERIES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("series");
/// By window of the finest tier, and the order of writing.
const JOURNAL: TableDefinition<'_, (i64, u64), &[u8]> = TableDefinition::new("journal");
/// By tier, window and series.
const BLOCKS: TableDefinition<'_, (u8, i64, u64), &[u8]> = TableDefinition::new("blocks");
/// By tier and window: the size of its blocks.
const WINDOWS: TableDefinition<'_, (u8, i64), u64> = TableDefinition::new("windows");
const ABOUT: TableDefinition<'_, &str, i64> = TableDefinition::new("about");

/// Of redb's pages in memory.
const CACHE_BYTES: usize = 8 * 1024 * 1024;
/// Where the blocks take more, the oldest are made coarser, or deleted, before their time.
const MOST_BYTES: u64 = 512 * 1024 * 1024;
/// So many series are made coarser at a time.
const SERIES_AT_ONCE: usize = 256;

pub(super) type Result<T> = std::result::Result<T, DiskError>;

#[derive(Debug, thiserror::Error)]
pub(super) enum DiskError {
    #[error("{0}")]
    Database(#[from] redb::Error),
    /// redb gives up on some kinds of damage.
    #[error("the file is damaged: {0}")]
    Panic(String),
}

/// A series as it is written.
#[derive(Serialize, Deserialize)]
struct SeriesRecord {
    namespace: String,
    name: String,
    dimensions: BTreeMap<String, String>,
    unit: String,
    last: i64,
}

/// What was on disk.
pub(super) struct Found {
    pub series: Vec<(u64, Metric, String, i64)>,
    pub journal: Vec<Vec<u8>>,
    /// The next one's number in the journal.
    pub sequence: u64,
}

pub(super) struct Disk {
    database: Database,
    /// Size of each window, by tier and begin.
    windows: Mutex<BTreeMap<(u8, i64), u64>>,
    /// Of all blocks.
    most_bytes: u64,
}

/// What one transaction writes.
#[derive(Default)]
pub(super) struct Writing {
    pub series: Vec<(u64, Metric, String, i64)>,
    pub journal: Vec<(i64, u64, Vec<u8>)>,
    /// Windows of the finest tier that are complete in `blocks`: their journal is not needed any more.
    pub windows: BTreeSet<i64>,
    pub blocks: BTreeMap<(i64, u64), Arc<Chunk>>,
}

/// Runs what redb may end with a panic where a file was changed by someone else.
fn guarded<T>(body: impl FnOnce() -> std::result::Result<T, redb::Error>) -> Result<T> {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(outcome) => Ok(outcome?),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            Err(DiskError::Panic(
                text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("it cannot be read").to_owned(),
            ))
        }
    }
}

impl Disk {
    /// Opens the file, or creates it. A file that is none of ours, or is damaged, is set aside and said in the log: the
    /// cloud goes on with an empty one.
    pub(super) fn open(path: &Path) -> Result<(Self, Found)> {
        let error = match Self::try_open(path) {
            Ok(opened) => return Ok(opened),
            // Of another process, which is no damage.
            Err(error @ DiskError::Database(redb::Error::DatabaseAlreadyOpen)) => return Err(error),
            Err(error) => error,
        };
        let aside = aside(path);
        tracing::warn!("the metrics in {} cannot be read: {error}; set aside as {}", path.display(), aside.display());
        if let Err(error) = std::fs::rename(path, &aside) {
            tracing::warn!("setting {} aside: {error}", path.display());
        }
        Self::try_open(path)
    }

    fn try_open(path: &Path) -> Result<(Self, Found)> {
        guarded(|| {
            let mut builder = Builder::new();
            // The check reads the file once; without it redb trusts a file that was closed in order, and may panic later.
            builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
            let database = builder.create(path)?;
            let writing = database.begin_write()?;
            // All tables are there from the beginning, so that reading needs no case for none.
            writing.open_table(SERIES)?;
            writing.open_table(JOURNAL)?;
            writing.open_table(BLOCKS)?;
            writing.open_table(WINDOWS)?;
            writing.open_table(ABOUT)?;
            writing.commit()?;
            let (found, windows) = load(&database)?;
            Ok((Self { database, windows: Mutex::new(windows), most_bytes: MOST_BYTES }, found))
        })
    }

    fn windows(&self) -> MutexGuard<'_, BTreeMap<(u8, i64), u64>> {
        self.windows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What there is between two times, of tiers that periods of such a length can be made of; `None` where there is
    /// nothing, which costs no look at the disk.
    pub(super) fn snapshot(&self, (start, end): (i64, i64), period_secs: i64) -> Result<Option<Snapshot>> {
        let overlaps = |number: u8, window: i64| {
            let tier = TIERS.get(usize::from(number)).filter(|tier| tier.serves(period_secs));
            window < end && tier.is_some_and(|tier| tier.end_of(window) > start)
        };
        let windows: Vec<(u8, i64)> =
            self.windows().keys().copied().filter(|(number, window)| overlaps(*number, *window)).collect();
        if windows.is_empty() {
            return Ok(None);
        }
        guarded(|| Ok(Some(Snapshot { reading: self.database.begin_read()?, windows })))
    }

    /// Writes, and calls `seen` at the moment from which readers see it. On disk when it returns.
    pub(super) fn write(&self, writing: &Writing, seen: impl FnOnce(Commit) -> Result<()>) -> Result<()> {
        let transaction = guarded(|| {
            let mut transaction = self.database.begin_write()?;
            if !writing.windows.is_empty() {
                let durability = transaction.set_durability(Durability::None);
                durability.map_err(|error| redb::Error::Io(std::io::Error::other(error.to_string())))?;
            }
            self.fill(&transaction, writing)?;
            Ok(transaction)
        })?;
        if writing.windows.is_empty() {
            return guarded(|| Ok(transaction.commit()?));
        }
        seen(Commit(transaction))?;
        self.sync()
    }

    fn fill(&self, transaction: &WriteTransaction, writing: &Writing) -> std::result::Result<(), redb::Error> {
        let mut series = transaction.open_table(SERIES)?;
        for (id, metric, unit, last) in &writing.series {
            let record = SeriesRecord {
                namespace: metric.namespace.clone(),
                name: metric.name.clone(),
                dimensions: metric.dimensions.clone(),
                unit: unit.clone(),
                last: *last,
            };
            let bytes = serde_json::to_vec(&record).map_err(std::io::Error::from)?;
            series.insert(id, bytes.as_slice())?;
        }
        let mut journal = transaction.open_table(JOURNAL)?;
        for (window, sequence, bytes) in &writing.journal {
            journal.insert((*window, *sequence), bytes.as_slice())?;
        }
        for window in &writing.windows {
            journal.retain_in((*window, 0)..=(*window, u64::MAX), |_, _| false)?;
        }
        let mut blocks = Blocks::open(self, transaction)?;
        for ((window, id), chunk) in &writing.blocks {
            blocks.add(RAW, *window, *id, chunk.points().collect())?;
        }
        Ok(())
    }

    /// Puts on disk what is committed.
    fn sync(&self) -> Result<()> {
        guarded(|| {
            let transaction = self.database.begin_write()?;
            transaction.open_table(ABOUT)?.insert("written", Timestamp::now().millis())?;
            Ok(transaction.commit()?)
        })
    }

    /// Makes coarser what is old enough, and deletes what is older than all tiers. Returns whether there was anything to do.
    pub(super) fn roll(&self, now: i64, known: impl Fn() -> BTreeSet<u64>) -> Result<bool> {
        let mut rolled = false;
        while let Some((tier, windows)) = self.due(now) {
            for batch in known().into_iter().collect::<Vec<_>>().chunks(SERIES_AT_ONCE) {
                guarded(|| self.roll_series(tier, &windows, batch))?;
            }
            // What is left belongs to series that are forgotten.
            guarded(|| {
                let mut transaction = self.database.begin_write()?;
                let _ = transaction.set_durability(Durability::None);
                let mut blocks = Blocks::open(self, &transaction)?;
                for window in &windows {
                    blocks.remove_window(tier, *window)?;
                }
                drop(blocks);
                Ok(transaction.commit()?)
            })?;
            let mut all = self.windows();
            for window in &windows {
                all.remove(&(tier.number, *window));
            }
            rolled = true;
        }
        if rolled {
            self.sync()?;
        }
        Ok(rolled)
    }

    /// The next windows of one tier that become one of the next tier.
    fn due(&self, now: i64) -> Option<(Tier, Vec<i64>)> {
        let all = self.windows();
        let full = all.values().sum::<u64>() > self.most_bytes;
        for tier in TIERS {
            let own: Vec<i64> =
                all.range((tier.number, i64::MIN)..=(tier.number, i64::MAX)).map(|((_, window), _)| *window).collect();
            let Some(oldest) = own.first() else { continue };
            let (parent, end) = match tier.coarser() {
                Some(coarser) => (coarser.window_of(*oldest), coarser.end_of(coarser.window_of(*oldest))),
                None => (*oldest, tier.end_of(*oldest)),
            };
            if full || end + tier.keep_millis() <= now {
                let within =
                    |window: &i64| tier.coarser().map_or(*window, |coarser| coarser.window_of(*window)) == parent;
                return Some((tier, own.into_iter().filter(within).collect()));
            }
        }
        None
    }

    fn roll_series(&self, tier: Tier, windows: &[i64], series: &[u64]) -> std::result::Result<(), redb::Error> {
        let (Some(first), Some(last)) = (series.first(), series.last()) else { return Ok(()) };
        let mut transaction = self.database.begin_write()?;
        // Refused only where savepoints are used.
        let _ = transaction.set_durability(Durability::None);
        let mut blocks = Blocks::open(self, &transaction)?;
        let mut by_series: BTreeMap<u64, Vec<Point>> = BTreeMap::new();
        for window in windows {
            for (id, points) in blocks.take(tier, *window, (*first, *last))? {
                if series.binary_search(&id).is_ok() {
                    by_series.entry(id).or_default().extend(points);
                }
            }
        }
        if let (Some(coarser), Some(window)) = (tier.coarser(), windows.first()) {
            for (id, points) in by_series {
                blocks.add(coarser, coarser.window_of(*window), id, points)?;
            }
        }
        drop(blocks);
        Ok(transaction.commit()?)
    }

    pub(super) fn forget(&self, series: &[u64]) -> Result<()> {
        guarded(|| {
            let transaction = self.database.begin_write()?;
            {
                let mut table = transaction.open_table(SERIES)?;
                for id in series {
                    table.remove(id)?;
                }
            }
            Ok(transaction.commit()?)
        })
    }
}

/// The moment at which a transaction becomes visible.
pub(super) struct Commit(WriteTransaction);

impl Commit {
    pub(super) fn now(self) -> Result<()> {
        guarded(|| Ok(self.0.commit()?))
    }
}

/// The blocks and their sizes within a transaction.
struct Blocks<'a> {
    disk: &'a Disk,
    blocks: Table<'a, (u8, i64, u64), &'static [u8]>,
    windows: Table<'a, (u8, i64), u64>,
}

impl<'a> Blocks<'a> {
    fn open(disk: &'a Disk, transaction: &'a WriteTransaction) -> std::result::Result<Self, redb::Error> {
        Ok(Self { disk, blocks: transaction.open_table(BLOCKS)?, windows: transaction.open_table(WINDOWS)? })
    }

    /// Adds points to those that a block has.
    fn add(&mut self, tier: Tier, window: i64, id: u64, mut new: Vec<Point>) -> std::result::Result<(), redb::Error> {
        let key = (tier.number, window, id);
        let mut before = 0;
        if let Some(block) = self.blocks.get(key)? {
            before = block.value().len();
            new.extend(points(block.value()));
        }
        let chunk = Chunk::of(&tier.merged(new));
        self.blocks.insert(key, chunk.bytes())?;
        let size = self.windows.get((tier.number, window))?.map_or(0, |size| size.value());
        let size = (size + chunk.bytes().len() as u64).saturating_sub(before as u64);
        self.windows.insert((tier.number, window), size)?;
        // Told before the commit: readers that look for a block that is not there yet lose nothing.
        self.disk.windows().insert((tier.number, window), size);
        Ok(())
    }

    fn take(
        &mut self,
        tier: Tier,
        window: i64,
        (first, last): (u64, u64),
    ) -> std::result::Result<Vec<(u64, Vec<Point>)>, redb::Error> {
        let range = (tier.number, window, first)..=(tier.number, window, last);
        let mut taken = Vec::new();
        for row in self.blocks.range(range.clone())? {
            let (key, block) = row?;
            taken.push((key.value().2, points(block.value()).collect()));
        }
        self.blocks.retain_in(range, |_, _| false)?;
        Ok(taken)
    }

    fn remove_window(&mut self, tier: Tier, window: i64) -> std::result::Result<(), redb::Error> {
        self.blocks.retain_in((tier.number, window, 0)..=(tier.number, window, u64::MAX), |_, _| false)?;
        self.windows.remove((tier.number, window))?;
        Ok(())
    }
}

/// What was on disk at one moment.
pub(super) struct Snapshot {
    reading: ReadTransaction,
    windows: Vec<(u8, i64)>,
}

impl Snapshot {
    /// A series' samples between two times, in no order.
    pub(super) fn points(&self, id: u64, (start, end): (i64, i64)) -> Result<Vec<Point>> {
        guarded(|| {
            let blocks = self.reading.open_table(BLOCKS)?;
            let mut found = Vec::new();
            for (number, window) in &self.windows {
                if let Some(block) = blocks.get((*number, *window, id))? {
                    found.extend(points(block.value()).filter(|point| (start..end).contains(&point.time)));
                }
            }
            Ok(found)
        })
    }
}

type Windows = BTreeMap<(u8, i64), u64>;

fn load(database: &Database) -> std::result::Result<(Found, Windows), redb::Error> {
    let reading = database.begin_read()?;
    let mut found = Found { series: Vec::new(), journal: Vec::new(), sequence: 0 };
    for row in reading.open_table(SERIES)?.iter()? {
        let (id, bytes) = row?;
        let record: SeriesRecord = serde_json::from_slice(bytes.value()).map_err(std::io::Error::from)?;
        let metric = Metric { namespace: record.namespace, name: record.name, dimensions: record.dimensions };
        found.series.push((id.value(), metric, record.unit, record.last));
    }
    for row in reading.open_table(JOURNAL)?.iter()? {
        let (key, bytes) = row?;
        found.sequence = found.sequence.max(key.value().1 + 1);
        found.journal.push(bytes.value().to_vec());
    }
    let mut windows = BTreeMap::new();
    for row in reading.open_table(WINDOWS)?.iter()? {
        let (key, size) = row?;
        windows.insert(key.value(), size.value());
    }
    Ok((found, windows))
}

/// A name that nothing has yet.
fn aside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".unreadable-{}", Timestamp::now().millis()));
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::StatisticSet;

    #[test]
    fn beyond_its_bound_the_oldest_is_made_coarser_and_in_the_end_deleted() {
        let dir = tempfile::tempdir().expect("a directory");
        let (mut disk, _) = Disk::open(&dir.path().join("metrics")).expect("opens");
        let (window, next) = (RAW.window_of(0), RAW.window_of(10 * 3_600_000));
        let mut writing = Writing::default();
        for begin in [window, next] {
            let points = (0..90).map(|step| Point { time: begin + step * 10_000, values: StatisticSet::of(1.0) });
            writing.windows.insert(begin);
            writing.blocks.insert((begin, 1), Arc::new(Chunk::of(&points.collect::<Vec<_>>())));
        }
        disk.write(&writing, Commit::now).expect("writes");
        let known = || BTreeSet::from([1]);
        let count = |disk: &Disk| {
            let snapshot = disk.snapshot((0, i64::MAX), 0).expect("reads");
            snapshot.map_or(0, |snapshot| snapshot.points(1, (0, i64::MAX)).expect("reads").len())
        };
        assert!(!disk.roll(0, known).expect("rolls"));
        assert_eq!(count(&disk), 180);
        let size: u64 = disk.windows().values().sum();
        disk.most_bytes = size - 1;
        assert!(disk.roll(0, known).expect("rolls"));
        assert_eq!(count(&disk), 90 + 15, "the older half is by the minute");
        disk.most_bytes = 1;
        assert!(disk.roll(0, known).expect("rolls"));
        assert_eq!(count(&disk), 0);
        assert!(disk.windows().is_empty());
    }

    #[test]
    fn samples_of_a_forgotten_series_go_with_their_window() {
        let dir = tempfile::tempdir().expect("a directory");
        let (disk, _) = Disk::open(&dir.path().join("metrics")).expect("opens");
        let mut writing = Writing::default();
        writing.windows.insert(0);
        for id in [1, 2] {
            let chunk = Chunk::of(&[Point { time: 0, values: StatisticSet::of(1.0) }]);
            writing.blocks.insert((0, id), Arc::new(chunk));
        }
        disk.write(&writing, Commit::now).expect("writes");
        disk.roll(TIERS[0].keep_millis() * 10, || BTreeSet::from([2])).expect("rolls");
        let snapshot = disk.snapshot((0, 1), 0).expect("reads").expect("a window is there");
        assert!(snapshot.points(1, (0, 1)).expect("reads").is_empty());
        assert_eq!(snapshot.points(2, (0, 1)).expect("reads").len(), 1);
    }
}
