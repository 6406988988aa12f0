//! From what the user named to a list of files, each recognised by its content.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Error, Place};

use super::Kind;
use super::compression;
use super::kind::PREFIX_LEN;
use super::progress::{Counted, Progress};

/// A recognised file.
pub struct Input {
    pub(super) path: PathBuf,
    pub(super) kind: Kind,
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
    /// If there is nothing to judge: the first reason. Or if standard input is named twice.
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
                open_directory(path, forced)
            } else {
                Input::from_file(path, forced, &progress).map(|input| vec![input])
            };
            match opened {
                Ok(opened) => inputs.extend(opened),
                Err(error) => inputs.push(Input::failed(path.clone(), error)),
            }
        }
        if inputs.iter().all(|input| input.kind == Kind::Other)
            && let Some(error) = inputs.iter_mut().find_map(|input| input.failure.take())
        {
            return Err(error);
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
    fn failed(path: PathBuf, error: Error) -> Self {
        Self {
            path,
            kind: Kind::Other,
            reader: None,
            passed_over: None,
            failure: Some(error),
            bytes_on_disk: 0,
        }
    }

    fn from_stdin(forced: Option<Kind>, progress: &Arc<Progress>) -> Result<Self, Error> {
        Self::from_pipe(PathBuf::from("-"), Box::new(io::stdin()), forced, progress)
    }

    fn from_file(
        path: &Path,
        forced: Option<Kind>,
        progress: &Arc<Progress>,
    ) -> Result<Self, Error> {
        let file = File::open(path).map_err(|source| unreadable(path, source))?;
        let metadata = file.metadata().map_err(|source| unreadable(path, source))?;
        if !metadata.is_file() {
            return Self::from_pipe(path.into(), Box::new(file), forced, progress);
        }
        let kind = recognise(path, Box::new(file), forced)?;
        Ok(Self {
            path: path.into(),
            kind,
            reader: None,
            passed_over: None,
            failure: None,
            bytes_on_disk: metadata.len(),
        })
    }

    fn from_pipe(
        path: PathBuf,
        pipe: Box<dyn Read + Send>,
        forced: Option<Kind>,
        progress: &Arc<Progress>,
    ) -> Result<Self, Error> {
        let counted = Counted { reader: pipe, progress: Arc::clone(progress) };
        let opened = compression::open(Box::new(counted), PREFIX_LEN);
        let opened = opened.map_err(|source| unreadable(&path, source))?;
        let kind = kind_of(&path, &opened.prefix, forced)?;
        let reader = Some(opened.reader);
        Ok(Self { path, kind, reader, passed_over: None, failure: None, bytes_on_disk: 0 })
    }

    /// The decompressed bytes from the start, and whether they are those on disk.
    pub(super) fn into_reader(
        self,
        progress: &Arc<Progress>,
    ) -> io::Result<(Box<dyn Read + Send>, bool)> {
        if let Some(reader) = self.reader {
            return Ok((reader, false));
        }
        let file = File::open(&self.path)?;
        let counted = Counted { reader: file, progress: Arc::clone(progress) };
        let opened = compression::open(Box::new(counted), PREFIX_LEN)?;
        Ok((opened.reader, opened.is_plain))
    }
}

fn unreadable(path: &Path, source: io::Error) -> Error {
    Error::Unreadable { place: Place { path: path.into(), offset: 0 }, source }
}

fn recognise(path: &Path, file: Box<dyn Read + Send>, forced: Option<Kind>) -> Result<Kind, Error> {
    let opened = compression::open(file, PREFIX_LEN).map_err(|source| unreadable(path, source))?;
    kind_of(path, &opened.prefix, forced)
}

fn kind_of(path: &Path, prefix: &[u8], forced: Option<Kind>) -> Result<Kind, Error> {
    match forced {
        // What holds nothing holds no blocks either, whatever it is said to be.
        Some(kind) if !prefix.is_empty() => Ok(kind),
        _ => Kind::of(prefix).map_err(|why| Error::NotRecognised {
            place: Place { path: path.into(), offset: 0 },
            why,
        }),
    }
}

/// The files of a directory, not of its subdirectories: Bitcoin's block files if there are any,
/// else every file, by name.
fn open_directory(path: &Path, forced: Option<Kind>) -> Result<Vec<Input>, Error> {
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(|source| unreadable(path, source))? {
        let file = entry.map_err(|source| unreadable(path, source))?.path();
        // Follows links; a name that leads nowhere is opened below, and reported.
        if !file.is_dir() {
            files.push(file);
        }
    }
    files.sort_unstable();
    let inputs: Vec<_> = files.into_iter().map(|file| of_directory(file, forced)).collect();
    let passed_over = |input: &Input| input.passed_over.is_some();
    if inputs.iter().all(passed_over) {
        let why = match inputs.first() {
            None => "the directory is empty".into(),
            Some(first) => format!(
                "no dump in this directory; its first file, {}: {}",
                first.path.display(),
                first.passed_over.as_deref().unwrap_or_default()
            ),
        };
        return Err(Error::NotRecognised { place: Place { path: path.into(), offset: 0 }, why });
    }
    Ok(inputs)
}

/// What a directory merely contains is passed over; what cannot be read might be a part of the dump.
fn of_directory(path: PathBuf, forced: Option<Kind>) -> Input {
    let passed_over = |path: PathBuf, why: String| Input {
        path,
        kind: Kind::Other,
        reader: None,
        passed_over: Some(why),
        failure: None,
        bytes_on_disk: 0,
    };
    match fs::metadata(&path) {
        Ok(metadata) if !metadata.is_file() => passed_over(path, "not a regular file".into()),
        Ok(metadata) => {
            let kind = File::open(&path)
                .map_err(|source| unreadable(&path, source))
                .and_then(|file| recognise(&path, Box::new(file), forced));
            match kind {
                Ok(kind) => Input {
                    path,
                    kind,
                    reader: None,
                    passed_over: None,
                    failure: None,
                    bytes_on_disk: metadata.len(),
                },
                Err(Error::NotRecognised { why, .. }) => passed_over(path, why),
                Err(error) => Input::failed(path, error),
            }
        }
        Err(source) => {
            let error = unreadable(&path, source);
            Input::failed(path, error)
        }
    }
}
