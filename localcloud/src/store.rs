//! Records on disk. Every kind of record is a table; a transaction sees and changes all of them and is on disk when it
//! returns (one redb commit, one fsync), or has changed nothing. Whoever waits for changes is told after the commit.
//!
//! Reads come from memory, so that describing a thousand instances touches no disk.

use std::{
    any::Any,
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition, TableError};
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::watch;

/// Something kept under a key of its own.
pub trait Record: Clone + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// Name of the table.
    const KIND: &'static str;
    /// Unique within the kind; listings are in its order.
    fn key(&self) -> String;
}

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("opening the records {path}: {cause}")]
    Open { path: String, cause: String },
    #[error("reading the {kind} {key} from the records: {cause}")]
    Decode { kind: &'static str, key: String, cause: String },
    #[error("writing the records: {0} (is the disk full?)")]
    Commit(String),
}

type Table = BTreeMap<String, Arc<dyn Any + Send + Sync>>;
type Changes = BTreeMap<(&'static str, String), Option<Change>>;

struct Inner {
    /// None after a write that failed: redb then wants the file to be opened anew.
    database: Option<Database>,
    open: Opener,
    tables: BTreeMap<&'static str, Table>,
    trouble: Option<String>,
}

type Opener = Box<dyn Fn() -> Result<Database, StoreError> + Send + Sync>;

/// All records of one cloud.
pub struct Store {
    inner: Mutex<Inner>,
    changed: watch::Sender<u64>,
}

impl Store {
    /// Opens the file, or creates it.
    ///
    /// # Errors
    /// When the file cannot be opened, is in use by another process, or is no record file.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let path = path.to_owned();
        Self::over(move || {
            Database::create(&path)
                .map_err(|error| StoreError::Open { path: path.display().to_string(), cause: error.to_string() })
        })
    }

    /// Over a database of whatever kind. It is opened here, and again after a write that failed.
    ///
    /// # Errors
    /// The opener's.
    pub fn over(open: impl Fn() -> Result<Database, StoreError> + Send + Sync + 'static) -> Result<Self, StoreError> {
        let database = Some(open()?);
        let inner = Inner { database, open: Box::new(open), tables: BTreeMap::new(), trouble: None };
        Ok(Self { inner: Mutex::new(inner), changed: watch::Sender::new(0) })
    }

    /// Why the last change could not be written; none once one could.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.lock().trouble.clone()
    }

    /// Wakes after every commit that changed something. A wake-up says that, not what.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Runs `body` with all records; its changes are kept if it succeeds.
    ///
    /// # Errors
    /// `body`'s own, or the store's when the disk refuses.
    pub fn transact<T, E: From<StoreError>>(
        &self,
        body: impl FnOnce(&mut Transaction<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut inner = self.lock();
        if inner.database.is_none() {
            // Where that fails, what is in memory can still be read; a change is refused by the commit.
            let _ = inner.database();
        }
        let mut transaction = Transaction { inner, changes: BTreeMap::new(), failure: None };
        let outcome = body(&mut transaction)?;
        if transaction.commit()? {
            self.changed.send_modify(|version| *version += 1);
        }
        Ok(outcome)
    }

    /// Reads only.
    ///
    /// # Errors
    /// When a record on disk cannot be decoded.
    pub fn read<T>(&self, body: impl FnOnce(&mut Transaction<'_>) -> T) -> Result<T, StoreError> {
        self.transact(|transaction| {
            let outcome = body(transaction);
            transaction.changes.clear();
            Ok(outcome)
        })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic within a transaction has changed nothing: changes are applied by `commit` alone.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A consistent view of all records, and the changes to it that are not yet kept.
pub struct Transaction<'store> {
    inner: MutexGuard<'store, Inner>,
    changes: Changes,
    /// A record that could not be decoded or encoded; the commit reports it.
    failure: Option<StoreError>,
}

struct Change {
    record: Arc<dyn Any + Send + Sync>,
    bytes: Vec<u8>,
}

impl Transaction<'_> {
    /// The record of this key, if there is one.
    pub fn get<R: Record>(&mut self, key: &str) -> Option<Arc<R>> {
        if let Some(change) = self.changes.get(&(R::KIND, key.to_owned())) {
            return change.as_ref().and_then(|change| downcast(&change.record));
        }
        self.table::<R>()?.get(key).and_then(downcast)
    }

    /// All records of a kind, in the order of their keys.
    pub fn list<R: Record>(&mut self) -> Vec<Arc<R>> {
        let changed: Vec<(String, Option<Arc<R>>)> = self
            .changes
            .iter()
            .filter(|((kind, _), _)| *kind == R::KIND)
            .map(|((_, key), change)| (key.clone(), change.as_ref().and_then(|change| downcast(&change.record))))
            .collect();
        let Some(table) = self.table::<R>() else { return Vec::new() };
        if changed.is_empty() {
            return table.values().filter_map(downcast).collect();
        }
        let mut merged: BTreeMap<&str, Arc<R>> =
            table.iter().filter_map(|(key, record)| Some((key.as_str(), downcast(record)?))).collect();
        for (key, record) in &changed {
            match record {
                Some(record) => merged.insert(key, Arc::clone(record)),
                None => merged.remove(key.as_str()),
            };
        }
        merged.into_values().collect()
    }

    /// Writes a record, over one of the same key.
    pub fn put<R: Record>(&mut self, record: R) {
        let key = record.key();
        match serde_json::to_vec(&record) {
            Ok(bytes) => {
                self.changes.insert((R::KIND, key), Some(Change { record: Arc::new(record), bytes }));
            }
            Err(error) => self.failure = Some(StoreError::Commit(format!("encoding the {} {key}: {error}", R::KIND))),
        }
    }

    /// Changes a record in place; `None` if there is none of this key.
    pub fn update<R: Record>(&mut self, key: &str, change: impl FnOnce(&mut R)) -> Option<()> {
        let mut record = R::clone(&*self.get::<R>(key)?);
        change(&mut record);
        self.put(record);
        Some(())
    }

    /// Removes a record. Already gone is success.
    pub fn delete<R: Record>(&mut self, key: &str) {
        if self.get::<R>(key).is_some() {
            self.changes.insert((R::KIND, key.to_owned()), None);
        }
    }

    /// The table in memory, read from disk the first time.
    fn table<R: Record>(&mut self) -> Option<&Table> {
        if !self.inner.tables.contains_key(R::KIND) {
            match self.inner.database().and_then(load::<R>) {
                Ok(table) => {
                    self.inner.tables.insert(R::KIND, table);
                }
                Err(error) => {
                    self.failure = Some(error);
                    return None;
                }
            }
        }
        self.inner.tables.get(R::KIND)
    }

    /// Keeps the changes: first on disk, then in memory. Tells whether there were any.
    fn commit(mut self) -> Result<bool, StoreError> {
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        if self.changes.is_empty() {
            return Ok(false);
        }
        self.inner.write(&self.changes)?;
        for ((kind, key), change) in std::mem::take(&mut self.changes) {
            // A table that was written to was read before, as `put` alone may not have loaded it.
            if let Some(table) = self.inner.tables.get_mut(kind) {
                match change {
                    Some(change) => table.insert(key, change.record),
                    None => table.remove(&key),
                };
            }
        }
        Ok(true)
    }
}

impl Inner {
    fn database(&mut self) -> Result<&Database, StoreError> {
        let database = match self.database.take() {
            Some(database) => database,
            None => {
                let database = (self.open)()?;
                // A write whose end was not seen may be on disk, or not: what is there is so.
                self.tables.clear();
                database
            }
        };
        Ok(self.database.insert(database))
    }

    /// After a failure nothing more can be written to the open database, also when the disk has room again.
    fn write(&mut self, changes: &Changes) -> Result<(), StoreError> {
        let outcome = self
            .database()
            .and_then(|database| write(database, changes).map_err(|error| StoreError::Commit(error.to_string())));
        self.trouble = outcome.as_ref().err().map(ToString::to_string);
        if outcome.is_err() {
            self.database = None;
        }
        outcome
    }
}

fn downcast<R: Record>(record: &Arc<dyn Any + Send + Sync>) -> Option<Arc<R>> {
    Arc::clone(record).downcast::<R>().ok()
}

fn load<R: Record>(database: &Database) -> Result<Table, StoreError> {
    let open_error = |cause: redb::Error| StoreError::Open { path: R::KIND.to_owned(), cause: cause.to_string() };
    let definition: TableDefinition<'_, &str, &[u8]> = TableDefinition::new(R::KIND);
    let transaction = database.begin_read().map_err(|error| open_error(error.into()))?;
    let table = match transaction.open_table(definition) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) => return Ok(Table::new()),
        Err(error) => return Err(open_error(error.into())),
    };
    let mut records = Table::new();
    for row in table.iter().map_err(|error| open_error(error.into()))? {
        let (key, bytes) = row.map_err(|error| open_error(error.into()))?;
        let record: R = serde_json::from_slice(bytes.value()).map_err(|error| StoreError::Decode {
            kind: R::KIND,
            key: key.value().to_owned(),
            cause: error.to_string(),
        })?;
        records.insert(key.value().to_owned(), Arc::new(record));
    }
    Ok(records)
}

fn write(database: &Database, changes: &Changes) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    let kinds: BTreeSet<&'static str> = changes.keys().map(|(kind, _)| *kind).collect();
    for kind in kinds {
        let definition: TableDefinition<'_, &str, &[u8]> = TableDefinition::new(kind);
        let mut table = transaction.open_table(definition)?;
        for ((_, key), change) in changes.range((kind, String::new())..).take_while(|((other, _), _)| *other == kind) {
            match change {
                Some(change) => table.insert(key.as_str(), change.bytes.as_slice())?,
                None => table.remove(key.as_str())?,
            };
        }
    }
    transaction.commit()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Thing {
        name: String,
        count: u32,
    }

    impl Record for Thing {
        const KIND: &'static str = "thing";

        fn key(&self) -> String {
            self.name.clone()
        }
    }

    fn thing(name: &str, count: u32) -> Thing {
        Thing { name: name.to_owned(), count }
    }

    fn names(store: &Store) -> Vec<String> {
        store.read(|tx| tx.list::<Thing>().iter().map(|thing| thing.name.clone()).collect()).expect("readable")
    }

    #[test]
    fn what_was_committed_is_there_after_reopening() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("records");
        {
            let store = Store::open(&path).expect("opens");
            store
                .transact(|tx| {
                    tx.put(thing("b", 1));
                    tx.put(thing("a", 2));
                    Ok::<_, StoreError>(())
                })
                .expect("commits");
        }
        let store = Store::open(&path).expect("opens again");
        assert_eq!(names(&store), ["a", "b"]);
        assert_eq!(store.read(|tx| tx.get::<Thing>("a").map(|thing| thing.count)).expect("readable"), Some(2));
    }

    #[test]
    fn a_failed_transaction_changes_nothing() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = Store::open(&dir.path().join("records")).expect("opens");
        let outcome: Result<(), StoreError> = store.transact(|tx| {
            tx.put(thing("a", 1));
            assert_eq!(tx.list::<Thing>().len(), 1, "a transaction sees its own changes");
            Err(StoreError::Commit("refused".to_owned()))
        });
        assert!(outcome.is_err());
        assert!(names(&store).is_empty());
    }

    #[test]
    fn subscribers_wake_for_changes_and_not_for_reads() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = Store::open(&dir.path().join("records")).expect("opens");
        let mut changed = store.subscribe();
        changed.mark_unchanged();
        assert!(names(&store).is_empty());
        assert!(!changed.has_changed().expect("the store lives"));
        store
            .transact(|tx| {
                tx.put(thing("a", 1));
                Ok::<_, StoreError>(())
            })
            .expect("commits");
        assert!(changed.has_changed().expect("the store lives"));
    }

    #[test]
    fn a_record_written_before_its_kind_was_read_is_seen() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = Store::open(&dir.path().join("records")).expect("opens");
        store
            .transact(|tx| {
                tx.put(thing("a", 1));
                Ok::<_, StoreError>(())
            })
            .expect("commits");
        assert_eq!(names(&store), ["a"]);
        store
            .transact(|tx| {
                tx.delete::<Thing>("a");
                Ok::<_, StoreError>(())
            })
            .expect("commits");
        assert!(names(&store).is_empty());
    }
}
