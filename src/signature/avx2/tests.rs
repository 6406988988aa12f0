//! The arithmetic of this module beside big integers and curve25519-dalek.
//!
//! `BLOCKMILL_CASES` is the number of cases of the long run, which is ignored otherwise.

use std::arch::x86_64::__m256i;

use curve25519_dalek::constants::EIGHT_TORSION;
use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::{Identity, IsIdentity, VartimeMultiscalarMul};
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use ruint::aliases::{U256, U512};
use sha2::{Digest, Sha512};

use super::super::engine::SHORT_OFFSET;
use super::decode::TOGETHER;
use super::field::{Fe4, Grade, LOOSE, REDUCED, WIDE, Words, bytes_of, words_of};
use super::msm::{self, Windows};
use super::point::{D, Niels, Niels4, Point4};
use super::{Avx2, decode};

/// Cases of the short run of each test, which takes seconds in a debug build.
const CASES: usize = 4_000;

/// Runs a test that needs AVX2, in a function that has it; says so where there is none.
macro_rules! with_avx2 {
    ($body:ident($($arg:expr),*)) => {
        match Avx2::detect() {
            // SAFETY: AVX2 is there.
            Some(_) => unsafe { $body($($arg),*) },
            None => eprintln!("no AVX2 here: nothing was compared"),
        }
    };
}

fn random(seed: u64) -> StdRng {
    StdRng::seed_from_u64(seed)
}

fn prime() -> U256 {
    (U256::from(1) << 255) - U256::from(19)
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
    std::array::from_fn(|_| {
        let mut limb = |max: u32| match random.random_range(0..8) {
            0 => 0,
            1 => max,
            2 => max - random.random_range(0..3),
            3 => 1 << random.random_range(0..25),
            _ => random.random_range(0..=max),
        };
        u64::from(limb(even)) | u64::from(limb(odd)) << 32
    })
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

/// What decoding is defined as: canonical encodings of points, and nothing else.
fn decode_slowly(bytes: &[u8; 32]) -> Option<EdwardsPoint> {
    let encoding = CompressedEdwardsY(*bytes);
    encoding.decompress().filter(|point| point.compress() == encoding)
}

/// Encodings that could go wrong: of points, of none, not canonical, of small order, near 0 and p.
fn encoding(random: &mut StdRng) -> [u8; 32] {
    let mut bytes = [0; 32];
    random.fill_bytes(&mut bytes);
    match random.random_range(0..12) {
        0 => bytes = EIGHT_TORSION[random.random_range(0..8)].compress().0,
        1 => bytes[1..31].fill(0xff),
        2 => bytes[1..].fill(0),
        3 => {
            bytes[1..31].fill(0xff);
            bytes[31] |= 0x7f;
        }
        4 => bytes[1..31].fill(0),
        5 => bytes[random.random_range(0..32)..].fill(if random.random() { 0xff } else { 0 }),
        _ => {}
    }
    bytes
}

/// Decoding beside dalek's, and the points found beside its points.
#[target_feature(enable = "avx2")]
fn compare_decoding(encodings: &[[u8; 32]; TOGETHER]) {
    let found = decode::decode(encodings);
    for (bytes, found) in encodings.iter().zip(found) {
        let canonical = super::super::encoding::is_canonical(bytes);
        let slowly = decode_slowly(bytes);
        assert_eq!(found.is_some() && canonical, slowly.is_some(), "{bytes:02x?}");
        let Some((root, niels)) = found.filter(|_| canonical) else { continue };
        for niels in [niels, decode::niels([&(root, *bytes); 4])[3]] {
            assert_is_point(&niels, bytes);
        }
    }
}

/// That y + x, y - x and 2 d x y are those of the point of the curve that `bytes` encode.
fn assert_is_point(niels: &Niels, bytes: &[u8; 32]) {
    let p = prime();
    let half = (p + U256::from(1)) >> 1;
    let (sum, difference) = (value(&niels.sum), value(&niels.difference));
    let x = sum.add_mod(p - difference, p).mul_mod(half, p);
    let y = sum.add_mod(difference, p).mul_mod(half, p);
    let (d, xx, yy) = (value(&D), x.mul_mod(x, p), y.mul_mod(y, p));
    assert_eq!(yy.add_mod(p - xx, p), d.mul_mod(xx.mul_mod(yy, p), p).add_mod(U256::from(1), p));
    let product = d.mul_mod(x.mul_mod(y, p), p);
    assert_eq!(value(&niels.product), product.add_mod(product, p));
    let mut encoded = y.to_le_bytes::<32>();
    encoded[31] |= u8::from(x.bit(0)) << 7;
    assert_eq!(encoded, *bytes);
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

/// Every y within 256 of 0, of p and of 2^255, with either sign, in every lane.
#[target_feature(enable = "avx2")]
fn compare_edges_of_decoding() {
    let mut all = Vec::new();
    for low in 0..=255u8 {
        for (fill, high) in [(0x00, 0x00), (0xff, 0x7f), (0x00, 0x7f), (0xff, 0x00)] {
            for sign in [0, 0x80] {
                let mut bytes = [fill; 32];
                (bytes[0], bytes[31]) = (low, high | sign);
                all.push(bytes);
            }
        }
    }
    all.extend(EIGHT_TORSION.map(|point| point.compress().0));
    for eight in all.windows(TOGETHER) {
        compare_decoding(eight.try_into().expect("eight"));
    }
}

/// A point and what this module makes of it.
fn point(random: &mut StdRng) -> (EdwardsPoint, Niels) {
    let mut point = match random.random_range(0..4) {
        0 => EdwardsPoint::identity(),
        _ => EdwardsPoint::mul_base(&scalar(random)),
    };
    if random.random() {
        point += EIGHT_TORSION[random.random_range(0..8)];
    }
    (point, niels(&point))
}

fn niels(point: &EdwardsPoint) -> Niels {
    let avx2 = Avx2::detect().expect("asked before");
    avx2.decode(&[point.compress().0])[0].1
}

/// A scalar: at random, small, near L, or with runs of equal bits.
fn scalar(random: &mut StdRng) -> Scalar {
    let mut bytes = [0; 64];
    random.fill_bytes(&mut bytes);
    let any = Scalar::from_bytes_mod_order_wide(&bytes);
    match random.random_range(0..6) {
        0 => Scalar::from(random.random_range(0..3u8)),
        1 => -Scalar::from(random.random_range(0..3u8)),
        2 => {
            let from = random.random_range(0..31);
            let byte = [0x00, 0x7f, 0x80, 0xff][random.random_range(0..4)];
            bytes[from..random.random_range(from..32)].fill(byte);
            Scalar::from_bytes_mod_order(*bytes.first_chunk().expect("32"))
        }
        _ => any,
    }
}

/// Additions, doublings and negations, of distinct, equal and opposite points.
#[target_feature(enable = "avx2")]
fn compare_points(cases: usize, seed: u64) {
    let mut random = random(seed);
    let mut sum = Point4::identity();
    let mut slow = [EdwardsPoint::identity(); 4];
    for _ in 0..cases.div_ceil(16) {
        let (a, of_a) = point(&mut random);
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
    let mut done = 0;
    while done < cases {
        let (longs, shorts) = (random.random_range(0..12), random.random_range(0..12));
        let terms: Vec<_> = (0..longs + shorts)
            .map(|_| (scalar(&mut random), pool[random.random_range(0..pool.len())]))
            .collect();
        let weights: Vec<u128> = (0..shorts)
            .map(|_| match random.random_range(0..6) {
                0 => 0,
                1 => u128::MAX,
                2 => SHORT_OFFSET.wrapping_add(random.random_range(0..3)).wrapping_sub(1),
                _ => random.random(),
            })
            .collect();
        let (long, short) = terms.split_at(longs);
        let long: Vec<_> =
            long.iter().map(|(by, (point, of))| (by.to_bytes(), of, point)).collect();
        let short: Vec<_> =
            weights.iter().zip(short).map(|(by, (_, (point, of)))| (*by, of, point)).collect();
        let by = long
            .iter()
            .map(|(by, ..)| Scalar::from_bytes_mod_order(*by))
            .chain(short.iter().map(|(by, ..)| Scalar::from(*by) - Scalar::from(SHORT_OFFSET)));
        let points = long.iter().map(|(.., point)| **point).chain(short.iter().map(|(.., p)| **p));
        let slow = EdwardsPoint::vartime_multiscalar_mul(by, points);
        // A point of any order times a number is not that times the number modulo L.
        let slow = slow.mul_by_cofactor();
        let long: Vec<_> = long.iter().map(|(by, of, _)| (*by, *of)).collect();
        let short: Vec<_> = short.iter().map(|(by, of, _)| (*by, *of)).collect();
        for (number, windows) in Windows::ALL.into_iter().enumerate() {
            if number == 4 && random.random_range(0..8) > 0 {
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

/// Messages of every length around one and two blocks, in every company.
fn compare_hashes(avx2: Avx2) {
    let bytes: Vec<u8> = (0..2_000u32).map(|i| (i * i % 251).to_le_bytes()[0]).collect();
    let heads: [[u8; 64]; 2] = [[0x5a; 64], *bytes.first_chunk().expect("64 bytes")];
    let lens = (0..330).chain([500, 1_000, 1_999]);
    let messages: Vec<_> = lens.map(|len| (&heads[len % 2], &bytes[..len])).collect();
    let slowly = |(head, rest): &(&[u8; 64], &[u8])| -> [u8; 64] {
        Sha512::new().chain_update(head).chain_update(rest).finalize().into()
    };
    let expected: Vec<_> = messages.iter().map(slowly).collect();
    for skipped in 0..8 {
        assert_eq!(avx2.sha512(&messages[skipped..]), expected[skipped..]);
    }
    // Neighbours of very different lengths.
    let order = |i: usize| (i * 97 + 13) % messages.len();
    let mixed: Vec<_> = (0..messages.len()).map(|i| messages[order(i)]).collect();
    let digests = avx2.sha512(&mixed);
    assert!((0..mixed.len()).all(|i| digests[i] == expected[order(i)]));
}

#[test]
fn digests_are_those_of_sha2() {
    match Avx2::detect() {
        Some(avx2) => compare_hashes(avx2),
        None => eprintln!("no AVX2 here: nothing was compared"),
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
#[ignore = "minutes; BLOCKMILL_CASES sets how many"]
fn millions_of_cases() {
    let cases = std::env::var("BLOCKMILL_CASES")
        .map_or(1_000_000, |cases| cases.parse().expect("a number"));
    let seed = rand::random();
    println!("{cases} cases, seed {seed}");
    with_avx2!(compare_field(cases / 2, seed));
    with_avx2!(compare_random_decoding(cases / 4, seed ^ 1));
    with_avx2!(compare_points(cases / 8, seed ^ 2));
    with_avx2!(compare_sums(cases / 8, seed ^ 3));
}
