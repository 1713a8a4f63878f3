//! A test's own directory, and the processes that live in it. A lock on it is held as long as the test's process lives, so a
//! later run can tell what a killed predecessor left behind, and end it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

const PREFIX: &str = "imagecrud-app-test-";
/// Children carry their room in their environment, so that a process id that was given away again is never hit.
pub(crate) const MARK: &str = "IMAGECRUD_TEST_ROOM";

#[derive(Clone)]
pub(crate) struct Room {
    inner: Arc<Inner>,
}

struct Inner {
    dir: PathBuf,
    _lock: File,
}

impl Room {
    pub(crate) fn new() -> Self {
        clear_what_dead_tests_left();
        let dir = tempfile::Builder::new().prefix(PREFIX).tempdir().unwrap().keep();
        fs::create_dir(dir.join("processes")).unwrap();
        // Locked before it gets its name, so that nobody finds it unlocked.
        let lock = File::create(dir.join("lock.new")).unwrap();
        lock.lock().unwrap();
        fs::rename(dir.join("lock.new"), dir.join("lock")).unwrap();
        Self { inner: Arc::new(Inner { dir, _lock: lock }) }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.inner.dir.join(name)
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.inner.dir
    }

    pub(crate) fn remember(&self, process: u32) {
        fs::write(self.path("processes").join(process.to_string()), "").unwrap();
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn clear_what_dead_tests_left() {
    for entry in fs::read_dir(std::env::temp_dir()).unwrap().flatten() {
        let dir = entry.path();
        if !entry.file_name().to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        let Ok(lock) = File::open(dir.join("lock")) else { continue };
        if lock.try_lock().is_err() {
            continue;
        }
        for process in fs::read_dir(dir.join("processes")).into_iter().flatten().flatten() {
            let process = process.file_name().to_string_lossy().into_owned();
            let mark = format!("{MARK}={}", dir.display());
            let environment = fs::read(format!("/proc/{process}/environ")).unwrap_or_default();
            if environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes()) {
                signal(&process, "KILL");
            }
        }
        let _ = fs::remove_dir_all(&dir);
    }
}

pub(crate) fn signal(process: &str, name: &str) {
    let _ = Command::new("kill").args([&format!("-{name}"), process]).status();
}
