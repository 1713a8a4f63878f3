//! The lock of a stack: one run at a time changes it. The kernel keeps it, so that it goes with its process, however that
//! ends; the file only says who holds it.

use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::environment;
use crate::error::Failure;
use crate::files;
use crate::report::seconds;
use crate::state;

/// So long a new holder may take to write its name where the last one's stands.
const LOOKS: u32 = 20;
const BETWEEN_LOOKS: Duration = Duration::from_millis(10);

/// Held while a command changes the stack. A run that came to nothing leaves nothing.
pub struct Lock {
    /// Still locked while `drop` takes it away; whoever has opened it meanwhile looks whether it is still there.
    file: File,
    state_dir: PathBuf,
    stack: String,
    has_made_directory: bool,
}

impl Drop for Lock {
    fn drop(&mut self) {
        let path = path(&self.state_dir, &self.stack);
        // Nobody takes away what we hold, so that it is still ours when it goes.
        let is_ours = inode(fs::metadata(&path)) == inode(self.file.metadata());
        if !is_ours || state::path(&self.state_dir, &self.stack).symlink_metadata().is_ok() {
            return;
        }
        fs::remove_file(path).ok();
        if self.has_made_directory {
            fs::remove_dir(&self.state_dir).ok(); // where nothing else is in it
        }
    }
}

/// What came of trying.
pub enum Attempt {
    /// It is ours.
    Taken(Lock),
    /// It is somebody else's.
    Held(Held),
}

fn inode(metadata: std::io::Result<fs::Metadata>) -> Option<u64> {
    metadata.map(|metadata| metadata.ino()).ok()
}

/// Where a stack's lock is.
pub fn path(state_dir: &Path, stack: &str) -> PathBuf {
    state_dir.join(format!("{stack}.lock"))
}

/// Takes the lock of a stack, or says who holds it.
pub async fn attempt(state_dir: &Path, stack: &str) -> Result<Attempt, Failure> {
    if state_dir.exists() && !state_dir.is_dir() {
        return Err(Failure::usage(format!("the state directory {} is no directory", state_dir.display()))
            .hint("--state-dir names another"));
    }
    let has_made_directory = !state_dir.exists();
    let path = path(state_dir, stack);
    let hint = "see --state-dir: what the program keeps about a stack has to be writable";
    loop {
        fs::create_dir_all(state_dir).map_err(|error| {
            Failure::new(format!("creating {}", state_dir.display()), files::words(&error))
                .hint("see --state-dir: it has to be a directory")
        })?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let opening = |error| Failure::new(format!("opening {}", path.display()), files::words(&error)).hint(hint);
        let mut file = options.open(&path).map_err(opening)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(Attempt::Held(Held::read(&path).await)),
            Err(TryLockError::Error(error)) => {
                return Err(Failure::new(format!("locking {}", path.display()), files::words(&error))
                    .hint("choose a --state-dir on a file system that has locks"));
            }
        }
        // A teardown that ended meanwhile took the file away: this one locks nothing any more.
        if inode(fs::metadata(&path)) != inode(file.metadata()) {
            continue;
        }
        let note = serde_json::to_string(&Holder::this()).unwrap_or_default();
        file.set_len(0)
            .and_then(|()| file.write_all(note.as_bytes()))
            .map_err(|error| Failure::new(format!("writing {}", path.display()), files::words(&error)).hint(hint))?;
        let (state_dir, stack) = (state_dir.to_owned(), stack.to_owned());
        return Ok(Attempt::Taken(Lock { file, state_dir, stack, has_made_directory }));
    }
}

/// Who holds a lock, as its file says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Holder {
    owner: String,
    process: u32,
    /// When that process began, in the kernel's ticks: another one may get its number later.
    #[serde(default)]
    started: u64,
    host: String,
    since: jiff::Timestamp,
}

impl Holder {
    fn this() -> Self {
        let owner = environment::words("USER").or_else(|| environment::words("LOGNAME"));
        let number =
            || fs::metadata("/proc/self").map_or_else(|_| "someone".to_owned(), |m| format!("uid {}", m.uid()));
        let process = std::process::id();
        Self {
            owner: owner.unwrap_or_else(number),
            process,
            started: started(process).unwrap_or_default(),
            host: host(),
            since: jiff::Timestamp::now(),
        }
    }

    /// Whether it ended without taking its name away: then somebody else holds the lock by now.
    fn is_gone(&self) -> bool {
        self.host == host() && started(self.process) != Some(self.started)
    }
}

fn host() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned()
}

/// Field 22 of its `stat`; the second is its name in brackets, and may have blanks.
/// https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html
fn started(process: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

/// A lock that somebody else holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held(Option<Holder>);

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(Holder { owner, process, host, .. }) = &self.0 else {
            return write!(f, "a run that does not say which");
        };
        write!(f, "process {process} of {owner} on {}", if host.is_empty() { "this host" } else { host })
    }
}

impl Held {
    async fn read(path: &Path) -> Self {
        let mut holder = None;
        for _ in 0..LOOKS {
            holder = fs::read_to_string(path).ok().and_then(|note| serde_json::from_str::<Holder>(&note).ok());
            if holder.as_ref().is_some_and(|holder| !holder.is_gone()) {
                break;
            }
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
        Self(holder)
    }

    /// The failure to end with after so long a wait.
    pub fn failure(&self, waited: Duration) -> Failure {
        // Clocks of other hosts may be ahead of ours.
        let age = |since| Duration::try_from(jiff::Timestamp::now().duration_since(since)).unwrap_or_default();
        let age = self.0.as_ref().map_or_else(String::new, |holder| format!(", for {}", seconds(age(holder.since))));
        let failure = Failure::new("locking the stack", format!("another run works on it: {self}{age}"));
        if waited.is_zero() {
            failure.hint(
                "let this run wait for it with --lock-timeout SECS; the lock goes with its process, however that ends",
            )
        } else {
            let waited = seconds(waited);
            failure.hint(format!("it did not end within {waited}; the lock goes with its process, however that ends"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn taken(directory: &Path) -> Lock {
        match attempt(directory, "demo").await.unwrap() {
            Attempt::Taken(lock) => lock,
            Attempt::Held(held) => panic!("held by {held}"),
        }
    }

    async fn told(directory: &Path) -> String {
        match attempt(directory, "demo").await.unwrap() {
            Attempt::Taken(_) => panic!("nobody holds it"),
            Attempt::Held(held) => held.failure(Duration::ZERO).to_string(),
        }
    }

    fn note(directory: &Path, holder: &Holder) {
        fs::write(path(directory, "demo"), serde_json::to_string(holder).unwrap()).unwrap();
    }

    #[tokio::test]
    async fn a_second_run_is_told_the_owner_the_process_the_host_and_the_age() {
        let directory = tempfile::tempdir().unwrap();
        let lock = taken(directory.path()).await;
        let said = told(directory.path()).await;
        let Holder { owner, process, host, .. } = Holder::this();
        assert!(said.contains(&format!("works on it: process {process} of {owner} on {host}, for 0.")), "{said}");
        assert!(said.contains("hint: let this run wait for it with --lock-timeout"), "{said}");
        drop(lock);
        taken(directory.path()).await;
    }

    #[tokio::test]
    async fn a_holder_on_another_host_is_told_with_its_host_and_no_process_here_is_taken_for_it() {
        let directory = tempfile::tempdir().unwrap();
        let _lock = taken(directory.path()).await;
        let since = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(2);
        let other = Holder { owner: "jo".into(), process: 1, started: 7, host: "elsewhere".into(), since };
        note(directory.path(), &other);
        let said = told(directory.path()).await;
        assert!(said.contains("process 1 of jo on elsewhere, for 120m"), "{said}");
        let ahead = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(2);
        note(directory.path(), &Holder { since: ahead, ..other });
        assert!(told(directory.path()).await.contains(", for 0.0s"));
    }

    #[tokio::test]
    async fn what_a_dead_owner_left_holds_nobody_up_also_where_its_number_is_another_process_by_now() {
        let directory = tempfile::tempdir().unwrap();
        // This process is not the one that had its number then.
        let reused = Holder { started: 1, owner: "dead".into(), ..Holder::this() };
        note(directory.path(), &reused);
        assert!(reused.is_gone() && !Holder::this().is_gone());
        let lock = taken(directory.path()).await;
        // It has the lock and has not written its name yet.
        note(directory.path(), &reused);
        let reading = tokio::spawn({
            let directory = directory.path().to_owned();
            async move { told(&directory).await }
        });
        tokio::task::yield_now().await;
        note(directory.path(), &Holder::this());
        let said = reading.await.unwrap();
        assert!(said.contains(&format!("process {} of ", std::process::id())) && !said.contains("dead"), "{said}");
        drop(lock);
        fs::write(path(directory.path(), "demo"), "{ half").unwrap();
        taken(directory.path()).await;
    }
}
