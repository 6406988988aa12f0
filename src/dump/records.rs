//! Finds the records of a ledger's dump in a stream of bytes, whatever stands between them.

use std::io::Read;

use memchr::memmem;

use crate::ledger::{RECORD_BLOCK_LEN_MAX, RecordHead};
use crate::primitives::Header;

use super::window::{Fit, Found, Resume, Scan, ScanError, Spool, State, Window};

/// Finds records in the bytes of a dump.
pub(super) struct Scanner<R> {
    window: Window<R>,
}

impl<R: Read> Scanner<R> {
    pub(super) const fn new(reader: R, spool: Option<Spool>) -> Self {
        Self { window: Window::new(reader, spool) }
    }

    /// A scanner that goes on where another stands, and `reader` as well.
    pub(super) fn resume(reader: R, at: State) -> Self {
        Self { window: Window::from_offset(reader, at.offset, at.means) }
    }

    /// A record whose block is not what was written. It may have lost bytes, so that the next record
    /// begins within what it says is its own.
    fn damaged(&mut self, record: usize) -> Found {
        self.window.fill(record + RecordHead::LEN - 1);
        let bytes = self.next_head(record).unwrap_or(record);
        self.window.junk(bytes, "the block's checksum does not match")
    }

    /// The next place before `end` where a record's head begins whose checksum holds, as long as second
    /// looks are left.
    fn next_head(&mut self, end: usize) -> Option<usize> {
        let rest = self.window.rest();
        let begins = |at: &usize| rest[*at] == RecordHead::MARKER[0];
        let mut places = (1..end).filter(begins);
        let next = places.find(|at| RecordHead::parse(&rest[*at..]).is_some())?;
        self.window.may_look_again(end - next).then_some(next)
    }

    /// Bytes up to the next head of a record whose checksum holds, or up to the end.
    fn junk(&mut self) -> Found {
        let (mut bytes, mut zeros) = (0, true);
        while self.window.fill(RecordHead::LEN) && RecordHead::parse(self.window.rest()).is_none() {
            // Up to the next byte that can begin a marker.
            let begins = |byte: &u8| *byte == RecordHead::MARKER[0];
            let rest = self.window.rest();
            let step = rest[1..].iter().position(begins).map_or(rest.len(), |place| place + 1);
            zeros &= rest[..step].iter().all(|&byte| byte == 0);
            bytes += step as u64;
            self.window.advance(step);
        }
        // A few bytes at the end are too short for a head, and may begin with one that is cut.
        let rest = self.window.rest();
        if rest.len() < RecordHead::LEN {
            let mut places = 0..rest.len();
            let step = places.find(|at| may_begin_record(&rest[*at..])).unwrap_or(rest.len());
            zeros &= rest[..step].iter().all(|&byte| byte == 0);
            bytes += step as u64;
            self.window.advance(step);
        }
        Found::Junk { bytes, why: if zeros { "zeros" } else { "no record of a block" } }
    }

    /// The last few bytes, too short for the head of a record.
    fn at_end(&mut self) -> Result<Found, ScanError> {
        if self.window.rest().is_empty() {
            return self.window.end();
        }
        if may_begin_record(self.window.rest()) { self.torn() } else { Ok(self.junk()) }
    }

    /// A record that ends with the file, unless others begin within it: then its writer stopped there, and
    /// began anew.
    fn torn(&mut self) -> Result<Found, ScanError> {
        match self.next_head(self.window.rest().len()) {
            Some(bytes) => Ok(self.window.junk(bytes, "a record that breaks off")),
            None => self.window.torn(),
        }
    }

    /// Passes over a stretch without holding it.
    fn pass_over(&mut self, len: u64, why: &'static str) -> Result<Found, ScanError> {
        let bytes = self.window.pass_over(len);
        if bytes < len {
            // A file that cannot be read further says so instead.
            self.window.end()?;
        }
        Ok(Found::Junk { bytes, why })
    }
}

impl<R: Read> Scan for Scanner<R> {
    fn next(&mut self) -> Result<Found, ScanError> {
        if !self.window.fill(RecordHead::LEN) {
            return self.at_end();
        }
        let Some(head) = RecordHead::parse(self.window.rest()) else { return Ok(self.junk()) };
        let record = RecordHead::LEN + head.len as usize;
        if head.len > RECORD_BLOCK_LEN_MAX {
            return self.pass_over(record as u64, "a block longer than any ledger allows");
        }
        if !self.window.fill(record) {
            return self.torn();
        }
        let block = &self.window.rest()[RecordHead::LEN..record];
        if !head.holds(block) {
            return Ok(self.damaged(record));
        }
        let Some(header) = block.first_chunk::<{ Header::LEN }>() else {
            return Ok(self.window.junk(record, "a record too short for a block"));
        };
        let header = Header::from_bytes(*header);
        self.window.advance(record);
        let (head, bytes) = (RecordHead::LEN as u64, record as u64);
        Ok(Found::Block { header, head, bytes, network: None, fit: Fit::Exact })
    }
}

impl<R: Read> Resume for Scanner<R> {
    fn state(&self) -> State {
        State { means: self.window.means(), ..State::behind_record(self.window.offset()) }
    }

    fn is_in_doubt(&self) -> bool {
        self.window.is_short_of_means() || self.window.has_failed()
    }
}

/// Whether bytes, the last of a file, may be the first of a record.
fn may_begin_record(bytes: &[u8]) -> bool {
    let len = bytes.len().min(RecordHead::MARKER.len());
    len > 0 && bytes[..len] == RecordHead::MARKER[..len]
}

/// The first place, among the first bytes of what is read, where the head of a record stands whose checksum
/// holds.
pub(super) fn seek_record(reader: impl Read, first: u64) -> Option<u64> {
    let mut window = Window::new(reader, None);
    while window.offset() < first && window.fill(RecordHead::LEN) {
        let rest = window.rest();
        let mut markers = memmem::find_iter(rest, &RecordHead::MARKER);
        if let Some(at) = markers.find(|at| RecordHead::parse(&rest[*at..]).is_some()) {
            return Some(window.offset() + at as u64).filter(|at| *at < first);
        }
        // A head at the last of these places is not there whole.
        let done = rest.len() - (RecordHead::LEN - 1);
        window.advance(done);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dump::segments;
    use crate::dump::window::SECOND_LOOK_MAX;
    use crate::ledger::put_record;

    fn block(fill: u8, len: usize) -> Vec<u8> {
        vec![fill; len]
    }

    fn record(fill: u8, len: usize) -> Vec<u8> {
        let mut record = Vec::new();
        put_record(&mut record, &block(fill, len));
        record
    }

    /// What is found by a single scanner, and by several threads, wherever the file is cut.
    fn found(bytes: &[u8]) -> Vec<Found> {
        let mut scanner = Scanner::new(bytes, None);
        let next = || scanner.next().expect("memory can be read");
        let all: Vec<_> =
            std::iter::repeat_with(next).take_while(|found| *found != Found::End).collect();
        let cuts = [97, 1000, bytes.len() / 5 + 1, bytes.len() / 2 + 1];
        for len in cuts.into_iter().filter(|len| bytes.len() / len < 100) {
            assert_eq!(segments::tests::scan_ledger(bytes, 0, len).0, all, "every {len}");
        }
        all
    }

    fn block_found(fill: u8, len: usize) -> Found {
        let header = Header::from_bytes([fill; Header::LEN]);
        let head = RecordHead::LEN as u64;
        Found::Block { header, head, bytes: head + len as u64, network: None, fit: Fit::Exact }
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

    /// However much junk stands before it.
    #[test]
    fn a_cut_marker_is_found_wherever_it_stands() {
        for junk in (0..40).chain((256 << 10) - 40..(256 << 10) + 40) {
            for kept in 1..=4 {
                let bytes = [&vec![7; junk + 1][..], &RecordHead::MARKER[..kept]].concat();
                let why = "no record of a block";
                let expected = [
                    Found::Junk { bytes: junk as u64 + 1, why },
                    Found::Torn { bytes: kept as u64 },
                ];
                assert_eq!(found(&bytes), expected, "{junk}, {kept}");
            }
        }
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
}
