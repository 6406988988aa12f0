//! Every rule that the header of a ledger's block must obey, as a checklist.

use std::num::NonZeroU32;

use crate::chain::{self, Ancestor, Candidate, time_is_after_median};
use crate::primitives::{CompactTarget, Header, Target};
use crate::verdict::Violation;

use super::asert::{Anchor, Asert};
use super::{Params, RULES_VERSION};

/// The header rules of one ledger and one reading of the clock.
#[derive(Clone, Debug)]
pub struct HeaderRules {
    genesis: Header,
    limit: Target,
    difficulty: Asert,
    /// The latest time that a block may have.
    latest: u64,
}

impl HeaderRules {
    /// The rules of `params`, judged at `now` seconds since 1970-01-01.
    #[must_use]
    pub fn new(params: &Params, now: u64) -> Self {
        let genesis = params.genesis();
        Self {
            genesis,
            limit: params.pow_limit_target(),
            difficulty: difficulty(params),
            latest: now.saturating_add(params.future_max_s()),
        }
    }

    /// The bits that are required of the block after the one of `height` and `time`.
    #[must_use]
    pub fn next_bits(&self, height: u32, time: u32) -> CompactTarget {
        self.difficulty.next_bits(height.into(), time.into())
    }
}

/// ASERT, anchored at genesis as if its parent had come one spacing before it.
fn difficulty(params: &Params) -> Asert {
    let spacing_s = u32::try_from(params.target_spacing_s()).expect("checked with the parameters");
    let half_life_s = u32::try_from(params.half_life_s()).ok().and_then(NonZeroU32::new);
    let anchor = Anchor {
        bits: params.pow_limit(),
        parent_time_s: i64::from(params.genesis().time()) - i64::from(spacing_s),
        height: 0,
    };
    let half_life_s = half_life_s.expect("checked with the parameters");
    Asert::new(spacing_s, half_life_s, params.pow_limit_target(), anchor)
        .expect("the limit is within itself")
}

impl chain::HeaderRules for HeaderRules {
    fn genesis(&self) -> &Header {
        &self.genesis
    }

    fn pow_limit(&self) -> Target {
        self.limit
    }

    // The order is that of the enum of rules; it decides which fault is reported.
    fn check_in_context(&self, block: &Candidate, parent: Ancestor<'_>) -> Result<(), Violation> {
        let required = self.next_bits(parent.height(), parent.time());
        if block.bits != required {
            return Err(Violation::BadDiffBits { required, found: block.bits });
        }
        time_is_after_median(block, parent)?;
        if u64::from(block.time) > self.latest {
            return Err(Violation::TimeTooNew { latest: self.latest, found: block.time });
        }
        if block.version != RULES_VERSION {
            return Err(Violation::UnknownVersion { known: RULES_VERSION, found: block.version });
        }
        Ok(())
    }
}
