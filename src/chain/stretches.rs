//! The work of branches.
//!
//! Bits rarely change from a block to its child on most networks, so the work up to each of many blocks in a row
//! is told by that up to the first of them, and by how many there are. Where they do, as in a ledger, a stretch
//! for a block takes more memory than its work alone would.

use crate::primitives::{CompactTarget, Work};

/// A block and all its descendants, on whichever branches, up to the first ones that have other bits.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    bits: CompactTarget,
    /// The height of that block.
    first: u32,
    /// The work of the branch up to its parent.
    before: Work,
    /// The work of each block.
    each: Work,
}

/// The stretches of a tree of blocks; blocks know theirs by its number.
#[derive(Debug)]
pub(super) struct Stretches(Vec<Stretch>);

impl Stretches {
    /// The one that the tree starts with.
    pub(super) const START: u32 = 0;

    /// Those of a tree whose start has this height, these bits and so much work.
    pub(super) fn new(height: u32, bits: CompactTarget, work: Work) -> Self {
        Self(vec![Stretch { bits, first: height, before: Work::ZERO, each: work }])
    }

    /// The work of the branch up to a block of this height.
    #[inline]
    pub(super) fn work(&self, stretch: u32, height: u32) -> Work {
        let Stretch { first, before, each, .. } = self.0[stretch as usize];
        before.saturating_add(each.saturating_mul(u64::from(height - first) + 1))
    }

    /// The stretch of a block with these bits and so much work of its own, whose parent has this height and is
    /// in this stretch.
    #[inline]
    pub(super) fn of_child(
        &mut self,
        parent: u32,
        parent_height: u32,
        bits: CompactTarget,
        each: Work,
    ) -> u32 {
        if self.0[parent as usize].bits == bits {
            return parent;
        }
        let before = self.work(parent, parent_height);
        let stretch = u32::try_from(self.0.len()).expect("no more stretches than blocks");
        self.0.push(Stretch { bits, first: parent_height + 1, before, each });
        stretch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_adds_up() {
        let [easy, hard] = [0x1d00_ffff, 0x1b04_04cb].map(CompactTarget::from_bits);
        let work = |bits: CompactTarget| bits.decode().expect("bits").work();
        let mut stretches = Stretches::new(7, easy, work(easy));
        let (mut stretch, mut sum) = (Stretches::START, work(easy));
        for (height, bits) in (8..).zip([easy, easy, hard, hard, easy, hard, hard, hard]) {
            stretch = stretches.of_child(stretch, height - 1, bits, work(bits));
            sum = sum.saturating_add(work(bits));
            assert_eq!(stretches.work(stretch, height), sum, "{height}");
        }
        assert_eq!(stretches.0.len(), 4);
        // Another branch goes on with its parent's.
        let other = stretches.of_child(Stretches::START, 8, easy, work(easy));
        assert_eq!(stretches.work(other, 9), work(easy).saturating_mul(3));
    }
}
