//! An instance's console: a file to which systemd-nspawn appends. Its newest part is kept, its oldest given back.

use std::{
    fs::File,
    io::{Read as _, Seek as _, SeekFrom},
    os::unix::fs::MetadataExt as _,
    path::Path,
};

use rustix::fs::FallocateFlags;

/// What EC2 keeps, too: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_GetConsoleOutput.html>
const NEWEST: u64 = 64 * 1024;
/// The disk space that a console may use before its oldest part is given back.
const LIMIT: u64 = 4 * 1024 * 1024;

/// The newest part.
pub(super) fn newest(path: &Path) -> Vec<u8> {
    let mut newest = Vec::new();
    if let Ok(mut file) = File::open(path) {
        let length = file.metadata().map(|metadata| metadata.len()).unwrap_or_default();
        let read = file.seek(SeekFrom::Start(length.saturating_sub(NEWEST)));
        if read.is_ok() {
            let _ = file.take(NEWEST).read_to_end(&mut newest);
        }
    }
    newest
}

/// Gives the oldest part's disk space back when the console has grown over its limit. The writer notices nothing:
/// the file keeps its length, with a hole where the old part was.
pub(super) fn bound(path: &Path) {
    let Ok(file) = File::options().write(true).open(path) else { return };
    let Ok(metadata) = file.metadata() else { return };
    if metadata.blocks() * 512 > LIMIT {
        let hole = metadata.len().saturating_sub(4 * NEWEST);
        let mode = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        if let Err(error) = rustix::fs::fallocate(&file, mode, 0, hole) {
            tracing::debug!("the console {} cannot be shortened: {error}", path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_console_that_grows_keeps_its_newest_part_and_gives_back_the_rest() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("console.log");
        let mut file = File::options().create(true).append(true).open(&path).unwrap();
        let block = vec![b'x'; 1024 * 1024];
        for _ in 0..8 {
            file.write_all(&block).unwrap();
        }
        file.write_all(b"the end\n").unwrap();
        file.sync_all().unwrap();
        bound(&path);
        assert!(std::fs::metadata(&path).unwrap().blocks() * 512 < LIMIT);
        let newest = newest(&path);
        assert_eq!(newest.len() as u64, NEWEST);
        assert!(newest.ends_with(b"xthe end\n"));
    }

    #[test]
    fn an_instance_without_console_has_said_nothing() {
        assert_eq!(newest(Path::new("/nonexistent/console.log")), b"");
    }
}
