//! Uploads in parts: what has come, and whether it may be put together. `s3s-fs` joins parts 1..n; S3 takes any
//! ascending numbers, compares the parts' tags, and keeps an upload that could not be completed.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read as _,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use s3s::{
    S3Error, S3ErrorCode, S3Result,
    crypto::{Checksum as _, Md5},
    dto::{CompletedPart, ETag, Part, Timestamp},
};

use super::index::{Sequence, names};
use crate::wire::sigv4::hex;

/// All but the last part have at least this size
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html>).
const SMALLEST_PART: u64 = 5 * 1024 * 1024;
/// An upload that nobody has touched for so long is taken for abandoned when the process starts.
const ABANDONED: Duration = Duration::from_secs(7 * 24 * 3600);

/// An upload under way.
#[derive(Debug, Clone)]
pub(super) struct Upload {
    pub(super) bucket: String,
    pub(super) key: String,
    /// Name of the version that it becomes.
    pub(super) version: String,
    pub(super) initiated: SystemTime,
    pub(super) parts: BTreeMap<i32, UploadedPart>,
}

#[derive(Debug, Clone)]
pub(super) struct UploadedPart {
    pub(super) e_tag: ETag,
    pub(super) size: u64,
    pub(super) modified: SystemTime,
}

impl Upload {
    /// As `ListParts` tells them.
    pub(super) fn list(&self) -> Vec<Part> {
        self.parts
            .iter()
            .map(|(number, part)| Part {
                part_number: Some(*number),
                e_tag: Some(part.e_tag.clone()),
                size: i64::try_from(part.size).ok(),
                last_modified: Some(Timestamp::from(part.modified)),
                ..Part::default()
            })
            .collect()
    }

    /// Whether these parts may be put together; their numbers, in order.
    pub(super) fn check(&self, wanted: &[CompletedPart]) -> S3Result<Vec<i32>> {
        if wanted.is_empty() {
            return Err(S3Error::with_message(S3ErrorCode::MalformedXML, "You must specify at least one part"));
        }
        let invalid =
            || S3Error::with_message(S3ErrorCode::InvalidPart, "A part could not be found, or has another tag.");
        let numbers: Vec<i32> =
            wanted.iter().map(|part| part.part_number.ok_or_else(invalid)).collect::<S3Result<_>>()?;
        if !numbers.is_sorted_by(|left, right| left < right) {
            return Err(S3Error::with_message(
                S3ErrorCode::InvalidPartOrder,
                "The list of parts was not in ascending order.",
            ));
        }
        for (at, (part, number)) in wanted.iter().zip(&numbers).enumerate() {
            let known = self.parts.get(number).ok_or_else(invalid)?;
            if part.e_tag.as_ref().is_some_and(|e_tag| e_tag.value().trim_matches('"') != known.e_tag.value()) {
                return Err(invalid());
            }
            if at + 1 < wanted.len() && known.size < SMALLEST_PART {
                return Err(S3Error::with_message(
                    S3ErrorCode::EntityTooSmall,
                    "A part other than the last is smaller than 5 MiB.",
                ));
            }
        }
        Ok(numbers)
    }
}

/// Where `s3s-fs` 0.14 keeps a part.
pub(super) fn part_path(root: &Path, upload_id: &str, number: i32) -> PathBuf {
    root.join(format!(".upload_id-{upload_id}.part-{number}"))
}

/// Renumbers the wanted parts to 1..n. A number only ever falls, so no wanted part is overwritten.
pub(super) fn renumber(root: &Path, upload_id: &str, numbers: &[i32]) -> std::io::Result<()> {
    for (number, wanted) in (1..).zip(numbers) {
        if number != *wanted {
            std::fs::rename(part_path(root, upload_id, *wanted), part_path(root, upload_id, number))?;
        }
    }
    Ok(())
}

/// Removes everything of an upload: parts, id, metadata.
pub(super) fn remove(root: &Path, upload_id: &str) {
    let (parts, info, metadata) = (
        format!(".upload_id-{upload_id}.part-"),
        format!(".upload-{upload_id}.json"),
        format!(".upload-{upload_id}.metadata.json"),
    );
    for name in names(root, false) {
        if name.starts_with(&parts) || name == info || (name.starts_with(".bucket-") && name.ends_with(&metadata)) {
            let _ = std::fs::remove_file(root.join(name));
        }
    }
}

/// The uploads that an earlier process left under way.
pub(super) fn load(root: &Path, buckets: &BTreeSet<String>, sequence: &Sequence) -> BTreeMap<String, Upload> {
    let files = names(root, false);
    let mut uploads = BTreeMap::new();
    for name in &files {
        if let Some((id, upload)) =
            read(root, name, &files, sequence).filter(|(_, upload)| buckets.contains(&upload.bucket))
        {
            uploads.insert(id, upload);
        }
    }
    // What belongs to no upload is left over.
    for name in &files {
        let id = name
            .strip_prefix(".upload_id-")
            .and_then(|rest| rest.split_once(".part-"))
            .map(|(id, _)| id)
            .or_else(|| name.split_once(".upload-").map(|(_, rest)| rest.split('.').next().unwrap_or_default()));
        if let Some(id) = id
            && !uploads.contains_key(id)
        {
            let _ = std::fs::remove_file(root.join(name));
        }
    }
    uploads
}

/// Reads `.bucket-BUCKET.object-VERSION.upload-ID.metadata.json` and the parts of that upload.
fn read(root: &Path, name: &str, files: &BTreeSet<String>, sequence: &Sequence) -> Option<(String, Upload)> {
    let rest = name.strip_prefix(".bucket-")?.strip_suffix(".metadata.json")?;
    let (names, id) = rest.split_once(".upload-")?;
    let (bucket, version) = names.split_once(".object-")?;
    let decoded = |text: &str| String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok();
    let (bucket, version) = (decoded(bucket)?, decoded(version)?);
    sequence.begin_after(&version);
    let path = root.join(name);
    let attributes: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).ok()?).ok()?;
    let key = attributes.get("user_metadata")?.get(super::index::KEY)?.as_str()?.to_owned();
    let initiated = std::fs::metadata(&path).ok()?.modified().ok()?;
    let mut touched = initiated;
    let mut parts = BTreeMap::new();
    for file in files {
        let number = file.strip_prefix(&format!(".upload_id-{id}.part-")).and_then(|number| number.parse::<i32>().ok());
        if let Some(number) = number
            && let Ok(part) = read_part(&root.join(file))
        {
            touched = touched.max(part.modified);
            parts.insert(number, part);
        }
    }
    if touched.elapsed().is_ok_and(|age| age > ABANDONED) {
        return None;
    }
    Some((id.to_owned(), Upload { bucket, key, version, initiated, parts }))
}

fn read_part(path: &Path) -> std::io::Result<UploadedPart> {
    let mut file = std::fs::File::open(path)?;
    let metadata = file.metadata()?;
    let mut hash = Md5::new();
    let mut buffer = vec![0; 65536];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            count => hash.update(&buffer[..count]),
        }
    }
    Ok(UploadedPart {
        e_tag: ETag::Strong(hex(&hash.finalize())),
        size: metadata.len(),
        modified: metadata.modified()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upload(parts: &[(i32, u64)]) -> Upload {
        let now = SystemTime::now();
        let part =
            |number: i32, size: u64| UploadedPart { e_tag: ETag::Strong(format!("tag{number}")), size, modified: now };
        Upload {
            bucket: "b".to_owned(),
            key: "k".to_owned(),
            version: "v".to_owned(),
            initiated: now,
            parts: parts.iter().map(|&(number, size)| (number, part(number, size))).collect(),
        }
    }

    fn wanted(numbers: &[i32]) -> Vec<CompletedPart> {
        numbers
            .iter()
            .map(|number| CompletedPart {
                part_number: Some(*number),
                e_tag: Some(ETag::Strong(format!("tag{number}"))),
                ..CompletedPart::default()
            })
            .collect()
    }

    #[test]
    fn gaps_are_taken_and_disorder_strangers_and_small_parts_are_not() {
        let upload = upload(&[(2, SMALLEST_PART), (5, 10), (7, 1)]);
        assert_eq!(upload.check(&wanted(&[2, 5])).expect("ascending"), [2, 5]);
        let code = |numbers: &[i32]| upload.check(&wanted(numbers)).expect_err("refused").code().clone();
        assert_eq!(code(&[5, 2]), S3ErrorCode::InvalidPartOrder);
        assert_eq!(code(&[3]), S3ErrorCode::InvalidPart);
        assert_eq!(code(&[5, 7]), S3ErrorCode::EntityTooSmall);
        assert_eq!(code(&[]), S3ErrorCode::MalformedXML);
    }
}
