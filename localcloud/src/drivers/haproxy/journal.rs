//! The file of ended requests. HAProxy appends to it; what was taken care of is noted in a file beside it, and its
//! blocks are given back to the disk. So it needs no rotation, of which HAProxy would have to be told.

use std::{
    fs,
    io::{self, Read as _, Seek as _, SeekFrom},
    path::PathBuf,
};

use rustix::fs::{FallocateFlags, fallocate};

use super::requests;
use crate::{drivers::EndedRequests, host::file};

/// So much is read at once: some ten thousand requests.
const LARGEST_READ: u64 = 4 * 1024 * 1024;

pub(super) struct Journal {
    lines: PathBuf,
    mark: PathBuf,
}

impl Journal {
    pub(super) fn new(lines: PathBuf, mark: PathBuf) -> Self {
        Self { lines, mark }
    }

    pub(super) fn path(&self) -> &std::path::Path {
        &self.lines
    }

    /// What is not yet forgotten, as whole lines.
    pub(super) fn read(&self) -> io::Result<EndedRequests> {
        let mut file = match fs::File::open(&self.lines) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(EndedRequests::default()),
            Err(error) => return Err(error),
        };
        let length = file.metadata()?.len();
        let start = self.forgotten(length);
        file.seek(SeekFrom::Start(start))?;
        let mut bytes = Vec::new();
        file.take(LARGEST_READ).read_to_end(&mut bytes)?;
        let read = bytes.len() as u64;
        let end = match bytes.iter().rposition(|byte| *byte == b'\n') {
            Some(at) => at + 1,
            // Nothing that was written here is so long: it is passed over.
            None if read == LARGEST_READ => bytes.len(),
            None => 0,
        };
        let text = String::from_utf8_lossy(&bytes[..end]);
        Ok(EndedRequests {
            requests: text.lines().filter_map(requests::parse).collect(),
            position: start + end as u64,
            is_truncated: read == LARGEST_READ,
        })
    }

    pub(super) fn forget(&self, position: u64) -> io::Result<()> {
        file::replace(&self.mark, &position.to_string())?;
        let lines = match fs::File::options().write(true).open(&self.lines) {
            Ok(lines) => lines,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        match fallocate(&lines, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, 0, position) {
            // A file system without holes keeps the blocks until HAProxy is started anew.
            Err(error) if position > 0 => tracing::debug!("giving back blocks of {}: {error}", self.lines.display()),
            _ => {}
        }
        Ok(())
    }

    /// Begins anew, if nothing is in it that is still to be read. Only while no HAProxy runs.
    pub(super) fn shorten(&self) -> io::Result<()> {
        let length = match fs::metadata(&self.lines) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        if length > 0 && self.forgotten(length) == length {
            // The mark goes last: beyond the file's end it counts as its begin.
            fs::File::options().write(true).open(&self.lines)?.set_len(0)?;
            file::replace(&self.mark, "0")?;
        }
        Ok(())
    }

    /// Up to where all is taken care of. A mark beyond the end is that of an earlier file.
    fn forgotten(&self, length: u64) -> u64 {
        let mark = fs::read_to_string(&self.mark).ok().and_then(|text| text.trim().parse().ok());
        mark.filter(|mark| *mark <= length).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    const TCP: &str = "elb1\tdb\t3306\ttcp\t127.0.0.1:5\t10.77.0.11:3306\ti-1\t--\t0\t0\t0\t-\t-\t1795550745898\t1795550745904424\t1\t2\t6\t79\t160\n";

    #[test]
    fn lines_are_read_once_whole_and_again_until_they_are_forgotten() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("requests.log");
        let journal = || Journal::new(path.clone(), directory.path().join("requests.mark"));
        assert_eq!(journal().read().expect("no file is no request").requests.len(), 0);
        let mut writer = fs::File::options().create(true).append(true).open(&path).expect("a file");
        write!(writer, "{TCP}said by HAProxy itself\n{TCP}{}", &TCP[..20]).expect("writes");
        let first = journal().read().expect("reads");
        assert_eq!(first.requests.len(), 2, "the third is not yet whole");
        assert_eq!(journal().read().expect("reads"), first, "a daemon that was killed in between reads them again");
        journal().forget(first.position).expect("forgets");
        journal().shorten().expect("shortens");
        write!(writer, "{}", &TCP[20..]).expect("writes");
        let second = journal().read().expect("reads");
        assert_eq!(second.requests.len(), 1);
        journal().forget(second.position).expect("forgets");
        journal().shorten().expect("shortens");
        assert_eq!(fs::metadata(&path).expect("is there").len(), 0);
        write!(writer, "{TCP}").expect("writes");
        assert_eq!(journal().read().expect("reads").requests.len(), 1);
    }
}
