//! The first reading of one large file on several threads.
//!
//! The file is cut into segments. In each of them a thread looks for the first record that needs no record before
//! it to be believed, and goes on from there, up to the end of the segment. What it finds is what a single scanner
//! finds that comes to the same place, as nothing that stands before such a record changes what it is. Nearly always
//! one comes there. If it does not, it goes on by itself until it comes to where a thread began in another segment;
//! and so it does where a thread was in doubt. What is found never depends on how a file is cut.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::num::NonZero;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;

use rayon::ThreadPool;
use rayon::prelude::*;

use crate::bitcoin::Network;

use super::Progress;
use super::block_head;
use super::block_records::BlockScanner;
use super::kind::PREFIX_LEN;
use super::obfuscation::{Deobfuscated, Key};
use super::records::{self, Scanner};
use super::window::{Found, Resume, Scan, ScanError, State};

/// The least bytes of a file that are worth it.
const LEN_MIN: u64 = 2 * SEGMENT_LEN;

/// The length of a segment: much longer than a block, as its thread begins in the middle of one.
const SEGMENT_LEN: u64 = 8 << 20;

/// How far behind its segment a thread reads at most: to the end of any record that it may hold, and a little on.
const BEHIND_MAX: u64 = SEGMENT_LEN / 2;

/// Segments that are scanned for each thread before what was found in them is taken.
const SEGMENTS_PER_THREAD: usize = 2;

/// The most threads: each holds a record, and a few are faster than any disk.
const THREADS_MAX: usize = 8;

/// The most that is found in all segments that are scanned at a time, a hundred bytes each. Segments that hold
/// more than their share, tiny blocks, are scanned to their ends one after the other.
const FOUND_MAX: usize = 1 << 18;

/// How the records of a kind of file are found.
pub(super) trait Framing: Sync {
    /// What finds them.
    type Scanner: Resume + Send;

    /// A scanner that goes on from there, and reads the file no further than `limit`.
    fn scanner(&self, at: State, limit: u64) -> Self::Scanner;

    /// The first place, among so many bytes from `begin` on, where a record begins that needs no record before it
    /// to be believed.
    fn seek(&self, begin: u64, len: u64) -> Option<u64>;
}

/// A file that can be read from any place on.
type Open<R> = Box<dyn Fn(u64) -> R + Send + Sync>;

/// Block files.
pub(super) struct Blocks<R> {
    open: Open<R>,
    key: Key,
    /// The network that the first record names, if the file begins with one: then the others mostly do.
    network: Option<Network>,
}

impl<R: Read> Blocks<R> {
    fn new(open: Open<R>, key: Key) -> Self {
        let mut magic = [0; 4];
        let read = open(0).read_exact(&mut magic);
        let network = read.ok().and_then(|()| block_head::network_at(&magic));
        Self { open, key, network }
    }
}

impl<R: Read + Send> Framing for Blocks<R> {
    type Scanner = BlockScanner<Limited<R>>;

    fn scanner(&self, at: State, limit: u64) -> BlockScanner<Limited<R>> {
        BlockScanner::resume(Limited::new(&self.open, at.offset, limit), self.key, at)
    }

    fn seek(&self, begin: u64, len: u64) -> Option<u64> {
        let found = block_head::seek_record((self.open)(begin), len, self.network);
        found.map(|at| begin + at)
    }
}

/// Dumps of a ledger.
pub(super) struct Ledger<R> {
    open: Open<R>,
}

impl<R: Read + Send> Framing for Ledger<R> {
    type Scanner = Scanner<Limited<R>>;

    fn scanner(&self, at: State, limit: u64) -> Scanner<Limited<R>> {
        Scanner::resume(Limited::new(&self.open, at.offset, limit), at)
    }

    fn seek(&self, begin: u64, len: u64) -> Option<u64> {
        records::seek_record((self.open)(begin), len).map(|at| begin + at)
    }
}

/// Finds the records of a file.
pub(super) struct Segments<F: Framing> {
    framing: F,
    pool: Arc<ThreadPool>,
    progress: Arc<Progress>,
    /// Bytes that were counted as read.
    counted: u64,
    /// The file's length when it was opened. What was written since is found all the same.
    len: u64,
    segment_len: u64,
    /// The most that is found ahead.
    found_max: usize,
    /// Where the first record stands.
    start: u64,
    /// Where the first segment begins that no thread has looked at.
    next: u64,
    /// Segments that were looked at, in order.
    ahead: VecDeque<Segment>,
    /// What was found, and not yet given out.
    found: VecDeque<Found>,
    /// What stands behind that.
    at: State,
    /// The scanner that stands there, if there is one.
    scanner: Option<F::Scanner>,
    /// Whether that is the end of the file.
    has_ended: bool,
}

/// What a thread found.
struct Segment {
    /// Where it began, knowing nothing.
    first: u64,
    found: Vec<Found>,
    /// Where it ended.
    end: State,
    /// Whether that is the end of the file.
    is_last: bool,
}

/// Threads that scan, once there is something to do for them.
pub(super) struct Threads {
    count: usize,
    pool: Option<Arc<ThreadPool>>,
}

impl Threads {
    /// So many, as far as they are of use; zero means one for each core.
    pub(super) fn new(count: usize) -> Self {
        let cores = || thread::available_parallelism().map_or(1, NonZero::get);
        let count = if count == 0 { cores() } else { count };
        Self { count: count.min(THREADS_MAX), pool: None }
    }

    /// Finds the blocks of a file whose bytes were XORed with `key`, if there are threads for that and it is
    /// worth it. `file` was not compressed.
    pub(super) fn scan_blocks(
        &mut self,
        file: &File,
        key: Key,
        progress: &Arc<Progress>,
    ) -> Option<Box<dyn Scan + Send>> {
        self.scan(file, 0, progress, |file| {
            let open = move |offset| {
                let file = FileFrom { file: Arc::clone(&file), offset };
                Deobfuscated::from_offset(file, key, offset)
            };
            Blocks::new(Box::new(open), key)
        })
    }

    /// The same for a ledger's dump, whose first record stands at `start`.
    pub(super) fn scan_ledger(
        &mut self,
        file: &File,
        start: u64,
        progress: &Arc<Progress>,
    ) -> Option<Box<dyn Scan + Send>> {
        self.scan(file, start, progress, |file| Ledger {
            open: Box::new(move |offset| FileFrom { file: Arc::clone(&file), offset }),
        })
    }

    fn scan<F: Framing + Send + 'static>(
        &mut self,
        file: &File,
        start: u64,
        progress: &Arc<Progress>,
        framing: impl FnOnce(Arc<File>) -> F,
    ) -> Option<Box<dyn Scan + Send>> {
        let len = file.metadata().ok()?.len();
        if self.count == 1 || len < LEN_MIN {
            return None;
        }
        let framing = framing(Arc::new(file.try_clone().ok()?));
        let segments = Segments::new(framing, start, len, SEGMENT_LEN, self.pool()?);
        // Recognition has read the beginning.
        let counted = start.max(PREFIX_LEN as u64);
        Some(Box::new(Segments { progress: Arc::clone(progress), counted, ..segments }))
    }

    fn pool(&mut self) -> Option<Arc<ThreadPool>> {
        if self.pool.is_none() {
            let name = |index| format!("scan-{index}");
            let pool = rayon::ThreadPoolBuilder::new().num_threads(self.count).thread_name(name);
            self.pool = Some(Arc::new(pool.build().ok()?));
        }
        self.pool.clone()
    }
}

impl<F: Framing> Segments<F> {
    fn new(framing: F, start: u64, len: u64, segment_len: u64, pool: Arc<ThreadPool>) -> Self {
        Self {
            framing,
            pool,
            progress: Arc::default(),
            counted: start,
            len,
            segment_len,
            found_max: FOUND_MAX,
            start,
            next: start,
            ahead: VecDeque::new(),
            found: VecDeque::new(),
            at: State::start(start),
            scanner: None,
            has_ended: false,
        }
    }

    /// Takes what the next segment holds.
    fn take_segment(&mut self) {
        let Some(Segment { found, end, is_last, .. }) = self.ahead.pop_front() else { return };
        self.found = found.into();
        // No segment has used any of them.
        self.go_to(State { means: self.at.means, ..end });
        (self.scanner, self.has_ended) = (None, is_last);
    }

    fn find_alone(&mut self) -> Result<Found, ScanError> {
        let (framing, at) = (&self.framing, self.at);
        let scanner = self.scanner.get_or_insert_with(|| framing.scanner(at, u64::MAX));
        let found = scanner.next();
        let at = scanner.state();
        self.go_to(at);
        found
    }

    fn go_to(&mut self, at: State) {
        let more = at.offset.saturating_sub(self.counted);
        self.progress.bytes.fetch_add(more, Relaxed);
        self.counted += more;
        self.at = at;
    }

    /// Has the threads look at the next segments.
    fn scan_ahead(&mut self) {
        let count = SEGMENTS_PER_THREAD * self.pool.current_num_threads();
        let begins = (0..count as u64).map(|segment| self.at.offset + segment * self.segment_len);
        let begins: Vec<_> = begins.take_while(|begin| *begin < self.len).collect();
        self.next = begins.last().map_or(u64::MAX, |last| last + self.segment_len);
        let (framing, start, len) = (&self.framing, self.start, self.segment_len);
        let found_max = self.found_max / count;
        let scan = |begin: &u64| scan(framing, *begin..begin + len, start, found_max);
        let segments = begins.par_iter().filter_map(scan);
        self.ahead.extend(self.pool.install(|| segments.collect::<Vec<_>>()));
    }
}

impl<F: Framing> Scan for Segments<F> {
    fn next(&mut self) -> Result<Found, ScanError> {
        loop {
            if let Some(found) = self.found.pop_front() {
                return Ok(found);
            }
            if self.has_ended {
                return Ok(Found::End);
            }
            if self.ahead.is_empty() && self.next <= self.at.offset {
                self.scan_ahead();
            }
            match self.ahead.front() {
                Some(segment) if segment.first < self.at.offset => drop(self.ahead.pop_front()),
                Some(segment) if segment.first == self.at.offset => self.take_segment(),
                _ => return self.find_alone(),
            }
        }
    }
}

/// What there is in a segment, or the first `found_max` of that, as far as it is beyond doubt. The first record of
/// the file stands at `start`.
fn scan(
    framing: &impl Framing,
    segment: Range<u64>,
    start: u64,
    found_max: usize,
) -> Option<Segment> {
    let Range { start: begin, end } = segment;
    let first = if begin == start { start } else { framing.seek(begin, end - begin)? };
    let mut scanner = framing.scanner(State::behind_record(first), end + BEHIND_MAX);
    let mut found = Vec::new();
    loop {
        let at = scanner.state();
        if found.len() >= found_max || at.offset >= end {
            return Some(Segment { first, found, end: at, is_last: false });
        }
        let more = scanner.next();
        match more {
            Ok(more) if !scanner.is_in_doubt() => match more {
                Found::End => return Some(Segment { first, found, end: at, is_last: true }),
                more => found.push(more),
            },
            // Whoever comes here finds out.
            _ => return Some(Segment { first, found, end: at, is_last: false }),
        }
    }
}

/// A reader that fails where it is to read no further.
pub(super) struct Limited<R> {
    reader: R,
    left: u64,
}

impl<R> Limited<R> {
    fn new(open: &Open<R>, offset: u64, limit: u64) -> Self {
        Self { reader: open(offset), left: limit.saturating_sub(offset) }
    }
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Err(io::Error::other("as far as a segment is read"));
        }
        let read = self.reader.by_ref().take(self.left).read(out)?;
        self.left -= read as u64;
        Ok(read)
    }
}

/// Reads a file from a place on, wherever its own cursor stands.
pub(super) struct FileFrom {
    file: Arc<File>,
    offset: u64,
}

impl Read for FileFrom {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = crate::positioned::read_some(&self.file, out, self.offset)?;
        self.offset += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
#[path = "segments_tests.rs"]
pub(super) mod tests;
