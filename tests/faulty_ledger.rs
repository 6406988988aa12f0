//! Whole validations of a ledger over a device that lies or fails: the same verdict as on the CPU.

mod common;

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use blockmill::compute::{Backend, Cpu, CrossCheck, DeviceError, Reference};
use blockmill::dump::{Inputs, Progress};
use blockmill::ledger::{Block, DumpHead, put_record};
use blockmill::primitives::{Hash256, rfc6962};
use blockmill::stages::{LedgerOptions, validate_ledger};

use common::faulty::{Fault, flip, guarded};

/// A dump of the fixture's first blocks.
struct Dump {
    head: DumpHead,
    blocks: Vec<Vec<u8>>,
}

/// Enough blocks for several dispatches, a side branch among them.
const BLOCKS: usize = 14;

fn demo() -> Dump {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/demo.dump");
    let bytes = std::fs::read(file).expect("a fixture");
    let (head, len) = DumpHead::read(&mut &bytes[..]).expect("a head");
    let mut rest = &bytes[usize::try_from(len).expect("a small file")..];
    let mut blocks = Vec::new();
    while blocks.len() < BLOCKS {
        // Marker, length, two checksums.
        let len = u32::from_le_bytes(rest[4..8].try_into().expect("four bytes")) as usize;
        blocks.push(rest[16..16 + len].to_vec());
        rest = &rest[16 + len..];
    }
    Dump { head, blocks }
}

/// The same with a body that does not fit its header, before the honest one, and another after it.
fn with_mutated_bodies() -> Dump {
    let mut dump = demo();
    let mutated = |block: &[u8]| {
        let mut mutated = block.to_vec();
        let last = mutated.len() - 1;
        mutated[last] ^= 1; // in the last signature
        mutated
    };
    let (before, after) = (mutated(&dump.blocks[5]), mutated(&dump.blocks[9]));
    dump.blocks.insert(5, before);
    dump.blocks.push(after);
    dump
}

fn validate(dump: &Dump, backend: &dyn Backend, batch: usize, overlap: bool) -> String {
    let mut bytes = dump.head.encode();
    dump.blocks.iter().for_each(|block| put_record(&mut bytes, block));
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(&bytes).expect("a temporary file can be written");
    let progress = Arc::new(Progress::default());
    let inputs = Inputs::open(&[file.path().into()], None, Arc::clone(&progress));
    let options = LedgerOptions {
        params: None,
        now: 4_000_000_000,
        batch,
        threads: 2,
        overlap,
        rejections_max: 1000,
        commit_bytes: LedgerOptions::COMMIT_BYTES,
    };
    let inputs = inputs.expect("a dump is recognised");
    let validation = validate_ledger(inputs, backend, &options, &progress, None);
    let validation = validation.expect("a question that can be answered");
    let ledger = validation.ledger.expect("a head");
    format!(
        "{:?} {} {} {:?}",
        validation.outcome.expect("a known ledger"),
        ledger.transactions,
        ledger.supply,
        validation.error
    )
}

/// The verdict that every other one is held to.
fn right(dump: &Dump) -> String {
    let verdict = validate(dump, &Reference, 100, false);
    let cpu = Cpu::new(2).expect("two threads");
    assert_eq!(validate(dump, &cpu, 3, true), verdict);
    verdict
}

fn dumps() -> [Dump; 2] {
    [demo(), with_mutated_bodies()]
}

fn assert_same(dump: &Dump, fault: &Fault, right: &str) {
    for (batch, overlap) in [(1, false), (5, true), (100, false)] {
        let (backend, log) = guarded(fault.clone(), CrossCheck::OFF);
        log.arm();
        assert_eq!(validate(dump, &backend, batch, overlap), right, "{fault:?}, {batch}");
        let tally = backend.tally();
        // The first lie is the last: the device is off.
        assert!(log.lies() <= 1, "{fault:?}, {batch}");
        assert_eq!(tally.mismatches, log.lies() as u64, "{fault:?}, {batch}");
        assert_eq!(tally.off.is_some(), log.lies() > 0, "{fault:?}, {batch}");
    }
}

#[test]
fn the_dumps_are_what_they_say() {
    assert!(right(&demo()).contains("rejected: 0"));
    let mutated = right(&with_mutated_bodies());
    assert!(mutated.contains("rejected: 2") && mutated.contains("BadTxnMrklRoot"), "{mutated}");
}

#[test]
fn wholesale_faults_change_nothing() {
    for dump in dumps() {
        let right = right(&dump);
        assert_same(&dump, &Fault::None, &right);
        for fault in Fault::WHOLESALE {
            assert_same(&dump, &fault, &right);
        }
    }
}

/// A wrong root that the guard's known answers do not notice, whether it is wrong itself or a leaf is, is found
/// out where it would cause a rejection.
#[test]
fn one_wrong_root_causes_no_rejection() {
    let dump = demo();
    let right = right(&dump);
    let block = Block::decode(&dump.blocks[3]).expect("a block");
    let hashes: Vec<_> = block.leaves().iter().map(|leaf| rfc6962::leaf_hash(leaf)).collect();
    let tree: Vec<u8> = hashes.iter().flat_map(|hash| *hash.as_bytes()).collect();
    let wrong = |hash: Hash256| {
        let mut wrong = hash;
        flip(&mut wrong, 3, 7);
        wrong
    };
    let mut with_wrong_leaf = hashes;
    with_wrong_leaf[7] = wrong(with_wrong_leaf[7]);
    for digest in [rfc6962::root(&with_wrong_leaf), wrong(block.merkle_root())] {
        let fault = Fault::Answer { job: tree.clone(), digest };

        assert_same(&dump, &fault, &right);
        let (backend, log) = guarded(fault.clone(), CrossCheck::OFF);
        log.arm();
        validate(&dump, &backend, 5, false);
        assert_eq!(log.lies(), 1, "{fault:?} was told");
    }
}

#[test]
fn failures_change_nothing() {
    let after: fn(usize) -> bool = |call| call > 2;
    for dump in dumps() {
        let right = right(&dump);
        for error in [DeviceError::Lost("reset".into()), DeviceError::OutOfMemory] {
            for comes_back in [true, false] {
                let fault = Fault::Fails { error: error.clone(), at: after, comes_back };
                let (backend, log) = guarded(fault.clone(), CrossCheck::OFF);
                log.arm();
                assert_eq!(validate(&dump, &backend, 5, true), right, "{fault:?}");
                assert_eq!(backend.tally().mismatches, 0, "{fault:?}");
                assert!(log.rebuilds() <= 1, "{fault:?}");
            }
        }
    }
}
