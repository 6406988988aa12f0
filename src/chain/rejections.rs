//! The first rejections of the input, in a bounded list.

use std::collections::BinaryHeap;

use crate::primitives::Hash256;
use crate::verdict::{Position, Violation};

/// A rejection before its height is settled.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record {
    pub(super) position: Position,
    pub(super) node: u32,
    pub(super) id: Hash256,
    pub(super) violation: Violation,
}

// The heap orders by place in the input alone: there is one block at each position.
impl PartialEq for Record {
    fn eq(&self, other: &Self) -> bool {
        self.position == other.position
    }
}
impl Eq for Record {}
impl PartialOrd for Record {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Record {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.position.cmp(&other.position)
    }
}

/// Keeps the rejections with the lowest positions, whatever order they are found in.
#[derive(Debug)]
pub(super) struct Rejections {
    heap: BinaryHeap<Record>,
    kept_max: usize,
    pub(super) count: u64,
}

impl Rejections {
    pub(super) const fn new(kept_max: usize) -> Self {
        Self { heap: BinaryHeap::new(), kept_max, count: 0 }
    }

    pub(super) fn push(&mut self, record: Record) {
        self.count += 1;
        if self.heap.len() < self.kept_max {
            self.heap.push(record);
        } else if let Some(mut last) = self.heap.peek_mut()
            && record < *last
        {
            *last = record;
        }
    }

    pub(super) fn into_sorted(self) -> Vec<Record> {
        self.heap.into_sorted_vec()
    }
}
