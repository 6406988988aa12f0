//! Counters that the stages raise and a status line reads.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// How far the work has come, and whether it should end.
#[derive(Debug, Default)]
pub struct Progress {
    /// Bytes read from files, before decompression.
    pub bytes: AtomicU64,
    /// Blocks whose headers were judged.
    pub blocks: AtomicU64,
    /// Bodies judged, which come after all headers.
    pub bodies: AtomicU64,
    /// The height of the best branch.
    pub height: AtomicU64,
    /// Set to end the work at the next batch.
    pub stop: AtomicBool,
}

impl Progress {
    /// Whether the work should end.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.stop.load(Relaxed)
    }
}

/// Counts the bytes that pass.
pub(super) struct Counted<R> {
    pub(super) reader: R,
    pub(super) progress: Arc<Progress>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.progress.bytes.fetch_add(read as u64, Relaxed);
        Ok(read)
    }
}
