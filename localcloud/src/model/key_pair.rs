//! Key pairs: the public halves. A private half is given out once and not kept.

use serde::{Deserialize, Serialize};

use crate::{
    model::{tag::Tags, time::Timestamp},
    store::Record,
};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeyPair {
    pub name: String,
    /// `key-…`
    pub id: String,
    /// `rsa` or `ed25519`
    pub key_type: String,
    pub fingerprint: String,
    /// One line as in `authorized_keys`.
    pub public_key: String,
    pub created: Timestamp,
    #[serde(default)]
    pub tags: Tags,
}

impl Record for KeyPair {
    const KIND: &'static str = "key-pair";

    fn key(&self) -> String {
        self.name.clone()
    }
}
