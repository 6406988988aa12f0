//! Sums of many multiples of points, four windows at a time: see [`windows`].

use std::arch::x86_64::{
    __m256i, _mm256_and_si256, _mm256_cmpgt_epi64, _mm256_permute2x128_si256, _mm256_set1_epi64x,
    _mm256_srlv_epi64, _mm256_sub_epi64, _mm256_unpackhi_epi64, _mm256_unpacklo_epi64,
    _mm256_xor_si256,
};

use super::super::curve;
use super::super::windows::{self, Digits};
use super::field::Fe4;
use super::point::{Niels, Niels4, Point, Point4};

type Long<'a> = curve::Long<'a, Niels>;
type Short<'a> = curve::Short<'a, Niels>;
pub(super) type Windows = windows::Windows<4>;

/// All that are in use.
pub(super) const ALL: [Windows; 5] =
    [Windows::of(4), Windows::of(5), Windows::of(6), Windows::of(8), Windows::of(11)];

/// Where the digits of a group of windows are found.
struct Group {
    byte: usize,
    shifts: __m256i,
    mask: __m256i,
}

impl Group {
    fn new(windows: Windows, number: u32) -> Self {
        let (byte, shifts) = windows.place(4 * number);
        let mask = 2 * windows.half() as u64 - 1;
        Self { byte, shifts: bytemuck::cast(shifts), mask: bytemuck::cast([mask; 4]) }
    }

    /// The digits of a scalar, each with 2^(w-1) still in it.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn digits(&self, digits: &Digits) -> __m256i {
        let bits = _mm256_set1_epi64x(digits.word(self.byte).cast_signed());
        _mm256_and_si256(_mm256_srlv_epi64(bits, self.shifts), self.mask)
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
    let (long, short) = (windows.long_digits(long), windows.short_digits(short));
    let half = bytemuck::cast([windows.half() as u64; 4]);
    let mut buckets = Buckets::new(windows);
    let mut sum = Point4::identity().lane(0);
    for number in (0..windows.groups).rev() {
        buckets.clear();
        let group = Group::new(windows, number);
        for (digits, point) in &long {
            buckets.put(group.digits(digits), half, point);
        }
        if number < windows.short_groups {
            for (digits, point) in &short {
                buckets.put(group.digits(digits), half, point);
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
