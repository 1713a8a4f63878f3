//! Files of a plan: the one that is followed, and the one by which the daemon tells S3 what is in force. That one is a
//! link to the file that is followed, so that S3 sees a change of it as soon as the daemon; or the text; or not there.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt as _, symlink},
    path::{Path, PathBuf},
    time::SystemTime,
};

use crate::host::file;

/// A file whose changes are followed.
pub(super) struct Watched {
    pub(super) path: PathBuf,
    /// Whether the daemon writes it: then it is not there when nothing is in force.
    pub(super) is_told: bool,
    seen: Stamp,
}

/// By what a changed file is known: of the name, and of the file that it leads to.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Stamp {
    name: Option<Mark>,
    file: Option<Mark>,
}

type Mark = (SystemTime, u64, u64);

impl Stamp {
    fn of(path: &Path) -> Self {
        let mark = |metadata: io::Result<fs::Metadata>| {
            let metadata = metadata.ok()?;
            Some((metadata.modified().ok()?, metadata.len(), metadata.ino()))
        };
        Self { name: mark(fs::symlink_metadata(path)), file: mark(fs::metadata(path)) }
    }
}

impl Watched {
    /// As it is now.
    pub(super) fn of(path: &Path) -> Self {
        Self { path: path.to_owned(), is_told: false, seen: Stamp::of(path) }
    }

    /// As if it had never been there.
    pub(super) fn told(path: &Path) -> Self {
        Self { path: path.to_owned(), is_told: true, seen: Stamp::default() }
    }

    /// Whether it is another one than at the last look.
    pub(super) fn has_changed(&mut self) -> bool {
        let now = Stamp::of(&self.path);
        std::mem::replace(&mut self.seen, now) != now
    }

    /// Whether there is none, not even by name.
    pub(super) fn is_gone(&self) -> bool {
        self.seen.name.is_none()
    }
}

/// What stands in the file by which S3 is told.
pub(super) enum Told<'a> {
    Nothing,
    Text(&'a str),
    Followed(&'a Path),
}

impl Told<'_> {
    /// Replaces the file in one step. A link that leads there already stays: S3 has seen the change by itself.
    pub(super) fn write(&self, path: &Path) -> io::Result<()> {
        match self {
            Self::Nothing => match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            },
            Self::Text(text) => file::replace(path, text),
            Self::Followed(followed) => {
                if let Some(parent) = path.parent() {
                    fs::create_dir_all(parent)?;
                }
                let followed = std::path::absolute(followed)?;
                if fs::read_link(path).is_ok_and(|known| known == followed) {
                    return Ok(());
                }
                let beside = path.with_extension(format!("{}.new", std::process::id()));
                let _ = fs::remove_file(&beside);
                symlink(followed, &beside)?;
                fs::rename(&beside, path)
            }
        }
    }
}
