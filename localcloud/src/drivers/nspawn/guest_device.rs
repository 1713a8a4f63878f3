//! Block devices in a guest's own `/dev`, which is a file system in memory that only the guest's mount namespace shows.
//! It is reached by `/proc/PID/root`, every path confined to it: a link that the guest has laid leads nowhere else.

use std::{
    collections::BTreeSet,
    fs,
    os::{
        fd::OwnedFd,
        unix::fs::{FileTypeExt as _, MetadataExt as _},
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, Dev, FileType, Mode, OFlags, ResolveFlags},
    io::Errno,
};

use crate::host::{HostError, Result, command::Command, mount};

/// Where a volume is, and is to be, seen.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct GuestDevice {
    /// `/dev/vdf`
    pub device: String,
    pub volume_id: String,
    /// The host's.
    pub block_device: PathBuf,
}

impl GuestDevice {
    /// `vdf`: a device lies in `/dev` itself.
    pub(super) fn name(&self) -> Result<&str> {
        let name = self.device.strip_prefix("/dev/").unwrap_or(&self.device);
        let is_name =
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        is_name
            .then_some(name)
            .ok_or_else(|| HostError::new("a device", format!("`{}` is not like /dev/vdf", self.device)))
    }

    /// The name by which Amazon's own images find a volume:
    /// <https://docs.aws.amazon.com/ebs/latest/userguide/identify-nvme-ebs-device.html>
    fn link(&self) -> String {
        format!("nvme-Amazon_Elastic_Block_Store_{}", self.volume_id.replace('-', ""))
    }

    fn number(&self) -> Result<Dev> {
        let doing = || format!("looking at {}", self.block_device.display());
        let metadata = fs::metadata(&self.block_device).map_err(|error| HostError::new(doing(), error))?;
        if !metadata.file_type().is_block_device() {
            return Err(HostError::new(doing(), "it is not a block device"));
        }
        Ok(metadata.rdev())
    }

    /// Makes node and link in the guest, unless they are there.
    pub(super) fn expose(&self, leader: i32) -> Result<()> {
        let name = self.name()?;
        let number = self.number()?;
        let failed = |error: Errno| HostError::new(format!("making {} in the guest", self.device), error);
        let guest = Guest::open(leader).map_err(failed)?;
        let dev = guest.directory("dev").map_err(failed)?;
        if node(&dev, name) != Some(number) {
            remove(&dev, name).map_err(failed)?;
            let mode = Mode::from_raw_mode(0o660);
            rustix::fs::mknodat(&dev, name, FileType::BlockDevice, mode, number).map_err(failed)?;
        }
        make_directory(&dev, "disk").map_err(failed)?;
        make_directory(&guest.directory("dev/disk").map_err(failed)?, "by-id").map_err(failed)?;
        let links = guest.directory("dev/disk/by-id").map_err(failed)?;
        let target = format!("../../{name}");
        match rustix::fs::symlinkat(target.as_str(), &links, self.link()) {
            Err(Errno::EXIST) => {
                remove(&links, &self.link()).map_err(failed)?;
                rustix::fs::symlinkat(target.as_str(), &links, self.link()).map_err(failed)
            }
            other => other.map_err(failed),
        }
    }

    /// Removes node and link from the guest.
    pub(super) fn withdraw(&self, leader: i32) -> Result<()> {
        let name = self.name()?;
        let failed = |error: Errno| HostError::new(format!("removing {} from the guest", self.device), error);
        let guest = Guest::open(leader).map_err(failed)?;
        let dev = guest.directory("dev").map_err(failed)?;
        remove(&dev, name).map_err(failed)?;
        match guest.directory("dev/disk/by-id") {
            Ok(links) => remove(&links, &self.link()).map_err(failed),
            Err(_) => Ok(()),
        }
    }

    /// Where the guest has it mounted: in its own namespace, or in that of one of its services.
    pub(super) fn mounted_at(&self, processes: &[i32]) -> Vec<PathBuf> {
        let mounts = self.mounts(processes).into_iter();
        mounts.map(|(_, mount)| mount.target).collect::<BTreeSet<PathBuf>>().into_iter().collect()
    }

    /// The root of the file system on it, if the guest has one mounted.
    pub(super) fn mounted_directory(&self, processes: &[i32]) -> Option<OwnedFd> {
        self.mounts(processes).into_iter().find_map(|(pid, mount)| {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let how = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
            let guest = Guest::open(pid).ok()?;
            let directory = rustix::fs::openat2(&guest.0, &mount.target, flags, Mode::empty(), how).ok()?;
            // Something else may be there by now.
            let device = rustix::fs::fstat(&directory).ok()?.st_dev;
            let is_it = format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device)) == mount.device;
            is_it.then_some(directory)
        })
    }

    /// Its mounts, each with a process that sees it.
    fn mounts(&self, processes: &[i32]) -> Vec<(i32, mount::Mount)> {
        let Ok(number) = self.number() else { return Vec::new() };
        let number = format!("{}:{}", rustix::fs::major(number), rustix::fs::minor(number));
        let link = format!("/dev/disk/by-id/{}", self.link());
        let is_it = |mount: &mount::Mount| {
            // Some file systems (btrfs) have a number of their own there, and tell only the source.
            mount.device == number || mount.source == self.device || mount.source == link
        };
        let of = |pid: i32| {
            mount::list(&pid.to_string()).into_iter().filter(is_it).map(move |mount| (pid, mount)).collect::<Vec<_>>()
        };
        processes.iter().copied().flat_map(of).collect()
    }

    /// Takes the mounts away from under the guest, after what was written has reached the volume.
    pub(super) async fn unmount(&self, leader: i32, targets: &[PathBuf]) -> Result<()> {
        self.flush();
        let mut refused = None;
        for target in targets.iter().rev() {
            // All namespaces, as `umount` reads the /proc that it finds. A mount that only a service's own namespace
            // has goes with the service.
            let enter = ["-t".to_owned(), leader.to_string(), "--all".to_owned(), "--".to_owned()];
            let unmount = Command::new("nsenter").args(enter).args(["umount", "--lazy"]).arg(target);
            refused = unmount.run().await.err().or(refused);
        }
        self.flush();
        match refused {
            Some(refused) if !self.mounted_at(&[leader]).is_empty() => Err(refused),
            _ => Ok(()),
        }
    }

    fn flush(&self) {
        if let Ok(file) = fs::File::open(&self.block_device) {
            let _ = file.sync_all();
        }
    }
}

/// The guest's root directory.
struct Guest(OwnedFd);

impl Guest {
    fn open(leader: i32) -> rustix::io::Result<Self> {
        let root = Path::new("/proc").join(leader.to_string()).join("root");
        rustix::fs::open(root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).map(Self)
    }

    fn directory(&self, path: &str) -> rustix::io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::openat2(&self.0, path, flags, Mode::empty(), ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS)
    }
}

fn make_directory(at: &OwnedFd, name: &str) -> rustix::io::Result<()> {
    match rustix::fs::mkdirat(at, name, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(error),
    }
}

fn remove(at: &OwnedFd, name: &str) -> rustix::io::Result<()> {
    match rustix::fs::unlinkat(at, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error),
    }
}

/// The number of the block device of this name, if there is one.
fn node(at: &OwnedFd, name: &str) -> Option<Dev> {
    let stat = rustix::fs::statat(at, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    (FileType::from_raw_mode(stat.st_mode) == FileType::BlockDevice).then_some(stat.st_rdev)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(device: &str) -> GuestDevice {
        GuestDevice {
            device: device.to_owned(),
            volume_id: "vol-0123456789abcdef0".to_owned(),
            block_device: PathBuf::from("/dev/loop0"),
        }
    }

    #[test]
    fn a_device_name_cannot_leave_dev() {
        assert_eq!(named("/dev/vdf").name().unwrap(), "vdf");
        assert!(named("/dev/../etc/passwd").name().is_err());
        assert!(named("/dev/").name().is_err());
    }

    #[test]
    fn a_volume_is_found_by_the_name_it_has_on_aws() {
        assert_eq!(named("/dev/vdf").link(), "nvme-Amazon_Elastic_Block_Store_vol0123456789abcdef0");
    }
}
