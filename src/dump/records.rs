//! Finds the records of a ledger's dump in a stream of bytes, whatever stands between them.

use std::io::{self, Read, Write};

use crate::ledger::{RECORD_BLOCK_LEN_MAX, RecordHead};
use crate::primitives::Header;

type Spool = Box<dyn Write + Send>;

/// What is read at a time.
const STEP: usize = 256 << 10;

/// How many bytes of a file are looked at a second time, because a record was found within what another
/// says is its own. Whoever writes heads alone, each of which claims the most, could otherwise have all
/// of them hashed again for each. Later on such lengths are believed.
const SECOND_LOOK_MAX: usize = 256 << 20;

/// What a stretch of a dump holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A block, behind a record's head.
    Block {
        /// Its header.
        header: Header,
        /// The bytes of the whole record.
        bytes: u64,
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

/// Why there is nothing more to find.
#[derive(Debug)]
pub(super) enum ScanError {
    /// The file cannot be read further.
    Read(io::Error),
    /// The copy of it cannot be written.
    Spool(io::Error),
}

/// The bytes of a dump, read in steps, and copied where they cannot be read twice.
pub(super) struct Scanner<R> {
    reader: R,
    spool: Option<Spool>,
    buffer: Vec<u8>,
    /// Bytes of the buffer that are done with.
    at: usize,
    ended: bool,
    failure: Option<ScanError>,
    /// What is left of [`SECOND_LOOK_MAX`].
    second_look: usize,
}

impl<R: Read> Scanner<R> {
    pub(super) const fn new(reader: R, spool: Option<Spool>) -> Self {
        Self {
            reader,
            spool,
            buffer: Vec::new(),
            at: 0,
            ended: false,
            failure: None,
            second_look: SECOND_LOOK_MAX,
        }
    }

    /// The next stretch; the stretches of a file follow each other without a gap.
    pub(super) fn next(&mut self) -> Result<Found, ScanError> {
        if !self.fill(RecordHead::LEN) {
            return self.at_end();
        }
        let Some(head) = RecordHead::parse(self.rest()) else { return self.junk() };
        let record = RecordHead::LEN + head.len as usize;
        if head.len > RECORD_BLOCK_LEN_MAX {
            return self.pass_over(record, "a block longer than any ledger allows");
        }
        if !self.fill(record) {
            return self.torn();
        }
        let block = &self.rest()[RecordHead::LEN..record];
        let found = if !head.holds(block) {
            return Ok(self.damaged(record));
        } else if let Some(header) = block.first_chunk::<{ Header::LEN }>() {
            Found::Block { header: Header::from_bytes(*header), bytes: record as u64 }
        } else {
            Found::Junk { bytes: record as u64, why: "a record too short for a block" }
        };
        self.at += record;
        Ok(found)
    }

    /// A record whose block is not what was written. It may have lost bytes, so that the next record
    /// begins within what it says is its own.
    fn damaged(&mut self, record: usize) -> Found {
        self.fill(record + RecordHead::LEN - 1);
        let bytes = self.next_head(record).unwrap_or(record);
        self.at += bytes;
        Found::Junk { bytes: bytes as u64, why: "the block's checksum does not match" }
    }

    /// The next place before `end` where a record's head begins whose checksum holds, as long as second
    /// looks are left.
    fn next_head(&mut self, end: usize) -> Option<usize> {
        let rest = self.rest();
        let begins = |at: &usize| rest[*at] == RecordHead::MARKER[0];
        let mut places = (1..end).filter(begins);
        let next = places.find(|at| RecordHead::parse(&rest[*at..]).is_some())?;
        self.second_look = self.second_look.checked_sub(end - next)?;
        Some(next)
    }

    /// Bytes up to the next head of a record whose checksum holds, or up to the end.
    fn junk(&mut self) -> Result<Found, ScanError> {
        let (mut bytes, mut zeros) = (0, true);
        while self.fill(RecordHead::LEN) && RecordHead::parse(self.rest()).is_none() {
            // Up to the next byte that can begin a marker.
            let begins = |byte: &u8| *byte == RecordHead::MARKER[0];
            let rest = self.rest();
            let step = rest[1..].iter().position(begins).map_or(rest.len(), |place| place + 1);
            zeros &= rest[..step].iter().all(|&byte| byte == 0);
            bytes += step as u64;
            self.at += step;
        }
        // A few bytes at the end are too short for a head.
        if self.rest().len() < RecordHead::LEN && !self.begins_record() {
            zeros &= self.rest().iter().all(|&byte| byte == 0);
            bytes += self.rest().len() as u64;
            self.at = self.buffer.len();
        }
        Ok(Found::Junk { bytes, why: if zeros { "zeros" } else { "no record of a block" } })
    }

    /// The last few bytes, too short for the head of a record.
    fn at_end(&mut self) -> Result<Found, ScanError> {
        if self.rest().is_empty() {
            return self.failure.take().map_or(Ok(Found::End), Err);
        }
        if self.begins_record() { self.torn() } else { self.junk() }
    }

    /// Whether the bytes that are left may be the first of a record.
    fn begins_record(&self) -> bool {
        let len = self.rest().len().min(RecordHead::MARKER.len());
        len > 0 && self.rest()[..len] == RecordHead::MARKER[..len]
    }

    /// A record that ends with the file, unless others begin within it: then its writer stopped there, and
    /// began anew. One that ends because the file cannot be read is no fault of the dump's.
    fn torn(&mut self) -> Result<Found, ScanError> {
        if let Some(bytes) = self.next_head(self.rest().len()) {
            self.at += bytes;
            return Ok(Found::Junk { bytes: bytes as u64, why: "a record that breaks off" });
        }
        if let Some(failure) = self.failure.take() {
            self.at = self.buffer.len();
            return Err(failure);
        }
        let bytes = self.rest().len() as u64;
        self.at = self.buffer.len();
        Ok(Found::Torn { bytes })
    }

    /// Passes over a stretch without holding it.
    fn pass_over(&mut self, len: usize, why: &'static str) -> Result<Found, ScanError> {
        let mut left = len;
        while left > 0 && self.fill(1) {
            let step = left.min(self.rest().len());
            self.at += step;
            left -= step;
        }
        if left > 0
            && let Some(failure) = self.failure.take()
        {
            return Err(failure);
        }
        Ok(Found::Junk { bytes: (len - left) as u64, why })
    }

    fn rest(&self) -> &[u8] {
        &self.buffer[self.at..]
    }

    /// Makes `len` bytes ready; `false` if there are fewer until the end.
    fn fill(&mut self, len: usize) -> bool {
        if self.rest().len() >= len {
            return true;
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::put_record;

    fn block(fill: u8, len: usize) -> Vec<u8> {
        vec![fill; len]
    }

    fn record(fill: u8, len: usize) -> Vec<u8> {
        let mut record = Vec::new();
        put_record(&mut record, &block(fill, len));
        record
    }

    fn found(bytes: &[u8]) -> Vec<Found> {
        let mut scanner = Scanner::new(bytes, None);
        let mut all = Vec::new();
        loop {
            match scanner.next().expect("memory can be read") {
                Found::End => return all,
                found => all.push(found),
            }
        }
    }

    fn block_found(fill: u8, len: usize) -> Found {
        let header = Header::from_bytes([fill; Header::LEN]);
        Found::Block { header, bytes: (RecordHead::LEN + len) as u64 }
    }

    #[test]
    fn records_stand_between_anything() {
        let (a, b) = (record(1, 100), record(2, 700_000));
        assert_eq!(found(&[]), []);
        let both = [block_found(1, 100), block_found(2, 700_000)];
        assert_eq!(found(&[&a[..], &b].concat()), both);
        let no_record = |bytes| Found::Junk { bytes, why: "no record of a block" };
        let zeros = |bytes| Found::Junk { bytes, why: "zeros" };
        let bytes = [b"junk", &a[..], &[0; 300_000], &b, &[0; 7]].concat();
        let expected = [no_record(4), both[0].clone(), zeros(300_000), both[1].clone(), zeros(7)];
        assert_eq!(found(&bytes), expected);
        // A marker that begins nothing, and one that comes right before another.
        let bytes = [&RecordHead::MARKER[..], &a, &RecordHead::MARKER[..3], b"x"].concat();
        assert_eq!(found(&bytes), [no_record(4), both[0].clone(), no_record(4)]);
    }

    /// Wherever it is cut, what is there is found, and the rest is torn.
    #[test]
    fn every_cut_is_a_torn_tail() {
        let (a, b) = (record(1, 100), record(2, 90));
        let bytes = [&a[..], &b].concat();
        for cut in a.len() + 1..bytes.len() {
            let torn = Found::Torn { bytes: (cut - a.len()) as u64 };
            assert_eq!(found(&bytes[..cut]), [block_found(1, 100), torn], "{cut}");
        }
    }

    /// Whatever bit changes, the record is not a block any more, and the next one is found.
    #[test]
    fn damage_to_one_record_does_not_hide_the_next() {
        let (a, b) = (record(1, 100), record(2, 90));
        for bit in 0..8 * a.len() {
            let mut bytes = [&a[..], &b].concat();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let found = found(&bytes);
            assert_eq!(found.last(), Some(&block_found(2, 90)), "bit {bit}");
            let junk = |found: &Found| match found {
                Found::Junk { bytes, .. } => *bytes,
                _ => panic!("bit {bit}: {found:?}"),
            };
            let lost: u64 = found[..found.len() - 1].iter().map(junk).sum();
            assert_eq!(lost, a.len() as u64, "bit {bit}");
        }
    }

    /// A record that breaks off, or has lost some bytes, says that the next ones are its own.
    #[test]
    fn a_length_is_not_believed_before_the_block() {
        let (a, b) = (record(1, 100), record(2, 90));
        for kept in RecordHead::LEN..a.len() {
            let bytes = [&a[..kept], &b, &b].concat();
            let found = found(&bytes);
            let Found::Junk { bytes, .. } = found[0] else { panic!("{kept}: {found:?}") };
            assert_eq!(bytes, kept as u64);
            assert_eq!(found[1..], [block_found(2, 90), block_found(2, 90)], "{kept}");
        }
        // Cut within the last record as well.
        let torn = Found::Torn { bytes: 50 };
        let found = found(&[&a[..60], &b[..50]].concat());
        assert_eq!(found, [Found::Junk { bytes: 60, why: "a record that breaks off" }, torn]);
    }

    /// Heads alone, each of which claims as much as there is: all are looked at, but not for ever.
    #[test]
    fn lying_heads_are_believed_in_the_end() {
        const CLAIMED: usize = 16 << 20;
        let mut head = record(1, 0);
        head[4..8].copy_from_slice(&u32::try_from(CLAIMED).expect("a length").to_le_bytes());
        let checksum = crc32c::crc32c(&head[..12]);
        head[12..].copy_from_slice(&checksum.to_le_bytes());
        // In the middle of a file, and at its end.
        for len in [CLAIMED * 9 / 4, CLAIMED] {
            let found = found(&head.repeat(len / head.len()));
            assert!(found.len() < SECOND_LOOK_MAX / CLAIMED + 4, "{}", found.len());
        }
    }

    #[test]
    fn what_is_too_short_or_too_long_is_passed_over() {
        let b = record(2, 90);
        let short = [&record(1, 79)[..], &b].concat();
        let why = "a record too short for a block";
        assert_eq!(found(&short), [Found::Junk { bytes: 95, why }, block_found(2, 90)]);
        // A length that no ledger allows, behind a checksum that holds.
        let mut head = Vec::new();
        head.extend_from_slice(&RecordHead::MARKER);
        head.extend_from_slice(&(RECORD_BLOCK_LEN_MAX + 1).to_le_bytes());
        head.extend_from_slice(&[0; 4]);
        let checksum = crc32c::crc32c(&head);
        head.extend_from_slice(&checksum.to_le_bytes());
        let long = [&head[..], &vec![7; RECORD_BLOCK_LEN_MAX as usize + 1], &b].concat();
        let why = "a block longer than any ledger allows";
        let bytes = (long.len() - b.len()) as u64;
        assert_eq!(found(&long), [Found::Junk { bytes, why }, block_found(2, 90)]);
    }

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
        let bytes = [&record(1, 300_000)[..], b"junk", &record(2, 90)].concat();
        let copy = Shared::default();
        let mut scanner = Scanner::new(&bytes[..], Some(Box::new(copy.clone())));
        while scanner.next().expect("memory can be read") != Found::End {}
        assert!(*copy.0.lock().expect("not poisoned") == bytes);
    }
}
