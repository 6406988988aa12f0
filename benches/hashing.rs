//! Ids, Merkle roots, messages and nonce search: every backend of the CPU beside the plain `sha2` loop
//! and rust-bitcoin, in one process, on the same data, each compared with the others before it is
//! timed. `cpu` has the best instructions of this processor; `cpu, NAME` is forced to others.

use std::hint::black_box;

use bitcoin::consensus::deserialize;
use bitcoin::hashes::Hash;
use blockmill::bench::{Case, Suite, header_chain};
use blockmill::compute::sha256::Platform;
use blockmill::compute::{Backend, Cpu, Reference};
use blockmill::primitives::{Hash256, HashFunction, Header, Messages, sha256d};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sha2::{Digest, Sha256};

const HEADERS: usize = 1 << 14;
const LEAVES: usize = 1 << 14;
const MESSAGES: usize = 1 << 12;

/// The CPU backend on one thread, with each of the processor's instruction sets: the best, `cpu`, first.
fn backends() -> Vec<(String, Cpu)> {
    let backend = |(index, platform): (usize, Platform)| {
        let cpu = Cpu::on(platform, 1).expect("a thread");
        let name = if index == 0 { "cpu".into() } else { format!("cpu, {}", platform.name()) };
        (name, cpu)
    };
    Platform::all().enumerate().map(backend).collect()
}

fn headers(c: &mut Criterion) {
    let chain = header_chain(HEADERS);
    let mut ids = vec![Hash256::ZERO; chain.len()];
    let peers: Vec<bitcoin::block::Header> =
        chain.iter().map(|header| deserialize(header.as_bytes()).expect("a header")).collect();
    for (_, cpu) in backends() {
        cpu.header_ids(&chain, &mut ids);
        for ((header, peer), id) in chain.iter().zip(&peers).zip(&ids) {
            assert_eq!(header.id(), *id);
            assert_eq!(peer.block_hash().to_byte_array(), *id.as_bytes());
        }
    }

    let mut group = c.benchmark_group("headers, one thread");
    group.throughput(Throughput::Elements(HEADERS as u64));
    group.bench_function("sha2 loop", |b| {
        b.iter(|| chain.iter().map(Header::id).for_each(discard));
    });
    group.bench_function("rust-bitcoin", |b| {
        b.iter(|| peers.iter().for_each(|peer| discard(peer.block_hash())));
    });
    for (name, cpu) in backends() {
        group.bench_function(name, |b| b.iter(|| cpu.header_ids(&chain, black_box(&mut ids))));
    }
    group.bench_function("reference", |b| {
        b.iter(|| Reference.header_ids(&chain[..1024], black_box(&mut ids[..1024])));
    });
    group.finish();
}

fn merkle(c: &mut Criterion) {
    let Ok(Some(Case::Merkle(trees))) = Suite::Merkle.case(LEAVES) else { unreachable!() };
    let peers: Vec<Vec<bitcoin::Txid>> = trees
        .iter()
        .map(|leaves| leaves.iter().map(|leaf| Hash::from_byte_array(*leaf.as_bytes())).collect())
        .collect();
    let mut roots = vec![Hash256::ZERO; trees.len()];
    let peer_root = |leaves: &Vec<bitcoin::Txid>| {
        bitcoin::merkle_tree::calculate_root(leaves.iter().copied()).expect("a leaf")
    };
    for (_, cpu) in backends() {
        cpu.merkle_roots(&trees, &mut roots);
        for ((leaves, peer), root) in trees.iter().zip(&peers).zip(&roots) {
            assert_eq!(sha2_root(leaves), *root);
            assert_eq!(peer_root(peer).to_byte_array(), *root.as_bytes());
        }
    }

    let mut group = c.benchmark_group("Merkle nodes, one thread");
    group.throughput(Throughput::Elements((LEAVES - trees.len()) as u64));
    group.bench_function("sha2 loop", |b| {
        b.iter(|| trees.iter().for_each(|leaves| discard(sha2_root(leaves))));
    });
    group.bench_function("rust-bitcoin", |b| {
        b.iter(|| peers.iter().for_each(|leaves| discard(peer_root(leaves))));
    });
    for (name, cpu) in backends() {
        group.bench_function(name, |b| b.iter(|| cpu.merkle_roots(&trees, black_box(&mut roots))));
    }
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

/// The leaf hashes of a ledger's block, where a node is one hash over 65 bytes.
fn rfc6962(c: &mut Criterion) {
    let Ok(Some(Case::Merkle(trees))) = Suite::Merkle.case(LEAVES) else { unreachable!() };
    let mut roots = vec![Hash256::ZERO; trees.len()];
    for (_, cpu) in backends() {
        cpu.rfc6962_roots(&trees, &mut roots);
        for (leaves, root) in trees.iter().zip(&roots) {
            assert_eq!(blockmill::primitives::rfc6962::root(leaves), *root);
        }
    }
    let mut group = c.benchmark_group("RFC 6962 nodes, one thread");
    group.throughput(Throughput::Elements((LEAVES - trees.len()) as u64));
    group.bench_function("sha2 loop", |b| {
        let root = blockmill::primitives::rfc6962::root;
        b.iter(|| trees.iter().for_each(|leaves| discard(root(leaves))));
    });
    for (name, cpu) in backends() {
        group.bench_function(name, |b| b.iter(|| cpu.rfc6962_roots(&trees, black_box(&mut roots))));
    }
    group.finish();
}

/// `MESSAGES` messages, of `shortest` to `longest` bytes, in no order.
fn batch(shortest: usize, longest: usize) -> Messages {
    let mut messages = Messages::new();
    for index in 0..MESSAGES {
        let [fill, low, high, ..] = *sha256d(&index.to_le_bytes()).as_bytes();
        let random = usize::from(u16::from_le_bytes([low, high]));
        messages.push(&[&vec![fill; shortest + random % (longest - shortest + 1)]]);
    }
    messages
}

fn digest(function: HashFunction, message: &[u8]) -> Hash256 {
    match function {
        HashFunction::Sha256 => Hash256::from_bytes(Sha256::digest(message).into()),
        HashFunction::Sha256d => sha256d(message),
    }
}

fn messages(c: &mut Criterion) {
    let cases = [64, 256, 512, 1024].map(|length| (HashFunction::Sha256, length, length));
    // The lengths of most of Bitcoin's transactions.
    let transactions = (HashFunction::Sha256d, 250, 600);
    for (function, shortest, longest) in cases.into_iter().chain([transactions]) {
        let messages = batch(shortest, longest);
        let slices = messages.slices();
        let mut digests = vec![Hash256::ZERO; messages.len()];
        for (_, cpu) in backends() {
            cpu.hash_messages(function, &slices, &mut digests);
            let right = messages.iter().map(|message| digest(function, message));
            assert!(right.eq(digests.iter().copied()));
        }
        let name = format!("{function:?} of {shortest} to {longest} bytes, one thread");
        let mut group = c.benchmark_group(name);
        group.throughput(Throughput::Bytes(messages.bytes().len() as u64));
        group.bench_function("sha2 loop", |b| {
            b.iter(|| messages.iter().for_each(|message| discard(digest(function, message))));
        });
        for (name, cpu) in backends() {
            let digests = &mut digests;
            group.bench_function(name, |b| {
                b.iter(|| cpu.hash_messages(function, &slices, black_box(digests)));
            });
        }
        group.finish();
    }
}

#[cfg(feature = "mine")]
fn search(c: &mut Criterion) {
    use blockmill::compute::SearchJob;

    const NONCES: u32 = 1 << 16;
    let Ok(Some(Case::Search(job))) = Suite::Search.case(NONCES as usize) else { unreachable!() };
    let naive = |job: &SearchJob| job.nonces().find(|&nonce| job.is_won_by(nonce));
    let winner = job.header.nonce();
    let solved = SearchJob { first: winner - 100, last: winner + 100, ..job };
    for (_, cpu) in backends() {
        assert_eq!(naive(&solved), Some(winner));
        assert_eq!(cpu.search(&solved), Some(winner));
        assert_eq!(cpu.search(&job), None);
    }

    let mut group = c.benchmark_group("search, one thread");
    group.throughput(Throughput::Elements(NONCES.into()));
    group.bench_function("sha2 loop", |b| b.iter(|| black_box(naive(&job))));
    for (name, cpu) in backends() {
        group.bench_function(name, |b| b.iter(|| black_box(cpu.search(&job))));
    }
    group.finish();
}

#[cfg(not(feature = "mine"))]
fn search(_: &mut Criterion) {}

/// Keeps the compiler from leaving out work whose result nobody reads.
fn discard<T>(value: T) {
    let _ = black_box(value);
}

criterion_group!(benches, headers, merkle, rfc6962, messages, search);
criterion_main!(benches);
