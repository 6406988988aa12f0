//! Commit slots.

use crate::primitives::Hash256;
use crate::wire::Reader;

use super::{FileHead, PAGE, TipRecord, slot_offset};

/// What a slot says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commit {
    /// The number of the commit.
    pub sequence: u64,
    /// The committed length of the file.
    pub len: u64,
    /// The tip.
    pub tip: TipRecord,
    /// The digest of all frames.
    pub digest: Hash256,
}

impl Commit {
    /// Where the commit stands.
    pub(super) const fn offset(&self, head: &FileHead) -> u64 {
        slot_offset(head, self.sequence % 2)
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut page = Vec::with_capacity(PAGE);
        page.extend_from_slice(&self.sequence.to_le_bytes());
        page.extend_from_slice(&self.len.to_le_bytes());
        page.extend_from_slice(&self.tip.height.to_le_bytes());
        page.extend_from_slice(self.tip.id.as_bytes());
        page.extend_from_slice(self.digest.as_bytes());
        page.extend_from_slice(&(u64::from(self.tip.height) + 1).to_le_bytes());
        page.extend_from_slice(self.tip.tree_root.as_bytes());
        page.resize(PAGE - 4, 0);
        let checksum = crc32c::crc32c(&page);
        page.extend_from_slice(&checksum.to_le_bytes());
        page
    }

    /// The commit that a page holds, if its checksum does.
    pub(super) fn decode(page: &[u8]) -> Option<Self> {
        let (covered, checksum) = page.split_at_checked(PAGE - 4)?;
        if crc32c::crc32c(covered).to_le_bytes() != checksum {
            return None;
        }
        let mut reader = Reader::new(covered);
        let sequence = u64::from_le_bytes(reader.array().ok()?);
        let len = u64::from_le_bytes(reader.array().ok()?);
        let height = reader.u32().ok()?;
        let id = Hash256::from_bytes(reader.array().ok()?);
        let digest = Hash256::from_bytes(reader.array().ok()?);
        let size = u64::from_le_bytes(reader.array().ok()?);
        let tree_root = Hash256::from_bytes(reader.array().ok()?);
        let tip = TipRecord { height, id, tree_root };
        (size == u64::from(height) + 1).then_some(Self { sequence, len, tip, digest })
    }
}
