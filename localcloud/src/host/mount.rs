//! Mounts: what is mounted where, overlays, and unmounting everything below a directory.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rustix::mount::{MountFlags, UnmountFlags};

use super::{HostError, Result};

/// One line of `/proc/PID/mountinfo`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// `MAJOR:MINOR` of the file system.
    pub device: String,
    pub target: PathBuf,
    pub file_system: String,
    pub source: String,
    /// Of the file system, not of the mount: a cgroup hierarchy's controllers, for instance.
    pub options: String,
}

/// All mounts that the process sees (`self`, or a pid).
#[must_use]
pub fn list(process: &str) -> Vec<Mount> {
    let text = fs::read_to_string(format!("/proc/{process}/mountinfo")).unwrap_or_default();
    text.lines().filter_map(parse).collect()
}

fn parse(line: &str) -> Option<Mount> {
    // ID PARENT MAJOR:MINOR ROOT TARGET OPTIONS [FIELDS…] - TYPE SOURCE SUPER_OPTIONS
    let (mount, file_system) = line.split_once(" - ")?;
    let mut mount = mount.split(' ').skip(2);
    let device = mount.next()?.to_owned();
    let target = PathBuf::from(unescape(mount.nth(1)?));
    let mut fields = file_system.split(' ');
    Some(Mount {
        device,
        target,
        file_system: fields.next()?.to_owned(),
        source: unescape(fields.next()?),
        options: fields.next().unwrap_or_default().to_owned(),
    })
}

/// Blanks and backslashes stand in mountinfo as `\040` and the like.
fn unescape(field: &str) -> String {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let octal = (first == b'\\').then(|| tail.get(..3)).flatten();
        let octal = octal.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        if let Some(byte) = octal {
            bytes.push(byte);
            rest = &tail[3..];
        } else {
            bytes.push(first);
            rest = tail;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A writable view of `lower` at `target`; what is written lands in `upper`. `work` is the file system's own.
///
/// Mounted `volatile`: a guest's fsync does not wait for the disk on its root file system. Volumes are not on it.
/// After a crash of the whole machine the kernel would refuse such an overlay; [`forget_crash`] lets it in again.
pub fn overlay(lower: &Path, upper: &Path, work: &Path, target: &Path) -> Result<()> {
    let doing = || format!("mounting an overlay of {} at {}", lower.display(), target.display());
    for directory in [upper, work, target] {
        fs::create_dir_all(directory).map_err(|error| HostError::new(doing(), error))?;
    }
    if !lower.is_dir() {
        return Err(HostError::new(doing(), "the tree is not there").hint("localcloud image build"));
    }
    forget_crash(work);
    let mut last = None;
    for extra in [",volatile", ""] {
        let options = format!("lowerdir={},upperdir={},workdir={}{extra}", escape(lower), escape(upper), escape(work));
        let options = std::ffi::CString::new(options).map_err(|error| HostError::new(doing(), error))?;
        match rustix::mount::mount("overlay", target, "overlay", MountFlags::empty(), Some(options.as_c_str())) {
            Ok(()) => return Ok(()),
            Err(error) => last = Some(error),
        }
    }
    let error = HostError::new(doing(), last.map(|error| error.to_string()).unwrap_or_default());
    Err(error.hint("the state directory must lie on a file system that can carry an overlay, such as ext4 or xfs"))
}

/// Removes the mark by which the kernel tells that a volatile overlay was not unmounted in order.
fn forget_crash(work: &Path) {
    let _ = fs::remove_dir_all(work.join("work").join("incompat"));
}

/// Colons and commas divide the options of an overlay.
fn escape(path: &Path) -> String {
    path.display().to_string().replace('\\', "\\\\").replace(':', "\\:").replace(',', "\\,")
}

/// Writes to disk what the file system at this path still holds in memory.
pub fn sync(path: &Path) {
    if let Ok(file) = fs::File::open(path) {
        let _ = rustix::fs::syncfs(file);
    }
}

/// Unmounts everything at or below the directory, the deepest first. What is busy is detached all the same: it goes
/// when its last user does.
pub fn unmount_below(directory: &Path) -> Result<()> {
    // The kernel tells targets as they are, not as they were called.
    let Ok(directory) = fs::canonicalize(directory) else { return Ok(()) };
    // A stale mount may lie under another one at the same place, so look again until nothing is left.
    for _ in 0..16 {
        let mut targets: Vec<PathBuf> = list("self")
            .into_iter()
            .map(|mount| mount.target)
            .filter(|target| target.starts_with(&directory))
            .collect();
        if targets.is_empty() {
            return Ok(());
        }
        targets.sort_by_key(|target| std::cmp::Reverse(target.components().count()));
        for target in targets {
            if rustix::mount::unmount(&target, UnmountFlags::NOFOLLOW).is_err() {
                let _ = rustix::mount::unmount(&target, UnmountFlags::NOFOLLOW | UnmountFlags::DETACH);
            }
        }
    }
    Err(HostError::new(format!("unmounting what is below {}", directory.display()), "it is still mounted"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_mountinfo_is_read_with_its_escapes() {
        let line = r"628 432 7:0 / /mnt/two\040words rw,relatime shared:201 - ext4 /dev/vdf rw,discard";
        let expected = Mount {
            device: "7:0".to_owned(),
            target: PathBuf::from("/mnt/two words"),
            file_system: "ext4".to_owned(),
            source: "/dev/vdf".to_owned(),
            options: "rw,discard".to_owned(),
        };
        assert_eq!(parse(line), Some(expected));
    }

    #[test]
    fn a_directory_without_mounts_is_unmounted_already() {
        let directory = tempfile::tempdir().unwrap();
        unmount_below(directory.path()).unwrap();
    }
}
