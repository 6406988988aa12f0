//! The first reading of a ledger's dumps: heads, and the header of every block.

use crate::error::{Error, Place};
use crate::ledger::{DumpHead, HeadError, Params};

use super::bodies::Sources;
use super::files::Files;
use super::reader::{self, spool_into};
use super::records::Scanner;
use super::segments::Threads;
use super::window::Scan;
use super::{Batch, Bodies, FileTable, Inputs};

/// Reads one dump after the other, a batch of headers at a time, in bounded memory. What cannot be read
/// twice is copied into a temporary file that has no name.
pub struct LedgerReader {
    files: Files,
    current: Option<Box<dyn Scan + Send>>,
    /// Where the bodies of each file can be read again.
    sources: Sources,
    params: Option<Params>,
    /// The file that showed the parameters; `None` if they were given.
    shown_by: Option<Place>,
    first_height: Option<u64>,
    batch_max: usize,
    threads: Threads,
}

impl LedgerReader {
    /// A reader that gives batches of up to `batch` headers. The dumps must be of the ledger that has
    /// these parameters, or if none are given, all of one.
    #[must_use]
    pub fn new(inputs: Inputs, params: Option<Params>, batch: usize) -> Self {
        Self {
            files: Files::new(inputs),
            current: None,
            sources: Sources::default(),
            params,
            shown_by: None,
            first_height: None,
            batch_max: batch.clamp(1, super::HeaderReader::BATCH_MAX),
            threads: Threads::new(1),
        }
    }

    /// The same, but so many threads, as far as they are of use, look for the blocks of large files; zero means one
    /// for each core. What they find is the same.
    #[must_use]
    pub fn on_threads(self, threads: usize) -> Self {
        Self { threads: Threads::new(threads), ..self }
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
            match reader::take(found, entry, &mut batch)? {
                Ok(true) => {}
                Ok(false) => self.current = None,
                Err(source) => {
                    self.files.fail(source);
                    self.current = None;
                }
            }
        }
        Ok((!batch.headers.is_empty()).then_some(batch))
    }

    /// What was found in each file, the first error of reading, and where the bodies are.
    #[must_use]
    pub fn finish(self) -> (FileTable, Option<Error>, Bodies) {
        let bodies = self.sources.bodies(self.files.table.clone());
        (self.files.table, self.files.error, bodies)
    }

    /// Opens the next file and reads its head; `false` if there is no file left.
    fn open_next(&mut self) -> Result<bool, Error> {
        let Some(mut file) = self.files.open_next() else { return Ok(false) };
        let spool = self.sources.note(&self.files.table, &file)?;
        let (head, len) = match DumpHead::read(&mut file.reader) {
            Ok(head) => head,
            Err(HeadError::Io(source)) => {
                self.files.fail(source);
                return Ok(true);
            }
            Err(HeadError::Invalid(why)) => {
                let place = self.files.here().expect("a file is open");
                self.files.give_up(Error::NotRecognised { place, why });
                return Ok(true);
            }
        };
        self.check_params(head.params)?;
        let lowest = self.first_height.unwrap_or(u64::MAX).min(head.first_height);
        self.first_height = Some(lowest);
        let entry = self.files.table.entries.last_mut().expect("a file is open");
        entry.bytes = len;
        self.sources.copy_begins_at(len);
        let (plain, progress) = (file.plain.as_ref(), &self.files.progress);
        let segments = plain.and_then(|plain| self.threads.scan_ledger(plain, len, progress));
        self.current = Some(
            segments.unwrap_or_else(|| Box::new(Scanner::new(file.reader, spool.map(spool_into)))),
        );
        Ok(true)
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
