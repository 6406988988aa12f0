//! Headers to try one after the other: all nonces of one version, then those of the next.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::AtomicBool;

use crate::compute::Backend;
use crate::primitives::{Header, InvalidBits, Target};

use super::grind::{Grind, Ground, grind_in_turn};

/// The nonces of one header.
const NONCES: u64 = 1 << 32;

/// The bits of a header's version that a miner may choose. (BIP320; BIP310 calls this the version-rolling
/// mask.)
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VersionMask(u32);

impl VersionMask {
    /// No bit: the version stays as it is.
    pub const NONE: Self = Self(0);

    /// Bits 13 to 28, which say nothing about the rules of a block. (BIP320)
    pub const BIP320: Self = Self(0x1fff_e000);

    /// Some of the bits of [`VersionMask::BIP320`]; `None` if there are others among them.
    #[must_use]
    pub const fn from_bits(bits: u32) -> Option<Self> {
        if bits & !Self::BIP320.0 == 0 { Some(Self(bits)) } else { None }
    }

    /// The bits in their places in a version.
    #[must_use]
    pub const fn to_bits(self) -> u32 {
        self.0
    }

    /// The number of different versions.
    const fn count(self) -> u64 {
        1 << self.0.count_ones()
    }

    /// Which of these versions one is: what its free bits make, side by side.
    fn number_of(self, version: i32) -> u64 {
        let bits = version.cast_unsigned();
        let places = self.places().enumerate();
        places.map(|(index, place)| u64::from(bits >> place & 1) << index).sum()
    }

    /// The same version with other free bits.
    fn with_number(self, version: i32, number: u64) -> i32 {
        let kept = version.cast_unsigned() & !self.0;
        let bit = |(index, place)| if number >> index & 1 == 1 { 1u32 << place } else { 0 };
        let free: u32 = self.places().enumerate().map(bit).sum();
        (kept | free).cast_signed()
    }

    /// Where its bits are, lowest first.
    fn places(self) -> impl Iterator<Item = u32> {
        (0..u32::BITS).filter(move |place| self.0 >> place & 1 == 1)
    }
}

impl fmt::Display for VersionMask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// Why a text names no bits that a miner may choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VersionMaskError {
    /// It is no number.
    #[error("a mask is up to 8 hex digits, such as {}", VersionMask::BIP320)]
    NotHex,
    /// Other bits tell rules apart.
    #[error(
        "only the bits of {} are free: others say which rules a block follows (BIP320)",
        VersionMask::BIP320
    )]
    NotFree,
}

impl FromStr for VersionMask {
    type Err = VersionMaskError;

    fn from_str(text: &str) -> Result<Self, VersionMaskError> {
        let digits = text.strip_prefix("0x").unwrap_or(text);
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(VersionMaskError::NotHex);
        }
        let bits = u32::from_str_radix(digits, 16).map_err(|_| VersionMaskError::NotHex)?;
        Self::from_bits(bits).ok_or(VersionMaskError::NotFree)
    }
}

/// Headers to try, from one on: those with the nonces above its own, then all nonces of each version above
/// its own that differs from it in free bits alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeaderRange {
    first: Header,
    target: Target,
    mask: VersionMask,
    count: u64,
}

impl HeaderRange {
    /// All headers from `first` on.
    ///
    /// # Errors
    /// If its bits name no target.
    pub fn starting_at(first: Header, mask: VersionMask) -> Result<Self, InvalidBits> {
        let target = first.bits().decode()?;
        let versions = mask.count() - mask.number_of(first.version());
        let count = versions * NONCES - u64::from(first.nonce());
        Ok(Self { first, target, mask, count })
    }

    /// At most the first `count` of them.
    #[must_use]
    pub fn take(self, count: u64) -> Self {
        Self { count: self.count.min(count), ..self }
    }

    /// What is left behind the first `tried`; `None` if that is nothing.
    #[must_use]
    pub fn skip(self, tried: u64) -> Option<Self> {
        let count = self.count.checked_sub(tried).filter(|left| *left > 0)?;
        Some(Self { first: self.header(tried), count, ..self })
    }

    /// The first header.
    #[must_use]
    pub const fn first(&self) -> &Header {
        &self.first
    }

    /// The last header; the first one if there is none.
    #[must_use]
    pub fn last(&self) -> Header {
        self.header(self.count.saturating_sub(1))
    }

    /// What the id of a header has to meet.
    #[must_use]
    pub const fn target(&self) -> Target {
        self.target
    }

    /// The number of headers.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// How many hashes it will take, about: as many as the target asks for, or one for each header.
    #[must_use]
    pub fn expected_hashes(&self) -> f64 {
        self.target.work().to_f64().min(self.count as f64)
    }

    /// Tries them in order; tells `tried` now and then how many are tried, and at the end how many were; ends
    /// early once `stop` is set.
    pub fn grind(&self, backend: &dyn Backend, tried: impl Fn(u64), stop: &AtomicBool) -> Ground {
        grind_in_turn(&mut self.grinds(), backend, &tried, stop)
    }

    /// The header with this number, counted from zero.
    fn header(&self, number: u64) -> Header {
        let place = u64::from(self.first.nonce()) + number;
        let version = self.first.version();
        let number = self.mask.number_of(version) + place / NONCES;
        let nonce = u32::try_from(place % NONCES).expect("a remainder of 2^32");
        self.first.with_version(self.mask.with_number(version, number)).with_nonce(nonce)
    }

    /// The headers of each version.
    fn grinds(self) -> impl Iterator<Item = Grind> {
        let mut rest = (self.count > 0).then_some(self);
        std::iter::from_fn(move || {
            let range = rest.take()?;
            let first = range.first.nonce();
            let count = range.count.min(NONCES - u64::from(first));
            rest = range.skip(count);
            let last = range.take(count).last().nonce();
            Some(Grind { header: range.first, target: range.target, first, last })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::{Cpu, published_header};

    fn range(version: i32, nonce: u32, rolled: u32) -> HeaderRange {
        let first = published_header().with_version(version).with_nonce(nonce);
        HeaderRange::starting_at(first, VersionMask::from_bits(rolled).expect("free bits"))
            .expect("bits")
    }

    fn steps(range: HeaderRange) -> Vec<(u32, u32, u32)> {
        let step = |grind: Grind| (grind.header.version().cast_unsigned(), grind.first, grind.last);
        range.grinds().map(step).collect()
    }

    #[test]
    fn nonces_come_first_and_then_free_bits_of_the_version() {
        let max = u32::MAX;
        // Bits 13, 15 and 28, the second of which is set; bits that are not free stay.
        let rolled = 1 << 13 | 1 << 15 | 1 << 28;
        let all = range(0x2000_8001, 7, rolled);
        assert_eq!(all.count(), 6 * NONCES - 7);
        let versions =
            [0x2000_8001, 0x2000_a001, 0x3000_0001, 0x3000_2001, 0x3000_8001, 0x3000_a001];
        let expected = versions.map(|version| (version, 0, max));
        let mut of_all = steps(all);
        assert_eq!(of_all[0], (0x2000_8001, 7, max));
        of_all[0].1 = 0;
        assert_eq!(of_all, expected);
        assert_eq!(all.last().version(), 0x3000_a001);
        assert_eq!(all.last().nonce(), max);
        // A sign says nothing; no free bit is no other version.
        assert_eq!(range(-1, 0, 0x1fff_e000).count(), NONCES);
        assert_eq!(steps(range(-1, max, 0)), [(u32::MAX, max, max)]);
        assert_eq!(range(0x2000_0000, 0, 0x1fff_e000).count(), NONCES << 16);
    }

    #[test]
    fn a_range_goes_on_where_it_was_left() {
        let all = range(0x2000_0000, u32::MAX - 9, 0x1fff_e000).take(10 + NONCES + 5);
        let max = u32::MAX;
        let (one, two, three) = (0x2000_0000, 0x2000_2000, 0x2000_4000);
        assert_eq!(steps(all), [(one, max - 9, max), (two, 0, max), (three, 0, 4)]);
        let after = |tried| steps(all.skip(tried).expect("some"));
        assert_eq!(after(0), steps(all));
        assert_eq!(after(9), [(one, max, max), (two, 0, max), (three, 0, 4)]);
        assert_eq!(after(10), [(two, 0, max), (three, 0, 4)]);
        assert_eq!(after(11), [(two, 1, max), (three, 0, 4)]);
        assert_eq!(after(10 + NONCES + 4), [(three, 4, 4)]);
        for none in [10 + NONCES + 5, 10 + NONCES + 6, u64::MAX] {
            assert_eq!(all.skip(none), None);
        }
        assert!(steps(all.take(0)).is_empty());
        assert_eq!(all.take(u64::MAX), all);
    }

    #[test]
    fn a_solution_of_a_later_version_is_found_and_counted() {
        // One in 65,536 ids meets this target.
        let mut bytes = *published_header().as_bytes();
        bytes[72..76].copy_from_slice(&0x1f00_ffffu32.to_le_bytes());
        let first = Header::from_bytes(bytes).with_nonce(u32::MAX - 99);
        let all = HeaderRange::starting_at(first, VersionMask::BIP320).expect("bits");
        let wins = |number: &u64| {
            let header = all.header(*number);
            header.is_solved_by(&header.id())
        };
        let right = (0..1 << 22).find(wins).expect("one in 65,536 wins");
        assert!(right > 100, "of the second version");
        let cpu = Cpu::new(1).expect("a thread");
        let tried = std::cell::Cell::new(0);
        let grind = |range: HeaderRange| {
            range.grind(&cpu, |count| tried.set(count), &AtomicBool::new(false))
        };
        assert_eq!(grind(all), Ground::Found(all.header(right)));
        assert_eq!(tried.get(), right + 1);
        assert_eq!(grind(all.take(right)), Ground::Exhausted);
        assert_eq!(tried.get(), right);
        let rest = all.skip(right).expect("the winner");
        assert_eq!(grind(rest), Ground::Found(*rest.first()));
    }

    #[test]
    fn only_free_bits_make_a_mask() {
        for (text, bits) in [("1fffe000", 0x1fff_e000), ("0x2000", 1 << 13), ("0", 0)] {
            assert_eq!(text.parse::<VersionMask>().map(VersionMask::to_bits), Ok(bits), "{text}");
        }
        for text in ["", "0x", "+2000", "2000000000", "xyz", "-1"] {
            assert_eq!(text.parse::<VersionMask>(), Err(VersionMaskError::NotHex), "{text}");
        }
        for text in ["20000000", "1000", "ffffffff"] {
            assert_eq!(text.parse::<VersionMask>(), Err(VersionMaskError::NotFree), "{text}");
        }
    }
}
