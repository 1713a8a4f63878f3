//! Files that people write or name, and what is wrong with one that cannot be read, in people's words.

use std::fmt;
use std::io::{self, ErrorKind, Read};
use std::path::Path;

/// No file that people write is longer.
const LONGEST: u64 = 4 << 20;
/// "Too many levels of symbolic links" has no kind of its own yet.
const ELOOP: i32 = 40;

/// Why a file cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// There is nothing of that name.
    pub is_missing: bool,
    words: String,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

impl Unreadable {
    fn new(words: impl Into<String>) -> Self {
        Self { is_missing: false, words: words.into() }
    }

    /// Why an attempt to read a file failed.
    pub fn of(path: &Path, error: &io::Error) -> Self {
        if error.kind() != ErrorKind::NotFound {
            return Self::new(words(error));
        }
        match std::fs::read_link(path) {
            Ok(to) => Self::new(format!("it is a link to {}, where nothing is", to.display())),
            Err(_) => Self { is_missing: true, words: words(error) },
        }
    }
}

/// The text of a file.
pub fn text(path: &Path) -> Result<String, Unreadable> {
    let failed = |error: io::Error| Unreadable::of(path, &error);
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(LONGEST + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > LONGEST {
        return Err(Unreadable::new(format!("it is longer than {} MiB", LONGEST >> 20)));
    }
    String::from_utf8(bytes).map_err(|_| Unreadable::new("it is not text in UTF-8"))
}

/// What an error of the system means.
pub fn words(error: &io::Error) -> String {
    let words = match error.kind() {
        ErrorKind::NotFound => "there is no such file",
        ErrorKind::PermissionDenied => "this user may not",
        ErrorKind::IsADirectory => "it is a directory",
        ErrorKind::NotADirectory => "a part of its path is a file, and no directory",
        ErrorKind::AlreadyExists => "a file is there already",
        ErrorKind::ReadOnlyFilesystem => "its file system is read-only",
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "there is no room left",
        _ if error.raw_os_error() == Some(ELOOP) => "its links lead in a circle",
        _ => {
            let text = error.to_string();
            return text.split(" (os error").next().unwrap_or(&text).to_owned();
        }
    };
    words.to_owned()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn whatever_cannot_be_read_is_said_in_words() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        symlink("nowhere", at("dangling")).unwrap();
        symlink("circle", at("circle")).unwrap();
        std::fs::write(at("bytes"), b"\xff\xfe").unwrap();
        std::fs::write(at("file"), "text").unwrap();
        let read = |path: &Path| text(path).map_err(|why| (why.to_string(), why.is_missing));
        let cannot = |words: &str| Err((words.to_owned(), false));
        assert_eq!(read(&at("file")), Ok("text".to_owned()));
        assert_eq!(read(&at("none")), Err(("there is no such file".to_owned(), true)));
        assert_eq!(read(directory.path()), cannot("it is a directory"));
        assert_eq!(read(&at("dangling")), cannot("it is a link to nowhere, where nothing is"));
        assert_eq!(read(&at("circle")), cannot("its links lead in a circle"));
        assert_eq!(read(&at("bytes")), cannot("it is not text in UTF-8"));
        assert_eq!(read(&at("file/below")), cannot("a part of its path is a file, and no directory"));
        assert_eq!(read(Path::new("/dev/zero")), cannot("it is longer than 4 MiB"));
    }
}
