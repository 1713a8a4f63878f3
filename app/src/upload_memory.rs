//! What uploads may hold at once. While one comes, at its sender's pace, what is large of it is in a file without a name;
//! only once it is there wholly does it come into memory, within a budget that all share. So no slow sender holds more than
//! half a megabyte. What decoding needs comes on top of the budget.

use std::io::{Read as _, Seek as _};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::HttpError;

/// Beyond it, bytes that have come go into a file.
const KEPT_IN_MEMORY: usize = 256 * 1024;
/// The budget, in units.
const UNIT: usize = 64 * 1024;
const BUDGET: usize = 96 * 1024 * 1024 / UNIT;
/// How long an upload waits for others to end.
const WAIT: Duration = Duration::from_secs(30);

/// Bytes as they come: all in memory, or all in a file.
#[derive(Default)]
pub struct Incoming {
    bytes: Vec<u8>,
    file: Option<tokio::fs::File>,
    length: usize,
}

/// All bytes of an upload.
pub struct Arrived {
    bytes: Vec<u8>,
    file: Option<std::fs::File>,
    length: usize,
}

impl Incoming {
    pub fn length(&self) -> usize {
        self.length
    }

    pub async fn push(&mut self, chunk: &[u8]) -> std::io::Result<()> {
        self.length += chunk.len();
        if self.length <= KEPT_IN_MEMORY {
            self.bytes.extend_from_slice(chunk);
            return Ok(());
        }
        let file = match &mut self.file {
            Some(file) => file,
            none => {
                let file = none.insert(tokio::fs::File::from_std(tempfile::tempfile()?));
                file.write_all(&std::mem::take(&mut self.bytes)).await?;
                file
            }
        };
        file.write_all(chunk).await
    }

    pub async fn arrived(self) -> std::io::Result<Arrived> {
        let file = match self.file {
            Some(mut file) => {
                // Writes go on behind the call until then.
                file.flush().await?;
                Some(file.into_std().await)
            }
            None => None,
        };
        Ok(Arrived { bytes: self.bytes, file, length: self.length })
    }
}

impl Arrived {
    pub fn length(&self) -> usize {
        self.length
    }

    /// Blocking.
    pub fn into_memory(self) -> std::io::Result<Vec<u8>> {
        let Some(mut file) = self.file else { return Ok(self.bytes) };
        let mut bytes = Vec::with_capacity(self.length);
        file.rewind()?;
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

/// A part of the budget, until it is dropped.
pub struct Share(OwnedSemaphorePermit);

pub struct MemoryBudget(Arc<Semaphore>);

impl Default for MemoryBudget {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(BUDGET)))
    }
}

impl MemoryBudget {
    pub async fn share(&self, bytes: usize) -> Result<Share, HttpError> {
        let units = bytes.div_ceil(UNIT).clamp(1, BUDGET) as u32;
        match tokio::time::timeout(WAIT, self.0.clone().acquire_many_owned(units)).await {
            Ok(Ok(permit)) => Ok(Share(permit)),
            _ => Err(HttpError::unavailable("the server has too many uploads in hand")),
        }
    }
}

impl Share {
    /// Gives back what is more than so many bytes.
    pub fn shrink_to(&mut self, bytes: usize) {
        let surplus = self.0.num_permits().saturating_sub(bytes.div_ceil(UNIT).max(1));
        drop(self.0.split(surplus));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn bytes_arrive_as_they_came_however_many() {
        for length in [0, 10, KEPT_IN_MEMORY, KEPT_IN_MEMORY + 1, 5 * KEPT_IN_MEMORY + 77] {
            let sent: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
            let mut incoming = Incoming::default();
            for chunk in sent.chunks(100_003) {
                incoming.push(chunk).await.unwrap();
            }
            assert_eq!(incoming.length(), length);
            assert_eq!(incoming.bytes.len(), if length <= KEPT_IN_MEMORY { length } else { 0 });
            let arrived = incoming.arrived().await.unwrap();
            assert_eq!(arrived.length(), length);
            assert!(arrived.into_memory().unwrap() == sent, "{length} bytes");
        }
    }

    #[tokio::test]
    async fn who_finds_the_budget_spent_waits_until_some_is_given_back() {
        let budget = MemoryBudget::default();
        let Ok(mut all) = budget.share(usize::MAX).await else { panic!("more than there is is all that there is") };
        assert!(tokio::time::timeout(Duration::from_millis(20), budget.share(1)).await.is_err());
        all.shrink_to(UNIT);
        assert!(budget.share(UNIT).await.is_ok());
    }
}
