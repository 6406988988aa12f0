//! The arithmetic of this module beside big integers and curve25519-dalek.
//!
//! `BLOCKMILL_CASES` is the number of cases of the long run, which is ignored otherwise.

use std::arch::x86_64::__mmask8;

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
use super::field::{Fe8, LANES, PRODUCT_MAX, SUMS_MAX, Sums, TOP_MAX, Words, bytes_of, words_of};
use super::msm;
use super::point::{Niels, Point, Point8};
use super::{Ifma, decode};

/// The largest limbs of an element, and the largest columns of a product and of any sum.
const REDUCED: Words = {
    let most = (1 << 52) - 1;
    [most, most, most, most, TOP_MAX]
};
const PRODUCT: Words = [PRODUCT_MAX; 5];
const SUMS: Words = [SUMS_MAX; 5];

/// Runs a test that needs IFMA, in a function that has it; says so where there is none.
macro_rules! with_ifma {
    ($body:ident($($arg:expr),*)) => {
        if detect_or_skip::<Ifma>("AVX-512 IFMA").is_some() {
            // SAFETY: IFMA is there.
            unsafe { $body($($arg),*) }
        }
    };
}

/// The value of limbs or columns, modulo p.
fn value(words: &Words) -> U256 {
    let terms = words.iter().enumerate().map(|(i, word)| U512::from(*word) << (52 * i));
    (terms.fold(U512::ZERO, |sum, term| sum + term) % prime().to::<U512>()).to()
}

/// Eight elements or sums, at random, and often at either end.
#[target_feature(enable = "avx512ifma")]
fn eight(random: &mut StdRng, max: Words) -> (Fe8, [U256; LANES]) {
    // Now and then the largest there is, in every limb.
    let most = random.random_range(0..16) == 0;
    let words: [Words; LANES] = std::array::from_fn(|_| match most {
        true => max,
        false => max.map(|max| limb(random, max)),
    });
    (Fe8::from_lanes(words.each_ref()), words.map(|words| value(&words)))
}

#[target_feature(enable = "avx512ifma")]
fn values(of: Sums) -> [U256; LANES] {
    Fe8::from_vectors(of.vectors()).to_lanes().map(|words| value(&words))
}

/// Every operation on field elements, with limbs and columns up to the bounds it allows.
#[target_feature(enable = "avx512ifma")]
fn compare_field(cases: usize, seed: u64) {
    let (mut random, p) = (random(seed), prime());
    for _ in 0..cases.div_ceil(LANES) {
        let (a, of_a) = eight(&mut random, REDUCED);
        let (b, of_b) = eight(&mut random, REDUCED);
        let (product, of_product) = eight(&mut random, PRODUCT);
        let (sums, of_sums) = eight(&mut random, SUMS);
        let (product, sums) = (product.sums(), sums.sums());
        let raw = a.product(b);
        assert!(raw.vectors().iter().all(|column| {
            bytemuck::cast::<_, [u64; LANES]>(*column).iter().all(|column| *column <= PRODUCT_MAX)
        }));
        let (times, carried) = (values(raw), values(a.mul(b).sums()));
        let squared = values(a.squared());
        let [once, _] = Fe8::square_times([a, b], 1).map(|one| values(one.sums()));
        let [_, twice] = Fe8::square_times([a, b], 2).map(|one| values(one.sums()));
        let sum = values(a.sums().add(product));
        let difference = values(a.sums().raise().sub(product.add(product)));
        let canonical = a.canonical().to_lanes();
        let (of_carried, zeros) = (values(sums.carry().sums()), a.is_zero());
        let half = Fe8::select(a, b, 0b1010_0110).to_lanes();
        let moved = values(a.lanes::<0b01_11_00_10>().sums());
        for lane in 0..LANES {
            let (x, y, z) = (of_a[lane], of_b[lane], of_product[lane]);
            assert_eq!([times[lane], carried[lane]], [x.mul_mod(y, p); 2]);
            assert_eq!([squared[lane], once[lane]], [x.mul_mod(x, p); 2]);
            assert_eq!(twice[lane], y.mul_mod(y, p).mul_mod(y.mul_mod(y, p), p));
            assert_eq!(sum[lane], x.add_mod(z, p));
            assert_eq!(difference[lane], x.add_mod(p - z, p).add_mod(p - z, p));
            assert_eq!(of_carried[lane], of_sums[lane]);
            assert_eq!(bytes_of(&canonical[lane]), x.to_le_bytes::<32>());
            assert_eq!(words_of(&bytes_of(&canonical[lane])), canonical[lane]);
            assert_eq!(zeros >> lane & 1 == 1, x.is_zero());
            assert_eq!(value(&half[lane]), if 0b1010_0110 >> lane & 1 == 1 { y } else { x });
            assert_eq!(moved[lane], of_a[4 * (lane / 4) + [2, 0, 3, 1][lane % 4]]);
        }
    }
}

/// Canonical forms of what lies around 0, p, 2^255 and the largest element.
#[target_feature(enable = "avx512ifma")]
fn compare_edges_of_the_field() {
    let p = prime();
    let near = |around: U256| (0..40).map(move |i| around.wrapping_add(U256::from(i)));
    let largest = (U256::from(TOP_MAX + 1) << 208) - U256::from(40);
    for number in near(U256::ZERO).chain(near(p - U256::from(20))).chain(near(largest)) {
        let limb = |i: usize| (number >> (52 * i)).as_limbs()[0] & ((1 << 52) - 1);
        let words = std::array::from_fn(limb);
        let element = Fe8::splat(&words);
        for canonical in element.canonical().to_lanes() {
            assert_eq!(bytes_of(&canonical), (number % p).to_le_bytes::<32>(), "{number}");
        }
        assert_eq!(element.is_zero(), if (number % p).is_zero() { 0xff } else { 0 });
        if !number.bit(255) {
            assert_eq!(words_of(&number.to_le_bytes::<32>()), words);
        }
    }
}

/// The canonical encodings of points.
#[target_feature(enable = "avx512ifma")]
fn encode(points: &Point8) -> [[u8; 32]; LANES] {
    let (sum, difference) = (points.sum.sums(), points.difference.sums());
    // Twice the coordinates; X Y = Z T is 4 times that.
    let (x, y) = (sum.raise().sub(difference).carry(), sum.add(difference).carry());
    let z = points.z.sums().add(points.z.sums()).carry();
    let t = points.t.sums().add(points.t.sums()).carry();
    assert_eq!(x.product(y).raise().sub(z.product(t)).carry().is_zero(), 0xff, "X Y = Z T");
    // z^(p - 2) = (z^((p - 5) / 8))^8 z^3.
    let [power, _] = Fe8::square_times(decode::power([z; 2]), 3);
    let inverse = power.mul(z.squared().carry().mul(z));
    let (x, y) = (x.mul(inverse).canonical().to_lanes(), y.mul(inverse).canonical().to_lanes());
    std::array::from_fn(|lane| {
        let mut bytes = bytes_of(&y[lane]);
        bytes[31] |= bytes_of(&x[lane])[0] << 7;
        bytes
    })
}

/// Decoding beside dalek's, and the points found beside its points.
#[target_feature(enable = "avx512ifma")]
fn compare_decoding(encodings: &[[u8; 32]; TOGETHER]) {
    let found = decode::decode(encodings);
    for (bytes, found) in encodings.iter().zip(found) {
        assert_decoded(bytes, found.is_some());
        let Some((root, niels)) = found.filter(|_| is_canonical(bytes)) else { continue };
        for niels in [niels, decode::niels([&(root, *bytes); LANES])[5]] {
            let Niels { sum, difference, product } = niels;
            assert_is_point([&sum, &difference, &product].map(value), bytes);
        }
    }
}

#[target_feature(enable = "avx512ifma")]
fn compare_random_decoding(cases: usize, seed: u64) {
    let mut random = random(seed);
    for _ in 0..cases.div_ceil(TOGETHER) {
        compare_decoding(&std::array::from_fn(|_| encoding(&mut random)));
    }
}

/// Every encoding near an edge, in every lane.
#[target_feature(enable = "avx512ifma")]
fn compare_edges_of_decoding() {
    for some in edges_of_decoding().windows(TOGETHER) {
        compare_decoding(some.try_into().expect("as many"));
    }
}

/// The sum of points and one more, which is negated in the lanes of `negate`.
#[target_feature(enable = "avx512ifma")]
fn sum_of(points: &Point8, niels: &Niels, negate: __mmask8) -> Point8 {
    let mut sum = *points;
    sum.add_niels(niels, negate);
    sum
}

/// Additions, doublings and negations, of distinct, equal and opposite points.
#[target_feature(enable = "avx512ifma")]
fn compare_points(cases: usize, seed: u64) {
    let mut random = random(seed);
    let mut sum = Point8::identity();
    let mut slow = [EdwardsPoint::identity(); LANES];
    for _ in 0..cases.div_ceil(32) {
        let a = point(&mut random);
        let of_a = niels::<Ifma>(&a);
        let negate: __mmask8 = random.random();
        let signed = std::array::from_fn(|lane| if negate >> lane & 1 == 1 { -a } else { a });
        let twice = |points: [EdwardsPoint; LANES]| points.map(|point| point + point);
        let check = |points: &Point8, slow: [EdwardsPoint; LANES]| {
            assert_eq!(encode(points), slow.map(|point| point.compress().0));
            let identity = |lane: usize| u8::from(slow[lane].is_identity()) << lane;
            assert_eq!(points.is_identity(), (0..LANES).map(identity).sum::<u8>());
        };
        let one = sum_of(&Point8::identity(), &of_a, negate);
        check(&one, signed);
        let together = sum_of(&sum, &of_a, negate);
        let slow_together = std::array::from_fn(|lane| slow[lane] + signed[lane]);
        check(&together, slow_together);
        let mut more = together;
        more.add(&sum);
        let slow_more = std::array::from_fn(|lane| slow_together[lane] + slow[lane]);
        check(&more, slow_more);
        check(&sum_of(&one, &of_a, negate), twice(signed));
        check(&sum_of(&one, &of_a, !negate), [EdwardsPoint::identity(); LANES]);
        let mut doubled = one;
        doubled.add(&one);
        check(&doubled, twice(signed));
        let (from, to) = (random.random_range(0..LANES), random.random_range(0..LANES));
        let mut alone = Point::identity();
        alone.add(&more.addends()[from]);
        check(&alone.splat(), [slow_more[from]; LANES]);
        alone.double();
        let mut slow_alone = slow_more[from] + slow_more[from];
        check(&alone.splat(), [slow_alone; LANES]);
        alone.add(&one.addends()[to]);
        slow_alone += signed[to];
        check(&alone.splat(), [slow_alone; LANES]);
        (sum, slow) = match random.random_range(0..4) {
            0 => (one, signed),
            1 => (alone.splat(), [slow_alone; LANES]),
            2 => (more, slow_more),
            _ => (together, slow_together),
        };
    }
}

/// Sums with every window, beside dalek's.
#[target_feature(enable = "avx512ifma")]
fn compare_sums(cases: usize, seed: u64) {
    let mut random = random(seed);
    let pool: Vec<_> = (0..40).map(|_| point(&mut random)).collect();
    let niels: Vec<_> = pool.iter().map(niels::<Ifma>).collect();
    let mut done = 0;
    while done < cases {
        let terms = Terms::new(&mut random, pool.len());
        let slow = terms.sum_slowly(&pool);
        let long: Vec<_> = terms.long.iter().map(|(by, at)| (*by, &niels[*at])).collect();
        let short: Vec<_> = terms.short.iter().map(|(by, at)| (*by, &niels[*at])).collect();
        for windows in msm::ALL {
            let mut sum = msm::sum(windows, &long, &short);
            for _ in 0..3 {
                sum.double();
            }
            assert_eq!(encode(&sum.splat()), [slow.compress().0; LANES]);
            assert_eq!(msm::sum_is_small(windows, &long, &short), slow.is_identity());
            done += terms.len().max(1);
        }
    }
}

#[test]
fn field_elements_are_those_of_big_integers() {
    with_ifma!(compare_field(CASES, 1));
    with_ifma!(compare_edges_of_the_field());
}

#[test]
fn decoding_is_daleks() {
    with_ifma!(compare_edges_of_decoding());
    with_ifma!(compare_random_decoding(CASES, 2));
}

#[test]
fn any_number_of_points_is_decoded() {
    if let Some(ifma) = detect_or_skip::<Ifma>("AVX-512 IFMA") {
        compare_numbers(ifma);
    }
}

#[test]
fn digests_are_those_of_sha2() {
    if let Some(ifma) = detect_or_skip::<Ifma>("AVX-512 IFMA") {
        compare_hashes(ifma);
    }
}

#[test]
fn points_are_daleks() {
    with_ifma!(compare_points(CASES, 3));
}

#[test]
fn sums_are_daleks() {
    with_ifma!(compare_sums(CASES, 4));
}

/// The same with other seeds and many cases: half of them field elements.
#[test]
#[ignore = "minutes; BLOCKMILL_CASES sets how many, and .ci/run runs a million"]
fn millions_of_cases() {
    let (cases, seed) = cases_and_seed();
    with_ifma!(compare_field(cases / 2, seed));
    with_ifma!(compare_random_decoding(cases / 4, seed ^ 1));
    with_ifma!(compare_points(cases / 8, seed ^ 2));
    with_ifma!(compare_sums(cases / 8, seed ^ 3));
}
