//! Merkle trees level by level, many trees side by side, so that the lanes of a processor find pairs
//! to hash even where the trees are small.

use std::ops::Range;

use crate::primitives::{Hash256, Trees};

use super::tree_shape::TreeShape;

/// The nodes from which on a level fills the lanes by itself.
const ALONE_MIN: usize = 64;

/// The roots of some trees of a batch, in order. `hash` turns a level of pairs into their parents, in
/// the shape that is given.
///
/// # Panics
/// If there is not one place for each root.
pub(super) fn roots(
    shape: TreeShape,
    trees: &Trees,
    which: Range<usize>,
    roots: &mut [Hash256],
    hash: impl Fn(&[Hash256], &mut [Hash256]),
) {
    assert_eq!(which.len(), roots.len(), "one root per tree");
    let mut level = Vec::new();
    let mut open = Vec::with_capacity(roots.len());
    let mut buffers = [Vec::new(), Vec::new()];
    for ((tree, leaves), root) in which.map(|tree| trees.get(tree)).enumerate().zip(&mut *roots) {
        let mut tree = Open { tree, pairs: 0, risen: None };
        let nodes = tree.climb(shape, leaves, &mut buffers, &hash);
        match tree.lay(shape, nodes, &mut level) {
            Some(found) => *root = found,
            None => open.push(tree),
        }
    }
    let mut parents = vec![Hash256::ZERO; level.len() / 2];
    while !open.is_empty() {
        let parents = &mut parents[..level.len() / 2];
        hash(&level, parents);
        level.clear();
        let mut rest = &*parents;
        open.retain_mut(|tree| {
            let (nodes, others) = rest.split_at(tree.pairs);
            rest = others;
            let root = tree.lay(shape, nodes, &mut level);
            if let Some(root) = root {
                roots[tree.tree] = root;
            }
            root.is_none()
        });
    }
}

/// A tree that is not yet one node.
struct Open {
    /// The place of its root.
    tree: usize,
    /// The pairs of its level.
    pairs: usize,
    /// The odd last node of a level below, which still waits for a sibling.
    risen: Option<Hash256>,
}

impl Open {
    /// Hashes level by level, as long as they are large: without a copy to lay them beside others. Gives the
    /// first level that is small.
    fn climb<'a>(
        &mut self,
        shape: TreeShape,
        leaves: &'a [Hash256],
        [here, above]: &'a mut [Vec<Hash256>; 2],
        hash: impl Fn(&[Hash256], &mut [Hash256]),
    ) -> &'a [Hash256] {
        if leaves.len() < ALONE_MIN {
            return leaves;
        }
        self.rise(shape, leaves, here, &hash);
        while here.len() >= ALONE_MIN {
            self.rise(shape, here, above, &hash);
            std::mem::swap(here, above);
        }
        here
    }

    /// Hashes a level into the one above it.
    fn rise(
        &mut self,
        shape: TreeShape,
        nodes: &[Hash256],
        above: &mut Vec<Hash256>,
        hash: impl Fn(&[Hash256], &mut [Hash256]),
    ) {
        let (pairs, odd) = nodes.as_chunks::<2>();
        above.resize(pairs.len(), Hash256::ZERO);
        hash(pairs.as_flattened(), above);
        let [last] = odd else { return };
        let right = match shape {
            TreeShape::Bitcoin => Some(*last),
            TreeShape::Rfc6962 => self.risen.take(),
        };
        match right {
            Some(right) => {
                above.push(Hash256::ZERO);
                hash(&[*last, right], &mut above[pairs.len()..]);
            }
            None => self.risen = Some(*last),
        }
    }

    /// Lays out a level in pairs, behind those of other trees. Gives the root if that is all there is.
    fn lay(
        &mut self,
        shape: TreeShape,
        nodes: &[Hash256],
        level: &mut Vec<Hash256>,
    ) -> Option<Hash256> {
        if nodes.len() + usize::from(self.risen.is_some()) == 1 {
            return nodes.first().copied().or(self.risen);
        }
        let before = level.len();
        level.extend_from_slice(nodes);
        if !nodes.len().is_multiple_of(2) {
            match (shape, self.risen.take()) {
                (TreeShape::Bitcoin, _) => level.extend(nodes.last()),
                (TreeShape::Rfc6962, None) => self.risen = level.pop(),
                (TreeShape::Rfc6962, Some(risen)) => level.push(risen),
            }
        }
        self.pairs = (level.len() - before) / 2;
        None
    }
}
