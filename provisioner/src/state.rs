//! The local state file: only what no cloud can tell. The stack's random id, the seed of the client
//! tokens, the intent written before each create, and the chosen scale bounds. Losing it loses nothing
//! that `up` or `teardown` cannot find again by tags.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use fd_lock::{RwLock, RwLockWriteGuard};
use rand::RngExt;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::cloud::capabilities::Capabilities;
use crate::error::Failure;
use crate::report::seconds;
use crate::resource::{ClientToken, ResourceKey};

/// The bounds of the group that the user chose with `scale`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScaleBounds {
    /// Fewest instances.
    pub min: u32,
    /// Most instances.
    pub max: u32,
    /// Instances to begin with.
    pub desired: u32,
}

/// A create that was begun: enough to send it again with the same effect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Intent {
    generation: u32,
    /// Whether the cloud answered yes. A create after that is a replacement and needs a new token, as the
    /// token of a terminated instance stays taken.
    /// https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-idempotency.html
    finished: bool,
}

/// The content of the file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct State {
    /// The stack's name.
    pub stack: String,
    /// The stack's random id; also in its bucket's name.
    pub stack_id: String,
    /// Which cloud this is about.
    pub cloud: String,
    token_seed: String,
    /// Bounds chosen with `scale`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<ScaleBounds>,
    #[serde(default)]
    intents: BTreeMap<String, Intent>,
    /// What the cloud could do when it was last asked. As JSON, so that what another version knew is no error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    capabilities: Option<(jiff::Timestamp, serde_json::Value)>,
}

/// Clouds learn new things when they are upgraded: after this long they are asked again.
const CAPABILITIES_AGE: Duration = Duration::from_secs(24 * 3600);

impl State {
    /// A state for a stack of that id.
    pub fn new(stack: &str, stack_id: &str, cloud: &str) -> Self {
        Self {
            stack: stack.to_owned(),
            stack_id: stack_id.to_owned(),
            cloud: cloud.to_owned(),
            token_seed: random_text(32, b"0123456789abcdef"),
            scale: None,
            intents: BTreeMap::new(),
            capabilities: None,
        }
    }

    /// What the cloud could do, where it was asked not long ago.
    pub fn capabilities(&self) -> Option<Capabilities> {
        let (at, capabilities) = self.capabilities.as_ref()?;
        let age = Duration::try_from(jiff::Timestamp::now().duration_since(*at)).ok()?;
        (age < CAPABILITIES_AGE).then(|| serde_json::from_value(capabilities.clone()).ok()).flatten()
    }

    /// Keeps what the cloud has answered now.
    pub fn remember(&mut self, capabilities: Capabilities) {
        self.capabilities = serde_json::to_value(capabilities).ok().map(|json| (jiff::Timestamp::now(), json));
    }

    fn token(&self, key: &ResourceKey, digest: &str, generation: u32) -> ClientToken {
        let text = format!("{}\n{}\n{key}\n{digest}\n{generation}", self.stack_id, self.token_seed);
        let mut token = sha256_hex(text.as_bytes());
        token.truncate(40); // at most 64 are allowed
        ClientToken(token)
    }
}

/// The state and its file, locked against a second run.
pub struct StateFile {
    path: PathBuf,
    /// The content.
    pub state: State,
    _lock: Lock,
}

/// Held while a command changes the stack.
pub struct Lock(#[expect(dead_code, reason = "held for its drop")] RwLockWriteGuard<'static, File>);

/// Takes the lock of a stack, or says who holds it.
pub fn lock(state_dir: &Path, stack: &str) -> Result<Lock, Failure> {
    let doing = "locking the stack";
    fs::create_dir_all(state_dir)
        .map_err(|e| Failure::new(format!("creating {}", state_dir.display()), e).hint("see --state-dir"))?;
    let path = state_dir.join(format!("{stack}.lock"));
    loop {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(|e| Failure::new(format!("opening {}", path.display()), e))?;
        let opened = file.metadata().map(|metadata| metadata.ino());
        // One lock per command, held to its end: leaking the cell gives its guard the lifetime it needs.
        let cell: &'static mut RwLock<File> = Box::leak(Box::new(RwLock::new(file)));
        let Ok(mut guard) = cell.try_write() else {
            let note = fs::read_to_string(&path).unwrap_or_default();
            return Err(Failure::new(doing, format!("another run works on it: {}", Holder::told(&note)))
                .hint("wait for it to end; the lock goes with its process, however that ends"));
        };
        // A teardown that ended meanwhile took the file away: this one locks nothing any more.
        if fs::metadata(&path).map(|metadata| metadata.ino()).ok() != opened.ok() {
            continue;
        }
        let note = serde_json::to_string(&Holder::this()).unwrap_or_default();
        guard
            .set_len(0)
            .and_then(|()| guard.write_all(note.as_bytes()))
            .map_err(|e| Failure::new(format!("writing {}", path.display()), e))?;
        return Ok(Lock(guard));
    }
}

/// Who holds a lock, as its file says.
#[derive(Serialize, Deserialize)]
struct Holder {
    owner: String,
    process: u32,
    host: String,
    since: jiff::Timestamp,
}

impl Holder {
    fn this() -> Self {
        let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        Self {
            owner: std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).unwrap_or_default(),
            process: std::process::id(),
            host: host.trim().to_owned(),
            since: jiff::Timestamp::now(),
        }
    }

    fn told(note: &str) -> String {
        let Ok(Self { owner, process, host, since }) = serde_json::from_str(note) else {
            return "it does not say which".to_owned();
        };
        let owner = if owner.is_empty() { "someone".to_owned() } else { owner };
        let host = if host.is_empty() { "this host".to_owned() } else { host };
        let age = jiff::Timestamp::now().duration_since(since).unsigned_abs();
        format!("process {process} of {owner} on {host}, for {}", seconds(age))
    }
}

fn path_of(state_dir: &Path, stack: &str) -> PathBuf {
    state_dir.join(format!("{stack}.json"))
}

/// Where the private key of the stack's key pair is kept.
pub fn private_key_path(state_dir: &Path, stack: &str) -> PathBuf {
    state_dir.join(format!("{stack}.pem"))
}

/// Where the host keys of the stack's VMs are kept.
pub fn known_hosts_path(state_dir: &Path, stack: &str) -> PathBuf {
    state_dir.join(format!("{stack}.known_hosts"))
}

/// Reads the state, if there is one.
pub fn load(state_dir: &Path, stack: &str) -> Result<Option<State>, Failure> {
    let path = path_of(state_dir, stack);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Failure::new(format!("reading {}", path.display()), error)),
    };
    serde_json::from_str(&text).map(Some).map_err(|error| {
        Failure::new(format!("reading {}", path.display()), error)
            .hint("remove the file: what the stack has is found again by its tags")
    })
}

impl StateFile {
    /// Puts a state under the lock and writes it, before the first call to the cloud.
    pub fn open(state_dir: &Path, state: State, lock: Lock) -> Result<Self, Failure> {
        let file = Self { path: path_of(state_dir, &state.stack), state, _lock: lock };
        file.save()?;
        Ok(file)
    }

    /// Writes the state; a reader sees the old or the new, never a half.
    pub fn save(&self) -> Result<(), Failure> {
        let doing = || format!("writing {}", self.path.display());
        let directory = self.path.parent().unwrap_or(Path::new("."));
        let text = serde_json::to_string_pretty(&self.state).map_err(|e| Failure::new(doing(), e))?;
        let mut file = tempfile::NamedTempFile::new_in(directory).map_err(|e| Failure::new(doing(), e))?;
        file.write_all(text.as_bytes()).and_then(|()| file.write_all(b"\n")).map_err(|e| Failure::new(doing(), e))?;
        file.as_file().sync_all().map_err(|e| Failure::new(doing(), e))?;
        file.persist(&self.path).map_err(|e| Failure::new(doing(), e))?;
        Ok(())
    }

    /// Writes down that a create begins and returns its token.
    pub fn begin(&mut self, key: &ResourceKey, digest: &str) -> Result<ClientToken, Failure> {
        let intent = self.state.intents.entry(key.to_string()).or_insert(Intent { generation: 0, finished: false });
        if intent.finished {
            intent.generation += 1;
            intent.finished = false;
        }
        let generation = intent.generation;
        self.save()?;
        Ok(self.state.token(key, digest, generation))
    }

    /// Writes down that the cloud answered yes, or that the token is spent.
    pub fn finish(&mut self, key: &ResourceKey) -> Result<(), Failure> {
        if let Some(intent) = self.state.intents.get_mut(key.as_str()) {
            intent.finished = true;
        }
        self.save()
    }
}

/// Removes what is kept about a stack, once nothing of it is left.
pub fn forget(state_dir: &Path, stack: &str) -> Result<(), Failure> {
    let lock = state_dir.join(format!("{stack}.lock"));
    let kept = [path_of(state_dir, stack), private_key_path(state_dir, stack), known_hosts_path(state_dir, stack)];
    for path in kept.into_iter().chain([lock]) {
        match fs::remove_file(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(Failure::new(format!("removing {}", path.display()), error)),
        }
    }
    fs::remove_dir(state_dir).ok(); // stays where another stack lives in it
    Ok(())
}

/// Random text of an alphabet.
pub fn random_text(length: usize, alphabet: &[u8]) -> String {
    let mut rng = rand::rng();
    (0..length).map(|_| char::from(alphabet[rng.random_range(0..alphabet.len())])).collect()
}

/// The SHA-256 of some bytes in hexadecimal.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Bytes in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(directory: &Path) -> StateFile {
        let lock = lock(directory, "demo").unwrap();
        let state = load(directory, "demo").unwrap().unwrap_or_else(|| State::new("demo", "abc", "local"));
        StateFile::open(directory, state, lock).unwrap()
    }

    #[test]
    fn a_create_sent_again_has_the_same_token_and_a_replacement_has_another() {
        let directory = tempfile::tempdir().unwrap();
        let key = ResourceKey::new("instance", "database");
        let first = open(directory.path()).begin(&key, "digest").unwrap();
        let mut file = open(directory.path());
        assert_eq!(file.begin(&key, "digest").unwrap(), first, "after a crash");
        assert_ne!(file.begin(&key, "other").unwrap(), first, "other parameters");
        file.finish(&key).unwrap();
        drop(file);
        let replacement = open(directory.path()).begin(&key, "digest").unwrap();
        assert_ne!(replacement, first);
        assert!(first.0.len() <= 64);
    }

    #[test]
    fn what_a_cloud_can_do_is_remembered_for_a_day_and_only_as_this_version_knows_it() {
        let mut state = State::new("demo", "abc", "local");
        assert_eq!(state.capabilities(), None);
        let capabilities = Capabilities { launch_templates: true, ..Capabilities::default() };
        state.remember(capabilities);
        let text = serde_json::to_string(&state).unwrap();
        let mut state: State = serde_json::from_str(&text).unwrap();
        assert_eq!(state.capabilities(), Some(capabilities));
        let (at, json) = state.capabilities.take().unwrap();
        let yesterday = at - jiff::SignedDuration::from_hours(24);
        state.capabilities = Some((yesterday, json));
        assert_eq!(state.capabilities(), None);
        state.capabilities = Some((at, serde_json::json!({ "launch_templates": true })));
        assert_eq!(state.capabilities(), None);
    }

    #[test]
    fn a_second_run_is_told_who_holds_the_lock() {
        let directory = tempfile::tempdir().unwrap();
        let file = open(directory.path());
        let failure = lock(directory.path(), "demo").err().unwrap().to_string();
        assert!(failure.contains(&format!("process {} of ", std::process::id())), "{failure}");
        assert!(failure.contains(", for 0."), "{failure}");
        drop(file);
        forget(directory.path(), "demo").unwrap();
        assert!(!directory.path().exists());
    }
}
