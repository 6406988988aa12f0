//! What the tree keeps of a header, and how the rules see it.

use crate::primitives::{CompactTarget, Hash256, Header, Work};
use crate::verdict::Position;

/// What the rules look at in the header that they judge.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    /// The block id.
    pub id: Hash256,
    /// The block version.
    pub version: i32,
    /// The block time in seconds since 1970-01-01.
    pub time: u32,
    /// The compact target.
    pub bits: CompactTarget,
}

impl Candidate {
    /// Of a header, whose id is known.
    #[must_use]
    pub fn of(header: &Header, id: Hash256) -> Self {
        let (version, time, bits) = (header.version(), header.time(), header.bits());
        Self { id, version, time, bits }
    }
}

/// What the tree knows of a header. 96 bytes: dumps hold a million of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node {
    pub(super) id: Hash256,
    pub(super) state: State,
    /// The parent, or [`NONE`] while it is not known.
    pub(super) parent: u32,
    pub(super) version: i32,
    pub(super) time: u32,
    pub(super) bits: CompactTarget,
    /// The place in the input; [`NOT_IN_INPUT`] for a start that only the rules know.
    pub(super) position: Position,
}

const _: () = assert!(size_of::<Node>() <= 96);

#[derive(Clone, Copy, Debug)]
pub(super) enum State {
    /// Accepted.
    Connected { height: u32, work: Work },
    /// An orphan so far; links to the next orphan of the same parent and to its own first child.
    Waiting { next: u32, child: u32 },
    /// Broke a rule; so do all its descendants. The height is filled in when it is known.
    Rejected { height: Option<u32>, next: u32 },
}

/// The number of the node that the tree starts with.
pub(super) const START: u32 = 0;

pub(super) const NONE: u32 = u32::MAX;
pub(super) const NOT_IN_INPUT: Position = Position(u64::MAX);

/// Bits that no accepted header can have: they mark a start whose bits are not known.
pub(super) const UNKNOWN_BITS: CompactTarget = CompactTarget::from_bits(0);

impl Node {
    #[inline]
    pub(super) const fn candidate(&self) -> Candidate {
        Candidate { id: self.id, version: self.version, time: self.time, bits: self.bits }
    }
}

/// An accepted block, seen from one of its descendants.
#[derive(Clone, Copy, Debug)]
pub struct Ancestor<'a> {
    nodes: &'a [Node],
    /// A `usize`, so that the struct has no padding: copying it right after it was made would
    /// otherwise wait for the stores before it, which are slow ones.
    node: usize,
    /// From this node on, the parent of each is the node before it.
    run: usize,
}

impl<'a> Ancestor<'a> {
    #[inline]
    pub(super) const fn new(nodes: &'a [Node], node: u32, run: u32) -> Self {
        Self { nodes, node: node as usize, run: run as usize }
    }

    #[inline]
    fn get(&self) -> &'a Node {
        &self.nodes[self.node]
    }

    /// The block id.
    #[inline]
    #[must_use]
    pub fn id(&self) -> Hash256 {
        self.get().id
    }

    /// The block version; meaningless if the block is trusted.
    #[inline]
    #[must_use]
    pub fn version(&self) -> i32 {
        self.get().version
    }

    /// The work of the branch up to it.
    #[inline]
    #[must_use]
    pub fn work(&self) -> Work {
        match self.get().state {
            State::Connected { work, .. } => work,
            _ => unreachable!("ancestors are connected"),
        }
    }

    /// Whether only the id and the height are known: a start taken on trust.
    #[inline]
    #[must_use]
    pub fn is_trusted(&self) -> bool {
        self.get().bits == UNKNOWN_BITS
    }

    /// The number of blocks before it.
    #[inline]
    #[must_use]
    pub fn height(&self) -> u32 {
        match self.get().state {
            State::Connected { height, .. } => height,
            _ => unreachable!("ancestors are connected"),
        }
    }

    /// The block time; meaningless if the block is trusted.
    #[inline]
    #[must_use]
    pub fn time(&self) -> u32 {
        self.get().time
    }

    /// The compact target; meaningless if the block is trusted.
    #[inline]
    #[must_use]
    pub fn bits(&self) -> CompactTarget {
        self.get().bits
    }

    /// The block before it, unless the tree starts here.
    #[inline]
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        if self.node > self.run {
            return Some(Self { node: self.node - 1, ..*self });
        }
        let parent = self.get().parent;
        (parent != NONE).then_some(Self { node: parent as usize, ..*self })
    }

    /// The block itself, its parent, and so on to the start.
    #[inline]
    pub fn lineage(self) -> impl Iterator<Item = Self> {
        std::iter::successors(Some(self), Self::parent)
    }

    /// The median time of the block and the ten before it.  (Core: `GetMedianTimePast`.)
    #[must_use]
    pub fn median_time_past(self) -> u32 {
        let mut times: Vec<_> =
            self.lineage().take(super::MEDIAN_BLOCKS).map(|block| block.time()).collect();
        times.sort_unstable();
        times[times.len() / 2]
    }

    /// The block `steps` before it, unless the tree starts later.
    #[must_use]
    pub fn back(self, steps: u32) -> Option<Self> {
        match self.node.checked_sub(steps as usize) {
            Some(node) if node >= self.run => Some(Self { node, ..self }),
            _ => self.lineage().nth(steps as usize),
        }
    }

    /// The times of the blocks that bound the time of the next, if they stand in a row and none of them
    /// is taken on trust; the oldest first.
    #[inline]
    pub(super) fn recent_times(self) -> Option<[u32; super::MEDIAN_BLOCKS]> {
        let first = (self.node + 1).checked_sub(super::MEDIAN_BLOCKS)?;
        // The start alone can be taken on trust.
        if first < self.run || first == START as usize {
            return None;
        }
        let nodes = self.nodes[first..].first_chunk::<{ super::MEDIAN_BLOCKS }>()?;
        Some(nodes.each_ref().map(|node| node.time))
    }
}
