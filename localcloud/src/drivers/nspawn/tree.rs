//! Trees from which instances boot, made of an instance's disk: the image's files as hard links, over them what the
//! instance has changed. So a tree is small and soon made, and goes on when the image it came from is gone.
//!
//! A tree gets its name when it is whole. Nobody writes to one, so that files may be shared; what is changed here is
//! replaced.

use std::{
    fs,
    io::ErrorKind,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::{
    fs::{Mode, OFlags, ResolveFlags, lgetxattr, lremovexattr},
    io::Errno,
};

use crate::host::{HostError, Result, command::Command};

const LIMIT: Duration = Duration::from_secs(600);
/// A guest that runs on may remove a file while it is copied.
const TRIES: u32 = 4;

/// What belongs to one instance: cloud-init runs as on a first boot, and host keys and machine-id are made anew.
/// (<https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/building-shared-amis.html>)
const PERSONAL: &[(&str, &[&str])] = &[
    ("etc", &["machine-id", "hostname"]),
    ("etc/ssh", &["ssh_host_*"]),
    ("var/lib/dbus", &["machine-id"]),
    ("var/lib/cloud", &["instance", "instances", "data"]),
    ("var/lib/systemd", &["random-seed"]),
];

/// Of the overlay file system's own notes, those that must not become part of a tree.
const OVERLAY_NOTES: &[&str] =
    &["trusted.overlay.opaque", "trusted.overlay.impure", "trusted.overlay.origin", "trusted.overlay.uuid"];

pub(super) async fn capture(lower: &Path, upper: &Path, tree: &Path) -> Result<()> {
    if tree.exists() {
        return Ok(());
    }
    let part = begin(tree).await?;
    link(lower, &part).await?;
    for attempt in 1.. {
        match lay_over(upper, &part).await {
            Err(_) if attempt < TRIES => {}
            outcome => {
                outcome?;
                break;
            }
        }
    }
    let impersonal = part.clone();
    blocking(move || depersonalise(&impersonal)).await?;
    finish(part, tree).await
}

pub(super) async fn copy(from: &Path, to: &Path) -> Result<()> {
    if to.exists() {
        return Ok(());
    }
    let part = begin(to).await?;
    link(from, &part).await?;
    finish(part, to).await
}

pub(super) async fn remove(tree: &Path) -> Result<()> {
    let paths = [tree.to_owned(), unfinished(tree)];
    blocking(move || paths.iter().try_for_each(|path| remove_all(path))).await
}

fn unfinished(tree: &Path) -> PathBuf {
    let mut name = tree.as_os_str().to_owned();
    name.push(".part");
    name.into()
}

async fn begin(tree: &Path) -> Result<PathBuf> {
    let part = unfinished(tree);
    let empty = part.clone();
    blocking(move || {
        remove_all(&empty)?;
        fs::create_dir_all(&empty).map_err(|error| doing("creating", &empty, error))
    })
    .await?;
    Ok(part)
}

async fn finish(part: PathBuf, tree: &Path) -> Result<()> {
    let tree = tree.to_owned();
    blocking(move || {
        crate::host::mount::sync(&part);
        fs::rename(&part, &tree).map_err(|error| doing("keeping", &tree, error))
    })
    .await
}

/// Files of another file system cannot be linked to: they are copied.
async fn link(from: &Path, to: &Path) -> Result<()> {
    let cp = |how: &str| Command::new("cp").args(["--archive", how, "--"]).arg(from.join(".")).arg(to).limit(LIMIT);
    match cp("--link").run().await {
        Err(error) if error.message.contains("cross-device") => cp("--reflink=auto").run().await.map(drop),
        outcome => outcome.map(drop),
    }
}

/// Puts an overlay's upper layer over the tree.
async fn lay_over(upper: &Path, tree: &Path) -> Result<()> {
    let (from, to) = (upper.to_owned(), tree.to_owned());
    blocking(move || make_way(&from, &to)).await?;
    let cp = Command::new("cp").args(["--archive", "--reflink=auto", "--remove-destination", "--"]);
    cp.arg(upper.join(".")).arg(tree).limit(LIMIT).run().await?;
    let (from, to) = (upper.to_owned(), tree.to_owned());
    blocking(move || tidy(&from, &to)).await
}

/// Removes from the tree what the layer hides or what would be in its way.
fn make_way(layer: &Path, tree: &Path) -> Result<()> {
    each(layer, tree, &mut |from, to, metadata| {
        let Ok(there) = fs::symlink_metadata(to) else { return Ok(()) };
        if metadata.is_dir() {
            if has_note(from, "trusted.overlay.redirect") {
                let cause = "a directory of the image was renamed there, which this cloud does not follow";
                return Err(HostError::new(format!("reading {}", from.display()), cause));
            }
            if !there.is_dir() || has_note(from, "trusted.overlay.opaque") {
                remove_all(to)?;
            }
            Ok(())
        } else if is_whiteout(metadata) || there.is_dir() {
            remove_all(to)
        } else {
            Ok(())
        }
    })
}

/// Removes from the tree the layer's own marks, copied with the rest.
fn tidy(layer: &Path, tree: &Path) -> Result<()> {
    each(layer, tree, &mut |_, to, metadata| {
        if is_whiteout(metadata) {
            return remove_all(to);
        }
        if !metadata.is_symlink() {
            for note in OVERLAY_NOTES {
                match lremovexattr(to, *note) {
                    Err(error) if error != Errno::NODATA && error != Errno::NOENT && error != Errno::OPNOTSUPP => {
                        return Err(doing("cleaning", to, error.into()));
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    })
}

/// What is seen of a layer's entry, and where the tree has it.
type Visit<'a> = &'a mut dyn FnMut(&Path, &Path, &fs::Metadata) -> Result<()>;

fn each(layer: &Path, tree: &Path, visit: Visit<'_>) -> Result<()> {
    let entries = match fs::read_dir(layer) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(doing("reading", layer, error)),
    };
    for entry in entries.flatten() {
        let (from, to) = (entry.path(), tree.join(entry.file_name()));
        let Ok(metadata) = entry.metadata() else { continue };
        visit(&from, &to, &metadata)?;
        if metadata.is_dir() {
            each(&from, &to, visit)?;
        }
    }
    Ok(())
}

/// <https://docs.kernel.org/filesystems/overlayfs.html#whiteouts-and-opaque-directories>
fn is_whiteout(metadata: &fs::Metadata) -> bool {
    metadata.file_type().is_char_device() && metadata.rdev() == 0
}

fn has_note(path: &Path, note: &str) -> bool {
    lgetxattr(path, note, &mut [0; 1][..]).map_or_else(|error| error == Errno::RANGE, |length| length > 0)
}

/// The tree's own links may lead anywhere, so that every path is confined to it.
fn depersonalise(tree: &Path) -> Result<()> {
    let failed = |error: Errno| doing("cleaning", tree, error.into());
    let root = rustix::fs::open(tree, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    let root = root.map_err(failed)?;
    for (directory, names) in PERSONAL {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let how = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let directory = match rustix::fs::openat2(&root, *directory, flags, Mode::empty(), how) {
            Ok(directory) => directory,
            Err(Errno::NOENT | Errno::NOTDIR) => continue,
            Err(error) => return Err(failed(error)),
        };
        let entries = rustix::fs::Dir::read_from(&directory).map_err(failed)?;
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let fits = |pattern: &str| match pattern.strip_suffix('*') {
                Some(beginning) => name.starts_with(beginning),
                None => name == pattern,
            };
            if names.iter().any(|pattern| fits(pattern)) {
                // A confined descriptor, by the only path that the standard library can go.
                let place = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&directory));
                remove_all(&Path::new(&place).join(&name))?;
            }
        }
        if names.contains(&"machine-id") && names.contains(&"hostname") {
            // An empty one is filled at boot, an absent one would make it a first boot of systemd's own kind.
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            rustix::fs::openat(&directory, "machine-id", flags, Mode::from_raw_mode(0o444)).map_err(failed)?;
        }
    }
    Ok(())
}

fn remove_all(path: &Path) -> Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(doing("removing", path, error)),
        _ => Ok(()),
    }
}

fn doing(what: &str, path: &Path, cause: std::io::Error) -> HostError {
    HostError::new(format!("{what} {}", path.display()), cause)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| HostError::new("working on a tree", error))?
}
