//! The field of integers modulo p = 2^255 - 19, four elements at a time.
//!
//! **Layout.** An element is ten limbs in mixed radix 2^25.5 (Bernstein, "Curve25519: new
//! Diffie-Hellman speed records", 2006): limb `i` weighs 2^ceil(25.5 i), so even limbs are 26 bits
//! wide and odd ones 25. In memory two limbs share a word, the even one below: a [`Words`] is an
//! element in 40 bytes. A [`Fe4`] is five vectors of four words, word `j` of four elements, one
//! element in each lane. The instruction that multiplies, `vpmuludq`, reads the lower half of each
//! word, so the even limbs are ready as they lie, and the odd ones after a shift.
//!
//! **Bounds.** Limbs are unsigned and never negative; nothing is carried between limbs but in
//! [`Fe4::mul`], [`Fe4::square`] and [`Fe4::carry`]. With e = 2^26 + 2^18, a grade bounds the even
//! limbs, and the odd ones by half of that:
//!
//! | grade | even limbs | odd limbs | what has it |
//! | --- | --- | --- | --- |
//! | [`REDUCED`] | e | e / 2 | results of `mul`, `square`, `carry`; canonical elements |
//! | [`LOOSE`] | 3 e | 3 e / 2 | `a + b`, `a + b + c` and `a - b` of reduced ones |
//! | [`WIDE`] | 4 e | 2 e | `a + b - c` of reduced ones |
//!
//! Subtracting adds 2p, whose limbs are 2^27 - 38, 2^26 - 2, 2^27 - 2, ..., so that no limb becomes
//! negative: each of these is at least a reduced limb and at most two of them.
//!
//! *A product* takes a wide and a loose factor. Limbs of the loose one are multiplied by 19
//! beforehand: 19 * 3e < 2^31.84 fits 32 bits. Odd limbs of the wide one are doubled where they meet
//! odd limbs, and become 4e at most. A limb of the product is a sum of ten products of limbs. In an
//! even limb five of these are even times even, each at most 4e * 19 * 3e, and five odd times odd,
//! doubled, each at most half of that: together at most 7.5 * 228 e^2 < 2^62.75. In an odd limb all
//! ten are even times odd, at most 10 * 114 e^2. So nothing overflows 64 bits.
//!
//! *A square* takes a loose element. It sums the same products, in pairs. Their factors are at most
//! four times an odd limb or twice an even one, 6e, and 19 times a limb as above.
//!
//! *Carrying* a product, limb to limb, brings every even limb below 2^26 and every odd one below
//! 2^25, but for two that receive a carry last. Limb 5 receives what is above 26 bits of limb 4, which
//! by then holds 26 bits and a carry of at most 2^(62.75 - 25): less than 2^12. Limb 1 receives what
//! is above 26 bits of limb 0, which by then holds 26 bits and 19 times the carry of limb 9, below
//! 19 * 2^37.8: less than 2^17. Both stay within e / 2 = 2^25 + 2^17.
//!
//! Debug builds check every limb that goes into a product and comes out of one.

use std::arch::x86_64::{
    __m256i, _mm256_add_epi32, _mm256_add_epi64, _mm256_and_si256, _mm256_blend_epi32,
    _mm256_blendv_epi8, _mm256_cmpeq_epi64, _mm256_mul_epu32, _mm256_or_si256,
    _mm256_permute4x64_epi64, _mm256_set1_epi64x, _mm256_setzero_si256, _mm256_slli_epi64,
    _mm256_srli_epi64, _mm256_sub_epi32,
};

use super::product::{Limbs, Multiples, products, squares};

/// One element in memory: word `j` holds limb `2j` in its lower and limb `2j + 1` in its upper half.
pub(super) type Words = [u64; 5];

/// The largest even and the largest odd limb of a grade.
pub(super) type Grade = (u32, u32);
pub(super) const REDUCED: Grade = ((1 << 26) + (1 << 18), (1 << 25) + (1 << 17));
pub(super) const LOOSE: Grade = (3 * REDUCED.0, 3 * REDUCED.1);
pub(super) const WIDE: Grade = (4 * REDUCED.0, 4 * REDUCED.1);

const _: () = {
    assert!(REDUCED.0 <= (1 << 27) - 38 && (1 << 27) - 2 <= 2 * REDUCED.0);
    assert!(REDUCED.1 <= (1 << 26) - 2 && (1 << 26) - 2 <= 2 * REDUCED.1);
    assert!(19 * LOOSE.0 as u64 <= u32::MAX as u64 && 38 * LOOSE.1 as u64 <= u32::MAX as u64);
    // The largest limbs of a product, as the head of this file counts them.
    let (wide, loose) = (WIDE.0 as u128, LOOSE.0 as u128);
    assert!(WIDE.0 == 2 * WIDE.1 && LOOSE.0 == 2 * LOOSE.1);
    assert!(19 * 15 * wide * loose / 2 < 1 << 63);
};

const fn word(even: u32, odd: u32) -> u64 {
    even as u64 | (odd as u64) << 32
}

/// 2p, each limb twice that of p.
const TWO_P: Words = {
    let rest = word((1 << 27) - 2, (1 << 26) - 2);
    [word((1 << 27) - 38, (1 << 26) - 2), rest, rest, rest, rest]
};

pub(super) const ZERO: Words = [0; 5];
pub(super) const ONE: Words = [1, 0, 0, 0, 0];

/// The element of 32 bytes, least significant first, whose highest bit is not looked at. Reduced; not
/// canonical if the bytes are not.
pub(super) const fn words_of(bytes: &[u8; 32]) -> Words {
    // Limbs 0 to 4 are the lower 128 bits, but for the topmost; limbs 5 to 9 those above.
    let (low, high) = bytes.split_at(16);
    let (mut halves, mut i) = ([0u128; 2], 16);
    while i > 0 {
        i -= 1;
        halves = [halves[0] << 8 | low[i] as u128, halves[1] << 8 | high[i] as u128];
    }
    let [low, high] = halves;
    [
        word(bits(low, 0, 26), bits(low, 26, 25)),
        word(bits(low, 51, 26), bits(low, 77, 25)),
        word(bits(low, 102, 26), bits(high, 0, 25)),
        word(bits(high, 25, 26), bits(high, 51, 25)),
        word(bits(high, 76, 26), bits(high, 102, 25)),
    ]
}

/// So many bits of `number`, at most 26, from bit `at` up.
#[expect(clippy::cast_possible_truncation, reason = "what is cut off is not asked for")]
const fn bits(number: u128, at: u32, count: u32) -> u32 {
    (number >> at) as u32 & ((1 << count) - 1)
}

/// The 32 bytes of a canonical element, least significant first.
pub(super) fn bytes_of(words: &Words) -> [u8; 32] {
    let limb = |i: usize| u128::from(words[i / 2] >> (32 * (i % 2))) & u128::from(u32::MAX);
    let low = limb(0) | limb(1) << 26 | limb(2) << 51 | limb(3) << 77 | limb(4) << 102;
    let high = limb(5) | limb(6) << 25 | limb(7) << 51 | limb(8) << 76 | limb(9) << 102;
    let mut bytes = [0; 32];
    bytes[..16].copy_from_slice(&low.to_le_bytes());
    bytes[16..].copy_from_slice(&high.to_le_bytes());
    bytes
}

/// Four elements, one in each lane.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fe4([__m256i; 5]);

impl Fe4 {
    /// The same element in each lane.
    #[target_feature(enable = "avx2")]
    #[inline]
    pub(super) fn splat(words: &Words) -> Self {
        let [a, b, c, d, e] = *words;
        let word = |word: u64| _mm256_set1_epi64x(word.cast_signed());
        Self([word(a), word(b), word(c), word(d), word(e)])
    }

    /// The element of each lane.
    #[target_feature(enable = "avx2")]
    #[inline]
    pub(super) fn from_lanes(lanes: [&Words; 4]) -> Self {
        Self(std::array::from_fn(|j| bytemuck::cast(lanes.map(|words| words[j]))))
    }

    /// The element of each lane, as they are: carried no further.
    #[target_feature(enable = "avx2")]
    #[inline]
    pub(super) fn to_lanes(self) -> [Words; 4] {
        let columns: [[u64; 4]; 5] = bytemuck::cast(self.0);
        std::array::from_fn(|lane| columns.map(|column| column[lane]))
    }

    /// Five vectors as they lie in memory.
    pub(super) const fn from_vectors(vectors: [__m256i; 5]) -> Self {
        Self(vectors)
    }

    /// The five vectors.
    pub(super) const fn vectors(self) -> [__m256i; 5] {
        self.0
    }

    /// a + b. The bounds of the limbs add up.
    #[target_feature(enable = "avx2")]
    #[inline]
    pub(super) fn add(self, other: Self) -> Self {
        let ([a, b, c, d, e], [f, g, h, i, j]) = (self.0, other.0);
        let sum = |a, b| _mm256_add_epi32(a, b);
        Self([sum(a, f), sum(b, g), sum(c, h), sum(d, i), sum(e, j)])
    }

    /// a - b + 2p for a reduced b. The bounds of the limbs grow by two reduced ones.
    #[target_feature(enable = "avx2")]
    #[inline]
    pub(super) fn sub(self, other: Self) -> Self {
        other.assert_within(REDUCED);
        let raised = self.add(Self::splat(&TWO_P));
        let ([a, b, c, d, e], [f, g, h, i, j]) = (raised.0, other.0);
        let difference = |a, b| _mm256_sub_epi32(a, b);
        Self([
            difference(a, f),
            difference(b, g),
            difference(c, h),
            difference(d, i),
            difference(e, j),
        ])
    }

    /// In each lane `b` where the bits of `mask` are set, and `a` elsewhere.
    #[target_feature(enable = "avx2")]
    #[inline]
    pub(super) fn select(a: Self, b: Self, mask: __m256i) -> Self {
        let ([a, b, c, d, e], [f, g, h, i, j]) = (a.0, b.0);
        let either = |a, b| _mm256_blendv_epi8(a, b, mask);
        Self([either(a, f), either(b, g), either(c, h), either(d, i), either(e, j)])
    }

    /// Lanes moved: `FROM` has two bits for each lane, which say where it comes from.
    #[target_feature(enable = "avx2")]
    #[inline]
    pub(super) fn lanes<const FROM: i32>(self) -> Self {
        let [a, b, c, d, e] = self.0;
        let moved = |word| _mm256_permute4x64_epi64::<FROM>(word);
        Self([moved(a), moved(b), moved(c), moved(d), moved(e)])
    }

    /// Zero, but in those lanes for which `WHICH` has two bits set.
    #[target_feature(enable = "avx2")]
    #[inline]
    pub(super) fn only<const WHICH: i32>(self) -> Self {
        let [a, b, c, d, e] = self.0;
        let only = |word| _mm256_blend_epi32::<WHICH>(_mm256_setzero_si256(), word);
        Self([only(a), only(b), only(c), only(d), only(e)])
    }

    /// The product of a wide and a loose element, reduced.
    #[target_feature(enable = "avx2")]
    #[inline]
    pub(super) fn mul(self, loose: Self) -> Self {
        self.times(&loose.factor())
    }

    /// A loose element made ready to be multiplied with others, once for all of them.
    #[target_feature(enable = "avx2")]
    #[inline]
    pub(super) fn factor(self) -> Multiples {
        self.assert_within(LOOSE);
        Multiples::of(&self.unpack())
    }

    /// The product of a wide element and a loose one that was made ready, reduced.
    #[target_feature(enable = "avx2")]
    #[inline]
    pub(super) fn times(self, loose: &Multiples) -> Self {
        self.assert_within(WIDE);
        let product = Self::pack(carry(products(&self.unpack(), loose)));
        product.assert_within(REDUCED);
        product
    }

    /// The square of a loose element, reduced.
    #[target_feature(enable = "avx2")]
    #[inline]
    pub(super) fn square(self) -> Self {
        let [square] = Self::square_times([self], 1);
        square
    }

    /// The elements to the power 2^`times`, reduced, `times` being at least 1. Several at a time, so
    /// that one is multiplied while the carries of another wait for each other.
    #[target_feature(enable = "avx2")]
    #[inline]
    pub(super) fn square_times<const N: usize>(of: [Self; N], times: u32) -> [Self; N] {
        let mut limbs = of.map(|one| {
            one.assert_within(LOOSE);
            one.unpack()
        });
        for _ in 0..times {
            for one in &mut limbs {
                *one = carry(squares(&Multiples::of(one)));
            }
        }
        limbs.map(|one| {
            let square = Self::pack(one);
            square.assert_within(REDUCED);
            square
        })
    }

    /// The same element, reduced. Limbs may be anything below 2^31.
    #[target_feature(enable = "avx2")]
    #[inline]
    pub(super) fn carry(self) -> Self {
        Self::pack(carry(self.unpack_clean()))
    }

    /// The canonical element, in 0..p, of a reduced one.
    #[target_feature(enable = "avx2")]
    #[inline]
    pub(super) fn canonical(self) -> Self {
        self.assert_within(REDUCED);
        // After carrying, limbs 1 and 5 exceed their widths by one at most, for only carries of 0 and 1
        // came to them last. So the value is below 2^255 + 2^129 < 2p, and it is at least p exactly if
        // adding 19 carries out of 255 bits.
        let mut limbs = carry(self.unpack_clean());
        let nineteen = _mm256_set1_epi64x(19);
        let mut over = nineteen;
        for pair in limbs.as_chunks::<2>().0 {
            over = _mm256_srli_epi64::<26>(_mm256_add_epi64(pair[0], over));
            over = _mm256_srli_epi64::<25>(_mm256_add_epi64(pair[1], over));
        }
        // Less p is plus 19, less 2^255.
        limbs[0] = _mm256_add_epi64(limbs[0], _mm256_mul_epu32(over, nineteen));
        for i in (0..8).step_by(2) {
            (limbs[i], limbs[i + 1]) = carry_even(limbs[i], limbs[i + 1]);
            (limbs[i + 1], limbs[i + 2]) = carry_odd(limbs[i + 1], limbs[i + 2]);
        }
        (limbs[8], limbs[9]) = carry_even(limbs[8], limbs[9]);
        limbs[9] = _mm256_and_si256(limbs[9], _mm256_set1_epi64x((1 << 25) - 1));
        Self::pack(limbs)
    }

    /// All bits set in each lane whose element, a reduced one, is zero.
    #[target_feature(enable = "avx2")]
    #[inline]
    pub(super) fn is_zero(self) -> __m256i {
        let [a, b, c, d, e] = self.canonical().0;
        let any = _mm256_or_si256(_mm256_or_si256(a, b), _mm256_or_si256(c, d));
        _mm256_cmpeq_epi64(_mm256_or_si256(any, e), _mm256_setzero_si256())
    }

    /// The limbs apart. Upper halves of the even ones hold their neighbours still.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn unpack(self) -> Limbs {
        let [a, b, c, d, e] = self.0;
        let odd = |word| _mm256_srli_epi64::<32>(word);
        [a, odd(a), b, odd(b), c, odd(c), d, odd(d), e, odd(e)]
    }

    /// The limbs apart, and nothing else.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn unpack_clean(self) -> Limbs {
        let lower = _mm256_set1_epi64x(i64::from(u32::MAX));
        let mut limbs = self.unpack();
        for limb in limbs.iter_mut().step_by(2) {
            *limb = _mm256_and_si256(*limb, lower);
        }
        limbs
    }

    /// The limbs together. Upper halves must be empty.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn pack(limbs: Limbs) -> Self {
        let [a, b, c, d, e, f, g, h, i, j] = limbs;
        let word = |even, odd| _mm256_or_si256(even, _mm256_slli_epi64::<32>(odd));
        Self([word(a, b), word(c, d), word(e, f), word(g, h), word(i, j)])
    }

    /// Debug builds panic if a limb is too large.
    #[inline]
    fn assert_within(self, (even_max, odd_max): Grade) {
        if cfg!(debug_assertions) {
            let limbs: [[u32; 8]; 5] = bytemuck::cast(self.0);
            for pair in limbs.as_flattened().as_chunks::<2>().0 {
                assert!(pair[0] <= even_max && pair[1] <= odd_max, "{pair:x?}");
            }
        }
    }
}

/// Carries from limb to limb, in two chains at a time, as the head of this file describes.
#[target_feature(enable = "avx2")]
#[inline]
fn carry(z: Limbs) -> Limbs {
    let [z0, z1, z2, z3, z4, z5, z6, z7, z8, z9] = z;
    let (z0, z1) = carry_even(z0, z1);
    let (z4, z5) = carry_even(z4, z5);
    let (z1, z2) = carry_odd(z1, z2);
    let (z5, z6) = carry_odd(z5, z6);
    let (z2, z3) = carry_even(z2, z3);
    let (z6, z7) = carry_even(z6, z7);
    let (z3, z4) = carry_odd(z3, z4);
    let (z7, z8) = carry_odd(z7, z8);
    let (z4, z5) = carry_even(z4, z5);
    let (z8, z9) = carry_even(z8, z9);
    // What is above 2^255 counts 19 = 16 + 2 + 1 times; it has more than 32 bits.
    let above = _mm256_srli_epi64::<25>(z9);
    let thrice = _mm256_add_epi64(above, _mm256_slli_epi64::<1>(above));
    let z0 = _mm256_add_epi64(z0, _mm256_add_epi64(thrice, _mm256_slli_epi64::<4>(above)));
    let z9 = _mm256_and_si256(z9, _mm256_set1_epi64x((1 << 25) - 1));
    let (z0, z1) = carry_even(z0, z1);
    [z0, z1, z2, z3, z4, z5, z6, z7, z8, z9]
}

/// Cuts an even limb to its width; the rest goes to the next one.
#[target_feature(enable = "avx2")]
#[inline]
fn carry_even(limb: __m256i, next: __m256i) -> (__m256i, __m256i) {
    let cut = _mm256_and_si256(limb, _mm256_set1_epi64x((1 << 26) - 1));
    (cut, _mm256_add_epi64(next, _mm256_srli_epi64::<26>(limb)))
}

/// The same for an odd limb.
#[target_feature(enable = "avx2")]
#[inline]
fn carry_odd(limb: __m256i, next: __m256i) -> (__m256i, __m256i) {
    let cut = _mm256_and_si256(limb, _mm256_set1_epi64x((1 << 25) - 1));
    (cut, _mm256_add_epi64(next, _mm256_srli_epi64::<25>(limb)))
}
