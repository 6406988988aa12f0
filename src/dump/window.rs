//! The part of a file that its framing looks at: read in steps, and copied where it cannot be read twice.

use std::io::{self, Read, Write};

use crate::bitcoin::Network;
use crate::primitives::Header;

pub(super) type Spool = Box<dyn Write + Send>;

/// What is read at a time.
const STEP: usize = 256 << 10;

/// How many bytes of a file are looked at a second time, because a record was found within what another
/// says is its own. Whoever writes heads alone, each of which claims the most, could otherwise have all
/// of them hashed again for each. Later on such lengths are believed.
pub(super) const SECOND_LOOK_MAX: usize = 256 << 20;

/// How a block fits the record that it stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// It ends where the record does, or stands in none.
    Exact,
    /// The record goes on behind it.
    Shorter,
    /// The head tells another length than the block has, and nothing of what follows it.
    HeadLies,
}

/// What a stretch of a dump holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A block, perhaps behind a record's head.
    Block {
        /// Its header.
        header: Header,
        /// The bytes before it.
        head: u64,
        /// The bytes of head and block.
        bytes: u64,
        /// The network that the head names.
        network: Option<Network>,
        /// How the block fits its record.
        fit: Fit,
    },
    /// No block.
    Junk {
        /// Its length.
        bytes: u64,
        /// What it is.
        why: &'static str,
    },
    /// A record that the end of the file cuts short.
    Torn {
        /// How many bytes of it there are.
        bytes: u64,
    },
    /// The end of the file.
    End,
}

/// Finds what a file holds.
pub(super) trait Scan {
    /// The next stretch; the stretches of a file follow each other without a gap.
    fn next(&mut self) -> Result<Found, ScanError>;
}

/// A scanner from which another can go on.
pub(super) trait Resume: Scan {
    /// Where it stands.
    fn state(&self) -> State;

    /// Whether it may have found something else than it should: its means were not enough, or the file could not be
    /// read as far as it was looked at.
    fn is_in_doubt(&self) -> bool;
}

/// Where a scanner stands, and all that it knows of the bytes before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct State {
    /// The bytes before.
    pub(super) offset: u64,
    /// Whether a record is believed here whatever its header says.
    pub(super) is_expected: bool,
    /// Where the record of the last block says that it ends.
    pub(super) claim_end: u64,
    /// What the scanner may use.
    pub(super) means: Means,
}

/// What a scanner may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Means {
    /// Bytes that it may still look at again.
    pub(super) second_look: usize,
    /// Bytes that it may hold at a time.
    pub(super) held: usize,
}

impl Means {
    /// Those of the only scanner of a file.
    pub(super) const ALONE: Self = Self { second_look: SECOND_LOOK_MAX, held: usize::MAX };

    /// Those of one among many: what is rare is not for it. It holds any block of Bitcoin.
    pub(super) const AMONG_MANY: Self = Self { second_look: 0, held: 4 << 20 };
}

impl State {
    /// Where the records of a file begin.
    pub(super) const fn start(offset: u64) -> Self {
        Self { means: Means::ALONE, ..Self::behind_record(offset) }
    }

    /// Behind a record, knowing no more than that, one scanner among many.
    pub(super) const fn behind_record(offset: u64) -> Self {
        Self { offset, is_expected: true, claim_end: 0, means: Means::AMONG_MANY }
    }
}

/// Why there is nothing more to find.
#[derive(Debug)]
pub(super) enum ScanError {
    /// The file cannot be read further.
    Read(io::Error),
    /// The copy of it cannot be written.
    Spool(io::Error),
}

/// A window on the bytes of a dump, which only moves on.
pub(super) struct Window<R> {
    reader: R,
    spool: Option<Spool>,
    buffer: Vec<u8>,
    /// Bytes of the buffer that are done with.
    at: usize,
    /// Bytes of the file that are done with.
    offset: u64,
    ended: bool,
    failure: Option<ScanError>,
    /// What is left of the means.
    means: Means,
    /// Whether that was too little once.
    is_short_of_means: bool,
}

impl<R: Read> Window<R> {
    pub(super) const fn new(reader: R, spool: Option<Spool>) -> Self {
        Self {
            reader,
            spool,
            buffer: Vec::new(),
            at: 0,
            offset: 0,
            ended: false,
            failure: None,
            means: Means::ALONE,
            is_short_of_means: false,
        }
    }

    /// A window on a file from `offset` on, where `reader` stands.
    pub(super) fn from_offset(reader: R, offset: u64, means: Means) -> Self {
        Self { offset, means, ..Self::new(reader, None) }
    }

    /// The bytes that are ready.
    pub(super) fn rest(&self) -> &[u8] {
        &self.buffer[self.at..]
    }

    /// How many bytes of the file are done with.
    pub(super) const fn offset(&self) -> u64 {
        self.offset
    }

    /// Is done with `len` of the bytes that are ready.
    pub(super) fn advance(&mut self, len: usize) {
        debug_assert!(len <= self.rest().len());
        self.at += len;
        self.offset += len as u64;
    }

    /// Whether second looks are left for `len` bytes.
    pub(super) const fn can_look_again(&mut self, len: usize) -> bool {
        let left = self.means.second_look;
        let can = len <= left && left > 0;
        self.is_short_of_means |= !can;
        can
    }

    /// Whether `len` bytes may be looked at again.
    pub(super) const fn may_look_again(&mut self, len: usize) -> bool {
        let may = self.can_look_again(len);
        if may {
            self.means.second_look -= len;
        }
        may
    }

    /// What is left of the means.
    pub(super) const fn means(&self) -> Means {
        self.means
    }

    /// Whether bytes were not looked at, or not again, because they would have been too many.
    pub(super) const fn is_short_of_means(&self) -> bool {
        self.is_short_of_means
    }

    /// Makes `len` bytes ready; `false` if there are fewer until the end.
    pub(super) fn fill(&mut self, len: usize) -> bool {
        if self.rest().len() >= len {
            return true;
        }
        if len > self.means.held {
            self.is_short_of_means = true;
            return false;
        }
        self.buffer.drain(..self.at);
        self.at = 0;
        while self.buffer.len() < len && !self.ended {
            let before = self.buffer.len();
            // Room comes with the bytes: a length may lie.
            self.buffer.reserve_exact(STEP);
            let step = self.reader.by_ref().take(STEP as u64).read_to_end(&mut self.buffer);
            let copied = match &mut self.spool {
                Some(spool) => spool.write_all(&self.buffer[before..]),
                None => Ok(()),
            };
            if let Err(error) = copied {
                (self.ended, self.failure) = (true, Some(ScanError::Spool(error)));
            }
            match step {
                Ok(read) => self.ended |= read == 0,
                Err(error) => {
                    self.ended = true;
                    self.failure.get_or_insert(ScanError::Read(error));
                }
            }
        }
        if self.ended
            && let Some(Err(error)) = self.spool.as_mut().map(|spool| spool.flush())
        {
            self.failure.get_or_insert(ScanError::Spool(error));
        }
        self.buffer.len() >= len
    }

    /// Passes over bytes up to `len` without holding them, and says how many there were.
    pub(super) fn pass_over(&mut self, len: u64) -> u64 {
        let mut left = len;
        while left > 0 && self.fill(1) {
            let step = self.rest().len().min(usize::try_from(left).unwrap_or(usize::MAX));
            self.advance(step);
            left -= step as u64;
        }
        len - left
    }

    /// Whether the file cannot be read further.
    pub(super) const fn has_failed(&self) -> bool {
        self.failure.is_some()
    }

    /// What there is at the end of the file: nothing, or the reason why it cannot be read further.
    pub(super) fn end(&mut self) -> Result<Found, ScanError> {
        self.failure.take().map_or(Ok(Found::End), Err)
    }

    /// All that is left, which is the beginning of a record. One that ends because the file cannot be
    /// read is no fault of the dump's.
    pub(super) fn torn(&mut self) -> Result<Found, ScanError> {
        let bytes = self.rest().len();
        self.advance(bytes);
        match self.failure.take() {
            Some(failure) => Err(failure),
            None => Ok(Found::Torn { bytes: bytes as u64 }),
        }
    }

    /// The memory that is held.
    #[cfg(test)]
    pub(super) const fn held(&self) -> usize {
        self.buffer.capacity()
    }

    /// A stretch that holds no block.
    pub(super) fn junk(&mut self, bytes: usize, why: &'static str) -> Found {
        self.advance(bytes);
        Found::Junk { bytes: bytes as u64, why }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_copied() {
        #[derive(Clone, Default)]
        struct Shared(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);
        impl Write for Shared {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.lock().map_err(|_| io::Error::other("poisoned"))?.write(bytes)
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let bytes: Vec<u8> = (0..700_000_u32).map(|number| (number % 251) as u8).collect();
        let copy = Shared::default();
        let mut window = Window::new(&bytes[..], Some(Box::new(copy.clone())));
        assert!(window.fill(300_000));
        window.advance(299_999);
        assert_eq!(window.pass_over(u64::MAX), 400_001);
        assert_eq!(window.offset(), 700_000);
        assert!(*copy.0.lock().expect("not poisoned") == bytes);
    }
}
