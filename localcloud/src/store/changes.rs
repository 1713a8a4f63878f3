//! What was changed, for those who follow: each asks for what has come since it asked last, and then looks at that instead
//! of at everything.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::Record;

/// Changes that are remembered. Who is further behind is told to look at everything.
const REMEMBERED: usize = 4096;

/// How far a reader has followed. A new one has followed nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cursor(Option<u64>);

/// What has changed since a cursor.
#[derive(Debug, Default)]
pub struct Changes {
    /// It is not known what.
    everything: bool,
    keys: BTreeMap<&'static str, BTreeSet<String>>,
}

impl Changes {
    /// Nothing at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.everything && self.keys.is_empty()
    }

    /// The keys of this kind that were written or removed; `None` if it may be any.
    #[must_use]
    pub fn of<R: Record>(&self) -> Option<BTreeSet<String>> {
        (!self.everything).then(|| self.keys.get(R::KIND).cloned().unwrap_or_default())
    }

    /// Whether a record of this kind may have changed.
    #[must_use]
    pub fn touch<R: Record>(&self) -> bool {
        self.everything || self.keys.contains_key(R::KIND)
    }

    /// Whether one of a kind that is not among these may have changed.
    #[must_use]
    pub fn touch_others(&self, kinds: &[&str]) -> bool {
        self.everything || self.keys.keys().any(|kind| !kinds.contains(kind))
    }
}

/// The newest changes, oldest first.
#[derive(Debug, Default)]
pub(super) struct Log {
    entries: VecDeque<(&'static str, String)>,
    /// Of all that were ever noted, how many are forgotten.
    forgotten: u64,
}

impl Log {
    pub(super) fn note(&mut self, kind: &'static str, key: String) {
        if self.entries.len() == REMEMBERED {
            self.entries.pop_front();
            self.forgotten += 1;
        }
        self.entries.push_back((kind, key));
    }

    /// What was noted since, and moves the cursor to the end.
    pub(super) fn since(&self, cursor: &mut Cursor) -> Changes {
        let end = self.forgotten + self.entries.len() as u64;
        let Some(seen) = cursor.0.replace(end).and_then(|seen| seen.checked_sub(self.forgotten)) else {
            return Changes { everything: true, ..Changes::default() };
        };
        let mut changes = Changes::default();
        for (kind, key) in self.entries.iter().skip(usize::try_from(seen).unwrap_or(usize::MAX)) {
            changes.keys.entry(kind).or_default().insert(key.clone());
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_is_told_what_came_since_it_asked_and_all_if_that_is_forgotten() {
        let mut log = Log::default();
        log.note("thing", "a".to_owned());
        let mut cursor = Cursor::default();
        assert!(log.since(&mut cursor).everything, "a new reader has to look at everything");
        assert!(log.since(&mut cursor).is_empty());
        log.note("thing", "b".to_owned());
        log.note("thing", "b".to_owned());
        let changes = log.since(&mut cursor);
        assert_eq!(changes.keys["thing"], BTreeSet::from(["b".to_owned()]));
        assert!(!changes.touch_others(&["thing"]) && changes.touch_others(&["other"]));
        for number in 0..=REMEMBERED {
            log.note("thing", number.to_string());
        }
        assert!(log.since(&mut cursor).everything);
        assert!(log.since(&mut cursor).is_empty());
    }
}
