//! Which object is kept where. Every upload is kept by `s3s-fs` under a name of its own (a version), whose metadata
//! hold the object's key; an object is the newest version of its key. The index is read from those metadata at start
//! and is in memory from then on, as this process is the only one that writes. Versions that a killed process left
//! half-written, or did not remove, are removed at start.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use rand::RngExt as _;
use s3s::{
    S3 as _, S3Request, S3Result,
    dto::{ETag, HeadObjectInput, Metadata, Timestamp},
};
use s3s_fs::FileSystem;

use super::multipart::Upload;

/// Name within a version's user metadata under which the object's key stands.
pub(super) const KEY: &str = "localcloud-key";

/// One object.
#[derive(Debug, Clone)]
pub(super) struct Object {
    pub(super) version: String,
    pub(super) size: u64,
    pub(super) e_tag: ETag,
    pub(super) modified: Timestamp,
}

#[derive(Debug, Default)]
pub(super) struct Index {
    pub(super) buckets: BTreeMap<String, BTreeMap<String, Object>>,
    /// Uploads in parts that are under way, by their id.
    pub(super) uploads: BTreeMap<String, Upload>,
}

/// Names of versions: later ones sort behind earlier ones.
#[derive(Debug, Default)]
pub(super) struct Sequence(AtomicU64);

impl Sequence {
    pub(super) fn next(&self) -> String {
        let number = self.0.fetch_add(1, Ordering::Relaxed);
        let random: u32 = rand::rng().random();
        format!("{number:016x}-{random:08x}")
    }

    pub(super) fn begin_after(&self, version: &str) {
        if let Some(number) = version.split('-').next().and_then(|digits| u64::from_str_radix(digits, 16).ok()) {
            self.0.fetch_max(number + 1, Ordering::Relaxed);
        }
    }
}

/// A request of our own to `s3s-fs`.
pub(super) fn request<T>(input: T) -> S3Request<T> {
    S3Request {
        input,
        method: http::Method::GET,
        uri: http::Uri::default(),
        headers: http::HeaderMap::default(),
        extensions: http::Extensions::default(),
        credentials: None,
        region: None,
        service: None,
        trailing_headers: None,
    }
}

/// The user's metadata with the object's key among them.
pub(super) fn stamped(metadata: Option<Metadata>, key: &str) -> Option<Metadata> {
    let mut metadata = metadata.unwrap_or_default();
    metadata.insert(KEY.to_owned(), key.to_owned());
    Some(metadata)
}

/// The user's metadata alone.
pub(super) fn unstamped(metadata: Option<Metadata>) -> Option<Metadata> {
    let mut metadata = metadata?;
    metadata.remove(KEY);
    (!metadata.is_empty()).then_some(metadata)
}

/// The version as an object, and the key that it is of.
pub(super) async fn inspect(files: &FileSystem, bucket: &str, version: &str) -> S3Result<Option<(String, Object)>> {
    let input = HeadObjectInput { bucket: bucket.to_owned(), key: version.to_owned(), ..HeadObjectInput::default() };
    let head = files.head_object(request(input)).await?.output;
    let key = head.metadata.and_then(|mut metadata| metadata.remove(KEY));
    let (Some(key), Some(size), Some(e_tag), Some(modified)) =
        (key, head.content_length, head.e_tag, head.last_modified)
    else {
        return Ok(None);
    };
    let object = Object { version: version.to_owned(), size: u64::try_from(size).unwrap_or(0), e_tag, modified };
    Ok(Some((key, object)))
}

/// Removes what is kept of a version: its bytes, and the two files that `s3s-fs` 0.14 writes beside the buckets and
/// does not remove itself.
pub(super) fn remove_version(root: &Path, bucket: &str, version: &str) {
    // The metadata go first: without them what is left is known for a leftover.
    for sidecar in sidecars(bucket, version) {
        let _ = std::fs::remove_file(root.join(sidecar));
    }
    let _ = std::fs::remove_file(root.join(bucket).join(version));
}

fn sidecars(bucket: &str, version: &str) -> [String; 2] {
    let (bucket, version) = (URL_SAFE_NO_PAD.encode(bucket), URL_SAFE_NO_PAD.encode(version));
    ["metadata.json", "internal.json"].map(|kind| format!(".bucket-{bucket}.object-{version}.{kind}"))
}

/// Reads what is kept under `root`, and clears what is not whole.
pub(super) async fn load(root: &Path, files: &FileSystem, sequence: &Sequence) -> S3Result<Index> {
    let mut index = Index::default();
    for bucket in names(root, true).into_iter().filter(|name| !name.starts_with('.')) {
        let mut objects: BTreeMap<String, Object> = BTreeMap::new();
        for version in names(&root.join(&bucket), false) {
            sequence.begin_after(&version);
            let Some((key, object)) = inspect(files, &bucket, &version).await? else {
                remove_version(root, &bucket, &version);
                continue;
            };
            // Versions come in their order, so the one before is the older.
            if let Some(older) = objects.insert(key, object) {
                remove_version(root, &bucket, &older.version);
            }
        }
        index.buckets.insert(bucket, objects);
    }
    index.uploads = super::multipart::load(root, &index.buckets.keys().cloned().collect(), sequence);
    clear_sidecars(root, &index);
    Ok(index)
}

fn clear_sidecars(root: &Path, index: &Index) {
    let mut kept: BTreeSet<String> = BTreeSet::new();
    for (bucket, objects) in &index.buckets {
        kept.extend(objects.values().flat_map(|object| sidecars(bucket, &object.version)));
    }
    for name in names(root, false) {
        if name.starts_with(".bucket-") && !name.contains(".upload-") && !kept.contains(&name) {
            let _ = std::fs::remove_file(root.join(name));
        }
    }
}

/// Entries of a directory, sorted: either the directories or the files.
pub(super) fn names(directory: &Path, directories: bool) -> BTreeSet<String> {
    let Ok(entries) = std::fs::read_dir(directory) else { return BTreeSet::new() };
    entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir() == directories))
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}
