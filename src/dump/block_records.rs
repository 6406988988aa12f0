//! Finds the blocks of a block file in a stream of bytes, whatever stands between them.
//!
//! What is a record follows Bitcoin Core (`ChainstateManager::LoadExternalBlockFile`), with two
//! differences, as here every byte is accounted for. Behind bytes that are no record, a magic and a
//! length are believed only if the header behind them proves work by its own account. And a block that
//! does not parse is a block all the same where its record clearly ends, so that the rules can name its
//! fault.
//!
//! A record that has lost some bytes says that the first ones of the next are its own, and may even parse
//! with them. So what stands where a record ends is looked at before the record is believed: if that is
//! neither another record nor the end of the file, a record is looked for within.

use std::io::Read;
use std::iter::once;
use std::ops::Range;

use crate::bitcoin::{Block, BodyRules, Network, Params, Transaction};
use crate::primitives::{Hash256, Header, merkle_root, sha256d};
use crate::wire::{Fault, MalformedBlock};

use super::block_head::{
    BLOCK_LEN_MAX, BlockHead, RECORD_LOOK, find_record, is_cut_head, is_cut_record, is_record,
    may_begin, network_at,
};
use super::file_table::PREALLOCATED;
use super::obfuscation::Key;
use super::window::{Fit, Found, Resume, Scan, ScanError, Spool, State, Window};

/// Zeros behind a block that are no mere part of other bytes.
const ZEROS_MIN: usize = 8;

/// Zeros among junk, or where a record ends, that are no part of other bytes. Blocks hold runs of 32 (the
/// output that a coinbase spends).
const ZEROS_IN_JUNK_MIN: usize = 64;

const JUNK: &str = "bytes that are no block record";
const BROKEN_OFF: &str = "a record that breaks off";
const MISFIT: &str = "a record whose length does not fit its block";
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

    /// A scanner that goes on where another stands, and `reader` as well.
    pub(super) fn resume(reader: R, key: Key, at: State) -> Self {
        let State { offset, is_expected, claim_end, means } = at;
        let window = Window::from_offset(reader, offset, means);
        Self { window, zeros: key.0, is_expected, claim_end }
    }

    /// What stands behind a head. The block itself tells where it ends, as a length may lie.
    fn record(&mut self, head: BlockHead) -> Result<Found, ScanError> {
        let end = BlockHead::LEN + head.len;
        self.window.fill(end + RECORD_LOOK);
        let there = self.window.rest().len().min(end);
        if let Ok(len) = Block::encoded_len_of(&self.window.rest()[BlockHead::LEN..there]) {
            let record = BlockHead::LEN + len;
            // What is left of a record that breaks off may parse, with bytes of the next one.
            let why = if record < end { BROKEN_OFF } else { MISFIT };
            if let Some(broken) = self.broken_record(head.network, record, end, why) {
                return Ok(broken);
            }
            // Bytes may follow a block within its record, but no other record, and no end of the file.
            let head_lies = record < end && (there < end || self.begins_record(record));
            let fit = match head_lies {
                true => Fit::HeadLies,
                false if record < end => Fit::Shorter,
                false => Fit::Exact,
            };
            return Ok(self.block(head, record, fit));
        }
        if there < end {
            return match self.record_within(there) {
                Some(bytes) => Ok(self.window.junk(bytes, BROKEN_OFF)),
                None => self.window.torn(),
            };
        }
        if let Some(broken) = self.broken_record(head.network, end, end, MISFIT) {
            return Ok(broken);
        }
        Ok(self.block(head, end, Fit::Exact))
    }

    /// What stands before another record that begins within this one, unless this one is to be believed.
    /// It ends at `end` as it says itself, and as its block says, at `record`.
    fn broken_record(
        &mut self,
        network: Network,
        record: usize,
        end: usize,
        why: &'static str,
    ) -> Option<Found> {
        // Chance, or damage to a header, makes a head that is none; a header with work is one.
        if record == end && self.is_end(end) && is_record(self.window.rest()) {
            return None;
        }
        // A length that reaches behind the file, or over a record right behind the block, is a lie, and says
        // nothing of what stands there.
        let is_lie = self.window.rest().len() < end || self.begins_record(record);
        let claimed = if is_lie { record } else { end };
        let bytes = self.find_within(claimed)?;
        let again = record.saturating_sub(bytes);
        // Whoever makes a transaction may put a record in it.
        if !self.window.can_look_again(again)
            || fits_header(&self.window.rest()[BlockHead::LEN..record], network)
            || !self.window.may_look_again(again)
        {
            return None;
        }
        Some(self.window.junk(bytes, why))
    }

    /// Whether another record begins in the window at this place.
    fn begins_record(&self, at: usize) -> bool {
        BlockHead::plausible(&self.window.rest()[at..]).is_some()
    }

    /// A block behind this head that ends at `record`.
    fn block(&mut self, told: BlockHead, record: usize, fit: Fit) -> Found {
        let claimed = if fit == Fit::HeadLies { record } else { BlockHead::LEN + told.len };
        self.claim_end = self.window.offset() + claimed as u64;
        let header = self.window.rest()[BlockHead::LEN..].first_chunk().expect("a header");
        let header = Header::from_bytes(*header);
        self.window.advance(record);
        self.is_expected = true;
        let head = BlockHead::LEN as u64;
        let (bytes, network) = (record as u64, Some(told.network));
        Found::Block { header, head, bytes, network, fit }
    }

    /// Whether a record clearly ends at this place: by the end of the file or another record, perhaps
    /// behind zeros, or by more zeros than blocks hold.
    fn is_end(&self, at: usize) -> bool {
        let zeros = self.zeros_at(at);
        let begins = |at: usize| {
            let rest = &self.window.rest()[at..];
            rest.is_empty() || network_at(rest).is_some() || is_cut_head(rest)
        };
        // Where zeros on disk read as the first bytes of a magic, the last of them may be its own.
        zeros >= ZEROS_IN_JUNK_MIN
            || begins(at)
            || (0..=zeros.min(3)).any(|own| begins(at + zeros - own))
    }

    /// The next place before `end` where another record begins, as long as second looks are left.
    fn record_within(&mut self, end: usize) -> Option<usize> {
        let next = self.find_within(end)?;
        self.window.may_look_again(end - next).then_some(next)
    }

    /// The next place before `end` where another record begins.
    fn find_within(&self, end: usize) -> Option<usize> {
        let rest = self.window.rest();
        // A head at the last place goes on behind the end.
        Some(1 + find_record(&rest[1..rest.len().min(end + RECORD_LOOK - 1)])?)
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
            let stop = self.stop(from..to.min(left), !goes_on, within > 0);
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

    /// The first of these places at which junk ends, within a record at the next one alone.
    fn stop(&mut self, places: Range<usize>, is_at_end: bool, is_within: bool) -> Option<usize> {
        let rest = self.window.rest();
        let pattern = self.pattern(0);
        for at in places {
            let byte = rest[at];
            if !is_within && byte == pattern[at % Key::LEN] && self.has_zeros(at, ZEROS_IN_JUNK_MIN)
            {
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

impl<R: Read> Scan for BlockScanner<R> {
    fn next(&mut self) -> Result<Found, ScanError> {
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
        // Within a record, zeros are no room that a node reserved: the record says that they are its own.
        if self.window.offset() >= self.claim_end {
            let zeros = self.pass_zeros();
            if zeros > 0 {
                return Ok(Found::Junk { bytes: zeros, why: PREALLOCATED });
            }
        }
        Ok(self.junk(why))
    }
}

impl<R: Read> Resume for BlockScanner<R> {
    fn state(&self) -> State {
        State {
            offset: self.window.offset(),
            is_expected: self.is_expected,
            claim_end: self.claim_end,
            means: self.window.means(),
        }
    }

    fn is_in_doubt(&self) -> bool {
        self.window.is_short_of_means() || self.window.has_failed()
    }
}

/// Whether the bytes are a block, and its header means the transactions in it with their witnesses: then it
/// has lost none.
fn fits_header(bytes: &[u8], network: Network) -> bool {
    let params = Params::of(network);
    let rules = BodyRules::new(&params);
    rules.parse(bytes).is_ok_and(|block| {
        let transactions = block.transactions();
        let ids: Vec<_> = transactions.iter().map(Transaction::id).collect();
        let witness_root = || {
            let rest = transactions.iter().skip(1).map(|each| sha256d(each.bytes()));
            merkle_root(&once(Hash256::ZERO).chain(rest).collect::<Vec<_>>())
        };
        // A height at which a block commits to its witnesses, if it has any.
        let height = params.heights.segwit;
        rules.check_merkle(&block, merkle_root(&ids)).is_ok()
            && rules.check_witnesses(&block, height, witness_root).is_ok()
    })
}

/// Finds the one block of a file without records.
pub(super) struct RawBlockScanner<R> {
    window: Window<R>,
}

impl<R: Read> RawBlockScanner<R> {
    pub(super) const fn new(reader: R, spool: Option<Spool>) -> Self {
        Self { window: Window::new(reader, spool) }
    }
}

impl<R: Read> Scan for RawBlockScanner<R> {
    /// The block, and then whatever stands behind it.
    fn next(&mut self) -> Result<Found, ScanError> {
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
        let parsed = Block::encoded_len_of(whole);
        // No length says where the block should end, but the block itself says that it goes on. And what
        // there is of it is no fault of the dump's where the file cannot be read further.
        let goes_on = |error: MalformedBlock| error.malformed.fault == Fault::Truncated;
        if rest.len() == whole.len()
            && parsed.is_err_and(|error| goes_on(error) || self.window.has_failed())
        {
            return self.window.torn();
        }
        let len = parsed.unwrap_or(whole.len());
        self.window.advance(len);
        let (head, bytes) = (0, len as u64);
        Ok(Found::Block { header, head, bytes, network: None, fit: Fit::Exact })
    }
}

#[cfg(test)]
#[path = "block_records_tests.rs"]
mod tests;
