//! A chain of headers judged by every rule, beside hashing it alone: what do the rules cost?
//!
//! With the public data the chain is the main network's first 32,261 headers, otherwise one mined
//! here. All of it runs on one thread and reads from memory-backed files.

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bitcoin::consensus::deserialize;
use blockmill::bench::header_chain;
use blockmill::compute::Cpu;
use blockmill::dump::{Inputs, Progress};
use blockmill::primitives::Header;
use blockmill::stages::{Options, Validation, validate_headers};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

fn real_chain() -> Option<Vec<u8>> {
    let folder = std::env::var_os("BLOCKMILL_DATA").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data"),
        PathBuf::from,
    );
    std::fs::read(folder.join("bitcoin-headers/mainnet_0-32260.hdr")).ok()
}

fn validate(path: &Path, cpu: &Cpu) -> Validation {
    let options = Options {
        network: None,
        activation_heights: Vec::new(),
        start_height: None,
        now: 2_000_000_000,
        batch: 1 << 12,
        overlap: false,
        rejections_max: 10,
    };
    let progress = Arc::new(Progress::default());
    let inputs = Inputs::open(&[path.into()], None, Arc::clone(&progress)).expect("a chain");
    validate_headers(inputs, cpu, &options, &progress, None).expect("a judgement")
}

fn headers(c: &mut Criterion) {
    let bytes = real_chain().unwrap_or_else(|| {
        eprintln!("the public data is not there: a mined chain takes its place");
        header_chain(32_261).iter().flat_map(|header| *header.as_bytes()).collect()
    });
    let chain: Vec<Header> =
        bytes.as_chunks().0.iter().map(|bytes| Header::from_bytes(*bytes)).collect();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("chain.hdr");
    std::fs::write(&path, &bytes).expect("a file");
    let cpu = Cpu::new(1).expect("a thread");
    let outcome = validate(&path, &cpu).outcome.expect("an outcome");
    assert_eq!(outcome.tip.id, chain.last().expect("headers").id());
    assert_eq!(outcome.blocks.rejected, 0);

    let mut group = c.benchmark_group("header chain, one thread");
    group.throughput(Throughput::Elements(chain.len() as u64));
    group.bench_function("sha2 loop, ids alone", |b| {
        b.iter(|| chain.iter().map(Header::id).for_each(discard));
    });
    group.bench_function("rust-bitcoin, decode, id and own target", |b| {
        b.iter(|| {
            for header in &chain {
                let peer: bitcoin::block::Header =
                    deserialize(header.as_bytes()).expect("a header");
                assert!(peer.validate_pow(peer.target()).is_ok());
            }
        });
    });
    group.bench_function("validate, every rule", |b| b.iter(|| black_box(validate(&path, &cpu))));
    group.finish();
}

/// Keeps the compiler from leaving out work whose result nobody reads.
fn discard<T>(value: T) {
    let _ = black_box(value);
}

criterion_group!(benches, headers);
criterion_main!(benches);
