//! Frames: what they are, and how they hang together.

use std::io;

use sha2::{Digest, Sha256};

use crate::primitives::Hash256;
use crate::wire::Reader;

use super::{Storage, Window, leading_number};

/// Type, length and checksum.
const HEAD_LEN: usize = 1 + 4 + 4;

/// The longest payload: that of the longest block, with room to spare.
const PAYLOAD_LEN_MAX: usize = 40 << 20;

/// Set in the types that a reader may skip if it does not know them.
const SKIPPABLE: u8 = 0x80;

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameType {
    /// One block.
    Block,
    /// A run of headers.
    Headers,
    /// How many blocks leave the best branch.
    TakeBack,
    /// Something that a later version has written.
    Unknown(u8),
}

impl FrameType {
    const fn code(self) -> u8 {
        match self {
            Self::Block => 1,
            Self::Headers => 2,
            Self::TakeBack => 3,
            Self::Unknown(code) => code,
        }
    }

    const fn of(code: u8) -> Self {
        match code {
            1 => Self::Block,
            2 => Self::Headers,
            3 => Self::TakeBack,
            code => Self::Unknown(code),
        }
    }

    /// Whether a reader that does not know the type can do without it.
    pub(super) const fn may_be_skipped(self) -> bool {
        self.code() & SKIPPABLE != 0
    }
}

/// A frame of a chain file.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// What it holds.
    pub kind: FrameType,
    /// The family's own encoding of it.
    pub payload: &'a [u8],
}

impl Frame<'_> {
    /// The bytes of the whole frame.
    pub(super) const fn len(&self) -> u64 {
        (HEAD_LEN + self.payload.len()) as u64
    }

    /// How high the chain is after it, if it fits `height`.
    pub(super) fn height_after(&self, height: u32) -> Option<u32> {
        match self.kind {
            FrameType::Block => height.checked_add(1),
            FrameType::Headers => height.checked_add(leading_number(self.payload)?),
            FrameType::TakeBack => {
                let mut reader = Reader::new(self.payload);
                let blocks = reader.varint().ok().and_then(|blocks| u32::try_from(blocks).ok());
                reader.finish().ok()?;
                height.checked_sub(blocks?)
            }
            FrameType::Unknown(_) => Some(height),
        }
    }
}

/// Reads the frame at `offset`, of which at most `left` bytes are there, and gives it with the digest
/// after it; or what is wrong with it.
pub(super) fn read<'a>(
    storage: &impl Storage,
    window: &'a mut Window,
    offset: u64,
    left: u64,
    digest: &Hash256,
) -> io::Result<Result<(Frame<'a>, Hash256), &'static str>> {
    let head = window.get(storage, offset, HEAD_LEN)?;
    let Some(head) = head.first_chunk::<HEAD_LEN>().copied() else {
        return Ok(Err("the head of a frame is cut short"));
    };
    let [code, rest @ ..] = head;
    let (len, checksum) = (word(&rest[..4]), word(&rest[4..]));
    let len = len as usize;
    if len > PAYLOAD_LEN_MAX || (HEAD_LEN + len) as u64 > left {
        return Ok(Err("a frame longer than what is there"));
    }
    let frame = window.get(storage, offset, HEAD_LEN + len)?;
    let Some(payload) = frame.get(HEAD_LEN..HEAD_LEN + len) else {
        return Ok(Err("a frame is cut short"));
    };
    if checksum_of(digest, &head[..5], payload) != checksum {
        return Ok(Err("a frame's checksum does not match"));
    }
    Ok(Ok((Frame { kind: FrameType::of(code), payload }, digest_after(digest, &head, payload))))
}

/// Appends a frame to `out`. Gives what stands before its payload: see [`digest_after`].
pub(super) fn put(
    out: &mut Vec<u8>,
    kind: FrameType,
    payload: &[u8],
    digest: &Hash256,
) -> [u8; HEAD_LEN] {
    let len = u32::try_from(payload.len()).ok().filter(|&len| len as usize <= PAYLOAD_LEN_MAX);
    let mut head = [0; HEAD_LEN];
    head[0] = kind.code();
    head[1..5].copy_from_slice(&len.expect("no block is that long").to_le_bytes());
    let checksum = checksum_of(digest, &head[..5], payload);
    head[5..].copy_from_slice(&checksum.to_le_bytes());
    out.extend_from_slice(&head);
    out.extend_from_slice(payload);
    head
}

/// The payload of a frame that was checked before.
pub(super) fn payload(storage: &impl Storage, offset: u64) -> io::Result<Vec<u8>> {
    let mut head = [0; HEAD_LEN];
    let cut = || io::Error::from(io::ErrorKind::UnexpectedEof);
    if storage.read_at(offset, &mut head)? < HEAD_LEN {
        return Err(cut());
    }
    let len = word(&head[1..5]) as usize;
    if len > PAYLOAD_LEN_MAX {
        return Err(io::Error::other("the chain file changed while it was open"));
    }
    let mut payload = vec![0; len];
    if storage.read_at(offset + HEAD_LEN as u64, &mut payload)? < len {
        return Err(cut());
    }
    Ok(payload)
}

fn checksum_of(digest: &Hash256, head: &[u8], payload: &[u8]) -> u32 {
    let seed = crc32c::crc32c_append(crc32c::crc32c(digest.as_bytes()), head);
    crc32c::crc32c_append(seed, payload)
}

/// The digest after a frame, by that before it.
pub(super) fn digest_after(digest: &Hash256, head: &[u8; HEAD_LEN], payload: &[u8]) -> Hash256 {
    let hash = Sha256::new().chain_update(digest.as_bytes()).chain_update(head);
    Hash256::from_bytes(hash.chain_update(payload).finalize().into())
}

fn word(bytes: &[u8]) -> u32 {
    u32::from_le_bytes(*bytes.first_chunk().expect("four bytes"))
}
