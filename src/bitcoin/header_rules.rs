//! Every rule that a header must obey, as a checklist.
//! (Bitcoin Core: `CheckBlockHeader`, `ContextualCheckBlockHeader`.)

use crate::chain::{self, Ancestor, Candidate, time_is_after_median};
use crate::primitives::{Header, Target};
use crate::verdict::Violation;

use super::Params;
use super::difficulty::{Required, Schedule, required_bits};

/// How far a block may lie after the clock, in seconds.  (Core: `MAX_FUTURE_BLOCK_TIME`.)
pub const FUTURE_MAX_S: u64 = 2 * 60 * 60;

/// How far the first block of a period may lie before its parent, in seconds.
/// (BIP94; Core: `MAX_TIMEWARP`.)
pub const TIMEWARP_MAX_S: u32 = 600;

/// Bitcoin's header rules for one network and one reading of the clock.
#[derive(Clone, Debug)]
pub struct HeaderRules {
    params: Params,
    schedule: Schedule,
    now: u64,
}

impl HeaderRules {
    /// The rules of `params`, judged at `now` seconds since 1970-01-01.
    #[must_use]
    pub fn new(params: Params, now: u64) -> Self {
        Self { schedule: Schedule::of(&params), params, now }
    }

    /// The network's parameters.
    #[must_use]
    pub const fn params(&self) -> &Params {
        &self.params
    }

    /// What the difficulty rule says of the bits of a block of this time on `parent`.
    pub(super) fn required_bits(&self, time: u32, parent: Ancestor<'_>) -> Required {
        required_bits(&self.params, self.schedule, time, parent)
    }
}

impl chain::HeaderRules for HeaderRules {
    fn genesis(&self) -> &Header {
        &self.params.genesis
    }

    fn pow_limit(&self) -> Target {
        self.params.pow_limit
    }

    // The order is Core's; it decides which fault is reported.
    #[inline(always)]
    fn check_in_context(&self, block: &Candidate, parent: Ancestor<'_>) -> Result<(), Violation> {
        difficulty_is_valid(&self.params, self.schedule, block, parent)?;
        time_is_after_median(block, parent)?;
        time_is_not_warped(&self.params, block, parent)?;
        time_is_not_ahead(self.now, block)?;
        version_is_current(&self.params, block, parent.height() + 1)
    }
}

#[inline(always)]
fn difficulty_is_valid(
    params: &Params,
    schedule: Schedule,
    block: &Candidate,
    parent: Ancestor<'_>,
) -> Result<(), Violation> {
    let found = block.bits;
    match required_bits(params, schedule, block.time, parent) {
        Required::Exactly(required) if found != required => {
            Err(Violation::BadDiffBits { required, found })
        }
        Required::Between { hardest, easiest } => {
            let target = |bits: crate::primitives::CompactTarget| bits.decode().ok();
            if (target(hardest)..=target(easiest)).contains(&target(found)) {
                Ok(())
            } else {
                Err(Violation::BadDiffBitsStep { hardest, easiest, found })
            }
        }
        Required::Exactly(_) | Required::Unknown => Ok(()),
    }
}

/// BIP94: the first block of a period is at most 600 s before its parent.
#[inline]
fn time_is_not_warped(
    params: &Params,
    block: &Candidate,
    parent: Ancestor<'_>,
) -> Result<(), Violation> {
    if !params.enforce_bip94 || parent.is_trusted() {
        return Ok(());
    }
    if !(parent.height() + 1).is_multiple_of(params.retarget_interval()) {
        return Ok(());
    }
    let earliest = parent.time().saturating_sub(TIMEWARP_MAX_S);
    if block.time < earliest {
        return Err(Violation::TimeTimewarpAttack { earliest, found: block.time });
    }
    Ok(())
}

#[inline]
fn time_is_not_ahead(now: u64, block: &Candidate) -> Result<(), Violation> {
    let latest = now.saturating_add(FUTURE_MAX_S);
    if u64::from(block.time) > latest {
        return Err(Violation::TimeTooNew { latest, found: block.time });
    }
    Ok(())
}

/// BIP34, BIP66 and BIP65 each outdated a version from some height on.
#[inline]
fn version_is_current(params: &Params, block: &Candidate, height: u32) -> Result<(), Violation> {
    let heights = &params.heights;
    let lowest = [(4, heights.cltv), (3, heights.dersig), (2, heights.bip34)]
        .into_iter()
        .find_map(|(version, from)| (height >= from).then_some(version));
    match lowest {
        Some(lowest) if block.version < lowest => {
            Err(Violation::BadVersion { lowest, found: block.version })
        }
        _ => Ok(()),
    }
}
