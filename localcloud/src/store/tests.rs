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

    fn indexed(&self) -> Vec<(&'static str, String)> {
        vec![("count", self.count.to_string())]
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

fn store() -> (Store, tempfile::TempDir) {
    let dir = tempfile::tempdir().expect("a directory");
    (Store::open(&dir.path().join("records")).expect("opens"), dir)
}

fn keep(store: &Store, change: impl FnOnce(&mut Transaction<'_>)) {
    store
        .transact(|tx| {
            change(tx);
            Ok::<_, StoreError>(())
        })
        .expect("commits");
}

#[test]
fn a_listing_shows_what_is_kept_with_what_the_transaction_has_changed() {
    let (store, _dir) = store();
    let names = |list: Vec<Arc<Thing>>| list.iter().map(|thing| thing.name.clone()).collect::<Vec<_>>();
    keep(&store, |tx| ["b/1", "b/2", "c", "e"].into_iter().for_each(|name| tx.put(thing(name, 1))));
    keep(&store, |tx| {
        tx.put(thing("a", 2));
        tx.put(thing("b/1", 2));
        tx.put(thing("b/3", 2));
        tx.delete::<Thing>("c");
        tx.put(thing("f", 2));
        assert_eq!(names(tx.list()), ["a", "b/1", "b/2", "b/3", "e", "f"]);
        assert_eq!(names(tx.list_below("b/")), ["b/1", "b/2", "b/3"]);
        assert_eq!(names(tx.find("count", "1")), ["b/2", "e"]);
        assert_eq!(names(tx.find("count", "2")), ["a", "b/1", "b/3", "f"]);
        tx.delete::<Thing>("b/3");
        assert_eq!(names(tx.list_below("b/")), ["b/1", "b/2"]);
    });
}

#[test]
fn an_index_follows_its_records_and_is_there_after_reopening() {
    let (store, dir) = store();
    let found = |store: &Store, count: &str| {
        store.read(|tx| tx.find::<Thing>("count", count).iter().map(|thing| thing.name.clone()).collect::<Vec<_>>())
    };
    keep(&store, |tx| {
        tx.list::<Thing>();
        tx.put(thing("a", 1));
        tx.put(thing("b", 1));
    });
    assert_eq!(found(&store, "1").expect("readable"), ["a", "b"]);
    keep(&store, |tx| tx.put(thing("a", 2)));
    keep(&store, |tx| tx.delete::<Thing>("b"));
    assert_eq!(found(&store, "1").expect("readable"), Vec::<String>::new());
    drop(store);
    let store = Store::open(&dir.path().join("records")).expect("opens again");
    assert_eq!(found(&store, "2").expect("readable"), ["a"]);
}

#[test]
fn who_follows_is_told_which_records_were_committed() {
    let (store, _dir) = store();
    let mut cursor = Cursor::default();
    assert!(store.changes(&mut cursor).touch::<Thing>(), "a new reader looks at everything");
    keep(&store, |tx| tx.put(thing("a", 1)));
    let refused: Result<(), StoreError> = store.transact(|tx| {
        tx.put(thing("b", 1));
        Err(StoreError::Commit("refused".to_owned()))
    });
    assert!(refused.is_err());
    assert_eq!(store.changes(&mut cursor).of::<Thing>(), Some(BTreeSet::from(["a".to_owned()])));
    assert!(store.changes(&mut cursor).is_empty());
}
