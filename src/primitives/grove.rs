//! Messages and the Merkle trees over their digests as data: all that is hashed of a block.

use super::Hash256;

/// A leaf of a tree in a [`Grove`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaf {
    /// The digest of the message with this number, counted from zero.
    Digest(u32),
    /// A hash that is known: such as the zeros that stand for the coinbase among Bitcoin's witness ids
    /// (BIP141), or the digest of a message that was hashed elsewhere.
    Given(Hash256),
}

/// Some messages and trees whose leaves are their digests, or hashes that are given, so that hardware hashes
/// both without the digests on the way to the host and back.
///
/// Its results are the roots alone: they are held to what a header says, and nothing would show that a
/// digest is wrong whose root is right. Messages stay where they are, in any number of parts each.
#[derive(Clone, Debug, Default)]
pub struct Grove<'a> {
    parts: Vec<&'a [u8]>,
    /// Where the parts of each message end.
    message_ends: Vec<usize>,
    message_bytes: usize,
    leaves: Vec<Leaf>,
    /// Where the leaves of each tree end.
    tree_ends: Vec<usize>,
}

impl<'a> Grove<'a> {
    /// A grove without messages, with room for so many, of one part each.
    #[must_use]
    pub fn with_capacity(messages: usize) -> Self {
        Self {
            parts: Vec::with_capacity(messages),
            message_ends: Vec::with_capacity(messages),
            ..Self::default()
        }
    }

    /// Adds a message, given in parts.
    pub fn push(&mut self, parts: &[&'a [u8]]) {
        self.parts.extend_from_slice(parts);
        self.message_ends.push(self.parts.len());
        self.message_bytes += parts.iter().map(|part| part.len()).sum::<usize>();
    }

    /// Adds a leaf to the tree that is open.
    ///
    /// # Panics
    /// If it names a message that was not added before.
    pub fn push_leaf(&mut self, leaf: Leaf) {
        let is_there = match leaf {
            Leaf::Digest(message) => (message as usize) < self.message_count(),
            Leaf::Given(_) => true,
        };
        assert!(is_there, "a leaf of a message that is not there: {leaf:?}");
        self.leaves.push(leaf);
    }

    /// Ends the tree that is open.
    ///
    /// # Panics
    /// If it has no leaf.
    pub fn end_tree(&mut self) {
        let first = self.tree_ends.last().copied().unwrap_or(0);
        assert!(self.leaves.len() > first, "a Merkle tree has at least one leaf");
        self.tree_ends.push(self.leaves.len());
    }

    /// Adds a tree; see [`Grove::push_leaf`] and [`Grove::end_tree`].
    ///
    /// # Panics
    /// As these.
    pub fn push_tree(&mut self, leaves: impl Iterator<Item = Leaf>) {
        leaves.for_each(|leaf| self.push_leaf(leaf));
        self.end_tree();
    }

    /// The number of messages.
    #[must_use]
    pub const fn message_count(&self) -> usize {
        self.message_ends.len()
    }

    /// The bytes of all messages together.
    #[must_use]
    pub const fn message_bytes(&self) -> usize {
        self.message_bytes
    }

    /// The leaves of all trees together.
    #[must_use]
    pub const fn leaf_count(&self) -> usize {
        self.leaves.len()
    }

    /// The number of trees, and so of roots.
    #[must_use]
    pub const fn tree_count(&self) -> usize {
        self.tree_ends.len()
    }

    /// The parts of each message in turn.
    pub fn messages(&self) -> impl ExactSizeIterator<Item = &[&'a [u8]]> {
        slices(&self.parts, &self.message_ends)
    }

    /// The leaves of each tree in turn.
    pub fn trees(&self) -> impl ExactSizeIterator<Item = &[Leaf]> {
        slices(&self.leaves, &self.tree_ends)
    }
}

/// The groves of many blocks, told to whoever hashes them, who needs no copy of them.
pub trait Groves<'a> {
    /// Tells all of them, in order; the same each time.
    fn tell(&self, sink: &mut dyn GroveSink<'a>);

    /// Learns the digest of every message, in order, where the host has computed them: never on a device's word.
    fn learn(&self, digests: &[Hash256]) {
        let _ = digests;
    }
}

/// What is told of groves: of each its messages and trees, then its end. A tree comes after the messages that
/// its leaves name.
pub trait GroveSink<'a> {
    /// The next message, in parts.
    fn message(&mut self, parts: &[&'a [u8]]);
    /// The next leaf of the tree that is open.
    fn leaf(&mut self, leaf: Leaf);
    /// The end of the tree that is open, which has at least one leaf.
    fn end_tree(&mut self);
    /// The end of the grove.
    fn end_grove(&mut self);
}

impl<'a> Groves<'a> for &[Grove<'a>] {
    fn tell(&self, sink: &mut dyn GroveSink<'a>) {
        for grove in *self {
            grove.messages().for_each(|parts| sink.message(parts));
            for leaves in grove.trees() {
                leaves.iter().for_each(|leaf| sink.leaf(*leaf));
                sink.end_tree();
            }
            sink.end_grove();
        }
    }
}

/// Keeps what it is told.
#[derive(Clone, Debug, Default)]
pub struct Collected<'a> {
    /// All groves that have ended.
    pub groves: Vec<Grove<'a>>,
    open: Grove<'a>,
}

impl<'a> GroveSink<'a> for Collected<'a> {
    fn message(&mut self, parts: &[&'a [u8]]) {
        self.open.push(parts);
    }

    fn leaf(&mut self, leaf: Leaf) {
        self.open.push_leaf(leaf);
    }

    fn end_tree(&mut self) {
        self.open.end_tree();
    }

    fn end_grove(&mut self) {
        self.groves.push(std::mem::take(&mut self.open));
    }
}

/// What lies between each two ends.
fn slices<'s, T>(all: &'s [T], ends: &'s [usize]) -> impl ExactSizeIterator<Item = &'s [T]> {
    let begin = move |index: usize| index.checked_sub(1).map_or(0, |before| ends[before]);
    (0..ends.len()).map(move |index| &all[begin(index)..ends[index]])
}
