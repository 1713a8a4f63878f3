//! Inotify instances. The kernel gives a user only so many, and all guests that run as root share root's: a systemd that
//! gets none gives up before it has begun.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

use rustix::fs::inotify;

use super::{HostError, Result};

/// What a booting guest takes of root's at first: systemd itself, its journal, its login and network daemons.
pub const OF_A_GUEST: usize = 6;

/// Whether so many are left, tried by taking them for a moment.
///
/// # Errors
/// A sentence with the limit, what is in use of it, and what to do, where they are not.
pub fn ensure(count: usize) -> Result<()> {
    let taken: std::result::Result<Vec<_>, _> =
        (0..count).map(|_| inotify::init(inotify::CreateFlags::CLOEXEC)).collect();
    match taken {
        Ok(_) => Ok(()),
        Err(rustix::io::Errno::MFILE) => Err(shortage(Path::new("/proc"), count)),
        Err(error) => Err(HostError::new("making an inotify instance", error)),
    }
}

/// The same error, blaming the want of inotify instances where there are none left.
#[must_use]
pub fn blamed(error: HostError) -> HostError {
    match ensure(1) {
        Err(shortage) => {
            let message = format!("{}; {}", error.message, shortage.message);
            HostError { message, hint: shortage.hint }
        }
        Ok(()) => error,
    }
}

/// Why so many could not be had, by what `/proc` says.
#[must_use]
pub fn shortage(proc: &Path, wanted: usize) -> HostError {
    let limit = fs::read_to_string(proc.join("sys/fs/inotify/max_user_instances"));
    let limit = limit.ok().and_then(|text| text.trim().parse::<usize>().ok());
    let of = limit.map(|limit| format!(" of the {limit} that a user may have")).unwrap_or_default();
    let message = format!("{wanted} inotify instances are needed, and root's programs have {}{of}", in_use(proc));
    let more = limit.map_or(1024, |limit| (limit * 2).max(1024));
    HostError { message, hint: Some(format!("sysctl -w fs.inotify.max_user_instances={more}")) }
}

/// What the console of a guest says, if its systemd gave up for want of one
/// (<https://kind.sigs.k8s.io/docs/user/known-issues/#pod-errors-due-to-too-many-open-files>).
#[must_use]
pub fn complaint(console: &str) -> Option<&str> {
    let is_of_systemd =
        |line: &&str| line.contains("Failed to") && (line.contains("manager object") || line.contains("inotify"));
    console.lines().map(str::trim).filter(is_of_systemd).rfind(|line| line.ends_with("Too many open files"))
}

/// How many root's programs hold. One that several have inherited is counted for each.
fn in_use(proc: &Path) -> usize {
    let entries = fs::read_dir(proc).into_iter().flatten().flatten();
    let processes =
        entries.filter(|entry| entry.file_name().to_string_lossy().bytes().all(|byte| byte.is_ascii_digit()));
    let of_root = processes.filter(|process| process.metadata().is_ok_and(|metadata| metadata.uid() == 0));
    let files = of_root.flat_map(|process| fs::read_dir(process.path().join("fd")).into_iter().flatten().flatten());
    files.filter(|file| fs::read_link(file.path()).is_ok_and(|to| to.as_os_str() == "anon_inode:inotify")).count()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_shortage_is_told_with_the_limit_what_is_in_use_and_what_to_do() {
        let proc = tempfile::tempdir().expect("a directory");
        let write = |path: &str, text: &str| {
            let path = proc.path().join(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
            fs::write(path, text).expect("writes");
        };
        write("sys/fs/inotify/max_user_instances", "128\n");
        for (process, file, target) in
            [("7", "3", "anon_inode:inotify"), ("7", "4", "/dev/null"), ("8", "3", "anon_inode:inotify")]
        {
            fs::create_dir_all(proc.path().join(process).join("fd")).expect("a directory");
            symlink(target, proc.path().join(process).join("fd").join(file)).expect("a link");
        }
        let error = shortage(proc.path(), 6);
        let in_use = if rustix::process::geteuid().is_root() { 2 } else { 0 };
        assert_eq!(
            error.to_string(),
            format!(
                "6 inotify instances are needed, and root's programs have {in_use} of the 128 that a user may have \
                 (hint: sysctl -w fs.inotify.max_user_instances=1024)"
            )
        );
    }

    #[test]
    fn a_systemd_that_got_none_is_known_by_its_words() {
        let console = "systemd 252 running in system mode\r\n\
                       Failed to create control group inotify object: Too many open files\r\n\
                       Failed to allocate manager object: Too many open files\r\n[!!!!!!] Failed to allocate manager object.\r\nExiting PID 1...\r\n";
        assert_eq!(complaint(console), Some("Failed to allocate manager object: Too many open files"));
        assert_eq!(complaint("app: Failed to open /x: Too many open files\n[  OK  ] Reached target\n"), None);
    }

    #[test]
    fn what_was_taken_to_try_is_given_back() {
        for _ in 0..300 {
            ensure(1).expect("one is left");
        }
    }
}
