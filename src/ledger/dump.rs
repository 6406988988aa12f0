//! The dump of a ledger: its parameters, then blocks in any order.
//!
//! A dump is self-contained: it can be validated by someone who has nothing else.
//!
//! # Head
//!
//! Fixed-size numbers are little-endian.
//!
//! | field | bytes |
//! |---|---|
//! | magic | 8; `89 62 6d 64 75 6d 70 0a` (0x89, `bmdump`, line feed) |
//! | format version | 4; 1 |
//! | chain id | 32, in the order SHA-256 produces it; must be that of the parameters |
//! | parameters | 4 length, at most 64 MiB; canonical encoding (see [`Params`]) |
//! | first height | 8; the lowest height in the dump, for whoever lacks the blocks before it |
//! | checksum | 4; CRC-32C of all bytes before it |
//!
//! # Records
//!
//! | field | bytes |
//! |---|---|
//! | marker | 4; `f5 62 6d 72` (0xf5, `bmr`) |
//! | length | 4; of the block |
//! | block checksum | 4; CRC-32C of the block |
//! | checksum | 4; CRC-32C of the twelve bytes before it |
//! | block | its canonical encoding (see [`super::Block`]) |
//!
//! Records may stand in any order, more than once, and between bytes that belong to none. A reader
//! that loses its place looks for the next marker whose checksum holds; a length is believed only
//! behind such a checksum, and only if the block's holds as well. So damage to one record, or the loss
//! of a part of it, never hides the next. (CRC-32C: RFC 3720, appendix B.4.)

use std::io::{self, Read};

use crate::wire::Reader;

use super::Params;

/// The first bytes of a dump.
pub const DUMP_MAGIC: [u8; 8] = *b"\x89bmdump\n";

const FORMAT: u32 = 1;

/// Magic, format version, chain id, length of the parameters.
const FIXED_LEN: usize = 8 + 4 + 32 + 4;

/// First height and checksum.
const END_LEN: usize = 8 + 4;

const PARAMS_LEN_MAX: u32 = 64 << 20;

/// The longest block that is read, in bytes: above every limit that parameters can set, so that a
/// block just over its limit is judged by that rule. Longer records are passed over.
pub const RECORD_BLOCK_LEN_MAX: u32 = (32 << 20) + (64 << 10);

/// What a dump says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DumpHead {
    /// The ledger.
    pub params: Params,
    /// The lowest height in the dump.
    pub first_height: u64,
}

/// Why a head cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum HeadError {
    /// The operating system or a decompressor gave up.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The bytes are no head.
    #[error("{0}")]
    Invalid(String),
}

impl DumpHead {
    /// The encoding.
    ///
    /// # Panics
    /// If the parameters are longer than 64 MiB, which is more than a million allocations.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let params = self.params.encode();
        let len = u32::try_from(params.len()).ok().filter(|len| *len <= PARAMS_LEN_MAX);
        let len = len.expect("parameters of at most 64 MiB");
        let mut out = DUMP_MAGIC.to_vec();
        out.extend_from_slice(&FORMAT.to_le_bytes());
        out.extend_from_slice(self.params.chain_id().as_bytes());
        out.extend_from_slice(&len.to_le_bytes());
        out.extend_from_slice(&params);
        out.extend_from_slice(&self.first_height.to_le_bytes());
        let checksum = crc32c::crc32c(&out);
        out.extend_from_slice(&checksum.to_le_bytes());
        out
    }

    /// Reads a head from the start of a dump, and says how many bytes it has.
    ///
    /// # Errors
    /// If reading fails, or the bytes are no head of this format.
    pub fn read(reader: &mut impl Read) -> Result<(Self, u64), HeadError> {
        let invalid = |why: &str| HeadError::Invalid(why.into());
        let mut bytes = read_exactly(reader, FIXED_LEN)?;
        let truncated = "the head of the dump is cut short";
        let mut fixed = Reader::new(&bytes);
        if fixed.array().ok() != Some(DUMP_MAGIC) {
            return Err(invalid("not the dump of a ledger"));
        }
        let version = fixed.u32().map_err(|_| invalid(truncated))?;
        if version != FORMAT {
            let why = format!("a dump of format {version}, this version reads {FORMAT}");
            return Err(HeadError::Invalid(why));
        }
        let chain_id: [u8; 32] = fixed.array().map_err(|_| invalid(truncated))?;
        let params_len = fixed.u32().map_err(|_| invalid(truncated))?;
        if params_len > PARAMS_LEN_MAX {
            return Err(invalid(
                "the head of the dump is damaged: parameters of impossible length",
            ));
        }
        let rest = params_len as usize + END_LEN;
        let tail = read_exactly(reader, rest)?;
        bytes.extend_from_slice(&tail);
        if tail.len() < rest {
            return Err(invalid(truncated));
        }
        let (covered, checksum) = bytes.split_at(bytes.len() - 4);
        if crc32c::crc32c(covered).to_le_bytes() != checksum {
            return Err(invalid("the head of the dump is damaged: its checksum does not match"));
        }
        let params = Params::decode(&tail[..params_len as usize])
            .map_err(|why| HeadError::Invalid(format!("the dump's parameters: {why}")))?;
        if *params.chain_id().as_bytes() != chain_id {
            return Err(invalid("the dump's chain id is not that of its parameters"));
        }
        let mut height = [0; 8];
        height.copy_from_slice(&tail[params_len as usize..][..8]);
        let head = Self { params, first_height: u64::from_le_bytes(height) };
        Ok((head, bytes.len() as u64))
    }
}

/// Up to `len` bytes, fewer only at the end. Makes room as they come: a length may lie.
fn read_exactly(reader: &mut impl Read, len: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(len as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// What stands before a block in a dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordHead {
    pub(crate) len: u32,
    pub(crate) checksum: u32,
}

impl RecordHead {
    pub(crate) const LEN: usize = 16;

    /// The first bytes.
    pub(crate) const MARKER: [u8; 4] = *b"\xf5bmr";

    /// The head that `bytes` begin with, if its checksum holds.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes.get(..Self::LEN)?);
        let marker: [u8; 4] = reader.array().ok()?;
        let len = reader.u32().ok()?;
        let checksum = reader.u32().ok()?;
        let holds = reader.u32().ok()? == crc32c::crc32c(&bytes[..Self::LEN - 4]);
        (marker == Self::MARKER && holds).then_some(Self { len, checksum })
    }

    /// Whether `block` is what was written.
    pub(crate) fn holds(&self, block: &[u8]) -> bool {
        crc32c::crc32c(block) == self.checksum
    }
}

/// Appends the record of a block.
///
/// # Panics
/// If the block is longer than [`RECORD_BLOCK_LEN_MAX`].
pub fn put_record(out: &mut Vec<u8>, block: &[u8]) {
    let len = u32::try_from(block.len()).ok().filter(|len| *len <= RECORD_BLOCK_LEN_MAX);
    let start = out.len();
    out.extend_from_slice(&RecordHead::MARKER);
    out.extend_from_slice(&len.expect("a block within the limit").to_le_bytes());
    out.extend_from_slice(&crc32c::crc32c(block).to_le_bytes());
    let checksum = crc32c::crc32c(&out[start..]);
    out.extend_from_slice(&checksum.to_le_bytes());
    out.extend_from_slice(block);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> DumpHead {
        let text = format!(
            "format = 1\nname = \"test\"\ntime = 1\nsalt = \"{}\"\ntarget_spacing_s = 60\n\
             half_life_s = 7200\npow_limit = \"207fffff\"\nsubsidy = 50\nhalving_blocks = 10\n\
             block_bytes_max = 100000\n",
            "00".repeat(32)
        );
        DumpHead { params: Params::from_toml(&text).expect("parameters"), first_height: 1 }
    }

    #[test]
    fn heads_come_back() {
        let bytes = head().encode();
        let (read, len) = DumpHead::read(&mut &bytes[..]).expect("a head");
        assert_eq!((read, len), (head(), bytes.len() as u64));
        // What follows is left alone.
        let mut more = &[&bytes[..], b"more"].concat()[..];
        DumpHead::read(&mut more).expect("a head");
        assert_eq!(more, b"more");
    }

    #[test]
    fn no_bit_of_a_head_can_change() {
        let bytes = head().encode();
        for place in 0..bytes.len() {
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[place] ^= 1 << bit;
                assert!(DumpHead::read(&mut &damaged[..]).is_err(), "byte {place}, bit {bit}");
            }
            assert!(DumpHead::read(&mut &bytes[..place]).is_err(), "cut at {place}");
        }
    }

    #[test]
    fn a_chain_id_is_that_of_the_parameters() {
        let mut bytes = head().encode();
        bytes[12] ^= 1;
        let covered = bytes.len() - 4;
        let checksum = crc32c::crc32c(&bytes[..covered]).to_le_bytes();
        bytes[covered..].copy_from_slice(&checksum);
        let error = DumpHead::read(&mut &bytes[..]).expect_err("another chain id");
        assert!(error.to_string().contains("chain id"), "{error}");
    }

    #[test]
    fn record_heads_hold_their_length() {
        let mut record = Vec::new();
        put_record(&mut record, b"block");
        let head = RecordHead::parse(&record).expect("a head");
        assert_eq!((head.len, head.holds(b"block"), head.holds(b"blocK")), (5, true, false));
        for bit in 0..8 * RecordHead::LEN {
            let mut damaged = record.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(RecordHead::parse(&damaged), None, "bit {bit}");
        }
        assert_eq!(RecordHead::parse(&record[..15]), None);
        // The published check value of CRC-32C.
        assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283);
    }
}
