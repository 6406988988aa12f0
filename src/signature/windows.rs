//! How scalars are cut into digits for sums of many multiples, whatever adds up the points.
//!
//! Pippenger's algorithm ("On the evaluation of powers and related problems", 1976) in the form of
//! Bernstein, Doumen, Lange and Oosterwijk ("Faster batch forgery identification", 2012): with the
//! scalars cut into windows of w bits, a window's points go into one bucket for each digit, and the
//! buckets are then summed with their digits as weights. In a vector unit each lane has a window and
//! buckets of its own, so that one addition puts a point into a bucket of each of a *group* of windows.
//!
//! **Digits.** Adding the constant K, which is 2^(w-1) in every window, to a scalar, and taking
//! 2^(w-1) away from every window of the sum, changes nothing; what is left in each window is a digit
//! from -2^(w-1) to 2^(w-1) - 1. So half as many buckets do, and scalars may be negative as long as
//! they are above -K. A digit of 0 has a bucket as well, which nobody reads.

/// The bytes of a scalar plus K, and zeros behind it, so that eight can be read from anywhere.
const DIGITS_LEN: usize = 48;

/// The same in words.
const WORDS: usize = DIGITS_LEN / 8;

/// The bits of a long scalar, which is below the group order L < 2^253, and of a short one, which is
/// above -2^127.1 and below 2^127.
const LONG_BITS: u32 = 253;
///
/// With windows of 8 bits, for which `SHORT_OFFSET` is K, short scalars plus K have 128 bits; with
/// others they have up to 2^128 plus K, for which two more bits are kept.
const SHORT_BITS: u32 = 128;

/// How scalars are cut for a unit with so many lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Windows<const LANES: u32> {
    /// The bits of a window.
    pub(super) bits: u32,
    /// The groups of windows that a long scalar has, and a short one.
    pub(super) groups: u32,
    pub(super) short_groups: u32,
}

impl<const LANES: u32> Windows<LANES> {
    pub(super) const fn of(bits: u32) -> Self {
        let groups = LONG_BITS.div_ceil(LANES * bits);
        let short_bits = if bits == 8 { SHORT_BITS } else { SHORT_BITS + 2 };
        let short_groups = short_bits.div_ceil(LANES * bits);
        // Then a long scalar plus K, which is below 2^(all bits - 1) (1 + 2^(1 - w)), stays within all
        // bits. Eight bytes from any four windows' first bit on are there, and hold all of the four.
        assert!(groups * LANES * bits > LONG_BITS + 1);
        assert!(((groups * LANES - 4) * bits / 8 + 8) as usize <= DIGITS_LEN);
        assert!(4 * bits + 7 <= 64);
        Self { bits, groups, short_groups }
    }

    /// The cheapest of `all` for so many long and short scalars.
    pub(super) fn for_terms(all: &[Self], long: usize, short: usize) -> Self {
        let cost = |windows: &&Self| {
            let (groups, short_groups) = (windows.groups as usize, windows.short_groups as usize);
            // An addition of buckets has nine products, that of a point seven.
            groups * long + short_groups * short + groups * 2 * windows.half() * 9 / 7
        };
        *all.iter().min_by_key(cost).expect("there are some")
    }

    /// 2^(w-1).
    pub(super) const fn half(self) -> usize {
        1 << (self.bits - 1)
    }

    /// The bytes from which on the digits of four windows are found, from window `first` on, and how
    /// many bits to shift them.
    pub(super) fn place(self, first: u32) -> (usize, [u64; 4]) {
        let at = first * self.bits;
        let shift = |window: u32| u64::from(at % 8 + window * self.bits);
        (at as usize / 8, [shift(0), shift(1), shift(2), shift(3)])
    }

    /// K for so many groups.
    fn offset(self, groups: u32) -> [u64; WORDS] {
        let mut words = [0; WORDS];
        for window in 0..LANES * groups {
            let at = window * self.bits + self.bits - 1;
            words[at as usize / 64] |= 1 << (at % 64);
        }
        words
    }

    /// Long scalars plus K.
    pub(super) fn long_digits<'a, P>(self, terms: &[([u8; 32], &'a P)]) -> Vec<(Digits, &'a P)> {
        let offset = self.offset(self.groups);
        terms.iter().map(|(scalar, point)| (Digits::new(words(scalar), &offset), *point)).collect()
    }

    /// Short scalars plus K, less what is to be taken away from them.
    pub(super) fn short_digits<'a, P>(self, terms: &[(u128, &'a P)]) -> Vec<(Digits, &'a P)> {
        let (mut offset, mut borrow) = (self.offset(self.short_groups), false);
        for (word, byte) in offset.iter_mut().zip([0x80, 0x80, 0, 0, 0, 0]) {
            (*word, borrow) = word.borrowing_sub(u64::from_le_bytes([byte; 8]), borrow);
        }
        assert!(!borrow, "K is at least 2^7 in every byte");
        let digits = |scalar: u128| Digits::new(words(&scalar.to_le_bytes()), &offset);
        terms.iter().map(|(scalar, point)| (digits(*scalar), *point)).collect()
    }
}

/// The words of a scalar's bytes.
fn words(bytes: &[u8]) -> [u64; WORDS] {
    let (words, _) = bytes.as_chunks();
    std::array::from_fn(|i| words.get(i).map_or(0, |bytes| u64::from_le_bytes(*bytes)))
}

/// A scalar plus K.
pub(super) struct Digits([u8; DIGITS_LEN]);

impl Digits {
    #[inline]
    fn new(words: [u64; WORDS], offset: &[u64; WORDS]) -> Self {
        let (mut bytes, mut carry) = ([0; DIGITS_LEN], false);
        for ((word, offset), place) in
            words.into_iter().zip(offset).zip(bytes.as_chunks_mut::<8>().0)
        {
            let sum;
            (sum, carry) = word.carrying_add(*offset, carry);
            *place = sum.to_le_bytes();
        }
        Self(bytes)
    }

    /// Eight bytes from `at` on.
    #[inline]
    pub(super) fn word(&self, at: usize) -> u64 {
        u64::from_le_bytes(*self.0[at..].first_chunk().expect("K and zeros fill up"))
    }
}
