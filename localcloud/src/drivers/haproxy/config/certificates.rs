//! Files that a configuration names besides itself: certificates with their keys, and lists of them. Each is called by
//! its content's digest, so that another certificate is another configuration, and a worker that still runs keeps its own.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};

use crate::drivers::Pem;

/// Contents by path.
pub(in crate::drivers::haproxy) type Files = BTreeMap<PathBuf, Pem>;

pub(super) struct Certificates {
    directory: PathBuf,
    files: Files,
}

impl Certificates {
    pub(super) fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), files: Files::new() }
    }

    /// The file of a certificate, its chain and its key.
    pub(super) fn certificate(&mut self, pem: &Pem) -> String {
        self.file("pem", pem.clone())
    }

    /// The file of a list of certificates.
    pub(super) fn list(&mut self, lines: String) -> String {
        self.file("list", Pem(lines))
    }

    pub(super) fn into_files(self) -> Files {
        self.files
    }

    fn file(&mut self, extension: &str, content: Pem) -> String {
        let digest: String = Sha256::digest(&content.0).iter().take(12).map(|byte| format!("{byte:02x}")).collect();
        let path = self.directory.join(format!("{digest}.{extension}"));
        let name = path.display().to_string();
        self.files.insert(path, content);
        name
    }
}
