//! Buckets and objects of S3 that others are not to see yet. What replaces an object hides nothing: there was one before.
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/Welcome.html#ConsistencyModel> says of what S3 is spared of this
//! today (buckets are not); other clouds' object stores are not spared.

use std::collections::BTreeSet;

use super::{Faults, Verdict, hidden::Remaining};

/// What creates something that can be hidden.
pub const CREATING: &[&str] = &["CompleteMultipartUpload", "CopyObject", "CreateBucket", "PutObject"];

/// One bucket, or one object.
pub(super) struct HiddenObject {
    bucket: String,
    key: Option<String>,
    remaining: Remaining,
}

impl Faults {
    /// Whether a call that looks for a bucket, or for an object, is to find it. Each that is not counts.
    #[must_use]
    pub fn shows_object(&self, bucket: &str, key: Option<&str>) -> bool {
        let mut state = self.lock();
        state.hidden_objects.retain(|hidden| hidden.remaining.lasts());
        let mut hidden = state.hidden_objects.iter_mut();
        match hidden.find(|hidden| hidden.bucket == bucket && hidden.key.as_deref() == key) {
            Some(hidden) => {
                hidden.remaining.note_look();
                false
            }
            None => true,
        }
    }

    /// The keys that a list of a bucket's keys with this prefix is to leave out. It counts as a look for each.
    #[must_use]
    pub fn hidden_keys(&self, bucket: &str, prefix: &str) -> BTreeSet<String> {
        self.looked_for(|hidden| {
            hidden.key.as_ref().filter(|key| hidden.bucket == bucket && key.starts_with(prefix)).cloned()
        })
    }

    /// The buckets that a list of buckets is to leave out.
    #[must_use]
    pub fn hidden_buckets(&self, prefix: &str) -> BTreeSet<String> {
        self.looked_for(|hidden| {
            (hidden.key.is_none() && hidden.bucket.starts_with(prefix)).then(|| hidden.bucket.clone())
        })
    }

    fn looked_for(&self, name: impl Fn(&HiddenObject) -> Option<String>) -> BTreeSet<String> {
        let mut state = self.lock();
        let lasting = state.hidden_objects.iter_mut().filter(|hidden| hidden.remaining.lasts());
        lasting
            .filter_map(|hidden| {
                let name = name(hidden)?;
                hidden.remaining.note_look();
                Some(name)
            })
            .collect()
    }

    /// Hides what a call has created that was told to.
    pub fn hide_object(&self, bucket: &str, key: Option<&str>, verdict: &Verdict) {
        let mut state = self.lock();
        for span in &verdict.hide {
            state.hidden_objects.push(HiddenObject {
                bucket: bucket.to_owned(),
                key: key.map(str::to_owned),
                remaining: Remaining::new(*span),
            });
        }
    }
}
