//! Many signatures at once: one random linear combination instead of many equations.
//!
//! Write `E_i = [s_i]B - R_i - [k_i]A_i`, so that rule 6 of E1 reads `[8]E_i = 0`. A batch draws a
//! random weight `z_i` of 128 bits for each signature and checks
//!
//! ```text
//! [8]( [sum z_i s_i]B - sum [z_i]R_i - sum over keys [sum z_i k_i]A ) = 0
//! ```
//!
//! in one multi-scalar multiplication. Signatures of one key share a term.
//!
//! **Why the answer is that of each signature alone.** Every `[8]E_i` lies in the subgroup of prime
//! order L. If all are zero, so is the sum, always. If one is not, then for any choice of the other
//! weights at most one value of its own `z_i` modulo L makes the sum zero, and the 2^128 weights are
//! all different modulo L: a chance of 2^-128. The factor 8 is
//! what makes this true: without it the torsion parts of A and R stay in the sum, weights modulo 8
//! decide whether they cancel, and the chance is 1/8 or worse.
//!
//! **Where the weights come from.** Whoever knows them beforehand can make faults cancel. They are
//! SHA-512 of 32 random bytes *and* of every `k_i` and `s_i` in the batch, expanded by a counter. (Of
//! the hash that `k_i` comes from, half goes in, which is as hard to make collide as SHA-256.)
//! Fresh randomness alone would do, and so would the transcript alone (k is a hash over R, A and M, so
//! the transcript fixes every `E_i` before a weight is known, and an attacker would have to try 2^128
//! batches). With both, neither a snapshot of a virtual machine that repeats its randomness nor
//! somebody with much time to prepare a block gains anything. It costs half a SHA-512 block a signature.
//!
//! **Whose word counts.** A batch is computed by an [`Engine`], and can only accept: what refuses a
//! signature, and names the fault, is its single verdict, which comes from curve25519-dalek.

use std::cell::Cell;
use std::ops::Range;

use curve25519_dalek::scalar::Scalar;
use hashbrown::HashMap;
use rayon::prelude::*;
use sha2::{Digest, Sha512};

use super::engine::{Engine, HEAD_LEN, Key, Points, Weight};
use super::search::{BATCH_MIN, HALVED, lowest_bad};
use super::wide::{self, Signed};
use super::{InvalidSignature, PublicKey, encoding, verify};

/// The signatures in one equation: below the least, doublings are not shared enough to spread the
/// batch over more threads; above the most, nothing more is shared (but for equal keys).
const CHUNK_MIN: usize = 128;
const CHUNK_MAX: usize = 16_384;
const _: () = assert!(BATCH_MIN <= CHUNK_MIN && CHUNK_MIN <= CHUNK_MAX);

/// Sets the hash that makes weights apart from every other use of SHA-512.
const WEIGHTS_DOMAIN: &[u8; 32] = b"blockmill: weights of signatures";

/// The signatures that are decoded and hashed at a time, so that what is needed on the way stays in the
/// cache.
const TOGETHER: usize = 512;

/// The bytes of a signature that weights are made from: half of the hash, and s.
const TRANSCRIPT_LEN: usize = 64;

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
    /// What stands before the message in the signed bytes, and is the same in many: it need not be copied
    /// to each.
    pub domain: &'a [u8],
    /// The signed bytes, behind the domain.
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
    /// What [`verify`] says about that signature.
    pub fault: InvalidSignature,
}

/// Judges every signature by rule E1, on the threads of the current rayon pool.
///
/// # Errors
/// Names the lowest index whose signature [`verify`] refuses, with the same fault.
pub fn verify_batch(items: &[Item<'_>]) -> Result<(), BadSignature> {
    verify_claims(Engine::best(), items)
}

/// [`verify_batch`] with keys that were decoded before.
///
/// # Errors
/// As [`verify_batch`].
pub fn verify_batch_kept(items: &[KeptItem<'_>]) -> Result<(), BadSignature> {
    verify_claims(Engine::best(), items)
}

/// What [`Item`] and [`KeptItem`] have in common.
pub(super) trait Claim: Sync {
    /// The encoded key, if its length is right, and what is known of it.
    fn key(&self) -> Result<Key<'_>, InvalidSignature>;
    /// The signed bytes, in two parts.
    fn message(&self) -> [&[u8]; 2];
    /// The signature.
    fn signature(&self) -> &[u8];
    /// Judges this one alone.
    fn verify(&self) -> Result<(), InvalidSignature>;
}

impl Claim for Item<'_> {
    fn key(&self) -> Result<Key<'_>, InvalidSignature> {
        let bytes = self.key.try_into().map_err(|_| InvalidSignature::KeyLength)?;
        Ok(Key { bytes, kept: None })
    }

    fn message(&self) -> [&[u8]; 2] {
        [&[], self.message]
    }

    fn signature(&self) -> &[u8] {
        self.signature
    }

    fn verify(&self) -> Result<(), InvalidSignature> {
        verify(self.key, self.message, self.signature)
    }
}

impl Claim for KeptItem<'_> {
    fn key(&self) -> Result<Key<'_>, InvalidSignature> {
        Ok(Key { bytes: self.key.as_bytes(), kept: Some(self.key) })
    }

    fn message(&self) -> [&[u8]; 2] {
        [self.domain, self.message]
    }

    fn signature(&self) -> &[u8] {
        self.signature
    }

    fn verify(&self) -> Result<(), InvalidSignature> {
        self.key.verify(&[self.domain, self.message].concat(), self.signature)
    }
}

/// Cuts the batch into chunks, one equation each, so that chunks share nothing.
///
/// The cut depends on the number of threads and the answer does not: a chunk's answer is that of
/// its signatures alone, and of the chunks that fail the first is taken.
pub(super) fn verify_claims<C: Claim>(engine: Engine, claims: &[C]) -> Result<(), BadSignature> {
    let chunk_len = claims.len().div_ceil(rayon::current_num_threads()).clamp(CHUNK_MIN, CHUNK_MAX);
    let bad = claims.par_chunks(chunk_len).enumerate().find_map_first(|(number, chunk)| {
        let BadSignature { index, fault } = first_bad(engine, chunk)?;
        Some(BadSignature { index: number * chunk_len + index, fault })
    });
    bad.map_or(Ok(()), Err)
}

/// The first bad signature of one chunk, its index counted within the chunk.
///
/// Batches accept; what refuses a signature, and names the fault, is always its single verdict.
fn first_bad<C: Claim>(engine: Engine, claims: &[C]) -> Option<BadSignature> {
    if claims.len() < BATCH_MIN {
        return first_bad_singly(claims);
    }
    let chunk = Chunk::new(engine, claims);
    let index = chunk.first_suspect()?;
    match chunk.verify(index) {
        Err(fault) => Some(BadSignature { index, fault }),
        Ok(()) => first_bad_singly(claims),
    }
}

fn first_bad_singly<C: Claim>(claims: &[C]) -> Option<BadSignature> {
    let faults = claims.iter().enumerate();
    faults
        .filter_map(|(index, claim)| Some(BadSignature { index, fault: claim.verify().err()? }))
        .next()
}

/// The leading signatures of a chunk that are well formed, decoded once.
struct Chunk<'a, C> {
    engine: Engine,
    claims: &'a [C],
    signatures: Vec<Parts>,
    points: Points,
    /// The latest single verdict, of which signature and what it was.
    latest: Cell<Option<(usize, Result<(), InvalidSignature>)>>,
}

/// What is hashed before the message: R and A.
fn head<C: Claim>(claim: &C, key: Key<'_>) -> [u8; HEAD_LEN] {
    let mut head = [0; HEAD_LEN];
    head[..32].copy_from_slice(&claim.signature()[..32]);
    head[32..].copy_from_slice(key.bytes);
    head
}

fn commitment_of(head: &[u8; HEAD_LEN]) -> &[u8; 32] {
    head.first_chunk().expect("R is the first half")
}

/// A signature taken apart. Its numbers have 64 bits a word, the lowest first.
struct Parts {
    /// The number of its key.
    key: usize,
    /// s.
    response: [u64; 4],
    /// The hash that is k modulo L. It is not reduced: 8L times any point is the identity, so the sum over
    /// a key needs reducing alone.
    challenge: [u64; 8],
}

impl<'a, C: Claim> Chunk<'a, C> {
    /// Decodes signatures up to the first that is malformed. Those behind it cannot be the first bad
    /// one; those before it can.
    fn new(engine: Engine, claims: &'a [C]) -> Self {
        let mut keys = Vec::new();
        let mut key_numbers = HashMap::<_, _, foldhash::quality::RandomState>::default();
        let mut signatures = Vec::with_capacity(claims.len());
        for claim in claims {
            let Ok(key) = claim.key() else { break };
            let Some(response) = encoding::response(claim.signature()) else { break };
            let number = *key_numbers.entry(key.bytes).or_insert_with(|| {
                keys.push(key);
                keys.len() - 1
            });
            signatures.push(Parts { key: number, response, challenge: [0; 8] });
        }
        let mut points = Points::of_keys(engine, &keys, signatures.len());
        let known = points.keys_len();
        // Keys are numbered as they come, so the first without a point is at its first signature.
        signatures.truncate(signatures.iter().take_while(|one| one.key < known).count());
        let mut done = 0;
        for (some, claims) in signatures.chunks_mut(TOGETHER).zip(claims.chunks(TOGETHER)) {
            let heads: Vec<[u8; HEAD_LEN]> =
                some.iter().zip(claims).map(|(one, claim)| head(claim, keys[one.key])).collect();
            let commitments: Vec<_> = heads.iter().map(|head| *commitment_of(head)).collect();
            points.decode_commitments(&commitments);
            let messages = heads.iter().zip(claims).map(|(head, claim)| (head, claim.message()));
            let hashes = engine.sha512(&messages.collect::<Vec<_>>());
            for (one, hash) in some.iter_mut().zip(&hashes) {
                one.challenge = wide::words(hash);
            }
            done += some.len();
            if points.commitments_len() < done {
                break;
            }
        }
        signatures.truncate(points.commitments_len());
        Self { engine, claims, signatures, points, latest: Cell::new(None) }
    }

    /// The verdict on one signature alone.
    fn verify(&self, index: usize) -> Result<(), InvalidSignature> {
        match self.latest.get() {
            Some((latest, verdict)) if latest == index => verdict,
            _ => {
                let verdict = self.claims[index].verify();
                self.latest.set(Some((index, verdict)));
                verdict
            }
        }
    }

    /// The first signature that seems bad: one that is well formed and whose equation does not hold,
    /// or else the first that is malformed.
    fn first_suspect(&self) -> Option<usize> {
        let malformed = self.signatures.len();
        let unequal = if malformed < BATCH_MIN {
            (0..malformed).find(|&index| self.verify(index).is_err())
        } else {
            let weights = self.weights(&rand::random());
            let halved = |range: &Range<usize>| self.is_halved(range);
            let mut all_good = |range| self.holds(range, &weights);
            lowest_bad(0..malformed, &halved, &mut all_good)
        };
        unequal.or_else(|| (malformed < self.claims.len()).then_some(malformed))
    }

    /// Whether to check `range` by two equations: those of [`HALVED`], unless more than one in 16
    /// signatures on the right are of keys that sign on the left too. In one equation these share a
    /// term, and losing that costs more than the second equation does.
    fn is_halved(&self, range: &Range<usize>) -> bool {
        if !self.engine.is_portable() || !HALVED.contains(&range.len()) {
            return false;
        }
        let (left, right) = self.signatures[range.clone()].split_at(range.len() / 2);
        // Keys are numbered as they come, so a new one has a number above all before.
        let last_known = left.iter().map(|one| one.key).max();
        let known = right.iter().filter(|one| Some(one.key) <= last_known).count();
        known <= right.len() / 16
    }

    /// Whether rule 6 of E1 holds for all signatures in `range`.
    fn holds(&self, range: Range<usize>, weights: &[Weight]) -> bool {
        if range.len() == 1 {
            return self.verify(range.start).is_ok();
        }
        let mut of_base = Signed::default();
        let mut of_keys = vec![Signed::default(); self.points.keys_len()];
        for (one, weight) in self.signatures[range.clone()].iter().zip(&weights[range.clone()]) {
            weight.add_times(&one.response, &mut of_base);
            weight.add_times(&one.challenge, &mut of_keys[one.key]);
        }
        // The sum with its sign turned, so that the short weights stay short; zero is zero.
        let of_keys = of_keys.iter().map(Signed::reduced).enumerate();
        let of_keys: Vec<_> = of_keys.filter(|(_, sum)| *sum != Scalar::ZERO).collect();
        self.points.sum_is_small(&-of_base.reduced(), &of_keys, range.clone(), &weights[range])
    }

    /// A weight for each signature, as the head of this file describes.
    ///
    /// The transcript is hashed in eight parts, and their digests into the seed, because eight messages
    /// at a time are hashed sooner than one.
    fn weights(&self, random: &[u8; 32]) -> Vec<Weight> {
        let mut head = [0; HEAD_LEN];
        head[..32].copy_from_slice(WEIGHTS_DOMAIN);
        head[32..].copy_from_slice(random);
        let parts = self.signatures.chunks(self.signatures.len().div_ceil(8).max(1)).map(|part| {
            let mut bytes = Vec::with_capacity(part.len() * TRANSCRIPT_LEN);
            for one in part {
                // Half of a hash commits to what was hashed.
                for word in one.challenge[..4].iter().chain(&one.response) {
                    bytes.extend_from_slice(&word.to_le_bytes());
                }
            }
            bytes
        });
        let parts: Vec<_> = parts.collect();
        let messages: Vec<_> = parts.iter().map(|part| (&head, [part.as_slice(), &[]])).collect();
        let digests = self.engine.sha512(&messages);
        let seed: [u8; HEAD_LEN] = Sha512::digest(digests.as_flattened()).into();
        let blocks = self.signatures.len().div_ceil(4) as u64;
        let counters: Vec<_> = (0..blocks).map(u64::to_le_bytes).collect();
        let messages: Vec<_> =
            counters.iter().map(|counter| (&seed, [&counter[..], &[]])).collect();
        let blocks = self.engine.sha512(&messages);
        let (weights, _) = blocks.as_flattened().as_chunks();
        let weights = weights.iter().map(|bytes| Weight::new(u128::from_le_bytes(*bytes)));
        weights.take(self.signatures.len()).collect()
    }
}

#[cfg(test)]
mod tests {
    use curve25519_dalek::constants::ED25519_BASEPOINT_POINT;
    use curve25519_dalek::edwards::EdwardsPoint;

    use super::*;

    #[test]
    fn only_distinct_keys_are_checked_in_halves() {
        let keys: Vec<_> = (1..=80u64)
            .map(|secret| EdwardsPoint::mul_base(&secret.into()).compress().0)
            .map(|bytes| PublicKey::from_bytes(&bytes).expect("a key"))
            .collect();
        let mut signature = [0; 64];
        signature[0] = 1; // R is the identity
        let is_halved = |keys: &mut dyn Iterator<Item = &PublicKey>| {
            let claims: Vec<_> = keys
                .map(|key| KeptItem { key, domain: b"", message: b"", signature: &signature })
                .collect();
            let chunk = Chunk::new(Engine::portable(), &claims);
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
        let weights_with = |message: &[u8], responses: &[u8], random: &[u8; 32]| {
            let signatures = responses.iter().map(|response| {
                let mut signature = [0; 64];
                signature[0] = 1; // R is the identity
                signature[32] = *response;
                signature
            });
            let signatures: Vec<_> = signatures.collect();
            let claims: Vec<_> = signatures
                .iter()
                .map(|signature| KeptItem { key: &key, domain: b"", message, signature })
                .collect();
            Chunk::new(Engine::portable(), &claims).weights(random)
        };
        let weights = |responses: &[u8], random: &[u8; 32]| weights_with(b"", responses, random);
        let of_five = weights(&[1, 2, 3, 4, 5], &[0; 32]);
        assert_eq!(of_five.len(), 5);
        for (i, weight) in of_five.iter().enumerate() {
            assert!(weight.magnitude() > 1 << 64);
            assert!(!of_five[..i].contains(weight));
        }
        assert_eq!(of_five, weights(&[1, 2, 3, 4, 5], &[0; 32]));
        let others = [
            weights(&[1, 2, 3, 4, 5], &[1; 32]),
            weights(&[1, 2, 3, 4, 6], &[0; 32]),
            weights_with(b"1", &[1, 2, 3, 4, 5], &[0; 32]),
        ];
        for other in others {
            assert!(of_five.iter().zip(&other).all(|(a, b)| a != b));
        }
    }
}
