//! Sums of many multiples of points, eight windows at a time: see [`windows`].

use std::arch::x86_64::{
    __m256i, __m512i, _mm512_abs_epi64, _mm512_and_si512, _mm512_castsi256_si512,
    _mm512_castsi512_si256, _mm512_cmplt_epi64_mask, _mm512_extracti64x4_epi64, _mm512_inserti64x4,
    _mm512_mask_set1_epi64, _mm512_permutex2var_epi64, _mm512_set1_epi64, _mm512_srlv_epi64,
    _mm512_sub_epi64, _mm512_unpackhi_epi64, _mm512_unpacklo_epi64,
};

use super::super::curve;
use super::super::windows::{self, Digits};
use super::field::{Fe8, LANES};
use super::point::{Niels, Point, Point8};

type Long<'a> = curve::Long<'a, Niels>;
type Short<'a> = curve::Short<'a, Niels>;
pub(super) type Windows = windows::Windows<8>;
const _: () = assert!(LANES == 8);

/// All that are in use. With more bits the buckets outgrow what is cached near a core: 11 bits take
/// three groups in place of four, and no less time.
pub(super) const ALL: [Windows; 5] =
    [Windows::of(4), Windows::of(5), Windows::of(6), Windows::of(7), Windows::of(8)];

/// Where the digits of a group of windows are found.
struct Group {
    /// Of the lower four windows, and of the upper four.
    bytes: [usize; 2],
    shifts: __m512i,
    mask: u64,
    half: u64,
}

impl Group {
    fn new(windows: Windows, number: u32) -> Self {
        let first = 8 * number;
        let ((low, low_shifts), (high, high_shifts)) =
            (windows.place(first), windows.place(first + 4));
        Self {
            bytes: [low, high],
            shifts: bytemuck::cast([low_shifts, high_shifts]),
            mask: 2 * windows.half() as u64 - 1,
            half: windows.half() as u64,
        }
    }

    /// The digits of a scalar in this group.
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    fn digits(&self, digits: &Digits) -> __m512i {
        let [low, high] = self.bytes.map(|byte| digits.word(byte).cast_signed());
        let bits = _mm512_mask_set1_epi64(_mm512_set1_epi64(low), 0xf0, high);
        let splat = |word: u64| _mm512_set1_epi64(word.cast_signed());
        let digits = _mm512_and_si512(_mm512_srlv_epi64(bits, self.shifts), splat(self.mask));
        _mm512_sub_epi64(digits, splat(self.half))
    }
}

/// A point in extended coordinates in 20 words: those of Y + X, Y - X, Z and T.
type Bucket = [__m256i; 5];

/// The buckets of eight windows, those of one digit beside each other.
struct Buckets(Vec<[Bucket; LANES]>);

impl Buckets {
    fn new(windows: Windows) -> Self {
        Self(vec![[[bytemuck::Zeroable::zeroed(); 5]; LANES]; windows.half() + 1])
    }

    #[target_feature(enable = "avx512ifma")]
    fn clear(&mut self) {
        let identity = Point8::identity();
        for digit in 0..self.0.len() {
            self.set([digit; LANES], &identity);
        }
    }

    /// The buckets of eight digits.
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    fn get(&self, digits: [usize; LANES]) -> Point8 {
        let bucket = |lane: usize| &self.0[digits[lane]][lane];
        let (a, b, c, d) = (bucket(0), bucket(1), bucket(2), bucket(3));
        let (e, f, g, h) = (bucket(4), bucket(5), bucket(6), bucket(7));
        let pair = |low: __m256i, high| _mm512_inserti64x4::<1>(_mm512_castsi256_si512(low), high);
        let row = |i: usize| {
            columns([pair(a[i], e[i]), pair(b[i], f[i]), pair(c[i], g[i]), pair(d[i], h[i])])
        };
        let [s0, s1, s2, s3] = row(0);
        let [s4, d0, d1, d2] = row(1);
        let [d3, d4, z0, z1] = row(2);
        let [z2, z3, z4, t0] = row(3);
        let [t1, t2, t3, t4] = row(4);
        Point8 {
            sum: Fe8::from_vectors([s0, s1, s2, s3, s4]),
            difference: Fe8::from_vectors([d0, d1, d2, d3, d4]),
            z: Fe8::from_vectors([z0, z1, z2, z3, z4]),
            t: Fe8::from_vectors([t0, t1, t2, t3, t4]),
        }
    }

    /// Sets the buckets of eight digits.
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    fn set(&mut self, digits: [usize; LANES], points: &Point8) {
        let [s0, s1, s2, s3, s4] = points.sum.vectors();
        let [d0, d1, d2, d3, d4] = points.difference.vectors();
        let [z0, z1, z2, z3, z4] = points.z.vectors();
        let [t0, t1, t2, t3, t4] = points.t.vectors();
        let columns = [
            [s0, s1, s2, s3],
            [s4, d0, d1, d2],
            [d3, d4, z0, z1],
            [z2, z3, z4, t0],
            [t1, t2, t3, t4],
        ];
        for (i, columns) in columns.into_iter().enumerate() {
            for (lane, row) in rows(columns).into_iter().enumerate() {
                self.0[digits[lane]][lane][i] = _mm512_castsi512_si256(row);
                self.0[digits[lane + 4]][lane + 4][i] = _mm512_extracti64x4_epi64::<1>(row);
            }
        }
    }

    /// Adds a point to the bucket of its digit in each of the eight windows, its negative where the
    /// digit is negative.
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    fn put(&mut self, digits: __m512i, point: &Niels) {
        let negate = _mm512_cmplt_epi64_mask(digits, _mm512_set1_epi64(0));
        let digits: [u64; LANES] = bytemuck::cast(_mm512_abs_epi64(digits));
        #[expect(clippy::cast_possible_truncation, reason = "there is a bucket for each digit")]
        let digits = digits.map(|digit| digit as usize);
        let mut sum = self.get(digits);
        sum.add_niels(point, negate);
        self.set(digits, &sum);
    }

    /// The sum of all buckets, each times its digit: digit after digit from the highest down, the sum
    /// of the buckets so far is added once more.
    #[target_feature(enable = "avx512ifma")]
    fn sum(&self) -> Point8 {
        let (mut so_far, mut sum) = (Point8::identity(), Point8::identity());
        for digit in (1..self.0.len()).rev() {
            so_far.add(&self.get([digit; LANES]));
            sum.add(&so_far);
        }
        sum
    }
}

/// Four words of eight buckets, of lanes i and i + 4 in vector i, made four vectors of eight lanes.
#[target_feature(enable = "avx512ifma")]
#[inline]
fn columns([ae, bf, cg, dh]: [__m512i; 4]) -> [__m512i; 4] {
    let (low, high): (__m512i, __m512i) = (
        bytemuck::cast([0u64, 1, 8, 9, 4, 5, 12, 13]),
        bytemuck::cast([2u64, 3, 10, 11, 6, 7, 14, 15]),
    );
    let (ab_low, ab_high) = (_mm512_unpacklo_epi64(ae, bf), _mm512_unpackhi_epi64(ae, bf));
    let (cd_low, cd_high) = (_mm512_unpacklo_epi64(cg, dh), _mm512_unpackhi_epi64(cg, dh));
    [
        _mm512_permutex2var_epi64(ab_low, low, cd_low),
        _mm512_permutex2var_epi64(ab_high, low, cd_high),
        _mm512_permutex2var_epi64(ab_low, high, cd_low),
        _mm512_permutex2var_epi64(ab_high, high, cd_high),
    ]
}

/// The reverse, which is the same: in either half, rows are made columns.
#[target_feature(enable = "avx512ifma")]
#[inline]
fn rows(columns: [__m512i; 4]) -> [__m512i; 4] {
    self::columns(columns)
}

/// The sum of all terms.
#[target_feature(enable = "avx512ifma")]
pub(super) fn sum(windows: Windows, long: &[Long<'_>], short: &[Short<'_>]) -> Point {
    let (long, short) = (windows.long_digits(long), windows.short_digits(short));
    let mut buckets = Buckets::new(windows);
    let mut sum = Point::identity();
    for number in (0..windows.groups).rev() {
        buckets.clear();
        let group = Group::new(windows, number);
        for (digits, point) in &long {
            buckets.put(group.digits(digits), point);
        }
        if number < windows.short_groups {
            for (digits, point) in &short {
                buckets.put(group.digits(digits), point);
            }
        }
        for of_window in buckets.sum().addends().iter().rev() {
            for _ in 0..windows.bits {
                sum.double();
            }
            sum.add(of_window);
        }
    }
    sum
}

/// Whether 8 times the sum of all terms is the identity.
#[target_feature(enable = "avx512ifma")]
pub(super) fn sum_is_small(windows: Windows, long: &[Long<'_>], short: &[Short<'_>]) -> bool {
    let mut sum = sum(windows, long, short);
    for _ in 0..3 {
        sum.double();
    }
    sum.splat().is_identity() & 1 == 1
}
