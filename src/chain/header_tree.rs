//! The tree of headers: takes them in any order, judges each once its parent is known, and knows
//! the branch with the most work.
//!
//! A header's verdict depends on its own bytes and its ancestors alone, and ties go to the lower
//! place in the input. So the outcome is the same however the input was cut into batches.

use std::slice::from_ref;

use foldhash::quality::RandomState;
use hashbrown::HashMap;

use crate::allocator;
use crate::primitives::{CompactTarget, Hash256, Header, Target, Work};
use crate::verdict::{Position, Violation};

use super::Tip;
use super::common_rules::proof_of_work_is_valid;
use super::index::Index;
use super::node::{Ancestor, Candidate, NONE, NOT_IN_INPUT, Node, START, State, UNKNOWN_BITS};
use super::rejections::{Record, Rejections};
use super::run::Steady;
use super::stretches::Stretches;

/// The rules of a family of chains, as the tree asks them.
pub trait HeaderRules {
    /// The first header, which is exempt from every rule.
    fn genesis(&self) -> &Header;

    /// The easiest target that a header may name: its proof of work is all that its own bytes are judged by,
    /// in every family, and comes before everything else.
    fn pow_limit(&self) -> Target;

    /// Judges the header as a child of `parent`, which was accepted.
    ///
    /// # Errors
    /// The first rule that is broken.
    fn check_in_context(&self, block: &Candidate, parent: Ancestor<'_>) -> Result<(), Violation>;

    /// What the rules in context come to for the descendants of `parent`, while they stay the same; `None` if
    /// each has to be judged by them.
    fn steady(&self, parent: Ancestor<'_>) -> Option<Steady> {
        let _ = parent;
        None
    }
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

/// Repetitions that are duplicates or rejections once their header is judged.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    /// How often each header was repeated.
    pub(super) counts: HashMap<u32, u64, RandomState>,
    /// Which header, and where: the first [`REPEATS_MAX`] of them.
    pub(super) places: Vec<(u32, Position)>,
}

/// How many repetitions of unjudged headers can be listed as rejections, whatever the list's length.
const REPEATS_MAX: usize = 1 << 20;

/// The tree.
#[derive(Debug)]
pub struct HeaderTree<R> {
    pub(super) rules: R,
    pub(super) nodes: Vec<Node>,
    pub(super) stretches: Stretches,
    index: Index,
    /// From this node on, each is an accepted child of the one before it: so most are found without
    /// following links.
    pub(super) run: u32,
    /// From a missing parent to the first of the nodes that wait for it.
    pub(super) missing: HashMap<Hash256, u32, RandomState>,
    pub(super) repeats: Repeats,
    /// Every repetition with its place, where each is a body that is judged on its own.
    pub(super) copies: Option<Vec<(u32, Position)>>,
    pub(super) rejections: Rejections,
    pub(super) best: u32,
    /// How many nodes were known before the input: the first ones.
    pub(super) known: u32,
    pub(super) connected: u64,
    pub(super) duplicates: u64,
    pub(super) seen: u64,
    /// That of the header judged last: bits rarely change from block to block.
    last_difficulty: Difficulty,
    /// The node for which headers waited that came before it, most recently; [`NONE`] at first.
    pub(super) last_awaited: u32,
}

/// What bits say: to read them takes longer than all rules that use them, and work a 256-bit division.
#[derive(Clone, Copy, Debug)]
pub(super) struct Difficulty {
    bits: CompactTarget,
    /// `None` if they name none within the limit.
    pub(super) target: Option<Target>,
    pub(super) work: Work,
}

impl Difficulty {
    fn of(bits: CompactTarget, limit: Target) -> Self {
        let target = bits.decode_within(limit).ok();
        Self { bits, target, work: target.map_or(Work::ZERO, Target::work) }
    }
}

impl<R: HeaderRules> HeaderTree<R> {
    /// A tree that holds its start alone, and will list at most `rejections_max` rejections.
    pub fn new(rules: R, start: Start, rejections_max: usize) -> Self {
        let genesis = *rules.genesis();
        let last_difficulty = Difficulty::of(genesis.bits(), rules.pow_limit());
        let (id, height, work) = match start {
            Start::Genesis => (genesis.id(), 0, last_difficulty.work),
            Start::Trusted { id, height } => (id, height, Work::ZERO),
        };
        let (version, time, bits) = match start {
            Start::Genesis => (genesis.version(), genesis.time(), genesis.bits()),
            Start::Trusted { .. } => (genesis.version(), 0, UNKNOWN_BITS),
        };
        let block = Candidate { id, version, time, bits };
        let state = State::Connected { height, stretch: Stretches::START };
        let root = Node::new(&block, NONE, state, NOT_IN_INPUT);
        let mut tree = Self {
            rules,
            nodes: Vec::new(),
            stretches: Stretches::new(height, bits, work),
            index: Index::default(),
            run: START,
            missing: HashMap::default(),
            repeats: Repeats::default(),
            copies: None,
            rejections: Rejections::new(rejections_max),
            best: START,
            known: START + 1,
            connected: 0,
            duplicates: 0,
            seen: 0,
            last_difficulty,
            last_awaited: NONE,
        };
        tree.push(root);
        tree
    }

    /// Makes room for as many headers as the input is expected to hold.
    pub fn reserve(&mut self, headers: usize) {
        self.nodes.reserve(headers);
        allocator::expect_to_fill(&mut self.nodes);
    }

    /// The height of the best branch so far.
    #[must_use]
    pub fn best_height(&self) -> u32 {
        self.height(self.best).unwrap_or(0)
    }

    /// Whether the tree holds its start alone.
    #[must_use]
    pub fn is_at_start(&self) -> bool {
        self.last() == START
    }

    /// Whether the node pushed last is the end of the branch with the most work.
    #[must_use]
    pub fn is_at_best(&self) -> bool {
        self.best == self.last()
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

    /// Judges what comes by other rules, such as those of another clock.
    pub fn set_rules(&mut self, rules: R) {
        self.rules = rules;
        self.last_difficulty = Difficulty::of(self.last_difficulty.bits, self.rules.pow_limit());
    }

    /// Lists at most so many rejections of the input, which has not begun.
    pub fn set_rejections_max(&mut self, rejections_max: usize) {
        self.rejections = Rejections::new(rejections_max);
    }

    /// The number of an accepted block.
    #[must_use]
    pub fn number_of(&self, id: &Hash256) -> Option<u32> {
        let is_accepted =
            |node: &u32| matches!(self.nodes[*node as usize].state(), State::Connected { .. });
        self.index.find_in(&self.nodes, id).filter(is_accepted)
    }

    /// An accepted block by its number.
    #[must_use]
    pub fn block(&self, number: u32) -> Ancestor<'_> {
        Ancestor::new(&self.nodes, number, self.run)
    }

    /// The work of the branch up to an accepted block.
    ///
    /// # Panics
    /// If the block was not accepted.
    #[must_use]
    pub fn work(&self, number: u32) -> Work {
        let State::Connected { height, stretch } = self.nodes[number as usize].state() else {
            unreachable!("the caller knows that it was accepted")
        };
        self.stretches.work(stretch, height)
    }

    /// An accepted block as the end of a branch.
    ///
    /// # Panics
    /// If the block was not accepted.
    #[must_use]
    pub fn tip(&self, number: u32) -> Tip {
        let block = self.block(number);
        Tip { height: block.height(), id: block.id(), work: self.work(number) }
    }

    /// Whether a header was rejected, which it stays.
    #[must_use]
    pub fn is_rejected(&self, number: u32) -> bool {
        matches!(self.nodes[number as usize].state(), State::Rejected { .. })
    }

    /// The number of a block's parent, unless the tree begins with it.
    #[must_use]
    pub fn parent(&self, number: u32) -> Option<u32> {
        let parent =
            if number > self.run { number - 1 } else { self.nodes[number as usize].parent };
        (parent != NONE).then_some(parent)
    }

    /// The way from one block to another: blocks to take back, `from` first, then blocks to connect,
    /// `to` last. Both are connected.
    #[must_use]
    pub fn route(&self, from: u32, to: u32) -> (Vec<u32>, Vec<u32>) {
        if (self.run..=to).contains(&from) {
            return (Vec::new(), (from + 1..=to).collect());
        }
        let height = |node| self.height(node).expect("both ends are connected");
        let (mut back, mut forth) = (Vec::new(), Vec::new());
        let (mut low, mut high) = (from, to);
        while low != high {
            if height(low) >= height(high) {
                back.push(low);
                low = self.nodes[low as usize].parent;
            } else {
                forth.push(high);
                high = self.nodes[high as usize].parent;
            }
        }
        forth.reverse();
        (back, forth)
    }

    /// Takes a block that is known before the input, on top of others that are. Gives its number.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn insert_known(&mut self, header: &Header, id: Hash256) -> Result<u32, Violation> {
        if let Some(known) = self.index.find(&self.nodes, &id) {
            return Ok(known);
        }
        let parent_id = header.parent();
        let parent = self.index.find(&self.nodes, &parent_id);
        let parent = parent.ok_or(Violation::BadPrevBlk { parent: parent_id })?;
        let block = Candidate::of(header, id);
        self.check_alone(&block)?;
        self.rules.check_in_context(&block, self.block(parent))?;
        let state = State::Waiting { next: NONE, child: NONE };
        let node = self.push(Node::new(&block, parent, state, NOT_IN_INPUT));
        self.known = node + 1;
        self.connect(node, parent);
        // It counts once the input brings it.
        self.connected -= 1;
        Ok(node)
    }

    /// Judges what the own bytes of a header say.
    pub(super) fn check_alone(&self, block: &Candidate) -> Result<(), Violation> {
        proof_of_work_is_valid(self.rules.pow_limit(), block)
    }

    /// Takes the next header of the input. Gives its number if it is new.
    ///
    /// # Panics
    /// After 2^32 - 2 headers, which is 300 GB of them.
    pub fn insert(&mut self, header: &Header, id: Hash256, position: Position) -> Option<u32> {
        if self.insert_run(from_ref(header), from_ref(&id), from_ref(&position)) == 1 {
            return Some(self.last());
        }
        self.seen += 1;
        if let Some(known) = self.index.find(&self.nodes, &id) {
            self.repeat(known, &Candidate::of(header, id), position);
            return None;
        }
        let parent_id = header.parent();
        let parent = self.index.find(&self.nodes, &parent_id);
        let block = Candidate::of(header, id);
        let state = State::Waiting { next: NONE, child: NONE };
        let node = self.push(Node::new(&block, parent.unwrap_or(NONE), state, position));
        if let Err(violation) = self.check_alone(&block) {
            self.reject(node, violation);
        }
        match parent {
            Some(parent) if !self.is_waiting(parent) => self.judge(node, &block),
            Some(parent) => self.wait_for(parent, node),
            None => self.wait_for_missing(parent_id, node),
        }
        self.adopt(id, node);
        Some(node)
    }

    /// The end of the branch with the most work so far.
    #[must_use]
    pub const fn best(&self) -> u32 {
        self.best
    }

    /// The number of the node pushed last.
    pub(super) fn last(&self) -> u32 {
        u32::try_from(self.nodes.len() - 1).expect("push keeps node numbers within u32")
    }

    /// Appends a node, with which a new run begins.
    #[inline(always)]
    pub(super) fn push(&mut self, node: Node) -> u32 {
        self.make_room(1);
        let number = u32::try_from(self.nodes.len()).expect("there is room for its number");
        self.nodes.push(node);
        self.run = number;
        number
    }

    /// Makes room for so many more nodes, and for their numbers.
    #[inline(always)]
    pub(super) fn make_room(&mut self, nodes: usize) {
        let len = self.nodes.len() + nodes;
        assert!(len <= NONE as usize, "fewer than 2^32 - 1 headers");
        if len > self.nodes.capacity() {
            // As much again at least.
            self.reserve(self.nodes.len().max(nodes));
        }
    }

    pub(super) fn is_waiting(&self, node: u32) -> bool {
        matches!(self.nodes[node as usize].state(), State::Waiting { .. })
    }

    pub(super) fn height(&self, node: u32) -> Option<u32> {
        match self.nodes[node as usize].state() {
            State::Connected { height, .. } => Some(height),
            State::Rejected { height, .. } => height,
            State::Waiting { .. } => None,
        }
    }

    /// Judges a node whose parent is judged. `block` is what the node holds; the caller has it at
    /// hand, which is quicker than reading back what was just written.
    #[inline]
    fn judge(&mut self, node: u32, block: &Candidate) {
        let here = &self.nodes[node as usize];
        let parent = &self.nodes[here.parent as usize];
        let (parent_id, parent_state) = (parent.id, parent.state());
        match (here.state(), parent_state) {
            (State::Rejected { next, .. }, _) => {
                // Its own bytes condemned it before; now its height is known as well.
                let height = self.height(here.parent).map(|height| height + 1);
                self.nodes[node as usize].set_state(State::Rejected { height, next });
            }
            (_, State::Connected { .. }) => {
                match self.rules.check_in_context(block, self.block(here.parent)) {
                    Ok(()) => self.connect(node, here.parent),
                    Err(violation) => self.reject(node, violation),
                }
            }
            _ => self.reject(node, Violation::BadPrevBlk { parent: parent_id }),
        }
    }

    #[inline]
    fn connect(&mut self, node: u32, parent: u32) {
        let State::Connected { height, stretch } = self.nodes[parent as usize].state() else {
            unreachable!("the caller knows that the parent was accepted")
        };
        let bits = self.nodes[node as usize].bits;
        let work = self.difficulty_of(bits).work;
        let stretch = self.stretches.of_child(stretch, height, bits, work);
        let here = &mut self.nodes[node as usize];
        here.set_state(State::Connected { height: height + 1, stretch });
        let position = here.position();
        self.has_connected(node, self.stretches.work(stretch, height + 1), position);
    }

    #[inline]
    pub(super) fn difficulty_of(&mut self, bits: CompactTarget) -> &Difficulty {
        if self.last_difficulty.bits != bits {
            self.last_difficulty = Difficulty::of(bits, self.rules.pow_limit());
        }
        &self.last_difficulty
    }

    /// Counts a node that was accepted, and prefers its branch if it has the most work.
    #[inline]
    pub(super) fn has_connected(&mut self, node: u32, work: Work, position: Position) {
        self.connected += 1;
        let most = self.work(self.best);
        // What was known before came first of all.
        let first_seen =
            self.best >= self.known && position < self.nodes[self.best as usize].position();
        if work > most || (work == most && first_seen) {
            self.best = node;
        }
    }

    #[cold]
    fn reject(&mut self, node: u32, violation: Violation) {
        let Node { id, parent, .. } = self.nodes[node as usize];
        let height = (parent != NONE).then(|| self.height(parent)).flatten();
        let height = height.map(|height| height + 1);
        self.nodes[node as usize].set_state(State::Rejected { height, next: NONE });
        let position = self.nodes[node as usize].position();
        self.rejections.push(Record { position, node, id, violation });
    }

    /// Appends `node` to the orphans that hang below `parent`, itself an orphan.
    fn wait_for(&mut self, parent: u32, node: u32) {
        let next = self.replace_child(parent, node).expect("the caller saw that the parent waits");
        self.set_next(node, next);
    }

    /// Gives a node that waits another first child than it had: which one was that?
    fn replace_child(&mut self, node: u32, child: u32) -> Option<u32> {
        let node = &mut self.nodes[node as usize];
        let State::Waiting { next, child: before } = node.state() else { return None };
        node.set_state(State::Waiting { next, child });
        Some(before)
    }

    fn wait_for_missing(&mut self, parent: Hash256, node: u32) {
        let next = self.missing.insert(parent, node).unwrap_or(NONE);
        self.set_next(node, next);
    }

    fn set_next(&mut self, node: u32, next: u32) {
        let node = &mut self.nodes[node as usize];
        node.set_state(match node.state() {
            State::Waiting { child, .. } => State::Waiting { next, child },
            State::Rejected { height, .. } => State::Rejected { height, next },
            State::Connected { .. } => unreachable!("a connected node waits for nothing"),
        });
    }

    /// Gives `node`, just inserted under `id`, the children that came before it, and judges all
    /// that can now be judged.
    fn adopt(&mut self, id: Hash256, node: u32) {
        if self.missing.is_empty() {
            return;
        }
        let Some(first) = self.missing.remove(&id) else { return };
        self.last_awaited = node;
        let mut child = first;
        while child != NONE {
            self.nodes[child as usize].parent = node;
            child = self.next(child);
        }
        if self.replace_child(node, first).is_some() {
            return;
        }
        // Depth can be that of the whole dump, so no recursion.
        let mut lists = vec![first];
        while let Some(mut child) = lists.pop() {
            while child != NONE {
                let next = self.next(child);
                if let State::Waiting { child: grandchildren, .. } =
                    self.nodes[child as usize].state()
                {
                    lists.push(grandchildren);
                }
                let block = self.nodes[child as usize].candidate();
                self.judge(child, &block);
                child = next;
            }
        }
    }

    pub(super) fn next(&self, node: u32) -> u32 {
        match self.nodes[node as usize].state() {
            State::Waiting { next, .. } | State::Rejected { next, .. } => next,
            State::Connected { .. } => NONE,
        }
    }

    /// A header that the tree has seen before.
    fn repeat(&mut self, node: u32, block: &Candidate, position: Position) {
        let known = &mut self.nodes[node as usize];
        if known.position() == NOT_IN_INPUT {
            return self.bring_known(node, block, position);
        }
        if let Some(copies) = &mut self.copies {
            return copies.push((node, position));
        }
        match known.state() {
            State::Connected { .. } => self.duplicates += 1,
            // As a node would: it keeps no rejected header and judges the next copy again.  Which
            // verdict that is, is settled at the end, when every copy has one.
            State::Waiting { .. } | State::Rejected { .. } => {
                *self.repeats.counts.entry(node).or_default() += 1;
                if self.repeats.places.len() < REPEATS_MAX {
                    self.repeats.places.push((node, position));
                }
            }
        }
    }

    /// A block that the tree knows beforehand stands in the input. The own bytes of a start are judged
    /// even where its place in the chain is trusted; what they say of time and difficulty is not used,
    /// so that the order of the input makes no difference.
    fn bring_known(&mut self, node: u32, block: &Candidate, position: Position) {
        let is_genesis = self.rules.genesis().id() == block.id;
        match self.check_alone(block) {
            Err(violation) if !is_genesis => {
                let id = block.id;
                self.rejections.push(Record { position, node, id, violation });
            }
            _ => {
                self.nodes[node as usize].set_position(position);
                self.connected += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::header_chain;

    /// Rules that allow whatever has proof of work.
    struct Lax {
        genesis: Header,
        limit: Target,
    }

    impl HeaderRules for Lax {
        fn genesis(&self) -> &Header {
            &self.genesis
        }
        fn pow_limit(&self) -> Target {
            self.limit
        }
        fn check_in_context(&self, _: &Candidate, _: Ancestor<'_>) -> Result<(), Violation> {
            Ok(())
        }
    }

    #[test]
    fn other_rules_have_their_own_limit() {
        let [genesis, first, second] = header_chain(3)[..] else { panic!("three headers") };
        let limit = genesis.bits().decode().expect("bits");
        let lower = CompactTarget::from_bits(0x1d00_ffff).decode().expect("bits");
        let mut tree = HeaderTree::new(Lax { genesis, limit }, Start::Genesis, 10);
        assert!(tree.insert(&first, first.id(), Position(1)).is_some());
        assert_eq!(tree.best_height(), 1);
        tree.set_rules(Lax { genesis, limit: lower });
        assert!(tree.insert(&second, second.id(), Position(2)).is_some());
        assert_eq!(tree.best_height(), 1, "its bits are above the limit now");
        assert_eq!(tree.rejections.count, 1);
    }
}
