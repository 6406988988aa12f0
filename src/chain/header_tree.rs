//! The tree of headers: takes them in any order, judges each once its parent is known, and knows
//! the branch with the most work.
//!
//! A header's verdict depends on its own bytes and its ancestors alone, and ties go to the lower
//! place in the input. So the outcome is the same however the input was cut into batches.

use std::hash::BuildHasher;

use foldhash::quality::RandomState;
use hashbrown::{HashMap, HashSet, HashTable};

use crate::primitives::{CompactTarget, Hash256, Header, Work};
use crate::verdict::{Position, Rejection, Violation};

use super::rejections::{Record, Rejections};
use super::{BlockCounts, OrphanGroup, Outcome, SideBranch, Tip};

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

/// The rules of a family of chains, as the tree asks them.
pub trait HeaderRules {
    /// The first header, which is exempt from every rule.
    fn genesis(&self) -> &Header;

    /// Judges what the header's own bytes say. Comes before everything else.
    ///
    /// # Errors
    /// The first rule that is broken.
    fn check_alone(&self, block: &Candidate) -> Result<(), Violation>;

    /// Judges the header as a child of `parent`, which was accepted.
    ///
    /// # Errors
    /// The first rule that is broken.
    fn check_in_context(&self, block: &Candidate, parent: Ancestor<'_>) -> Result<(), Violation>;
}

/// Where a tree begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At the genesis of the rules.
    Genesis,
    /// At a block that is taken on trust: the parent of the input's first block. Its time and bits
    /// are not known.
    Trusted {
        /// Its id.
        id: Hash256,
        /// Its height.
        height: u32,
    },
}

/// What the tree knows of a header. 96 bytes: dumps hold a million of them.
#[derive(Clone, Copy, Debug)]
struct Node {
    id: Hash256,
    state: State,
    /// The parent, or [`NONE`] while it is not known.
    parent: u32,
    version: i32,
    time: u32,
    bits: CompactTarget,
    /// The place in the input; [`NOT_IN_INPUT`] for a start that only the rules know.
    position: Position,
}

const _: () = assert!(size_of::<Node>() <= 96);

#[derive(Clone, Copy, Debug)]
enum State {
    /// Accepted.
    Connected { height: u32, work: Work },
    /// An orphan so far; links to the next orphan of the same parent and to its own first child.
    Waiting { next: u32, child: u32 },
    /// Broke a rule; so do all its descendants. The height is filled in when it is known.
    Rejected { height: Option<u32>, next: u32 },
}

type NodeSet = HashSet<u32, RandomState>;

const NONE: u32 = u32::MAX;
const NOT_IN_INPUT: Position = Position(u64::MAX);
const START: u32 = 0;

/// Repetitions of an orphan, which are duplicates or rejections once it is judged.
#[derive(Debug, Default)]
struct Repeats {
    count: u64,
    /// The first of them, as many as the list of rejections could take.
    positions: Vec<Position>,
}

/// The tree.
#[derive(Debug)]
pub struct HeaderTree<R> {
    rules: R,
    nodes: Vec<Node>,
    /// From id to node; ids live in the nodes alone.
    index: HashTable<u32>,
    hasher: RandomState,
    /// From a missing parent to the first of the nodes that wait for it.
    missing: HashMap<Hash256, u32, RandomState>,
    repeats: HashMap<u32, Repeats, RandomState>,
    rejections: Rejections,
    rejections_max: usize,
    best: u32,
    connected: u64,
    duplicates: u64,
    seen: u64,
    /// Bits rarely change from block to block, and work costs a 256-bit division.
    last_work: (CompactTarget, Work),
}

impl<R: HeaderRules> HeaderTree<R> {
    /// A tree that holds its start alone, and will list at most `rejections_max` rejections.
    pub fn new(rules: R, start: Start, rejections_max: usize) -> Self {
        let genesis = *rules.genesis();
        let (id, height, work) = match start {
            Start::Genesis => (genesis.id(), 0, block_work(genesis.bits())),
            Start::Trusted { id, height } => (id, height, Work::ZERO),
        };
        let root = Node {
            id,
            state: State::Connected { height, work },
            parent: NONE,
            version: genesis.version(),
            time: if start == Start::Genesis { genesis.time() } else { 0 },
            bits: if start == Start::Genesis { genesis.bits() } else { UNKNOWN_BITS },
            position: NOT_IN_INPUT,
        };
        let mut tree = Self {
            rules,
            nodes: Vec::new(),
            index: HashTable::new(),
            hasher: RandomState::default(),
            missing: HashMap::default(),
            repeats: HashMap::default(),
            rejections: Rejections::new(rejections_max),
            rejections_max,
            best: START,
            connected: 0,
            duplicates: 0,
            seen: 0,
            last_work: (genesis.bits(), block_work(genesis.bits())),
        };
        let hash = hash_id(&tree.hasher, &id);
        tree.push(root, hash);
        tree
    }

    /// Makes room for as many headers as the input is expected to hold.
    pub fn reserve(&mut self, headers: usize) {
        self.nodes.reserve(headers);
        let (nodes, hasher) = (&self.nodes, &self.hasher);
        self.index.reserve(headers, |&node| hash_id(hasher, &nodes[node as usize].id));
    }

    /// The height of the best branch so far.
    #[must_use]
    pub fn best_height(&self) -> u32 {
        self.height(self.best).unwrap_or(0)
    }

    /// The number of headers taken so far.
    #[must_use]
    pub const fn seen(&self) -> u64 {
        self.seen
    }

    /// The rules.
    pub const fn rules(&self) -> &R {
        &self.rules
    }

    /// Takes the next header of the input.
    ///
    /// # Panics
    /// After 2^32 - 2 headers, which is 300 GB of them.
    pub fn insert(&mut self, header: &Header, id: Hash256, position: Position) {
        self.seen += 1;
        let hash = hash_id(&self.hasher, &id);
        if let Some(known) = self.find(&id, hash) {
            return self.repeat(known, position);
        }
        let parent_id = header.parent();
        // Nearly always the parent is the header before.
        let last = self.last();
        let parent = if self.nodes[last as usize].id == parent_id {
            Some(last)
        } else {
            self.find(&parent_id, hash_id(&self.hasher, &parent_id))
        };
        let (version, time, bits) = (header.version(), header.time(), header.bits());
        let block = Candidate { id, version, time, bits };
        let state = State::Waiting { next: NONE, child: NONE };
        let parent_node = parent.unwrap_or(NONE);
        let node =
            self.push(Node { id, state, parent: parent_node, version, time, bits, position }, hash);
        if let Err(violation) = self.rules.check_alone(&block) {
            self.reject(node, violation);
        }
        match parent {
            Some(parent) if !self.is_waiting(parent) => self.judge(node, &block),
            Some(parent) => self.wait_for(parent, node),
            None => self.wait_for_missing(parent_id, node),
        }
        self.adopt(id, node);
    }

    /// Ends the input.
    #[must_use]
    pub fn finish(mut self) -> Outcome {
        self.settle_repeats();
        let on_best = self.best_branch();
        let best_branch = on_best
            .iter()
            .filter(|&&node| self.nodes[node as usize].position != NOT_IN_INPUT)
            .count() as u64;
        let rejected = self.rejections.count;
        let blocks = BlockCounts {
            seen: self.seen,
            best_branch,
            side: self.connected - best_branch,
            orphans: self.seen - self.connected - self.duplicates - rejected,
            unconnected: 0,
            duplicates: self.duplicates,
            rejected,
        };
        let tip = self.tip(self.best);
        let side_branches = self.side_branches(&on_best);
        let records = std::mem::replace(&mut self.rejections, Rejections::new(0)).into_sorted();
        let rejections_omitted = rejected - records.len() as u64;
        let mut unconnected = NodeSet::default();
        let rejections = records
            .into_iter()
            .map(|record| Rejection {
                violation: record.violation,
                height: self.settled_height(record.node, &mut unconnected),
                id: record.id,
                position: record.position,
            })
            .collect();
        let orphan_groups = self.orphan_groups();
        Outcome { tip, blocks, rejections, rejections_omitted, side_branches, orphan_groups }
    }

    fn last(&self) -> u32 {
        u32::try_from(self.nodes.len() - 1).expect("push keeps node numbers within u32")
    }

    fn push(&mut self, node: Node, hash: u64) -> u32 {
        let number = u32::try_from(self.nodes.len()).ok().filter(|&number| number != NONE);
        let number = number.expect("fewer than 2^32 - 1 headers");
        self.nodes.push(node);
        let (nodes, hasher) = (&self.nodes, &self.hasher);
        let rehash = |&other: &u32| hash_id(hasher, &nodes[other as usize].id);
        self.index.insert_unique(hash, number, rehash);
        number
    }

    fn find(&self, id: &Hash256, hash: u64) -> Option<u32> {
        let same = |&node: &u32| self.nodes[node as usize].id == *id;
        self.index.find(hash, same).copied()
    }

    fn is_waiting(&self, node: u32) -> bool {
        matches!(self.nodes[node as usize].state, State::Waiting { .. })
    }

    fn height(&self, node: u32) -> Option<u32> {
        match self.nodes[node as usize].state {
            State::Connected { height, .. } => Some(height),
            State::Rejected { height, .. } => height,
            State::Waiting { .. } => None,
        }
    }

    /// Judges a node whose parent is judged. `block` is what the node holds; the caller has it at
    /// hand, which is quicker than reading back what was just written.
    fn judge(&mut self, node: u32, block: &Candidate) {
        let here = &self.nodes[node as usize];
        let parent = &self.nodes[here.parent as usize];
        let (parent_id, parent_state) = (parent.id, parent.state);
        match (here.state, parent_state) {
            (State::Rejected { next, .. }, _) => {
                // Its own bytes condemned it before; now its height is known as well.
                let height = self.height(here.parent).map(|height| height + 1);
                self.nodes[node as usize].state = State::Rejected { height, next };
            }
            (_, State::Connected { height, work }) => {
                let ancestor = Ancestor { nodes: &self.nodes, node: here.parent };
                match self.rules.check_in_context(block, ancestor) {
                    Ok(()) => self.connect(node, height + 1, work),
                    Err(violation) => self.reject(node, violation),
                }
            }
            _ => self.reject(node, Violation::BadPrevBlk { parent: parent_id }),
        }
    }

    fn connect(&mut self, node: u32, height: u32, parent_work: Work) {
        let bits = self.nodes[node as usize].bits;
        if self.last_work.0 != bits {
            self.last_work = (bits, block_work(bits));
        }
        let work = parent_work.saturating_add(self.last_work.1);
        self.nodes[node as usize].state = State::Connected { height, work };
        self.connected += 1;
        let best = &self.nodes[self.best as usize];
        let State::Connected { work: most, .. } = best.state else {
            unreachable!("the best node is connected")
        };
        let first_seen = self.nodes[node as usize].position < best.position;
        if work > most || (work == most && first_seen) {
            self.best = node;
        }
    }

    fn reject(&mut self, node: u32, violation: Violation) {
        let Node { id, position, parent, .. } = self.nodes[node as usize];
        let height = (parent != NONE).then(|| self.height(parent)).flatten();
        let height = height.map(|height| height + 1);
        self.nodes[node as usize].state = State::Rejected { height, next: NONE };
        self.rejections.push(Record { position, node, id, violation });
    }

    /// Appends `node` to the orphans that hang below `parent`, itself an orphan.
    fn wait_for(&mut self, parent: u32, node: u32) {
        let State::Waiting { child, .. } = &mut self.nodes[parent as usize].state else {
            unreachable!("the caller saw that the parent waits")
        };
        let next = std::mem::replace(child, node);
        self.set_next(node, next);
    }

    fn wait_for_missing(&mut self, parent: Hash256, node: u32) {
        let next = self.missing.insert(parent, node).unwrap_or(NONE);
        self.set_next(node, next);
    }

    fn set_next(&mut self, node: u32, link: u32) {
        match &mut self.nodes[node as usize].state {
            State::Waiting { next, .. } | State::Rejected { next, .. } => *next = link,
            State::Connected { .. } => unreachable!("a connected node waits for nothing"),
        }
    }

    /// Gives `node`, just inserted under `id`, the children that came before it, and judges all
    /// that can now be judged.
    fn adopt(&mut self, id: Hash256, node: u32) {
        if self.missing.is_empty() {
            return;
        }
        let Some(first) = self.missing.remove(&id) else { return };
        let mut child = first;
        while child != NONE {
            self.nodes[child as usize].parent = node;
            child = self.next(child);
        }
        if let State::Waiting { child, .. } = &mut self.nodes[node as usize].state {
            *child = first;
            return;
        }
        // Depth can be that of the whole dump, so no recursion.
        let mut lists = vec![first];
        while let Some(mut child) = lists.pop() {
            while child != NONE {
                let next = self.next(child);
                if let State::Waiting { child: grandchildren, .. } =
                    self.nodes[child as usize].state
                {
                    lists.push(grandchildren);
                }
                let block = self.nodes[child as usize].candidate();
                self.judge(child, &block);
                child = next;
            }
        }
    }

    fn next(&self, node: u32) -> u32 {
        match self.nodes[node as usize].state {
            State::Waiting { next, .. } | State::Rejected { next, .. } => next,
            State::Connected { .. } => NONE,
        }
    }

    /// A header that the tree has seen before.
    fn repeat(&mut self, node: u32, position: Position) {
        let known = &mut self.nodes[node as usize];
        if known.position == NOT_IN_INPUT {
            // The start, which the rules know and the input now brings.
            known.position = position;
            self.connected += 1;
            return;
        }
        match known.state {
            State::Connected { .. } => self.duplicates += 1,
            // As a node would: it keeps no rejected header and judges the next copy again.  Which
            // verdict that is, is settled at the end, when every copy has one.
            State::Waiting { .. } | State::Rejected { .. } => {
                let repeats = self.repeats.entry(node).or_default();
                repeats.count += 1;
                if repeats.positions.len() < self.rejections_max {
                    repeats.positions.push(position);
                }
            }
        }
    }

    fn settle_repeats(&mut self) {
        for (node, repeats) in std::mem::take(&mut self.repeats) {
            if !matches!(self.nodes[node as usize].state, State::Rejected { .. }) {
                self.duplicates += repeats.count;
                continue;
            }
            let original = self.nodes[node as usize];
            let violation = self.violation_of(&original);
            let listed = repeats.positions.len() as u64;
            for position in repeats.positions {
                self.rejections.push(Record { position, node, id: original.id, violation });
            }
            self.rejections.count += repeats.count - listed;
        }
    }

    /// Judges a rejected node again, for the evidence.
    fn violation_of(&self, node: &Node) -> Violation {
        let block = node.candidate();
        let alone = self.rules.check_alone(&block);
        let verdict = alone.and_then(|()| match self.nodes[node.parent as usize].state {
            State::Connected { .. } => {
                let parent = Ancestor { nodes: &self.nodes, node: node.parent };
                self.rules.check_in_context(&block, parent)
            }
            _ => Err(Violation::BadPrevBlk { parent: self.nodes[node.parent as usize].id }),
        });
        verdict.expect_err("rules give one answer: this node was rejected before")
    }

    /// The height of a rejected node, also where it came before one of its ancestors.
    ///
    /// `unconnected` remembers the nodes whose ancestors are missing, so that a long rejected
    /// branch is walked once.
    fn settled_height(&mut self, node: u32, unconnected: &mut NodeSet) -> Option<u32> {
        let mut path = Vec::new();
        let mut at = node;
        let known = loop {
            if let Some(height) = self.height(at) {
                break Some(height);
            }
            path.push(at);
            let parent = self.nodes[at as usize].parent;
            if parent == NONE || self.is_waiting(parent) || unconnected.contains(&parent) {
                break None;
            }
            at = parent;
        };
        let Some(mut height) = known else {
            unconnected.extend(path);
            return None;
        };
        while let Some(below) = path.pop() {
            height += 1;
            if let State::Rejected { height: place, .. } = &mut self.nodes[below as usize].state {
                *place = Some(height);
            }
        }
        self.height(node)
    }

    /// The nodes of the best branch, tip first.
    fn best_branch(&self) -> Vec<u32> {
        let parent = |&node: &u32| {
            let parent = self.nodes[node as usize].parent;
            (parent != NONE).then_some(parent)
        };
        std::iter::successors(Some(self.best), parent).collect()
    }

    fn tip(&self, node: u32) -> Tip {
        let Node { id, state, .. } = self.nodes[node as usize];
        let State::Connected { height, work } = state else {
            unreachable!("only connected nodes end a branch")
        };
        Tip { height, id, work }
    }

    fn orphan_groups(&self) -> Vec<OrphanGroup> {
        let groups = self.missing.iter().map(|(parent, first)| self.orphan_group(*parent, *first));
        let mut groups: Vec<_> = groups.filter(|group| group.blocks > 0).collect();
        groups.sort_unstable_by_key(|group| group.position);
        groups.truncate(Outcome::BRANCHES_MAX);
        groups
    }

    fn orphan_group(&self, parent: Hash256, first: u32) -> OrphanGroup {
        let mut group = OrphanGroup { parent, blocks: 0, position: NOT_IN_INPUT };
        let mut lists = vec![first];
        while let Some(mut node) = lists.pop() {
            while node != NONE {
                if let State::Waiting { child, .. } = self.nodes[node as usize].state {
                    group.blocks += 1;
                    group.position = group.position.min(self.nodes[node as usize].position);
                    lists.push(child);
                }
                node = self.next(node);
            }
        }
        group
    }

    fn side_branches(&self, on_best: &[u32]) -> Vec<SideBranch> {
        if self.connected == on_best.len() as u64 {
            return Vec::new();
        }
        let mut is_best = vec![false; self.nodes.len()];
        for &node in on_best {
            is_best[node as usize] = true;
        }
        let mut has_child = vec![false; self.nodes.len()];
        let is_connected = |node: &Node| matches!(node.state, State::Connected { .. });
        for node in self.nodes.iter().filter(|node| is_connected(node) && node.parent != NONE) {
            has_child[node.parent as usize] = true;
        }
        let mut tips: Vec<_> = (START..=self.last())
            .filter(|&node| is_connected(&self.nodes[node as usize]))
            .filter(|&node| !has_child[node as usize] && !is_best[node as usize])
            .collect();
        tips.sort_unstable_by_key(|&node| self.nodes[node as usize].position);
        tips.truncate(Outcome::BRANCHES_MAX);
        tips.into_iter().map(|node| self.side_branch(node, &is_best)).collect()
    }

    fn side_branch(&self, end: u32, is_best: &[bool]) -> SideBranch {
        let mut fork = end;
        while !is_best[fork as usize] {
            fork = self.nodes[fork as usize].parent;
        }
        SideBranch {
            tip: self.tip(end),
            fork_height: self.height(fork).expect("the best branch is connected"),
            position: self.nodes[end as usize].position,
        }
    }
}

impl Node {
    const fn candidate(&self) -> Candidate {
        Candidate { id: self.id, version: self.version, time: self.time, bits: self.bits }
    }
}

/// Bits that no accepted header can have: they mark a start whose bits are not known.
const UNKNOWN_BITS: CompactTarget = CompactTarget::from_bits(0);

fn block_work(bits: CompactTarget) -> Work {
    bits.decode().map_or(Work::ZERO, crate::primitives::Target::work)
}

/// Salted, so that nobody can prepare ids that share a bucket.
fn hash_id(hasher: &RandomState, id: &Hash256) -> u64 {
    hasher.hash_one(id.low_u64())
}

/// An accepted block, seen from one of its descendants.
#[derive(Clone, Copy, Debug)]
pub struct Ancestor<'a> {
    nodes: &'a [Node],
    node: u32,
}

impl<'a> Ancestor<'a> {
    fn get(&self) -> &'a Node {
        &self.nodes[self.node as usize]
    }

    /// Whether only the id and the height are known: a start taken on trust.
    #[must_use]
    pub fn is_trusted(&self) -> bool {
        self.get().bits == UNKNOWN_BITS
    }

    /// The number of blocks before it.
    #[must_use]
    pub fn height(&self) -> u32 {
        match self.get().state {
            State::Connected { height, .. } => height,
            _ => unreachable!("ancestors are connected"),
        }
    }

    /// The block time; meaningless if the block is trusted.
    #[must_use]
    pub fn time(&self) -> u32 {
        self.get().time
    }

    /// The compact target; meaningless if the block is trusted.
    #[must_use]
    pub fn bits(&self) -> CompactTarget {
        self.get().bits
    }

    /// The block before it, unless the tree starts here.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        let parent = self.get().parent;
        (parent != NONE).then_some(Self { nodes: self.nodes, node: parent })
    }

    /// The block itself, its parent, and so on to the start.
    pub fn lineage(self) -> impl Iterator<Item = Self> {
        std::iter::successors(Some(self), Self::parent)
    }

    /// The block `steps` before it, unless the tree starts later.
    #[must_use]
    pub fn back(self, steps: u32) -> Option<Self> {
        self.lineage().nth(steps as usize)
    }
}
