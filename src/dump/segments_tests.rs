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
pub(in crate::dump) fn scan_ledger(bytes: &[u8], start: usize, len: usize) -> (Vec<Found>, usize) {
    let (open, opened) = file(bytes);
    let found = scan_on_threads(Ledger { open }, start, bytes.len(), len);
    (found, opened.load(Relaxed))
}

fn scan_on_threads(framing: impl Framing, start: usize, file_len: usize, len: usize) -> Vec<Found> {
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
