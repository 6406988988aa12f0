//! The chain file: nothing that was committed is lost, and nothing that was changed goes unnoticed.

mod common;

use std::io;

use blockmill::Error;
use blockmill::bitcoin::{LoadedHeaders, Network, Params};
use blockmill::chain::file::{
    ChainFile, ChainFileError, Commit, FileHead, FileLevel, FileStorage, MemoryStorage, Storage,
    TipRecord,
};
use blockmill::primitives::{Hash256, Header};
use blockmill::stages::Options;

use common::chain::{dump, extend, from_genesis};
use common::chain_file::{
    FRAMES, PAGE, SLOTS, Shared, Slot, append_headers, append_headers_on, dissect, header_file,
    with_frame,
};
use common::judge::options;

fn regtest() -> Params {
    Params::of(Network::Regtest)
}

fn open(bytes: &[u8]) -> Result<LoadedHeaders, ChainFileError> {
    LoadedHeaders::open(Box::new(MemoryStorage { bytes: bytes.to_vec() }))
}

/// What opening fails with.
fn fault(bytes: &[u8]) -> ChainFileError {
    match open(bytes) {
        Ok(_) => panic!("it opens"),
        Err(error) => error,
    }
}

fn tip_of(loaded: &LoadedHeaders) -> Hash256 {
    loaded.tree.block(loaded.store.tip()).id()
}

/// All headers of the best branch, as the file gives them back.
fn headers_of(bytes: &[u8]) -> Vec<Header> {
    let LoadedHeaders { mut store, tree } = open(bytes).expect("a chain file");
    let mut numbers: Vec<_> =
        std::iter::successors(Some(store.tip()), |number| tree.parent(*number)).collect();
    numbers.reverse();
    let header = |number| store.header(number, tree.block(number)).expect("a header");
    numbers.into_iter().map(header).collect()
}

/// Five headers in one commit, then three on another branch: a take back, and seven in a second run.
fn with_a_reorganisation() -> (Shared, Vec<Header>) {
    let first = from_genesis(&regtest(), 5);
    let branch = extend(&first[3], 4, 7);
    let best = [&first[..4], &branch].concat();
    let file = header_file(&[first, [&best[..], &[]].concat()]);
    (file, best)
}

#[test]
fn headers_come_back_and_the_same_dump_changes_nothing() {
    for length in [0, 1, 2, 100] {
        let chain = from_genesis(&regtest(), length);
        let once = header_file(std::slice::from_ref(&chain));
        assert_eq!(headers_of(&once.bytes()), chain);
        let writes = once.writes();
        let twice = header_file(&[chain.clone(), chain.clone()]);
        assert_eq!(twice.bytes(), once.bytes());
        assert_eq!(twice.writes(), writes);
        // A part of it is nothing new either.
        let part = header_file(&[chain.clone(), chain[..=length / 2].to_vec()]);
        assert_eq!(part.bytes(), once.bytes());
    }
}

#[test]
fn a_longer_branch_reorganises_the_file_and_a_tie_does_not() {
    let (file, best) = with_a_reorganisation();
    assert_eq!(headers_of(&file.bytes()), best);
    let frames: Vec<_> = dissect(&file.bytes()).frames.iter().map(|(_, kind, _)| *kind).collect();
    assert_eq!(frames, [2, 3, 2]);
    assert_eq!(open(&file.bytes()).expect("a file").store.file().reorganisations(), 1);
    // As much work on a third branch: first seen wins.
    let tie = [&best[..2], &extend(&best[1], 6, 9)].concat();
    assert_eq!(tie.len(), best.len());
    let same = header_file(&[from_genesis(&regtest(), 5), best.clone(), tie]);
    assert_eq!(same.bytes(), file.bytes());
    // Back to the first branch, whose headers the file knows, and on from there.
    let first = from_genesis(&regtest(), 5);
    let longer = [&first[..], &extend(&first[5], 3, 11)].concat();
    let news = longer[6..].to_vec();
    let back = header_file(&[first, best, news]);
    assert_eq!(headers_of(&back.bytes()), longer);
}

#[test]
fn what_is_far_ahead_is_committed_early_and_an_interruption_keeps_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("dump.hdr");
    let chain = from_genesis(&regtest(), 101_500);
    std::fs::write(&path, dump(&chain)).expect("a file");
    let cpu = blockmill::compute::Cpu::new(1).expect("a thread");
    let file = Shared::default();
    let options = options(Some(regtest()));
    let (validation, acks) = append_headers_on(&cpu, &path, &options, &file, true);
    assert!(matches!(validation, Err(Error::Interrupted)));
    // The file follows as soon as the chain is 100,000 ahead, wherever a batch ends, and when it stops.
    assert_eq!(acks.iter().map(|(height, _)| *height).collect::<Vec<_>>(), [100_000, 100_999]);
    assert_eq!(acks[1].1, chain[100_999].id().to_string());
    assert_eq!(headers_of(&file.bytes()), chain[..=100_999]);
    // No frame holds more than 4,096 headers: a count takes two bytes at most.
    for (_, _, payload) in dissect(&file.bytes()).frames {
        assert!(payload.len() <= 4096 * (36 + 3) + 16);
    }
    let (validation, acks) = append_headers(&path, &options, &file);
    assert_eq!(acks.iter().map(|(height, _)| *height).collect::<Vec<_>>(), [101_500]);
    let stored = validation.expect("a judgement").stored.expect("a file");
    assert_eq!((stored.height, stored.id), (101_500, chain[101_500].id()));
    assert_eq!(stored.bytes, file.len().expect("memory"));
    // A failure on the way is what is reported, not that nothing can be written after it.
    let file = Shared::default();
    file.fail_after(0);
    let error = append_headers(&path, &options, &file).0.expect_err("a failed sync");
    assert!(error.to_string().contains("the disk is gone"), "{error}");
}

/// A branch that is left behind when the file follows, and has the most work later: its first headers are kept
/// until then, and the file is the same whoever appends and wherever batches end.
#[test]
fn headers_beside_the_branch_that_the_file_follows_wait_for_their_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("dump.hdr");
    let chain = from_genesis(&regtest(), 100_003);
    let branch = extend(&chain[99_990], 20, 7);
    let (behind, ahead) = branch.split_at(5);
    let parts = [&chain[..=99_990], behind, &chain[99_991..], ahead];
    std::fs::write(&path, dump(&parts.concat())).expect("a file");
    let best = [&chain[..=99_990], &branch].concat();
    let mut first: Option<Vec<u8>> = None;
    for (batch, overlap) in [(1_000, false), (1_000, true), (7_777, true), (1 << 20, true)] {
        let options = Options { batch, overlap, ..options(Some(regtest())) };
        let file = Shared::default();
        let (validation, acks) = append_headers(&path, &options, &file);
        assert_eq!(validation.expect("a judgement").stored.expect("a file").height, 100_010);
        assert_eq!(acks.iter().map(|(height, _)| *height).collect::<Vec<_>>(), [100_000, 100_010]);
        let bytes = file.bytes();
        assert_eq!(headers_of(&bytes), best);
        let kinds: Vec<_> = dissect(&bytes).frames.iter().map(|(_, kind, _)| *kind).collect();
        assert_eq!(kinds, [&[2; 25][..], &[3, 2]].concat());
        assert!(*first.get_or_insert_with(|| bytes.clone()) == bytes, "{batch}, {overlap}");
    }
}

#[test]
fn what_passed_before_a_rejected_header_is_kept() {
    let mut chain = from_genesis(&regtest(), 20);
    let bad = common::chain::Draft { version: 1, ..common::chain::Draft::after(&chain[20]) };
    chain.push(bad.mine());
    let file = header_file(std::slice::from_ref(&chain));
    assert_eq!(headers_of(&file.bytes()), chain[..=20]);
}

#[test]
fn another_network_a_moved_fork_and_a_trusted_start_are_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("dump.hdr");
    let refused = |chain: &[Header], options: &Options, file: &Shared| {
        std::fs::write(&path, dump(chain)).expect("a file");
        let (before, writes) = (file.bytes(), file.writes());
        let (validation, acks) = append_headers(&path, options, file);
        let error = validation.expect_err("a refusal");
        assert_eq!((error.exit_code(), acks.len()), (2, 0), "{error}");
        assert_eq!((file.bytes(), file.writes()), (before, writes));
        error.to_string()
    };
    let chain = from_genesis(&regtest(), 5);
    let file = header_file(std::slice::from_ref(&chain));
    let main = from_genesis(&Params::of(Network::Main), 0);
    let text = refused(&main, &options(Some(Params::of(Network::Main))), &file);
    assert!(text.contains("holds the chain"), "{text}");
    // Recognised, not named.
    refused(&main, &options(None), &file);
    let mut moved = options(Some(regtest()));
    moved.activation_heights = vec![("bip34".into(), 3)];
    let text = refused(&chain, &moved, &file);
    assert!(text.contains("soft forks"), "{text}");
    let mut trusting = options(Some(regtest()));
    trusting.start_height = Some(3);
    let text = refused(&chain[3..], &trusting, &file);
    assert!(text.contains("--start-height"), "{text}");
}

#[test]
fn heights_of_forks_that_were_moved_are_part_of_the_file() {
    let mut moved = regtest();
    moved.heights.csv = 77;
    let file = open(&LoadedHeaders::empty_file(&moved)).expect("a file");
    assert_eq!(file.store.params(), &moved);
}

#[test]
fn a_file_of_another_level_or_family_is_told_apart() {
    let wanted = LoadedHeaders::file_head(&regtest());
    let same = wanted.clone();
    assert_eq!(same.difference(&wanted), None);
    let blocks = FileHead { level: FileLevel::Blocks, ..wanted.clone() };
    let ledger = FileHead { is_ledger: true, level: FileLevel::Full, ..wanted.clone() };
    for other in [blocks, ledger] {
        assert!(other.difference(&wanted).is_some());
        let bytes = ChainFile::<MemoryStorage>::empty(&other);
        assert!(matches!(fault(&bytes), ChainFileError::NotAChainFile(_)));
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("chain");
        std::fs::write(&path, &bytes).expect("a file");
        let error = blockmill::stages::open_or_create(&path, &wanted).err().expect("a refusal");
        assert_eq!(error.exit_code(), 2, "{error}");
        assert_eq!(std::fs::read(&path).expect("a file"), bytes);
    }
}

#[test]
fn mainnet_headers_take_at_most_39_5_bytes_each() {
    let Some(bytes) = common::read_data("bitcoin-headers/mainnet_0-32260.hdr") else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("dump.hdr");
    std::fs::write(&path, &bytes).expect("a file");
    let file = Shared::default();
    let (validation, _) = append_headers(&path, &options(None), &file);
    validation.expect("a judgement");
    assert!(dump(&headers_of(&file.bytes())) == bytes);
    let each = file.bytes().len() as f64 / 32_260.0;
    eprintln!("{each:.2} bytes a header, everything included");
    assert!(each <= 39.5, "{each}");
}

#[test]
fn a_device_that_lies_about_an_id_is_caught_before_the_file_is_written() {
    use blockmill::compute::Backend;
    use blockmill::primitives::{HashFunction, Trees};

    /// Right, but for the last id of each batch, which no header names.
    struct Liar(blockmill::compute::Cpu);
    impl Backend for Liar {
        fn name(&self) -> &'static str {
            "liar"
        }
        fn device(&self) -> String {
            "liar".into()
        }
        fn header_ids(&self, headers: &[Header], ids: &mut [Hash256]) {
            self.0.header_ids(headers, ids);
            if let Some(last) = ids.last_mut() {
                *last = Hash256::ZERO;
            }
        }
        fn confirm_header_ids(&self, headers: &[Header], ids: &mut [Hash256]) {
            self.0.header_ids(headers, ids);
        }
        fn merkle_roots(&self, trees: &Trees, roots: &mut [Hash256]) {
            self.0.merkle_roots(trees, roots);
        }
        fn hash_messages(&self, function: HashFunction, messages: &[&[u8]], out: &mut [Hash256]) {
            self.0.hash_messages(function, messages, out);
        }
        fn rfc6962_roots(&self, trees: &Trees, roots: &mut [Hash256]) {
            self.0.rfc6962_roots(trees, roots);
        }
        #[cfg(feature = "mine")]
        fn search(&self, job: &blockmill::compute::SearchJob) -> Option<u32> {
            self.0.search(job)
        }
        #[cfg(feature = "mine")]
        fn search_span(&self) -> u32 {
            self.0.search_span()
        }
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("dump.hdr");
    let chain = from_genesis(&regtest(), 30);
    std::fs::write(&path, dump(&chain)).expect("a file");
    let liar = Liar(blockmill::compute::Cpu::new(1).expect("a thread"));
    let file = Shared::default();
    let options = options(Some(regtest()));
    append_headers_on(&liar, &path, &options, &file, false).0.expect("a judgement");
    assert_eq!(headers_of(&file.bytes()), chain);
}

// The core: damage, commits, locks.

/// The file after its first commit, and after its second, which reorganises it.
fn two_commits() -> [Vec<u8>; 2] {
    let first = from_genesis(&regtest(), 5);
    let (file, _) = with_a_reorganisation();
    [header_file(&[first]).bytes(), file.bytes()]
}

/// Where the slot of the later commit is, and that of the one before.
fn later_and_earlier(bytes: &[u8]) -> [usize; 2] {
    let [a, b] = dissect(bytes).slots;
    if a.sequence > b.sequence { SLOTS } else { [SLOTS[1], SLOTS[0]] }
}

#[test]
fn the_bytes_are_those_of_the_specification() {
    let [before, after] = two_commits();
    let [a, b] = dissect(&after).slots;
    // An empty file holds commits 0 and 1; two more followed.
    assert_eq!((a.sequence, b.sequence), (2, 3));
    assert_eq!((a.len, b.len), (before.len() as u64, after.len() as u64));
    assert_eq!(&after[..12], b"\x89bmchn\r\n\x01\0\0\0");
    let tip = open(&after).expect("a file");
    assert_eq!(b.tip[4..], *tip_of(&tip).as_bytes());
    assert_eq!(u32::from_le_bytes(b.tip[..4].try_into().expect("four bytes")), 7);
    // What another writer makes of the specification is read.
    let skippable = with_frame(&after, 0x80 | 9, b"from a later version");
    let loaded = open(&skippable).expect("a frame that may be skipped");
    assert_eq!(tip_of(&loaded), tip_of(&tip));
    let critical = with_frame(&after, 9, b"from a later version");
    let error = fault(&critical);
    assert!(matches!(error, ChainFileError::NotAChainFile(_)), "{error}");
    assert!(error.to_string().contains(&format!("offset {}", after.len())), "{error}");
}

#[test]
fn frames_that_make_no_sense_are_damage_at_their_place() {
    let [_, bytes] = two_commits();
    for (kind, payload) in [
        (1, &b"a block"[..]), // in a file of headers
        (2, b""),
        (2, &[1, 1, 1, 0, 0, 0, 0]),
        (3, &[8]),    // below genesis
        (3, &[1, 1]), // more than a number
        (3, b""),
    ] {
        match fault(&with_frame(&bytes, kind, payload)) {
            ChainFileError::Damaged { offset, height, .. } => {
                assert_eq!((offset, height), (bytes.len() as u64, 7), "{kind} {payload:?}");
            }
            other => panic!("{other}"),
        }
    }
    // A take back that is right, and a commit that does not say so.
    let error = fault(&with_frame(&bytes, 3, &[1]));
    assert!(matches!(error, ChainFileError::Damaged { height: 6, .. }), "{error}");
}

#[test]
fn a_file_cut_within_its_last_commit_is_damaged_there() {
    let [before, after] = two_commits();
    let frames = dissect(&after).frames;
    for cut in FRAMES..after.len() {
        let ChainFileError::Damaged { offset, height, .. } = fault(&after[..cut]) else {
            panic!("not damaged at {cut}");
        };
        assert_eq!(offset, cut as u64);
        let whole = frames.iter().filter(|(at, _, payload)| at + 9 + payload.len() <= cut).count();
        assert_eq!(height, [0, 5, 3, 7][whole], "cut at {cut}");
    }
    assert!(before.len() > FRAMES);
    // Within slots and head.
    for cut in 0..FRAMES {
        fault(&after[..cut]);
    }
}

#[test]
fn the_older_commit_opens_when_the_later_one_never_came_about() {
    let [before, after] = two_commits();
    let frames = dissect(&after).frames;
    let [later, _] = later_and_earlier(&after);
    for cut in before.len()..=after.len() {
        let mut bytes = after[..cut].to_vec();
        bytes[later..later + PAGE].fill(0);
        let loaded = open(&bytes).unwrap_or_else(|error| panic!("cut at {cut}: {error}"));
        let whole = frames.iter().filter(|(at, _, payload)| at + 9 + payload.len() <= cut);
        let end = whole.map(|(at, _, payload)| at + 9 + payload.len()).max().expect("a frame");
        let opening = loaded.store.file().opening();
        assert_eq!(opening.bad_slot, Some(if later == SLOTS[0] { 'A' } else { 'B' }));
        assert_eq!(opening.kept, (end - before.len()) as u64, "cut at {cut}");
        assert_eq!(opening.dropped, (cut - end) as u64, "cut at {cut}");
        assert!(loaded.store.file().is_dirty());
        assert_eq!(loaded.store.file().bad_slot().map(|(_, at)| at), Some(later as u64));
    }
}

#[test]
fn work_goes_on_from_whatever_a_lost_slot_leaves() {
    let [before, after] = two_commits();
    let (_, best) = with_a_reorganisation();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("dump.hdr");
    let [later, _] = later_and_earlier(&after);
    for cut in before.len()..=after.len() {
        let mut bytes = after[..cut].to_vec();
        bytes[later..later + PAGE].fill(0);
        let file = Shared::of(bytes);
        // Even a dump that brings nothing new mends the slot, and leaves no half reorganisation.
        for dumped in [&best[..], &best[..2]] {
            std::fs::write(&path, dump(dumped)).expect("a file");
            // Nothing is written before what was found is safe.
            let failing = Shared::of(file.bytes());
            failing.fail_after(0);
            let failed = append_headers(&path, &options(Some(regtest())), &failing).0;
            assert!(failed.is_err() && failing.bytes() == file.bytes(), "cut at {cut}");
            let file = Shared::of(file.bytes());
            append_headers(&path, &options(Some(regtest())), &file).0.expect("a judgement");
            let loaded = open(&file.bytes()).expect("a file");
            assert_eq!(loaded.store.file().opening().bad_slot, None, "cut at {cut}");
            let height = loaded.tree.block(loaded.store.tip()).height();
            assert!(height == 7 || (dumped.len() == 2 && height == 5), "cut at {cut}: {height}");
        }
    }
}

#[test]
fn a_torn_tail_is_dropped() {
    let [before, after] = two_commits();
    // A tail that is longer than what comes in its place must go as well.
    let long = [&after[..], &[7; 5000]].concat();
    let lens = (before.len()..after.len()).chain([long.len()]);
    for cut in lens {
        // The slot of the second commit was never written.
        let mut bytes = long[..cut].to_vec();
        bytes[..FRAMES].copy_from_slice(&before[..FRAMES]);
        let loaded = open(&bytes).expect("the first commit");
        let opening = loaded.store.file().opening();
        let expected = (None, 0, (bytes.len() - before.len()) as u64);
        assert_eq!((opening.bad_slot, opening.kept, opening.dropped), expected);
        assert_eq!(headers_of(&bytes), from_genesis(&regtest(), 5));
        // What is appended then replaces it.
        let (_, best) = with_a_reorganisation();
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("dump.hdr");
        std::fs::write(&path, dump(&best)).expect("a file");
        let file = Shared::of(bytes);
        append_headers(&path, &options(Some(regtest())), &file).0.expect("a judgement");
        assert_eq!(file.bytes(), after);
    }
}

#[test]
fn one_bit_anywhere_is_noticed() {
    let [before, after] = two_commits();
    let frames = dissect(&after).frames;
    let tip = tip_of(&open(&after).expect("a file"));
    for place in 0..after.len() {
        let mut bytes = after.clone();
        bytes[place] ^= 1 << (place % 8);
        let Some((index, frame)) =
            frames.iter().enumerate().rev().find(|(_, (at, ..))| *at <= place)
        else {
            if place < PAGE {
                fault(&bytes);
                continue;
            }
            let loaded = open(&bytes).expect("the other slot");
            let opening = loaded.store.file().opening();
            let is_later = place / PAGE * PAGE == later_and_earlier(&after)[0];
            assert_eq!(opening.bad_slot, Some(if place < 2 * PAGE { 'A' } else { 'B' }));
            let kept = if is_later { after.len() - before.len() } else { 0 };
            assert_eq!((opening.kept, opening.dropped), (kept as u64, 0), "byte {place}");
            assert_eq!(tip_of(&loaded), tip);
            continue;
        };
        match fault(&bytes) {
            ChainFileError::Damaged { offset, height, .. } => {
                let expected = (frame.0 as u64, [0, 5, 3][index]);
                assert_eq!((offset, height), expected, "byte {place}");
            }
            other => panic!("byte {place}: {other}"),
        }
    }
    // Both slots: nothing says how long the file must be.
    let mut bytes = after.clone();
    bytes[SLOTS[0]] ^= 1;
    bytes[SLOTS[1]] ^= 1;
    let error = fault(&bytes);
    assert!(error.to_string().contains("neither"), "{error}");
}

#[test]
fn a_frame_in_another_place_is_noticed() {
    // Two frames of the same length, exchanged.
    let chain = from_genesis(&regtest(), 2);
    let bytes = header_file(&[chain[..2].to_vec(), chain]).bytes();
    let frames = dissect(&bytes).frames;
    let (first, second) = (frames[0].0, frames[1].0);
    if bytes.len() - second != second - first {
        panic!("the frames differ in length");
    }
    let exchanged = [&bytes[..first], &bytes[second..], &bytes[first..second]].concat();
    let error = fault(&exchanged);
    let expected = first as u64;
    assert!(
        matches!(error, ChainFileError::Damaged { offset, .. } if offset == expected),
        "{error}"
    );
}

fn core_head() -> FileHead {
    let chain_id = Hash256::from_bytes([7; 32]);
    FileHead { is_ledger: true, level: FileLevel::Full, chain_id, params: vec![1; 5000] }
}

fn tip_at(height: u32) -> TipRecord {
    let id = Hash256::from_bytes([9; 32]);
    TipRecord { height, id, tree_root: Hash256::from_bytes([8; 32]) }
}

/// The payloads of all frames that opening gives.
fn payloads(storage: impl Storage) -> Vec<Vec<u8>> {
    let mut payloads = Vec::new();
    ChainFile::open(storage, |_, _, _, frame| {
        payloads.push(frame.payload.to_vec());
        Ok(())
    })
    .map(|_| payloads)
    .expect("a chain file")
}

/// The file, open to be written by this thread, or `behind` it.
fn open_to_write(file: &Shared, behind: bool) -> ChainFile<Shared> {
    let chain = ChainFile::open(file.clone(), |_, _, _, _| Ok(())).expect("a file");
    if behind { chain.write_behind().expect("a thread") } else { chain }
}

#[test]
fn frames_of_any_length_come_back() {
    let bytes = [false, true].map(frames_come_back);
    assert!(bytes[0] == bytes[1], "the same bytes, whoever writes them");
}

fn frames_come_back(behind: bool) -> Vec<u8> {
    let file = Shared::of(ChainFile::<Shared>::empty(&core_head()));
    let sizes = [0, 1, 1 << 20, (1 << 20) - 9, 3 << 20, 5];
    let mut chain = open_to_write(&file, behind);
    assert_eq!(chain.head(), &core_head());
    assert!(chain.is_empty() && !chain.is_dirty());
    let mut offsets = Vec::new();
    for size in sizes {
        offsets.push((chain.append_block(&vec![7; size]).expect("memory"), size));
    }
    assert!(chain.is_dirty());
    for (offset, size) in offsets {
        assert_eq!(chain.payload(offset).expect("memory"), vec![7; size]);
    }
    chain.commit(tip_at(6)).expect("memory");
    assert!(!chain.is_dirty());
    drop(chain);
    let lens: Vec<_> = payloads(file.clone()).iter().map(Vec::len).collect();
    assert_eq!(lens, sizes);
    file.bytes()
}

#[test]
fn readers_see_only_what_is_committed() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("chain");
    let storage = FileStorage::create(&path, &ChainFile::<Shared>::empty(&core_head()));
    let mut chain = ChainFile::open(storage.expect("a file"), |_, _, _, _| Ok(())).expect("a file");
    let read = || payloads(FileStorage::open_for_reading(&path).expect("a file")).len();
    let big = vec![1; 2 << 20];
    for height in 1..4 {
        chain.append_block(&big).expect("a disk");
        chain.payload(chain.len() - big.len() as u64 - 9).expect("it is on the disk");
        assert_eq!(read(), height as usize - 1);
        chain.commit(tip_at(height)).expect("a disk");
        assert_eq!(read(), height as usize);
    }
    // A second writer is refused, whatever it wants.
    let error = FileStorage::open(&path).expect_err("a second writer");
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    let error = FileStorage::create(&path, b"anything").expect_err("a second writer");
    assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
    let error = blockmill::stages::open_or_create(&path, &core_head()).err().expect("a refusal");
    assert!(matches!(error, Error::ChainFile { source: ChainFileError::Locked, .. }), "{error}");
    drop(chain);
    assert_eq!(payloads(FileStorage::open(&path).expect("now it is free")).len(), 3);
    let left: Vec<_> = std::fs::read_dir(folder.path()).expect("a folder").collect();
    assert_eq!(left.len(), 1);
}

#[test]
fn a_slot_that_is_caught_half_written_is_read_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("chain");
    let [_, whole] = two_commits();
    let [later, _] = later_and_earlier(&whole);
    let mut torn = whole.clone();
    torn[later..later + 2000].fill(0);
    std::fs::write(&path, &torn).expect("a file");
    let writer = std::thread::spawn({
        let path = path.clone();
        move || {
            std::thread::sleep(std::time::Duration::from_millis(15));
            std::fs::write(&path, &whole).expect("a file");
        }
    });
    let storage = FileStorage::open_for_reading(&path).expect("a file");
    let loaded = LoadedHeaders::open(Box::new(storage)).expect("a file");
    writer.join().expect("the writer");
    assert_eq!(loaded.store.file().opening(), &blockmill::chain::file::Opening::default());
}

#[test]
fn a_failed_sync_poisons_the_handle() {
    for (syncs, behind) in [(0, false), (1, false), (0, true), (1, true)] {
        let file = Shared::of(ChainFile::<Shared>::empty(&core_head()));
        let mut chain = open_to_write(&file, behind);
        chain.append_block(b"one").expect("memory");
        chain.commit(tip_at(1)).expect("memory");
        let acknowledged = file.bytes();
        chain.append_block(b"two").expect("memory");
        file.fail_after(syncs);
        let error = chain.commit(tip_at(2)).expect_err("a failed sync");
        assert!(matches!(error, ChainFileError::Io(_)), "{error}");
        let left = file.bytes();
        let poisoned = |result: Result<(), ChainFileError>| {
            assert!(matches!(result, Err(ChainFileError::Poisoned)));
        };
        poisoned(chain.append_block(b"three").map(drop));
        poisoned(chain.append_take_back(1).map(drop));
        poisoned(chain.commit(tip_at(2)));
        assert_eq!(file.bytes(), left, "nothing is written after a failure");
        // The first commit is there, whatever became of the second.
        let opened = payloads(MemoryStorage { bytes: left });
        assert_eq!(opened[0], b"one");
        if syncs == 0 {
            assert_eq!(opened.len(), 1);
            assert_eq!(file.bytes()[..acknowledged.len()], acknowledged);
        }
    }
}

/// Each commit is told of once, in order, and none that did not survive.
#[test]
fn commits_are_told_of_when_they_are_safe() {
    for behind in [false, true] {
        let file = Shared::of(ChainFile::<Shared>::empty(&core_head()));
        let mut chain = open_to_write(&file, behind);
        let heights = |settled: Vec<Commit>| -> Vec<_> {
            settled.iter().map(|commit| commit.tip.height).collect()
        };
        assert!(heights(chain.settled(true).expect("nothing fails")).is_empty());
        for height in 1..=3 {
            chain.append_block(b"a block").expect("memory");
            chain.begin_commit(tip_at(height)).expect("memory");
        }
        assert!(!chain.is_dirty());
        assert_eq!(heights(chain.settled(true).expect("memory")), [1, 2, 3]);
        assert_eq!(chain.commit_record().tip, tip_at(3));
        assert_eq!(payloads(MemoryStorage { bytes: file.bytes() }).len(), 3);
        assert!(heights(chain.settled(true).expect("nothing fails")).is_empty());
        // The second of these fails: with its frames, or with its slot and the frames of the third.
        file.fail_after(2);
        let mut begun = Ok(());
        for height in 4..=6 {
            chain.append_block(b"a block").expect("memory");
            begun = begun.and(chain.begin_commit(tip_at(height)));
            if begun.is_err() {
                break;
            }
        }
        let settled = chain.settled(true);
        assert!(begun.is_err() || settled.is_err());
        let told = settled.unwrap_or_else(|_| chain.settled(false).expect("those before it"));
        assert_eq!(heights(told), [4]);
        assert_eq!(chain.commit_record().tip, tip_at(4));
        assert!(chain.append_block(b"no more").is_err());
        assert!(heights(chain.settled(false).expect("nothing new")).is_empty());
        drop(chain);
        let opened = ChainFile::open(file, |_, _, _, _| Ok(())).expect("a file");
        // The slot of the second may have been written before the sync that failed.
        let tip = opened.commit_record().tip;
        assert!(tip == tip_at(4) || behind && tip == tip_at(5), "{tip:?}");
    }
}

/// A disk that panics, as a bug might make it.
struct Panics(MemoryStorage);

impl Storage for Panics {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(offset, bytes)
    }
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_at(offset, bytes)
    }
    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.0.truncate(len)
    }
    fn sync(&mut self) -> io::Result<()> {
        panic!("as it must")
    }
}

#[test]
fn nobody_waits_for_a_thread_that_has_ended() {
    let bytes = ChainFile::<Panics>::empty(&core_head());
    let storage = Panics(MemoryStorage { bytes });
    let chain = ChainFile::open(storage, |_, _, _, _| Ok(())).expect("a file");
    let mut chain = chain.write_behind().expect("a thread");
    let offset = chain.append_block(b"a block").expect("memory");
    chain.begin_commit(tip_at(1)).expect("it is asked for");
    assert!(chain.settled(true).is_err());
    assert!(chain.append_block(b"more").is_err());
    assert!(chain.payload(offset).is_err());
    assert!(chain.settled(true).is_err());
}

#[test]
fn a_failure_to_commit_is_what_the_command_reports() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("dump.hdr");
    std::fs::write(&path, dump(&from_genesis(&regtest(), 9))).expect("a file");
    let file = Shared::default();
    file.fail_after(0);
    let (validation, acks) = append_headers(&path, &options(Some(regtest())), &file);
    let error = validation.expect_err("a failed sync");
    assert!(error.to_string().contains("the disk is gone"), "{error}");
    assert_eq!((error.exit_code(), acks.len()), (5, 0));
}

/// The file with a later slot that says something else, as a faulty writer may have left it.
fn forged(bytes: &[u8], change: impl Fn(&mut Slot)) -> Vec<u8> {
    let at = later_and_earlier(bytes)[0];
    let [a, b] = dissect(bytes).slots;
    let mut slot = if at == SLOTS[0] { a } else { b };
    change(&mut slot);
    let mut out = bytes.to_vec();
    out[at..at + PAGE].copy_from_slice(&slot.encode());
    out
}

#[test]
fn what_the_slot_says_is_held_against_the_frames() {
    let [_, bytes] = two_commits();
    assert_eq!(forged(&bytes, |_| ()), bytes);
    let end = bytes.len() as u64;
    let damaged = |error: ChainFileError| match error {
        ChainFileError::Damaged { offset, height, what } => {
            assert_eq!((offset, height), (end, 7), "{what}");
            what
        }
        other => panic!("{other}"),
    };
    // Digest and height belong to the bytes: no rule of a family is needed to see them.
    let quick = |bytes: Vec<u8>| {
        let opened = ChainFile::open(MemoryStorage { bytes }, |_, _, _, _| Ok(()));
        damaged(opened.err().expect("a fault"))
    };
    let what = quick(forged(&bytes, |slot| slot.digest[0] ^= 1));
    assert!(what.contains("not those that were committed"), "{what}");
    let what = quick(forged(&bytes, |slot| {
        slot.tip[0] ^= 1;
        slot.tree[0] ^= 3; // size: height + 1, which was 8 and is 7
        slot.tree[0] ^= 12;
    }));
    assert!(what.contains("not at height 6"), "{what}");
    // The tip and the root of the tree over the best branch are the family's.
    let what = damaged(fault(&forged(&bytes, |slot| slot.tip[4] ^= 1)));
    assert!(what.contains("was committed"), "{what}");
    damaged(fault(&forged(&bytes, |slot| slot.tree[8] ^= 1)));
    // A size that is not height + 1 is no slot at all.
    let loaded = open(&forged(&bytes, |slot| slot.tree[0] ^= 1)).expect("the other slot");
    assert_eq!(loaded.store.file().opening().bad_slot, Some('B'));
}

#[test]
fn branches_that_the_input_does_not_hold_are_not_reported() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("dump.hdr");
    let (file, best) = with_a_reorganisation();
    std::fs::write(&path, dump(&best)).expect("a file");
    let judged = append_headers(&path, &options(Some(regtest())), &file).0.expect("a judgement");
    let outcome = judged.outcome.expect("an outcome");
    assert_eq!(outcome.blocks.best_branch, best.len() as u64);
    assert_eq!((outcome.blocks.side, outcome.side_branches.len()), (0, 0));
    // The other branch is, once it comes.
    std::fs::write(&path, dump(&from_genesis(&regtest(), 5))).expect("a file");
    let judged = append_headers(&path, &options(Some(regtest())), &file).0.expect("a judgement");
    let outcome = judged.outcome.expect("an outcome");
    assert_eq!((outcome.blocks.side, outcome.side_branches.len()), (2, 1));
}
