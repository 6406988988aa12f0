//! Accumulated proof of work in 256 bits.

use std::fmt;

use ruint::aliases::U256;

/// The expected number of hashes behind a block, or behind a whole branch.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Work(U256);

impl Work {
    /// No work at all.
    pub const ZERO: Self = Self(U256::ZERO);

    /// The most there can be.
    pub(crate) const MAX: Self = Self(U256::MAX);

    pub(super) const fn from_u256(value: U256) -> Self {
        Self(value)
    }

    /// The work of two stretches of a chain together.
    ///
    /// One block's work is below 2^256, so a sum can exceed 256 bits only after blocks that nobody
    /// could mine; it then stays at the largest value, which keeps the order.
    #[inline]
    #[must_use]
    pub fn saturating_add(self, more: Self) -> Self {
        Self(self.0.saturating_add(more.0))
    }

    /// `count` times this work.
    #[must_use]
    pub fn saturating_mul(self, count: u64) -> Self {
        Self(self.0.saturating_mul(U256::from(count)))
    }

    /// The nearest floating-point number, for estimates such as an expected time.
    #[must_use]
    pub fn to_f64(self) -> f64 {
        self.0.as_limbs().iter().rev().fold(0.0, |sum, &limb| sum * 2f64.powi(64) + limb as f64)
    }
}

impl fmt::Display for Work {
    /// 64 hex digits, most significant first, as nodes print `chainwork`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:064x}", self.0)
    }
}

impl fmt::Debug for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Work({:#x})", self.0)
    }
}
