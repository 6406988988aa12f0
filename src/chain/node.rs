//! What the tree keeps of a header, and how the rules see it.

use crate::primitives::{CompactTarget, Hash256, Header};
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
    #[inline(always)]
    #[must_use]
    pub fn of(header: &Header, id: Hash256) -> Self {
        let (version, time, bits) = (header.version(), header.time(), header.bits());
        Self { id, version, time, bits }
    }
}

/// What the tree knows of a header. 64 bytes: dumps hold a million of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node {
    pub(super) id: Hash256,
    /// The parent, or [`NONE`] while it is not known.
    pub(super) parent: u32,
    pub(super) version: i32,
    pub(super) time: u32,
    pub(super) bits: CompactTarget,
    /// What the state holds.
    links: [u32; 2],
    /// Four times the place in the input, and which state it is.
    place: u64,
}

const _: () = assert!(size_of::<Node>() <= 64);

/// What became of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Accepted. The work up to it is that of the stretch at this height: see [`super::stretches`].
    Connected { height: u32, stretch: u32 },
    /// An orphan so far; links to the next orphan of the same parent and to its own first child.
    Waiting { next: u32, child: u32 },
    /// Broke a rule; so do all its descendants. The height is filled in when it is known.
    Rejected { height: Option<u32>, next: u32 },
}

impl State {
    const CONNECTED: u64 = 0;
    const WAITING: u64 = 1;
    const REJECTED: u64 = 2;

    #[inline]
    fn pack(self) -> (u64, [u32; 2]) {
        match self {
            Self::Connected { height, stretch } => (Self::CONNECTED, [height, stretch]),
            Self::Waiting { next, child } => (Self::WAITING, [next, child]),
            Self::Rejected { height, next } => (Self::REJECTED, [height.unwrap_or(NONE), next]),
        }
    }

    #[inline]
    fn unpack(tag: u64, [a, b]: [u32; 2]) -> Self {
        match tag {
            Self::CONNECTED => Self::Connected { height: a, stretch: b },
            Self::WAITING => Self::Waiting { next: a, child: b },
            _ => Self::Rejected { height: (a != NONE).then_some(a), next: b },
        }
    }
}

/// The number of the node that the tree starts with.
pub(super) const START: u32 = 0;

pub(super) const NONE: u32 = u32::MAX;

/// The place of what is not in the input, but known from elsewhere; no file is so long.
pub(super) const NOT_IN_INPUT: Position = Position(u64::MAX >> TAG_BITS);

/// The bits of a place that tell the state.
const TAG_BITS: u32 = 2;

/// Bits that no accepted header can have: they mark a start whose bits are not known.
pub(super) const UNKNOWN_BITS: CompactTarget = CompactTarget::from_bits(0);

impl Node {
    /// Of a header at a place of the input; [`NOT_IN_INPUT`] for a start that only the rules know.
    #[inline(always)]
    pub(super) fn new(block: &Candidate, parent: u32, state: State, position: Position) -> Self {
        debug_assert!(position <= NOT_IN_INPUT, "no file is so long");
        let Candidate { id, version, time, bits } = *block;
        let (tag, links) = state.pack();
        Self { id, parent, version, time, bits, links, place: position.0 << TAG_BITS | tag }
    }

    #[inline]
    pub(super) fn state(&self) -> State {
        State::unpack(self.place & ((1 << TAG_BITS) - 1), self.links)
    }

    #[inline]
    pub(super) fn set_state(&mut self, state: State) {
        let (tag, links) = state.pack();
        self.links = links;
        self.place = self.position().0 << TAG_BITS | tag;
    }

    /// The place in the input, or [`NOT_IN_INPUT`].
    #[inline]
    pub(super) const fn position(&self) -> Position {
        Position(self.place >> TAG_BITS)
    }

    #[inline]
    pub(super) fn set_position(&mut self, position: Position) {
        *self = Self::new(&self.candidate(), self.parent, self.state(), position);
    }

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
        match self.get().state() {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_gives_back_what_it_was_given() {
        let (id, bits) = (Hash256::from_bytes([7; 32]), CompactTarget::from_bits(0x1d00_ffff));
        let block = Candidate { id, version: -1, time: u32::MAX, bits };
        let states = [
            State::Connected { height: 0, stretch: u32::MAX },
            State::Connected { height: u32::MAX, stretch: 0 },
            State::Waiting { next: NONE, child: NONE },
            State::Waiting { next: 1, child: 2 },
            State::Rejected { height: None, next: NONE },
            State::Rejected { height: Some(0), next: 3 },
        ];
        for position in [Position(0), Position(1 << 61 | 3), NOT_IN_INPUT] {
            for state in states {
                for other in states {
                    let mut node = Node::new(&block, 5, other, Position(9));
                    assert_eq!((node.state(), node.position()), (other, Position(9)));
                    node.set_state(state);
                    node.set_position(position);
                    assert_eq!((node.state(), node.position()), (state, position));
                    let Candidate { id, version, time, bits } = node.candidate();
                    assert_eq!((id, version, time, bits), (block.id, -1, u32::MAX, block.bits));
                    assert_eq!(node.parent, 5);
                }
            }
        }
    }
}
