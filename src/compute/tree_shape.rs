//! The two kinds of Merkle trees, for code that treats them alike.

use crate::primitives::{Hash256, Trees, rfc6962};

use super::{Device, DeviceError, cpu};

/// How the levels of a tree are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TreeShape {
    /// Pairs are hashed with SHA-256d, an odd last node is paired with itself.
    Bitcoin,
    /// Pairs are hashed with SHA-256 behind a one byte, an odd last node rises as it is.
    Rfc6962,
}

impl TreeShape {
    /// The root, which the host computes.
    pub(super) fn root(self, leaves: &[Hash256]) -> Hash256 {
        match self {
            Self::Bitcoin => cpu::merkle_root(leaves),
            Self::Rfc6962 => rfc6962::root(leaves),
        }
    }

    /// The roots, which a device computes.
    pub(super) fn roots_on(
        self,
        device: &mut dyn Device,
        trees: &Trees,
        roots: &mut [Hash256],
    ) -> Result<(), DeviceError> {
        match self {
            Self::Bitcoin => device.merkle_roots(trees, roots),
            Self::Rfc6962 => device.rfc6962_roots(trees, roots),
        }
    }
}
