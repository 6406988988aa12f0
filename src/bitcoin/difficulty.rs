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
    /// The number of blocks between two retargets.
    pub(super) interval: u32,
    /// The bits of the easiest target.
    limit: CompactTarget,
}

impl Schedule {
    /// Of these parameters.
    pub(super) fn of(params: &Params) -> Self {
        Self { interval: params.retarget_interval(), limit: params.pow_limit.to_compact() }
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
    let Schedule { interval, limit } = schedule;
    if parent.is_trusted() {
        return Required::Unknown;
    }
    if stays_at_limit(params, limit) {
        // This spares the walk back through the period.
        return Required::Exactly(limit);
    }
    if (parent.height() + 1).is_multiple_of(interval) {
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

/// Whether the difficulty starts at the limit and never changes: then every rule gives the limit.
fn stays_at_limit(params: &Params, limit: CompactTarget) -> bool {
    params.no_retargeting && params.genesis.bits() == limit
}

/// The bits that the descendants of `parent` must have until the next retarget, whatever their time; `None` if
/// that is not known, or time decides.
pub(super) fn steady_bits(
    params: &Params,
    schedule: Schedule,
    parent: Ancestor<'_>,
) -> Option<CompactTarget> {
    if parent.is_trusted() {
        return None;
    }
    if stays_at_limit(params, schedule.limit) {
        return Some(schedule.limit);
    }
    (!params.allow_min_difficulty).then(|| parent.bits())
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
