//! Frames the files of a dump into batches of headers.

use std::io::{self, Read};

use crate::error::Error;
use crate::primitives::Header;
use crate::verdict::Position;

use super::files::Files;
use super::hex_lines::{HexLines, Line};
use super::{FileEntry, FileTable, Inputs, Kind};

/// Headers as they stand in the input, each with its place.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// The headers in the order of the input.
    pub headers: Vec<Header>,
    /// The first byte of each.
    pub positions: Vec<Position>,
    /// The networks that magics before blocks name, each with the index of the first header it holds for.
    pub magics: Vec<(usize, crate::bitcoin::Network)>,
}

/// Reads one file after the other, a batch at a time, in bounded memory.
pub struct HeaderReader {
    files: Files,
    current: Option<Source>,
    batch_max: usize,
}

/// An open file by its framing.
enum Source {
    Binary(Box<dyn Read + Send>),
    Hex(HexLines),
}

impl HeaderReader {
    /// The largest batch: 20 MiB of headers.
    pub const BATCH_MAX: usize = 1 << 18;

    /// A reader that gives batches of up to `batch` headers, at least one and at most
    /// [`HeaderReader::BATCH_MAX`].
    #[must_use]
    pub fn new(inputs: Inputs, batch: usize) -> Self {
        Self {
            files: Files::new(inputs),
            current: None,
            batch_max: batch.clamp(1, Self::BATCH_MAX),
        }
    }

    /// The next headers; `None` at the end of the input.
    pub fn next_batch(&mut self) -> Option<Batch> {
        let mut batch = Batch::default();
        while batch.headers.len() < self.batch_max {
            let open = (&mut self.current, self.files.table.entries.last_mut());
            let (Some(source), Some(entry)) = open else {
                let Some(file) = self.files.open_next() else { break };
                self.current = Some(match file.kind {
                    Kind::Hex => Source::Hex(HexLines::new(file.reader)),
                    _ => Source::Binary(file.reader),
                });
                continue;
            };
            let more = match source {
                Source::Binary(reader) => read_binary(reader, entry, &mut batch, self.batch_max),
                Source::Hex(lines) => read_hex(lines, entry, &mut batch, self.batch_max),
            };
            let ended = match more {
                Ok(more) => !more,
                Err(source) => {
                    self.files.fail(source);
                    true
                }
            };
            if ended {
                self.current = None;
            }
        }
        (!batch.headers.is_empty()).then_some(batch)
    }

    /// What was found in each file, and the first error of reading.
    #[must_use]
    pub fn finish(self) -> (FileTable, Option<Error>) {
        (self.files.table, self.files.error)
    }
}

/// Adds headers to the batch; `false` at the end of the file.
fn read_binary(
    reader: &mut dyn Read,
    entry: &mut FileEntry,
    batch: &mut Batch,
    batch_max: usize,
) -> io::Result<bool> {
    let before = batch.headers.len();
    batch.headers.resize(batch_max, Header::from_bytes([0; Header::LEN]));
    let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut batch.headers[before..]);
    let wanted = bytes.len();
    let (read, failure) = read_up_to(reader, bytes);
    let whole = read / Header::LEN;
    batch.headers.truncate(before + whole);
    let first = entry.start.0 + entry.bytes;
    let place = |index: usize| Position(first + (index * Header::LEN) as u64);
    batch.positions.extend((0..whole).map(place));
    entry.blocks += whole as u64;
    entry.bytes += read as u64;
    let torn = (read % Header::LEN) as u64;
    if torn > 0 {
        entry.torn = Some(super::Torn { offset: entry.bytes - torn, bytes: torn });
    }
    match failure {
        Some(error) => Err(error),
        None => Ok(read == wanted),
    }
}

/// Fills `bytes` as far as the reader goes, and keeps what came before a failure.
fn read_up_to(reader: &mut dyn Read, bytes: &mut [u8]) -> (usize, Option<io::Error>) {
    let mut read = 0;
    while read < bytes.len() {
        match reader.read(&mut bytes[read..]) {
            Ok(0) => break,
            Ok(more) => read += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (read, Some(error)),
        }
    }
    (read, None)
}

/// Adds headers to the batch; `false` at the end of the file.
fn read_hex(
    lines: &mut HexLines,
    entry: &mut FileEntry,
    batch: &mut Batch,
    batch_max: usize,
) -> io::Result<bool> {
    while batch.headers.len() < batch_max {
        let Some((line, length)) = lines.next()? else { return Ok(false) };
        match line {
            Line::Header(header, indent) => {
                batch.headers.push(header);
                batch.positions.push(Position(entry.start.0 + entry.bytes + indent));
                entry.blocks += 1;
            }
            Line::Blank => {}
            Line::Torn => entry.torn = Some(super::Torn { offset: entry.bytes, bytes: length }),
            Line::Junk => entry.skip(entry.bytes, length, "not the 160 hex digits of a header"),
        }
        entry.bytes += length;
    }
    Ok(true)
}
