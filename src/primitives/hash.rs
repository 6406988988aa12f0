//! 32-byte hashes, kept as SHA-256 leaves them and printed as Bitcoin nodes print them.

use std::fmt;
use std::str::FromStr;

use bytemuck::{Pod, Zeroable};
use sha2::{Digest, Sha256};

/// A double SHA-256: the id of a block or a transaction, or a node of a Merkle tree.
///
/// The bytes are in the order SHA-256 produces them. [`fmt::Display`] and [`FromStr`] use the
/// reversed order in which Bitcoin nodes print ids, so that leading zeros show proof of work.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Pod, Zeroable)]
#[repr(transparent)]
pub struct Hash256([u8; 32]);

impl Hash256 {
    /// The all-zero hash, which a genesis block names as its parent.
    pub const ZERO: Self = Self([0; 32]);

    /// A hash from bytes in the order SHA-256 produces them.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes in the order SHA-256 produces them.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first eight bytes as a number: as good as random, so fit for a hash table.
    ///
    /// The *last* bytes are the ones that proof of work makes zero.
    #[must_use]
    pub fn low_u64(&self) -> u64 {
        let mut low = [0; 8];
        low.copy_from_slice(&self.0[..8]);
        u64::from_le_bytes(low)
    }

    /// The most significant 32 bits of the number that a target is compared with.
    #[must_use]
    pub fn top_word(&self) -> u32 {
        let mut top = [0; 4];
        top.copy_from_slice(&self.0[28..]);
        u32::from_le_bytes(top)
    }
}

/// SHA-256 of the SHA-256 of `bytes`.
#[must_use]
pub fn sha256d(bytes: &[u8]) -> Hash256 {
    Hash256(Sha256::digest(Sha256::digest(bytes)).into())
}

impl fmt::Display for Hash256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().rev().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is not 64 hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a hash is 64 hex digits")]
pub struct ParseHashError;

impl FromStr for Hash256 {
    type Err = ParseHashError;

    /// Reads the reversed order that [`fmt::Display`] writes.
    fn from_str(text: &str) -> Result<Self, ParseHashError> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| ParseHashError)?;
        bytes.reverse();
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_and_parses_in_node_order() {
        let text = "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f";
        let hash: Hash256 = text.parse().expect("64 hex digits");
        assert_eq!(hash.as_bytes()[31], 0);
        assert_eq!(hash.as_bytes()[0], 0x6f);
        assert_eq!(hash.to_string(), text);
        assert_eq!("00".parse::<Hash256>(), Err(ParseHashError));
    }
}
