//! A broken rule together with its evidence: what was required, what was found.

use crate::primitives::{CompactTarget, Hash256, InvalidBits, Target};

use super::Rule;

/// How a block breaks a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// [`Rule::HighHash`]: the id is above the target that the header names.
    HighHash {
        /// The header's own target.
        target: Target,
        /// The id.
        id: Hash256,
    },
    /// [`Rule::HighHash`]: the bits name no target that the network allows.
    InvalidBits {
        /// What is wrong with them.
        why: InvalidBits,
        /// The bits of the header.
        bits: CompactTarget,
        /// The network's easiest target.
        limit: Target,
    },
    /// [`Rule::BadPrevBlk`]: the parent was rejected.
    BadPrevBlk {
        /// The parent's id.
        parent: Hash256,
    },
    /// [`Rule::BadDiffBits`]: other bits are required here.
    BadDiffBits {
        /// The bits that the difficulty rule gives.
        required: CompactTarget,
        /// The bits of the header.
        found: CompactTarget,
    },
    /// [`Rule::BadDiffBits`]: the required bits follow from blocks before a trusted start, but no
    /// such blocks could lead to these.
    BadDiffBitsStep {
        /// The hardest bits one retarget can reach from the parent's.
        hardest: CompactTarget,
        /// The easiest.
        easiest: CompactTarget,
        /// The bits of the header.
        found: CompactTarget,
    },
    /// [`Rule::TimeTooOld`]: the time is not after the median.
    TimeTooOld {
        /// The median time past: of the parent and the ten blocks before it, or `None` where a
        /// trusted start hides some of them and the rest already forbid this time.
        median: Option<u32>,
        /// The time of the header.
        found: u32,
    },
    /// [`Rule::TimeTimewarpAttack`]: too far before the parent at the start of a period.
    TimeTimewarpAttack {
        /// The earliest time allowed.
        earliest: u32,
        /// The time of the header.
        found: u32,
    },
    /// [`Rule::TimeTooNew`]: too far after the clock.
    TimeTooNew {
        /// The latest time allowed.
        latest: u64,
        /// The time of the header.
        found: u32,
    },
    /// [`Rule::BadVersion`]: an outdated version.
    BadVersion {
        /// The lowest version allowed at this height.
        lowest: i32,
        /// The version of the header.
        found: i32,
    },
}

impl Violation {
    /// The rule that is broken.
    #[must_use]
    pub const fn rule(&self) -> Rule {
        match self {
            Self::HighHash { .. } | Self::InvalidBits { .. } => Rule::HighHash,
            Self::BadPrevBlk { .. } => Rule::BadPrevBlk,
            Self::BadDiffBits { .. } | Self::BadDiffBitsStep { .. } => Rule::BadDiffBits,
            Self::TimeTooOld { .. } => Rule::TimeTooOld,
            Self::TimeTimewarpAttack { .. } => Rule::TimeTimewarpAttack,
            Self::TimeTooNew { .. } => Rule::TimeTooNew,
            Self::BadVersion { .. } => Rule::BadVersion,
        }
    }

    /// What the rule requires, as text for the report.
    #[must_use]
    pub fn expected(&self) -> String {
        match self {
            Self::HighHash { target, .. } => format!("at most {target}"),
            Self::InvalidBits { limit, .. } => {
                format!("bits of a positive target of at most {}", limit.to_compact())
            }
            Self::BadPrevBlk { .. } => "a parent that was not rejected".into(),
            Self::BadDiffBits { required, .. } => required.to_string(),
            Self::BadDiffBitsStep { hardest, easiest, .. } => format!("{hardest} to {easiest}"),
            Self::TimeTooOld { median: Some(median), .. } => format!("after {median}"),
            Self::TimeTooOld { median: None, .. } => {
                "after the median of the last eleven, most of which are not before this".into()
            }
            Self::TimeTimewarpAttack { earliest, .. } => format!("at least {earliest}"),
            Self::TimeTooNew { latest, .. } => format!("at most {latest}"),
            Self::BadVersion { lowest, .. } => format!("at least {lowest}"),
        }
    }

    /// What stands in the block, as text for the report.
    #[must_use]
    pub fn found(&self) -> String {
        match self {
            Self::HighHash { id, .. } => id.to_string(),
            Self::InvalidBits { why, bits, .. } => format!("{bits} ({why})"),
            Self::BadPrevBlk { parent } => parent.to_string(),
            Self::BadDiffBits { found, .. } | Self::BadDiffBitsStep { found, .. } => {
                found.to_string()
            }
            Self::TimeTooOld { found, .. }
            | Self::TimeTimewarpAttack { found, .. }
            | Self::TimeTooNew { found, .. } => found.to_string(),
            Self::BadVersion { found, .. } => format!("{found} (0x{found:08x})"),
        }
    }
}
