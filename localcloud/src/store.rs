//! Records on disk. Every kind of record is a table; a transaction sees and changes all of them and is on disk when it
//! returns (one redb commit, one fsync), or has changed nothing. Whoever waits for changes is told after the commit.
//!
//! Reads come from memory, so that describing a thousand instances touches no disk.

/// What was changed, for those who follow.
pub mod changes;
/// The records of one kind in memory.
mod table;

use std::{
    collections::{BTreeMap, BTreeSet},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition, TableError};
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::watch;

use self::{
    changes::{Changes, Cursor, Log},
    table::{Anything, Entries, Merged, Table},
};

/// Something kept under a key of its own.
pub trait Record: Clone + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// Name of the table.
    const KIND: &'static str;
    /// Unique within the kind; listings are in its order.
    fn key(&self) -> String;
    /// What else it is found by: names of indexes of its kind, with values. See [`Transaction::find`].
    fn indexed(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }
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

type Pending = BTreeMap<(&'static str, String), Option<Change>>;

struct Inner {
    /// None after a write that failed: redb then wants the file to be opened anew.
    database: Option<Database>,
    open: Opener,
    tables: BTreeMap<&'static str, Table>,
    log: Log,
    trouble: Option<String>,
    /// Records that were handed out.
    handed_out: u64,
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
            let error = |cause: String| StoreError::Open { path: path.display().to_string(), cause };
            let database = Database::create(&path).map_err(|cause| error(cause.to_string()))?;
            // Secret keys and private keys are among them.
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))
                .map_err(|cause| error(cause.to_string()))?;
            Ok(database)
        })
    }

    /// Over a database of whatever kind. It is opened here, and again after a write that failed.
    ///
    /// # Errors
    /// The opener's.
    pub fn over(open: impl Fn() -> Result<Database, StoreError> + Send + Sync + 'static) -> Result<Self, StoreError> {
        let database = Some(open()?);
        let open = Box::new(open);
        let inner =
            Inner { database, open, tables: BTreeMap::new(), log: Log::default(), trouble: None, handed_out: 0 };
        Ok(Self { inner: Mutex::new(inner), changed: watch::Sender::new(0) })
    }

    /// Why the last change could not be written; none once one could.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.lock().trouble.clone()
    }

    /// How many records transactions have been handed so far: what work costs is told by that, whatever the machine.
    #[must_use]
    pub fn handed_out(&self) -> u64 {
        self.lock().handed_out
    }

    /// Wakes after every commit that changed something. A wake-up says that, not what: [`Store::changes`] does.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// What has changed since the cursor was used last. Ask before you read: what is changed in between is then seen
    /// twice, and never missed.
    pub fn changes(&self, cursor: &mut Cursor) -> Changes {
        self.lock().log.since(cursor)
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
    changes: Pending,
    /// A record that could not be decoded or encoded; the commit reports it.
    failure: Option<StoreError>,
}

struct Change {
    record: Anything,
    entries: Entries,
    bytes: Vec<u8>,
}

impl Transaction<'_> {
    /// The record of this key, if there is one.
    pub fn get<R: Record>(&mut self, key: &str) -> Option<Arc<R>> {
        self.inner.handed_out += 1;
        if !self.changes.is_empty()
            && let Some(change) = self.changes.get(&(R::KIND, key.to_owned()))
        {
            return change.as_ref().and_then(|change| downcast(&change.record));
        }
        self.table::<R>()?.get(key).and_then(downcast)
    }

    /// All records of a kind, in the order of their keys.
    pub fn list<R: Record>(&mut self) -> Vec<Arc<R>> {
        self.list_below("")
    }

    /// The records of a kind whose keys begin so, in the order of their keys.
    pub fn list_below<R: Record>(&mut self, prefix: &str) -> Vec<Arc<R>> {
        if self.table::<R>().is_none() {
            return Vec::new();
        }
        let Some(table) = self.inner.tables.get(R::KIND) else { return Vec::new() };
        let records = Merged::new(table.below(prefix), self.changed::<R>(prefix));
        let mut list = Vec::with_capacity(if prefix.is_empty() { table.len() } else { 0 });
        list.extend(records.filter_map(downcast));
        self.inner.handed_out += list.len() as u64;
        list
    }

    /// The records of a kind that [`Record::indexed`] lists under this value, in the order of their keys. It costs what it
    /// finds, however many others there are.
    pub fn find<R: Record>(&mut self, index: &'static str, value: &str) -> Vec<Arc<R>> {
        if self.table::<R>().is_none() {
            return Vec::new();
        }
        let Some(table) = self.inner.tables.get(R::KIND) else { return Vec::new() };
        let fits = |change: &Change| change.entries.iter().any(|(name, of)| *name == index && of == value);
        let kept = table.keys_by(index, value).filter_map(|key| Some((key, table.get(key)?)));
        let changes = self.changes.range((R::KIND, String::new())..).take_while(|((kind, _), _)| *kind == R::KIND);
        // What does not fit any more counts as removed.
        let changed = changes.map(|((_, key), change)| {
            (key.as_str(), change.as_ref().filter(|change| fits(change)).map(|change| &change.record))
        });
        let found: Vec<Arc<R>> = Merged::new(kept, changed).filter_map(downcast).collect();
        self.inner.handed_out += found.len() as u64;
        found
    }

    /// How many records of a kind [`Record::indexed`] lists under this value. It looks at none of them.
    pub fn count<R: Record>(&mut self, index: &'static str, value: &str) -> usize {
        if self.table::<R>().is_none() {
            return 0;
        }
        let Some(table) = self.inner.tables.get(R::KIND) else { return 0 };
        let changes = self.changes.range((R::KIND, String::new())..).take_while(|((kind, _), _)| *kind == R::KIND);
        changes.fold(table.count_by(index, value), |count, ((_, key), change)| {
            let fits = |change: &Change| change.entries.iter().any(|(name, of)| *name == index && of == value);
            let was = usize::from(table.has(index, value, key));
            count + usize::from(change.as_ref().is_some_and(fits)) - was
        })
    }

    /// What this transaction has changed of a kind, where the keys begin so.
    fn changed<'a, R: Record>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, Option<&'a Anything>)> + 'a {
        self.changes
            .range((R::KIND, prefix.to_owned())..)
            .take_while(move |((kind, key), _)| *kind == R::KIND && key.starts_with(prefix))
            .map(|((_, key), change)| (key.as_str(), change.as_ref().map(|change| &change.record)))
    }

    /// Writes a record, over one of the same key.
    pub fn put<R: Record>(&mut self, record: R) {
        let key = record.key();
        match serde_json::to_vec(&record) {
            Ok(bytes) => {
                let entries = record.indexed();
                self.changes.insert((R::KIND, key), Some(Change { record: Arc::new(record), entries, bytes }));
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

    /// Whether it has written or removed anything so far.
    #[must_use]
    pub fn has_changes(&self) -> bool {
        !self.changes.is_empty()
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
            self.inner.log.note(kind, key.clone());
            // A table that was not read yet is read from disk when it is: `put` alone does not load it.
            if let Some(table) = self.inner.tables.get_mut(kind) {
                match change {
                    Some(change) => table.insert(key, change.record, change.entries),
                    None => table.remove(&key),
                }
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
                self.log.forget();
                database
            }
        };
        Ok(self.database.insert(database))
    }

    /// After a failure nothing more can be written to the open database, also when the disk has room again.
    fn write(&mut self, changes: &Pending) -> Result<(), StoreError> {
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

fn downcast<R: Record>(record: &Anything) -> Option<Arc<R>> {
    Arc::clone(record).downcast::<R>().ok()
}

fn load<R: Record>(database: &Database) -> Result<Table, StoreError> {
    let open_error = |cause: redb::Error| StoreError::Open { path: R::KIND.to_owned(), cause: cause.to_string() };
    let definition: TableDefinition<'_, &str, &[u8]> = TableDefinition::new(R::KIND);
    let transaction = database.begin_read().map_err(|error| open_error(error.into()))?;
    let table = match transaction.open_table(definition) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) => return Ok(Table::default()),
        Err(error) => return Err(open_error(error.into())),
    };
    let mut records = Table::default();
    for row in table.iter().map_err(|error| open_error(error.into()))? {
        let (key, bytes) = row.map_err(|error| open_error(error.into()))?;
        let record: R = serde_json::from_slice(bytes.value()).map_err(|error| StoreError::Decode {
            kind: R::KIND,
            key: key.value().to_owned(),
            cause: error.to_string(),
        })?;
        let entries = record.indexed();
        records.insert(key.value().to_owned(), Arc::new(record), entries);
    }
    Ok(records)
}

fn write(database: &Database, changes: &Pending) -> Result<(), redb::Error> {
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
mod tests;
