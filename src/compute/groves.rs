//! What the host does for groves: all of it in two steps, digests and then roots; or the digests of the
//! messages alone that are too long for a device.

use crate::primitives::{
    Collected, Grove, GroveSink, Groves, Hash256, HashFunction, Leaf, Messages, Trees,
};

use super::{Backend, Cpu, TreeShape, cpu};

/// [`Backend::hash_groves`] by the other functions of a backend. Gives the digests of all messages.
pub(super) fn in_two_steps<B: Backend + ?Sized>(
    backend: &B,
    function: HashFunction,
    shape: TreeShape,
    groves: &dyn Groves<'_>,
    roots: &mut [Hash256],
) -> Vec<Hash256> {
    let mut digests = Digests::new(backend, function);
    groves.tell(&mut digests);
    digests.hash();
    digests.roots(shape, roots);
    digests.digests
}

/// The groves without their messages of more than `longest` bytes: what the trees have of these is their
/// digest, by the CPU.
pub(super) fn without_long_messages<'a>(
    cpu: &Cpu,
    function: HashFunction,
    longest: usize,
    groves: &dyn Groves<'a>,
) -> Vec<Grove<'a>> {
    let mut long = LongMessages { longest, digests: Digests::new(cpu, function) };
    groves.tell(&mut long);
    long.digests.hash();
    let digests = long.digests.digests.into_iter();
    let mut short = ShortMessages {
        longest,
        digests,
        leaves: Vec::new(),
        kept: 0,
        collected: Collected::default(),
    };
    groves.tell(&mut short);
    short.collected.groves
}

/// How many times as much is hashed in one call of what lies where it came: no copy of it has to stay in a
/// cache, and the more messages there are, the longer all lanes have some.
const IN_PLACE: usize = 16;

/// What a message counts for at least, in bytes, so that what is noted of messages stays small as well.
const MESSAGE_BYTES_MIN: usize = 256;

/// Hashes messages as it is told them, a stretch of them at a time, so that their copies stay small.
struct Digests<'b, 'a, B: ?Sized> {
    backend: &'b B,
    function: HashFunction,
    bytes_at_once: usize,
    /// Those that came in several parts, put together, of the messages that are not hashed yet.
    gathered: Messages,
    /// Those that are not hashed yet, where they lie; `None` for the next that was put together.
    messages: Vec<Option<&'a [u8]>>,
    /// The bytes that these count for.
    bytes: usize,
    digests: Vec<Hash256>,
    /// The number of the grove's first message.
    first: usize,
    /// The leaves of all trees: numbers of messages, or those of given hashes, counted down from the largest
    /// number there is.
    leaves: Vec<usize>,
    given: Vec<Hash256>,
    /// Where those of each tree end.
    ends: Vec<usize>,
}

impl<'b, B: Backend + ?Sized> Digests<'b, '_, B> {
    fn new(backend: &'b B, function: HashFunction) -> Self {
        Self {
            backend,
            function,
            bytes_at_once: backend.message_bytes_at_once(),
            gathered: Messages::new(),
            messages: Vec::new(),
            bytes: 0,
            digests: Vec::new(),
            first: 0,
            leaves: Vec::new(),
            given: Vec::new(),
            ends: Vec::new(),
        }
    }

    fn hash(&mut self) {
        let before = self.digests.len();
        self.digests.resize(before + self.messages.len(), Hash256::ZERO);
        let places = &mut self.digests[before..];
        let messages: Vec<_> = {
            let mut gathered = self.gathered.iter();
            let mut next = || gathered.next().expect("each was put together");
            self.messages.iter().map(|message| message.unwrap_or_else(&mut next)).collect()
        };
        self.backend.hash_messages(self.function, &messages, places);
        self.gathered.clear();
        self.messages.clear();
        self.bytes = 0;
    }

    fn roots(&self, shape: TreeShape, roots: &mut [Hash256]) {
        assert_eq!(self.ends.len(), roots.len(), "one root per tree");
        let mut trees = Trees::with_capacity(self.leaves.len());
        let mut open = Vec::new();
        let mut first = 0;
        for (&end, root) in self.ends.iter().zip(roots) {
            let leaves = &self.leaves[first..end];
            first = end;
            // Many blocks hold one transaction.
            if let [leaf] = leaves {
                *root = self.hash_of(*leaf);
            } else {
                trees.extend_leaves(leaves.iter().map(|leaf| self.hash_of(*leaf)));
                trees.close(leaves.len());
                open.push(root);
            }
        }
        let mut found = vec![Hash256::ZERO; trees.len()];
        match shape {
            TreeShape::Bitcoin => self.backend.merkle_roots(&trees, &mut found),
            TreeShape::Rfc6962 => self.backend.rfc6962_roots(&trees, &mut found),
        }
        open.into_iter().zip(found).for_each(|(root, found)| *root = found);
    }

    fn hash_of(&self, leaf: usize) -> Hash256 {
        self.digests.get(leaf).copied().unwrap_or_else(|| self.given[usize::MAX - leaf])
    }
}

impl<'a, B: Backend + ?Sized> GroveSink<'a> for Digests<'_, 'a, B> {
    fn message(&mut self, parts: &[&'a [u8]]) {
        if let [message] = parts {
            self.messages.push(Some(message));
        } else {
            self.messages.push(None);
            self.gathered.push(parts);
        }
        self.bytes += length_of(parts).max(MESSAGE_BYTES_MIN);
        if self.gathered.bytes().len() >= self.bytes_at_once
            || self.bytes >= IN_PLACE * self.bytes_at_once
        {
            self.hash();
        }
    }

    fn leaf(&mut self, leaf: Leaf) {
        self.leaves.push(match leaf {
            Leaf::Digest(message) => self.first + message as usize,
            Leaf::Given(hash) => {
                self.given.push(hash);
                usize::MAX - (self.given.len() - 1)
            }
        });
    }

    fn end_tree(&mut self) {
        self.ends.push(self.leaves.len());
    }

    fn end_grove(&mut self) {
        self.first = self.digests.len() + self.messages.len();
    }
}

/// Hashes the long messages that it is told.
struct LongMessages<'b, 'a> {
    longest: usize,
    digests: Digests<'b, 'a, Cpu>,
}

impl<'a> GroveSink<'a> for LongMessages<'_, 'a> {
    fn message(&mut self, parts: &[&'a [u8]]) {
        if length_of(parts) > self.longest {
            self.digests.message(parts);
        }
    }

    fn leaf(&mut self, _: Leaf) {}

    fn end_tree(&mut self) {}

    fn end_grove(&mut self) {}
}

/// Keeps what it is told, but for the long messages.
struct ShortMessages<'a> {
    longest: usize,
    /// Those of the long messages that it was not told yet.
    digests: std::vec::IntoIter<Hash256>,
    /// What stands for each message of the grove that is open.
    leaves: Vec<Leaf>,
    /// How many of them were kept.
    kept: u32,
    collected: Collected<'a>,
}

impl<'a> GroveSink<'a> for ShortMessages<'a> {
    fn message(&mut self, parts: &[&'a [u8]]) {
        self.leaves.push(if length_of(parts) > self.longest {
            Leaf::Given(self.digests.next().expect("the same is told twice"))
        } else {
            self.collected.message(parts);
            self.kept += 1;
            Leaf::Digest(self.kept - 1)
        });
    }

    fn leaf(&mut self, leaf: Leaf) {
        self.collected.leaf(match leaf {
            Leaf::Digest(message) => self.leaves[message as usize],
            Leaf::Given(_) => leaf,
        });
    }

    fn end_tree(&mut self) {
        self.collected.end_tree();
    }

    fn end_grove(&mut self) {
        self.leaves.clear();
        self.kept = 0;
        self.collected.end_grove();
    }
}

/// The bytes of a message that is given in parts.
pub(super) fn length_of(parts: &[&[u8]]) -> usize {
    parts.iter().map(|part| part.len()).sum()
}

/// The roots of one grove, which the host computes.
pub(super) fn roots(
    function: HashFunction,
    shape: TreeShape,
    grove: &Grove<'_>,
) -> impl Iterator<Item = Hash256> {
    let digests = grove.messages().map(|parts| cpu::hash_message(function, &parts.concat()));
    let digests: Vec<_> = digests.collect();
    let hash = move |leaf: &Leaf| match leaf {
        Leaf::Digest(message) => digests[*message as usize],
        Leaf::Given(hash) => *hash,
    };
    grove.trees().map(move |leaves| shape.root(&leaves.iter().map(&hash).collect::<Vec<_>>()))
}
