//! Headers that follow each other, as nearly all of an input do: taken many at a time, by rules that stay the
//! same from one to the next.

use crate::primitives::{CompactTarget, Hash256, Header, Work};
use crate::verdict::Position;

use super::MEDIAN_BLOCKS;
use super::header_tree::{Difficulty, HeaderRules, HeaderTree};
use super::node::{Candidate, Node, State};

/// What the rules in context come to for blocks in a row, up to a height: those that have these bits, and
/// version and time within these limits, break none of them, but perhaps that of the median time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steady {
    /// The first height for which this may no longer be so; that of the next block, if it is not even for that.
    pub end: u32,
    /// The compact target.
    pub bits: CompactTarget,
    /// The lowest block version.
    pub version_min: i32,
    /// The latest block time in seconds since 1970-01-01.
    pub time_max: u32,
}

/// The node pushed last, in a run.
struct RunTip {
    id: Hash256,
    height: u32,
    stretch: u32,
    work: Work,
}

/// The fewest headers for which the rules are asked what they come to.
const STEADY_MIN: usize = 8;

impl<R: HeaderRules> HeaderTree<R> {
    /// Takes the first of the next headers of the input, as long as each is a child of the node pushed
    /// last and there is nothing to object or to wait for, as is true of nearly all. Gives how many it
    /// took; the next one is for [`HeaderTree::insert`].
    ///
    /// # Panics
    /// As [`HeaderTree::insert`], or if there is not an id and a place for each header.
    pub fn insert_run(
        &mut self,
        headers: &[Header],
        ids: &[Hash256],
        positions: &[Position],
    ) -> usize {
        let len = headers.len();
        assert!(ids.len() == len && positions.len() == len, "an id and a place for each header");
        let last = self.nodes[self.last() as usize];
        let State::Connected { height, stretch } = last.state() else { return 0 };
        // A child of the last node is new unless it waited for that node: then it came before.
        if self.last_awaited == self.last() {
            return 0;
        }
        // What was just written is slow to read back, so the loop has it at hand.
        let mut tip = RunTip { id: last.id, height, stretch, work: self.work(self.last()) };
        let mut taken = 0;
        while taken < len {
            taken += self.extend_steadily(
                &mut tip,
                &headers[taken..],
                &ids[taken..],
                &positions[taken..],
            );
            if taken == len || headers[taken].parent() != tip.id {
                break;
            }
            let block = Candidate::of(&headers[taken], ids[taken]);
            let Some(next) = self.extend(&tip, &block, positions[taken]) else { break };
            tip = next;
            taken += 1;
        }
        self.seen += taken as u64;
        taken
    }

    /// Takes a new child of the node pushed last, which is `tip`, unless there is anything to object or
    /// to wait for.
    #[inline]
    fn extend(&mut self, tip: &RunTip, block: &Candidate, position: Position) -> Option<RunTip> {
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
        let height = tip.height + 1;
        let stretch = self.stretches.of_child(tip.stretch, tip.height, block.bits, work);
        let work = tip.work.saturating_add(work);
        let run = self.run;
        let state = State::Connected { height, stretch };
        let node = self.push(Node::new(block, parent, state, position));
        self.run = run;
        if self.best == parent && work > tip.work {
            self.connected += 1;
            self.best = node;
        } else {
            self.has_connected(node, work, position);
        }
        Some(RunTip { id: block.id, height, stretch, work })
    }

    /// Takes as many children of the node pushed last, which is `tip`, and of each other as obey rules that stay
    /// the same, and leaves the rest to [`HeaderTree::extend`]: none of them, where that has more to look at.
    fn extend_steadily(
        &mut self,
        tip: &mut RunTip,
        headers: &[Header],
        ids: &[Hash256],
        positions: &[Position],
    ) -> usize {
        let parent = self.last();
        // To ask takes as long as to judge a few.
        if headers.len() < STEADY_MIN || self.best != parent || !self.missing.is_empty() {
            return 0;
        }
        let Some(steady) = self.rules.steady(self.block(parent)) else { return 0 };
        let Difficulty { target: Some(target), work, .. } = *self.difficulty_of(steady.bits) else {
            return 0;
        };
        let count = steady.end.saturating_sub(tip.height).saturating_sub(1) as usize;
        let count = count.min(headers.len());
        // Then each has more work than the one before, and the last of them the most.
        if work == Work::ZERO
            || tip.work.saturating_add(work.saturating_mul(count as u64)) == Work::MAX
        {
            return 0;
        }
        let Some(recent) = self.block(parent).recent_times() else { return 0 };
        let mut newest = recent.into_iter().max().expect("eleven times");
        let mut before = tip.id;
        let mut taken = 0;
        while taken < count {
            let (header, id) = (&headers[taken], &ids[taken]);
            let time = header.time();
            let is_sound = header.parent() == before
                && header.bits() == steady.bits
                && target.is_met_by(id)
                && header.version() >= steady.version_min
                && time <= steady.time_max;
            if !is_sound {
                break;
            }
            // A time after all before it is after the median of any of them.
            if time > newest {
                newest = time;
            } else if !is_after_median(time, &recent, &headers[..taken]) {
                break;
            }
            before = *id;
            taken += 1;
        }
        self.push_children(tip, &headers[..taken], &ids[..taken], &positions[..taken], work);
        taken
    }

    /// Appends accepted headers of so much work each: the first is a child of the node pushed last, which is
    /// `tip` and the best so far, and each of the others of the one before it.
    fn push_children(
        &mut self,
        tip: &mut RunTip,
        headers: &[Header],
        ids: &[Hash256],
        positions: &[Position],
        work: Work,
    ) {
        let Some((id, first)) = ids.last().zip(headers.first()) else { return };
        self.make_room(headers.len());
        let stretch = self.stretches.of_child(tip.stretch, tip.height, first.bits(), work);
        let children = headers.iter().zip(ids).zip(positions).zip(self.last()..);
        self.nodes.extend(children.map(|(((header, id), position), parent)| {
            tip.height += 1;
            let state = State::Connected { height: tip.height, stretch };
            Node::new(&Candidate::of(header, *id), parent, state, *position)
        }));
        tip.id = *id;
        tip.stretch = stretch;
        tip.work = self.stretches.work(stretch, tip.height);
        self.connected += headers.len() as u64;
        self.best = self.last();
    }
}

/// Whether a time is after the median of the last eleven of these, the oldest of which come first.
#[cold]
fn is_after_median(time: u32, recent: &[u32; MEDIAN_BLOCKS], headers: &[Header]) -> bool {
    let times = headers.iter().rev().map(Header::time).chain(recent.iter().rev().copied());
    times.take(MEDIAN_BLOCKS).filter(|&before| before < time).count() > MEDIAN_BLOCKS / 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::header_chain;
    use crate::chain::{Ancestor, Start};
    use crate::primitives::Target;
    use crate::verdict::Violation;

    /// Rules under which every block looks like its parent.
    struct Alike(Header);

    impl HeaderRules for Alike {
        fn genesis(&self) -> &Header {
            &self.0
        }
        fn pow_limit(&self) -> Target {
            self.0.bits().decode().expect("bits")
        }
        fn check_in_context(&self, _: &Candidate, _: Ancestor<'_>) -> Result<(), Violation> {
            Ok(())
        }
        fn steady(&self, parent: Ancestor<'_>) -> Option<Steady> {
            let (bits, version_min, time_max) = (parent.bits(), i32::MIN, u32::MAX);
            Some(Steady { end: u32::MAX, bits, version_min, time_max })
        }
    }

    /// Nobody can mine so much work that it does not fit 256 bits; the first block that would have more
    /// stays the best.
    #[test]
    fn the_most_work_is_reached_once() {
        // Each id meets a target of one, and differs from that of its parent.
        let all = CompactTarget::from_bits(0x0101_0000);
        let genesis = header_chain(1)[0];
        let ids: Vec<Hash256> = (0..60)
            .map(|number| {
                let mut id = [0; 32];
                id[0] = number % 2;
                Hash256::from_bytes(id)
            })
            .collect();
        let headers: Vec<Header> = (0..60u32)
            .map(|number| {
                let parent = number.checked_sub(1).map_or(genesis.id(), |last| ids[last as usize]);
                let bits = if number < 20 { genesis.bits() } else { all };
                let time = genesis.time() + 1 + number;
                Header::from_fields(1, parent, Hash256::ZERO, time, bits, 0)
            })
            .collect();
        let positions: Vec<Position> = (0..60).map(Position).collect();
        for batch in [1, 60] {
            let mut tree = HeaderTree::new(Alike(genesis), Start::Genesis, 0);
            for at in (0..60).step_by(batch) {
                let at = at..at + batch;
                let taken = tree.insert_run(&headers[at.clone()], &ids[at.clone()], &positions[at]);
                assert_eq!(taken, batch);
            }
            // Twenty blocks of two, and twice half of all there is.
            assert_eq!((tree.best_height(), tree.seen()), (22, 60), "batches of {batch}");
        }
    }
}
