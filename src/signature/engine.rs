//! The arithmetic that batches are judged with: curve25519-dalek's, or this project's with a vector
//! unit.
//!
//! One of them is chosen when a batch comes in, and carried as a value. Verdicts are the same with
//! each: single signatures are always judged with curve25519-dalek, and a batch asks its engine for
//! nothing but which encodings are points, and whether a sum of multiples is of small order.

use std::iter::once;
use std::ops::Range;
use std::sync::LazyLock;

use curve25519_dalek::constants::{ED25519_BASEPOINT_POINT, EIGHT_TORSION};
use curve25519_dalek::edwards::EdwardsPoint;
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::VartimeMultiscalarMul;
use sha2::{Digest, Sha512};

use super::curve::Root;
use super::encoding::{decode_point, is_canonical};
use super::unit::Unit;
use super::wide::Signed;
use super::{Avx2, BadSignature, Ifma, Item, KEY_LEN, KeptItem, PublicKey, batch};

/// What computes with points of the curve.
#[derive(Clone, Copy, Debug)]
pub struct Engine(Kind);

#[derive(Clone, Copy, Debug)]
enum Kind {
    Portable,
    Avx2(Avx2),
    Ifma(Ifma),
}

impl Engine {
    /// The one that runs everywhere.
    #[must_use]
    pub const fn portable() -> Self {
        Self(Kind::Portable)
    }

    /// The fastest that runs on this processor, which is the one that is used unless another is asked
    /// for.
    #[must_use]
    pub fn best() -> Self {
        Self::units().next().unwrap_or(Self::portable())
    }

    /// All that run on this processor.
    #[must_use]
    pub fn all() -> Vec<Self> {
        Self::units().chain([Self::portable()]).collect()
    }

    /// Those of vector units, the fastest first.
    fn units() -> impl Iterator<Item = Self> {
        let kinds = [Ifma::detect().map(Kind::Ifma), Avx2::detect().map(Kind::Avx2)];
        kinds.into_iter().flatten().map(Self)
    }

    /// Its name, for reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self.0 {
            Kind::Portable => "portable",
            Kind::Avx2(_) => "avx2",
            Kind::Ifma(_) => "avx512-ifma",
        }
    }

    /// [`verify_batch`](super::verify_batch) with this engine.
    ///
    /// # Errors
    /// The same.
    pub fn verify_batch(self, items: &[Item<'_>]) -> Result<(), BadSignature> {
        batch::verify_claims(self, items)
    }

    /// [`verify_batch_kept`](super::verify_batch_kept) with this engine.
    ///
    /// # Errors
    /// The same.
    pub fn verify_batch_kept(self, items: &[KeptItem<'_>]) -> Result<(), BadSignature> {
        batch::verify_claims(self, items)
    }

    /// Whether this is the one that runs everywhere.
    pub(super) const fn is_portable(self) -> bool {
        matches!(self.0, Kind::Portable)
    }

    /// The SHA-512 digests of messages.
    pub(super) fn sha512(self, messages: &[Message<'_>]) -> Vec<[u8; 64]> {
        match self.0 {
            Kind::Portable => messages.iter().map(sha512).collect(),
            Kind::Avx2(unit) => unit.sha512(messages),
            Kind::Ifma(unit) => unit.sha512(messages),
        }
    }

    /// What decoding canonical encodings finds out, up to the first that is that of no point; nothing
    /// if this engine has no use for it.
    pub(super) fn roots(self, encodings: &[[u8; 32]]) -> Option<Vec<Root>> {
        let roots = match self.0 {
            Kind::Portable => return None,
            Kind::Avx2(unit) => unit.roots(encodings),
            Kind::Ifma(unit) => unit.roots(encodings),
        };
        Some(roots)
    }
}

/// A message to hash: a head, as long as R and A, or as a digest; and what follows it, in two parts.
pub(super) type Message<'a> = (&'a [u8; HEAD_LEN], [&'a [u8]; 2]);

/// The length of a message's head in bytes.
pub(super) const HEAD_LEN: usize = 64;

/// The SHA-512 digest of one message.
pub(super) fn sha512((head, [domain, rest]): &Message<'_>) -> [u8; 64] {
    Sha512::new().chain_update(head).chain_update(domain).chain_update(rest).finalize().into()
}

/// A key, and what is known of it.
#[derive(Clone, Copy)]
pub(super) struct Key<'a> {
    pub(super) bytes: &'a [u8; KEY_LEN],
    pub(super) kept: Option<&'a PublicKey>,
}

/// The points of keys with a vector unit, up to the first that breaks rule 1 or 2 of E1.
fn keys_with<U: Unit>(unit: U, keys: &[Key<'_>]) -> Vec<U::Niels> {
    let root = |number: usize| keys[number].kept.and_then(PublicKey::root);
    let (known, unknown): (Vec<_>, Vec<_>) =
        (0..keys.len()).partition(|&number| root(number).is_some());
    let roots: Vec<_> =
        known.iter().filter_map(|&number| Some((root(number)?, *keys[number].bytes))).collect();
    let encodings = unknown.iter().map(|&number| *keys[number].bytes);
    let encodings: Vec<_> =
        encodings.take_while(|bytes| is_canonical(bytes) && !is_small_order(bytes)).collect();
    let mut points = vec![None; keys.len()];
    for (number, niels) in known.into_iter().zip(unit.niels(&roots)) {
        points[number] = Some(niels);
    }
    for (number, (_, niels)) in unknown.into_iter().zip(unit.decode(&encodings)) {
        points[number] = Some(niels);
    }
    points.into_iter().map_while(|point| point).collect()
}

/// Whether a canonical encoding is that of one of the eight points of small order.
pub(super) fn is_small_order(bytes: &[u8; 32]) -> bool {
    static ENCODINGS: LazyLock<[[u8; 32]; 8]> =
        LazyLock::new(|| EIGHT_TORSION.map(|point| point.compress().0));
    ENCODINGS.contains(bytes)
}

/// The points of keys and commitments, in the form that an engine takes.
pub(super) enum Points {
    Portable { keys: Vec<EdwardsPoint>, commitments: Vec<EdwardsPoint> },
    Avx2(UnitPoints<Avx2>),
    Ifma(UnitPoints<Ifma>),
}

impl Points {
    /// Those of `keys`, up to the first that breaks rule 1 or 2 of E1; none of commitments, but room for
    /// so many.
    pub(super) fn of_keys(engine: Engine, keys: &[Key<'_>], commitments: usize) -> Self {
        match engine.0 {
            Kind::Portable => {
                let keys = keys.iter().map_while(|key| match key.kept {
                    Some(kept) => Some(kept.point()),
                    None => decode_point(key.bytes).filter(|point| !point.is_small_order()),
                });
                Self::Portable {
                    keys: keys.collect(),
                    commitments: Vec::with_capacity(commitments),
                }
            }
            Kind::Avx2(unit) => Self::Avx2(UnitPoints::of_keys(unit, keys, commitments)),
            Kind::Ifma(unit) => Self::Ifma(UnitPoints::of_keys(unit, keys, commitments)),
        }
    }

    /// Adds those of commitments, up to the first that breaks rule 5 of E1.
    pub(super) fn decode_commitments(&mut self, encodings: &[[u8; 32]]) {
        match self {
            Self::Portable { commitments, .. } => {
                commitments.extend(encodings.iter().map_while(decode_point));
            }
            Self::Avx2(points) => points.decode_commitments(encodings),
            Self::Ifma(points) => points.decode_commitments(encodings),
        }
    }

    pub(super) const fn keys_len(&self) -> usize {
        match self {
            Self::Portable { keys, .. } => keys.len(),
            Self::Avx2(points) => points.keys.len(),
            Self::Ifma(points) => points.keys.len(),
        }
    }

    pub(super) const fn commitments_len(&self) -> usize {
        match self {
            Self::Portable { commitments, .. } => commitments.len(),
            Self::Avx2(points) => points.commitments.len(),
            Self::Ifma(points) => points.commitments.len(),
        }
    }

    /// Whether 8 times the sum of all these is the identity: `of_base` times B, multiples of some
    /// keys, by number, and the commitments in `range`, each times its weight.
    pub(super) fn sum_is_small(
        &self,
        of_base: &Scalar,
        of_keys: &[(usize, Scalar)],
        range: Range<usize>,
        weights: &[Weight],
    ) -> bool {
        match self {
            Self::Portable { keys, commitments } => {
                let scalars = of_keys.iter().map(|(_, by)| *by);
                let scalars = scalars.chain(weights.iter().map(|weight| weight.magnitude().into()));
                let points = of_keys.iter().map(|(number, _)| keys[*number]);
                let points = points.chain(weights.iter().zip(&commitments[range]).map(signed));
                EdwardsPoint::vartime_multiscalar_mul(
                    once(*of_base).chain(scalars).collect::<Vec<_>>(),
                    once(ED25519_BASEPOINT_POINT).chain(points).collect::<Vec<_>>(),
                )
                .is_small_order()
            }
            Self::Avx2(points) => points.sum_is_small(of_base, of_keys, range, weights),
            Self::Ifma(points) => points.sum_is_small(of_base, of_keys, range, weights),
        }
    }
}

/// [`Points`] of a vector unit.
pub(super) struct UnitPoints<U: Unit> {
    unit: U,
    keys: Vec<U::Niels>,
    commitments: Vec<U::Niels>,
}

impl<U: Unit> UnitPoints<U> {
    fn of_keys(unit: U, keys: &[Key<'_>], commitments: usize) -> Self {
        let commitments = Vec::with_capacity(commitments);
        Self { unit, keys: keys_with(unit, keys), commitments }
    }

    fn decode_commitments(&mut self, encodings: &[[u8; 32]]) {
        let canonical = encodings.iter().take_while(|bytes| is_canonical(bytes)).count();
        let found = self.unit.decode(&encodings[..canonical]);
        self.commitments.extend(found.into_iter().map(|(_, niels)| niels));
    }

    fn sum_is_small(
        &self,
        of_base: &Scalar,
        of_keys: &[(usize, Scalar)],
        range: Range<usize>,
        weights: &[Weight],
    ) -> bool {
        let of_keys = of_keys.iter().map(|(number, by)| (by.to_bytes(), &self.keys[*number]));
        let long: Vec<_> = once((of_base.to_bytes(), self.unit.base())).chain(of_keys).collect();
        let short: Vec<_> =
            weights.iter().map(|weight| weight.0).zip(&self.commitments[range]).collect();
        self.unit.sum_is_small(&long, &short)
    }
}

/// A point, or its negative where the weight is negative.
fn signed((weight, point): (&Weight, &EdwardsPoint)) -> EdwardsPoint {
    if weight.is_negative() { -point } else { *point }
}

/// What is taken away from 128 random bits to make a weight: 2^7 in every byte.
pub(super) const SHORT_OFFSET: u128 = u128::from_le_bytes([0x80; 16]);

/// The random factor of a signature in a batch: 16 digits from -128 to 127 in radix 256.
///
/// There are 2^128 of them, from -2^127.01 up to 2^126.99, all different modulo L. Digits with signs
/// are what sums of many multiples want, and 16 of them do; a number from 0 to 2^128 needs one more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Weight(u128);

impl Weight {
    /// The weight of 128 random bits: each byte less 128 is a digit.
    pub(super) const fn new(random: u128) -> Self {
        Self(random)
    }

    pub(super) const fn is_negative(self) -> bool {
        self.0 < SHORT_OFFSET
    }

    /// Without its sign.
    pub(super) const fn magnitude(self) -> u128 {
        self.0.abs_diff(SHORT_OFFSET)
    }

    /// Adds the weight times `number` to `sum`.
    pub(super) fn add_times<const N: usize>(self, number: &[u64; N], sum: &mut Signed) {
        sum.add(self.is_negative(), self.magnitude(), number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_engine_is_the_first_of_all_that_are_there() {
        let names: Vec<_> = Engine::all().into_iter().map(Engine::name).collect();
        assert_eq!(names.first().copied(), Some(Engine::best().name()));
        assert_eq!(names.last().copied(), Some("portable"));
        let known = ["avx512-ifma", "avx2", "portable"];
        assert!(names.iter().eq(known.iter().filter(|name| names.contains(name))), "{names:?}");
    }

    #[test]
    fn weights_are_signed_bytes() {
        let weight = |bytes: [u8; 16]| Weight::new(u128::from_le_bytes(bytes));
        assert_eq!(weight([0x80; 16]).magnitude(), 0);
        let mut bytes = [0x80; 16];
        (bytes[0], bytes[2]) = (0x7e, 0x83);
        assert_eq!(weight(bytes).magnitude(), 3 * 65_536 - 2);
        assert!(!weight(bytes).is_negative());
        (bytes[0], bytes[2]) = (0x82, 0x7d);
        assert_eq!(weight(bytes).magnitude(), 3 * 65_536 - 2);
        assert!(weight(bytes).is_negative());
        for weight in [weight(bytes), weight([0; 16]), weight([0xff; 16]), weight([0x80; 16])] {
            let mut sum = Signed::default();
            weight.add_times(&[7], &mut sum);
            let expected = Scalar::from(weight.0) - Scalar::from(SHORT_OFFSET);
            assert_eq!(sum.reduced(), expected * Scalar::from(7u8));
        }
    }

    #[test]
    fn small_order_by_bytes_is_small_order() {
        for point in EIGHT_TORSION {
            assert!(is_small_order(&point.compress().0));
        }
        assert!(!is_small_order(&ED25519_BASEPOINT_POINT.compress().0));
    }
}
