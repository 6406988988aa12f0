//! The two kinds of Merkle trees, for code that treats them alike.

use crate::primitives::{Hash256, rfc6962};

use super::cpu;

/// How the levels of a tree are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TreeShape {
    /// Pairs are hashed with SHA-256d, an odd last node is paired with itself.
    Bitcoin,
    /// Pairs are hashed with SHA-256 behind a one byte, an odd last node rises as it is.
    Rfc6962,
}

impl TreeShape {
    /// The root over some leaves, which the host computes.
    pub(crate) fn root(self, leaves: &[Hash256]) -> Hash256 {
        match self {
            Self::Bitcoin => cpu::merkle_root(leaves),
            Self::Rfc6962 => rfc6962::root(leaves),
        }
    }
}
