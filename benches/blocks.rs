//! Whole blocks judged by every rule that needs no other block's outputs, beside rust-bitcoin's decoding,
//! Merkle root, witness commitment and proof of work alone. One thread, from memory.
//!
//! With the public data these are the nine blocks of the main network above 600 kB, and its blocks 0 to
//! 4312; without it there is nothing to measure.

use std::hint::black_box;
use std::path::{Path, PathBuf};

use bitcoin::consensus::deserialize;
use blockmill::bitcoin::{BlockContext, Network, Params};
use blockmill::compute::Cpu;
use blockmill::stages::judge_blocks;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// The files with the large blocks, and the height of the first block of each.
const LARGE: [(&str, u32); 6] = [
    ("bitcoinj_block363703.raw", 363_703),
    ("mainnet_413567.raw", 413_567),
    ("bitcoinj_block481815.raw", 481_815),
    ("mainnet_702861.raw", 702_861),
    ("mainnet_831328-831331.blk.dat", 831_328),
    ("mainnet_866342.raw", 866_342),
];

fn folder() -> PathBuf {
    std::env::var_os("BLOCKMILL_DATA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data"), PathBuf::from)
        .join("bitcoin-blocks")
}

/// The blocks of a file, which may be records or one raw block.
fn blocks(name: &str) -> Option<Vec<Vec<u8>>> {
    let mut bytes = &std::fs::read(folder().join(name)).ok()?[..];
    if !name.ends_with(".dat") {
        return Some(vec![bytes.to_vec()]);
    }
    let mut blocks = Vec::new();
    while let Some((head, rest)) = bytes.split_at_checked(8) {
        let len = u32::from_le_bytes(head[4..].try_into().expect("four bytes")) as usize;
        blocks.push(rest[..len].to_vec());
        bytes = &rest[len..];
    }
    Some(blocks)
}

fn peer_accepts(bytes: &[u8]) -> bool {
    let block: bitcoin::Block = deserialize(bytes).expect("a block");
    let target = block.header.target();
    block.header.validate_pow(target).is_ok()
        && block.check_merkle_root()
        && (block.check_witness_commitment() || black_box(true))
}

fn measure(c: &mut Criterion, name: &str, blocks: &[(Vec<u8>, BlockContext)]) {
    let cpu = Cpu::new(1).expect("a thread");
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a thread");
    let params = Params::of(Network::Main);
    let given: Vec<_> = blocks.iter().map(|(bytes, context)| (&bytes[..], *context)).collect();
    let judge = || judge_blocks(black_box(&given), &params, &cpu);
    assert!(pool.install(judge).iter().all(Result::is_ok), "sound blocks");

    let mut group = c.benchmark_group(name);
    let len = blocks.iter().map(|(bytes, _)| bytes.len() as u64).sum();
    group.throughput(Throughput::Bytes(len));
    group.bench_function("rust-bitcoin: decode, Merkle, witness, proof of work", |b| {
        b.iter(|| blocks.iter().all(|(bytes, _)| peer_accepts(black_box(bytes))));
    });
    group.bench_function("blockmill cpu: every rule of level blocks", |b| {
        b.iter(|| pool.install(judge));
    });
    group.finish();
}

fn large(c: &mut Criterion) {
    let files = LARGE.iter().map(|(name, first)| {
        let context = |height| BlockContext { height: Some(height), median_time_past: None };
        let blocks = blocks(name)?.into_iter().zip(*first..);
        Some(blocks.map(|(bytes, height)| (bytes, context(height))).collect::<Vec<_>>())
    });
    match files.collect::<Option<Vec<_>>>() {
        Some(files) => measure(c, "nine large blocks, one thread", &files.concat()),
        None => eprintln!("skipped: the public data is not there"),
    }
}

fn small(c: &mut Criterion) {
    let Some(blocks) = blocks("mainnet_0-4312.blk.dat") else {
        return eprintln!("skipped: the public data is not there");
    };
    let context = |height| BlockContext { height: Some(height), median_time_past: None };
    let blocks: Vec<_> =
        blocks.into_iter().zip(0..).map(|(bytes, height)| (bytes, context(height))).collect();
    measure(c, "blocks 0 to 4312, one thread", &blocks);
}

criterion_group!(benches, large, small);
criterion_main!(benches);
