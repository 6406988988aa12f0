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
    index: Index,
    /// From this node on, each is an accepted child of the one before it: so most are found without
    /// following links.
    run: u32,
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
    last_awaited: u32,
}

/// What bits say: to read them takes longer than all rules that use them, and work a 256-bit division.
#[derive(Clone, Copy, Debug)]
struct Difficulty {
    bits: CompactTarget,
    /// `None` if they name none within the limit.
    target: Option<Target>,
    work: Work,
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
            |node: &u32| matches!(self.nodes[*node as usize].state, State::Connected { .. });
        self.index.find_in(&self.nodes, id).filter(is_accepted)
    }

    /// An accepted block by its number.
    #[must_use]
    pub fn block(&self, number: u32) -> Ancestor<'_> {
        Ancestor::new(&self.nodes, number, self.run)
    }

    /// Whether a header was rejected, which it stays.
    #[must_use]
    pub fn is_rejected(&self, number: u32) -> bool {
        matches!(self.nodes[number as usize].state, State::Rejected { .. })
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
        let (version, time, bits) = (header.version(), header.time(), header.bits());
        let block = Candidate { id, version, time, bits };
        self.check_alone(&block)?;
        self.rules.check_in_context(&block, self.block(parent))?;
        let state = State::Waiting { next: NONE, child: NONE };
        let position = NOT_IN_INPUT;
        let node = self.push(Node { id, state, parent, version, time, bits, position });
        self.known = node + 1;
        let State::Connected { height, work } = self.nodes[parent as usize].state else {
            unreachable!("what is known is connected")
        };
        self.connect(node, height + 1, work);
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
        let Candidate { version, time, bits, .. } = block;
        let state = State::Waiting { next: NONE, child: NONE };
        let parent_node = parent.unwrap_or(NONE);
        let node =
            self.push(Node { id, state, parent: parent_node, version, time, bits, position });
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

    /// Takes the first of the next headers of the input, as long as each is a child of the node pushed
    /// last and there is nothing to object or to wait for, as is true of nearly all. Gives how many it
    /// took; the next one is for [`HeaderTree::insert`]. Headers, ids and places go together.
    ///
    /// # Panics
    /// As [`HeaderTree::insert`].
    pub fn insert_run(
        &mut self,
        headers: &[Header],
        ids: &[Hash256],
        positions: &[Position],
    ) -> usize {
        let last = self.nodes[self.last() as usize];
        let State::Connected { height, work } = last.state else { return 0 };
        // A child of the last node is new unless it waited for that node: then it came before.
        if self.last_awaited == self.last() {
            return 0;
        }
        // What was just written is slow to read back, so the loop has it at hand.
        let mut tip = Tip { id: last.id, height, work };
        let headers = headers.iter().zip(ids).zip(positions);
        let mut taken = 0;
        for ((header, id), position) in headers {
            if header.parent() != tip.id {
                break;
            }
            let Some(next) = self.extend(&tip, &Candidate::of(header, *id), *position) else {
                break;
            };
            tip = next;
            taken += 1;
        }
        self.seen += taken as u64;
        taken
    }

    /// Takes a new child of the node pushed last, which is `tip`, unless there is anything to object or
    /// to wait for.
    #[inline]
    fn extend(&mut self, tip: &Tip, block: &Candidate, position: Position) -> Option<Tip> {
        let parent = self.last();
        let Difficulty { target, work, .. } = *self.difficulty_of(block.bits);
        // The rule that stands alone, with the target at hand.
        if !target.is_some_and(|target| target.is_met_by(&block.id)) {
            return None;
        }
        self.rules.check_in_context(block, self.block(parent)).ok()?;
        if !self.missing.is_empty() && self.missing.contains_key(&block.id) {
            return None;
        }
        let Candidate { id, version, time, bits } = *block;
        let height = tip.height + 1;
        let work = tip.work.saturating_add(work);
        let state = State::Connected { height, work };
        let run = self.run;
        let node = self.push(Node { id, state, parent, version, time, bits, position });
        self.run = run;
        if self.best == parent && work > tip.work {
            self.connected += 1;
            self.best = node;
        } else {
            self.has_connected(node, work, position);
        }
        Some(Tip { id, height, work })
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
    fn push(&mut self, node: Node) -> u32 {
        let number = u32::try_from(self.nodes.len()).ok().filter(|&number| number != NONE);
        let number = number.expect("fewer than 2^32 - 1 headers");
        if self.nodes.len() == self.nodes.capacity() {
            // As much again.
            self.reserve(self.nodes.len().max(1));
        }
        self.nodes.push(node);
        self.run = number;
        number
    }

    pub(super) fn is_waiting(&self, node: u32) -> bool {
        matches!(self.nodes[node as usize].state, State::Waiting { .. })
    }

    pub(super) fn height(&self, node: u32) -> Option<u32> {
        match self.nodes[node as usize].state {
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
        let (parent_id, parent_state) = (parent.id, parent.state);
        match (here.state, parent_state) {
            (State::Rejected { next, .. }, _) => {
                // Its own bytes condemned it before; now its height is known as well.
                let height = self.height(here.parent).map(|height| height + 1);
                self.nodes[node as usize].state = State::Rejected { height, next };
            }
            (_, State::Connected { height, work }) => {
                match self.rules.check_in_context(block, self.block(here.parent)) {
                    Ok(()) => self.connect(node, height + 1, work),
                    Err(violation) => self.reject(node, violation),
                }
            }
            _ => self.reject(node, Violation::BadPrevBlk { parent: parent_id }),
        }
    }

    #[inline]
    fn connect(&mut self, node: u32, height: u32, parent_work: Work) {
        let Node { bits, position, .. } = self.nodes[node as usize];
        let work = parent_work.saturating_add(self.difficulty_of(bits).work);
        self.nodes[node as usize].state = State::Connected { height, work };
        self.has_connected(node, work, position);
    }

    #[inline]
    fn difficulty_of(&mut self, bits: CompactTarget) -> &Difficulty {
        if self.last_difficulty.bits != bits {
            self.last_difficulty = Difficulty::of(bits, self.rules.pow_limit());
        }
        &self.last_difficulty
    }

    /// Counts a node that was accepted, and prefers its branch if it has the most work.
    #[inline]
    fn has_connected(&mut self, node: u32, work: Work, position: Position) {
        self.connected += 1;
        let best = &self.nodes[self.best as usize];
        let State::Connected { work: most, .. } = best.state else {
            unreachable!("the best node is connected")
        };
        // What was known before came first of all.
        let first_seen = self.best >= self.known && position < best.position;
        if work > most || (work == most && first_seen) {
            self.best = node;
        }
    }

    #[cold]
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
        self.last_awaited = node;
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

    pub(super) fn next(&self, node: u32) -> u32 {
        match self.nodes[node as usize].state {
            State::Waiting { next, .. } | State::Rejected { next, .. } => next,
            State::Connected { .. } => NONE,
        }
    }

    /// A header that the tree has seen before.
    fn repeat(&mut self, node: u32, block: &Candidate, position: Position) {
        let known = &mut self.nodes[node as usize];
        if known.position == NOT_IN_INPUT {
            return self.bring_known(node, block, position);
        }
        if let Some(copies) = &mut self.copies {
            return copies.push((node, position));
        }
        match known.state {
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
                self.nodes[node as usize].position = position;
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
