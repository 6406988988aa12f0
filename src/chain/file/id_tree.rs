//! The tree over the ids of the best branch, whose root a commit states.

use crate::chain::Ancestor;
use crate::compute::sha256::Platform;
use crate::primitives::rfc6962::{Frontier, LEAF};
use crate::primitives::{Hash256, HashFunction};

/// Ids that are hashed together: enough to fill the lanes of a processor on most levels, and few enough for
/// its cache.
const TOGETHER: usize = 1 << 12;

/// The tree of RFC 6962 over a growing list of ids, genesis first.
pub(super) struct IdTree {
    platform: Platform,
    frontier: Frontier,
    /// The ids that are in no tree yet: fewer than [`TOGETHER`].
    waiting: Vec<Hash256>,
}

impl IdTree {
    /// The tree over a whole branch.
    pub(super) fn of(tip: Ancestor<'_>) -> Self {
        let mut ids: Vec<_> = tip.lineage().map(|block| block.id()).collect();
        ids.reverse();
        let mut tree = Self {
            platform: Platform::detect(),
            frontier: Frontier::default(),
            waiting: Vec::with_capacity(TOGETHER),
        };
        ids.into_iter().for_each(|id| tree.push(id));
        tree
    }

    /// Adds an id.
    pub(super) fn push(&mut self, id: Hash256) {
        self.waiting.push(id);
        if self.waiting.len() == TOGETHER {
            self.hash();
        }
    }

    /// The root over all ids.
    pub(super) fn root(&mut self) -> Hash256 {
        self.hash();
        self.frontier.root()
    }

    /// Takes the ids that wait into the tree.
    fn hash(&mut self) {
        const LEN: usize = LEAF.len() + 32;
        let leaf = |id: &Hash256| {
            let mut leaf = [0; LEN];
            leaf[..LEAF.len()].copy_from_slice(&LEAF);
            leaf[LEAF.len()..].copy_from_slice(id.as_bytes());
            leaf
        };
        let leaves: Vec<[u8; LEN]> = self.waiting.iter().map(leaf).collect();
        let messages: Vec<_> = leaves.iter().map(<[u8; LEN]>::as_slice).collect();
        let mut hashes = vec![Hash256::ZERO; leaves.len()];
        self.platform.hash_messages(HashFunction::Sha256, &messages, &mut hashes);
        let platform = self.platform;
        self.frontier.extend(&hashes, |nodes, parents| platform.rfc6962_parents(nodes, parents));
        self.waiting.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::file::leaf_of;
    use crate::primitives::{rfc6962, sha256d};

    /// However many are hashed together, and whenever somebody asks.
    #[test]
    fn the_root_is_that_of_all_ids() {
        let ids: Vec<_> = (0_u32..10_000).map(|id| sha256d(&id.to_le_bytes())).collect();
        let leaves: Vec<_> = ids.iter().map(leaf_of).collect();
        let asked = [1, 2, 17, 4_095, 4_096, 4_097, 8_191, 8_193, 10_000];
        let (platform, waiting) = (Platform::detect(), Vec::new());
        let mut tree = IdTree { platform, frontier: Frontier::default(), waiting };
        for (count, id) in (1..).zip(ids) {
            tree.push(id);
            if asked.contains(&count) {
                assert_eq!(tree.root(), rfc6962::root(&leaves[..count]), "{count}");
            }
        }
        // Without a question in between.
        let (platform, waiting) = (Platform::detect(), Vec::new());
        let mut tree = IdTree { platform, frontier: Frontier::default(), waiting };
        (0_u32..10_000).for_each(|id| tree.push(sha256d(&id.to_le_bytes())));
        assert_eq!(tree.root(), rfc6962::root(&leaves));
    }
}
