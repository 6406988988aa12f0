//! The tree of blocks: a tree of headers, and what became of the body of each.
//!
//! All headers are known before the first body is judged. From then on the tree names the branch to
//! follow, learns which bodies pass, and in the end says how all blocks divide.
//!
//! A header may come more than once, each time with a body of its own. A body that does not fit its
//! header (see [`Rule::is_mutation`]) is rejected alone: the header waits for another body, and only if
//! there is none do its descendants count as unconnected. Any other fault condemns the header, and its
//! descendants with it.
//!
//! [`Rule::is_mutation`]: crate::verdict::Rule::is_mutation

use std::cmp::Reverse;

use foldhash::quality::RandomState;
use hashbrown::HashMap;

use crate::primitives::{Hash256, Work};
use crate::verdict::{Position, Rejection, Violation};

use super::ending::NodeSet;
use super::header_tree::{HeaderRules, HeaderTree};
use super::node::{Ancestor, NONE, NOT_IN_INPUT, State};
use super::rejections::{Record, Rejections};
use super::{BlockCounts, Outcome};

/// A body of a block: which block, and which of its copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Body {
    /// The number of its block.
    pub block: u32,
    /// The height, unless the block connects to nothing that is known.
    pub height: Option<u32>,
    /// The block's first byte.
    pub position: Position,
    /// Which repetition of the header it is, counted over the whole input; `None` for the first.
    copy: Option<u32>,
}

impl Body {
    /// The body of a block that is not in the input.
    #[must_use]
    pub const fn outside(block: u32, height: u32) -> Self {
        Self { block, height: Some(height), position: NOT_IN_INPUT, copy: None }
    }

    /// Whether another body of the same header came before it.
    #[must_use]
    pub const fn is_repeated(&self) -> bool {
        self.copy.is_some()
    }
}

/// What is known of one body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Open,
    Sound,
    Rejected,
}

/// What is known of a block, in bits.
mod flag {
    /// Its body breaks a rule, so the block is rejected.
    pub(super) const CONDEMNED: u8 = 1;
    /// A block before it is rejected.
    pub(super) const BELOW_REJECTED: u8 = 2;
    /// None of its bodies fits the header.
    pub(super) const BODYLESS: u8 = 4;
    /// No body fits the header of a block before it.
    pub(super) const BELOW_BODYLESS: u8 = 8;
    /// Anything that keeps a block from the best branch.
    pub(super) const ANY: u8 = CONDEMNED | BELOW_REJECTED | BODYLESS | BELOW_BODYLESS;
    /// One of its bodies was counted; later ones are duplicates.
    pub(super) const COUNTED: u8 = 16;
    /// The state has taken it once, and so always does: a state follows from the blocks before.
    pub(super) const TAKEN: u8 = 32;
}

/// A tree of headers whose bodies are being judged.
#[derive(Debug)]
pub struct BlockTree<R> {
    tree: HeaderTree<R>,
    flags: Vec<u8>,
    /// The fate of each block's first body.
    firsts: Vec<Fate>,
    /// Repeated headers with their places, in the order of the input.
    copies: Vec<(u32, Position)>,
    /// The fate of each of them.
    copy_fates: Vec<Fate>,
    /// Blocks with the numbers of their copies, sorted.
    copies_of: Vec<(u32, u32)>,
    /// Made when the first block falls: before that nobody asks.
    children: Option<Children>,
    candidates: Option<Candidates>,
    /// The first bodies that break a rule.
    rejections: Rejections,
    /// How many bodies at the front are rejected, of those blocks of which any are.
    fallen: HashMap<u32, usize, RandomState>,
    /// What condemned those blocks that have several bodies.
    condemned: HashMap<u32, Violation, RandomState>,
    rejections_max: usize,
}

impl<R: HeaderRules> HeaderTree<R> {
    /// Keeps the place of every repetition, for [`HeaderTree::into_blocks`].
    #[must_use]
    pub fn with_bodies(mut self) -> Self {
        self.copies = Some(Vec::new());
        self
    }

    /// Ends the headers; bodies are judged next. At most `rejections_max` rejections are listed.
    #[must_use]
    pub fn into_blocks(mut self, rejections_max: usize) -> BlockTree<R> {
        let copies = self.copies.take().unwrap_or_default();
        let mut copies_of: Vec<_> = copies.iter().map(|(node, _)| *node).zip(0..).collect();
        copies_of.sort_unstable();
        BlockTree {
            flags: vec![0; self.nodes.len()],
            firsts: vec![Fate::Open; self.nodes.len()],
            copy_fates: vec![Fate::Open; copies.len()],
            copies,
            copies_of,
            children: None,
            candidates: None,
            rejections: Rejections::new(rejections_max),
            fallen: HashMap::default(),
            condemned: HashMap::default(),
            rejections_max,
            tree: self,
        }
    }
}

impl<R: HeaderRules> BlockTree<R> {
    /// The block that the tree starts with, whose state is known beforehand.
    pub const START: u32 = super::node::START;

    /// The rules.
    pub const fn rules(&self) -> &R {
        self.tree.rules()
    }

    /// The id of a block.
    #[must_use]
    pub fn id(&self, block: u32) -> Hash256 {
        self.tree.nodes[block as usize].id
    }

    /// The work of the branch up to a connected block.
    #[must_use]
    pub fn work(&self, block: u32) -> Work {
        self.tree.work(block)
    }

    /// The parent of a connected block, unless it is the start.
    #[must_use]
    pub fn parent(&self, block: u32) -> Option<u32> {
        self.tree.parent(block)
    }

    /// The end of the branch with the most work among those on which no fault is known. Of equal ones
    /// it is the one that came first.
    pub fn best(&mut self) -> u32 {
        if self.children.is_none() {
            return self.tree.best;
        }
        let (tree, flags) = (&self.tree, &self.flags);
        let candidates = self.candidates.get_or_insert_with(|| Candidates::of(tree));
        // What has fallen never rises, so nobody looks back.
        candidates.next_while(|node| flags[node as usize] & flag::ANY != 0)
    }

    /// See [`HeaderTree::route`].
    #[must_use]
    pub fn route(&self, from: u32, to: u32) -> (Vec<u32>, Vec<u32>) {
        self.tree.route(from, to)
    }

    /// The first body of a block that was not rejected, if there is one.
    #[must_use]
    pub fn body(&self, block: u32) -> Option<Body> {
        self.nth_body(block, self.fallen.get(&block).copied().unwrap_or(0))
    }

    /// Whether a body has passed all rules on its own bytes.
    #[must_use]
    pub fn is_sound(&self, body: &Body) -> bool {
        self.fate(body) == Fate::Sound
    }

    /// Whether a body of the block showed that the block itself breaks a rule.
    #[must_use]
    pub fn is_condemned(&self, block: u32) -> bool {
        self.flags[block as usize] & flag::CONDEMNED != 0
    }

    /// A body of a block by its number among them, in the order of the input.
    fn nth_body(&self, block: u32, number: usize) -> Option<Body> {
        let node = &self.tree.nodes[block as usize];
        let height = match node.state() {
            State::Connected { height, .. } => Some(height),
            _ => None,
        };
        if node.position() == NOT_IN_INPUT {
            return None;
        }
        let Some(later) = number.checked_sub(1) else {
            return Some(Body { block, height, position: node.position(), copy: None });
        };
        let start = self.copies_of.partition_point(|(node, _)| *node < block);
        let (_, copy) = *self.copies_of.get(start + later).filter(|(node, _)| *node == block)?;
        let position = self.copies[copy as usize].1;
        Some(Body { block, height, position, copy: Some(copy) })
    }

    /// Counts the rejected bodies at the front of a block. What has fallen stays so, and nobody looks at
    /// it again: a header may have a million bodies that do not fit it.
    fn count_fallen(&mut self, block: u32) {
        let mut fallen = self.fallen.get(&block).copied().unwrap_or(0);
        while let Some(body) = self.nth_body(block, fallen)
            && self.fate(&body) == Fate::Rejected
        {
            fallen += 1;
        }
        self.fallen.insert(block, fallen);
    }

    fn fate(&self, body: &Body) -> Fate {
        match body.copy {
            None => self.firsts[body.block as usize],
            Some(copy) => self.copy_fates[copy as usize],
        }
    }

    fn set_fate(&mut self, body: &Body, fate: Fate) {
        match body.copy {
            None => self.firsts[body.block as usize] = fate,
            Some(copy) => self.copy_fates[copy as usize] = fate,
        }
    }

    /// Notes that the state has taken a block.
    pub fn taken(&mut self, block: u32) {
        self.flags[block as usize] |= flag::TAKEN;
    }

    /// Whether the state has taken a block once, and so always does.
    #[must_use]
    pub fn was_taken(&self, block: u32) -> bool {
        self.is_known(block) || self.flags[block as usize] & flag::TAKEN != 0
    }

    /// Whether the block, with its body, was known before the input.
    #[must_use]
    pub const fn is_known(&self, block: u32) -> bool {
        block < self.tree.known
    }

    /// An accepted block by its number.
    #[must_use]
    pub fn block(&self, number: u32) -> Ancestor<'_> {
        self.tree.block(number)
    }

    /// Learns what the rules on a body's own bytes, or the state before it, say of it.
    pub fn judged(&mut self, body: &Body, verdict: Result<(), Violation>) {
        let Err(violation) = verdict else { return self.set_fate(body, Fate::Sound) };
        let node = body.block;
        self.set_fate(body, Fate::Rejected);
        self.count_fallen(node);
        let id = self.tree.nodes[node as usize].id;
        self.rejections.push(Record { position: body.position, node, id, violation });
        // What a block holds that was known beforehand, no body in the input changes.
        if self.is_known(node) {
            return;
        }
        if !violation.rule().is_mutation() {
            if self.nth_body(node, 1).is_some() {
                self.condemned.entry(node).or_insert(violation);
            }
            self.fell(node, flag::CONDEMNED, flag::BELOW_REJECTED);
        } else if self.body(node).is_none() {
            self.fell(node, flag::BODYLESS, flag::BELOW_BODYLESS);
        }
    }

    /// Marks a block, and all its descendants in another way.
    fn fell(&mut self, node: u32, own: u8, below: u8) {
        // Copies cost no proof of work: only the first of a kind is worth a walk.
        if self.flags[node as usize] & own != 0 {
            return;
        }
        self.flags[node as usize] |= own;
        let nodes = &self.tree.nodes;
        let parents = || nodes.iter().map(|node| node.parent);
        let children = self.children.get_or_insert_with(|| Children::of(parents()));
        let mut open = vec![node];
        while let Some(node) = open.pop() {
            for child in children.of_node(node) {
                // Marked before, it has marked its descendants.
                if self.flags[child as usize] & below == 0 {
                    self.flags[child as usize] |= below;
                    open.push(child);
                }
            }
        }
    }

    /// The bodies that nobody has judged and whose verdict is not known without, in the order of the
    /// input.
    #[must_use]
    pub fn unjudged(&self) -> Vec<Body> {
        let is_open = |body: &Body| {
            let block = body.block as usize;
            let by_header = matches!(self.tree.nodes[block].state(), State::Rejected { .. });
            let known = by_header || self.flags[block] & flag::BELOW_REJECTED != 0;
            self.fate(body) == Fate::Open && !known
        };
        self.all_bodies().filter(is_open).collect()
    }

    /// Every body in the order of the input.
    fn all_bodies(&self) -> impl Iterator<Item = Body> {
        let nodes = &self.tree.nodes;
        let body = |block: u32, position, copy| {
            let height = match nodes[block as usize].state() {
                State::Connected { height, .. } => Some(height),
                _ => None,
            };
            Body { block, height, position, copy }
        };
        // Blocks are numbered in the order of the input, but for those that were known before.
        let position = |block: u32| nodes[block as usize].position();
        let mut known: Vec<_> =
            (0..self.tree.known).filter(|&block| position(block) != NOT_IN_INPUT).collect();
        known.sort_unstable_by_key(|&block| position(block));
        let rest = self.tree.known..=self.tree.last();
        let first = move |block: u32| body(block, nodes[block as usize].position(), None);
        let merged = merge(known.into_iter().map(first), rest.map(first));
        let later = self.copies.iter().zip(0..);
        merge(
            merged,
            later.map(move |((block, position), copy)| body(*block, *position, Some(copy))),
        )
    }

    /// Ends the bodies. `tip` is the end of the best branch: all its bodies and those before it pass.
    #[must_use]
    pub fn finish(mut self, tip: u32) -> Outcome {
        let on_best = self.tree.branch_of(tip);
        let mut is_best = vec![false; self.tree.nodes.len()];
        for &node in &on_best {
            is_best[node as usize] = true;
        }
        let mut blocks = BlockCounts::default();
        let mut rejected = Vec::new();
        let mut flags = std::mem::take(&mut self.flags);
        for body in self.all_bodies() {
            blocks.seen += 1;
            let flags = &mut flags[body.block as usize];
            let state = &self.tree.nodes[body.block as usize].state();
            let fate = self.fate(&body);
            if matches!(state, State::Rejected { .. })
                || *flags & (flag::CONDEMNED | flag::BELOW_REJECTED) != 0
                || fate == Fate::Rejected
            {
                blocks.rejected += 1;
                if rejected.len() < self.rejections_max {
                    rejected.push(body);
                }
            } else if *flags & flag::COUNTED != 0 {
                blocks.duplicates += 1;
            } else {
                *flags |= flag::COUNTED;
                *match state {
                    State::Waiting { .. } => &mut blocks.orphans,
                    _ if is_best[body.block as usize] => &mut blocks.best_branch,
                    _ if *flags & flag::ANY != 0 || fate == Fate::Open => &mut blocks.unconnected,
                    _ => &mut blocks.side,
                } += 1;
            }
        }
        self.flags = flags;
        let sound = |node: u32| self.flags[node as usize] & flag::ANY == 0;
        let (side_branches, side_branches_omitted) = self.tree.side_branches(&on_best, sound);
        let (orphan_groups, orphan_groups_omitted) = self.tree.orphan_groups(|node| {
            self.flags[node as usize] & (flag::ANY & !flag::BELOW_BODYLESS) == 0
        });
        Outcome {
            tip: self.tree.tip(tip),
            rejections_omitted: blocks.rejected - rejected.len() as u64,
            rejections: self.rejections_of(&rejected),
            blocks,
            side_branches,
            side_branches_omitted,
            orphan_groups,
            orphan_groups_omitted,
        }
    }

    fn rejections_of(&mut self, bodies: &[Body]) -> Vec<Rejection> {
        let rejections = std::mem::replace(&mut self.rejections, Rejections::new(0));
        let records = rejections.into_sorted().into_iter();
        let by_body: HashMap<_, _, RandomState> =
            records.map(|record| (record.position, record.violation)).collect();
        let mut unconnected = NodeSet::default();
        let rejection = |body: &Body| Rejection {
            violation: self.violation_of(body, by_body.get(&body.position)),
            height: self.tree.settled_height(body.block, &mut unconnected),
            id: self.tree.nodes[body.block as usize].id,
            position: body.position,
        };
        bodies.iter().map(rejection).collect()
    }

    /// Why a body is rejected: the header comes before the body, and what a body says of itself before
    /// what another body says of the block.
    fn violation_of(&self, body: &Body, own: Option<&Violation>) -> Violation {
        let node = self.tree.nodes[body.block as usize];
        if self.flags[body.block as usize] & flag::BELOW_REJECTED != 0 {
            let parent = self.tree.nodes[node.parent as usize].id;
            let alone = self.tree.check_alone(&node.candidate());
            return alone.err().unwrap_or(Violation::BadPrevBlk { parent });
        }
        if matches!(node.state(), State::Rejected { .. }) {
            return self.tree.violation_of(&node);
        }
        let of_block = || self.condemned.get(&body.block);
        *own.or_else(of_block).expect("a rejected body, or one of several of a rejected block")
    }
}

/// The links from blocks to their children.
#[derive(Debug)]
struct Children {
    first: Vec<u32>,
    next: Vec<u32>,
}

impl Children {
    fn of(parents: impl ExactSizeIterator<Item = u32>) -> Self {
        let mut children =
            Self { first: vec![NONE; parents.len()], next: vec![NONE; parents.len()] };
        for (parent, node) in parents.zip(0..) {
            if parent != NONE {
                let before = std::mem::replace(&mut children.first[parent as usize], node);
                children.next[node as usize] = before;
            }
        }
        children
    }

    fn of_node(&self, node: u32) -> impl Iterator<Item = u32> {
        let exists = |node: u32| (node != NONE).then_some(node);
        let next = move |node: &u32| exists(self.next[*node as usize]);
        std::iter::successors(exists(self.first[node as usize]), next)
    }
}

/// All connected blocks, the one with the most work first, of equal ones the one that came first.
#[derive(Debug)]
struct Candidates {
    order: Vec<u32>,
    at: usize,
}

impl Candidates {
    fn of<R: HeaderRules>(tree: &HeaderTree<R>) -> Self {
        let is_connected =
            |node: &u32| matches!(tree.nodes[*node as usize].state(), State::Connected { .. });
        let nodes = 0..u32::try_from(tree.nodes.len()).expect("node numbers are u32");
        let mut order: Vec<_> = nodes.filter(is_connected).collect();
        order.sort_unstable_by_key(|&node| {
            let came = (node >= tree.known, tree.nodes[node as usize].position());
            (Reverse(tree.work(node)), came)
        });
        Self { order, at: 0 }
    }

    /// The next candidate that has not `fallen`; the last one never falls.
    fn next_while(&mut self, fallen: impl Fn(u32) -> bool) -> u32 {
        while self.at + 1 < self.order.len() && fallen(self.order[self.at]) {
            self.at += 1;
        }
        self.order[self.at]
    }
}

/// Two sequences in the order of the input as one.
fn merge(
    left: impl Iterator<Item = Body>,
    right: impl Iterator<Item = Body>,
) -> impl Iterator<Item = Body> {
    let (mut left, mut right) = (left.peekable(), right.peekable());
    std::iter::from_fn(move || match (left.peek(), right.peek()) {
        (Some(a), Some(b)) if b.position < a.position => right.next(),
        (None, _) => right.next(),
        _ => left.next(),
    })
}
