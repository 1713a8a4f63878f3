//! Server certificates: what a load balancer shows to clients, and the key that proves it.

use serde::{Deserialize, Serialize};

use crate::{
    model::{tag::Tags, time::Timestamp},
    store::Record,
};

#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct ServerCertificate {
    pub name: String,
    /// `ASCA…`
    pub id: String,
    pub path: String,
    /// PEM.
    pub body: String,
    pub chain: Option<String>,
    /// Leaves the cloud by no answer.
    pub private_key: String,
    pub uploaded: Timestamp,
    pub expires: Timestamp,
    #[serde(default)]
    pub tags: Tags,
}

impl ServerCertificate {
    #[must_use]
    pub fn arn(&self, account_id: &str) -> String {
        format!("arn:aws:iam::{account_id}:server-certificate{}{}", self.path, self.name)
    }

    /// Certificate, chain and key, as a proxy wants them.
    #[must_use]
    pub fn bundle(&self) -> String {
        let parts = [Some(&self.body), self.chain.as_ref(), Some(&self.private_key)];
        parts.into_iter().flatten().map(|part| format!("{}\n", part.trim())).collect()
    }
}

impl Record for ServerCertificate {
    const KIND: &'static str = "server-certificate";

    fn key(&self) -> String {
        self.name.clone()
    }
}
