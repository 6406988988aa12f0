//! ASERT, the ledger's difficulty rule: aserti3-2d, in integers alone.
//!
//! An absolutely scheduled rule: the target depends on one anchor block and on how far the chain is
//! ahead of or behind its schedule since, never on the blocks in between. A chain that is one
//! half-life behind gets twice the anchor's target, one that is ahead by as much gets half. (Source:
//! the aserti3-2d specification, bitcoincash.org, 2020-11-15-asert.)
//!
//! ```text
//! exponent = (time - anchor's parent's time - spacing * (height - anchor's height + 1)) * 2^16 / half-life
//! target   = anchor's target * 2^(exponent / 2^16)
//! ```
//!
//! The exponent is a fixed-point number with 16 bits of fraction; its quotient is truncated toward
//! zero, as the published vectors have it. Powers of two within one doubling come from a cubic
//! polynomial with an error below 0.013 %. The target lies within 1 and the limit.
//!
//! Every number that arises is bounded by the widths of its inputs, so that nothing overflows for
//! any input: see [`Asert::next_bits`].

use std::num::NonZeroU32;

use crate::primitives::{CompactTarget, InvalidBits, Target};

/// The bits of fraction of exponents and factors: 1.0 is 2^16.
const FRACTION_BITS: u32 = 16;

/// Shifts beyond this many bits change nothing: a target has 256 bits, a factor 17.
const SHIFT_MAX: i128 = 1_024;

/// The polynomial for 2^x - 1, 0 <= x < 1: its coefficients for x, x^2 and x^3, where x has 16 bits
/// of fraction and the sum 64. (aserti3-2d specification.)
const CUBIC: [u64; 3] = [195_766_423_245_049, 971_821_376, 5_127];

/// The bits that the polynomial's sum is shifted by, rounding to nearest, to leave 16 of fraction.
const CUBIC_SHIFT: u32 = 48;

/// The block from which the schedule counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// The compact target of the anchor block.
    pub bits: CompactTarget,
    /// The time of the anchor's *parent*, in seconds since 1970-01-01.
    pub parent_time_s: i64,
    /// The height of the anchor block.
    pub height: u64,
}

/// A chain's difficulty schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asert {
    spacing_s: u32,
    half_life_s: NonZeroU32,
    limit: Target,
    anchor: Anchor,
    anchor_target: Target,
}

impl Asert {
    /// A schedule of one block each `spacing_s` seconds, whose target doubles for each
    /// `half_life_s` seconds behind it and never exceeds `limit`.
    ///
    /// # Errors
    /// Anchor bits that name no target, or one above the limit.
    pub fn new(
        spacing_s: u32,
        half_life_s: NonZeroU32,
        limit: Target,
        anchor: Anchor,
    ) -> Result<Self, InvalidBits> {
        let anchor_target = anchor.bits.decode_within(limit)?;
        Ok(Self { spacing_s, half_life_s, limit, anchor, anchor_target })
    }

    /// The compact target that is required of the block after the one at `height`, whose time is
    /// `time_s` seconds since 1970-01-01.
    ///
    /// Defined for every input, heights below the anchor's and negative times included.
    #[must_use]
    pub fn next_bits(&self, height: u64, time_s: i64) -> CompactTarget {
        let exponent = self.exponent(height, time_s);
        // Rounding down splits negative exponents too into a shift and a fraction from 0 up.
        let shift = (exponent >> FRACTION_BITS).clamp(-SHIFT_MAX, SHIFT_MAX);
        let shift = i32::try_from(shift).expect("at most SHIFT_MAX either way");
        let fraction = u16::try_from(exponent & i128::from(u16::MAX)).expect("masked to 16 bits");
        let shift = shift - FRACTION_BITS.cast_signed();
        self.anchor_target.scaled_by_power(power_of_two(fraction), shift, self.limit).to_compact()
    }

    /// How many half-lives the chain is behind its schedule, with 16 bits of fraction.
    fn exponent(&self, height: u64, time_s: i64) -> i128 {
        // Differences of 64-bit numbers have 65 bits, a product with 32 bits 97, the sum 98, and
        // 16 bits of fraction make it 114 of the 127 that there are.
        let elapsed_s = i128::from(time_s) - i128::from(self.anchor.parent_time_s);
        let blocks = i128::from(height) - i128::from(self.anchor.height) + 1;
        let behind_s = elapsed_s - i128::from(self.spacing_s) * blocks;
        // Rust's division truncates toward zero, as the vectors do.
        (behind_s << FRACTION_BITS) / i128::from(self.half_life_s.get())
    }
}

/// 2^(fraction / 2^16) with 16 bits of fraction: from 2^16 to just below 2^17.
fn power_of_two(fraction: u16) -> u32 {
    // The largest sum is below 2^64 (Horner's form keeps the specification's exact value).
    let x = u64::from(fraction);
    let sum = ((CUBIC[2] * x + CUBIC[1]) * x + CUBIC[0]) * x + (1 << (CUBIC_SHIFT - 1));
    let above_one =
        u32::try_from(sum >> CUBIC_SHIFT).expect("64 bits shifted right by 48 leave 16");
    (1 << FRACTION_BITS) + above_one
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_of_two_are_near_and_increase() {
        assert_eq!(power_of_two(0), 1 << 16);
        let mut before = 0;
        for fraction in 0..=u16::MAX {
            let power = power_of_two(fraction);
            let exact = (f64::from(fraction) / 65_536.0).exp2() * 65_536.0;
            // The specification's 0.013 %, and half a unit of rounding.
            assert!((f64::from(power) - exact).abs() <= exact * 0.000_13 + 0.5, "{fraction}");
            assert!(power >= before && power < 1 << 17, "{fraction}");
            before = power;
        }
    }
}
