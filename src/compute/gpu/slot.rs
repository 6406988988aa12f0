//! The buffers of one piece of work that is under way.

use wgpu::BufferUsages;

use super::link::{Grown, Staging};

/// Buffers for any of the kernels that hash. Each piece of work that is under way has a slot of its own, so
/// that its input goes up and its digests come back while others are hashed.
pub(super) struct Slot {
    /// Headers, words of messages, or pairs of nodes.
    pub(super) input: Grown,
    /// Pairs of nodes beside words of messages.
    pub(super) pairs: Grown,
    /// Where each message lies.
    pub(super) places: Grown,
    /// Which hash function.
    pub(super) function: Grown,
    /// Digests, or the nodes of trees.
    pub(super) output: Grown,
    pub(super) staging: Staging,
}

impl Slot {
    pub(super) fn new() -> Self {
        let storage = BufferUsages::STORAGE | BufferUsages::COPY_DST;
        Self {
            input: Grown::new("input", storage),
            pairs: Grown::new("pairs", storage),
            places: Grown::new("places", storage),
            function: Grown::new("function", BufferUsages::UNIFORM | BufferUsages::COPY_DST),
            output: Grown::new("output", storage | BufferUsages::COPY_SRC),
            staging: Staging::new(),
        }
    }
}
