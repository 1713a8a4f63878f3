//! The local state file: only what no cloud can tell. The stack's random id, the seed of the client
//! tokens, the intent written before each create, and the chosen scale bounds. Losing it loses nothing
//! that `up` or `teardown` cannot find again by tags.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rand::RngExt;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::cloud::capabilities::Capabilities;
use crate::error::Failure;
use crate::files;
use crate::lock::{self, Lock};
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

/// Where the state is kept.
pub fn path(state_dir: &Path, stack: &str) -> PathBuf {
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
    let path = path(state_dir, stack);
    let hint = "remove it: what the stack has is found again by its tags";
    let text = match files::text(&path) {
        Ok(text) => text,
        Err(why) if why.is_missing => return Ok(None),
        Err(why) => return Err(Failure::new(format!("reading {}", path.display()), why).hint(hint)),
    };
    serde_json::from_str(&text).map(Some).map_err(|error| {
        Failure::new(format!("reading {}", path.display()), format!("it is not what this program wrote: {error}"))
            .hint(hint)
    })
}

impl StateFile {
    /// Puts a state under the lock and writes it, before the first call to the cloud.
    pub fn open(state_dir: &Path, state: State, lock: Lock) -> Result<Self, Failure> {
        let file = Self { path: path(state_dir, &state.stack), state, _lock: lock };
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
    let lock = lock::path(state_dir, stack);
    let kept = [path(state_dir, stack), private_key_path(state_dir, stack), known_hosts_path(state_dir, stack)];
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

    async fn open(directory: &Path) -> StateFile {
        let lock::Attempt::Taken(lock) = lock::attempt(directory, "demo").await.unwrap() else { panic!("held") };
        let state = load(directory, "demo").unwrap().unwrap_or_else(|| State::new("demo", "abc", "local"));
        StateFile::open(directory, state, lock).unwrap()
    }

    #[tokio::test]
    async fn a_create_sent_again_has_the_same_token_and_a_replacement_has_another() {
        let directory = tempfile::tempdir().unwrap();
        let key = ResourceKey::new("instance", "database");
        let first = open(directory.path()).await.begin(&key, "digest").unwrap();
        let mut file = open(directory.path()).await;
        assert_eq!(file.begin(&key, "digest").unwrap(), first, "after a crash");
        assert_ne!(file.begin(&key, "other").unwrap(), first, "other parameters");
        file.finish(&key).unwrap();
        drop(file);
        let replacement = open(directory.path()).await.begin(&key, "digest").unwrap();
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

    #[tokio::test]
    async fn nothing_of_a_forgotten_stack_is_left_on_this_machine() {
        let directory = tempfile::tempdir().unwrap();
        drop(open(directory.path()).await);
        forget(directory.path(), "demo").unwrap();
        assert!(!directory.path().exists());
    }
}
