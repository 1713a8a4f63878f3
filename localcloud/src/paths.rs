//! Every name that the cloud gives to a file, socket or namespace of its own.

use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

/// Names under one state directory.
#[derive(Debug, Clone)]
pub struct Paths {
    root: PathBuf,
}

impl Paths {
    #[must_use]
    pub fn new(state_dir: &Path) -> Self {
        Self { root: state_dir.to_owned() }
    }

    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The records.
    #[must_use]
    pub fn records(&self) -> PathBuf {
        self.root.join("records.redb")
    }

    /// The samples of all metrics.
    #[must_use]
    pub fn metrics(&self) -> PathBuf {
        self.root.join("metrics.redb")
    }

    /// Held by the daemon while it lives; two daemons on one directory would fight.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.root.join("daemon.lock")
    }

    /// What the daemon and its children say.
    #[must_use]
    pub fn log(&self, program: &str) -> PathBuf {
        self.root.join("log").join(format!("{program}.log"))
    }

    /// Process id and start time of a program that outlives the daemon.
    #[must_use]
    pub fn pid_file(&self, program: &str) -> PathBuf {
        self.root.join("run").join(format!("{program}.pid"))
    }

    /// Sockets lie in `/run`, whatever the state directory's length: a socket's path is limited to 107 bytes.
    #[must_use]
    pub fn socket(&self, name: &str) -> PathBuf {
        self.run_dir().join(format!("{name}.sock"))
    }

    #[must_use]
    pub fn run_dir(&self) -> PathBuf {
        PathBuf::from("/run").join(self.unique_name())
    }

    /// The shell-readable credentials and endpoints of the cloud's user.
    #[must_use]
    pub fn eucarc(&self) -> PathBuf {
        self.root.join("eucarc")
    }

    /// Credentials and policies for the S3 process, replaced atomically whenever they change.
    #[must_use]
    pub fn s3_credentials(&self) -> PathBuf {
        self.root.join("s3-credentials.json")
    }

    /// The plan of faults in force, for the S3 process: not there when there is none.
    #[must_use]
    pub fn s3_faults(&self) -> PathBuf {
        self.root.join("s3-faults.toml")
    }

    /// The S3 process's buckets.
    #[must_use]
    pub fn s3_root(&self) -> PathBuf {
        self.root.join("s3")
    }

    /// Everything of one instance: disk, console, process id.
    #[must_use]
    pub fn instance(&self, id: &str) -> PathBuf {
        self.instances().join(id)
    }

    #[must_use]
    pub fn instances(&self) -> PathBuf {
        self.root.join("instances")
    }

    #[must_use]
    pub fn volumes(&self) -> PathBuf {
        self.root.join("volumes")
    }

    #[must_use]
    pub fn volume(&self, id: &str) -> PathBuf {
        self.volumes().join(format!("{id}.img"))
    }

    /// Bytes of a volume at one moment.
    #[must_use]
    pub fn snapshot(&self, id: &str) -> PathBuf {
        self.root.join("snapshots").join(format!("{id}.img"))
    }

    /// The files of an instance's root at one moment: a tree from which others boot.
    #[must_use]
    pub fn tree(&self, snapshot_id: &str) -> PathBuf {
        self.root.join("trees").join(snapshot_id)
    }

    /// Generated configuration of HAProxy and dnsmasq.
    #[must_use]
    pub fn generated(&self, file: &str) -> PathBuf {
        self.root.join("generated").join(file)
    }

    /// Certificates with their private keys, as HAProxy reads them: for their owner only.
    #[must_use]
    pub fn certificates(&self) -> PathBuf {
        self.root.join("certificates")
    }

    /// Balancers' access logs that are not yet in their buckets.
    #[must_use]
    pub fn access_logs(&self) -> PathBuf {
        self.root.join("access-logs")
    }

    /// A short name that no other state directory has: network namespace, cgroup, run directory.
    #[must_use]
    pub fn unique_name(&self) -> String {
        let absolute = std::path::absolute(&self.root).unwrap_or_else(|_| self.root.clone());
        let digest = Sha256::digest(absolute.as_os_str().as_encoded_bytes());
        format!("localcloud-{:02x}{:02x}{:02x}{:02x}", digest[0], digest[1], digest[2], digest[3])
    }
}
