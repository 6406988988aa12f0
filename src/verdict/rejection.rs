//! A rejected block and its place in the input.

use crate::primitives::Hash256;

use super::Violation;

/// A byte of the whole input: all files, decompressed, one after the other in the order given.
///
/// The order of positions is the order of arrival, which decides ties between branches. A dump's
/// file table turns a position into a file and an offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

/// A block that breaks a rule.
#[derive(Clone, Copy, Debug)]
pub struct Rejection {
    /// The rule and the evidence.
    pub violation: Violation,
    /// The height, unless the block connects to nothing that is known.
    pub height: Option<u32>,
    /// The block id.
    pub id: Hash256,
    /// The block's first byte.
    pub position: Position,
}
