//! Decompression by content: gzip, bzip2, xz and zstd, several members or streams in a row included.
//!
//! Decoders may drop what they decoded in a call that then fails, so how much of a damaged file can
//! be read depends on how it is asked for. [`Steady`] always asks in the same way, whatever the
//! batch size, so that a damaged file gives one verdict.

use std::io::{self, BufRead, BufReader, Cursor, Read};

use liblzma::stream::{CONCATENATED, Stream};

use super::kind::is_chain;

type Reader = Box<dyn Read + Send>;

/// What a decoder is asked for at a time.
const STEP: usize = 16 << 10;

/// The most memory that an xz decoder may use: twice what `xz -9` needs.
const XZ_MEMORY_MAX: u64 = 128 << 20;

/// A reader whose first bytes were looked at and put back.
pub(super) struct Peeked {
    pub(super) prefix: Vec<u8>,
    pub(super) reader: Reader,
    /// Whether nothing was decompressed.
    pub(super) is_plain: bool,
}

/// Reads up to `len` bytes ahead. A failure after the first byte is put back as well.
pub(super) fn peek(mut reader: Reader, len: usize) -> io::Result<Peeked> {
    let mut prefix = Vec::with_capacity(len);
    let failure = reader.by_ref().take(len as u64).read_to_end(&mut prefix).err();
    let start = Cursor::new(prefix.clone());
    let reader: Reader = match failure {
        None => Box::new(start.chain(reader)),
        Some(error) if prefix.is_empty() => return Err(error),
        Some(error) => Box::new(start.chain(Failing(Some(error)))),
    };
    Ok(Peeked { prefix, reader, is_plain: true })
}

/// The plain bytes behind a file whose first `len` bytes were looked at, looked at in the same way.
///
/// # Errors
/// If not a single byte can be read.
pub(super) fn decompress(raw: Peeked, len: usize) -> io::Result<Peeked> {
    match decompressor(&raw.prefix) {
        Some(decompress) if !is_chain(&raw.prefix) => {
            let plain = peek(Box::new(Steady::new(decompress(raw.reader)?)), len)?;
            Ok(Peeked { is_plain: false, ..plain })
        }
        _ => Ok(raw),
    }
}

type Decompress = fn(Reader) -> io::Result<Reader>;

fn decompressor(prefix: &[u8]) -> Option<Decompress> {
    const ZSTD: Decompress = |reader| Ok(Box::new(zstd::Decoder::new(reader)?));
    const KNOWN: [(&[u8], Decompress); 4] = [
        (&[0x1f, 0x8b, 8], |reader| Ok(Box::new(GzipMembers::new(reader)))),
        (b"BZh", |reader| Ok(Box::new(bzip2::read::MultiBzDecoder::new(reader)))),
        (b"\xfd7zXZ\0", |reader| {
            let stream = Stream::new_stream_decoder(XZ_MEMORY_MAX, CONCATENATED)?;
            Ok(Box::new(liblzma::read::XzDecoder::new_stream(reader, stream)))
        }),
        (&[0x28, 0xb5, 0x2f, 0xfd], ZSTD),
    ];
    // A zstd file may begin with frames to be skipped, of sixteen magics.  (RFC 8878, 3.1.2.)
    if prefix.len() >= 4 && prefix[0] & 0xf0 == 0x50 && prefix[1..4] == [0x2a, 0x4d, 0x18] {
        return Some(ZSTD);
    }
    KNOWN.into_iter().find_map(|(magic, open)| prefix.starts_with(magic).then_some(open))
}

/// Fails once, then ends.
struct Failing(Option<io::Error>);

impl Read for Failing {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        self.0.take().map_or(Ok(0), Err)
    }
}

/// Asks its reader for [`STEP`] bytes at a time, whatever it is asked for itself.
struct Steady {
    reader: Reader,
    buffer: Vec<u8>,
    /// The part of the buffer that is still to be given out.
    ready: std::ops::Range<usize>,
}

impl Steady {
    fn new(reader: Reader) -> Self {
        Self { reader, buffer: vec![0; STEP], ready: 0..0 }
    }
}

impl Read for Steady {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.ready.is_empty() {
            self.ready = 0..self.reader.read(&mut self.buffer)?;
        }
        let count = out.len().min(self.ready.len());
        out[..count].copy_from_slice(&self.buffer[self.ready.start..][..count]);
        self.ready.start += count;
        Ok(count)
    }
}

/// The members of a gzip file, one after the other, and the zeros that may follow the last, as gzip
/// itself passes over them.
struct GzipMembers {
    /// `None` after the last member.
    member: Option<flate2::bufread::GzDecoder<BufReader<Reader>>>,
}

impl GzipMembers {
    fn new(reader: Reader) -> Self {
        Self { member: Some(flate2::bufread::GzDecoder::new(BufReader::new(reader))) }
    }
}

impl Read for GzipMembers {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while let Some(mut member) = self.member.take() {
            let count = member.read(out)?;
            if count > 0 || out.is_empty() {
                self.member = Some(member);
                return Ok(count);
            }
            let mut rest = member.into_inner();
            if skip_zeros(&mut rest)? {
                self.member = Some(flate2::bufread::GzDecoder::new(rest));
            }
        }
        Ok(0)
    }
}

/// Passes over zeros; whether anything follows them.
fn skip_zeros(reader: &mut impl BufRead) -> io::Result<bool> {
    loop {
        let buffer = reader.fill_buf()?;
        let zeros = buffer.iter().take_while(|&&byte| byte == 0).count();
        if buffer.is_empty() || zeros < buffer.len() {
            let more = !buffer.is_empty();
            reader.consume(zeros);
            return Ok(more);
        }
        reader.consume(zeros);
    }
}
