//! Points from their encodings, eight at a time (RFC 8032, section 5.1.3).

use std::arch::x86_64::{
    __m256i, _mm256_and_si256, _mm256_cmpeq_epi64, _mm256_movemask_epi8, _mm256_or_si256,
    _mm256_set1_epi64x,
};

use super::field::{Fe4, ONE, Words, ZERO, words_of};
use super::point::{D, Niels, Niels4};

/// The square root of -1 that is 2^((p - 1) / 4).
const ROOT_OF_MINUS_ONE: Words = words_of(&[
    0xb0, 0xa0, 0x0e, 0x4a, 0x27, 0x1b, 0xee, 0xc4, 0x78, 0xe4, 0x2f, 0xad, 0x06, 0x18, 0x43, 0x2f,
    0xa7, 0xd7, 0xfb, 0x3d, 0x99, 0x00, 0x4d, 0x2b, 0x0b, 0xdf, 0xc1, 0x4f, 0x80, 0x24, 0x83, 0x2b,
]);

/// So many points are decoded together: two in each lane, so that one is multiplied while the carries
/// of the other wait for each other.
pub(super) const TOGETHER: usize = 8;

/// The x of a point, reduced: what decoding it finds out.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Root(Words);

/// A decoded point, and that point as it is added.
pub(in super::super) type Found = (Root, Niels);

/// The points that eight canonical encodings stand for, or none where y is that of no point.
///
/// A sign bit with x = 0 is not refused here, nor is y from p up: who calls has seen to it that the
/// encoding is canonical.
#[target_feature(enable = "avx2")]
pub(super) fn decode(encodings: &[[u8; 32]; TOGETHER]) -> [Option<Found>; TOGETHER] {
    let words = encodings.each_ref().map(words_of);
    let [a, b, c, d, e, f, g, h] = &words;
    let y = [Fe4::from_lanes([a, b, c, d]), Fe4::from_lanes([e, f, g, h])];
    let (x, is_square) = roots(y);
    let mut points = [None; TOGETHER];
    for (half, points) in points.as_chunks_mut::<4>().0.iter_mut().enumerate() {
        let signs: [u8; 4] = std::array::from_fn(|lane| encodings[4 * half + lane][31] >> 7);
        let x = with_signs(x[half], signs);
        let (xs, niels) = (x.to_lanes(), Niels4::new(x, y[half]).to_lanes());
        let is_square = _mm256_movemask_epi8(is_square[half]);
        for (lane, point) in points.iter_mut().enumerate() {
            if is_square >> (8 * lane) & 1 == 1 {
                *point = Some((Root(xs[lane]), niels[lane]));
            }
        }
    }
    points
}

/// Points as they are added, from x, reduced, and from the encoding.
#[target_feature(enable = "avx2")]
pub(super) fn niels(points: [&(Root, [u8; 32]); 4]) -> [Niels; 4] {
    let x = Fe4::from_lanes(points.map(|(Root(x), _)| x));
    let ys = points.map(|(_, encoding)| words_of(encoding));
    Niels4::new(x, Fe4::from_lanes(ys.each_ref())).to_lanes()
}

/// Either x of (y^2 - 1) / (d y^2 + 1) = x^2, reduced, and whether there is one.
///
/// With u / v for the quotient, r = u v^3 (u v^7)^((p - 5) / 8) has v r^2 = u, or v r^2 = -u and then
/// the root is sqrt(-1) r, or neither, and then u / v is no square.
#[target_feature(enable = "avx2")]
fn roots(y: [Fe4; 2]) -> ([Fe4; 2], [__m256i; 2]) {
    let one = Fe4::splat(&ONE);
    let squares = Fe4::square_times(y, 1);
    let u = squares.map(|square| square.sub(one).carry());
    let v = squares.map(|square| square.mul(Fe4::splat(&D)).add(one).carry());
    let v3: [Fe4; 2] = each(Fe4::square_times(v, 1), v);
    let v7 = each(Fe4::square_times(v3, 1), v);
    let r = each(each(v3, u), power(each(v7, u)));
    let found = each(Fe4::square_times(r, 1), v);
    let (mut x, mut is_square) = (r, [one.is_zero(); 2]);
    for half in 0..2 {
        let right = found[half].sub(u[half]).carry().is_zero();
        let turned = found[half].add(u[half]).carry().is_zero();
        let other = r[half].mul(Fe4::splat(&ROOT_OF_MINUS_ONE));
        x[half] = Fe4::select(other, r[half], right);
        is_square[half] = _mm256_or_si256(right, turned);
    }
    (x, is_square)
}

#[target_feature(enable = "avx2")]
#[inline]
fn each(a: [Fe4; 2], b: [Fe4; 2]) -> [Fe4; 2] {
    [a[0].mul(b[0]), a[1].mul(b[1])]
}

/// z to the power (p - 5) / 8 = 2^252 - 3. `e_n` stands for z to the power 2^n - 1, and
/// `e_(m + n) = e_m^(2^n) e_n`.
#[target_feature(enable = "avx2")]
pub(super) fn power(z: [Fe4; 2]) -> [Fe4; 2] {
    let z2 = Fe4::square_times(z, 1);
    let z9 = each(Fe4::square_times(z2, 2), z);
    let z11 = each(z9, z2);
    let e5 = each(Fe4::square_times(z11, 1), z9);
    let e10 = each(Fe4::square_times(e5, 5), e5);
    let e20 = each(Fe4::square_times(e10, 10), e10);
    let e40 = each(Fe4::square_times(e20, 20), e20);
    let e50 = each(Fe4::square_times(e40, 10), e10);
    let e100 = each(Fe4::square_times(e50, 50), e50);
    let e200 = each(Fe4::square_times(e100, 100), e100);
    let e250 = each(Fe4::square_times(e200, 50), e50);
    each(Fe4::square_times(e250, 2), z)
}

/// x or p - x, whichever has the lowest bit asked for; reduced.
#[target_feature(enable = "avx2")]
#[inline]
fn with_signs(x: Fe4, signs: [u8; 4]) -> Fe4 {
    let one = _mm256_set1_epi64x(1);
    let lowest = _mm256_and_si256(x.canonical().vectors()[0], one);
    let wanted = bytemuck::cast(signs.map(u64::from));
    let fits = _mm256_cmpeq_epi64(lowest, wanted);
    Fe4::select(Fe4::splat(&ZERO).sub(x).carry(), x, fits)
}
