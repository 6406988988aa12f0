//! The arithmetic of this module beside big integers and curve25519-dalek.
//!
//! `BLOCKMILL_CASES` is the number of cases of the long run, which is ignored otherwise.

use std::arch::x86_64::__m256i;

use curve25519_dalek::edwards::EdwardsPoint;
use curve25519_dalek::traits::{Identity, IsIdentity};
use rand::RngExt;
use rand::rngs::StdRng;
use ruint::aliases::{U256, U512};

use super::super::encoding::is_canonical;
use super::super::unit_tests::{
    CASES, Terms, assert_decoded, assert_is_point, cases_and_seed, compare_hashes, compare_numbers,
    detect_or_skip, edges_of_decoding, encoding, limb, niels, point, prime, random,
};
use super::decode::TOGETHER;
use super::field::{Fe4, Grade, LOOSE, REDUCED, WIDE, Words, bytes_of, words_of};
use super::msm;
use super::point::{Niels, Niels4, Point4};
use super::{Avx2, decode};

/// Runs a test that needs AVX2, in a function that has it; says so where there is none.
macro_rules! with_avx2 {
    ($body:ident($($arg:expr),*)) => {
        if detect_or_skip::<Avx2>("AVX2").is_some() {
            // SAFETY: AVX2 is there.
            unsafe { $body($($arg),*) }
        }
    };
}

/// The value of limbs that need not be carried, modulo p.
fn value(words: &Words) -> U256 {
    const WEIGHTS: [usize; 10] = [0, 26, 51, 77, 102, 128, 153, 179, 204, 230];
    let limb = |i: usize| U512::from(words[i / 2] >> (32 * (i % 2)) & u64::from(u32::MAX));
    let sum = (0..10).fold(U512::ZERO, |sum, i| sum + (limb(i) << WEIGHTS[i]));
    (sum % prime().to::<U512>()).to()
}

/// Limbs of a grade: at random, and often at either end.
fn limbs(random: &mut StdRng, (even, odd): Grade) -> Words {
    std::array::from_fn(|_| limb(random, even.into()) | limb(random, odd.into()) << 32)
}

#[target_feature(enable = "avx2")]
fn four(random: &mut StdRng, grade: Grade) -> (Fe4, [U256; 4]) {
    // Now and then the largest there is, in every limb.
    let most = random.random_range(0..16) == 0;
    let words: [Words; 4] = std::array::from_fn(|_| match most {
        true => [u64::from(grade.0) | u64::from(grade.1) << 32; 5],
        false => limbs(random, grade),
    });
    (Fe4::from_lanes(words.each_ref()), words.map(|words| value(&words)))
}

/// Every operation on field elements, with limbs up to the bounds it allows.
#[target_feature(enable = "avx2")]
fn compare_field(cases: usize, seed: u64) {
    let (mut random, p) = (random(seed), prime());
    let values = |of: Fe4| of.to_lanes().map(|words| value(&words));
    for _ in 0..cases.div_ceil(4) {
        let (wide, of_wide) = four(&mut random, WIDE);
        let (loose, of_loose) = four(&mut random, LOOSE);
        let (reduced, of_reduced) = four(&mut random, REDUCED);
        let product = values(wide.mul(loose));
        let squares = Fe4::square_times([loose, reduced], 1).map(values);
        let [twice, _] = Fe4::square_times([reduced, loose], 2).map(values);
        let (sum, difference) = (values(loose.add(reduced)), values(loose.sub(reduced)));
        let (carried, canonical) = (wide.carry(), reduced.canonical().to_lanes());
        let zeros: [u64; 4] = bytemuck::cast(reduced.is_zero());
        for lane in 0..4 {
            let (w, l, r) = (of_wide[lane], of_loose[lane], of_reduced[lane]);
            assert_eq!(product[lane], w.mul_mod(l, p));
            assert_eq!(squares[0][lane], l.mul_mod(l, p));
            assert_eq!(squares[1][lane], r.mul_mod(r, p));
            assert_eq!(twice[lane], squares[1][lane].mul_mod(squares[1][lane], p));
            assert_eq!(sum[lane], l.add_mod(r, p));
            assert_eq!(difference[lane], l.add_mod(p - r, p));
            assert_eq!(values(carried)[lane], w);
            assert_eq!(bytes_of(&canonical[lane]), r.to_le_bytes::<32>());
            assert_eq!(words_of(&bytes_of(&canonical[lane])), canonical[lane]);
            assert_eq!(zeros[lane], if r.is_zero() { u64::MAX } else { 0 });
        }
    }
}

/// Canonical forms of what lies around 0, p, 2p, as reduced limbs can.
#[target_feature(enable = "avx2")]
fn compare_edges_of_the_field() {
    let p = prime();
    let near = |around: U256| (0..40).map(move |i| around.wrapping_add(U256::from(i)));
    let all = near(U256::ZERO).chain(near(p - U256::from(20)));
    for number in all {
        // The highest bit of the bytes is not looked at, and these are below 2^255 + 20.
        let bytes = number.to_le_bytes::<32>();
        let words = match number.bit(255) {
            false => words_of(&bytes),
            true => {
                let rest: U256 = number - (U256::from(1) << 255);
                let mut words = words_of(&rest.to_le_bytes::<32>());
                words[4] += 1 << (25 + 32);
                words
            }
        };
        let canonical = Fe4::splat(&words).canonical().to_lanes()[0];
        assert_eq!(bytes_of(&canonical), (number % p).to_le_bytes::<32>(), "{number}");
        let zero: [u64; 4] = bytemuck::cast(Fe4::splat(&words).is_zero());
        assert_eq!(zero == [u64::MAX; 4], (number % p).is_zero());
    }
}

/// The canonical encodings of points.
#[target_feature(enable = "avx2")]
fn encode(points: &Point4) -> [[u8; 32]; 4] {
    let z = points.z;
    // z^(p - 2) = (z^((p - 5) / 8))^8 z^3.
    let [power, _] = Fe4::square_times(decode::power([z; 2]), 3);
    let inverse = power.mul(z.square().mul(z));
    let (x, y) = (points.x.mul(inverse), points.y.mul(inverse));
    let same_t = points.x.mul(points.y).sub(z.mul(points.t)).carry().is_zero();
    assert_eq!(bytemuck::cast::<_, [u64; 4]>(same_t), [u64::MAX; 4], "X Y = Z T");
    let (x, y) = (x.canonical().to_lanes(), y.canonical().to_lanes());
    std::array::from_fn(|lane| {
        let mut bytes = bytes_of(&y[lane]);
        bytes[31] |= bytes_of(&x[lane])[0] << 7;
        bytes
    })
}

/// Decoding beside dalek's, and the points found beside its points.
#[target_feature(enable = "avx2")]
fn compare_decoding(encodings: &[[u8; 32]; TOGETHER]) {
    let found = decode::decode(encodings);
    for (bytes, found) in encodings.iter().zip(found) {
        assert_decoded(bytes, found.is_some());
        let Some((root, niels)) = found.filter(|_| is_canonical(bytes)) else { continue };
        for niels in [niels, decode::niels([&(root, *bytes); 4])[3]] {
            let Niels { sum, difference, product } = niels;
            assert_is_point([&sum, &difference, &product].map(value), bytes);
        }
    }
}

/// The sum of two points, the second one negated where the bits of `negate` are set.
#[target_feature(enable = "avx2")]
fn sum_of(point: &Point4, niels: &Niels, negate: __m256i) -> Point4 {
    let mut sum = *point;
    sum.add_niels(&Niels4::splat(niels, negate));
    sum
}

#[target_feature(enable = "avx2")]
fn compare_random_decoding(cases: usize, seed: u64) {
    let mut random = random(seed);
    for _ in 0..cases.div_ceil(TOGETHER) {
        compare_decoding(&std::array::from_fn(|_| encoding(&mut random)));
    }
}

/// Every encoding near an edge, in every lane.
#[target_feature(enable = "avx2")]
fn compare_edges_of_decoding() {
    for eight in edges_of_decoding().windows(TOGETHER) {
        compare_decoding(eight.try_into().expect("eight"));
    }
}

/// Additions, doublings and negations, of distinct, equal and opposite points.
#[target_feature(enable = "avx2")]
fn compare_points(cases: usize, seed: u64) {
    let mut random = random(seed);
    let mut sum = Point4::identity();
    let mut slow = [EdwardsPoint::identity(); 4];
    for _ in 0..cases.div_ceil(16) {
        let a = point(&mut random);
        let of_a = niels::<Avx2>(&a);
        let negate: [bool; 4] = std::array::from_fn(|_| random.random());
        let mask = bytemuck::cast(negate.map(|negate| if negate { u64::MAX } else { 0 }));
        let signed = negate.map(|negate| if negate { -a } else { a });
        let twice = |points: [EdwardsPoint; 4]| points.map(|point| point + point);
        let check = |point: &Point4, slow: [EdwardsPoint; 4]| {
            assert_eq!(encode(point), slow.map(|point| point.compress().0));
            assert_eq!(point.is_identity(), slow.map(|point| point.is_identity()));
        };
        let one = sum_of(&Point4::identity(), &of_a, mask);
        check(&one, signed);
        let together = sum_of(&sum, &of_a, mask);
        let slow_together = std::array::from_fn(|lane| slow[lane] + signed[lane]);
        check(&together, slow_together);
        let mut more = together;
        more.add(&sum);
        let slow_more = std::array::from_fn(|lane| slow_together[lane] + slow[lane]);
        check(&more, slow_more);
        check(&sum_of(&one, &of_a, mask), twice(signed));
        let mut doubled = one;
        doubled.double();
        check(&doubled, twice(signed));
        let lane = random.random_range(0..4);
        let mut of_lane = more.lane(lane);
        of_lane.double();
        check(&of_lane.splat(), twice([slow_more[lane]; 4]));
        (sum, slow) = match random.random_range(0..4) {
            0 => (one, signed),
            1 => (of_lane.splat(), twice([slow_more[lane]; 4])),
            2 => (more, slow_more),
            _ => (together, slow_together),
        };
    }
}

/// Sums with every window, beside dalek's.
#[target_feature(enable = "avx2")]
fn compare_sums(cases: usize, seed: u64) {
    let mut random = random(seed);
    let pool: Vec<_> = (0..40).map(|_| point(&mut random)).collect();
    let niels: Vec<_> = pool.iter().map(niels::<Avx2>).collect();
    let mut done = 0;
    while done < cases {
        let terms = Terms::new(&mut random, pool.len());
        let slow = terms.sum_slowly(&pool);
        let long: Vec<_> = terms.long.iter().map(|(by, at)| (*by, &niels[*at])).collect();
        let short: Vec<_> = terms.short.iter().map(|(by, at)| (*by, &niels[*at])).collect();
        for windows in msm::ALL {
            if windows.bits > 8 && random.random_range(0..8) > 0 {
                // So many buckets take as long to sum as a thousand points.
                continue;
            }
            let mut sum = msm::sum(windows, &long, &short);
            for _ in 0..3 {
                sum.double();
            }
            assert_eq!(encode(&sum.splat()), [slow.compress().0; 4]);
            assert_eq!(msm::sum_is_small(windows, &long, &short), slow.is_identity());
            done += terms.len().max(1);
        }
    }
}

#[test]
fn field_elements_are_those_of_big_integers() {
    with_avx2!(compare_field(CASES, 1));
    with_avx2!(compare_edges_of_the_field());
}

#[test]
fn decoding_is_daleks() {
    with_avx2!(compare_edges_of_decoding());
    with_avx2!(compare_random_decoding(CASES, 2));
}

#[test]
fn any_number_of_points_is_decoded() {
    if let Some(avx2) = detect_or_skip::<Avx2>("AVX2") {
        compare_numbers(avx2);
    }
}

#[test]
fn digests_are_those_of_sha2() {
    if let Some(avx2) = detect_or_skip::<Avx2>("AVX2") {
        compare_hashes(avx2);
    }
}

#[test]
fn points_are_daleks() {
    with_avx2!(compare_points(CASES, 3));
}

#[test]
fn sums_are_daleks() {
    with_avx2!(compare_sums(CASES, 4));
}

/// The same with other seeds and many cases: half of them field elements.
#[test]
#[ignore = "minutes; BLOCKMILL_CASES sets how many, and .ci/run runs a million"]
fn millions_of_cases() {
    let (cases, seed) = cases_and_seed();
    with_avx2!(compare_field(cases / 2, seed));
    with_avx2!(compare_random_decoding(cases / 4, seed ^ 1));
    with_avx2!(compare_points(cases / 8, seed ^ 2));
    with_avx2!(compare_sums(cases / 8, seed ^ 3));
}
