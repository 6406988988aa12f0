//! The header rules that all families of chains share.

use crate::primitives::Target;
use crate::verdict::Violation;

use super::{Ancestor, Candidate};

/// The number of blocks whose median time a block must exceed.  (Core: `nMedianTimeSpan`.)
pub const MEDIAN_BLOCKS: usize = 11;

/// The bits name a target of at most `limit`, before anything is computed from them, and the
/// id meets it.
#[inline]
pub(crate) fn proof_of_work_is_valid(limit: Target, block: &Candidate) -> Result<(), Violation> {
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

/// The time is after the median of the parent and the ten blocks before it.
/// (Core: `GetMedianTimePast`.)
///
/// The median is below a time exactly when more than half of the window is, so counting answers
/// without sorting, and six blocks are enough for any window. Blocks before a trusted start count as
/// earlier: the rule then rejects only what no unknown time could save.
#[inline(always)]
pub(crate) fn time_is_after_median(
    block: &Candidate,
    parent: Ancestor<'_>,
) -> Result<(), Violation> {
    let is_before = |time: &u32| *time < block.time;
    // Blocks in a row are read without a look at how they hang together.
    if let Some(times) = parent.recent_times()
        && times.iter().filter(|time| is_before(time)).count() > MEDIAN_BLOCKS / 2
    {
        return Ok(());
    }
    let mut window = 0;
    let mut before = 0;
    for ancestor in parent.lineage().take(MEDIAN_BLOCKS) {
        if ancestor.is_trusted() {
            before += MEDIAN_BLOCKS - window;
            window = MEDIAN_BLOCKS;
            break;
        }
        window += 1;
        before += usize::from(is_before(&ancestor.time()));
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
#[cold]
fn median_time_past(parent: Ancestor<'_>) -> Option<u32> {
    let is_trusted = parent.lineage().take(MEDIAN_BLOCKS).any(|block| block.is_trusted());
    (!is_trusted).then(|| parent.median_time_past())
}
