//! Ed25519 signatures under one written rule, singly and in batches, with the same answer.
//!
//! RFC 8032 leaves open which equation a verifier checks and how strictly it decodes, so
//! implementations disagree about signatures made for that purpose ("Taming the many EdDSAs",
//! Chalkias, Garillot and Nikolaenko, 2020). A ledger cannot: every node must accept the same
//! blocks. This is the rule, **E1**. A signature of key A on message M is valid exactly when
//!
//! 1. the key is 32 bytes and the *canonical* encoding of a point A of the curve;
//! 2. A is not of small order, that is `[8]A` is not the identity (mixed order is allowed);
//! 3. the signature is 64 bytes, R followed by s;
//! 4. s, little-endian, is below the group order L;
//! 5. R is the canonical encoding of a point of the curve (small and mixed order are allowed);
//! 6. `[8][s]B = [8]R + [8][k]A` with `k = SHA-512(R || A || M) mod L` over the bytes as received.
//!
//! An encoding is canonical when decoding and encoding again gives the same bytes, so no key has
//! two names. The equation is the one *with* the cofactor 8 (RFC 8032, section 5.1.7; ZIP 215),
//! because it alone can be checked in batches: without the 8, a batch's random coefficients meet
//! the torsion parts of A and R, and one signature gets different answers in different company.
//! ZIP 215 has the same equation but accepts what rules 1, 2 and 5 refuse.
//!
//! Faults are looked for in the order of that list, and the first one is named.
//!
//! [`verify`] judges one signature, [`verify_batch`] many; [`PublicKey`] keeps a decoded key, which
//! [`verify_batch_kept`] takes. All three give one answer for one signature, whatever its company,
//! its place and the number of threads. An [`Engine`] is the arithmetic that batches are judged with.

#[cfg(target_arch = "x86_64")]
mod avx2;
mod batch;
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "for vector units alone"))]
mod curve;
mod encoding;
mod engine;
#[cfg(target_arch = "x86_64")]
mod ifma;
mod key;
#[cfg(not(target_arch = "x86_64"))]
mod no_units;
mod search;
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "for vector units alone"))]
mod sha512;
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "for vector units alone"))]
mod unit;
#[cfg(all(test, target_arch = "x86_64"))]
mod unit_tests;
mod wide;
#[cfg(target_arch = "x86_64")]
mod windows;

#[cfg(not(target_arch = "x86_64"))]
use no_units::{Avx2, Ifma};
#[cfg(target_arch = "x86_64")]
use {avx2::Avx2, ifma::Ifma};

pub use batch::{BadSignature, Item, KeptItem, verify_batch, verify_batch_kept};
pub use engine::Engine;
pub use key::PublicKey;

/// The length of an encoded public key in bytes.
pub const KEY_LEN: usize = 32;

/// The length of a signature in bytes.
pub const SIGNATURE_LEN: usize = 64;

/// The part of rule E1 that a signature or a key breaks; the first one in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum InvalidSignature {
    /// The key is not 32 bytes long.
    #[error("the public key is not 32 bytes long")]
    KeyLength,
    /// The key is no point's canonical encoding.
    #[error("the public key is not the canonical encoding of a point")]
    KeyEncoding,
    /// The key's point has order 1, 2, 4 or 8, so one signature would fit many messages.
    #[error("the public key is a point of small order")]
    KeySmallOrder,
    /// The signature is not 64 bytes long.
    #[error("the signature is not 64 bytes long")]
    Length,
    /// s is not below the group order.
    #[error("the signature's s is not below the group order")]
    ScalarRange,
    /// R is no point's canonical encoding.
    #[error("the signature's R is not the canonical encoding of a point")]
    CommitmentEncoding,
    /// All parts are well formed, and the equation does not hold.
    #[error("the signature is not one of this key on this message")]
    Equation,
}

/// Judges one signature by rule E1, which opens this module.
///
/// # Errors
/// The first part of the rule that does not hold. Slices of a wrong length are such a part.
pub fn verify(key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
    let key = key.try_into().map_err(|_| InvalidSignature::KeyLength)?;
    let point = key::decode_key(key)?;
    let decoded = encoding::Decoded::new(key, message, signature)?;
    if decoded.holds(&point) { Ok(()) } else { Err(InvalidSignature::Equation) }
}
