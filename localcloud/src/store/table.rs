//! The records of one kind in memory, by key and by what else they are found by.

use std::{
    any::Any,
    collections::{BTreeMap, BTreeSet},
    iter::Peekable,
    sync::Arc,
};

/// A record of a kind that only its reader knows.
pub(super) type Anything = Arc<dyn Any + Send + Sync>;
/// Where a record is found besides under its key: name of the index, and value.
pub(super) type Entries = Vec<(&'static str, String)>;

struct Row {
    record: Anything,
    entries: Entries,
}

#[derive(Default)]
pub(super) struct Table {
    rows: BTreeMap<String, Row>,
    index: BTreeMap<&'static str, BTreeMap<String, BTreeSet<String>>>,
}

impl Table {
    pub(super) fn get(&self, key: &str) -> Option<&Anything> {
        self.rows.get(key).map(|row| &row.record)
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn insert(&mut self, key: String, record: Anything, entries: Entries) {
        if let Some(old) = self.rows.remove(&key) {
            self.forget(&key, &old.entries);
        }
        for (index, value) in &entries {
            self.index.entry(index).or_default().entry(value.clone()).or_default().insert(key.clone());
        }
        self.rows.insert(key, Row { record, entries });
    }

    pub(super) fn remove(&mut self, key: &str) {
        if let Some(old) = self.rows.remove(key) {
            self.forget(key, &old.entries);
        }
    }

    fn forget(&mut self, key: &str, entries: &Entries) {
        for (index, value) in entries {
            let Some(values) = self.index.get_mut(index) else { continue };
            let Some(keys) = values.get_mut(value) else { continue };
            keys.remove(key);
            if keys.is_empty() {
                values.remove(value);
            }
        }
    }

    /// Keys and records whose keys begin so, in order.
    pub(super) fn below<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a Anything)> {
        let from = self.rows.range::<str, _>((std::ops::Bound::Included(prefix), std::ops::Bound::Unbounded));
        from.take_while(move |(key, _)| key.starts_with(prefix)).map(|(key, row)| (key.as_str(), &row.record))
    }

    /// Keys under which the index has this value, in order.
    pub(super) fn keys_by(&self, index: &str, value: &str) -> impl Iterator<Item = &str> {
        let keys = self.index.get(index).and_then(|values| values.get(value));
        keys.into_iter().flatten().map(String::as_str)
    }
}

/// What is kept, with what a transaction has changed laid over it. Both are in the order of their keys.
pub(super) struct Merged<K: Iterator, C: Iterator> {
    kept: Peekable<K>,
    changed: Peekable<C>,
}

impl<K: Iterator, C: Iterator> Merged<K, C> {
    pub(super) fn new(kept: K, changed: C) -> Self {
        Self { kept: kept.peekable(), changed: changed.peekable() }
    }
}

impl<'a, K, C> Iterator for Merged<K, C>
where
    K: Iterator<Item = (&'a str, &'a Anything)>,
    C: Iterator<Item = (&'a str, Option<&'a Anything>)>,
{
    type Item = &'a Anything;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match (self.kept.peek(), self.changed.peek()) {
                (Some((kept, _)), Some((changed, _))) if kept < changed => return self.kept.next().map(|row| row.1),
                (Some((kept, _)), Some((changed, _))) if kept == changed => {
                    self.kept.next();
                }
                (_, Some(_)) => {
                    // A change without a record is a removal.
                    if let Some((_, Some(record))) = self.changed.next() {
                        return Some(record);
                    }
                }
                (_, None) => return self.kept.next().map(|row| row.1),
            }
        }
    }
}
