//! Finds the blocks of a block file in a stream of bytes, whatever stands between them.
//!
//! What is a record follows Bitcoin Core (`ChainstateManager::LoadExternalBlockFile`), with two
//! differences, as here every byte is accounted for. Behind bytes that are no record, a magic and a
//! length are believed only if the header behind them proves work by its own account. And a block that
//! does not parse is a block all the same where its record clearly ends, so that the rules can name its
//! fault.

use std::io::Read;

use crate::bitcoin::{Block, Network};
use crate::primitives::Header;

use super::block_head::{
    BLOCK_LEN_MAX, BlockHead, RECORD_LOOK, find_record, is_cut_head, is_cut_record, is_record,
    may_begin, network_at,
};
use super::file_table::PREALLOCATED;
use super::obfuscation::Key;
use super::window::{Found, ScanError, Spool, Window};

/// Zeros behind a block that are no mere part of other bytes.
const ZEROS_MIN: usize = 8;

/// Zeros among junk that are no part of it. Blocks hold runs of 32 (the output that a coinbase spends).
const ZEROS_IN_JUNK_MIN: usize = 64;

const JUNK: &str = "bytes that are no block record";
const BROKEN_OFF: &str = "a record that breaks off";
const BEHIND: &str = "bytes behind a block, within its record";

/// Finds records in the bytes of a block file.
pub(super) struct BlockScanner<R> {
    window: Window<R>,
    /// What zeros on disk read as.
    zeros: [u8; Key::LEN],
    /// Whether a magic and a length are believed at this place.
    is_expected: bool,
    /// Where the record of the last block says that it ends.
    claim_end: u64,
}

impl<R: Read> BlockScanner<R> {
    /// A scanner of de-obfuscated bytes.
    pub(super) const fn new(reader: R, key: Key, spool: Option<Spool>) -> Self {
        let window = Window::new(reader, spool);
        Self { window, zeros: key.0, is_expected: true, claim_end: 0 }
    }

    /// The next stretch; the stretches of a file follow each other without a gap.
    pub(super) fn next(&mut self) -> Result<Found, ScanError> {
        self.window.fill(RECORD_LOOK);
        let rest = self.window.rest();
        if rest.is_empty() {
            return self.window.end();
        }
        self.is_expected |= self.window.offset() == self.claim_end;
        let mut why = JUNK;
        if self.is_expected || is_record(rest) {
            // Zeros on disk may read as a magic, if the key begins with one.
            if is_cut_head(rest) && self.zeros_at(0) < rest.len() {
                return self.window.torn();
            }
            match BlockHead::parse(rest) {
                Some(head) if head.is_plausible() => return self.record(head),
                Some(_) => why = "a record of a length that no block has",
                None => {}
            }
        }
        let zeros = self.pass_zeros();
        if zeros > 0 {
            return Ok(Found::Junk { bytes: zeros, why: PREALLOCATED });
        }
        Ok(self.junk(why))
    }

    /// What stands behind a head. The block itself tells where it ends, as a length may lie.
    fn record(&mut self, head: BlockHead) -> Result<Found, ScanError> {
        let end = BlockHead::LEN + head.len;
        self.window.fill(end + RECORD_LOOK);
        let rest = self.window.rest();
        let there = rest.len().min(end);
        if let Ok(len) = Block::encoded_len_of(&rest[BlockHead::LEN..there]) {
            let record = BlockHead::LEN + len;
            // What is left of a record that breaks off may parse, with bytes of the next one.
            if record < end
                && let Some(bytes) = self.record_within(record)
            {
                return Ok(self.window.junk(bytes, BROKEN_OFF));
            }
            self.claim_end = self.window.offset() + end as u64;
            // Bytes may follow a block within its record, but no other record, and no end of the file.
            let head_lies = record < end && (there < end || self.begins_record(record));
            return Ok(self.block(head.network, record, head_lies));
        }
        if there < end {
            return match self.record_within(there) {
                Some(bytes) => Ok(self.window.junk(bytes, BROKEN_OFF)),
                None => self.window.torn(),
            };
        }
        if !self.is_end(end)
            && let Some(bytes) = self.record_within(end)
        {
            return Ok(self.window.junk(bytes, "a record whose length does not fit its block"));
        }
        Ok(self.block(head.network, end, false))
    }

    /// Whether another record begins in the window at this place.
    fn begins_record(&self, at: usize) -> bool {
        BlockHead::plausible(&self.window.rest()[at..]).is_some()
    }

    fn block(&mut self, network: Network, record: usize, head_lies: bool) -> Found {
        let header = self.window.rest()[BlockHead::LEN..].first_chunk().expect("a header");
        let header = Header::from_bytes(*header);
        self.window.advance(record);
        self.is_expected = true;
        let head = BlockHead::LEN as u64;
        let network = Some(network);
        Found::Block { header, head, bytes: record as u64, network, head_lies }
    }

    /// Whether a record clearly ends at this place: by the end of the file, another record, or zeros.
    fn is_end(&self, at: usize) -> bool {
        let rest = &self.window.rest()[at..];
        let zeros = self.zeros_at(at);
        rest.is_empty()
            || network_at(rest).is_some()
            || is_cut_head(rest)
            || zeros == rest.len()
            || zeros >= ZEROS_MIN
    }

    /// The next place before `end` where another record begins, as long as second looks are left.
    fn record_within(&mut self, end: usize) -> Option<usize> {
        let rest = self.window.rest();
        // A head at the last place goes on behind the end.
        let next = 1 + find_record(&rest[1..rest.len().min(end + RECORD_LOOK - 1)])?;
        self.window.may_look_again(end - next).then_some(next)
    }

    /// How many zeros on disk stand in the window from `at` on.
    fn zeros_at(&self, at: usize) -> usize {
        let rest = &self.window.rest()[at..];
        let pattern = self.pattern(at);
        let (chunks, tail) = rest.as_chunks::<{ Key::LEN }>();
        let whole = chunks.iter().take_while(|chunk| **chunk == pattern).count();
        let last = chunks.get(whole).map_or(tail, <[u8; Key::LEN]>::as_slice);
        let more = last.iter().zip(pattern).take_while(|(byte, zero)| **byte == *zero).count();
        whole * Key::LEN + more
    }

    /// What zeros on disk read as, from byte `at` of the window on.
    fn pattern(&self, at: usize) -> [u8; Key::LEN] {
        let first = Key::index(self.window.offset() + at as u64);
        std::array::from_fn(|index| self.zeros[(first + index) % Key::LEN])
    }

    /// Passes over zeros on disk, and says how many there were. A few that other bytes follow are none.
    fn pass_zeros(&mut self) -> u64 {
        let mut passed = 0;
        loop {
            let zeros = self.zeros_at(0);
            let ready = self.window.rest().len();
            // More may follow; the last ones are kept, as they may be the first bytes of a head.
            if zeros == ready && self.window.fill(ready + 1) {
                let step = ready.saturating_sub(ZEROS_MIN);
                self.window.advance(step);
                passed += step as u64;
                continue;
            }
            self.window.fill(zeros + RECORD_LOOK);
            let rest = self.window.rest();
            // A magic may begin as the key goes on, which is zeros on disk.
            let begins = |back: &usize| {
                BlockHead::plausible(&rest[zeros - back..]).is_some()
                    && (self.is_expected || is_record(&rest[zeros - back..]))
            };
            let back = (0..zeros.min(ZEROS_MIN)).find(begins);
            let is_few = passed == 0 && zeros < ZEROS_MIN;
            if is_few && back.is_none() && zeros < rest.len() {
                return 0;
            }
            let zeros = zeros - back.unwrap_or(0);
            self.window.advance(zeros);
            return passed + zeros as u64;
        }
    }

    /// Bytes up to the next record, to zeros, or to the end of the record around them.
    fn junk(&mut self, why: &'static str) -> Found {
        let within = self.claim_end.saturating_sub(self.window.offset());
        let within = usize::try_from(within).unwrap_or(usize::MAX);
        let (why, mut left) = if within > 0 { (BEHIND, within) } else { (why, usize::MAX) };
        let mut bytes = 0;
        self.is_expected = false;
        // The first byte begins nothing, or it would not be looked at here.
        let mut from = 1;
        loop {
            let goes_on = self.window.fill(from + RECORD_LOOK);
            let ready = self.window.rest().len();
            let to = if goes_on { ready - RECORD_LOOK + 1 } else { ready };
            let stop = self.stop(from..to.min(left), !goes_on);
            let step = stop.unwrap_or(to.min(left));
            self.window.advance(step);
            bytes += step as u64;
            left -= step;
            if stop.is_some() || left == 0 || !goes_on {
                return Found::Junk { bytes, why };
            }
            from = 0;
        }
    }

    /// The first of these places at which junk ends.
    fn stop(&mut self, places: std::ops::Range<usize>, is_at_end: bool) -> Option<usize> {
        let rest = self.window.rest();
        let pattern = self.pattern(0);
        for at in places {
            let byte = rest[at];
            if byte == pattern[at % Key::LEN] && self.has_zeros(at, ZEROS_IN_JUNK_MIN) {
                return Some(at);
            }
            if may_begin(byte)
                && (is_record(&rest[at..]) || is_at_end && is_cut_record(&rest[at..]))
            {
                self.is_expected = true;
                return Some(at);
            }
        }
        None
    }

    /// Whether there are `len` zeros on disk from `at` on.
    fn has_zeros(&self, at: usize, len: usize) -> bool {
        let pattern = self.pattern(at);
        let bytes = self.window.rest()[at..].get(..len);
        let zeros = || pattern.iter().cycle();
        bytes.is_some_and(|bytes| bytes.iter().zip(zeros()).all(|(byte, zero)| byte == zero))
    }
}

/// Finds the one block of a file without records.
pub(super) struct RawBlockScanner<R> {
    window: Window<R>,
}

impl<R: Read> RawBlockScanner<R> {
    pub(super) const fn new(reader: R, spool: Option<Spool>) -> Self {
        Self { window: Window::new(reader, spool) }
    }

    /// The next stretch: the block, and then whatever stands behind it.
    pub(super) fn next(&mut self) -> Result<Found, ScanError> {
        if self.window.offset() > 0 {
            let bytes = self.window.pass_over(u64::MAX);
            if bytes == 0 {
                return self.window.end();
            }
            return Ok(Found::Junk { bytes, why: "bytes behind the block" });
        }
        self.window.fill(BLOCK_LEN_MAX + 1);
        let rest = self.window.rest();
        let Some(header) = rest.first_chunk::<{ Header::LEN }>() else {
            return if rest.is_empty() { self.window.end() } else { self.window.torn() };
        };
        let header = Header::from_bytes(*header);
        let whole = &rest[..rest.len().min(BLOCK_LEN_MAX)];
        let parsed = Block::encoded_len_of(whole).ok();
        if parsed.is_none() && rest.len() == whole.len() && self.window.has_failed() {
            // What there is of the block is no fault of the dump's.
            return self.window.torn();
        }
        let len = parsed.unwrap_or(whole.len());
        self.window.advance(len);
        Ok(Found::Block { header, head: 0, bytes: len as u64, network: None, head_lies: false })
    }
}

#[cfg(test)]
#[path = "block_records_tests.rs"]
mod tests;
