//! Points from their encodings, sixteen at a time (RFC 8032, section 5.1.3).

use std::arch::x86_64::{__mmask8, _mm512_set1_epi64, _mm512_test_epi64_mask};

use super::super::curve::{self, Root, power};
use super::field::{Fe8, LANES, ONE, Words, ZERO, bytes_of, words_of};
use super::point::{Niels, Niels8};

const D: Words = words_of(&curve::D);
const ROOT_OF_MINUS_ONE: Words = words_of(&curve::ROOT_OF_MINUS_ONE);

/// So many points are decoded together: two in each lane, so that one is multiplied while the carries
/// of the other wait for each other.
pub(super) const TOGETHER: usize = 2 * LANES;

/// The points that canonical encodings stand for, or none where y is that of no point.
///
/// A sign bit with x = 0 is not refused here, nor is y from p up: who calls has seen to it that the
/// encoding is canonical.
#[target_feature(enable = "avx512ifma")]
pub(super) fn decode(encodings: &[[u8; 32]; TOGETHER]) -> [Option<(Root, Niels)>; TOGETHER] {
    let words = encodings.each_ref().map(words_of);
    let half =
        |half: usize| Fe8::from_lanes(std::array::from_fn(|lane| &words[LANES * half + lane]));
    let y = [half(0), half(1)];
    let (x, is_square) = roots(y);
    let mut points = [None; TOGETHER];
    for (half, points) in points.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
        let signs = std::array::from_fn(|lane| encodings[LANES * half + lane][31] >> 7);
        let x = with_signs(x[half], signs);
        let (xs, niels) = (x.to_lanes(), Niels8::new(x, y[half]).to_lanes());
        for (lane, point) in points.iter_mut().enumerate() {
            if is_square[half] >> lane & 1 == 1 {
                *point = Some((Root(bytes_of(&xs[lane])), niels[lane]));
            }
        }
    }
    points
}

/// Points as they are added, from x and from the encoding.
#[target_feature(enable = "avx512ifma")]
pub(super) fn niels(points: [&(Root, [u8; 32]); LANES]) -> [Niels; LANES] {
    let xs = points.map(|(Root(x), _)| words_of(x));
    let ys = points.map(|(_, encoding)| words_of(encoding));
    Niels8::new(Fe8::from_lanes(xs.each_ref()), Fe8::from_lanes(ys.each_ref())).to_lanes()
}

/// Either x of (y^2 - 1) / (d y^2 + 1) = x^2, and the lanes in which there is one.
///
/// With u / v for the quotient, r = u v^3 (u v^7)^((p - 5) / 8) has v r^2 = u, or v r^2 = -u and then
/// the root is sqrt(-1) r, or neither, and then u / v is no square.
#[target_feature(enable = "avx512ifma")]
fn roots(y: [Fe8; 2]) -> ([Fe8; 2], [__mmask8; 2]) {
    let one = Fe8::splat(&ONE).sums();
    let squares = y.map(|y| y.squared());
    let u = squares.map(|square| square.raise().sub(one).carry());
    let v = squares.map(|square| square.carry().product(Fe8::splat(&D)).add(one).carry());
    let v3 = each(Fe8::square_times(v, 1), v);
    let v7 = each(Fe8::square_times(v3, 1), v);
    let r = each(each(v3, u), power(each(v7, u)));
    let found = each(Fe8::square_times(r, 1), v);
    let (mut x, mut is_square) = (r, [0; 2]);
    for half in 0..2 {
        let (found, u) = (found[half].sums(), u[half].sums());
        let right = found.raise().sub(u).carry().is_zero();
        let turned = found.add(u).carry().is_zero();
        let other = r[half].mul(Fe8::splat(&ROOT_OF_MINUS_ONE));
        x[half] = Fe8::select(other, r[half], right);
        is_square[half] = right | turned;
    }
    (x, is_square)
}

#[target_feature(enable = "avx512ifma")]
#[inline]
fn each(a: [Fe8; 2], b: [Fe8; 2]) -> [Fe8; 2] {
    [a[0].mul(b[0]), a[1].mul(b[1])]
}

/// z to the power (p - 5) / 8.
#[target_feature(enable = "avx512ifma")]
pub(super) fn power(z: [Fe8; 2]) -> [Fe8; 2] {
    power!(z, Fe8::square_times, each)
}

/// x or p - x, whichever has the lowest bit asked for; canonical.
#[target_feature(enable = "avx512ifma")]
#[inline]
fn with_signs(x: Fe8, signs: [u8; LANES]) -> Fe8 {
    let x = x.canonical();
    let other = Fe8::splat(&ZERO).sums().raise().sub(x.sums()).carry().canonical();
    let odd = _mm512_test_epi64_mask(x.vectors()[0], _mm512_set1_epi64(1));
    let wanted = (0..LANES).fold(0, |wanted, lane| wanted | signs[lane] << lane);
    Fe8::select(x, other, odd ^ wanted)
}
