//! Files as block devices (`losetup`). Which device shows which file is read from `/sys`, so that a device is found
//! again whoever opened it.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::fs::{FileType, Mode};

use super::{HostError, Result, command::Command};

const POLL: Duration = Duration::from_millis(20);
const LOOP_MAJOR: u32 = 7;

/// A loop device that shows a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoopDevice {
    pub path: PathBuf,
    /// The kernel takes it back when its last user is gone: somebody has closed it already.
    pub closing: bool,
}

/// The devices that show the file: none or one, as far as it is up to us.
#[must_use]
pub fn find(file: &Path) -> Vec<LoopDevice> {
    let Ok(file) = fs::canonicalize(file) else { return Vec::new() };
    let Ok(entries) = fs::read_dir("/sys/block") else { return Vec::new() };
    let mut found = Vec::new();
    for entry in entries.flatten() {
        let Ok(name) = entry.file_name().into_string() else { continue };
        if !name.starts_with("loop") {
            continue;
        }
        let attribute = |attribute: &str| fs::read_to_string(entry.path().join("loop").join(attribute)).ok();
        let Some(backing) = attribute("backing_file") else { continue };
        if Path::new(backing.trim_end_matches('\n')) == file {
            let closing = attribute("autoclear").is_some_and(|value| value.trim() == "1");
            found.push(LoopDevice { path: Path::new("/dev").join(name), closing });
        }
    }
    found
}

/// Shows the file as a block device: the one that shows it already, or a free one.
///
/// Buffered, not direct: a flush that the guest sends becomes an fsync of the file, so what a guest has synced is on
/// disk, and everything else may use the page cache.
pub async fn open(file: &Path) -> Result<PathBuf> {
    // What another user still holds after a close will go by itself; a second device for one file would corrupt it.
    wait_until(file, Duration::from_secs(5), |devices| devices.iter().all(|device| !device.closing)).await?;
    if let Some(device) = find(file).into_iter().next() {
        ensure_node(&device.path)?;
        return Ok(device.path);
    }
    let mut last = None;
    for _ in 0..5 {
        let attach = Command::new("losetup").args(["--find", "--show", "--nooverlap"]).arg(file).run().await;
        match attach {
            Ok(path) => return Ok(PathBuf::from(path.trim())),
            Err(error) => last = Some(error),
        }
        // Where /dev is not kept by the kernel, a new device comes without its node.
        if let Ok(free) = Command::new("losetup").arg("--find").run().await {
            ensure_node(Path::new(free.trim()))?;
        }
    }
    let cause = last.map(|error| error.message).unwrap_or_default();
    Err(HostError::new(format!("showing {} as a block device", file.display()), cause).hint(
        "`losetup --list` shows what holds the loop devices; `modprobe loop` where the kernel has none; \
         a container needs access to /dev/loop-control and block devices 7:*",
    ))
}

/// Takes the file's device back. Success when it has none.
pub async fn close(file: &Path, limit: Duration) -> Result<()> {
    for device in find(file) {
        if !device.closing {
            // A device in use is only marked, and goes with its last user.
            let _ = Command::new("losetup").arg("--detach").arg(&device.path).run().await;
        }
    }
    wait_until(file, limit, <[LoopDevice]>::is_empty).await
}

/// Tells the file's device, if it has one, that the file is larger now.
pub async fn resize(file: &Path) -> Result<()> {
    for device in find(file).into_iter().filter(|device| !device.closing) {
        Command::new("losetup").arg("--set-capacity").arg(&device.path).run().await?;
    }
    Ok(())
}

/// Writes to the file what its device still holds in memory.
pub fn flush(file: &Path) -> Result<()> {
    for device in find(file) {
        let flushed = fs::File::open(&device.path).and_then(|device| device.sync_all());
        flushed.map_err(|error| HostError::new(format!("flushing {}", device.path.display()), error))?;
    }
    Ok(())
}

async fn wait_until(file: &Path, limit: Duration, reached: impl Fn(&[LoopDevice]) -> bool) -> Result<()> {
    let deadline = Instant::now() + limit;
    loop {
        let devices = find(file);
        if reached(&devices) {
            return Ok(());
        }
        if Instant::now() >= deadline {
            let paths: Vec<String> = devices.iter().map(|device| device.path.display().to_string()).collect();
            return Err(HostError::new(format!("giving back {}", paths.join(", ")), "it is still in use")
                .hint("something still has a file system of it mounted, or the device open"));
        }
        tokio::time::sleep(POLL).await;
    }
}

fn ensure_node(path: &Path) -> Result<()> {
    if path.exists() {
        return Ok(());
    }
    let doing = || format!("making the device node {}", path.display());
    let number = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_prefix("loop"));
    let number: u32 = number
        .and_then(|number| number.parse().ok())
        .ok_or_else(|| HostError::new(doing(), "it is not the name of a loop device"))?;
    let device = rustix::fs::makedev(LOOP_MAJOR, number);
    match rustix::fs::mknodat(rustix::fs::CWD, path, FileType::BlockDevice, Mode::from_raw_mode(0o660), device) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(()),
        Err(error) => Err(HostError::new(doing(), error)),
    }
}
