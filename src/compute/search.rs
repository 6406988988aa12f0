//! What a proof-of-work search is asked for.

use std::ops::RangeInclusive;

use crate::primitives::{Header, Target};

/// A header whose nonce is sought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SearchJob {
    /// The header; its own nonce is ignored.
    pub header: Header,
    /// What the id must meet.
    pub target: Target,
    /// The first nonce to try.
    pub first: u32,
    /// The last nonce to try; nothing is tried if it is below `first`.
    pub last: u32,
}

impl SearchJob {
    /// The nonces to try, lowest first.
    #[must_use]
    pub fn nonces(&self) -> RangeInclusive<u32> {
        self.first..=self.last
    }

    /// The number of nonces to try, up to 2^32.
    #[must_use]
    pub fn count(&self) -> u64 {
        (u64::from(self.last) + 1).saturating_sub(u64::from(self.first))
    }

    /// Whether `nonce` meets the target, on the CPU.
    #[must_use]
    pub fn is_won_by(&self, nonce: u32) -> bool {
        self.target.is_met_by(&self.header.with_nonce(nonce).id())
    }
}
