//! What the tests of vector units have in common: cases that could go wrong, and slow answers.

use std::io::Write;

use curve25519_dalek::constants::EIGHT_TORSION;
use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::{Identity, VartimeMultiscalarMul};
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use ruint::aliases::U256;
use sha2::{Digest, Sha512};

use super::curve;
use super::encoding::is_canonical;
use super::engine::SHORT_OFFSET;
use super::unit::Unit;

/// Cases of the short run of each test, which takes seconds in a debug build.
pub(super) const CASES: usize = 4_000;

/// The unit, if this processor has it; otherwise says that nothing is compared.
pub(super) fn detect_or_skip<U: Unit>(name: &str) -> Option<U> {
    let unit = U::detect();
    if unit.is_none() {
        // Not `eprintln!`, which the harness captures; and in one piece, as tests run side by side.
        let skipped = format!("SKIPPED: this processor has no {name}\n");
        let _ = std::io::stderr().write_all(skipped.as_bytes());
    }
    unit
}

/// The number of cases of the long run, and where it starts.
pub(super) fn cases_and_seed() -> (usize, u64) {
    let cases = std::env::var("BLOCKMILL_CASES")
        .map_or(1_000_000, |cases| cases.parse().expect("a number"));
    let seed = rand::random();
    println!("{cases} cases, seed {seed}");
    (cases, seed)
}

pub(super) fn random(seed: u64) -> StdRng {
    StdRng::seed_from_u64(seed)
}

pub(super) fn prime() -> U256 {
    (U256::from(1) << 255) - U256::from(19)
}

/// A limb up to `max`: at random, and often at either end.
pub(super) fn limb(random: &mut StdRng, max: u64) -> u64 {
    match random.random_range(0..8) {
        0 => 0,
        1 => max,
        2 => max - random.random_range(0..3),
        3 => 1 << random.random_range(0..max.ilog2()),
        _ => random.random_range(0..=max),
    }
}

/// What decoding is defined as: canonical encodings of points, and nothing else.
fn decode_slowly(bytes: &[u8; 32]) -> Option<EdwardsPoint> {
    let encoding = CompressedEdwardsY(*bytes);
    encoding.decompress().filter(|point| point.compress() == encoding)
}

/// Encodings that could go wrong: of points, of none, not canonical, of small order, near 0 and p.
pub(super) fn encoding(random: &mut StdRng) -> [u8; 32] {
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

/// Every y within 256 of 0, of p and of 2^255, with either sign, and all of small order.
pub(super) fn edges_of_decoding() -> Vec<[u8; 32]> {
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
    all
}

/// Whether `found` is as decoding is defined, if encodings that are not canonical do not count.
pub(super) fn assert_decoded(bytes: &[u8; 32], found: bool) {
    let slowly = decode_slowly(bytes).is_some();
    assert_eq!(found && is_canonical(bytes), slowly, "{bytes:02x?}");
}

/// That y + x, y - x and 2 d x y are those of the point of the curve that `bytes` encode.
pub(super) fn assert_is_point([sum, difference, product]: [U256; 3], bytes: &[u8; 32]) {
    let p = prime();
    let half = (p + U256::from(1)) >> 1;
    let x = sum.add_mod(p - difference, p).mul_mod(half, p);
    let y = sum.add_mod(difference, p).mul_mod(half, p);
    let (d, xx, yy) = (U256::from_le_bytes(curve::D), x.mul_mod(x, p), y.mul_mod(y, p));
    assert_eq!(yy.add_mod(p - xx, p), d.mul_mod(xx.mul_mod(yy, p), p).add_mod(U256::from(1), p));
    let half_of_product = d.mul_mod(x.mul_mod(y, p), p);
    assert_eq!(product, half_of_product.add_mod(half_of_product, p));
    let mut encoded = y.to_le_bytes::<32>();
    encoded[31] |= u8::from(x.bit(0)) << 7;
    assert_eq!(encoded, *bytes);
}

/// A point: the identity, of small, of mixed or of prime order.
pub(super) fn point(random: &mut StdRng) -> EdwardsPoint {
    let mut point = match random.random_range(0..4) {
        0 => EdwardsPoint::identity(),
        _ => EdwardsPoint::mul_base(&scalar(random)),
    };
    if random.random() {
        point += EIGHT_TORSION[random.random_range(0..8)];
    }
    point
}

/// What a unit makes of a point.
pub(super) fn niels<U: Unit>(point: &EdwardsPoint) -> U::Niels {
    let unit = U::detect().expect("asked before");
    unit.decode(&[point.compress().0])[0].1
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

/// The terms of a sum: scalars, and places in a pool of points.
pub(super) struct Terms {
    pub(super) long: Vec<([u8; 32], usize)>,
    pub(super) short: Vec<(u128, usize)>,
}

impl Terms {
    /// Up to eleven of each kind, out of a pool of so many points.
    pub(super) fn new(random: &mut StdRng, pool: usize) -> Self {
        let (longs, shorts) = (random.random_range(0..12), random.random_range(0..12));
        let long = (0..longs).map(|_| (scalar(random).to_bytes(), random.random_range(0..pool)));
        let long = long.collect();
        let short = (0..shorts).map(|_| {
            let weight = match random.random_range(0..6) {
                0 => 0,
                1 => u128::MAX,
                2 => SHORT_OFFSET.wrapping_add(random.random_range(0..3)).wrapping_sub(1),
                _ => random.random(),
            };
            (weight, random.random_range(0..pool))
        });
        Self { long, short: short.collect() }
    }

    pub(super) fn len(&self) -> usize {
        self.long.len() + self.short.len()
    }

    /// 8 times their sum: a point of any order times a number is not that times the number modulo L.
    pub(super) fn sum_slowly(&self, pool: &[EdwardsPoint]) -> EdwardsPoint {
        let long = self.long.iter().map(|(by, _)| Scalar::from_bytes_mod_order(*by));
        let short = self.short.iter().map(|(by, _)| Scalar::from(*by) - Scalar::from(SHORT_OFFSET));
        let places = self.long.iter().map(|(_, at)| at).chain(self.short.iter().map(|(_, at)| at));
        EdwardsPoint::vartime_multiscalar_mul(long.chain(short), places.map(|&at| pool[at]))
            .mul_by_cofactor()
    }
}

/// Any number of points, all of which decode, or all before one place.
pub(super) fn compare_numbers(unit: impl Unit) {
    let (points, none): (Vec<_>, Vec<_>) = edges_of_decoding()
        .into_iter()
        .filter(is_canonical)
        .partition(|bytes| decode_slowly(bytes).is_some());
    let alone = points.iter().map(|bytes| unit.roots(&[*bytes])[0].0);
    let alone: Vec<_> = alone.take(50).collect();
    for len in 0..alone.len() {
        let mut some = points[..len].to_vec();
        let roots = unit.roots(&some);
        assert!(roots.iter().map(|root| root.0).eq(alone[..len].iter().copied()));
        let known: Vec<_> = roots.into_iter().zip(some.iter().copied()).collect();
        assert_eq!(unit.niels(&known).len(), len);
        for place in 0..len {
            some[place] = none[place];
            assert_eq!(unit.decode(&some).len(), place);
            some[place] = points[place];
        }
    }
}

/// Messages of every length around one to four blocks, in every company.
pub(super) fn compare_hashes(unit: impl Unit) {
    let bytes: Vec<u8> = (0..2_000u32).map(|i| (i * i % 251).to_le_bytes()[0]).collect();
    let heads: [[u8; 64]; 2] = [[0x5a; 64], *bytes.first_chunk().expect("64 bytes")];
    let lens = (0..600).chain([1_000, 1_999]);
    // Cut at the ends, and so that either part is the longer one.
    let cut = |len: usize| {
        let cuts = [0, len / 7, len - len / 7, len];
        cuts.map(|cut| (&heads[len % 2], bytes[..len].split_at(cut).into()))
    };
    let messages: Vec<(_, [&[u8]; 2])> = lens.flat_map(cut).collect();
    let slowly = |(head, rest): &(&[u8; 64], [&[u8]; 2])| -> [u8; 64] {
        Sha512::new().chain_update(head).chain_update(rest.concat()).finalize().into()
    };
    let expected: Vec<_> = messages.iter().map(slowly).collect();
    for skipped in 0..8 {
        assert_eq!(unit.sha512(&messages[skipped..]), expected[skipped..]);
    }
    // Neighbours of very different lengths.
    let order = |i: usize| (i * 97 + 13) % messages.len();
    let mixed: Vec<_> = (0..messages.len()).map(|i| messages[order(i)]).collect();
    let digests = unit.sha512(&mixed);
    assert!((0..mixed.len()).all(|i| digests[i] == expected[order(i)]));
}
