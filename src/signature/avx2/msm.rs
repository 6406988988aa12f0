//! Sums of many multiples of points, four windows at a time.
//!
//! Pippenger's algorithm ("On the evaluation of powers and related problems", 1976) in the form of
//! Bernstein, Doumen, Lange and Oosterwijk ("Faster batch forgery identification", 2012): with the
//! scalars cut into windows of w bits, a window's points go into one bucket for each digit, and the
//! buckets are then summed with their digits as weights. Here each lane has a window and buckets of
//! its own, so that one addition puts a point into a bucket of each of four windows.
//!
//! **Digits.** Adding the constant K, which is 2^(w-1) in every window, to a scalar, and taking
//! 2^(w-1) away from every window of the sum, changes nothing; what is left in each window is a digit
//! from -2^(w-1) to 2^(w-1) - 1. So half as many buckets do, and scalars may be negative as long as
//! they are above -K. A digit of 0 has a bucket as well, which nobody reads.

use std::arch::x86_64::{
    __m256i, _mm256_and_si256, _mm256_cmpgt_epi64, _mm256_permute2x128_si256, _mm256_set1_epi64x,
    _mm256_srlv_epi64, _mm256_sub_epi64, _mm256_unpackhi_epi64, _mm256_unpacklo_epi64,
    _mm256_xor_si256,
};

use super::field::Fe4;
use super::point::{Niels, Niels4, Point, Point4};

/// The bytes of a scalar plus K, and zeros behind it, so that eight can be read from anywhere.
const DIGITS_LEN: usize = 40;

/// The bits of a long scalar, which is below the group order L < 2^253, and of a short one, which is
/// above -2^127.1 and below 2^127.
const LONG_BITS: u32 = 253;
///
/// With windows of 8 bits, for which `SHORT_OFFSET` is K, short scalars plus K have 128 bits; with
/// others they have up to 2^128 plus K, for which two more bits are kept.
const SHORT_BITS: u32 = 128;

/// A point and what it is multiplied with, a scalar below L in 32 bytes, least significant first.
pub(in super::super) type Long<'a> = ([u8; 32], &'a Niels);

/// A point and what it is multiplied with, once `SHORT_OFFSET` is taken away.
pub(in super::super) type Short<'a> = (u128, &'a Niels);

/// How scalars are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Windows {
    /// The bits of a window.
    bits: u32,
    /// The groups of four windows that a long scalar has, and a short one.
    groups: u32,
    short_groups: u32,
}

impl Windows {
    /// All that are in use.
    pub(super) const ALL: [Self; 5] =
        [Self::of(4), Self::of(5), Self::of(6), Self::of(8), Self::of(11)];

    const fn of(bits: u32) -> Self {
        let groups = LONG_BITS.div_ceil(4 * bits);
        let short_bits = if bits == 8 { SHORT_BITS } else { SHORT_BITS + 2 };
        let short_groups = short_bits.div_ceil(4 * bits);
        // Then a long scalar plus K, which is below 2^(all bits - 1) (1 + 2^(1 - w)), stays within all
        // bits. Eight bytes from any group's first bit on are there, and hold all of the group.
        assert!(groups * 4 * bits > LONG_BITS + 1);
        assert!(bits as usize * (groups as usize - 1) / 2 + 8 <= DIGITS_LEN && 4 * bits + 7 <= 64);
        Self { bits, groups, short_groups }
    }

    /// The cheapest for so many long and short scalars.
    pub(super) fn for_terms(long: usize, short: usize) -> Self {
        let cost = |windows: &Self| {
            let (groups, short_groups) = (windows.groups as usize, windows.short_groups as usize);
            // An addition of buckets has nine products, that of a point seven.
            groups * long + short_groups * short + groups * (2 << (windows.bits - 1)) * 9 / 7
        };
        Self::ALL.into_iter().min_by_key(cost).expect("there are some")
    }

    /// 2^(w-1).
    const fn half(self) -> usize {
        1 << (self.bits - 1)
    }

    /// K for so many groups, as five words.
    fn offset(self, groups: u32) -> [u64; 5] {
        let mut words = [0; 5];
        for window in 0..4 * groups {
            let at = window * self.bits + self.bits - 1;
            words[at as usize / 64] |= 1 << (at % 64);
        }
        words
    }

    /// K for short scalars, less what is to be taken away from them.
    fn short_offset(self) -> [u64; 5] {
        let (mut words, mut borrow) = (self.offset(self.short_groups), false);
        for (word, byte) in words.iter_mut().zip([0x80, 0x80, 0, 0, 0]) {
            (*word, borrow) = word.borrowing_sub(u64::from_le_bytes([byte; 8]), borrow);
        }
        assert!(!borrow, "K is at least 2^7 in every byte");
        words
    }
}

/// A scalar plus K.
struct Digits([u8; DIGITS_LEN]);

impl Digits {
    fn of_long(scalar: &[u8; 32], offset: &[u64; 5]) -> Self {
        let (words, _) = scalar.as_chunks::<8>();
        let word = |i: usize| words.get(i).map_or(0, |bytes| u64::from_le_bytes(*bytes));
        Self::new(std::array::from_fn(word), offset)
    }

    fn of_short(scalar: u128, offset: &[u64; 5]) -> Self {
        let mut bytes = [0; 32];
        bytes[..16].copy_from_slice(&scalar.to_le_bytes());
        Self::of_long(&bytes, offset)
    }

    fn new(words: [u64; 5], offset: &[u64; 5]) -> Self {
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

    /// The digits of a group's four windows, each with 2^(w-1) still in it.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn group(&self, group: &Group) -> __m256i {
        let bytes = self.0[group.byte..].first_chunk().expect("K and zeros fill up");
        let bits = u64::from_le_bytes(*bytes).cast_signed();
        _mm256_and_si256(_mm256_srlv_epi64(_mm256_set1_epi64x(bits), group.shifts), group.mask)
    }
}

/// Where the digits of a group of windows are found.
struct Group {
    byte: usize,
    shifts: __m256i,
    mask: __m256i,
}

impl Group {
    fn new(windows: Windows, number: u32) -> Self {
        let at = 4 * windows.bits * number;
        let shift = |lane: u32| u64::from(at % 8 + lane * windows.bits);
        let mask = 2 * windows.half() as u64 - 1;
        Self {
            byte: at as usize / 8,
            shifts: bytemuck::cast([shift(0), shift(1), shift(2), shift(3)]),
            mask: bytemuck::cast([mask; 4]),
        }
    }
}

/// A point in extended coordinates in 20 words: X, Y, Z and T, five words each.
type Bucket = [__m256i; 5];

/// The buckets of four windows, those of one digit beside each other.
struct Buckets(Vec<[Bucket; 4]>);

impl Buckets {
    fn new(windows: Windows) -> Self {
        Self(vec![[[bytemuck::Zeroable::zeroed(); 5]; 4]; windows.half() + 1])
    }

    #[target_feature(enable = "avx2")]
    fn clear(&mut self) {
        let empty = to_buckets(&Point4::identity());
        self.0.fill(empty);
    }

    /// The buckets of four digits.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn get(&self, digits: [usize; 4]) -> Point4 {
        let [a, b, c, d] = digits;
        from_buckets([&self.0[a][0], &self.0[b][1], &self.0[c][2], &self.0[d][3]])
    }

    /// Adds a point to the bucket of its digit in each of the four windows, its negative where the
    /// digit is negative. The digits still have 2^(w-1) in them.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn put(&mut self, digits: __m256i, half: __m256i, point: &Niels) {
        let negate = _mm256_cmpgt_epi64(half, digits);
        let digits = _mm256_sub_epi64(digits, half);
        let digits = _mm256_sub_epi64(_mm256_xor_si256(digits, negate), negate);
        let digits: [u64; 4] = bytemuck::cast(digits);
        #[expect(clippy::cast_possible_truncation, reason = "there is a bucket for each digit")]
        let [a, b, c, d] = digits.map(|digit| digit as usize);
        let mut sum = self.get([a, b, c, d]);
        sum.add_niels(&Niels4::splat(point, negate));
        [self.0[a][0], self.0[b][1], self.0[c][2], self.0[d][3]] = to_buckets(&sum);
    }

    /// The sum of all buckets, each times its digit: digit after digit from the highest down, the sum
    /// of the buckets so far is added once more.
    #[target_feature(enable = "avx2")]
    fn sum(&self) -> Point4 {
        let (mut so_far, mut sum) = (Point4::identity(), Point4::identity());
        for digit in (1..self.0.len()).rev() {
            so_far.add(&self.get([digit; 4]));
            sum.add(&so_far);
        }
        sum
    }
}

/// Four buckets out of four points.
#[target_feature(enable = "avx2")]
#[inline]
fn to_buckets(points: &Point4) -> [Bucket; 4] {
    let (x, y) = (points.x.vectors(), points.y.vectors());
    let (z, t) = (points.z.vectors(), points.t.vectors());
    let rows = [
        transpose([x[0], x[1], x[2], x[3]]),
        transpose([x[4], y[0], y[1], y[2]]),
        transpose([y[3], y[4], z[0], z[1]]),
        transpose([z[2], z[3], z[4], t[0]]),
        transpose([t[1], t[2], t[3], t[4]]),
    ];
    let [a, b, c, d, e] = rows;
    [
        [a[0], b[0], c[0], d[0], e[0]],
        [a[1], b[1], c[1], d[1], e[1]],
        [a[2], b[2], c[2], d[2], e[2]],
        [a[3], b[3], c[3], d[3], e[3]],
    ]
}

/// Four points out of four buckets.
#[target_feature(enable = "avx2")]
#[inline]
fn from_buckets([a, b, c, d]: [&Bucket; 4]) -> Point4 {
    let row = |i: usize| transpose([a[i], b[i], c[i], d[i]]);
    let [x0, x1, x2, x3] = row(0);
    let [x4, y0, y1, y2] = row(1);
    let [y3, y4, z0, z1] = row(2);
    let [z2, z3, z4, t0] = row(3);
    let [t1, t2, t3, t4] = row(4);
    Point4 {
        x: Fe4::from_vectors([x0, x1, x2, x3, x4]),
        y: Fe4::from_vectors([y0, y1, y2, y3, y4]),
        z: Fe4::from_vectors([z0, z1, z2, z3, z4]),
        t: Fe4::from_vectors([t0, t1, t2, t3, t4]),
    }
}

/// Four vectors of four words, rows made columns.
#[target_feature(enable = "avx2")]
#[inline]
fn transpose([a, b, c, d]: [__m256i; 4]) -> [__m256i; 4] {
    let (ab_low, ab_high) = (_mm256_unpacklo_epi64(a, b), _mm256_unpackhi_epi64(a, b));
    let (cd_low, cd_high) = (_mm256_unpacklo_epi64(c, d), _mm256_unpackhi_epi64(c, d));
    [
        _mm256_permute2x128_si256::<0x20>(ab_low, cd_low),
        _mm256_permute2x128_si256::<0x20>(ab_high, cd_high),
        _mm256_permute2x128_si256::<0x31>(ab_low, cd_low),
        _mm256_permute2x128_si256::<0x31>(ab_high, cd_high),
    ]
}

/// The sum of all terms.
#[target_feature(enable = "avx2")]
pub(super) fn sum(windows: Windows, long: &[Long<'_>], short: &[Short<'_>]) -> Point {
    let offset = windows.offset(windows.groups);
    let long: Vec<_> =
        long.iter().map(|(scalar, point)| (Digits::of_long(scalar, &offset), *point)).collect();
    let offset = windows.short_offset();
    let short: Vec<_> =
        short.iter().map(|(scalar, point)| (Digits::of_short(*scalar, &offset), *point)).collect();
    let half = bytemuck::cast([windows.half() as u64; 4]);
    let mut buckets = Buckets::new(windows);
    let mut sum = Point4::identity().lane(0);
    for number in (0..windows.groups).rev() {
        buckets.clear();
        let group = Group::new(windows, number);
        for (digits, point) in &long {
            buckets.put(digits.group(&group), half, point);
        }
        if number < windows.short_groups {
            for (digits, point) in &short {
                buckets.put(digits.group(&group), half, point);
            }
        }
        let of_windows = buckets.sum();
        for lane in (0..4).rev() {
            for _ in 0..windows.bits {
                sum.double();
            }
            let mut both = sum.splat();
            both.add(&of_windows.lane(lane).splat());
            sum = both.lane(0);
        }
    }
    sum
}

/// Whether 8 times the sum of all terms is the identity.
#[target_feature(enable = "avx2")]
pub(super) fn sum_is_small(windows: Windows, long: &[Long<'_>], short: &[Short<'_>]) -> bool {
    let mut sum = sum(windows, long, short);
    for _ in 0..3 {
        sum.double();
    }
    let [is_identity, ..] = sum.splat().is_identity();
    is_identity
}
