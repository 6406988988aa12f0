//! Messages for tests, and how backends answer them.

use blockmill::compute::Backend;
use blockmill::primitives::{Hash256, HashFunction, Messages};

use super::oracle;

pub const FUNCTIONS: [HashFunction; 2] = [HashFunction::Sha256, HashFunction::Sha256d];

/// Lengths at which the padding of SHA-256, a word or a block begins or ends.
pub const EDGES: [usize; 15] = [0, 1, 3, 4, 55, 56, 57, 63, 64, 65, 119, 120, 127, 128, 191];

/// `length` bytes that look random, others for each seed.
pub fn message(seed: u64, length: usize) -> Vec<u8> {
    let hashes = oracle::hashes(seed << 32, length.div_ceil(32));
    let mut bytes: Vec<u8> = hashes.iter().flat_map(|hash| *hash.as_bytes()).collect();
    bytes.truncate(length);
    bytes
}

/// Messages of these lengths, no two of one length alike.
pub fn messages(lengths: impl IntoIterator<Item = usize>) -> Messages {
    let mut messages = Messages::new();
    for (seed, length) in (0..).zip(lengths) {
        messages.push(&[&message(seed, length)]);
    }
    messages
}

/// `count` lengths up to `most`, small ones more often than large ones, the same in each run.
pub fn random_lengths(count: usize, most: usize) -> Vec<usize> {
    let random = oracle::hashes(77, count);
    let length = |hash: &Hash256| {
        let bits = u64::from(hash.as_bytes()[31]) % (u64::from(most.ilog2()) + 1);
        let range = (most as u64).min(2 << bits);
        usize::try_from(hash.low_u64() % (range + 1)).expect("no longer than the longest")
    };
    random.iter().map(length).collect()
}

/// The right digests.
pub fn digests(function: HashFunction, messages: &Messages) -> Vec<Hash256> {
    messages.iter().map(|message| oracle::digest(function, message)).collect()
}

/// The backend's digests.
pub fn digests_by(
    backend: &dyn Backend,
    function: HashFunction,
    messages: &Messages,
) -> Vec<Hash256> {
    // What stands there before a call must not stand there after it.
    let mut digests = vec![Hash256::from_bytes([0xa5; 32]); messages.len()];
    backend.hash_messages(function, &messages.slices(), &mut digests);
    digests
}
