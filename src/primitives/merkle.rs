//! Bitcoin's Merkle trees as data: many trees in one batch, and the check for mutation.

use super::{Hash256, sha256d};

/// The leaves of many Merkle trees, one tree after the other.
///
/// A tree has at least one leaf: a block without transactions has no root to compare.
#[derive(Clone, Debug, Default)]
pub struct Trees {
    leaves: Vec<Hash256>,
    ends: Vec<usize>,
}

impl Trees {
    /// A batch without trees.
    #[must_use]
    pub const fn new() -> Self {
        Self { leaves: Vec::new(), ends: Vec::new() }
    }

    /// A batch without trees that has room for so many leaves.
    #[must_use]
    pub fn with_capacity(leaves: usize) -> Self {
        Self { leaves: Vec::with_capacity(leaves), ends: Vec::new() }
    }

    /// Adds leaves to trees that [`Trees::close`] tells apart later.
    pub fn extend_leaves(&mut self, leaves: impl Iterator<Item = Hash256>) {
        self.leaves.extend(leaves);
    }

    /// Ends a tree of the next `leaves` that were added without a tree.
    ///
    /// # Panics
    /// If there are fewer, or `leaves` is zero.
    pub fn close(&mut self, leaves: usize) {
        let end = self.ends.last().copied().unwrap_or(0) + leaves;
        assert!(leaves > 0 && end <= self.leaves.len(), "a Merkle tree has at least one leaf");
        self.ends.push(end);
    }

    /// Adds a tree.
    ///
    /// # Panics
    /// If `leaves` is empty.
    pub fn push(&mut self, leaves: &[Hash256]) {
        assert!(!leaves.is_empty(), "a Merkle tree has at least one leaf");
        self.leaves.extend_from_slice(leaves);
        self.ends.push(self.leaves.len());
    }

    /// The number of trees.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is no tree.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The number of leaves of all trees together.
    #[must_use]
    pub fn leaf_count(&self) -> usize {
        self.leaves.len()
    }

    /// The leaves of tree `index`.
    #[must_use]
    pub fn get(&self, index: usize) -> &[Hash256] {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.leaves[start..self.ends[index]]
    }

    /// The leaves of each tree in turn.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[Hash256]> {
        (0..self.len()).map(|index| self.get(index))
    }
}

/// The root of one of Bitcoin's Merkle trees, computed here: pairs are hashed with SHA-256d, an odd last node
/// is paired with itself, and no leaves at all give zero.  (Bitcoin Core: `ComputeMerkleRoot`.)
#[must_use]
pub fn merkle_root(leaves: &[Hash256]) -> Hash256 {
    let mut level = leaves.to_vec();
    while level.len() > 1 {
        let parent = |pair: &[Hash256]| {
            let right = pair.last().expect("chunks are never empty");
            sha256d(&[*pair[0].as_bytes(), *right.as_bytes()].concat())
        };
        level = level.chunks(2).map(parent).collect();
    }
    level.first().copied().unwrap_or(Hash256::ZERO)
}

/// Where the first of two equal siblings of a Bitcoin tree begins, and how many leaves each of them has; at the
/// lowest level that has any, and there the first. With equal siblings another list of leaves has the same
/// root (CVE-2012-2459). `are_equal` compares leaves by their numbers.
///
/// Bitcoin Core's `ComputeMerkleRoot` compares node hashes while it climbs. Nodes are equal exactly
/// when their leaves are, so comparing leaves finds the same trees without any hash: a pair at
/// level k is two neighbouring runs of 2^k leaves. A run cut short by the end of the list can equal
/// its left neighbour only through duplicates that a lower level has already found.
#[must_use]
pub fn first_equal_siblings(
    leaves: usize,
    are_equal: impl Fn(usize, usize) -> bool,
) -> Option<(usize, usize)> {
    let mut run = 1;
    while run * 2 <= leaves {
        let is_repeated = |first: &usize| (*first..first + run).all(|at| are_equal(at, at + run));
        let mut firsts = (0..=leaves - 2 * run).step_by(2 * run);
        if let Some(first) = firsts.find(is_repeated) {
            return Some((first, run));
        }
        run *= 2;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has_equal_siblings(leaves: &[Hash256]) -> bool {
        first_equal_siblings(leaves.len(), |a, b| leaves[a] == leaves[b]).is_some()
    }

    /// Equal siblings as Core finds them, by climbing.
    fn climbing(leaves: &[Hash256]) -> bool {
        let mut level = leaves.to_vec();
        let mut mutated = false;
        while level.len() > 1 {
            mutated |= level.chunks_exact(2).any(|pair| pair[0] == pair[1]);
            level = level
                .chunks(2)
                .map(|pair| {
                    let right = pair.get(1).unwrap_or(&pair[0]);
                    sha256d(&[*pair[0].as_bytes(), *right.as_bytes()].concat())
                })
                .collect();
        }
        mutated
    }

    #[test]
    fn finds_what_climbing_finds() {
        // Every list of up to seven leaves over three values, and longer ones made by repetition.
        let value = |digit: usize| sha256d(&[u8::try_from(digit).expect("a digit")]);
        let mut mutated = 0;
        for length in 1..=7u32 {
            for code in 0..3usize.pow(length) {
                let leaves: Vec<_> =
                    (0..length).map(|place| value(code / 3usize.pow(place) % 3)).collect();
                assert_eq!(has_equal_siblings(&leaves), climbing(&leaves), "{leaves:?}");
                mutated += usize::from(climbing(&leaves));
            }
        }
        assert!(mutated > 0);
        for length in 1..=70 {
            let honest: Vec<_> = (0..length).map(value).collect();
            assert!(!has_equal_siblings(&honest));
            for repeat in 1..=length {
                let mut leaves = honest.clone();
                leaves.extend_from_slice(&honest[length - repeat..]);
                assert_eq!(has_equal_siblings(&leaves), climbing(&leaves), "{length} + {repeat}");
            }
        }
    }
}
