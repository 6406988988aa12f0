//! From what the user named to a list of files, each recognised by its content.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Error, Place};

use super::Kind;
use super::block_head;
use super::compression::{self, Peeked};
use super::directory::{is_block_file, open_directory};
use super::kind::PREFIX_LEN;
use super::obfuscation::{self, Beside, Deobfuscated, Key};
use super::progress::{Counted, Progress};

/// How far into a block file of which the beginning is not recognised a record is looked for: as long as
/// they are.  (Bitcoin Core: `MAX_BLOCKFILE_SIZE`.)
const FIRST_RECORD_MAX: u64 = 128 << 20;

/// How many more reasons are told where no file can be read.
const FAILURES_TOLD_MAX: usize = 20;

/// A recognised file.
pub struct Input {
    pub(super) path: PathBuf,
    pub(super) kind: Kind,
    /// What its bytes were XORed with.
    pub(super) key: Key,
    /// What a pipe holds cannot be read twice, so its reader is kept from recognition on.
    reader: Option<Box<dyn Read + Send>>,
    /// Why a file of a directory is passed over.
    pub(super) passed_over: Option<String>,
    /// Why nothing can be read from it.
    pub(super) failure: Option<Error>,
    /// Its length on disk, before decompression.
    pub(super) bytes_on_disk: u64,
}

/// Everything the user named, in order.
pub struct Inputs {
    pub(super) inputs: Vec<Input>,
    pub(super) progress: Arc<Progress>,
}

impl Inputs {
    /// Opens files, directories and `-`, and recognises each; `forced` overrides the content.
    ///
    /// What cannot be opened or recognised does not keep the rest from being judged; reading reports
    /// it.
    ///
    /// # Errors
    /// If there is nothing to judge: the first reasons. Or if standard input is named twice.
    pub fn open(
        paths: &[PathBuf],
        forced: Option<Kind>,
        progress: Arc<Progress>,
    ) -> Result<Self, Error> {
        let is_stdin = |path: &&PathBuf| path.as_os_str() == "-";
        if paths.iter().filter(is_stdin).count() > 1 {
            return Err(Error::usage("standard input (-) can be read only once"));
        }
        let mut inputs = Vec::new();
        for path in paths {
            let opened = if is_stdin(&path) {
                Input::from_stdin(forced, &progress).map(|input| vec![input])
            } else if path.is_dir() {
                open_directory(path, forced, &progress)
            } else {
                Input::from_file(path, forced, &progress).map(|input| vec![input])
            };
            match opened {
                Ok(opened) => inputs.extend(opened),
                Err(error) => inputs.push(Input::failed(path.clone(), error)),
            }
        }
        if inputs.iter().all(|input| input.kind == Kind::Other) {
            let failures = inputs.iter_mut().filter_map(|input| input.failure.take());
            if let Some(error) = all_of(failures) {
                return Err(error);
            }
        }
        Ok(Self { inputs, progress })
    }

    /// The bytes to read before decompression, or `None` if a pipe hides the number.
    #[must_use]
    pub fn bytes_on_disk(&self) -> Option<u64> {
        let piped = self.inputs.iter().any(|input| input.reader.is_some());
        (!piped).then(|| self.inputs.iter().map(|input| input.bytes_on_disk).sum())
    }

    /// The kinds of the inputs that hold something, each with the first path.
    pub fn kinds(&self) -> impl Iterator<Item = (Kind, &Path)> {
        let holding = self.inputs.iter().filter(|input| input.kind != Kind::Other);
        holding.map(|input| (input.kind, input.path.as_path()))
    }
}

impl Input {
    fn new(path: PathBuf, (kind, key): (Kind, Key), bytes_on_disk: u64) -> Self {
        Self { path, kind, key, reader: None, passed_over: None, failure: None, bytes_on_disk }
    }

    /// A file that cannot be read, and might be a part of the dump.
    pub(super) fn failed(path: PathBuf, error: Error) -> Self {
        Self { failure: Some(error), ..Self::new(path, (Kind::Other, Key::PLAIN), 0) }
    }

    /// A file that a directory merely contains.
    pub(super) fn passed_over(path: PathBuf, why: String) -> Self {
        Self { passed_over: Some(why), ..Self::new(path, (Kind::Other, Key::PLAIN), 0) }
    }

    fn from_stdin(forced: Option<Kind>, progress: &Arc<Progress>) -> Result<Self, Error> {
        Self::from_pipe(PathBuf::from("-"), Box::new(io::stdin()), forced, progress)
    }

    pub(super) fn from_file(
        path: &Path,
        forced: Option<Kind>,
        progress: &Arc<Progress>,
    ) -> Result<Self, Error> {
        let file = File::open(path).map_err(|source| unreadable(path, source))?;
        let metadata = file.metadata().map_err(|source| unreadable(path, source))?;
        if !metadata.is_file() {
            return Self::from_pipe(path.into(), Box::new(file), forced, progress);
        }
        Ok(Self::new(path.into(), recognise(path, file, forced)?, metadata.len()))
    }

    fn from_pipe(
        path: PathBuf,
        pipe: Box<dyn Read + Send>,
        forced: Option<Kind>,
        progress: &Arc<Progress>,
    ) -> Result<Self, Error> {
        let counted = Counted { reader: pipe, progress: Arc::clone(progress) };
        let opened = open(Box::new(counted), Key::PLAIN);
        let opened = opened.map_err(|source| unreadable(&path, source))?;
        let recognised = kind_of(&path, &opened.prefix, &Beside::Pipe, forced)?;
        Ok(Self { reader: Some(opened.reader), ..Self::new(path, recognised, 0) })
    }

    /// The decompressed and de-obfuscated bytes from the start, and if none were compressed, the file itself.
    pub(super) fn into_reader(
        self,
        progress: &Arc<Progress>,
    ) -> io::Result<(Box<dyn Read + Send>, Option<File>)> {
        if let Some(reader) = self.reader {
            return Ok((reader, None));
        }
        let file = File::open(&self.path)?;
        let itself = file.try_clone()?;
        let counted = Counted { reader: file, progress: Arc::clone(progress) };
        let opened = open(Box::new(counted), self.key)?;
        let reader: Box<dyn Read + Send> = match self.key {
            Key::PLAIN => opened.reader,
            key => Box::new(Deobfuscated::new(opened.reader, key)),
        };
        Ok((reader, opened.is_plain.then_some(itself)))
    }
}

/// Decompresses a file. Obfuscated, one that is not compressed may look like it.
fn open(file: Box<dyn Read + Send>, key: Key) -> io::Result<Peeked> {
    let raw = compression::peek(file, PREFIX_LEN)?;
    if key != Key::PLAIN && obfuscation::opens(key, &raw.prefix) {
        return Ok(raw);
    }
    compression::decompress(raw, PREFIX_LEN)
}

/// Why no file can be read: the first reason, and those that differ from it. Where a key is missing, it is
/// missing for thousands.
fn all_of(mut failures: impl Iterator<Item = Error>) -> Option<Error> {
    let first = failures.next()?;
    let (alike, others): (Vec<_>, Vec<_>) =
        failures.partition(|failure| failure.reason() == first.reason());
    let last = alike.last().and_then(Error::place);
    let alike = last.map(|last| match alike.len() {
        1 => format!("the same of {}", last.path.display()),
        count => format!("the same of {count} more files, up to {}", last.path.display()),
    });
    let others = others.iter().take(FAILURES_TOLD_MAX).map(Error::to_string);
    let more: Vec<_> = alike.into_iter().chain(others).collect();
    Some(if more.is_empty() { first } else { first.and(&more.join("; ")) })
}

pub(super) fn unreadable(path: &Path, source: io::Error) -> Error {
    Error::Unreadable { place: Place { path: path.into(), offset: 0 }, source }
}

fn recognise(path: &Path, file: File, forced: Option<Kind>) -> Result<(Kind, Key), Error> {
    let beside = Beside::of(path);
    let key = if let Beside::Key(key) = beside { key } else { Key::PLAIN };
    let opened = open(Box::new(file), key).map_err(|source| unreadable(path, source))?;
    let recognised = kind_of(path, &opened.prefix, &beside, forced);
    if recognised.is_err()
        && is_block_file(path)
        && !obfuscation::is_obfuscated(&opened.prefix)
        && let Some(key) = key_of_first_record(path, [Key::PLAIN, key])
    {
        return Ok((Kind::Blk, key));
    }
    recognised
}

/// The key under which a block file holds a record somewhere, if it does under one of these. Its beginning
/// may be damaged.
fn key_of_first_record(path: &Path, keys: [Key; 2]) -> Option<Key> {
    let holds_record = |key: &Key| {
        let opened = File::open(path).and_then(|file| open(Box::new(file), *key));
        opened.is_ok_and(|opened| {
            let plain = Deobfuscated::new(opened.reader, *key);
            block_head::seek_record(plain, FIRST_RECORD_MAX, None).is_some()
        })
    };
    keys.into_iter().find(holds_record)
}

fn kind_of(
    path: &Path,
    prefix: &[u8],
    beside: &Beside,
    forced: Option<Kind>,
) -> Result<(Kind, Key), Error> {
    // What holds nothing holds no blocks either, whatever it is said to be.
    obfuscation::recognise(prefix, beside, is_block_file(path), forced)
        .map_err(|why| Error::NotRecognised { place: Place { path: path.into(), offset: 0 }, why })
}
