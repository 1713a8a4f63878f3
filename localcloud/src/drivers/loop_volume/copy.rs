//! Copies of volumes' files: shared blocks where the file system can (btrfs, xfs), otherwise the written parts alone, so
//! that a copy is as sparse as what it is one of. A copy gets its name when it is whole and on disk.

use std::{
    fs,
    io::{Error, Result},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{SeekFrom, copy_file_range, ioctl_ficlone, seek},
    io::Errno,
};

/// Between two reports.
const PIECE: u64 = 16 << 20;

/// Where a copy is until it is whole.
pub(super) fn unfinished(to: &Path) -> PathBuf {
    let mut name = to.as_os_str().to_owned();
    name.push(".part");
    name.into()
}

/// Copies `from`, and makes the copy `size` bytes long if that is more. Begins anew where an earlier try was cut short.
pub(super) fn whole(from: &Path, to: &Path, size: Option<u64>, report: &dyn Fn(u8)) -> Result<()> {
    if let Some(directory) = to.parent() {
        fs::create_dir_all(directory)?;
    }
    let part = unfinished(to);
    let (source, target) = (fs::File::open(from)?, fs::File::create(&part)?);
    let length = source.metadata()?.len();
    if ioctl_ficlone(&target, &source).is_err() {
        written_parts(&source, &target, length, report)?;
    }
    target.set_len(length.max(size.unwrap_or_default()))?;
    target.sync_all()?;
    fs::rename(&part, to)?;
    if let Some(directory) = to.parent() {
        fs::File::open(directory)?.sync_all()?;
    }
    report(100);
    Ok(())
}

fn written_parts(source: &fs::File, target: &fs::File, length: u64, report: &dyn Fn(u8)) -> Result<()> {
    let mut here = 0;
    while here < length {
        let begin = match seek(source, SeekFrom::Data(here)) {
            Ok(begin) => begin,
            // Nothing is written from here on.
            Err(Errno::NXIO) => break,
            Err(error) => return Err(error.into()),
        };
        let end = seek(source, SeekFrom::Hole(begin))?.min(length);
        let (mut read, mut written) = (begin, begin);
        while read < end {
            let piece = usize::try_from((end - read).min(PIECE)).unwrap_or(usize::MAX);
            if copy_file_range(source, Some(&mut read), target, Some(&mut written), piece)? == 0 {
                return Err(Error::other("the file became shorter while it was copied"));
            }
            report(u8::try_from(read * 99 / length).unwrap_or(99));
        }
        here = end;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Seek as _, Write as _},
        os::unix::fs::MetadataExt as _,
        sync::Mutex,
    };

    use super::*;

    #[test]
    fn a_copy_is_as_sparse_as_the_original_and_reports_how_far_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let (from, to) = (directory.path().join("a.img"), directory.path().join("below").join("b.img"));
        let mut file = fs::File::create(&from).unwrap();
        file.set_len(1 << 30).unwrap();
        file.write_all(b"begin").unwrap();
        file.seek(std::io::SeekFrom::Start(700 << 20)).unwrap();
        file.write_all(&vec![7; 40 << 20]).unwrap();
        let reports = Mutex::new(Vec::new());
        whole(&from, &to, Some(2 << 30), &|percent| reports.lock().unwrap().push(percent)).unwrap();
        let copy = fs::metadata(&to).unwrap();
        assert_eq!(copy.len(), 2 << 30);
        assert!(copy.blocks() * 512 < 64 << 20, "{} blocks", copy.blocks());
        let mut bytes = fs::File::open(&to).unwrap();
        let mut read = |at: u64, length: usize| {
            let mut buffer = vec![0; length];
            bytes.seek(std::io::SeekFrom::Start(at)).unwrap();
            std::io::Read::read_exact(&mut bytes, &mut buffer).unwrap();
            buffer
        };
        assert_eq!(read(0, 6), b"begin\0");
        assert_eq!(read((740 << 20) - 2, 4), [7, 7, 0, 0]);
        let reports = reports.into_inner().unwrap();
        assert!(reports.is_sorted() && reports.last() == Some(&100), "{reports:?}");
    }

    #[test]
    fn what_a_killed_copy_has_left_is_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        let (from, to) = (directory.path().join("a.img"), directory.path().join("b.img"));
        fs::write(&from, b"new").unwrap();
        fs::write(unfinished(&to), b"half of something old").unwrap();
        whole(&from, &to, None, &|_| {}).unwrap();
        assert_eq!(fs::read(&to).unwrap(), b"new");
        assert!(!unfinished(&to).exists());
    }
}
