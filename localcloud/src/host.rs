//! What Linux offers, one file per system command or concept. Nothing here knows of instances, volumes or records;
//! whatever fails says in one sentence what was tried and why it did not work.

/// Control groups: limits, and the one dependable list of what runs. Version 1, hybrid and 2.
pub mod cgroup;
/// Running a command to its end.
pub mod command;
/// Small files, replaced in one step.
pub mod file;
/// Inotify instances, of which a user has a limited number.
pub mod inotify;
/// Files as block devices.
pub mod loop_device;
/// Mounts, and what is mounted where.
pub mod mount;
/// Network namespaces.
pub mod netns;
/// Processes that outlive the daemon, found again by pid and start time.
pub mod process;

/// What was tried and why it failed, in one sentence, and what the user can do about it.
#[derive(Debug, thiserror::Error)]
#[error("{message}{}", hint.as_deref().map(|hint| format!(" (hint: {hint})")).unwrap_or_default())]
pub struct HostError {
    pub message: String,
    pub hint: Option<String>,
}

impl HostError {
    pub fn new(doing: impl std::fmt::Display, cause: impl std::fmt::Display) -> Self {
        Self { message: format!("{doing}: {cause}"), hint: None }
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

pub type Result<T> = std::result::Result<T, HostError>;
