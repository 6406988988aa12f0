//! Every rule that a header must obey, as a checklist.
//! (Bitcoin Core: `CheckBlockHeader`, `ContextualCheckBlockHeader`.)

use crate::chain::{self, Ancestor, Candidate};
use crate::primitives::Header;
use crate::verdict::Violation;

use super::Params;
use super::difficulty::{Required, required_bits};

/// How far a block may lie after the clock, in seconds.  (Core: `MAX_FUTURE_BLOCK_TIME`.)
pub const FUTURE_MAX_S: u64 = 2 * 60 * 60;

/// How far the first block of a period may lie before its parent, in seconds.
/// (BIP94; Core: `MAX_TIMEWARP`.)
pub const TIMEWARP_MAX_S: u32 = 600;

/// The number of blocks whose median time a block must exceed.  (Core: `nMedianTimeSpan`.)
pub const MEDIAN_BLOCKS: usize = 11;

/// Bitcoin's header rules for one network and one reading of the clock.
#[derive(Clone, Debug)]
pub struct HeaderRules {
    params: Params,
    now: u64,
}

impl HeaderRules {
    /// The rules of `params`, judged at `now` seconds since 1970-01-01.
    #[must_use]
    pub const fn new(params: Params, now: u64) -> Self {
        Self { params, now }
    }

    /// The network's parameters.
    #[must_use]
    pub const fn params(&self) -> &Params {
        &self.params
    }
}

impl chain::HeaderRules for HeaderRules {
    fn genesis(&self) -> &Header {
        &self.params.genesis
    }

    fn check_alone(&self, block: &Candidate) -> Result<(), Violation> {
        proof_of_work_is_valid(&self.params, block)
    }

    // The order is Core's; it decides which fault is reported.
    fn check_in_context(&self, block: &Candidate, parent: Ancestor<'_>) -> Result<(), Violation> {
        difficulty_is_valid(&self.params, block, parent)?;
        time_is_after_median(block, parent)?;
        time_is_not_warped(&self.params, block, parent)?;
        time_is_not_ahead(self.now, block)?;
        version_is_current(&self.params, block, parent.height() + 1)
    }
}

/// The bits name a target that the network allows, before anything is computed from them, and the
/// id meets it.
fn proof_of_work_is_valid(params: &Params, block: &Candidate) -> Result<(), Violation> {
    let limit = params.pow_limit;
    let target = match block.bits.decode_within(limit) {
        Ok(target) => target,
        Err(why) => return Err(Violation::InvalidBits { why, bits: block.bits, limit }),
    };
    if target.is_met_by(&block.id) {
        Ok(())
    } else {
        Err(Violation::HighHash { target, id: block.id })
    }
}

fn difficulty_is_valid(
    params: &Params,
    block: &Candidate,
    parent: Ancestor<'_>,
) -> Result<(), Violation> {
    let found = block.bits;
    match required_bits(params, block.time, parent) {
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

/// The time is after the median of the parent and the ten blocks before it.
/// (Core: `GetMedianTimePast`.)
///
/// The median is below a time exactly when more than half of the window is, so counting answers
/// without sorting, and six blocks are enough for any window. Blocks before a trusted start count as
/// earlier: the rule then rejects only what no unknown time could save.
fn time_is_after_median(block: &Candidate, parent: Ancestor<'_>) -> Result<(), Violation> {
    let mut window = 0;
    let mut before = 0;
    for ancestor in parent.lineage().take(MEDIAN_BLOCKS) {
        if ancestor.is_trusted() {
            before += MEDIAN_BLOCKS - window;
            window = MEDIAN_BLOCKS;
            break;
        }
        window += 1;
        before += usize::from(ancestor.time() < block.time);
        if before > MEDIAN_BLOCKS / 2 {
            return Ok(());
        }
    }
    // The median is element window / 2 of the sorted window, counted from zero.
    if before > window / 2 {
        return Ok(());
    }
    Err(Violation::TimeTooOld { median: median_time_past(parent), found: block.time })
}

/// The median itself, for the evidence; `None` if a trusted start hides part of the window.
fn median_time_past(parent: Ancestor<'_>) -> Option<u32> {
    let window: Vec<_> = parent.lineage().take(MEDIAN_BLOCKS).collect();
    if window.iter().any(Ancestor::is_trusted) {
        return None;
    }
    let mut times: Vec<_> = window.iter().map(Ancestor::time).collect();
    times.sort_unstable();
    Some(times[times.len() / 2])
}

/// BIP94: the first block of a period is at most 600 s before its parent.
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

fn time_is_not_ahead(now: u64, block: &Candidate) -> Result<(), Violation> {
    let latest = now.saturating_add(FUTURE_MAX_S);
    if u64::from(block.time) > latest {
        return Err(Violation::TimeTooNew { latest, found: block.time });
    }
    Ok(())
}

/// BIP34, BIP66 and BIP65 each outdated a version from some height on.
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
