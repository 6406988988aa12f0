//! Which difficulty a block must have.  (Bitcoin Core: `pow.cpp`.)

use crate::chain::Ancestor;
use crate::primitives::{CompactTarget, Target};

use super::Params;

/// What the difficulty rule says of a block's bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Required {
    /// Exactly these bits.
    Exactly(CompactTarget),
    /// What one retarget can reach: the block it starts from lies before a trusted start.
    Between { hardest: CompactTarget, easiest: CompactTarget },
    /// Nothing: the blocks that decide lie before a trusted start.
    Unknown,
}

/// What every header asks of its network's parameters, computed once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    period: Period,
    /// The bits of the easiest target.
    limit: CompactTarget,
}

impl Schedule {
    /// Of these parameters.
    pub(super) fn of(params: &Params) -> Self {
        let (blocks, limit) = (params.retarget_interval(), params.pow_limit.to_compact());
        Self { period: Period::of(blocks), limit }
    }
}

/// The blocks between two retargets: tells their first ones by a multiplication, as every header is asked,
/// and a division takes as long as half of the rest.
/// (Lemire, Kaser, Kurz, "Faster remainder by direct computation", 2019.)
#[derive(Clone, Copy, Debug)]
struct Period {
    /// 2^64 by their number, rounded up; 0 for 2^64.
    inverse: u64,
}

impl Period {
    /// Of so many blocks.
    ///
    /// # Panics
    /// If there are none.
    const fn of(blocks: u32) -> Self {
        Self { inverse: (u64::MAX / blocks as u64).wrapping_add(1) }
    }

    /// Whether a period begins at this height: whether it is a multiple of its number of blocks.
    #[inline]
    fn begins_at(self, height: u32) -> bool {
        u64::from(height).wrapping_mul(self.inverse) <= self.inverse.wrapping_sub(1)
    }
}

/// The bits that a block of time `time` on `parent` must have. `schedule` is that of `params`.
/// (Core: `GetNextWorkRequired`.)
#[inline(always)]
pub(super) fn required_bits(
    params: &Params,
    schedule: Schedule,
    time: u32,
    parent: Ancestor<'_>,
) -> Required {
    let Schedule { period, limit } = schedule;
    if parent.is_trusted() {
        return Required::Unknown;
    }
    if params.no_retargeting && params.genesis.bits() == limit {
        // Where the difficulty starts at the limit and never changes, every rule below gives the
        // limit; this spares the walk back through the period.
        return Required::Exactly(params.genesis.bits());
    }
    if period.begins_at(parent.height() + 1) {
        return retargeted(params, parent);
    }
    if !params.allow_min_difficulty {
        return Required::Exactly(parent.bits());
    }
    let late = u64::from(parent.time()) + 2 * u64::from(params.target_spacing_s);
    if u64::from(time) > late {
        return Required::Exactly(limit);
    }
    last_real_bits(params, limit, parent)
}

/// The bits of the last block of the period that did not use the 20-minute rule.
fn last_real_bits(params: &Params, limit: CompactTarget, parent: Ancestor<'_>) -> Required {
    let mut block = parent;
    while block.bits() == limit && !block.height().is_multiple_of(params.retarget_interval()) {
        match block.parent() {
            Some(before) if before.is_trusted() => return Required::Unknown,
            Some(before) => block = before,
            None => break,
        }
    }
    Required::Exactly(block.bits())
}

/// The bits of the first block of a period, after `last`, the last block of the one before.
#[cold]
fn retargeted(params: &Params, last: Ancestor<'_>) -> Required {
    if params.no_retargeting {
        return Required::Exactly(last.bits());
    }
    // Core's window is one block short: it spans 2015 intervals, from the first block of the
    // period to its last.
    let first = last.back(params.retarget_interval() - 1);
    let Some(first) = first.filter(|first| !first.is_trusted()) else {
        return step(params, last);
    };
    // BIP94: the last block of a period may have used the 20-minute rule, the first may not.
    let base = if params.enforce_bip94 { first.bits() } else { last.bits() };
    Required::Exactly(retarget(params, base, first.time(), last.time()))
}

/// The bits that follow a period: those of `base`, scaled by the time the period took, within a
/// factor of four, and cut to compact precision.  (Core: `CalculateNextWorkRequired`.)
///
/// # Panics
/// If `base` names no target; bits of an accepted header always do.
#[must_use]
pub fn retarget(
    params: &Params,
    base: CompactTarget,
    first_time: u32,
    last_time: u32,
) -> CompactTarget {
    let timespan = params.target_timespan_s;
    let actual = i64::from(last_time) - i64::from(first_time);
    let actual = actual.clamp(i64::from(timespan / 4), i64::from(timespan) * 4);
    scaled(params, base, u32::try_from(actual).expect("clamped to a positive number below 2^32"))
}

/// The range of a retarget whose window is not known whole.  (Core: `PermittedDifficultyTransition`.)
fn step(params: &Params, last: Ancestor<'_>) -> Required {
    if params.enforce_bip94 {
        return Required::Unknown; // the base itself is unknown
    }
    Required::Between {
        hardest: scaled(params, last.bits(), params.target_timespan_s / 4),
        easiest: scaled(params, last.bits(), params.target_timespan_s.saturating_mul(4)),
    }
}

fn scaled(params: &Params, bits: CompactTarget, actual_s: u32) -> CompactTarget {
    let target: Target = bits.decode().expect("an accepted block has valid bits");
    target.scaled(actual_s, params.target_timespan_s, params.pow_limit).to_compact()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_begins_at_multiples_of_its_length() {
        for blocks in [1, 2, 3, 5, 144, 2015, 2016, 2017, 1 << 16, u32::MAX - 1, u32::MAX] {
            let period = Period::of(blocks);
            let near =
                |height: u32| (0..9).map(move |step| height.wrapping_add(step).wrapping_sub(4));
            let multiples = (0..300).map(|index: u32| blocks.wrapping_mul(index));
            let others = [0, 1 << 31, u32::MAX - blocks, u32::MAX / blocks * blocks];
            for height in multiples.chain(others).flat_map(near) {
                assert_eq!(period.begins_at(height), height % blocks == 0, "{height} of {blocks}");
            }
        }
    }
}
