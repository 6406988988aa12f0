//! The field of integers modulo p = 2^255 - 19, eight elements at a time.
//!
//! **Layout.** An element is five limbs of 52 bits, least significant first: what `vpmadd52luq` and
//! `vpmadd52huq` multiply. They read the lower 52 bits of each 64-bit lane, and add the lower or the
//! upper half of the 104-bit product to a lane. A [`Fe8`] is five vectors of eight limbs, one element
//! in each lane.
//!
//! **Two kinds.** A [`Fe8`] is *reduced*: limbs 0 to 3 are below 2^52, and limb 4, of which 47 bits
//! would do, is at most [`TOP_MAX`] = 2^47 + 2^8. So the element is below 2^255 + 2^217, and every limb
//! may be multiplied. Only these can. What adding, subtracting and multiplying give are [`Sums`]: five
//! columns of up to [`SUMS_MAX`] = 2^59 with the weights of the limbs, which can be added and
//! subtracted further, and which [`Sums::carry`] makes an element.
//!
//! *A product* is ten columns at first. Column k is the sum, over all i and j, of the lower halves of
//! `x_i y_j` with i + j = k and of the upper halves with i + j = k - 1: nine halves at most, each below
//! 2^52. Carrying through columns 5 to 9 leaves what is carried in the upper bits of each, which are
//! not read any more, and column 9 holds no more than 52 bits: it is the upper half of `x_4 y_4`, which
//! is below 2^42 + 2^5, and a carry of at most 3. (Column 8 has three halves, and a carry.) As 2^260 is
//! 2^5 * 19 = 608 modulo p, columns 5 to 9 are multiplied by 608 and added to columns 0 to 4: the lower
//! half in its place, the upper one in the next. For column 9 there is no upper half, because
//! 608 (2^42 + 2^6) < 2^52. So a column of the result has up to nine halves, one more lower half, and an
//! upper half of a product with 608: at most [`PRODUCT_MAX`] = 11 * 2^52.
//!
//! *A square* sums the same halves, those with i < j once, and then doubled.
//!
//! *A difference* must not be negative in any column: [`Sums::raise`] adds [`RAISE`], a multiple of p
//! with columns of 32 * 2^52 less at most 2^15. That is more than [`PRODUCT_MAX`], and more than two
//! of it.
//!
//! *Carrying* begins at the top: what is above 47 bits in column 4, at most 2^12, counts 19 times in
//! column 0. Then from column to column, 0 to 4, all are cut to 52 bits but column 4, which receives a
//! carry of at most 2^7 + 1 and stays below [`TOP_MAX`].
//!
//! Debug builds check every limb that is multiplied and every column that is subtracted or carried.

use std::arch::x86_64::{
    __m512i, __mmask8, _mm512_add_epi64, _mm512_and_si512, _mm512_cmpeq_epi64_mask,
    _mm512_madd52hi_epu64, _mm512_madd52lo_epu64, _mm512_mask_blend_epi64, _mm512_or_si512,
    _mm512_permutex_epi64, _mm512_set1_epi64, _mm512_setzero_si512, _mm512_srli_epi64,
    _mm512_sub_epi64,
};

use super::super::curve::Bytes;

/// So many elements, one in each lane.
pub(super) const LANES: usize = 8;

/// One element in memory.
pub(super) type Words = [u64; 5];

const LIMB_BITS: u32 = 52;
const LIMB_MASK: u64 = (1 << LIMB_BITS) - 1;
const TOP_BITS: u32 = 47;
const TOP_MASK: u64 = (1 << TOP_BITS) - 1;

/// The largest limb 4 of an element.
pub(super) const TOP_MAX: u64 = (1 << TOP_BITS) + (1 << 8);
/// The largest column of a product.
pub(super) const PRODUCT_MAX: u64 = 11 << LIMB_BITS;
/// The largest column that is carried.
pub(super) const SUMS_MAX: u64 = 1 << 59;

/// 2^260 modulo p.
const FOLD: u64 = 608;

/// 2^10 p, each limb 32 times that of 2^260 - 608.
const RAISE: Words = {
    let rest = 32 * LIMB_MASK;
    [32 * (LIMB_MASK + 1 - FOLD), rest, rest, rest, rest]
};

const _: () = {
    // Column 9 of a product, with its carry, and times 608.
    let highest = ((TOP_MAX as u128 * TOP_MAX as u128) >> LIMB_BITS) + 3;
    assert!(highest <= (1 << 42) + (1 << 6));
    assert!(highest * (FOLD as u128) < 1 << LIMB_BITS);
    // Five lower halves, four upper ones, and what columns 5 to 9 come to.
    assert!(10 * LIMB_MASK + FOLD <= PRODUCT_MAX);
    assert!(2 * PRODUCT_MAX <= RAISE[0] && RAISE[0] <= RAISE[1]);
    // The most that is carried, in doubling a point: four products, raised.
    assert!(4 * PRODUCT_MAX + RAISE[1] <= SUMS_MAX);
    let above = SUMS_MAX >> TOP_BITS;
    let carry = ((SUMS_MAX + 19 * above) >> LIMB_BITS) + 1;
    assert!(TOP_MASK + carry <= TOP_MAX);
};

pub(super) const ZERO: Words = [0; 5];
pub(super) const ONE: Words = [1, 0, 0, 0, 0];

/// The element of 32 bytes, least significant first, whose highest bit is not looked at. Reduced; not
/// canonical if the bytes are not.
pub(super) const fn words_of(bytes: &Bytes) -> Words {
    let (mut words, mut i) = ([0; 4], 32);
    while i > 0 {
        i -= 1;
        words[i / 8] = words[i / 8] << 8 | bytes[i] as u64;
    }
    let [a, b, c, d] = words;
    [
        a & LIMB_MASK,
        (a >> 52 | b << 12) & LIMB_MASK,
        (b >> 40 | c << 24) & LIMB_MASK,
        (c >> 28 | d << 36) & LIMB_MASK,
        d >> 16 & TOP_MASK,
    ]
}

/// The 32 bytes of a canonical element, least significant first.
pub(super) fn bytes_of(words: &Words) -> Bytes {
    let [a, b, c, d, e] = *words;
    let words = [a | b << 52, b >> 12 | c << 40, c >> 24 | d << 28, d >> 36 | e << 16];
    bytemuck::cast(words.map(u64::to_le_bytes))
}

/// Eight elements, one in each lane; reduced.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fe8([__m512i; 5]);

/// Eight sums of elements and of products, one in each lane; not carried.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sums([__m512i; 5]);

#[target_feature(enable = "avx512ifma")]
#[inline]
fn splat(word: u64) -> __m512i {
    _mm512_set1_epi64(word.cast_signed())
}

impl Fe8 {
    /// The same element in each lane.
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub(super) fn splat(words: &Words) -> Self {
        let [a, b, c, d, e] = *words;
        Self([splat(a), splat(b), splat(c), splat(d), splat(e)])
    }

    /// The element of each lane.
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub(super) fn from_lanes(lanes: [&Words; LANES]) -> Self {
        Self(std::array::from_fn(|j| bytemuck::cast(lanes.map(|words| words[j]))))
    }

    /// The element of each lane, as they are.
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub(super) fn to_lanes(self) -> [Words; LANES] {
        let columns: [[u64; LANES]; 5] = bytemuck::cast(self.0);
        std::array::from_fn(|lane| columns.map(|column| column[lane]))
    }

    /// Five vectors as they lie in memory.
    pub(super) const fn from_vectors(vectors: [__m512i; 5]) -> Self {
        Self(vectors)
    }

    /// The five vectors.
    pub(super) const fn vectors(self) -> [__m512i; 5] {
        self.0
    }

    /// The same, to be added to and subtracted from.
    pub(super) const fn sums(self) -> Sums {
        Sums(self.0)
    }

    /// In each lane `b` where the bit of `mask` is set, and `a` elsewhere.
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub(super) fn select(a: Self, b: Self, mask: __mmask8) -> Self {
        Self(select(a.0, b.0, mask))
    }

    /// Lanes moved within each half of four: `FROM` has two bits for each lane, which say where it
    /// comes from.
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub(super) fn lanes<const FROM: i32>(self) -> Self {
        Self(lanes::<FROM>(self.0))
    }

    /// a b, not carried.
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub(super) fn product(self, other: Self) -> Sums {
        self.assert_reduced();
        other.assert_reduced();
        let (x, y) = (self.0, other.0);
        let mut z = [_mm512_setzero_si512(); 10];
        for i in 0..5 {
            for j in 0..5 {
                z[i + j] = _mm512_madd52lo_epu64(z[i + j], x[i], y[j]);
            }
            for j in 0..5 {
                z[i + j + 1] = _mm512_madd52hi_epu64(z[i + j + 1], x[i], y[j]);
            }
        }
        Sums(fold(z))
    }

    /// a^2, not carried.
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub(super) fn squared(self) -> Sums {
        self.assert_reduced();
        let x = self.0;
        let mut z = [_mm512_setzero_si512(); 10];
        for i in 0..5 {
            for j in i + 1..5 {
                z[i + j] = _mm512_madd52lo_epu64(z[i + j], x[i], x[j]);
                z[i + j + 1] = _mm512_madd52hi_epu64(z[i + j + 1], x[i], x[j]);
            }
        }
        for column in &mut z[1..9] {
            *column = _mm512_add_epi64(*column, *column);
        }
        for i in 0..5 {
            z[2 * i] = _mm512_madd52lo_epu64(z[2 * i], x[i], x[i]);
            z[2 * i + 1] = _mm512_madd52hi_epu64(z[2 * i + 1], x[i], x[i]);
        }
        Sums(fold(z))
    }

    /// a b.
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub(super) fn mul(self, other: Self) -> Self {
        self.product(other).carry()
    }

    /// The elements to the power 2^`times`. Several at a time, so that one is multiplied while the
    /// carries of another wait for each other.
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub(super) fn square_times<const N: usize>(mut of: [Self; N], times: u32) -> [Self; N] {
        for _ in 0..times {
            for one in &mut of {
                *one = one.squared().carry();
            }
        }
        of
    }

    /// The canonical element, in 0..p.
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub(super) fn canonical(self) -> Self {
        self.assert_reduced();
        // The value is below 2p, so it is at least p exactly if adding 19 carries out of 255 bits.
        let [a, b, c, d, e] = self.0;
        let mut over = splat(19);
        for limb in [a, b, c, d] {
            over = _mm512_srli_epi64::<LIMB_BITS>(_mm512_add_epi64(limb, over));
        }
        over = _mm512_srli_epi64::<TOP_BITS>(_mm512_add_epi64(e, over));
        // Less p is plus 19, less 2^255.
        let [a, b, c, d, e] = ripple([_mm512_madd52lo_epu64(a, over, splat(19)), b, c, d, e]);
        Self([a, b, c, d, _mm512_and_si512(e, splat(TOP_MASK))])
    }

    /// The lanes whose element is zero.
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub(super) fn is_zero(self) -> __mmask8 {
        let [a, b, c, d, e] = self.canonical().0;
        let any = _mm512_or_si512(_mm512_or_si512(a, b), _mm512_or_si512(c, d));
        _mm512_cmpeq_epi64_mask(_mm512_or_si512(any, e), _mm512_setzero_si512())
    }

    /// Debug builds panic if a limb is too large.
    #[inline]
    fn assert_reduced(self) {
        if cfg!(debug_assertions) {
            let limbs: [[u64; LANES]; 5] = bytemuck::cast(self.0);
            assert!(limbs[..4].as_flattened().iter().all(|limb| *limb <= LIMB_MASK), "{limbs:x?}");
            assert!(limbs[4].iter().all(|limb| *limb <= TOP_MAX), "{limbs:x?}");
        }
    }
}

impl Sums {
    /// The five columns.
    #[cfg(test)]
    pub(super) const fn vectors(self) -> [__m512i; 5] {
        self.0
    }

    /// a + b. The bounds of the columns add up.
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub(super) fn add(self, other: Self) -> Self {
        let ([a, b, c, d, e], [f, g, h, i, j]) = (self.0, other.0);
        let sum = |a, b| _mm512_add_epi64(a, b);
        Self([sum(a, f), sum(b, g), sum(c, h), sum(d, i), sum(e, j)])
    }

    /// The same sum plus a multiple of p, from which two products may be subtracted.
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub(super) fn raise(self) -> Self {
        self.add(Fe8::splat(&RAISE).sums())
    }

    /// a - b, no column of which may be negative.
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub(super) fn sub(self, other: Self) -> Self {
        if cfg!(debug_assertions) {
            let (a, b): ([u64; 5 * LANES], [u64; 5 * LANES]) =
                (bytemuck::cast(self.0), bytemuck::cast(other.0));
            assert!(a.iter().zip(&b).all(|(a, b)| a >= b), "{self:x?} - {other:x?}");
        }
        let ([a, b, c, d, e], [f, g, h, i, j]) = (self.0, other.0);
        let difference = |a, b| _mm512_sub_epi64(a, b);
        Self([
            difference(a, f),
            difference(b, g),
            difference(c, h),
            difference(d, i),
            difference(e, j),
        ])
    }

    /// In each lane `b` where the bit of `mask` is set, and `a` elsewhere.
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub(super) fn select(a: Self, b: Self, mask: __mmask8) -> Self {
        Self(select(a.0, b.0, mask))
    }

    /// The same for sums.
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub(super) fn lanes<const FROM: i32>(self) -> Self {
        Self(lanes::<FROM>(self.0))
    }

    /// The element that is the sum modulo p.
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub(super) fn carry(self) -> Fe8 {
        if cfg!(debug_assertions) {
            let columns: [u64; 5 * LANES] = bytemuck::cast(self.0);
            assert!(columns.iter().all(|column| *column <= SUMS_MAX), "{columns:x?}");
        }
        let [a, b, c, d, e] = self.0;
        let above = _mm512_srli_epi64::<TOP_BITS>(e);
        let e = _mm512_and_si512(e, splat(TOP_MASK));
        let carried = Fe8(ripple([_mm512_madd52lo_epu64(a, above, splat(19)), b, c, d, e]));
        carried.assert_reduced();
        carried
    }
}

#[target_feature(enable = "avx512ifma")]
#[inline]
fn select(a: [__m512i; 5], b: [__m512i; 5], mask: __mmask8) -> [__m512i; 5] {
    let ([a, b, c, d, e], [f, g, h, i, j]) = (a, b);
    let either = |a, b| _mm512_mask_blend_epi64(mask, a, b);
    [either(a, f), either(b, g), either(c, h), either(d, i), either(e, j)]
}

#[target_feature(enable = "avx512ifma")]
#[inline]
fn lanes<const FROM: i32>([a, b, c, d, e]: [__m512i; 5]) -> [__m512i; 5] {
    let moved = |word| _mm512_permutex_epi64::<FROM>(word);
    [moved(a), moved(b), moved(c), moved(d), moved(e)]
}

/// Carries from column to column, and cuts all but the last to the width of a limb.
#[target_feature(enable = "avx512ifma")]
#[inline]
fn ripple([a, b, c, d, e]: [__m512i; 5]) -> [__m512i; 5] {
    let b = _mm512_add_epi64(b, _mm512_srli_epi64::<LIMB_BITS>(a));
    let c = _mm512_add_epi64(c, _mm512_srli_epi64::<LIMB_BITS>(b));
    let d = _mm512_add_epi64(d, _mm512_srli_epi64::<LIMB_BITS>(c));
    let e = _mm512_add_epi64(e, _mm512_srli_epi64::<LIMB_BITS>(d));
    let cut = |column| _mm512_and_si512(column, splat(LIMB_MASK));
    [cut(a), cut(b), cut(c), cut(d), e]
}

/// The ten columns of a product made five, as the head of this file describes.
#[target_feature(enable = "avx512ifma")]
#[inline]
fn fold(z: [__m512i; 10]) -> [__m512i; 5] {
    let [z0, z1, z2, z3, z4, z5, z6, z7, z8, z9] = z;
    let z6 = _mm512_add_epi64(z6, _mm512_srli_epi64::<LIMB_BITS>(z5));
    let z7 = _mm512_add_epi64(z7, _mm512_srli_epi64::<LIMB_BITS>(z6));
    let z8 = _mm512_add_epi64(z8, _mm512_srli_epi64::<LIMB_BITS>(z7));
    let z9 = _mm512_add_epi64(z9, _mm512_srli_epi64::<LIMB_BITS>(z8));
    let by = splat(FOLD);
    let low = |z, high| _mm512_madd52lo_epu64(z, high, by);
    let high = |z, high| _mm512_madd52hi_epu64(z, high, by);
    [
        low(z0, z5),
        high(low(z1, z6), z5),
        high(low(z2, z7), z6),
        high(low(z3, z8), z7),
        high(low(z4, z9), z8),
    ]
}
