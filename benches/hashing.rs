//! Ids, Merkle roots and nonce search: every backend of the CPU beside the plain `sha2` loop and
//! rust-bitcoin, in one process, on the same data, each compared with the others before it is timed.

use std::hint::black_box;

use bitcoin::consensus::deserialize;
use bitcoin::hashes::Hash;
use blockmill::bench::{Case, Suite, header_chain};
use blockmill::compute::{Backend, Cpu, Reference};
use blockmill::primitives::{Hash256, Header, sha256d};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const HEADERS: usize = 1 << 14;
const LEAVES: usize = 1 << 14;

fn headers(c: &mut Criterion) {
    let chain = header_chain(HEADERS);
    let cpu = Cpu::new(1).expect("a thread");
    let mut ids = vec![Hash256::ZERO; chain.len()];
    let peers: Vec<bitcoin::block::Header> =
        chain.iter().map(|header| deserialize(header.as_bytes()).expect("a header")).collect();
    cpu.header_ids(&chain, &mut ids);
    for ((header, peer), id) in chain.iter().zip(&peers).zip(&ids) {
        assert_eq!(header.id(), *id);
        assert_eq!(peer.block_hash().to_byte_array(), *id.as_bytes());
    }

    let mut group = c.benchmark_group("headers, one thread");
    group.throughput(Throughput::Elements(HEADERS as u64));
    group.bench_function("sha2 loop", |b| {
        b.iter(|| chain.iter().map(Header::id).for_each(discard));
    });
    group.bench_function("rust-bitcoin", |b| {
        b.iter(|| peers.iter().for_each(|peer| discard(peer.block_hash())));
    });
    group.bench_function("cpu", |b| b.iter(|| cpu.header_ids(&chain, black_box(&mut ids))));
    group.bench_function("reference", |b| {
        b.iter(|| Reference.header_ids(&chain[..1024], black_box(&mut ids[..1024])));
    });
    group.finish();
}

fn merkle(c: &mut Criterion) {
    let Case::Merkle(trees) = Suite::Merkle.case(LEAVES) else { unreachable!() };
    let cpu = Cpu::new(1).expect("a thread");
    let peers: Vec<Vec<bitcoin::Txid>> = trees
        .iter()
        .map(|leaves| leaves.iter().map(|leaf| Hash::from_byte_array(*leaf.as_bytes())).collect())
        .collect();
    let mut roots = vec![Hash256::ZERO; trees.len()];
    cpu.merkle_roots(&trees, &mut roots);
    let peer_root = |leaves: &Vec<bitcoin::Txid>| {
        bitcoin::merkle_tree::calculate_root(leaves.iter().copied()).expect("a leaf")
    };
    for ((leaves, peer), root) in trees.iter().zip(&peers).zip(&roots) {
        assert_eq!(sha2_root(leaves), *root);
        assert_eq!(peer_root(peer).to_byte_array(), *root.as_bytes());
    }

    let mut group = c.benchmark_group("Merkle nodes, one thread");
    group.throughput(Throughput::Elements((LEAVES - trees.len()) as u64));
    group.bench_function("sha2 loop", |b| {
        b.iter(|| trees.iter().for_each(|leaves| discard(sha2_root(leaves))));
    });
    group.bench_function("rust-bitcoin", |b| {
        b.iter(|| peers.iter().for_each(|leaves| discard(peer_root(leaves))));
    });
    group.bench_function("cpu", |b| b.iter(|| cpu.merkle_roots(&trees, black_box(&mut roots))));
    group.finish();
}

fn sha2_root(leaves: &[Hash256]) -> Hash256 {
    let mut level = leaves.to_vec();
    while level.len() > 1 {
        let parent = |pair: &[Hash256]| {
            let right = pair.last().expect("a chunk is not empty");
            sha256d(&[*pair[0].as_bytes(), *right.as_bytes()].concat())
        };
        level = level.chunks(2).map(parent).collect();
    }
    level[0]
}

#[cfg(feature = "mine")]
fn search(c: &mut Criterion) {
    use blockmill::compute::SearchJob;

    const NONCES: u32 = 1 << 16;
    let Case::Search(job) = Suite::Search.case(NONCES as usize) else { unreachable!() };
    let cpu = Cpu::new(1).expect("a thread");
    let naive = |job: &SearchJob| job.nonces().find(|&nonce| job.is_won_by(nonce));
    let solved = SearchJob { first: job.first - 100, ..job };
    assert_eq!(cpu.search(&solved), naive(&solved));
    assert_eq!(cpu.search(&solved), Some(job.first - 1));

    let mut group = c.benchmark_group("search, one thread");
    group.throughput(Throughput::Elements(NONCES.into()));
    group.bench_function("sha2 loop", |b| b.iter(|| black_box(naive(&job))));
    group.bench_function("cpu", |b| b.iter(|| black_box(cpu.search(&job))));
    group.finish();
}

#[cfg(not(feature = "mine"))]
fn search(_: &mut Criterion) {}

/// Keeps the compiler from leaving out work whose result nobody reads.
fn discard<T>(value: T) {
    let _ = black_box(value);
}

criterion_group!(benches, headers, merkle, search);
criterion_main!(benches);
