//! Many signatures at once: one random linear combination instead of many equations.
//!
//! Write `E_i = [s_i]B - R_i - [k_i]A_i`, so that rule 6 of E1 reads `[8]E_i = 0`. A batch draws a
//! random 128-bit weight `z_i` for each signature and checks
//!
//! ```text
//! [8]( [sum z_i s_i]B - sum [z_i]R_i - sum over keys [sum z_i k_i]A ) = 0
//! ```
//!
//! in one multi-scalar multiplication. Signatures of one key share a term.
//!
//! **Why the answer is that of each signature alone.** Every `[8]E_i` lies in the subgroup of prime
//! order L. If all are zero, so is the sum, always. If one is not, then for any choice of the other
//! weights at most one value of its own `z_i` makes the sum zero: a chance of 2^-128. The factor 8 is
//! what makes this true: without it the torsion parts of A and R stay in the sum, weights modulo 8
//! decide whether they cancel, and the chance is 1/8 or worse.
//!
//! **Where the weights come from.** Whoever knows them beforehand can make faults cancel. They are
//! SHA-512 of 32 random bytes *and* of every `k_i` and `s_i` in the batch, expanded by a counter.
//! Fresh randomness alone would do, and so would the transcript alone (k is a hash over R, A and M, so
//! the transcript fixes every `E_i` before a weight is known, and an attacker would have to try 2^128
//! batches). With both, neither a snapshot of a virtual machine that repeats its randomness nor
//! somebody with much time to prepare a block gains anything. It costs half a SHA-512 block a signature.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::{Range, RangeInclusive};

use curve25519_dalek::constants::ED25519_BASEPOINT_POINT;
use curve25519_dalek::edwards::EdwardsPoint;
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::{IsIdentity, VartimeMultiscalarMul};
use rayon::prelude::*;
use sha2::{Digest, Sha512};

use super::encoding::Decoded;
use super::{InvalidSignature, KEY_LEN, PublicKey};

/// Fewer signatures than this are checked one by one: should the batch fail, the search after it
/// would cost more than it saved. See [`lowest_bad`].
const BATCH_MIN: usize = 16;

/// The sizes of ranges that are checked by two equations, of a half each, if the keys are distinct.
///
/// If the left half fails, the right one is spared; if all is good, the second equation costs little
/// as long as curve25519-dalek takes Straus's algorithm, below 190 points (B, and a key and an R for
/// each signature): about 2 % at 64 signatures, and less above. Pippenger's algorithm, which it takes
/// for more points, has a fixed part worth 50 signatures, and two equations would cost a good batch
/// 5 to 15 %.
const HALVED: RangeInclusive<usize> = 64..=94;

/// The signatures in one equation: below the least, doublings are not shared enough to spread the
/// batch over more threads; above the most, nothing more is shared (but for equal keys).
const CHUNK_MIN: usize = 128;
const CHUNK_MAX: usize = 8_192;
const _: () = assert!(BATCH_MIN <= CHUNK_MIN && CHUNK_MIN <= CHUNK_MAX);

/// Sets the hash that makes weights apart from every other use of SHA-512.
const WEIGHTS_DOMAIN: &[u8] = b"blockmill signature batch weights 1";

/// The length of a weight in bytes: 128 bits.
const WEIGHT_LEN: usize = size_of::<u128>();

/// A signature to judge, all of it raw bytes of any length.
#[derive(Clone, Copy, Debug)]
pub struct Item<'a> {
    /// The encoded public key; valid only with 32 bytes.
    pub key: &'a [u8],
    /// The signed bytes.
    pub message: &'a [u8],
    /// The signature; valid only with 64 bytes.
    pub signature: &'a [u8],
}

/// A signature to judge under a key that was decoded before.
#[derive(Clone, Copy, Debug)]
pub struct KeptItem<'a> {
    /// The key.
    pub key: &'a PublicKey,
    /// The signed bytes.
    pub message: &'a [u8],
    /// The signature; valid only with 64 bytes.
    pub signature: &'a [u8],
}

/// The first signature of a batch that breaks rule E1, and the part it breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("signature {index} of the batch: {fault}")]
pub struct BadSignature {
    /// The lowest index of a bad signature in the batch, counted from 0.
    pub index: usize,
    /// What [`verify`](super::verify) says about that signature.
    pub fault: InvalidSignature,
}

/// Judges every signature by rule E1, on the threads of the current rayon pool.
///
/// # Errors
/// Names the lowest index whose signature [`verify`](super::verify) refuses, with the same fault.
pub fn verify_batch(items: &[Item<'_>]) -> Result<(), BadSignature> {
    verify_claims(items)
}

/// [`verify_batch`] with keys that were decoded before.
///
/// # Errors
/// As [`verify_batch`].
pub fn verify_batch_kept(items: &[KeptItem<'_>]) -> Result<(), BadSignature> {
    verify_claims(items)
}

/// What [`Item`] and [`KeptItem`] have in common.
trait Claim: Sync {
    /// The encoded key, if its length is right.
    fn key_bytes(&self) -> Result<&[u8; KEY_LEN], InvalidSignature>;
    /// The decoded key.
    fn decode_key(&self) -> Result<PublicKey, InvalidSignature>;
    /// The signed bytes and the signature.
    fn signed(&self) -> (&[u8], &[u8]);
}

impl Claim for Item<'_> {
    fn key_bytes(&self) -> Result<&[u8; KEY_LEN], InvalidSignature> {
        self.key.try_into().map_err(|_| InvalidSignature::KeyLength)
    }

    fn decode_key(&self) -> Result<PublicKey, InvalidSignature> {
        PublicKey::from_slice(self.key)
    }

    fn signed(&self) -> (&[u8], &[u8]) {
        (self.message, self.signature)
    }
}

impl Claim for KeptItem<'_> {
    fn key_bytes(&self) -> Result<&[u8; KEY_LEN], InvalidSignature> {
        Ok(self.key.as_bytes())
    }

    fn decode_key(&self) -> Result<PublicKey, InvalidSignature> {
        Ok(*self.key)
    }

    fn signed(&self) -> (&[u8], &[u8]) {
        (self.message, self.signature)
    }
}

/// Cuts the batch into chunks, one equation each, so that chunks share nothing.
///
/// The cut depends on the number of threads and the answer does not: a chunk's answer is that of
/// its signatures alone, and of the chunks that fail the first is taken.
fn verify_claims<C: Claim>(claims: &[C]) -> Result<(), BadSignature> {
    let chunk_len = claims.len().div_ceil(rayon::current_num_threads()).clamp(CHUNK_MIN, CHUNK_MAX);
    let bad = claims.par_chunks(chunk_len).enumerate().find_map_first(|(number, chunk)| {
        let BadSignature { index, fault } = first_bad(chunk)?;
        Some(BadSignature { index: number * chunk_len + index, fault })
    });
    bad.map_or(Ok(()), Err)
}

/// The first bad signature of one chunk, its index counted within the chunk.
fn first_bad<C: Claim>(claims: &[C]) -> Option<BadSignature> {
    let mut chunk = Chunk::default();
    // Signatures behind one that is malformed cannot be the first bad one; those before it can.
    let malformed = claims.iter().enumerate().find_map(|(index, claim)| {
        chunk.push(claim).err().map(|fault| BadSignature { index, fault })
    });
    let fault = InvalidSignature::Equation;
    chunk.first_unequal().map(|index| BadSignature { index, fault }).or(malformed)
}

/// Well-formed signatures whose equations are still to be checked, decoded once.
#[derive(Default)]
struct Chunk {
    keys: Vec<PublicKey>,
    key_numbers: HashMap<[u8; KEY_LEN], usize>,
    /// Each signature with the number of its key.
    signatures: Vec<(usize, Decoded)>,
}

impl Chunk {
    fn push<C: Claim>(&mut self, claim: &C) -> Result<(), InvalidSignature> {
        let key = match self.key_numbers.entry(*claim.key_bytes()?) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(new) => {
                self.keys.push(claim.decode_key()?);
                *new.insert(self.keys.len() - 1)
            }
        };
        let (message, signature) = claim.signed();
        self.signatures.push((key, Decoded::new(&self.keys[key], message, signature)?));
        Ok(())
    }

    fn first_unequal(&self) -> Option<usize> {
        if self.signatures.len() < BATCH_MIN {
            return self.signatures.iter().position(|(key, one)| !one.holds(&self.keys[*key]));
        }
        let weights = self.weights(&rand::random());
        let halved = |range: &Range<usize>| self.is_halved(range);
        let mut all_good = |range| self.holds(range, &weights);
        lowest_bad(0..self.signatures.len(), &halved, &mut all_good)
    }

    /// Whether to check `range` by two equations: those of [`HALVED`], unless more than one in 16
    /// signatures on the right are of keys that sign on the left too. In one equation these share a
    /// term, and losing that costs more than the second equation does.
    fn is_halved(&self, range: &Range<usize>) -> bool {
        if !HALVED.contains(&range.len()) {
            return false;
        }
        let (left, right) = self.signatures[range.clone()].split_at(range.len() / 2);
        // Keys are numbered as they come, so a new one has a number above all before.
        let last_known = left.iter().map(|(key, _)| key).max();
        let known = right.iter().filter(|(key, _)| Some(key) <= last_known).count();
        known <= right.len() / 16
    }

    /// Whether rule 6 of E1 holds for all signatures in `range`.
    fn holds(&self, range: Range<usize>, weights: &[Scalar]) -> bool {
        if let [(key, one)] = &self.signatures[range.clone()] {
            return one.holds(&self.keys[*key]);
        }
        let mut of_base = Scalar::ZERO;
        let mut of_keys = vec![Scalar::ZERO; self.keys.len()];
        for ((key, one), weight) in
            self.signatures[range.clone()].iter().zip(&weights[range.clone()])
        {
            of_base += weight * one.response;
            of_keys[*key] += weight * one.challenge;
        }
        // The sum with its sign turned, so that the short weights stay short; zero is zero.
        let in_range = || of_keys.iter().zip(&self.keys).filter(|(sum, _)| **sum != Scalar::ZERO);
        let (mut scalars, mut points) = (vec![-of_base], vec![ED25519_BASEPOINT_POINT]);
        scalars.extend(in_range().map(|(sum, _)| sum));
        points.extend(in_range().map(|(_, key)| key.point()));
        scalars.extend_from_slice(&weights[range.clone()]);
        points.extend(self.signatures[range].iter().map(|(_, one)| one.commitment));
        EdwardsPoint::vartime_multiscalar_mul(scalars, points).mul_by_cofactor().is_identity()
    }

    /// A 128-bit weight for each signature, as the head of this file describes.
    fn weights(&self, random: &[u8; 32]) -> Vec<Scalar> {
        let mut transcript = Sha512::new();
        transcript.update(WEIGHTS_DOMAIN);
        transcript.update(random);
        for (_, one) in &self.signatures {
            transcript.update(one.challenge.as_bytes());
            transcript.update(one.response.as_bytes());
        }
        let seed: [u8; 64] = transcript.finalize().into();
        let blocks = (0u64..).flat_map(|counter| {
            let block = Sha512::new().chain_update(seed).chain_update(counter.to_le_bytes());
            let block: [u8; 64] = block.finalize().into();
            let (weights, _) = block.as_chunks::<WEIGHT_LEN>();
            <[_; 4]>::try_from(weights).expect("64 bytes are four times 16")
        });
        let weights = blocks.map(|bytes| Scalar::from(u128::from_le_bytes(bytes)));
        weights.take(self.signatures.len()).collect()
    }
}

/// The lowest bad index in `range`, where `all_good` says whether a range holds no bad one, and
/// `halved` whether to ask about the halves of a range in its stead.
///
/// First the whole; then, while a range is known to hold a bad one, its left half. If the left half
/// is good, the right one holds a bad one and need not be asked. So after the whole, n/2 + n/4 + ...
/// < n signatures are looked at, *wherever the bad ones are and however many*, in at most
/// log2(n) + 3 equations.
///
/// Of these the whole is the cheapest for its size and the last ones are the dearest. An equation
/// over m signatures of distinct keys shares its doublings, most of what one alone costs, and takes
/// as long as 1 + m/3 single ones, or 10 + 2m/9 with Pippenger's algorithm (measured). Decoding and
/// hashing are done once either way; for kept keys they take a fifth of a single equation, for
/// others a third.
///
/// Counting each case, as a test does, a failing batch is cheaper than checking one by one from 11
/// signatures on. It takes at most 95 % of that from [`BATCH_MIN`] on, which leaves room for
/// processors with other proportions, and from the least of [`HALVED`] on at most 80 % (77 % with
/// kept keys), falling to 75 % at 160 signatures and 60 % at 4,096. Keys that sign often make
/// it less, but for the ranges that are then no longer halved: those take up to 82 %.
fn lowest_bad(
    range: Range<usize>,
    halved: &dyn Fn(&Range<usize>) -> bool,
    all_good: &mut dyn FnMut(Range<usize>) -> bool,
) -> Option<usize> {
    let suspect = if halved(&range) {
        let middle = middle(&range);
        [range.start..middle, middle..range.end].into_iter().find(|half| !all_good(half.clone()))?
    } else if range.is_empty() || all_good(range.clone()) {
        return None;
    } else {
        range
    };
    Some(lowest_of_some(suspect, halved, all_good))
}

/// [`lowest_bad`] in a range that is known to hold a bad one.
fn lowest_of_some(
    mut suspect: Range<usize>,
    halved: &dyn Fn(&Range<usize>) -> bool,
    all_good: &mut dyn FnMut(Range<usize>) -> bool,
) -> usize {
    while suspect.len() > 1 {
        let middle = middle(&suspect);
        if let Some(index) = lowest_bad(suspect.start..middle, halved, all_good) {
            return index;
        }
        suspect.start = middle;
    }
    suspect.start
}

/// Where the right half of `range` starts.
const fn middle(range: &Range<usize>) -> usize {
    range.start + (range.end - range.start) / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What decoding and hashing a signature costs, in hundredths of a single equation.
    const DECODING: [usize; 2] = [KEPT, KEPT + 16];
    const KEPT: usize = 18;
    const SINGLE: usize = 100;

    /// What an equation over so many signatures of distinct keys costs, in the same unit.
    fn equation_cost(signatures: usize) -> usize {
        match signatures {
            1 => SINGLE,
            2..95 => 90 + 33 * signatures,
            _ => 1_050 + 22 * signatures,
        }
    }

    /// What a search finds, and the number and cost of its equations.
    fn search(bad: &[bool]) -> (Option<usize>, usize, usize) {
        let (mut equations, mut cost) = (0, 0);
        let mut all_good = |range: Range<usize>| {
            equations += 1;
            cost += equation_cost(range.len());
            !bad[range].contains(&true)
        };
        let halved = |range: &Range<usize>| HALVED.contains(&range.len());
        let found = lowest_bad(0..bad.len(), &halved, &mut all_good);
        (found, equations, cost)
    }

    /// The cost of the dearest search in a batch, in percent of checking it one by one, rounded up.
    fn dearest(len: usize, decoding: usize) -> usize {
        let mut dearest = 0;
        for place in 0..len {
            // The first bad one decides: one bad, and all bad from there on.
            for end in [place + 1, len] {
                let bad: Vec<_> = (0..len).map(|i| (place..end).contains(&i)).collect();
                let (found, equations, cost) = search(&bad);
                assert_eq!(found, Some(place));
                assert!(equations <= 3 + len.ilog2() as usize, "{len} {place}: {equations}");
                dearest = dearest.max(cost);
            }
        }
        (100 * (dearest + len * decoding)).div_ceil(len * (SINGLE + decoding))
    }

    #[test]
    fn a_search_never_costs_more_than_checking_one_by_one() {
        for decoding in DECODING {
            for len in BATCH_MIN..=400 {
                let limit = if len < *HALVED.start() { 95 } else { 80 };
                let percent = dearest(len, decoding);
                assert!(percent <= limit, "{len}: {percent} %");
            }
        }
        for len in [*HALVED.start(), *HALVED.end(), 128, 188, 512, 1_024] {
            let percent = dearest(len, KEPT);
            assert!(percent <= 75, "{len}: {percent} %");
        }
    }

    #[test]
    fn a_search_in_a_large_batch_takes_few_equations() {
        for place in [0, 1, 511, 512, 700, 1_023] {
            let bad: Vec<_> = (0..1_024).map(|i| i == place).collect();
            let (found, equations, _) = search(&bad);
            assert_eq!(found, Some(place));
            // One more where the second half of 64 is asked about.
            assert!((10..=12).contains(&equations), "{place}: {equations}");
        }
    }

    #[test]
    fn good_batches_take_one_equation_or_two() {
        assert_eq!(search(&[]), (None, 0, 0));
        assert_eq!(search(&[false; 63]), (None, 1, equation_cost(63)));
        assert_eq!(search(&[false; 65]), (None, 2, equation_cost(32) + equation_cost(33)));
        assert_eq!(search(&[false; 95]), (None, 1, equation_cost(95)));
    }

    #[test]
    fn only_distinct_keys_are_checked_in_halves() {
        let keys: Vec<_> = (1..=80u64)
            .map(|secret| EdwardsPoint::mul_base(&secret.into()).compress().0)
            .map(|bytes| PublicKey::from_bytes(&bytes).expect("a key"))
            .collect();
        let mut signature = [0; 64];
        signature[0] = 1; // R is the identity
        let is_halved = |keys: &mut dyn Iterator<Item = &PublicKey>| {
            let mut chunk = Chunk::default();
            for key in keys {
                let claim = KeptItem { key, message: b"", signature: &signature };
                chunk.push(&claim).expect("decodes");
            }
            chunk.is_halved(&(0..chunk.signatures.len()))
        };
        assert!(is_halved(&mut keys.iter()));
        assert!(!is_halved(&mut keys[..63].iter()));
        assert!(is_halved(&mut keys[..78].iter().chain(&keys[..2])));
        assert!(!is_halved(&mut keys[..77].iter().chain(&keys[..3])));
        assert!(!is_halved(&mut keys[..16].iter().cycle().take(80)));
    }

    #[test]
    fn weights_depend_on_randomness_and_on_every_signature() {
        let key = PublicKey::from_bytes(&ED25519_BASEPOINT_POINT.compress().0).expect("B");
        let signed = |responses: &[u8]| {
            let mut chunk = Chunk::default();
            for response in responses {
                let mut signature = [0; 64];
                signature[0] = 1; // R is the identity
                signature[32] = *response;
                chunk
                    .push(&KeptItem { key: &key, message: b"", signature: &signature })
                    .expect("decodes");
            }
            chunk
        };
        let chunk = signed(&[1, 2, 3, 4, 5]);
        let weights = chunk.weights(&[0; 32]);
        assert_eq!(weights.len(), 5);
        for (i, weight) in weights.iter().enumerate() {
            assert_eq!(weight.as_bytes()[16..], [0; 16], "128 bits");
            assert_ne!(weight.as_bytes()[8..16], [0; 8]);
            assert!(!weights[..i].contains(weight));
        }
        assert_eq!(weights, chunk.weights(&[0; 32]));
        for other in [chunk.weights(&[1; 32]), signed(&[1, 2, 3, 4, 6]).weights(&[0; 32])] {
            assert!(weights.iter().zip(&other).all(|(a, b)| a != b));
        }
    }
}
