//! The memory that judging blocks takes, however many threads judge them. A process of its own, so that its
//! memory is that of this test alone.

#![cfg(target_os = "linux")]

mod common;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::sync::Arc;

use blockmill::bitcoin::{Network, Params, put_block_record};
use blockmill::compute::Cpu;
use blockmill::dump::Inputs;
use blockmill::primitives::{Hash256, Header, merkle_root, sha256d};
use blockmill::stages::{BlockOptions, LedgerOptions, Options, validate_blocks};
use blockmill::verdict::Rule;
use blockmill::wire::put_compact_size;

/// What DESIGN promises of the CPU backend, whatever the input.
const PROMISED: u64 = 256 << 20;

/// The most memory that this process has used, in bytes.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux has it");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a line of it");
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kib << 10
}

/// A child of `parent` that proves regtest's work.
fn header(parent: &Header, root: Hash256) -> Header {
    let (time, bits) = (parent.time() + 600, parent.bits());
    let draft = Header::from_fields(4, parent.id(), root, time, bits, 0);
    let proves_work = |header: &Header| header.is_solved_by(&header.id());
    (0..).map(|nonce| draft.with_nonce(nonce)).find(proves_work).expect("easy")
}

/// Blocks that hold as many transactions as four million bytes can, all at the same time.
#[test]
fn threads_share_what_memory_there_is() {
    const THREADS: usize = 8;
    const TRANSACTIONS: u32 = 399_000;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("blk00000.dat");
    let mut file = BufWriter::new(File::create(&path).expect("a file"));
    let mut body = Vec::new();
    put_compact_size(&mut body, TRANSACTIONS.into());
    let mut ids = Vec::new();
    for lock_time in 0..TRANSACTIONS {
        // Without inputs and outputs.
        let transaction = [&[1, 0, 0, 0, 0, 0][..], &lock_time.to_le_bytes()].concat();
        ids.push(sha256d(&transaction));
        body.extend(transaction);
    }
    let root = merkle_root(&ids);
    drop(ids);
    let mut tip = Params::of(Network::Regtest).genesis;
    for _ in 0..3 * THREADS {
        tip = header(&tip, root);
        let mut record = Vec::new();
        let block = [&tip.as_bytes()[..], &body].concat();
        put_block_record(&mut record, Network::Regtest.magic(), &block);
        file.write_all(&record).expect("it is written");
    }
    file.into_inner().expect("it is written");
    drop(body);
    // As the program does.
    blockmill::keep_freed_memory();
    let before = peak();
    let options = BlockOptions {
        headers: Options {
            network: None,
            activation_heights: Vec::new(),
            start_height: None,
            now: common::judge::NOW,
            batch: 4096,
            overlap: true,
            threads: THREADS,
            rejections_max: 10,
        },
        commit_bytes: LedgerOptions::COMMIT_BYTES,
    };
    let inputs = Inputs::open(&[path], None, Arc::default()).expect("inputs");
    let backend = Cpu::new(THREADS).expect("threads");
    let validation = validate_blocks(inputs, &backend, &options, &Arc::default(), None);
    let outcome = validation.expect("it is judged").outcome.expect("an outcome");
    assert_eq!(outcome.blocks.rejected, 3 * THREADS as u64);
    assert_eq!(outcome.rejections[0].violation.rule(), Rule::BadBlkLength);
    let peak = peak();
    assert!(peak < PROMISED, "{peak} bytes, {before} of them before");
}
