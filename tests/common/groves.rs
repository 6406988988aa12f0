//! Groves, and what is right of them.

use std::cell::RefCell;

use blockmill::compute::Backend;
use blockmill::primitives::{Grove, GroveSink, Groves, Hash256, HashFunction, Leaf};

use super::oracle;
use super::trees::Shape;

/// The functions and shapes that blocks take: Bitcoin's and a ledger's.
pub const KINDS: [(HashFunction, Shape); 2] =
    [(HashFunction::Sha256d, Shape::Bitcoin), (HashFunction::Sha256, Shape::Rfc6962)];

/// The leaves of each tree.
pub fn trees(function: HashFunction, grove: &Grove<'_>) -> Vec<Vec<Hash256>> {
    let digests = grove.messages().map(|parts| oracle::digest(function, &parts.concat()));
    let digests: Vec<_> = digests.collect();
    let hash = |leaf: &Leaf| match leaf {
        Leaf::Digest(message) => digests[*message as usize],
        Leaf::Given(hash) => *hash,
    };
    grove.trees().map(|leaves| leaves.iter().map(hash).collect()).collect()
}

/// The right roots of a grove.
pub fn roots(function: HashFunction, shape: Shape, grove: &Grove<'_>) -> Vec<Hash256> {
    trees(function, grove).iter().map(|leaves| shape.root(leaves)).collect()
}

/// The right roots of all groves.
pub fn right(function: HashFunction, shape: Shape, groves: &[Grove<'_>]) -> Vec<Hash256> {
    groves.iter().flat_map(|grove| roots(function, shape, grove)).collect()
}

/// The roots by a backend.
pub fn by(
    backend: &dyn Backend,
    function: HashFunction,
    shape: Shape,
    groves: &[Grove<'_>],
) -> Vec<Hash256> {
    // What stands there before a call must not stand there after it.
    let unwritten = Hash256::from_bytes([0xa5; 32]);
    let mut roots = vec![unwritten; groves.iter().map(Grove::tree_count).sum()];
    backend.hash_groves(function, shape.tree_shape(), &groves, &mut roots);
    roots
}

/// The digests of all messages, in order.
pub fn digests(function: HashFunction, groves: &[Grove<'_>]) -> Vec<Hash256> {
    let messages = groves.iter().flat_map(Grove::messages);
    messages.map(|parts| oracle::digest(function, &parts.concat())).collect()
}

/// The digests that somebody who has these groves hashed learns of.
pub fn learnt(
    backend: &dyn Backend,
    function: HashFunction,
    shape: Shape,
    groves: &[Grove<'_>],
) -> Vec<Hash256> {
    struct Learns<'g, 'a>(&'g [Grove<'a>], RefCell<Vec<Hash256>>);
    impl<'a> Groves<'a> for Learns<'_, 'a> {
        fn tell(&self, sink: &mut dyn GroveSink<'a>) {
            self.0.tell(sink);
        }
        fn learn(&self, digests: &[Hash256]) {
            self.1.borrow_mut().extend_from_slice(digests);
        }
    }
    let learns = Learns(groves, RefCell::default());
    let mut roots = vec![Hash256::ZERO; groves.iter().map(Grove::tree_count).sum()];
    backend.hash_groves(function, shape.tree_shape(), &learns, &mut roots);
    learns.1.into_inner()
}

/// A block of so many messages of up to `longest` bytes, in one to three parts, cut from `bytes`: with a tree
/// over all of them, and another over zeros, every other one and one more hash, much as a block with witnesses
/// has. Two that begin at different places of the bytes are not alike.
pub fn grove(bytes: &[u8], messages: usize, longest: usize) -> Grove<'_> {
    let mut grove = Grove::with_capacity(messages);
    for message in 0..messages {
        let length = message * 37 % (longest + 1);
        let first = message * 101 % (bytes.len() - length);
        let (whole, cut) = (&bytes[first..first + length], length / 3);
        match message % 3 {
            0 => grove.push(&[whole]),
            1 => grove.push(&[&whole[..cut], &whole[cut..]]),
            _ => grove.push(&[&whole[..cut], &[], &whole[cut..]]),
        }
    }
    let numbers = 0..u32::try_from(messages).expect("a small number");
    if messages > 0 {
        grove.push_tree(numbers.clone().map(Leaf::Digest));
        let given = [Hash256::ZERO, oracle::hashes(78, messages + 1)[messages]].map(Leaf::Given);
        let others = numbers.skip(1).step_by(2).map(Leaf::Digest);
        grove.push_tree(given[..1].iter().copied().chain(others).chain(given[1..].iter().copied()));
    }
    grove
}

/// Bytes without a pattern.
pub fn bytes(count: usize) -> Vec<u8> {
    let hashes = oracle::hashes(77, count.div_ceil(32));
    let mut bytes: Vec<_> = hashes.iter().flat_map(|hash| *hash.as_bytes()).collect();
    bytes.truncate(count);
    bytes
}
