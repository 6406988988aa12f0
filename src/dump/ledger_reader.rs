//! The first reading of a ledger's dumps: heads, and the header of every block.

use std::fs::File;
use std::io::{BufWriter, Read, Write};

use crate::error::{Error, Place};
use crate::ledger::{DumpHead, HeadError, Params, RecordHead};
use crate::verdict::Position;

use super::bodies::Source;
use super::files::{Files, OpenFile};
use super::records::{Found, ScanError, Scanner};
use super::{Batch, Bodies, FileTable, Inputs, Torn};

type Reader = Box<dyn Read + Send>;

/// Reads one dump after the other, a batch of headers at a time, in bounded memory. What cannot be read
/// twice is copied into a temporary file that has no name.
pub struct LedgerReader {
    files: Files,
    current: Option<Scanner<Reader>>,
    /// Where the bodies of each file can be read again.
    sources: Vec<Source>,
    params: Option<Params>,
    /// The file that showed the parameters; `None` if they were given.
    shown_by: Option<Place>,
    first_height: Option<u64>,
    batch_max: usize,
}

impl LedgerReader {
    /// A reader that gives batches of up to `batch` headers. The dumps must be of the ledger that has
    /// these parameters, or if none are given, all of one.
    #[must_use]
    pub fn new(inputs: Inputs, params: Option<Params>, batch: usize) -> Self {
        Self {
            files: Files::new(inputs),
            current: None,
            sources: Vec::new(),
            params,
            shown_by: None,
            first_height: None,
            batch_max: batch.clamp(1, super::HeaderReader::BATCH_MAX),
        }
    }

    /// Opens the first dump that can be opened. Gives the parameters, if any are known then.
    ///
    /// # Errors
    /// As [`LedgerReader::next_batch`].
    pub fn open_first(&mut self) -> Result<Option<&Params>, Error> {
        while self.current.is_none() && self.open_next()? {}
        Ok(self.params.as_ref())
    }

    /// The lowest height that any dump says it begins at.
    #[must_use]
    pub fn first_height(&self) -> u64 {
        self.first_height.unwrap_or(0)
    }

    /// Whether a dump showed the parameters.
    #[must_use]
    pub const fn is_from_dump(&self) -> bool {
        self.shown_by.is_some()
    }

    /// The next headers; `None` at the end of the input.
    ///
    /// # Errors
    /// If two dumps are of two ledgers, or there is no room for a copy.
    pub fn next_batch(&mut self) -> Result<Option<Batch>, Error> {
        let mut batch = Batch::default();
        while batch.headers.len() < self.batch_max {
            let Some(scanner) = &mut self.current else {
                if !self.open_next()? {
                    break;
                }
                continue;
            };
            let found = scanner.next();
            let entry = self.files.table.entries.last_mut().expect("a file is open");
            let offset = entry.bytes;
            match found {
                Ok(Found::Block { header, bytes }) => {
                    let block = entry.start.0 + offset + RecordHead::LEN as u64;
                    batch.headers.push(header);
                    batch.positions.push(Position(block));
                    entry.blocks += 1;
                    entry.bytes += bytes;
                }
                Ok(Found::Junk { bytes, why }) => {
                    entry.skip(offset, bytes, why);
                    entry.bytes += bytes;
                }
                Ok(Found::Torn { bytes }) => {
                    entry.torn = Some(Torn { offset, bytes });
                    entry.bytes += bytes;
                }
                Ok(Found::End) => self.current = None,
                Err(ScanError::Read(source)) => {
                    self.files.fail(source);
                    self.current = None;
                }
                Err(ScanError::Spool(error)) => return Err(Error::Spool(error)),
            }
        }
        Ok((!batch.headers.is_empty()).then_some(batch))
    }

    /// What was found in each file, the first error of reading, and where the bodies are.
    #[must_use]
    pub fn finish(self) -> (FileTable, Option<Error>, Bodies) {
        let bodies = Bodies::new(self.files.table.clone(), self.sources);
        (self.files.table, self.files.error, bodies)
    }

    /// Opens the next file and reads its head; `false` if there is no file left.
    fn open_next(&mut self) -> Result<bool, Error> {
        let Some(file) = self.files.open_next() else { return Ok(false) };
        // Files that could not be opened have entries, but no bodies.
        self.sources.resize_with(self.files.table.entries.len() - 1, || Source::Unread);
        let (mut reader, spool) = self.twice_readable(file)?;
        let (head, len) = match DumpHead::read(&mut reader) {
            Ok(head) => head,
            Err(HeadError::Io(source)) => {
                self.files.fail(source);
                return Ok(true);
            }
            Err(HeadError::Invalid(why)) => {
                let place = self.files.here().expect("a file is open");
                self.files.error.get_or_insert(Error::NotRecognised { place, why });
                return Ok(true);
            }
        };
        self.check_params(head.params)?;
        let lowest = self.first_height.unwrap_or(u64::MAX).min(head.first_height);
        self.first_height = Some(lowest);
        let entry = self.files.table.entries.last_mut().expect("a file is open");
        entry.bytes = len;
        let spool = spool.map(|file| Box::new(BufWriter::new(file)) as Box<dyn Write + Send>);
        if let Some(Source::Spool { head_len, .. }) = self.sources.last_mut() {
            // The copy begins behind the head.
            *head_len = len;
        }
        self.current = Some(Scanner::new(reader, spool));
        Ok(true)
    }

    /// Notes how the bodies of the file can be read again. Gives the reader, and where to copy it.
    fn twice_readable(&mut self, file: OpenFile) -> Result<(Reader, Option<File>), Error> {
        if file.is_plain {
            let path = self.files.here().expect("a file is open").path;
            self.sources.push(Source::Path(path));
            return Ok((file.reader, None));
        }
        let spool = tempfile::tempfile().map_err(Error::Spool)?;
        let twin = spool.try_clone().map_err(Error::Spool)?;
        self.sources.push(Source::Spool { file: spool, head_len: 0 });
        Ok((file.reader, Some(twin)))
    }

    /// Holds the dump's parameters against those that are known.
    fn check_params(&mut self, params: Params) -> Result<(), Error> {
        let place = self.files.here();
        match &self.params {
            None => {
                self.params = Some(params);
                self.shown_by = place;
                Ok(())
            }
            Some(known) if *known == params => Ok(()),
            Some(known) => {
                let other = self.shown_by.as_ref().map_or_else(
                    || "--network".to_owned(),
                    |place| place.path.display().to_string(),
                );
                let here = place.as_ref().map(|place| place.path.display().to_string());
                let message = format!(
                    "two ledgers in one run: {} is of chain {}, {other} of {}",
                    here.unwrap_or_default(),
                    params.chain_id(),
                    known.chain_id()
                );
                Err(Error::Usage { message, place })
            }
        }
    }
}
