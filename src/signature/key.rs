//! A public key that is decoded once and kept.

use std::fmt;

use curve25519_dalek::edwards::EdwardsPoint;

use super::encoding::{Decoded, decode_point};
use super::{InvalidSignature, KEY_LEN};

/// A public key that keeps rules 1 and 2 of E1, with its point: what a ledger keeps per account.
///
/// Decoding costs about a fifth of a verification; a kept key pays it once.
#[derive(Clone, Copy)]
pub struct PublicKey {
    bytes: [u8; KEY_LEN],
    point: EdwardsPoint,
}

impl PublicKey {
    /// Decodes a key.
    ///
    /// # Errors
    /// [`InvalidSignature::KeyEncoding`] or [`InvalidSignature::KeySmallOrder`].
    pub fn from_bytes(bytes: &[u8; KEY_LEN]) -> Result<Self, InvalidSignature> {
        let point = decode_point(bytes).ok_or(InvalidSignature::KeyEncoding)?;
        if point.is_small_order() {
            return Err(InvalidSignature::KeySmallOrder);
        }
        Ok(Self { bytes: *bytes, point })
    }

    /// Decodes a key from a slice, whose length is judged as well.
    ///
    /// # Errors
    /// Those of [`PublicKey::from_bytes`], and [`InvalidSignature::KeyLength`].
    pub fn from_slice(bytes: &[u8]) -> Result<Self, InvalidSignature> {
        Self::from_bytes(bytes.try_into().map_err(|_| InvalidSignature::KeyLength)?)
    }

    /// The encoded key, as it was given.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; KEY_LEN] {
        &self.bytes
    }

    /// Judges one signature of this key by rule E1.
    ///
    /// # Errors
    /// The first part of the rule that does not hold.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
        let decoded = Decoded::new(self, message, signature)?;
        if decoded.holds(self) { Ok(()) } else { Err(InvalidSignature::Equation) }
    }

    /// The point A.
    pub(super) const fn point(&self) -> &EdwardsPoint {
        &self.point
    }
}

/// Equal bytes: canonical encodings are one to one with points.
impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for PublicKey {}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", hex::encode(self.bytes))
    }
}
