//! Processes that outlive the daemon. Each is started in a session of its own and noted in a pid file together with
//! its start time, so that a later daemon finds it again and a recycled pid is never mistaken for it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal};

use super::{HostError, Result, command::Command, file};

const POLL: Duration = Duration::from_millis(10);

/// One process for ever: no later process has the same pid and start time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessId {
    pub pid: i32,
    /// In clock ticks since the kernel started: field 22 of `/proc/PID/stat`.
    pub start_time: u64,
}

impl ProcessId {
    /// The process that has this pid now. `None` where there is none, or only its unreaped remains.
    #[must_use]
    pub fn of(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The second field is the name in parentheses and may itself hold spaces and parentheses.
        let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
        let state = fields.next()?;
        if matches!(state, "Z" | "X" | "x") {
            return None;
        }
        Some(Self { pid, start_time: fields.nth(18)?.parse().ok()? })
    }

    #[must_use]
    pub fn is_alive(self) -> bool {
        Self::of(self.pid) == Some(self)
    }

    /// Sends the signal. A process that is gone is no error: whoever signals wants to know only what is left.
    pub fn signal(self, signal: Signal) {
        if self.is_alive()
            && let Some(pid) = Pid::from_raw(self.pid)
        {
            let _ = rustix::process::kill_process(pid, signal);
        }
    }

    /// Whether it ended within the limit.
    pub async fn wait(self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        while self.is_alive() {
            if Instant::now() >= deadline {
                return false;
            }
            tokio::time::sleep(POLL).await;
        }
        true
    }

    /// Asks it to end (SIGTERM), and after the limit ends it (SIGKILL).
    pub async fn stop(self, limit: Duration) {
        self.signal(Signal::TERM);
        if !self.wait(limit).await {
            self.signal(Signal::KILL);
            self.wait(Duration::from_secs(5)).await;
        }
    }
}

/// The file that names a detached process.
#[derive(Debug, Clone)]
pub struct PidFile(PathBuf);

impl PidFile {
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// The process that it names, if that is still alive.
    #[must_use]
    pub fn process(&self) -> Option<ProcessId> {
        let text = fs::read_to_string(&self.0).ok()?;
        let (pid, start_time) = text.trim().split_once(' ')?;
        let noted = ProcessId { pid: pid.parse().ok()?, start_time: start_time.parse().ok()? };
        noted.is_alive().then_some(noted)
    }

    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.process().is_some()
    }

    /// Stops the process, if there is one, and removes the file.
    pub async fn stop(&self, limit: Duration) {
        if let Some(process) = self.process() {
            process.stop(limit).await;
        }
        let _ = fs::remove_file(&self.0);
    }

    fn write(&self, process: ProcessId) -> std::io::Result<()> {
        file::replace(&self.0, &format!("{} {}\n", process.pid, process.start_time))
    }
}

/// Starts a process that stays when we go, in a session of its own. Its output is appended to `log`; `pid_file` names it from now on.
pub async fn spawn(command: Command, log: &Path, pid_file: &Path) -> Result<ProcessId> {
    spawn_with_output(command, log, log, pid_file).await
}

/// As [`spawn`], with a file of its own for the standard output.
pub async fn spawn_with_output(command: Command, output: &Path, log: &Path, pid_file: &Path) -> Result<ProcessId> {
    let said = format!("starting {command}");
    let failed = |error: std::io::Error| HostError::new(&said, error);
    let open = |path: &Path| {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::File::options().create(true).append(true).open(path)
    };
    let (output, log) = (open(output).map_err(failed)?, open(log).map_err(failed)?);
    // `setsid` becomes the command itself, so the pid is the command's own.
    let mut prepared = command.wrapped_by("setsid")?.prepare()?;
    prepared.stdin(Stdio::null()).stdout(output).stderr(log);
    // Dropping tokio's child does not kill the process; the runtime reaps it should it end before us.
    let child = prepared.spawn().map_err(failed)?;
    let started = child
        .id()
        .and_then(|pid| ProcessId::of(pid.cast_signed()))
        .ok_or_else(|| HostError::new(&said, "it ended at once"))?;
    PidFile::new(pid_file.to_owned()).write(started).map_err(failed)?;
    Ok(started)
}

/// Where the program lies. The directories of administration are looked into even when `PATH` lacks them.
#[must_use]
pub fn find_program(program: &str) -> Option<PathBuf> {
    if program.contains('/') {
        return Some(PathBuf::from(program)).filter(|path| path.exists());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/usr/bin", "/sbin", "/bin"].map(PathBuf::from))
        .map(|directory| directory.join(program))
        .find(|candidate| is_executable(candidate))
}

fn is_executable(path: &Path) -> bool {
    rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok() && path.is_file()
}

/// The last lines of a log file, for an error message.
#[must_use]
pub fn tail(log: &Path, lines: usize) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_detached_process_is_found_by_its_pid_file_and_stops() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("sleep.pid");
        let started = spawn(Command::new("sleep").arg("600"), &directory.path().join("log"), &path).await.unwrap();
        let pid_file = PidFile::new(path.clone());
        assert_eq!(pid_file.process(), Some(started));
        pid_file.stop(Duration::from_secs(5)).await;
        assert!(!started.is_alive());
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_recycled_pid_is_not_mistaken() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("other.pid");
        let me = ProcessId::of(std::process::id().cast_signed()).unwrap();
        fs::write(&path, format!("{} {}\n", me.pid, me.start_time + 1)).unwrap();
        assert_eq!(PidFile::new(path).process(), None);
    }
}
