//! The two kinds of Merkle trees, for tests that hold the same of both.

use blockmill::compute::{Backend, TreeShape};
use blockmill::primitives::{Hash256, Trees};

use super::oracle;

/// How the levels of a tree are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Bitcoin,
    Rfc6962,
}

impl Shape {
    pub const ALL: [Self; 2] = [Self::Bitcoin, Self::Rfc6962];

    /// The same, as devices name it.
    pub fn of(shape: TreeShape) -> Self {
        match shape {
            TreeShape::Bitcoin => Self::Bitcoin,
            TreeShape::Rfc6962 => Self::Rfc6962,
        }
    }

    /// And back.
    pub fn tree_shape(self) -> TreeShape {
        match self {
            Self::Bitcoin => TreeShape::Bitcoin,
            Self::Rfc6962 => TreeShape::Rfc6962,
        }
    }

    /// The right root.
    pub fn root(self, leaves: &[Hash256]) -> Hash256 {
        match self {
            Self::Bitcoin => oracle::merkle_root(leaves),
            Self::Rfc6962 => oracle::rfc6962_root(leaves),
        }
    }

    /// The right roots.
    pub fn roots(self, trees: &Trees) -> Vec<Hash256> {
        trees.iter().map(|leaves| self.root(leaves)).collect()
    }

    /// The backend's roots.
    pub fn roots_by(self, backend: &dyn Backend, trees: &Trees) -> Vec<Hash256> {
        // What stands there before a call must not stand there after it.
        let mut roots = vec![Hash256::from_bytes([0xa5; 32]); trees.len()];
        match self {
            Self::Bitcoin => backend.merkle_roots(trees, &mut roots),
            Self::Rfc6962 => backend.rfc6962_roots(trees, &mut roots),
        }
        roots
    }
}

/// Trees of these sizes, each over other leaves.
pub fn trees(sizes: impl IntoIterator<Item = usize>) -> Trees {
    let mut trees = Trees::new();
    for (seed, size) in (0..).step_by(1 << 20).zip(sizes) {
        trees.push(&oracle::hashes(seed, size));
    }
    trees
}
