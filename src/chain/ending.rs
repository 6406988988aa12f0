//! The end of the input: what the tree then says of branches, orphans and rejections.

use foldhash::quality::RandomState;
use hashbrown::HashSet;

use crate::primitives::Hash256;
use crate::verdict::{Rejection, Violation};

use super::header_tree::{HeaderRules, HeaderTree};
use super::node::{NONE, NOT_IN_INPUT, Node, State};
use super::rejections::{Record, Rejections};
use super::{BlockCounts, OrphanGroup, Outcome, SideBranch};

pub(super) type NodeSet = HashSet<u32, RandomState>;

impl<R: HeaderRules> HeaderTree<R> {
    /// Ends the input.
    #[must_use]
    pub fn finish(mut self) -> Outcome {
        self.settle_repeats();
        let on_best = self.branch_of(self.best);
        let best_branch = on_best
            .iter()
            .filter(|&&node| {
                node >= self.known || self.nodes[node as usize].position() != NOT_IN_INPUT
            })
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
        let (side_branches, side_branches_omitted) = self.side_branches(&on_best, |_| true);
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
        let (orphan_groups, orphan_groups_omitted) = self.orphan_groups(|_| true);
        Outcome {
            tip,
            blocks,
            rejections,
            rejections_omitted,
            side_branches,
            side_branches_omitted,
            orphan_groups,
            orphan_groups_omitted,
        }
    }
    fn settle_repeats(&mut self) {
        let repeats = std::mem::take(&mut self.repeats);
        for (node, count) in repeats.counts {
            if matches!(self.nodes[node as usize].state(), State::Rejected { .. }) {
                self.rejections.count += count;
            } else {
                self.duplicates += count;
            }
        }
        for (node, position) in repeats.places {
            let original = self.nodes[node as usize];
            if matches!(original.state(), State::Rejected { .. }) {
                let violation = self.violation_of(&original);
                // Counted above.
                self.rejections.count -= 1;
                self.rejections.push(Record { position, node, id: original.id, violation });
            }
        }
    }

    /// Judges a rejected node again, for the evidence.
    pub(super) fn violation_of(&self, node: &Node) -> Violation {
        let block = node.candidate();
        let alone = self.check_alone(&block);
        let verdict = alone.and_then(|()| match self.nodes[node.parent as usize].state() {
            State::Connected { .. } => self.rules.check_in_context(&block, self.block(node.parent)),
            _ => Err(Violation::BadPrevBlk { parent: self.nodes[node.parent as usize].id }),
        });
        verdict.expect_err("rules give one answer: this node was rejected before")
    }

    /// The height of a rejected node, also where it came before one of its ancestors.
    ///
    /// `unconnected` remembers the nodes whose ancestors are missing, so that a long rejected
    /// branch is walked once.
    pub(super) fn settled_height(&mut self, node: u32, unconnected: &mut NodeSet) -> Option<u32> {
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
            let node = &mut self.nodes[below as usize];
            if let State::Rejected { next, .. } = node.state() {
                node.set_state(State::Rejected { height: Some(height), next });
            }
        }
        self.height(node)
    }

    /// The nodes of the branch that ends at `tip`, tip first.
    pub(super) fn branch_of(&self, tip: u32) -> Vec<u32> {
        // Most are numbered one after the other.
        let mut branch: Vec<u32> = (self.run + 1..tip.saturating_add(1)).rev().collect();
        let rest = branch.last().map_or(Some(tip), |&first| self.parent(first));
        branch.extend(std::iter::successors(rest, |&node| self.parent(node)));
        branch
    }

    /// The orphans that are `sound` by missing parent, and how many such groups are left out.
    pub(super) fn orphan_groups(&self, sound: impl Fn(u32) -> bool) -> (Vec<OrphanGroup>, u64) {
        let groups = self.missing.iter();
        let groups = groups.map(|(parent, first)| self.orphan_group(*parent, *first, &sound));
        let mut groups: Vec<_> = groups.filter(|group| group.blocks > 0).collect();
        groups.sort_unstable_by_key(|group| group.position);
        let omitted = groups.len().saturating_sub(Outcome::BRANCHES_MAX) as u64;
        groups.truncate(Outcome::BRANCHES_MAX);
        (groups, omitted)
    }

    fn orphan_group(
        &self,
        parent: Hash256,
        first: u32,
        sound: impl Fn(u32) -> bool,
    ) -> OrphanGroup {
        let mut group = OrphanGroup { parent, blocks: 0, position: NOT_IN_INPUT };
        let mut lists = vec![first];
        while let Some(mut node) = lists.pop() {
            while node != NONE {
                if let State::Waiting { child, .. } = self.nodes[node as usize].state() {
                    if sound(node) {
                        group.blocks += 1;
                        let position = self.nodes[node as usize].position();
                        group.position = group.position.min(position);
                    }
                    lists.push(child);
                }
                node = self.next(node);
            }
        }
        group
    }

    /// The ends of the branches beside the best that are `sound`, and how many of them are left out.
    pub(super) fn side_branches(
        &self,
        on_best: &[u32],
        sound: impl Fn(u32) -> bool,
    ) -> (Vec<SideBranch>, u64) {
        if self.nodes.len() == on_best.len() {
            return (Vec::new(), 0);
        }
        let mut is_best = vec![false; self.nodes.len()];
        for &node in on_best {
            is_best[node as usize] = true;
        }
        let mut has_child = vec![false; self.nodes.len()];
        let stands = |node: u32| {
            matches!(self.nodes[node as usize].state(), State::Connected { .. }) && sound(node)
        };
        for node in (0..=self.last()).filter(|&node| stands(node)) {
            if let Some(has_child) = has_child.get_mut(self.nodes[node as usize].parent as usize) {
                *has_child = true;
            }
        }
        let mut tips: Vec<_> = (0..=self.last())
            .filter(|&node| stands(node))
            .filter(|&node| !has_child[node as usize] && !is_best[node as usize])
            // What was known before the input is not reported as found in it.
            .filter(|&node| self.nodes[node as usize].position() != NOT_IN_INPUT)
            .collect();
        tips.sort_unstable_by_key(|&node| self.nodes[node as usize].position());
        let omitted = tips.len().saturating_sub(Outcome::BRANCHES_MAX) as u64;
        tips.truncate(Outcome::BRANCHES_MAX);
        // Where the branch of each node leaves the best one; filled in as branches are walked, so
        // that no block is walked twice.
        let mut forks = vec![NONE; self.nodes.len()];
        for &node in on_best {
            forks[node as usize] = node;
        }
        let branches = tips.into_iter().map(|end| SideBranch {
            tip: self.tip(end),
            fork_height: self
                .height(self.fork_of(end, &mut forks))
                .expect("the best branch is connected"),
            position: self.nodes[end as usize].position(),
        });
        (branches.collect(), omitted)
    }

    /// The last block of the best branch below `end`.
    fn fork_of(&self, end: u32, forks: &mut [u32]) -> u32 {
        let mut node = end;
        while forks[node as usize] == NONE {
            node = self.nodes[node as usize].parent;
        }
        let fork = forks[node as usize];
        let mut node = end;
        while forks[node as usize] == NONE {
            forks[node as usize] = fork;
            node = self.nodes[node as usize].parent;
        }
        fork
    }
}
