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
        let (len, pool) = self.for_file(file)?;
        let file = Arc::new(file.try_clone().ok()?);
        let open = move |offset| {
            let file = FileFrom { file: Arc::clone(&file), offset };
            Deobfuscated::from_offset(file, key, offset)
        };
        let framing = Blocks::new(Box::new(open), key);
        let progress = Arc::clone(progress);
        let segments = Segments::new(framing, 0, len, SEGMENT_LEN, pool);
        Some(Box::new(Segments { progress, counted: PREFIX_LEN as u64, ..segments }))
    }

    /// The same for a ledger's dump, whose first record stands at `start`.
    pub(super) fn scan_ledger(
        &mut self,
        file: &File,
        start: u64,
        progress: &Arc<Progress>,
    ) -> Option<Box<dyn Scan + Send>> {
        let (len, pool) = self.for_file(file)?;
        let file = Arc::new(file.try_clone().ok()?);
        let open = move |offset| FileFrom { file: Arc::clone(&file), offset };
        let framing = Ledger { open: Box::new(open) };
        let progress = Arc::clone(progress);
        let segments = Segments::new(framing, start, len, SEGMENT_LEN, pool);
        let counted = start.max(PREFIX_LEN as u64);
        Some(Box::new(Segments { progress, counted, ..segments }))
    }

    /// The length of a file, and the threads for it.
    fn for_file(&mut self, file: &File) -> Option<(u64, Arc<ThreadPool>)> {
        let len = file.metadata().ok()?.len();
        if self.count == 1 || len < LEN_MIN {
            return None;
        }
        if self.pool.is_none() {
            let name = |index| format!("scan-{index}");
            let pool = rayon::ThreadPoolBuilder::new().num_threads(self.count).thread_name(name);
            self.pool = Some(Arc::new(pool.build().ok()?));
        }
        self.pool.clone().map(|pool| (len, pool))
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
pub(super) mod tests {
    use std::io::Cursor;
    use std::sync::OnceLock;
    use std::sync::atomic::AtomicUsize;

    use super::*;
    use crate::dump::test_blocks::{block, record, record_of};
    use crate::dump::window::{Means, SECOND_LOOK_MAX};
    use crate::ledger::put_record;

    type Bytes = Cursor<Arc<[u8]>>;

    /// A file in memory, and how often it was opened.
    fn file(bytes: &[u8]) -> (Open<Bytes>, Arc<AtomicUsize>) {
        let (file, opened) = (Arc::<[u8]>::from(bytes), Arc::new(AtomicUsize::new(0)));
        let counter = Arc::clone(&opened);
        let open = move |offset| -> Bytes {
            counter.fetch_add(1, Relaxed);
            let mut cursor = Cursor::new(Arc::clone(&file));
            cursor.set_position(offset);
            cursor
        };
        (Box::new(open), opened)
    }

    fn three_threads() -> Arc<ThreadPool> {
        static POOL: OnceLock<Arc<ThreadPool>> = OnceLock::new();
        let pool = || rayon::ThreadPoolBuilder::new().num_threads(3).build().expect("threads");
        Arc::clone(POOL.get_or_init(|| Arc::new(pool())))
    }

    /// All that is found in a block file on three threads, and how often it was opened for that.
    pub(in crate::dump) fn scan_blocks(bytes: &[u8], key: Key, len: usize) -> (Vec<Found>, usize) {
        let (open, opened) = file(bytes);
        let found = scan_on_threads(Blocks::new(open, key), 0, bytes.len(), len);
        (found, opened.load(Relaxed))
    }

    /// The same in a ledger's dump whose first record stands at `start`.
    pub(in crate::dump) fn scan_ledger(
        bytes: &[u8],
        start: usize,
        len: usize,
    ) -> (Vec<Found>, usize) {
        let (open, opened) = file(bytes);
        let found = scan_on_threads(Ledger { open }, start, bytes.len(), len);
        (found, opened.load(Relaxed))
    }

    fn scan_on_threads(
        framing: impl Framing,
        start: usize,
        file_len: usize,
        len: usize,
    ) -> Vec<Found> {
        let (start, file_len) = (start as u64, file_len as u64);
        let segments = Segments::new(framing, start, file_len, len as u64, three_threads());
        all(segments, file_len - start)
    }

    fn all(mut segments: Segments<impl Framing>, len: u64) -> Vec<Found> {
        let next = || segments.next().expect("memory can be read");
        let all = std::iter::repeat_with(next).take_while(|found| *found != Found::End).collect();
        assert_eq!(segments.next().expect("the same again"), Found::End);
        assert_eq!(segments.progress.bytes.load(Relaxed), len, "all is counted");
        all
    }

    /// Blocks of many lengths in a row.
    fn blocks() -> Vec<u8> {
        let lens = (0..400).map(|number| 141 + (number * 37) % 100);
        lens.zip(0..).flat_map(|(len, salt)| record(&block(salt, len))).collect()
    }

    #[test]
    fn whoever_stands_at_a_segment_takes_what_was_found_there() {
        let bytes = blocks();
        for segment_len in [5_000, 20_000, 70_000] {
            let (found, opened) = scan_blocks(&bytes, Key::PLAIN, segment_len);
            assert_eq!(found.len(), 400);
            // Once for the network, and for each segment to look for a record, but for the first, and to go on
            // from there; and nobody alone.
            assert_eq!(opened, 2 * bytes.len().div_ceil(segment_len), "{segment_len}");
        }
    }

    #[test]
    fn the_records_of_a_ledger_begin_behind_its_head() {
        let record = |number: usize| {
            let mut record = Vec::new();
            put_record(&mut record, &vec![7; 80 + (number * 37) % 500]);
            record
        };
        let head = vec![0; 3000];
        let bytes = [head.clone(), (0..400).flat_map(record).collect()].concat();
        for segment_len in [5_000, 20_000, 70_000] {
            let (found, opened) = scan_ledger(&bytes, head.len(), segment_len);
            assert_eq!(found.len(), 400);
            assert!(found.iter().all(|found| matches!(found, Found::Block { .. })));
            let segments = (bytes.len() - head.len()).div_ceil(segment_len);
            assert_eq!(opened, 2 * segments - 1, "{segment_len}");
        }
    }

    #[test]
    fn a_segment_that_begins_within_a_block_is_not_believed() {
        // Whoever makes a transaction may put blocks in it.
        let inner: Vec<u8> = (1000..1060).flat_map(|salt| record(&block(salt, 200))).collect();
        let mut around = block(1, 20_000);
        around[200..][..inner.len()].copy_from_slice(&inner);
        let bytes = [blocks(), record(&around), blocks()].concat();
        for segment_len in [1_000, 3_000, 9_000] {
            let (found, opened) = scan_blocks(&bytes, Key::PLAIN, segment_len);
            assert_eq!(found.len(), 400 + 1 + 400, "{segment_len}");
            // It is passed over, and those behind it are taken: each was opened twice, but for a few without records.
            let segments = bytes.len() / segment_len;
            assert!(opened > segments + segments / 2, "{segment_len}: {opened} of {segments}");
        }
    }

    /// Blocks may be so small that there are more of them than are kept.
    #[test]
    fn what_is_found_ahead_is_bounded() {
        let bytes = blocks();
        let alone = scan_alone(BlockScanner::new(&bytes[..], Key::PLAIN, None));
        for found_max in [0, 5, 12, 100] {
            let (open, _) = file(&bytes);
            let len = bytes.len() as u64;
            let framing = Blocks::new(open, Key::PLAIN);
            let segments = Segments::new(framing, 0, len, 8_000, three_threads());
            let mut segments = Segments { found_max, ..segments };
            segments.scan_ahead();
            let found = segments.ahead.iter().map(|segment| segment.found.len()).sum::<usize>();
            assert!(found <= found_max && found + 6 > found_max, "{found} of {found_max}");
            assert_eq!(scan_alone(segments), alone, "{found_max}");
        }
    }

    /// How much may be looked at again depends on what was found before.
    #[test]
    fn second_looks_are_those_of_the_whole_file() {
        // Heads alone, each of which claims more than there is of the next.
        let heads = |count: u32| {
            let head = |salt| record_of(&block(salt, 200)[..80], 3_000_000);
            (0..count).flat_map(head).collect::<Vec<_>>()
        };
        let bytes = [blocks(), heads(40), blocks(), heads(40), blocks(), heads(3)].concat();
        let mut different = Vec::new();
        // They last for the first heads, or for those and some more, or are never there.
        for second_look in [SECOND_LOOK_MAX, 15_000_000, 12_000_000, 9_000_000, 100_000, 0] {
            let means = Means { second_look, ..Means::ALONE };
            let start = State { means, ..State::start(0) };
            let alone = scan_alone(BlockScanner::resume(&bytes[..], Key::PLAIN, start));
            for segment_len in [2_000, 30_000] {
                let (framing, len) = (Blocks::new(file(&bytes).0, Key::PLAIN), bytes.len() as u64);
                let segments = Segments::new(framing, 0, len, segment_len, three_threads());
                let segments = Segments { at: start, ..segments };
                assert!(scan_alone(segments) == alone, "{second_look}, every {segment_len}");
            }
            if !different.contains(&alone) {
                different.push(alone);
            }
        }
        assert!(different.len() > 2, "{}", different.len());
    }

    /// Whoever hides lengths in a block has no thread read for longer, or keep more in memory.
    #[test]
    fn a_segment_is_read_no_further_than_it_must_be() {
        let mut lying = Vec::new();
        put_record(&mut lying, &[7; 80]);
        lying[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
        let checksum = crc32c::crc32c(&lying[..12]);
        lying[12..16].copy_from_slice(&checksum.to_le_bytes());
        let mut bytes = Vec::new();
        put_record(&mut bytes, &[&[7; 80][..], &lying.repeat(300_000)].concat());
        put_record(&mut bytes, &[8; 80]);
        let (open, _) = file(&bytes);
        let end = 1 << 20;
        let found = scan(&Ledger { open }, 1000..end, 0, 100).expect("a head");
        assert!(found.found.is_empty() && found.end.offset == found.first && !found.is_last);
        // What is longer than a thread may hold is found all the same.
        let mut long = Vec::new();
        for number in 0..3 {
            put_record(&mut long, &[vec![7; 80], vec![number; 6 << 20]].concat());
        }
        let ledger = Ledger { open: file(&long).0 };
        let found = scan(&ledger, 0..long.len() as u64, 0, 100).expect("a head");
        assert!(found.found.is_empty() && found.end.offset == 0);
        assert_eq!(scan_ledger(&long, 0, 1 << 20).0.len(), 3);
        assert_eq!(scan_ledger(&bytes, 0, 1 << 20).0.len(), 2);
        let mut limited = Limited::new(&file(&bytes).0, 10, 20);
        let mut read = Vec::new();
        limited.read_to_end(&mut read).expect_err("the limit");
        assert_eq!(read, bytes[10..20]);
    }

    fn scan_alone(mut scanner: impl Scan) -> Vec<Found> {
        let next = || scanner.next().expect("memory can be read");
        std::iter::repeat_with(next).take_while(|found| *found != Found::End).collect()
    }

    /// A file that cannot be read at one place is read up to there.
    #[test]
    fn a_failure_is_told_in_its_place() {
        struct Failing(Bytes, u64);
        impl Read for Failing {
            fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
                let left = self.1.saturating_sub(self.0.position());
                match left {
                    0 => Err(io::Error::other("bad sector")),
                    left => self.0.by_ref().take(left).read(out),
                }
            }
        }
        let bytes = blocks();
        let bad = bytes.len() as u64 / 2;
        let alone = {
            let mut scanner = BlockScanner::new(&bytes[..], Key::PLAIN, None);
            let mut whole = 0;
            while scanner.next().is_ok() && scanner.state().offset <= bad {
                whole += 1;
            }
            whole
        };
        let file = Arc::<[u8]>::from(&bytes[..]);
        let pool = Arc::new(rayon::ThreadPoolBuilder::new().num_threads(2).build().expect("two"));
        let open = move |offset| {
            let mut cursor = Cursor::new(Arc::clone(&file));
            cursor.set_position(offset);
            Failing(cursor, bad)
        };
        let len = bytes.len() as u64;
        let framing = Blocks::new(Box::new(open), Key::PLAIN);
        let mut segments = Segments::new(framing, 0, len, 9_000, pool);
        let mut found = 0;
        let failure = loop {
            match segments.next() {
                Ok(_) => found += 1,
                Err(failure) => break failure,
            }
        };
        assert_eq!(found, alone);
        assert!(matches!(failure, ScanError::Read(error) if error.to_string() == "bad sector"));
    }
}
