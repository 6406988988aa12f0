//! Difficulty targets and their 32-bit compact form (`nBits`).

use std::fmt;

use ruint::aliases::{U256, U320};

use super::{Hash256, Work};

/// The largest hash, as a 256-bit number, that proves work.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target(U256);

/// Why compact bits give no target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidBits {
    /// The sign bit is set on a mantissa that is not zero.
    #[error("negative")]
    Negative,
    /// The number does not fit 256 bits.
    #[error("overflows 256 bits")]
    Overflow,
    /// No hash could be below it.
    #[error("zero")]
    Zero,
    /// Easier than the network allows.
    #[error("easier than the network's limit")]
    AboveLimit,
}

/// A target as headers carry it: one byte of exponent, a sign bit, 23 bits of mantissa.
///
/// Several bit patterns can name one target; consensus compares the patterns.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CompactTarget(u32);

const SIGN: u32 = 0x0080_0000;
const MANTISSA: u32 = 0x007f_ffff;

impl CompactTarget {
    /// Compact bits as they stand in a header.
    #[must_use]
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// The 32 bits as they stand in a header.
    #[must_use]
    pub const fn to_bits(self) -> u32 {
        self.0
    }

    /// The target these bits name, whatever the network.  (Bitcoin Core: `arith_uint256::SetCompact`.)
    ///
    /// # Errors
    /// Negative, overflowing or zero bits name no target.
    pub fn decode(self) -> Result<Target, InvalidBits> {
        let size = self.0 >> 24;
        let mut mantissa = self.0 & MANTISSA;
        if size <= 3 {
            mantissa >>= 8 * (3 - size);
        }
        if mantissa == 0 {
            return Err(InvalidBits::Zero);
        }
        if self.0 & SIGN != 0 {
            return Err(InvalidBits::Negative);
        }
        if size > 34 || (mantissa > 0xff && size > 33) || (mantissa > 0xffff && size > 32) {
            return Err(InvalidBits::Overflow);
        }
        let shift = 8 * size.saturating_sub(3);
        // Every header is asked for its target, so no shift of all 256 bits: the 24 bits lie in the
        // lower half or in the upper one, or, at 104 and above, where they meet.
        let (mantissa, half) = (u128::from(mantissa), u128::BITS);
        let (low, high) = match shift {
            128.. => (0, mantissa << (shift - half)),
            104.. => (mantissa << shift, mantissa >> (half - shift)),
            _ => (mantissa << shift, 0),
        };
        let mut bytes = [0; 32];
        bytes[..16].copy_from_slice(&low.to_le_bytes());
        bytes[16..].copy_from_slice(&high.to_le_bytes());
        Ok(Target(U256::from_le_bytes(bytes)))
    }

    /// The target these bits name, if it is no easier than `limit`.
    /// (Bitcoin Core: `DeriveTarget` in `pow.cpp`.)
    ///
    /// # Errors
    /// Bits that name no target, or one above `limit`.
    pub fn decode_within(self, limit: Target) -> Result<Target, InvalidBits> {
        let target = self.decode()?;
        if target > limit { Err(InvalidBits::AboveLimit) } else { Ok(target) }
    }
}

impl Target {
    /// The easiest target there is: every hash meets it.
    pub const MAX: Self = Self(U256::MAX);

    /// A target from 32 bytes, least significant first, the order of a hash.
    #[must_use]
    pub fn from_le_bytes(bytes: [u8; 32]) -> Self {
        Self(U256::from_le_bytes(bytes))
    }

    /// A target from 32 bytes, most significant first, the order in which people write it.
    #[must_use]
    pub fn from_be_bytes(bytes: [u8; 32]) -> Self {
        Self(U256::from_be_bytes(bytes))
    }

    /// The 32 bytes, most significant first.
    #[must_use]
    pub fn to_be_bytes(self) -> [u8; 32] {
        self.0.to_be_bytes()
    }

    /// The most significant 32 bits: what a kernel compares before the host compares all.
    #[must_use]
    pub fn top_word(self) -> u32 {
        let top = self.0 >> 224usize;
        u32::try_from(top).expect("256 bits shifted right by 224 leave 32")
    }

    /// Whether `hash`, read as a little-endian number, is no larger than the target.
    #[inline]
    #[must_use]
    pub fn is_met_by(&self, hash: &Hash256) -> bool {
        U256::from_le_bytes(*hash.as_bytes()) <= self.0
    }

    /// `self * numerator / denominator`, at most `limit`.
    ///
    /// The product is taken in 320 bits, so it never wraps. Bitcoin Core multiplies in 256 bits,
    /// which is the same on every network that retargets: their limits leave room for the factor.
    #[must_use]
    pub fn scaled(self, numerator: u32, denominator: u32, limit: Self) -> Self {
        let product = U320::from(self.0) * U320::from(numerator);
        let scaled = product / U320::from(denominator);
        if scaled > U320::from(limit.0) { limit } else { Self(scaled.to::<U256>()) }
    }

    /// `self * factor * 2^shift`, rounded down, at least 1 and at most `limit`.
    ///
    /// Exact in 320 bits: the product takes 288, and one that a left shift would carry beyond 256
    /// is above every limit.
    #[must_use]
    pub(crate) fn scaled_by_power(self, factor: u32, shift: i32, limit: Self) -> Self {
        let product = U320::from(self.0) * U320::from(factor);
        let bits = shift.unsigned_abs() as usize;
        let scaled = if shift <= 0 {
            product >> bits
        } else if product.is_zero() || product.bit_len().saturating_add(bits) <= 256 {
            product << bits
        } else {
            U320::from(limit.0)
        };
        let scaled = scaled.max(U320::ONE).min(U320::from(limit.0));
        Self(scaled.to::<U256>())
    }

    /// The compact form, with the low bits that do not fit cut off.
    /// (Bitcoin Core: `arith_uint256::GetCompact`.)
    #[must_use]
    pub fn to_compact(self) -> CompactTarget {
        let mut size = self.0.bit_len().div_ceil(8);
        let mut mantissa = if size <= 3 {
            self.0.to::<u32>() << (8 * (3 - size))
        } else {
            (self.0 >> (8 * (size - 3))).to::<u32>()
        };
        // A mantissa with its top bit set would read as negative.
        if mantissa & SIGN != 0 {
            mantissa >>= 8;
            size += 1;
        }
        let size = u32::try_from(size).expect("a 256-bit number has at most 33 bytes of size");
        CompactTarget(size << 24 | mantissa)
    }

    /// The expected number of hashes to meet this target, 2^256 / (target + 1), rounded down.
    /// (Bitcoin Core: `GetBlockProof`.)
    #[must_use]
    pub fn work(self) -> Work {
        // 2^256 does not fit; ~t / (t + 1) + 1 is the same number, but for t = 2^256 - 1.
        match self.0.checked_add(U256::ONE) {
            Some(divisor) => Work::from_u256(!self.0 / divisor + U256::ONE),
            None => Work::from_u256(U256::ONE),
        }
    }
}

impl fmt::Display for CompactTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

impl fmt::Debug for CompactTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CompactTarget({self})")
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:064x}", self.0)
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(bits: u32) -> Result<String, InvalidBits> {
        CompactTarget::from_bits(bits).decode().map(|target| format!("{:x}", target.0))
    }

    /// The cases of Bitcoin Core's `bignum_SetCompact` test (`src/test/arith_uint256_tests.cpp`).
    #[test]
    fn decodes_as_core_does() {
        for zero in [0, 0x0012_3456, 0x0100_3456, 0x0200_0056, 0x0300_0000, 0x0400_0000] {
            assert_eq!(decode(zero), Err(InvalidBits::Zero), "{zero:08x}");
        }
        // Core: a zero mantissa is never negative.
        for zero in [0x0092_3456, 0x0180_3456, 0x0280_0056, 0x0380_0000, 0x0480_0000] {
            assert_eq!(decode(zero), Err(InvalidBits::Zero), "{zero:08x}");
        }
        assert_eq!(decode(0x0112_3456).as_deref(), Ok("12"));
        assert_eq!(decode(0x01fe_dcba), Err(InvalidBits::Negative));
        assert_eq!(decode(0x0212_3456).as_deref(), Ok("1234"));
        assert_eq!(decode(0x0312_3456).as_deref(), Ok("123456"));
        assert_eq!(decode(0x0412_3456).as_deref(), Ok("12345600"));
        assert_eq!(decode(0x0492_3456), Err(InvalidBits::Negative));
        assert_eq!(decode(0x0500_9234).as_deref(), Ok("92340000"));
        let large = decode(0x2012_3456).expect("fits");
        assert_eq!((large.len(), &large[..6]), (64, "123456"));
        assert_eq!(decode(0xff12_3456), Err(InvalidBits::Overflow));
        // The three overflow edges.
        assert!(decode(0x2200_00ff).is_ok());
        assert_eq!(decode(0x2300_00ff), Err(InvalidBits::Overflow));
        assert!(decode(0x2100_ffff).is_ok());
        assert_eq!(decode(0x2200_ffff), Err(InvalidBits::Overflow));
        assert!(decode(0x207f_ffff).is_ok());
        assert_eq!(decode(0x217f_ffff), Err(InvalidBits::Overflow));
    }

    /// At every size, also where the mantissa lies across a limb or the middle.
    #[test]
    fn decodes_as_a_shift_of_256_bits_does() {
        for size in 3..=32 {
            for mantissa in [1, 0x80, 0xff, 0x1234, 0x8000, 0x01_0000, 0x12_3456, MANTISSA] {
                let bits = CompactTarget(size << 24 | mantissa);
                let shifted = U256::from(mantissa) << (8 * (size as usize - 3));
                assert_eq!(bits.decode(), Ok(Target(shifted)), "{bits}");
            }
        }
    }

    #[test]
    fn encodes_as_core_does() {
        for bits in [0x0112_0000, 0x0212_3400, 0x0312_3456, 0x0412_3456, 0x0500_9234, 0x1d00_ffff] {
            let target = CompactTarget::from_bits(bits).decode().expect("a target");
            assert_eq!(target.to_compact().to_bits(), bits, "{bits:08x}");
        }
        assert_eq!(Target(U256::from(0x80)).to_compact().to_bits(), 0x0200_8000);
        assert_eq!(Target::MAX.to_compact().to_bits(), 0x2100_ffff);
    }

    #[test]
    fn limit_is_inclusive() {
        let limit = CompactTarget::from_bits(0x1d00_ffff).decode().expect("a target");
        assert!(CompactTarget::from_bits(0x1d00_ffff).decode_within(limit).is_ok());
        let above = CompactTarget::from_bits(0x1d01_0000).decode_within(limit);
        assert_eq!(above, Err(InvalidBits::AboveLimit));
    }

    #[test]
    fn scaling_never_wraps() {
        let regtest = CompactTarget::from_bits(0x207f_ffff).decode().expect("a target");
        assert_eq!(regtest.scaled(u32::MAX, 1, regtest), regtest);
        let halved = regtest.scaled(1, 2, regtest);
        assert_eq!(halved.to_compact().to_bits(), 0x203f_ffff);
        assert_eq!(Target::MAX.scaled(7, 7, Target::MAX), Target::MAX);
    }

    #[test]
    fn work_of_the_first_block() {
        let target = CompactTarget::from_bits(0x1d00_ffff).decode().expect("a target");
        assert!(target.work().to_string().ends_with("0000000100010001"));
        assert_eq!(target.top_word(), 0);
        assert!(Target::MAX.work().to_string().ends_with("01"));
        assert_eq!(Target::MAX.top_word(), u32::MAX);
    }
}
