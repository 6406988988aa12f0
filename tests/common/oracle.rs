//! Right answers from elsewhere: `rust-bitcoin` hashes with code of its own, so that not even the
//! reference is held to itself.

use bitcoin::hashes::{Hash, HashEngine, sha256, sha256d};
use bitcoin::merkle_tree;
#[cfg(feature = "mine")]
use blockmill::compute::SearchJob;
use blockmill::primitives::{Hash256, HashFunction, Header};

pub fn id(header: &Header) -> Hash256 {
    Hash256::from_bytes(sha256d::Hash::hash(header.as_bytes()).to_byte_array())
}

pub fn ids(headers: &[Header]) -> Vec<Hash256> {
    headers.iter().map(id).collect()
}

pub fn merkle_root(leaves: &[Hash256]) -> Hash256 {
    let leaves = leaves.iter().map(|leaf| sha256d::Hash::from_byte_array(*leaf.as_bytes()));
    let root = merkle_tree::calculate_root(leaves).expect("a tree has leaves");
    Hash256::from_bytes(root.to_byte_array())
}

/// The digest of a message.
pub fn digest(function: HashFunction, message: &[u8]) -> Hash256 {
    Hash256::from_bytes(match function {
        HashFunction::Sha256 => sha256::Hash::hash(message).to_byte_array(),
        HashFunction::Sha256d => sha256d::Hash::hash(message).to_byte_array(),
    })
}

/// The root over leaf hashes by RFC 6962's definition: with k the largest power of two smaller than
/// their number, SHA-256(0x01 || root of the first k || root of the others).
pub fn rfc6962_root(leaves: &[Hash256]) -> Hash256 {
    if let [leaf] = leaves {
        return *leaf;
    }
    let mut k = 1;
    while 2 * k < leaves.len() {
        k *= 2;
    }
    let mut node = sha256::Hash::engine();
    node.input(&[1]);
    node.input(rfc6962_root(&leaves[..k]).as_bytes());
    node.input(rfc6962_root(&leaves[k..]).as_bytes());
    Hash256::from_bytes(sha256::Hash::from_engine(node).to_byte_array())
}

/// The most significant word of a hash, which is all that a device compares.
pub fn top_word(hash: &Hash256) -> u32 {
    let [.., a, b, c, d] = *hash.as_bytes();
    u32::from_le_bytes([a, b, c, d])
}

/// The lowest winning nonce, one after the other.
#[cfg(feature = "mine")]
pub fn search(job: &SearchJob) -> Option<u32> {
    // Most significant byte first, both compare as numbers do.
    let target = job.target.to_be_bytes();
    job.nonces().find(|&nonce| {
        let mut hash = *id(&job.header.with_nonce(nonce)).as_bytes();
        hash.reverse();
        hash <= target
    })
}

/// Hashes that differ and look random: the one of each number from `seed` on.
pub fn hashes(seed: u64, count: usize) -> Vec<Hash256> {
    let hash = |number: u64| sha256d::Hash::hash(&number.to_le_bytes()).to_byte_array();
    (seed..).take(count).map(|number| Hash256::from_bytes(hash(number))).collect()
}

/// Headers of random bytes: no two are linked, and few meet their own target.
pub fn headers(seed: u64, count: usize) -> Vec<Header> {
    let header = |three: &[Hash256]| {
        let mut bytes = [0; Header::LEN];
        for (bytes, hash) in bytes.chunks_mut(32).zip(three) {
            bytes.copy_from_slice(&hash.as_bytes()[..bytes.len()]);
        }
        Header::from_bytes(bytes)
    };
    hashes(seed, 3 * count).chunks(3).map(header).collect()
}
