//! Decompression by content: gzip, bzip2, xz and zstd, several members in a row included.

use std::io::{self, Cursor, Read};

use crate::primitives::Header;

use super::kind::meets_own_target;

/// A reader whose first bytes were looked at and put back.
pub(super) struct Peeked {
    pub(super) prefix: Vec<u8>,
    pub(super) reader: Box<dyn Read + Send>,
}

/// Reads up to `len` bytes ahead.
pub(super) fn peek(mut reader: Box<dyn Read + Send>, len: usize) -> io::Result<Peeked> {
    let mut prefix = Vec::with_capacity(len);
    reader.by_ref().take(len as u64).read_to_end(&mut prefix)?;
    let reader = Box::new(Cursor::new(prefix.clone()).chain(reader));
    Ok(Peeked { prefix, reader })
}

/// The plain bytes behind `file`, looked at up to `len`.
///
/// # Errors
/// If reading or decompressing fails this early.
pub(super) fn open(file: Box<dyn Read + Send>, len: usize) -> io::Result<Peeked> {
    let raw = peek(file, len)?;
    if is_mined_header(&raw.prefix) {
        return Ok(raw);
    }
    match decompressor(&raw.prefix) {
        Some(decompress) => peek(decompress(raw.reader)?, len),
        None => Ok(raw),
    }
}

type Decompress = fn(Box<dyn Read + Send>) -> io::Result<Box<dyn Read + Send>>;

fn decompressor(prefix: &[u8]) -> Option<Decompress> {
    const KNOWN: [(&[u8], Decompress); 4] = [
        (&[0x1f, 0x8b, 8], |reader| Ok(Box::new(flate2::read::MultiGzDecoder::new(reader)))),
        (b"BZh", |reader| Ok(Box::new(bzip2::read::MultiBzDecoder::new(reader)))),
        (b"\xfd7zXZ\0", |reader| Ok(Box::new(liblzma::read::XzDecoder::new_multi_decoder(reader)))),
        (&[0x28, 0xb5, 0x2f, 0xfd], |reader| Ok(Box::new(zstd::Decoder::new(reader)?))),
    ];
    KNOWN.into_iter().find_map(|(magic, open)| prefix.starts_with(magic).then_some(open))
}

/// A version field can be any four bytes, a compressor's magic too; 32 bits of work cannot be
/// chance.
fn is_mined_header(prefix: &[u8]) -> bool {
    prefix.first_chunk::<{ Header::LEN }>().is_some_and(|bytes| {
        let header = Header::from_bytes(*bytes);
        meets_own_target(&header) && header.id().as_bytes()[28..] == [0; 4]
    })
}
