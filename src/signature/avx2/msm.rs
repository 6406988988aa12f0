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
    __m256i, _mm256_permute2x128_si256, _mm256_unpackhi_epi64, _mm256_unpacklo_epi64,
};

use super::field::Fe4;
use super::point::{Niels, Niels4, Point4};

/// The bytes of a scalar plus K, and zeros behind it, so that eight can be read from anywhere.
const DIGITS_LEN: usize = 40;

/// The bits of a long scalar, which is below the group order L < 2^253, and of a short one, which is
/// above -2^127.1 and below 2^127.
const LONG_BITS: u32 = 253;
const SHORT_BITS: u32 = 128;

/// What is taken away from 128 random bits to make a short scalar: 2^7 in every byte, which is K for
/// windows of 8 bits. So they need 16 of those windows and not one bit more.
pub(in super::super) const SHORT_OFFSET: u128 = u128::from_ne_bytes([0x80; 16]);

/// A point and what it is multiplied with, a scalar below L in 32 bytes, least significant first.
pub(in super::super) type Long<'a> = ([u8; 32], &'a Niels);

/// A point and what it is multiplied with, once [`SHORT_OFFSET`] is taken away.
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
    pub(super) const ALL: [Self; 4] = [Self::of(5), Self::of(6), Self::of(8), Self::of(11)];

    const fn of(bits: u32) -> Self {
        let groups = LONG_BITS.div_ceil(4 * bits);
        let short_groups = SHORT_BITS.div_ceil(4 * bits);
        // Then a long scalar plus K, which is below 2^(all bits - 1) (1 + 2^(1 - w)), stays within all
        // bits. Eight bytes from any group's first bit on are there, and hold all of the group.
        assert!(groups * 4 * bits > LONG_BITS + 1);
        assert!(bits * (groups - 1) / 2 + 8 <= DIGITS_LEN as u32 && 4 * bits + 7 <= 64);
        Self { bits, groups, short_groups }
    }

    /// The cheapest for so many long and short scalars.
    pub(super) fn for_terms(long: usize, short: usize) -> Self {
        let cost = |windows: &Self| {
            let (groups, short_groups) = (windows.groups as usize, windows.short_groups as usize);
            // An addition of buckets has nine products, that of a point seven.
            groups * long + short_groups * short + groups * (2 << (windows.bits - 1)) * 9 / 7
        };
        Self::ALL.into_iter().min_by_key(cost).expect("there are four")
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
            (*word, borrow) = word.borrowing_sub(u64::from_ne_bytes([byte; 8]), borrow);
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
        let low = (scalar & u128::from(u64::MAX)) as u64;
        Self::new([low, (scalar >> 64) as u64, 0, 0, 0], offset)
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
    fn group(&self, windows: Windows, group: u32) -> [usize; 4] {
        let at = (4 * windows.bits * group) as usize;
        let bytes = self.0[at / 8..].first_chunk().expect("K and zeros fill up");
        let bits = u64::from_le_bytes(*bytes) >> (at % 8);
        std::array::from_fn(|lane| {
            (bits >> (windows.bits as usize * lane)) as usize & (2 * windows.half() - 1)
        })
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
    fn put(&mut self, digits: [usize; 4], half: usize, point: &Niels) {
        let negate = digits.map(|digit| if digit < half { u64::MAX } else { 0 });
        let digits = digits.map(|digit| digit.abs_diff(half));
        let sum = self.get(digits).add_niels(&Niels4::splat(point, bytemuck::cast(negate)));
        for (lane, bucket) in to_buckets(&sum).into_iter().enumerate() {
            self.0[digits[lane]][lane] = bucket;
        }
    }

    /// The sum of all buckets, each times its digit: digit after digit from the highest down, the sum
    /// of the buckets so far is added once more.
    #[target_feature(enable = "avx2")]
    fn sum(&self) -> Point4 {
        let (mut so_far, mut sum) = (Point4::identity(), Point4::identity());
        for digit in (1..self.0.len()).rev() {
            so_far = so_far.add(&self.get([digit; 4]));
            sum = sum.add(&so_far);
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
    std::array::from_fn(|lane| rows.map(|row| row[lane]))
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

/// Four times the same point: the sum of all terms.
#[target_feature(enable = "avx2")]
pub(super) fn sum(windows: Windows, long: &[Long<'_>], short: &[Short<'_>]) -> Point4 {
    let offset = windows.offset(windows.groups);
    let long: Vec<_> =
        long.iter().map(|(scalar, point)| (Digits::of_long(scalar, &offset), *point)).collect();
    let offset = windows.short_offset();
    let short: Vec<_> =
        short.iter().map(|(scalar, point)| (Digits::of_short(*scalar, &offset), *point)).collect();
    let half = windows.half();
    let mut buckets = Buckets::new(windows);
    let mut sum = Point4::identity();
    for group in (0..windows.groups).rev() {
        buckets.clear();
        let short = if group < windows.short_groups { &short[..] } else { &[] };
        for (digits, point) in long.iter().chain(short) {
            buckets.put(digits.group(windows, group), half, point);
        }
        let of_windows = buckets.sum();
        for lane in (0..4).rev() {
            for _ in 0..windows.bits {
                sum = sum.double();
            }
            sum = sum.add(&of_windows.splat_lane(lane));
        }
    }
    sum
}

/// Whether 8 times the sum of all terms is the identity.
#[target_feature(enable = "avx2")]
pub(super) fn sum_is_small(windows: Windows, long: &[Long<'_>], short: &[Short<'_>]) -> bool {
    let [is_identity, ..] = sum(windows, long, short).double().double().double().is_identity();
    is_identity
}
