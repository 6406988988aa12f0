//! Headers as text: 160 hex digits a line.

use std::io::{self, BufRead, BufReader, Read};

use crate::primitives::Header;

/// The hex digits of a header.
pub(super) const HEX_LINE_LEN: usize = 2 * Header::LEN;

/// What some editors put before a text.
pub(super) const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// What is kept of a line: a header and some white space around it.
const LINE_MAX: usize = 4 * HEX_LINE_LEN;

/// One line of the text.
pub(super) enum Line {
    /// A header, and the offset of its first digit from the start of the line.
    Header(Header, u64),
    Blank,
    /// The digits of a header that the end of the file cuts short.
    Torn,
    /// Not a header.
    Junk,
}

/// Reads lines of any length in bounded memory.
pub(super) struct HexLines {
    reader: BufReader<Box<dyn Read + Send>>,
    line: Vec<u8>,
    is_first: bool,
}

impl HexLines {
    pub(super) fn new(reader: Box<dyn Read + Send>) -> Self {
        Self { reader: BufReader::with_capacity(1 << 16, reader), line: Vec::new(), is_first: true }
    }

    /// The next line and its length in bytes with its end; `None` at the end of the file.
    pub(super) fn next(&mut self) -> io::Result<Option<(Line, u64)>> {
        self.line.clear();
        let mut length = 0;
        loop {
            let buffer = self.reader.fill_buf()?;
            if buffer.is_empty() {
                break;
            }
            let end = buffer.iter().position(|&byte| byte == b'\n');
            let taken = end.map_or(buffer.len(), |end| end + 1);
            let room = LINE_MAX.saturating_sub(self.line.len());
            self.line.extend_from_slice(&buffer[..taken.min(room)]);
            self.reader.consume(taken);
            length += taken as u64;
            if end.is_some() {
                break;
            }
        }
        if length == 0 {
            return Ok(None);
        }
        if length > LINE_MAX as u64 {
            return Ok(Some((Line::Junk, length)));
        }
        let is_first = std::mem::replace(&mut self.is_first, false);
        let mark = if is_first && self.line.starts_with(BYTE_ORDER_MARK) { 3 } else { 0 };
        Ok(Some((parse(&self.line, mark), length)))
    }
}

/// What a line says from byte `from` on.
fn parse(line: &[u8], from: usize) -> Line {
    let text = &line[from..];
    let start = from + text.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    let digits = text.trim_ascii();
    if digits.is_empty() {
        return Line::Blank;
    }
    let mut header = [0; Header::LEN];
    if hex::decode_to_slice(digits, &mut header).is_ok() {
        return Line::Header(Header::from_bytes(header), start as u64);
    }
    let is_cut = digits.len() < HEX_LINE_LEN && digits.iter().all(u8::is_ascii_hexdigit);
    if is_cut && !line.ends_with(b"\n") { Line::Torn } else { Line::Junk }
}
