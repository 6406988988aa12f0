use std::io;

use super::*;
use crate::dump::segments;
use crate::dump::test_blocks::{block, record, record_of};
use crate::dump::window::SECOND_LOOK_MAX;

const KEYS: [Key; 4] = [
    Key::PLAIN,
    Key([0x5a, 0x17, 0xc3, 0x99, 0x01, 0xfe, 0x70, 0x2b]),
    // Zeros on disk read as the first bytes of a magic.
    Key([0xfa, 0xfa, 0xbf, 0xb5, 0xfa, 0xbf, 0xfa, 0xbf]),
    Key([0xfa, 0xbf, 0xb5, 0xda, 0xfa, 0xbf, 0xb5, 0xda]),
];

/// What is found by a single scanner, and by several threads, wherever the file is cut.
fn scan(bytes: &[u8], key: Key) -> Vec<Found> {
    let all = scan_alone(bytes, key);
    let cuts = [97, 1000, bytes.len() / 5 + 1, bytes.len() / 2 + 1];
    for segment_len in cuts.into_iter().filter(|len| bytes.len() / len < 100) {
        assert_eq!(
            segments::tests::scan_blocks(bytes, key, segment_len).0,
            all,
            "every {segment_len}"
        );
    }
    all
}

fn scan_alone(reader: impl Read, key: Key) -> Vec<Found> {
    let mut scanner = BlockScanner::new(reader, key, None);
    let mut all = Vec::new();
    loop {
        match scanner.next().expect("memory can be read") {
            Found::End => return all,
            found => all.push(found),
        }
        let held = scanner.window.held();
        assert!(held < BLOCK_LEN_MAX + (1 << 20), "{held} bytes");
    }
}

/// What is found, and that it covers every byte.
fn found(bytes: &[u8]) -> Vec<Found> {
    let all = scan(bytes, Key::PLAIN);
    let len = |found: &Found| match found {
        Found::Block { bytes, .. } | Found::Junk { bytes, .. } | Found::Torn { bytes } => *bytes,
        Found::End => 0,
    };
    assert_eq!(all.iter().map(len).sum::<u64>(), bytes.len() as u64);
    assert!(all.iter().all(|found| len(found) > 0));
    all
}

fn is(block: &[u8]) -> Found {
    let header = Header::from_bytes(*block.first_chunk().expect("a header"));
    let bytes = 8 + block.len() as u64;
    Found::Block { header, head: 8, bytes, network: Some(Network::Regtest), fit: Fit::Exact }
}

const fn junk(bytes: usize) -> Found {
    Found::Junk { bytes: bytes as u64, why: JUNK }
}

const fn zeros(bytes: usize) -> Found {
    Found::Junk { bytes: bytes as u64, why: PREALLOCATED }
}

/// A block whose header proves no work.
fn unsolved(len: usize) -> Vec<u8> {
    let mut block = block(9, len);
    loop {
        block[76] = block[76].wrapping_add(1);
        let header = Header::from_bytes(*block.first_chunk().expect("a header"));
        if !header.is_solved_by(&header.id()) {
            return block;
        }
    }
}

#[test]
fn records_stand_between_anything() {
    assert_eq!(found(&[]), []);
    for b_len in [200, 141, 300_000, 70_000] {
        let (a, b) = (block(1, 333), block(2, b_len));
        let (ra, rb) = (record(&a), record(&b));
        assert_eq!(found(&[&ra[..], &rb].concat()), [is(&a), is(&b)]);
        let bytes = [b"junk", &ra[..], &[0; 300_000], &rb, &[0; 7], &ra, &[0; 70_000]].concat();
        let expected = [junk(4), is(&a), zeros(300_000), is(&b), zeros(7), is(&a), zeros(70_000)];
        assert_eq!(found(&bytes), expected);
        // Junk takes in a few zeros, and no more.
        let bytes =
            [&[0; 7], &b"x"[..], &[0; 63], &b"y"[..], &[0; 64], b"\xfa\xbf\xb5", &[0; 3], &rb]
                .concat();
        assert_eq!(found(&bytes), [junk(72), zeros(64), junk(6), is(&b)]);
        let bytes = [&ra[..], &vec![7; 300_000], &[0; 99], &[7; 100], &rb, b"end"].concat();
        let expected = [is(&a), junk(300_000), zeros(99), junk(100), is(&b), junk(3)];
        assert_eq!(found(&bytes), expected);
        // Magics that begin nothing.
        let magics = Network::ALL.map(Network::magic).concat();
        let bytes = [&ra[..], &magics[..2], &rb, &magics, &ra].concat();
        let length = Found::Junk { bytes: 20, why: "a record of a length that no block has" };
        assert_eq!(found(&bytes), [is(&a), junk(2), is(&b), length, is(&a)]);
    }
}

/// In an obfuscated file zeros on disk read as the key, and zeros that were written are other bytes.
#[test]
fn zeros_are_those_on_disk() {
    let (a, b) = (block(1, 333), block(2, 90_000));
    let (ra, rb) = (record(&a), record(&b));
    for key in KEYS {
        for len in (1..40).chain([299_999, 600_000]) {
            for behind in 0..9 {
                let mut bytes = [&[1; 9][..behind], &ra, &vec![0; len], &rb].concat();
                let hole = behind + ra.len();
                let mut reserved = vec![0; len];
                key.apply(&mut reserved, hole as u64);
                bytes[hole..][..len].copy_from_slice(&reserved);
                let mut end = vec![0; len];
                key.apply(&mut end, bytes.len() as u64);
                bytes.extend(end);
                let expected = [junk(behind), is(&a), zeros(len), is(&b), zeros(len)];
                assert_eq!(scan(&bytes, key), expected[usize::from(behind == 0)..], "{len}");
            }
        }
        // All of a file.
        let mut all = vec![0; 700_000];
        key.apply(&mut all, 0);
        assert_eq!(scan(&all, key), [zeros(700_000)]);
    }
    let mut written = [&ra[..], &[0; 100], &rb].concat();
    written[ra.len()] = 1;
    assert_eq!(scan(&written, KEYS[1]), [is(&a), junk(100), is(&b)]);
}

/// A node judges what stands at its place, whatever its work; elsewhere work is the only witness.
#[test]
fn work_is_asked_for_behind_junk_alone() {
    let (a, b) = (unsolved(300), block(2, 200));
    let (ra, rb) = (record(&a), record(&b));
    assert_eq!(found(&[&ra[..], &ra, &rb].concat()), [is(&a), is(&a), is(&b)]);
    let bytes = [b"x", &ra[..], &rb, &[0; 50], &ra, b"x", &ra].concat();
    let tail = [is(&b), zeros(50), is(&a), junk(1 + ra.len())];
    assert_eq!(found(&bytes), [&[junk(1 + ra.len())][..], &tail].concat());
    let bytes = [b"x", &[0; 50][..], &ra, &rb, b"x", &[0; 70], &rb].concat();
    let expected = [junk(51 + ra.len()), is(&b), junk(1), zeros(70), is(&b)];
    assert_eq!(found(&bytes), expected);
}

/// Wherever it is cut, what is there is found, and the rest is torn.
#[test]
fn every_cut_is_a_torn_tail() {
    let (a, b) = (block(1, 200), block(2, 190));
    let bytes = [&record(&a)[..], &record(&b)].concat();
    for cut in 1..bytes.len() {
        let before = if cut < 208 { vec![] } else { vec![is(&a)] };
        let torn = cut - if cut < 208 { 0 } else { 208 };
        let torn = if torn == 0 { vec![] } else { vec![Found::Torn { bytes: torn as u64 }] };
        assert_eq!(found(&bytes[..cut]), [before, torn].concat(), "{cut}");
        // Behind junk a whole magic is needed.
        let behind = found(&[b"x", &bytes[..cut]].concat());
        assert!(matches!(behind[0], Found::Junk { bytes, .. } if bytes == 1 || cut < 4), "{cut}");
    }
    // A record that breaks off before another, even before a torn one.
    for kept in 0..190 {
        let why = "a record that breaks off";
        let broken = Found::Junk { bytes: 8 + kept as u64, why };
        let bytes = [&record_of(&a[..kept], 4_000_000)[..], &record(&b), &record(&b)].concat();
        let found = found(&bytes);
        assert_eq!(found, [broken, is(&b), is(&b)], "{kept}");
    }
}

/// A block that fits its record in this way.
fn fitting(block: &[u8], fit: Fit) -> Found {
    let Found::Block { header, head, bytes, network, .. } = is(block) else {
        unreachable!("a block")
    };
    Found::Block { header, head, bytes, network, fit }
}

/// A block whose head tells another length.
fn lying(block: &[u8]) -> Found {
    fitting(block, Fit::HeadLies)
}

/// A block whose record goes on behind it.
fn shorter(block: &[u8]) -> Found {
    fitting(block, Fit::Shorter)
}

/// What a record holds behind its block.
const fn behind(bytes: usize) -> Found {
    Found::Junk { bytes: bytes as u64, why: BEHIND }
}

#[test]
fn a_block_says_itself_where_it_ends() {
    let (a, b) = (block(1, 300), block(2, 200));
    let rb = record(&b);
    for claimed in [301, 308, 400, 508, 509, 5000, 3_999_999, 4_000_000] {
        let long = record_of(&a, claimed);
        assert_eq!(
            found(&[&long[..], &rb, &rb].concat()),
            [lying(&a), is(&b), is(&b)],
            "{claimed}"
        );
        // At the end of the file, and before zeros, which the record says are its own.
        assert_eq!(found(&long), [lying(&a)]);
        let own = claimed - 300;
        let with_zeros = match claimed {
            ..9000 => vec![shorter(&a), behind(own), zeros(9000 - own)],
            _ => vec![lying(&a), zeros(9000)],
        };
        assert_eq!(found(&[&long[..], &[0; 9000]].concat()), with_zeros, "{claimed}");
    }
    let long = record_of(&[&a[..], &[7; 100]].concat(), 400);
    let expected = [shorter(&a), behind(100), is(&b), is(&b)];
    assert_eq!(found(&[&long[..], &rb, &rb].concat()), expected);
    // Right behind the claim a record is believed as behind a block.
    let weak = unsolved(200);
    let expected = [shorter(&a), behind(100), is(&weak)];
    assert_eq!(found(&[&long[..], &record(&weak)].concat()), expected);
    assert_eq!(found(&[&long[..], b"junk"].concat()), [shorter(&a), behind(100), junk(4)]);
    let zeroed = record_of(&[&a[..], b"junk", &[0; 96]].concat(), 400);
    let expected = [shorter(&a), behind(100), is(&weak)];
    assert_eq!(found(&[&zeroed[..], &record(&weak)].concat()), expected);
}

/// Zeros that a record says are its own are no room that a node reserved.
#[test]
fn zeros_within_a_record_are_no_reserved_room() {
    let (a, b) = (block(1, 300), block(2, 200));
    for len in [1, 3, 7, 8, 20, 63, 64, 200, 300_000] {
        let within = record_of(&[&a[..], &vec![0; len]].concat(), 300 + len);
        let bytes = [&within[..], &record(&b), &[0; 30]].concat();
        assert_eq!(found(&bytes), [shorter(&a), behind(len), is(&b), zeros(30)], "{len}");
        // On disk, and then as they read.
        for key in KEYS {
            let mut hidden = bytes.clone();
            key.apply(&mut hidden[308..308 + len], 308);
            assert_eq!(scan(&hidden, key)[..2], [shorter(&a), behind(len)], "{len}");
        }
    }
}

/// What a record has lost, it takes from the next one: bytes of any kind, zeros among them.
#[test]
fn a_record_that_lost_bytes_does_not_hide_the_next() {
    let (a, b) = (block(1, 1000), block(2, 600));
    let (ra, rb) = (record(&a), record(&b));
    for lost in 1..400 {
        for at in [88, 90, 140, 141, 300, 600, ra.len() - lost] {
            let left = [&ra[..at], &ra[at + lost..]].concat();
            let found = found(&[&left[..], &rb, &rb].concat());
            let (broken, rest) = found.split_at(found.len() - 2);
            assert_eq!(rest, [is(&b), is(&b)], "{lost} bytes lost at {at}");
            let is_broken = matches!(broken, [Found::Junk { why: MISFIT | BROKEN_OFF, .. }]);
            assert!(is_broken, "{lost} bytes lost at {at}: {broken:?}");
        }
    }
}

/// Whoever makes a transaction may put a record in it. That hides no block which fits its header, whatever
/// stands behind it.
#[test]
fn a_record_within_a_block_does_not_hide_it() {
    let inner = record(&block(2, 200));
    let mut around = block(1, 600);
    around[200..200 + inner.len()].copy_from_slice(&inner);
    let root = sha256d(&around[81..]);
    let draft = Header::from_bytes(*around.first_chunk().expect("a header"));
    let solve = |nonce| {
        let (version, parent) = (draft.version(), draft.parent());
        let header = Header::from_fields(version, parent, root, draft.time(), draft.bits(), nonce);
        header.is_solved_by(&header.id()).then_some(header)
    };
    let fits = (0..).find_map(solve).expect("easy");
    let mut whole = around.clone();
    whole[..Header::LEN].copy_from_slice(fits.as_bytes());
    let bytes = [&record(&whole)[..], b"junk"].concat();
    assert_eq!(found(&bytes), [is(&whole), junk(4)]);
    let bytes = [&record_of(&whole, 650)[..], &[7; 50]].concat();
    assert_eq!(found(&bytes), [shorter(&whole), behind(50)]);
    // One that does not fit its header has lost some bytes, unless its record clearly ends.
    let bytes = [&record(&around)[..], b"junk"].concat();
    let broken = Found::Junk { bytes: 208, why: MISFIT };
    assert_eq!(found(&bytes), [broken, is(&block(2, 200)), junk(196)]);
    for (behind, then) in [(&inner[..], is(&block(2, 200))), (&[0; 64], zeros(64))] {
        let bytes = [&record(&around)[..], behind].concat();
        assert_eq!(found(&bytes), [is(&around), then]);
    }
}

#[test]
fn lengths_that_no_block_has_are_junk() {
    let (a, b) = (block(1, 300), block(2, 200));
    for claimed in [0, 1, 80, 4_000_001, 1 << 31, u32::MAX as usize] {
        let why = "a record of a length that no block has";
        let bytes = [&record(&b)[..], &record_of(&a, claimed), &record(&b)].concat();
        let expected = [is(&b), Found::Junk { bytes: 308, why }, is(&b)];
        assert_eq!(found(&bytes), expected, "{claimed}");
    }
}

#[test]
fn what_does_not_parse_is_a_block_where_it_clearly_ends() {
    let mut a = block(1, 300);
    // Two transactions, where there is one.
    a[80] = 2;
    let b = block(2, 200);
    let (ra, rb) = (record(&a), record(&b));
    for (behind, then) in [
        (&rb[..], vec![is(&b)]),
        (&[], vec![]),
        (&[0; 9], vec![zeros(9)]),
        (&[0; 3], vec![zeros(3)]),
        (&rb[..2], vec![Found::Torn { bytes: 2 }]),
        // No other record begins within it either.
        (b"junk", vec![junk(4)]),
    ] {
        assert_eq!(found(&[&ra[..], behind].concat()), [&[is(&a)][..], &then].concat());
    }
    // A record stands within it, and yet it clearly ends.
    let mut around = block(1, 600);
    around[80] = 2;
    around[200..200 + rb.len()].copy_from_slice(&rb);
    for (behind, then) in [(&rb[..], vec![is(&b)]), (&[], vec![]), (&[0; 9], vec![zeros(9)])] {
        let bytes = [&record(&around)[..], behind].concat();
        assert_eq!(found(&bytes), [&[is(&around)][..], &then].concat());
    }
    let why = MISFIT;
    let inside = Found::Junk { bytes: 208, why };
    let bytes = [&record(&around)[..], b"junk"].concat();
    assert_eq!(found(&bytes), [inside, is(&b), junk(196)]);
    // Too short a length, and then the rest.
    for claimed in [81, 116, 299] {
        let short = record_of(&a, claimed);
        let expected = [is(&a[..claimed]), junk(300 - claimed), is(&b)];
        assert_eq!(found(&[&short[..], &rb].concat()), expected);
    }
    // A length that reaches into another record.
    let mut bad = a.clone();
    bad[84..].fill(0xff);
    for claimed in [301, 350, 507] {
        let bytes = [&record_of(&bad, claimed)[..], &rb, &rb].concat();
        let expected = [Found::Junk { bytes: 308, why }, is(&b), is(&b)];
        assert_eq!(found(&bytes), expected, "{claimed}");
    }
}

/// Heads alone, each of which claims as much as there is: all are looked at, but not for ever.
#[test]
fn lying_heads_are_believed_in_the_end() {
    let mut head = record_of(&block(1, 200)[..81], BLOCK_LEN_MAX);
    // A count of transactions that the heads behind it are not.
    head[88] = 0xfd;
    let bytes = head.repeat(3 * BLOCK_LEN_MAX / head.len());
    let looks = SECOND_LOOK_MAX / BLOCK_LEN_MAX;
    let found = found(&bytes);
    assert!((looks / 2..2 * looks + 10).contains(&found.len()), "{}", found.len());
}

#[test]
fn endless_nonsense_is_quick_and_small() {
    const LEN: u64 = 600 << 20;
    let zeros = scan_alone(io::repeat(0).take(LEN), Key::PLAIN);
    assert_eq!(zeros, [Found::Junk { bytes: LEN, why: PREALLOCATED }]);
    let junk = scan_alone(io::repeat(7).take(LEN / 8), Key::PLAIN);
    assert_eq!(junk, [Found::Junk { bytes: LEN / 8, why: JUNK }]);
    let magics = Network::ALL.map(Network::magic).concat().repeat(1 << 20);
    assert_eq!(found(&magics).len(), 2);
    // Short blocks without work that claim the most.
    let mut short = unsolved(141);
    short.truncate(80);
    short.extend([&[1][..], &[0; 10]].concat());
    let blocks = record_of(&short, BLOCK_LEN_MAX).repeat(1 << 18);
    assert_eq!(found(&blocks).len(), 1 << 18);
    // Heads that claim the most, and nothing behind them.
    let heads = record_of(&[], BLOCK_LEN_MAX).repeat(1 << 20);
    assert!(found(&heads).len() < 10);
}

/// What cannot be read further is no torn record.
#[test]
fn a_failure_is_told() {
    struct Fails;
    impl Read for Fails {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("broken"))
        }
    }
    let a = block(1, 300);
    for cut in [0, 3, 8, 50, 100, 307] {
        let bytes = [&record(&a)[..], &record(&a)[..cut]].concat();
        let mut scanner = BlockScanner::new(bytes.chain(Fails), Key::PLAIN, None);
        assert_eq!(scanner.next().expect("a block"), is(&a));
        assert!(matches!(scanner.next(), Err(ScanError::Read(_))), "{cut}");
        assert_eq!(scanner.next().expect("told once"), Found::End);
        let mut scanner = RawBlockScanner::new((&a[..cut.min(299)]).chain(Fails), None);
        assert!(matches!(scanner.next(), Err(ScanError::Read(_))), "{cut}");
    }
}

#[test]
fn a_raw_block_is_one_block() {
    let raw = |bytes: &[u8]| {
        let mut scanner = RawBlockScanner::new(bytes, None);
        let mut next = || scanner.next().expect("memory can be read");
        [next(), next(), next()]
    };
    let of = |block: &[u8]| {
        let Found::Block { header, bytes, .. } = is(block) else { unreachable!("a block") };
        Found::Block { header, head: 0, bytes: bytes - 8, network: None, fit: Fit::Exact }
    };
    let a = block(1, 300);
    assert_eq!(raw(&a), [of(&a), Found::End, Found::End]);
    let behind = |bytes| Found::Junk { bytes, why: "bytes behind the block" };
    let bytes = [&a[..], &vec![0; 5_000_000]].concat();
    assert_eq!(raw(&bytes), [of(&a), behind(5_000_000), Found::End]);
    // What says of itself that it goes on is torn, wherever the file ends.
    for cut in 1..a.len() {
        let torn = Found::Torn { bytes: cut as u64 };
        assert_eq!(raw(&a[..cut]), [torn, Found::End, Found::End], "{cut}");
    }
    // What does not parse otherwise is a block with all bytes that one can have.
    let mut bad = bytes;
    bad[84..].fill(0xff);
    assert_eq!(raw(&bad[..300]), [of(&bad[..300]), Found::End, Found::End]);
    assert_eq!(raw(&bad), [of(&bad[..BLOCK_LEN_MAX]), behind(1_000_300), Found::End]);
}
