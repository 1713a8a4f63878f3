//! Files as block devices (`losetup`). Which device shows which file is read from `/sys`, so that a device is found
//! again whoever opened it.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::fs::{FileType, Mode};

use super::{HostError, Result, command::Command};

const POLL: Duration = Duration::from_millis(20);
const LOOP_MAJOR: u32 = 7;
const BLOCK: &str = "/sys/block";
/// Whatever the size of a device's own sectors.
const SECTOR_BYTES: u64 = 512;

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
    let shown = shown().into_iter().filter(|(_, backing)| *backing == file);
    shown
        .map(|(name, _)| {
            let autoclear = fs::read_to_string(Path::new(BLOCK).join(&name).join("loop/autoclear"));
            let closing = autoclear.is_ok_and(|value| value.trim() == "1");
            LoopDevice { path: Path::new("/dev").join(name), closing }
        })
        .collect()
}

/// Every loop device that shows a file, by its name, and the file.
fn shown() -> Vec<(String, PathBuf)> {
    let Ok(entries) = fs::read_dir(BLOCK) else { return Vec::new() };
    let mut found = Vec::new();
    for entry in entries.flatten() {
        let Ok(name) = entry.file_name().into_string() else { continue };
        if !name.starts_with("loop") {
            continue;
        }
        if let Ok(backing) = fs::read_to_string(entry.path().join("loop/backing_file")) {
            found.push((name, PathBuf::from(backing.trim_end_matches('\n'))));
        }
    }
    found
}

/// What was done with a device since it shows its file
/// (<https://docs.kernel.org/block/stat.html>).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Statistics {
    pub reads: u64,
    pub read_bytes: u64,
    pub read_millis: u64,
    pub writes: u64,
    pub written_bytes: u64,
    pub write_millis: u64,
    /// Time in which anything was under way.
    pub busy_millis: u64,
    /// Time, multiplied by the number of operations under way.
    pub queued_millis: u64,
}

impl Statistics {
    fn parse(text: &str) -> Option<Self> {
        let fields: Vec<u64> = text.split_ascii_whitespace().map_while(|field| field.parse().ok()).collect();
        let [reads, _, read_sectors, read_millis, writes, _, written_sectors, write_millis, _, busy, queued, ..] =
            fields[..]
        else {
            return None;
        };
        Some(Self {
            reads,
            read_bytes: read_sectors * SECTOR_BYTES,
            read_millis,
            writes,
            written_bytes: written_sectors * SECTOR_BYTES,
            write_millis,
            busy_millis: busy,
            queued_millis: queued,
        })
    }
}

/// What was done so far with the devices that show files of this directory, by file name.
#[must_use]
pub fn statistics(directory: &Path) -> BTreeMap<String, Statistics> {
    let Ok(directory) = fs::canonicalize(directory) else { return BTreeMap::new() };
    let mut found = BTreeMap::new();
    for (name, file) in shown() {
        if file.parent() != Some(directory.as_path()) {
            continue;
        }
        let statistics = fs::read_to_string(Path::new(BLOCK).join(name).join("stat"));
        let statistics = statistics.ok().and_then(|text| Statistics::parse(&text));
        if let (Some(statistics), Some(file)) = (statistics, file.file_name().and_then(|name| name.to_str())) {
            found.insert(file.to_owned(), statistics);
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
    let mut none_is_free = false;
    for _ in 0..5 {
        let attach = Command::new("losetup").args(["--find", "--show", "--nooverlap"]).arg(file).run().await;
        match attach {
            Ok(path) => return Ok(PathBuf::from(path.trim())),
            Err(error) => last = Some(error),
        }
        match Command::new("losetup").arg("--find").run().await {
            // Where /dev is not kept by the kernel, a new device comes without its node.
            Ok(free) => ensure_node(Path::new(free.trim()))?,
            Err(error) => {
                none_is_free = true;
                last = Some(error);
                break;
            }
        }
    }
    let mut cause = last.map(|error| error.message).unwrap_or_default();
    if none_is_free {
        cause = format!("no loop device is free, {} show files already ({cause})", shown().len());
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_line_is_read_with_and_without_its_newer_fields() {
        let text = "  10 1 80 5 20 2 160 7 1 11 13 0 0 0 0 0 0\n";
        let expected = Statistics {
            reads: 10,
            read_bytes: 40960,
            read_millis: 5,
            writes: 20,
            written_bytes: 81920,
            write_millis: 7,
            busy_millis: 11,
            queued_millis: 13,
        };
        assert_eq!(Statistics::parse(text), Some(expected));
        assert_eq!(Statistics::parse("10 1 80 5 20 2 160 7 1 11 13\n"), Some(expected));
        assert_eq!(Statistics::parse("10 1 80\n"), None);
    }
}
