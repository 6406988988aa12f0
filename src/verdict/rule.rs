//! The rules and their ids, a public contract.

use std::fmt;

/// A consensus rule that a block can break, in the order in which rules are judged.
///
/// The ids are Bitcoin Core's reject reasons, up to the first comma, space or parenthesis; where
/// Core has no name for a rule, a comment says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// The id does not meet the target, or the bits name no target that the network allows.
    /// (Core: `CheckBlockHeader`, `CheckProofOfWork`.)
    HighHash,
    /// The parent was rejected.  (Core: `AcceptBlockHeader`.)
    BadPrevBlk,
    /// The bits are not those that the difficulty rule requires.
    /// (Core: `ContextualCheckBlockHeader`, `GetNextWorkRequired`.)
    BadDiffBits,
    /// The time is not after the median of the last eleven.  (Core: `ContextualCheckBlockHeader`.)
    TimeTooOld,
    /// BIP94: the first block of a period is more than 600 s before its parent.
    /// (Core: `ContextualCheckBlockHeader`.)
    TimeTimewarpAttack,
    /// The time is more than two hours after the clock.  (Core: `ContextualCheckBlockHeader`.)
    TimeTooNew,
    /// The version is below what BIP34, BIP66 or BIP65 ask for at this height.
    /// (Core: `ContextualCheckBlockHeader`.)
    BadVersion,
}

impl Rule {
    /// Every rule, in the order in which they are judged.
    pub const ALL: [Self; 7] = [
        Self::HighHash,
        Self::BadPrevBlk,
        Self::BadDiffBits,
        Self::TimeTooOld,
        Self::TimeTimewarpAttack,
        Self::TimeTooNew,
        Self::BadVersion,
    ];

    /// The id that reports carry.
    #[must_use]
    pub const fn id(self) -> &'static str {
        match self {
            Self::HighHash => "high-hash",
            Self::BadPrevBlk => "bad-prevblk",
            Self::BadDiffBits => "bad-diffbits",
            Self::TimeTooOld => "time-too-old",
            Self::TimeTimewarpAttack => "time-timewarp-attack",
            Self::TimeTooNew => "time-too-new",
            Self::BadVersion => "bad-version",
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}
