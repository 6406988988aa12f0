//! A chain of headers judged by every rule, beside hashing it alone, and a ledger beside its signatures
//! alone: what do the rules cost? And beside what no order of the work can spare: each transaction is hashed as a
//! leaf of its tree, and read twice.
//!
//! With the public data the chain is the main network's first 32,261 headers, otherwise one mined
//! here. The ledger is generated: 400,000 transfers among 1,000 accounts. All of it runs on one thread
//! and reads from memory-backed files.

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bitcoin::consensus::deserialize;
use blockmill::bench::header_chain;
use blockmill::compute::Cpu;
use blockmill::compute::sha256::Platform;
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
        threads: 1,
        rejections_max: 10,
    };
    let progress = Arc::new(Progress::default());
    let inputs = Inputs::open(&[path.into()], None, Arc::clone(&progress)).expect("a chain");
    validate_headers(inputs, cpu, &options, &progress, None).expect("a judgement")
}

fn headers(c: &mut Criterion) {
    // As the program does.
    blockmill::keep_freed_memory();
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
    // And with what other processors have; the first is the best, which was measured.
    for platform in Platform::all().skip(1) {
        let cpu = Cpu::on(platform, 1).expect("a thread");
        group.bench_function(format!("validate, {}", platform.name()), |b| {
            b.iter(|| black_box(validate(&path, &cpu)));
        });
    }
    group.finish();
}

#[cfg(feature = "mine")]
mod ledger {
    use blockmill::compute::{Backend, TreeShape};
    use blockmill::dump::LedgerReader;
    use blockmill::ledger::{Account, Block, generate};
    use blockmill::primitives::{GroveSink, Groves, Hash256, HashFunction, Leaf, rfc6962};
    use blockmill::signature::{KeptItem, PublicKey, verify_batch_kept};
    use blockmill::stages::{LedgerOptions, validate_ledger};

    use super::*;

    /// The most signatures that validation judges in one call.
    const SIGNATURES: usize = 1 << 14;

    /// What a signature is judged by.
    struct Signed {
        from: Account,
        message: Vec<u8>,
        signature: [u8; 64],
    }

    fn generate() -> Vec<u8> {
        let options = generate::Options {
            seed: "bench".into(),
            blocks: 100,
            transactions: 4_000,
            accounts: 1_000,
            payload_bytes: (32, 256),
            memo_bytes: (0, 32),
            records_percent: 0,
            forks: 0,
        };
        let mut dump = Vec::new();
        generate::generate(&options, 0, &generate::Progress::default(), &mut dump)
            .expect("a ledger");
        dump
    }

    fn validate(path: &Path, cpu: &Cpu) -> Validation {
        let options = LedgerOptions {
            params: None,
            now: 2_000_000_000,
            batch: 1 << 14,
            threads: 1,
            overlap: false,
            rejections_max: 10,
            commit_bytes: LedgerOptions::COMMIT_BYTES,
        };
        let progress = Arc::new(Progress::default());
        let inputs = Inputs::open(&[path.into()], None, Arc::clone(&progress)).expect("a dump");
        validate_ledger(inputs, cpu, &options, &progress, None).expect("a judgement")
    }

    /// Reads the dump as validation does, headers first and bodies then, and gives `take` every body.
    fn read(path: &Path, mut take: impl FnMut(Vec<u8>)) -> Hash256 {
        let inputs = Inputs::open(&[path.into()], None, Arc::default()).expect("a dump");
        let mut reader = LedgerReader::new(inputs, None, usize::MAX);
        let chain_id = reader.open_first().expect("a dump").expect("parameters").chain_id();
        let batch = reader.next_batch().expect("a dump").expect("blocks");
        let (_, _, bodies) = reader.finish();
        let mut body_reader = bodies.reader();
        for position in batch.positions {
            take(body_reader.read(position).expect("a body"));
        }
        chain_id
    }

    /// Transactions and the trees over them, one for each block.
    struct Forest<'a>(Vec<Block<'a>>);

    impl<'a> Groves<'a> for Forest<'a> {
        fn tell(&self, sink: &mut dyn GroveSink<'a>) {
            for block in &self.0 {
                block.leaves().iter().for_each(|leaf| sink.message(&[&rfc6962::LEAF, leaf]));
                (0..block.count()).for_each(|number| sink.leaf(Leaf::Digest(number)));
                sink.end_tree();
                sink.end_grove();
            }
        }
    }

    fn signatures(path: &Path) -> Vec<Signed> {
        let mut bodies = Vec::new();
        let chain_id = read(path, |body| bodies.push(body));
        let mut all = Vec::new();
        for bytes in bodies {
            for (_, transaction) in Block::decode(&bytes).expect("a block").transactions() {
                let mut message = Vec::new();
                transaction.encode_signed_bytes(&chain_id, &mut message);
                let by = transaction.sender().zip(transaction.signature());
                let signed = |(&from, &signature)| Signed { from, message, signature };
                all.extend(by.map(signed));
            }
        }
        all
    }

    pub(super) fn bench(c: &mut Criterion) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("ledger.dump");
        std::fs::write(&path, generate()).expect("a file");
        let cpu = Cpu::new(1).expect("a thread");
        let signatures = signatures(&path);
        let judged = validate(&path, &cpu);
        let outcome = judged.outcome.expect("an outcome");
        assert_eq!((outcome.blocks.rejected, outcome.tip.height), (0, 100));
        let rewards = 100;
        let transactions = judged.ledger.expect("a ledger").transactions;
        assert_eq!(transactions, signatures.len() as u64 + rewards);
        let keys: std::collections::HashMap<_, _> = signatures
            .iter()
            .map(|one| (one.from, PublicKey::from_bytes(one.from.key()).expect("a key")))
            .collect();
        let items = signatures.iter().map(|Signed { from, message, signature }| KeptItem {
            key: &keys[from],
            domain: &[],
            message,
            signature,
        });
        let items: Vec<_> = items.collect();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a thread");

        let mut group = c.benchmark_group("ledger, one thread");
        group.throughput(Throughput::Elements(items.len() as u64)).sample_size(10);
        group.bench_function("signatures alone", |b| {
            b.iter(|| {
                pool.install(|| {
                    for batch in items.chunks(SIGNATURES) {
                        verify_batch_kept(batch).expect("all are good");
                    }
                });
            });
        });
        let mut bodies = Vec::new();
        read(&path, |body| bodies.push(body));
        let blocks: Vec<_> =
            bodies.iter().map(|bytes| Block::decode(bytes).expect("a block")).collect();
        let expected: Vec<_> = blocks.iter().map(|block| block.header.merkle_root()).collect();
        let roots_of = |forest: &Forest<'_>| {
            let (function, shape) = (HashFunction::Sha256, TreeShape::Rfc6962);
            let mut roots = vec![Hash256::ZERO; forest.0.len()];
            cpu.hash_groves(function, shape, forest, &mut roots);
            roots
        };
        let forests: Vec<_> = blocks.chunks(2).map(|some| Forest(some.to_vec())).collect();
        assert!(forests.iter().flat_map(roots_of).eq(expected));
        // In validation they are in the cache: the first two, as often as there are others.
        group.bench_function("trees alone", |b| {
            b.iter(|| forests.iter().for_each(|_| discard(roots_of(&forests[0]))));
        });
        group.bench_function("reading alone", |b| b.iter(|| read(&path, discard)));
        group.bench_function("validate, every rule", |b| {
            b.iter(|| black_box(validate(&path, &cpu)));
        });
        group.finish();
    }
}

fn ledgers(c: &mut Criterion) {
    #[cfg(feature = "mine")]
    ledger::bench(c);
    #[cfg(not(feature = "mine"))]
    let _ = c;
}

/// Keeps the compiler from leaving out work whose result nobody reads.
fn discard<T>(value: T) {
    let _ = black_box(value);
}

criterion_group!(benches, headers, ledgers);
criterion_main!(benches);
