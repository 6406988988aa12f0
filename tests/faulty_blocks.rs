//! Whole validations of Bitcoin's blocks over a device that lies or fails: the same verdict as on the CPU.

mod common;

use bitcoin::hashes::Hash as _;
use blockmill::compute::{Backend, Cpu, CrossCheck, DeviceError, Reference};
use blockmill::primitives::{Hash256, merkle_root, sha256d};

use common::blocks::{
    Block, Commitment, Draft, Stage, Tx, block_file, body_of, judge_files_on, spend,
    spend_with_witness, written,
};
use common::faulty::{Fault, flip, guarded};
use common::ledger::{Way, summary};

/// A chain with all kinds of blocks on it and beside it.
struct Dump {
    stage: Stage,
    blocks: Vec<Block>,
    /// The draft of the first of them.
    first: Draft,
}

fn sound() -> Dump {
    let stage = Stage::new();
    let first = stage
        .draft()
        .with((1..9).map(spend))
        .with((9..14).map(|seed| spend_with_witness(seed, &[7; 90])))
        .committed();
    let mut blocks = vec![first.mine()];
    for height in 1..12 {
        let parent = &blocks[blocks.len() - 1];
        let rest = (0..height).map(|seed| spend_with_witness(100 * height + seed, b"x"));
        blocks.push(Draft::after(parent).with(rest).committed().mine());
    }
    blocks.push(stage.draft().with([spend(1)]).mine());
    Dump { stage, blocks, first }
}

/// The same with bad bodies and bad blocks among them, of which some come before the honest ones.
fn with_faults() -> Dump {
    let mut dump = sound();
    let mutated = |block: &Block| block.with_body(&body_of(&[spend(5).into(), spend(6).into()]));
    let (before, after) = (mutated(&dump.blocks[4]), mutated(&dump.blocks[7]));
    dump.blocks.insert(4, before);
    dump.blocks.push(after);
    let draft = dump.stage.draft().with([spend_with_witness(3, b"y")]).committed();
    let wrong = Draft { commitment: Commitment::Wrong, ..draft.clone() };
    dump.blocks.push(wrong.mine());
    dump.blocks.push(Draft { repeats: true, ..draft.clone() }.mine());
    dump.blocks.push(Draft { root: Some(Hash256::ZERO), ..draft }.mine());
    dump
}

fn validate(dump: &Dump, backend: &dyn Backend, batch: usize, overlap: bool) -> String {
    let (_folder, paths) = written(&[block_file(dump.stage.trunk.iter().chain(&dump.blocks))]);
    let options = dump.stage.options(&Way { batch, overlap, threads: 2, ..Way::PLAIN });
    let validation = judge_files_on(backend, &paths, &options).expect("a judgement");
    summary(&validation)
}

/// The verdict that every other one is held to.
fn right(dump: &Dump) -> String {
    let verdict = validate(dump, &Reference, 100, false);
    let cpu = Cpu::new(2).expect("two threads");
    assert_eq!(validate(dump, &cpu, 3, true), verdict);
    verdict
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
    let plain = right(&sound());
    assert!(plain.contains("rejected: 0") && plain.contains("side: 1"), "{plain}");
    let faults = right(&with_faults());
    assert!(faults.contains("rejected: 5"), "{faults}");
    for kind in ["MerkleRoot", "WitnessCommitment", "RepeatedTransactions"] {
        assert!(faults.contains(kind), "{faults}");
    }
}

#[test]
fn wholesale_faults_change_nothing() {
    for dump in [sound(), with_faults()] {
        let right = right(&dump);
        assert_same(&dump, &Fault::None, &right);
        for fault in Fault::WHOLESALE {
            assert_same(&dump, &fault, &right);
        }
    }
}

fn flipped(hash: Hash256) -> Hash256 {
    let mut wrong = hash;
    flip(&mut wrong, 3, 7);
    wrong
}

fn leaves_of(hashes: &[Hash256]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| *hash.as_bytes()).collect()
}

/// A wrong root that the guard's known answers do not notice, whether it is wrong itself or a leaf is, is found
/// out where it would cause a rejection.
#[test]
fn one_wrong_root_causes_no_rejection() {
    let dump = sound();
    let right = right(&dump);
    let transactions = dump.first.transactions();
    let usual = |tx: &Tx| match tx {
        Tx::Usual(transaction) => transaction.clone(),
        Tx::Raw(_) => panic!("bytes"),
    };
    let id = |tx: &Tx| Hash256::from_bytes(usual(tx).compute_txid().to_byte_array());
    let ids: Vec<_> = transactions.iter().map(id).collect();
    let mut witness_ids: Vec<_> = transactions.iter().map(|tx| sha256d(&tx.bytes())).collect();
    witness_ids[0] = Hash256::ZERO;
    let answer = |job: Vec<u8>, digest: Hash256| Fault::Answer { job, digest };
    // The root that follows from one wrong leaf.
    let root_but = |leaves: &[Hash256], wrong: usize| {
        let mut leaves = leaves.to_vec();
        leaves[wrong] = flipped(leaves[wrong]);
        merkle_root(&leaves)
    };
    let last = ids.len() - 1;
    let faults = [
        answer(leaves_of(&ids), flipped(merkle_root(&ids))),
        answer(leaves_of(&witness_ids), flipped(merkle_root(&witness_ids))),
        // A wrong id; that of a transaction with a witness; its witness id; and one tree for the other.
        answer(leaves_of(&ids), root_but(&ids, 3)),
        answer(leaves_of(&ids), root_but(&ids, last)),
        answer(leaves_of(&witness_ids), root_but(&witness_ids, last)),
        answer(leaves_of(&ids), merkle_root(&witness_ids)),
        answer(leaves_of(&witness_ids), merkle_root(&ids)),
    ];
    for fault in faults {
        assert_same(&dump, &fault, &right);
        let (backend, log) = guarded(fault.clone(), CrossCheck::OFF);
        log.arm();
        validate(&dump, &backend, 5, false);
        assert_eq!(log.lies(), 1, "{fault:?} was told");
    }
}

/// A device that has seen what a header names could say it of another body: nobody asks it.
#[test]
fn later_bodies_of_a_header_are_not_for_the_device() {
    let stage = Stage::new();
    let first = stage.draft().with([spend(1), spend_with_witness(2, b"x")]).committed();
    let honest = first.mine();
    let list = [first.transactions()[0].clone(), spend(3).into(), spend(4).into()];
    let mutated = honest.with_body(&body_of(&list));
    let id = |tx: &Tx| match tx {
        Tx::Usual(tx) => Hash256::from_bytes(tx.compute_txid().to_byte_array()),
        Tx::Raw(_) => panic!("bytes"),
    };
    let tree = leaves_of(&list.iter().map(id).collect::<Vec<_>>());
    let fault = Fault::Answer { job: tree, digest: honest.header.merkle_root() };
    let dump = Dump { blocks: vec![honest.clone(), mutated, honest.child()], stage, first };
    let right = right(&dump);
    assert!(right.contains("rejected: 1"), "{right}");
    for batch in [1, 2, 100] {
        let (backend, log) = guarded(fault.clone(), CrossCheck::OFF);
        log.arm();
        assert_eq!(validate(&dump, &backend, batch, false), right);
        assert_eq!((log.lies(), backend.tally().mismatches), (0, 0));
    }
}

#[test]
fn failures_change_nothing() {
    let after: fn(usize) -> bool = |call| call > 2;
    for dump in [sound(), with_faults()] {
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

/// The software GPU, where there is one.
#[test]
fn the_software_gpu_agrees() {
    let Some(gpu) = common::test_gpu() else { return };
    for dump in [sound(), with_faults()] {
        let right = right(&dump);
        for batch in [1, 100] {
            assert_eq!(validate(&dump, &gpu, batch, true), right);
        }
    }
    assert_eq!(gpu.tally().mismatches, 0);
}
