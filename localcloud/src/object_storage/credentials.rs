//! Who signs: access keys, and whose they are, from a file that the daemon replaces whenever a key comes or goes. It is looked at with every
//! request, so that a key is known the moment its file is there.

use std::{
    collections::BTreeMap,
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use s3s::{
    S3Error, S3ErrorCode, S3Result,
    auth::{S3Auth, SecretKey},
};
use serde::{Deserialize, Serialize};

use crate::{
    policy::{Identity, identity::Documents},
    wire::sigv4::Secret,
};

/// The file's content.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct S3Credentials {
    pub credentials: Vec<S3Credential>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct S3Credential {
    pub access_key: String,
    pub secret_key: String,
    /// Set for temporary ones: requests must carry it.
    #[serde(default)]
    pub session_token: Option<String>,
    #[serde(default)]
    pub expires_at_epoch_secs: Option<i64>,
    /// Whose it is, and what their policies say.
    pub identity: Identity,
}

/// A key as it was read, with the policies of its owner.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) credential: S3Credential,
    pub(super) documents: Documents,
}

impl S3Credential {
    pub(super) fn secret(&self) -> Secret {
        Secret {
            secret_key: self.secret_key.clone(),
            session_token: self.session_token.clone(),
            expires_epoch_secs: self.expires_at_epoch_secs,
        }
    }
}

/// Which version of the file was read: a replaced file has another inode.
type Stamp = (u64, i64, i64, u64);

type ByAccessKey = BTreeMap<String, Arc<Key>>;

/// The keys of the file as it is now.
pub(super) struct Keys {
    file: PathBuf,
    /// What was read last, and of which version of the file.
    read: Mutex<(Option<Stamp>, Arc<ByAccessKey>)>,
}

impl Keys {
    pub(super) fn new(file: PathBuf) -> Self {
        Self { file, read: Mutex::default() }
    }

    pub(super) fn find(&self, access_key: &str) -> Option<Arc<Key>> {
        self.current().get(access_key).cloned()
    }

    fn current(&self) -> Arc<ByAccessKey> {
        let stamp = std::fs::metadata(&self.file)
            .ok()
            .map(|metadata| (metadata.ino(), metadata.mtime(), metadata.mtime_nsec(), metadata.size()));
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if stamp.is_none() || read.0 != stamp {
            match self.load() {
                Ok(keys) => *read = (stamp, Arc::new(keys)),
                // What was read last goes on being true until the file can be read again.
                Err(error) => tracing::warn!("reading the access keys {}: {error}", self.file.display()),
            }
        }
        Arc::clone(&read.1)
    }

    fn load(&self) -> std::io::Result<ByAccessKey> {
        let text = match std::fs::read(&self.file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(ByAccessKey::new()),
            Err(error) => return Err(error),
        };
        let file: S3Credentials = serde_json::from_slice(&text).map_err(std::io::Error::other)?;
        let key = |credential: S3Credential| {
            let documents = credential.identity.read();
            (credential.access_key.clone(), Arc::new(Key { credential, documents }))
        };
        Ok(file.credentials.into_iter().map(key).collect())
    }
}

/// Secrets for the signature's verification.
pub(super) struct Auth(pub(super) Arc<Keys>);

#[async_trait::async_trait]
impl S3Auth for Auth {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        match self.0.find(access_key) {
            Some(key) => Ok(SecretKey::from(key.credential.secret_key.clone())),
            None => Err(S3Error::with_message(
                S3ErrorCode::InvalidAccessKeyId,
                "The AWS Access Key Id you provided does not exist in our records.",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(access_key: &str) -> String {
        let credential = S3Credential {
            access_key: access_key.to_owned(),
            secret_key: "secret".to_owned(),
            session_token: None,
            expires_at_epoch_secs: None,
            identity: Identity { arn: "arn:aws:iam::000000000001:root".to_owned(), ..Identity::default() },
        };
        serde_json::to_string(&S3Credentials { credentials: vec![credential] }).expect("JSON")
    }

    #[test]
    fn a_replaced_file_is_known_at_once_and_a_broken_one_changes_nothing() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("keys.json");
        let keys = Keys::new(path.clone());
        assert!(keys.find("A").is_none(), "no file, no keys");
        crate::host::file::replace(&path, &file("A")).expect("writes");
        assert!(keys.find("A").is_some());
        crate::host::file::replace(&path, &file("B")).expect("writes");
        assert!(keys.find("A").is_none() && keys.find("B").is_some());
        crate::host::file::replace(&path, "{").expect("writes");
        assert!(keys.find("B").is_some());
    }
}
