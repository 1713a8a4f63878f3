//! Where the database is: a URL that never changes, or one that stands in an object of the stack's bucket and changes when
//! the database's machine is replaced.

use serde::Deserialize;

use crate::config::{DatabaseSource, check_database_url};
use crate::object_store::{ObjectStore, ObjectStoreError};

pub enum Source {
    Url(String),
    Object { store: ObjectStore, bucket: String, key: String },
}

#[derive(Debug, thiserror::Error)]
pub(super) enum SourceError {
    #[error("s3://{bucket}/{key} does not exist yet")]
    NotThereYet { bucket: String, key: String },
    #[error(transparent)]
    Store(ObjectStoreError),
    #[error("s3://{bucket}/{key} {problem}")]
    Invalid { bucket: String, key: String, problem: String },
}

/// The object holds more; only this is ours to know.
#[derive(Deserialize)]
struct DatabaseObject {
    url: String,
}

impl Source {
    pub fn new(source: &DatabaseSource, store: &ObjectStore) -> Self {
        match source.clone() {
            DatabaseSource::Url(url) => Self::Url(url),
            DatabaseSource::Object { bucket, key } => Self::Object { store: store.clone(), bucket, key },
        }
    }

    pub(super) async fn read(&self) -> Result<String, SourceError> {
        let (store, bucket, key) = match self {
            Self::Url(url) => return Ok(url.clone()),
            Self::Object { store, bucket, key } => (store, bucket.clone(), key.clone()),
        };
        let text = match store.read_text(&bucket, &key).await {
            Ok(text) => text,
            Err(ObjectStoreError::NotFound { .. }) => return Err(SourceError::NotThereYet { bucket, key }),
            Err(error) => return Err(SourceError::Store(error)),
        };
        // serde's message would quote the text, which holds a password.
        let Ok(DatabaseObject { url }) = serde_json::from_str(&text) else {
            return Err(SourceError::Invalid { bucket, key, problem: "is no JSON object with a text `url`".into() });
        };
        match check_database_url(&url) {
            Ok(()) => Ok(url),
            Err(problem) => Err(SourceError::Invalid { bucket, key, problem: format!("has a `url` which {problem}") }),
        }
    }
}
