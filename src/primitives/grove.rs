//! Messages and the Merkle trees over their digests as data: all that is hashed of a block.

/// A leaf of a tree in a [`Grove`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaf {
    /// The digest of the message with this number, counted from zero.
    Digest(u32),
    /// A hash of zeros: what stands for the coinbase among Bitcoin's witness ids (BIP141).
    Zero,
}

/// Some messages and trees whose leaves are their digests, so that hardware hashes both without the
/// digests on the way to the host and back.
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

    /// Adds a tree over messages that were added before.
    ///
    /// # Panics
    /// If it has no leaf, or names a message that is not there.
    pub fn push_tree(&mut self, leaves: impl Iterator<Item = Leaf>) {
        let (first, messages) = (self.leaves.len(), self.message_ends.len());
        self.leaves.extend(leaves.inspect(|leaf| {
            let is_there = !matches!(leaf, Leaf::Digest(message) if *message as usize >= messages);
            assert!(is_there, "a leaf of a message that is not there: {leaf:?}");
        }));
        assert!(self.leaves.len() > first, "a Merkle tree has at least one leaf");
        self.tree_ends.push(self.leaves.len());
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

/// What lies between each two ends.
fn slices<'s, T>(all: &'s [T], ends: &'s [usize]) -> impl ExactSizeIterator<Item = &'s [T]> {
    let begin = move |index: usize| index.checked_sub(1).map_or(0, |before| ends[before]);
    (0..ends.len()).map(move |index| &all[begin(index)..ends[index]])
}
