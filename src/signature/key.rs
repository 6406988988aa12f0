//! A public key that is decoded once and kept.

use std::fmt;

use curve25519_dalek::edwards::EdwardsPoint;

use super::curve::Root;
use super::encoding::{Decoded, decode_point, is_canonical};
use super::engine::{Engine, is_small_order};
use super::{InvalidSignature, KEY_LEN};

/// A public key that keeps rules 1 and 2 of E1, with its point: what a ledger keeps per account.
///
/// Decoding costs about a fifth of a verification; a kept key pays it once.
#[derive(Clone, Copy)]
pub struct PublicKey {
    bytes: [u8; KEY_LEN],
    /// For single verdicts. Keys that were decoded many at a time do without.
    point: Option<EdwardsPoint>,
    /// For batches, where a vector unit is there.
    root: Option<Root>,
}

impl PublicKey {
    /// Decodes a key.
    ///
    /// # Errors
    /// [`InvalidSignature::KeyEncoding`] or [`InvalidSignature::KeySmallOrder`].
    pub fn from_bytes(bytes: &[u8; KEY_LEN]) -> Result<Self, InvalidSignature> {
        let point = decode_key(bytes)?;
        let root = Engine::best().roots(&[*bytes]).and_then(|roots| roots.first().copied());
        Ok(Self { bytes: *bytes, point: Some(point), root })
    }

    /// Decodes many keys at a time, which where a vector unit is there takes a fraction of the time. Single
    /// verdicts under these keys take a tenth longer; batches do not.
    #[must_use]
    pub fn from_many(keys: &[[u8; KEY_LEN]]) -> Vec<Result<Self, InvalidSignature>> {
        let engine = Engine::best();
        let mut decoded = Vec::with_capacity(keys.len());
        while decoded.len() < keys.len() {
            let rest = &keys[decoded.len()..];
            let sound = rest.iter().take_while(|key| is_canonical(key) && !is_small_order(key));
            let Some(roots) = engine.roots(&rest[..sound.count()]) else {
                return keys.iter().map(Self::from_bytes).collect();
            };
            decoded.extend(
                roots
                    .into_iter()
                    .zip(rest)
                    .map(|(root, bytes)| Ok(Self { bytes: *bytes, point: None, root: Some(root) })),
            );
            // The first that did not decode so; its fault is for the slow way to name.
            decoded.extend(keys.get(decoded.len()).map(Self::from_bytes));
        }
        decoded
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
        let decoded = Decoded::new(&self.bytes, message, signature)?;
        if decoded.holds(&self.point()) { Ok(()) } else { Err(InvalidSignature::Equation) }
    }

    /// The point A.
    pub(super) fn point(&self) -> EdwardsPoint {
        self.point.or_else(|| decode_point(&self.bytes)).expect("it decoded when it was made")
    }

    /// What decoding the point with a vector unit found, where one is there.
    pub(super) const fn root(&self) -> Option<Root> {
        self.root
    }
}

/// The point of a key: rules 1 and 2 of E1.
pub(super) fn decode_key(bytes: &[u8; KEY_LEN]) -> Result<EdwardsPoint, InvalidSignature> {
    let point = decode_point(bytes).ok_or(InvalidSignature::KeyEncoding)?;
    if point.is_small_order() { Err(InvalidSignature::KeySmallOrder) } else { Ok(point) }
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
