//! The 80-byte block header that both rule families share.

use std::fmt;

use bytemuck::{Pod, Zeroable};

use super::{CompactTarget, Hash256, sha256d};

// Field offsets; every integer is little-endian.  (Bitcoin Core: CBlockHeader.)
const VERSION_AT: usize = 0;
const PARENT_AT: usize = VERSION_AT + size_of::<i32>();
const MERKLE_ROOT_AT: usize = PARENT_AT + size_of::<Hash256>();
const TIME_AT: usize = MERKLE_ROOT_AT + size_of::<Hash256>();
const BITS_AT: usize = TIME_AT + size_of::<u32>();
const NONCE_AT: usize = BITS_AT + size_of::<u32>();
const _: () = assert!(NONCE_AT + size_of::<u32>() == Header::LEN);

/// A block header, exactly as it stands in a dump; fields are read where they lie.
#[derive(Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(transparent)]
pub struct Header([u8; 80]);

impl Header {
    /// The length of a header in bytes.
    pub const LEN: usize = 80;

    /// A header from its 80 bytes; every byte string of that length is one.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// A header from its fields.
    #[must_use]
    pub fn from_fields(
        version: i32,
        parent: Hash256,
        merkle_root: Hash256,
        time: u32,
        bits: CompactTarget,
        nonce: u32,
    ) -> Self {
        let mut bytes = [0; Self::LEN];
        bytes[VERSION_AT..PARENT_AT].copy_from_slice(&version.to_le_bytes());
        bytes[PARENT_AT..MERKLE_ROOT_AT].copy_from_slice(parent.as_bytes());
        bytes[MERKLE_ROOT_AT..TIME_AT].copy_from_slice(merkle_root.as_bytes());
        bytes[TIME_AT..BITS_AT].copy_from_slice(&time.to_le_bytes());
        bytes[BITS_AT..NONCE_AT].copy_from_slice(&bits.to_bits().to_le_bytes());
        bytes[NONCE_AT..].copy_from_slice(&nonce.to_le_bytes());
        Self(bytes)
    }

    /// The 80 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    /// The block version.
    #[inline]
    #[must_use]
    pub fn version(&self) -> i32 {
        i32::from_le_bytes(self.word(VERSION_AT))
    }

    /// The id of the parent block.
    #[inline]
    #[must_use]
    pub fn parent(&self) -> Hash256 {
        self.hash(PARENT_AT)
    }

    /// The root of the tree over the block's transactions.
    #[inline]
    #[must_use]
    pub fn merkle_root(&self) -> Hash256 {
        self.hash(MERKLE_ROOT_AT)
    }

    /// The block time in seconds since 1970-01-01.
    #[inline]
    #[must_use]
    pub fn time(&self) -> u32 {
        u32::from_le_bytes(self.word(TIME_AT))
    }

    /// The compact difficulty target (`nBits`).
    #[inline]
    #[must_use]
    pub fn bits(&self) -> CompactTarget {
        CompactTarget::from_bits(u32::from_le_bytes(self.word(BITS_AT)))
    }

    /// The proof-of-work nonce.
    #[inline]
    #[must_use]
    pub fn nonce(&self) -> u32 {
        u32::from_le_bytes(self.word(NONCE_AT))
    }

    /// The same header with another version.
    #[must_use]
    pub fn with_version(mut self, version: i32) -> Self {
        self.0[VERSION_AT..PARENT_AT].copy_from_slice(&version.to_le_bytes());
        self
    }

    /// The same header with another nonce.
    #[must_use]
    pub fn with_nonce(mut self, nonce: u32) -> Self {
        self.0[NONCE_AT..].copy_from_slice(&nonce.to_le_bytes());
        self
    }

    /// The block id: SHA-256d of the 80 bytes, on the CPU.
    #[must_use]
    pub fn id(&self) -> Hash256 {
        sha256d(&self.0)
    }

    /// Whether `id` meets the target that the header itself names, whatever its network.
    #[must_use]
    pub fn is_solved_by(&self, id: &Hash256) -> bool {
        self.bits().decode().is_ok_and(|target| target.is_met_by(id))
    }

    #[inline]
    fn word(&self, at: usize) -> [u8; 4] {
        let mut word = [0; 4];
        word.copy_from_slice(&self.0[at..at + 4]);
        word
    }

    #[inline]
    fn hash(&self, at: usize) -> Hash256 {
        let mut hash = [0; 32];
        hash.copy_from_slice(&self.0[at..at + 32]);
        Hash256::from_bytes(hash)
    }
}

impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Header({})", hex::encode(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_lie_where_core_puts_them() {
        let mut bytes = [0; Header::LEN];
        for (byte, value) in bytes.iter_mut().zip(0u8..) {
            *byte = value;
        }
        let header = Header::from_bytes(bytes);
        assert_eq!(header.version(), 0x0302_0100);
        assert_eq!(header.parent().as_bytes()[0], 4);
        assert_eq!(header.merkle_root().as_bytes()[31], 67);
        assert_eq!(header.time(), 0x4746_4544);
        assert_eq!(header.bits().to_bits(), 0x4b4a_4948);
        assert_eq!(header.nonce(), 0x4f4e_4d4c);
        let rebuilt = Header::from_fields(
            header.version(),
            header.parent(),
            header.merkle_root(),
            header.time(),
            header.bits(),
            header.nonce(),
        );
        assert_eq!(rebuilt, header);
        assert_eq!(header.with_nonce(7).nonce(), 7);
    }
}
