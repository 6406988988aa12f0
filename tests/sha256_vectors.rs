//! SHA-256 of every backend against NIST's vectors (CAVS).

mod common;

use blockmill::compute::sha256::Platform;
use blockmill::compute::{Backend, Cpu, CrossCheck, Reference};
use blockmill::primitives::{Hash256, HashFunction, Messages};

use common::faulty::{Fault, guarded};
use common::messages::digests_by;

/// Every backend; the software GPU may be missing, after a visible skip.
fn backends() -> Vec<Box<dyn Backend>> {
    let cpu = |threads| Box::new(Cpu::new(threads).expect("threads"));
    let on = |platform| -> Box<dyn Backend> { Box::new(Cpu::on(platform, 1).expect("a thread")) };
    let (simulated, _) = guarded(Fault::None, CrossCheck::OFF);
    let mut backends: Vec<Box<dyn Backend>> =
        vec![Box::new(Reference), cpu(1), cpu(3), Box::new(simulated)];
    // The best instructions are those of the others already.
    backends.extend(Platform::all().skip(1).map(on));
    backends.extend(common::test_gpu().map(|gpu| -> Box<dyn Backend> { Box::new(gpu) }));
    backends
}

/// The SHA-256 of each message; the backend must have had nothing to report.
fn digests<'a>(
    backend: &dyn Backend,
    messages: impl IntoIterator<Item = &'a [u8]>,
) -> Vec<Hash256> {
    let mut batch = Messages::new();
    messages.into_iter().for_each(|message| batch.push(&[message]));
    let digests = digests_by(backend, HashFunction::Sha256, &batch);
    let tally = backend.tally();
    assert_eq!((tally.fallbacks, tally.off), (0, None), "{}", backend.name());
    digests
}

/// The values of the lines `name = value`, in order.
fn values<'a>(text: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    text.lines().filter_map(move |line| {
        let (found, value) = line.split_once(" = ")?;
        (found == name).then_some(value.trim())
    })
}

fn bytes(hex: &str) -> Vec<u8> {
    hex::decode(hex).expect("the vectors are in hex")
}

/// Digests as SHA-256 leaves them; ids are printed the other way round.
fn hashes<'a>(hex: impl Iterator<Item = &'a str>) -> Vec<Hash256> {
    hex.map(|hex| Hash256::from_bytes(bytes(hex).try_into().expect("32 bytes"))).collect()
}

fn text(relative: &str) -> Option<String> {
    common::read_data(relative).map(|bytes| String::from_utf8(bytes).expect("the vectors are text"))
}

#[test]
fn short_messages() {
    let Some(text) = text("sha256/SHA256ShortMsg.rsp") else { return };
    let lengths = values(&text, "Len").map(|bits| bits.parse::<usize>().expect("a number") / 8);
    let mut messages: Vec<_> = values(&text, "Msg").map(bytes).collect();
    // The empty message is written as one zero byte.
    messages.iter_mut().zip(lengths).for_each(|(message, length)| message.truncate(length));
    // Every length from none to the 64 bytes of a block.
    assert!(messages.iter().map(Vec::len).eq(0..=64));
    let published = hashes(values(&text, "MD"));
    for backend in backends() {
        let found = digests(&*backend, messages.iter().map(Vec::as_slice));
        assert_eq!(found, published, "{}, {}", backend.name(), backend.device());
    }
}

/// The Monte Carlo test of NIST's Secure Hash Algorithm Validation System: each checkpoint is the
/// end of a thousand hashes, each over the three digests before it, and the seed of the next one.
/// All are published, so that the backend computes them side by side.
#[test]
fn monte_carlo() {
    let Some(text) = text("sha256/SHA256Monte.rsp") else { return };
    let checkpoints = hashes(values(&text, "MD"));
    assert_eq!(checkpoints.len(), 100);
    let mut seeds = hashes(values(&text, "Seed").take(1));
    seeds.extend(&checkpoints[..99]);
    for backend in backends() {
        let mut chains: Vec<_> = seeds.iter().map(|seed| [*seed.as_bytes(); 3]).collect();
        for _ in 0..1000 {
            let next = digests(&*backend, chains.iter().map(|chain| chain.as_flattened()));
            for (chain, next) in chains.iter_mut().zip(next) {
                *chain = [chain[1], chain[2], *next.as_bytes()];
            }
        }
        let found: Vec<_> = chains.iter().map(|chain| Hash256::from_bytes(chain[2])).collect();
        assert_eq!(found, checkpoints, "{}, {}", backend.name(), backend.device());
    }
}
