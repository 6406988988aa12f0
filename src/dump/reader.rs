//! The first reading of Bitcoin's files: frames them into batches of headers.

use std::fs::File;
use std::io::{self, BufWriter, Read};

use crate::bitcoin::Network;
use crate::error::Error;
use crate::primitives::Header;
use crate::verdict::Position;

use super::block_records::{BlockScanner, RawBlockScanner};
use super::bodies::Sources;
use super::files::{Files, OpenFile};
use super::hex_lines::{HexLines, Line};
use super::segments::Threads;
use super::window::{Fit, Found, Scan, ScanError, Spool};
use super::{Bodies, FileEntry, FileTable, Inputs, Kind, Torn};

/// Headers as they stand in the input, each with its place.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// The headers in the order of the input.
    pub headers: Vec<Header>,
    /// The first byte of each.
    pub positions: Vec<Position>,
    /// The networks that records of block files name, each with the index of a header whose record names
    /// it: of the first in the batch, and of each that names another than the one before. Headers of
    /// other files name none.
    pub magics: Vec<(usize, Network)>,
    /// Blocks that do not end where their records say.
    pub(super) misfits: Vec<Position>,
}

impl Batch {
    /// Takes what was found at the end of `entry`; `false` at the end of the file.
    pub(super) fn take(&mut self, found: Found, entry: &mut FileEntry) -> bool {
        let offset = entry.bytes;
        entry.bytes += match found {
            Found::Block { header, head, bytes, network, fit } => {
                if fit == Fit::HeadLies {
                    entry.skip(offset, head, "a head whose length is not that of its block");
                }
                let last = self.magics.last().map(|(_, network)| *network);
                if let Some(network) = network.filter(|network| last != Some(*network)) {
                    self.magics.push((self.headers.len(), network));
                }
                let position = Position(entry.start.0 + offset + head);
                if fit != Fit::Exact {
                    self.misfits.push(position);
                }
                self.headers.push(header);
                self.positions.push(position);
                entry.blocks += 1;
                bytes
            }
            Found::Junk { bytes, why } => {
                entry.skip(offset, bytes, why);
                bytes
            }
            Found::Torn { bytes } => {
                entry.torn = Some(Torn { offset, bytes });
                bytes
            }
            Found::End => return false,
        };
        true
    }
}

/// Reads one file after the other, a batch at a time, in bounded memory.
pub struct HeaderReader {
    files: Files,
    current: Option<Source>,
    /// Where the bodies of each file can be read again, if they will be.
    sources: Option<Sources>,
    batch_max: usize,
    threads: Threads,
}

/// An open file by its framing.
enum Source {
    Headers(Box<dyn Read + Send>),
    Hex(HexLines),
    Blocks(Box<dyn Scan + Send>),
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
            sources: None,
            batch_max: batch.clamp(1, Self::BATCH_MAX),
            threads: Threads::new(1),
        }
    }

    /// The same, but so many threads, as far as they are of use, look for the blocks of large files; zero means one
    /// for each core. What they find is the same.
    #[must_use]
    pub fn on_threads(self, threads: usize) -> Self {
        Self { threads: Threads::new(threads), ..self }
    }

    /// The same, but the bodies will be read as well: what cannot be read twice is copied into a temporary
    /// file that has no name.
    #[must_use]
    pub fn with_bodies(inputs: Inputs, batch: usize) -> Self {
        Self { sources: Some(Sources::default()), ..Self::new(inputs, batch) }
    }

    /// The next headers; `None` at the end of the input.
    ///
    /// # Errors
    /// If there is no room for a copy, or the user ends the work: there may be no header in gigabytes.
    pub fn next_batch(&mut self) -> Result<Option<Batch>, Error> {
        let mut batch = Batch::default();
        while batch.headers.len() < self.batch_max {
            if self.files.progress.is_stopped() {
                return Err(Error::Interrupted);
            }
            let open = (&mut self.current, self.files.table.entries.last_mut());
            let (Some(source), Some(entry)) = open else {
                let Some(file) = self.files.open_next() else { break };
                self.current = Some(self.source(file)?);
                continue;
            };
            let more = match source {
                Source::Headers(reader) => read_headers(reader, entry, &mut batch, self.batch_max),
                Source::Hex(lines) => read_hex(lines, entry, &mut batch, self.batch_max),
                Source::Blocks(scanner) => take(scanner.next(), entry, &mut batch)?,
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
        if let Some(sources) = &mut self.sources {
            sources.note_misfits(&mut batch.misfits);
        }
        Ok((!batch.headers.is_empty()).then_some(batch))
    }

    /// What was found in each file, and the first error of reading.
    #[must_use]
    pub fn finish(self) -> (FileTable, Option<Error>) {
        (self.files.table, self.files.error)
    }

    /// The same, and where the bodies are, if the reader was made [`HeaderReader::with_bodies`].
    #[must_use]
    pub fn finish_with_bodies(self) -> (FileTable, Option<Error>, Bodies) {
        let bodies = self.sources.unwrap_or_default().bodies(self.files.table.clone());
        (self.files.table, self.files.error, bodies)
    }

    /// Frames an open file.
    fn source(&mut self, file: OpenFile) -> Result<Source, Error> {
        let mut spool = None;
        if let Some(sources) = self.sources.as_mut()
            && matches!(file.kind, Kind::Blk | Kind::Block)
        {
            spool = sources.note(&self.files.table, &file)?.map(spool_into);
        }
        Ok(match file.kind {
            Kind::Hex => Source::Hex(HexLines::new(file.reader)),
            Kind::Blk => {
                let (plain, progress) = (file.plain.as_ref(), &self.files.progress);
                let segments =
                    plain.and_then(|plain| self.threads.scan_blocks(plain, file.key, progress));
                Source::Blocks(
                    segments.unwrap_or_else(|| {
                        Box::new(BlockScanner::new(file.reader, file.key, spool))
                    }),
                )
            }
            Kind::Block => Source::Blocks(Box::new(RawBlockScanner::new(file.reader, spool))),
            Kind::Headers | Kind::Ledger | Kind::Other => Source::Headers(file.reader),
        })
    }
}

/// Where a copy of a file goes.
pub(super) fn spool_into(file: File) -> Spool {
    Box::new(BufWriter::new(file))
}

/// Takes what was found; `false` at the end of the file, or why it cannot be read further.
///
/// # Errors
/// If it cannot be copied.
pub(super) fn take(
    found: Result<Found, ScanError>,
    entry: &mut FileEntry,
    batch: &mut Batch,
) -> Result<io::Result<bool>, Error> {
    match found {
        Ok(found) => Ok(Ok(batch.take(found, entry))),
        Err(ScanError::Read(source)) => Ok(Err(source)),
        Err(ScanError::Spool(error)) => Err(Error::Spool(error)),
    }
}

/// Adds headers to the batch; `false` at the end of the file.
fn read_headers(
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
        entry.torn = Some(Torn { offset: entry.bytes - torn, bytes: torn });
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
            Line::Torn => entry.torn = Some(Torn { offset: entry.bytes, bytes: length }),
            Line::Junk => entry.skip(entry.bytes, length, "not the 160 hex digits of a header"),
        }
        entry.bytes += length;
    }
    Ok(true)
}
