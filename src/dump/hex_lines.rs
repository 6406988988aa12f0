//! Headers as text: 160 hex digits a line.

use std::io::{self, BufRead, BufReader, Read};

use crate::primitives::Header;

/// The hex digits of a header.
pub(super) const HEX_LINE_LEN: usize = 2 * Header::LEN;

/// What is kept of a line: a header and some white space around it.
const LINE_MAX: usize = 4 * HEX_LINE_LEN;

/// One line of the text.
pub(super) enum Line {
    /// A header, and the offset of its first digit from the start of the line.
    Header(Header, u64),
    Blank,
    /// Not a header.
    Junk,
}

/// Reads lines of any length in bounded memory.
pub(super) struct HexLines {
    reader: BufReader<Box<dyn Read + Send>>,
    line: Vec<u8>,
}

impl HexLines {
    pub(super) fn new(reader: Box<dyn Read + Send>) -> Self {
        Self { reader: BufReader::with_capacity(1 << 16, reader), line: Vec::new() }
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
        let whole = length <= LINE_MAX as u64;
        Ok(Some((if whole { parse(&self.line) } else { Line::Junk }, length)))
    }
}

fn parse(line: &[u8]) -> Line {
    let start = line.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    let digits = line.trim_ascii();
    if digits.is_empty() {
        return Line::Blank;
    }
    let mut header = [0; Header::LEN];
    match hex::decode_to_slice(digits, &mut header) {
        Ok(()) => Line::Header(Header::from_bytes(header), start as u64),
        Err(_) => Line::Junk,
    }
}
