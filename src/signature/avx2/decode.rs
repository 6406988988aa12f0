//! Points from their encodings, eight at a time (RFC 8032, section 5.1.3).

use std::arch::x86_64::{
    __m256i, _mm256_and_si256, _mm256_cmpeq_epi64, _mm256_movemask_epi8, _mm256_or_si256,
    _mm256_set1_epi64x,
};

use super::super::curve::{self, Root, power};
use super::field::{Fe4, ONE, Words, ZERO, bytes_of, words_of};
use super::point::{Niels, Niels4};

const D: Words = words_of(&curve::D);
const ROOT_OF_MINUS_ONE: Words = words_of(&curve::ROOT_OF_MINUS_ONE);

/// So many points are decoded together: two in each lane, so that one is multiplied while the carries
/// of the other wait for each other.
pub(super) const TOGETHER: usize = 8;

/// The points that eight canonical encodings stand for, or none where y is that of no point.
///
/// A sign bit with x = 0 is not refused here, nor is y from p up: who calls has seen to it that the
/// encoding is canonical.
#[target_feature(enable = "avx2")]
pub(super) fn decode(encodings: &[[u8; 32]; TOGETHER]) -> [Option<(Root, Niels)>; TOGETHER] {
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
                *point = Some((Root(bytes_of(&xs[lane])), niels[lane]));
            }
        }
    }
    points
}

/// Points as they are added, from x and from the encoding.
#[target_feature(enable = "avx2")]
pub(super) fn niels(points: [&(Root, [u8; 32]); 4]) -> [Niels; 4] {
    let xs = points.map(|(Root(x), _)| words_of(x));
    let ys = points.map(|(_, encoding)| words_of(encoding));
    Niels4::new(Fe4::from_lanes(xs.each_ref()), Fe4::from_lanes(ys.each_ref())).to_lanes()
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

/// z to the power (p - 5) / 8.
#[target_feature(enable = "avx2")]
pub(super) fn power(z: [Fe4; 2]) -> [Fe4; 2] {
    power!(z, Fe4::square_times, each)
}

/// x or p - x, whichever has the lowest bit asked for; canonical.
#[target_feature(enable = "avx2")]
#[inline]
fn with_signs(x: Fe4, signs: [u8; 4]) -> Fe4 {
    let one = _mm256_set1_epi64x(1);
    let x = x.canonical();
    let lowest = _mm256_and_si256(x.vectors()[0], one);
    let wanted = bytemuck::cast(signs.map(u64::from));
    let fits = _mm256_cmpeq_epi64(lowest, wanted);
    Fe4::select(Fe4::splat(&ZERO).sub(x).carry().canonical(), x, fits)
}
