//! Chain files as commands open them, and what they tell of commits.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::bitcoin::{self, LoadedBlocks, LoadedHeaders};
use crate::chain::file::{AnyStorage, ChainFileError, FileHead, FileStorage, Opening};
use crate::error::Error;
use crate::ledger::{LoadedLedger, Params};
use crate::primitives::Hash256;
use crate::stages::open_or_create;

use super::output;

/// Opens the chain file of a ledger for appending.
#[cfg(feature = "mine")]
pub(super) fn open_ledger(path: &Path) -> Result<LoadedLedger, Error> {
    let storage = FileStorage::open(path).map_err(ChainFileError::of_opening);
    let storage = storage.map_err(|source| Error::ChainFile { path: path.into(), source })?;
    load_ledger(path, Box::new(storage))
}

fn load_ledger(path: &Path, storage: AnyStorage) -> Result<LoadedLedger, Error> {
    let loaded = LoadedLedger::open(storage, |_, _| Ok(()));
    let loaded = loaded.map_err(|source| Error::ChainFile { path: path.into(), source })?;
    tell_of_opening(path, loaded.store.file().opening());
    Ok(loaded)
}

/// Reads the chain file of a ledger as far as it is committed, whoever writes it at the same time.
pub(super) fn read_ledger(path: &Path) -> Result<LoadedLedger, Error> {
    FileStorage::open_for_reading(path)
        .map_err(ChainFileError::Io)
        .and_then(|storage| LoadedLedger::open(Box::new(storage), |_, _| Ok(())))
        .map_err(|source| Error::ChainFile { path: path.into(), source })
}

/// Opens the chain file of the ledger that has these parameters, or creates it.
pub(super) fn open_or_create_ledger(path: &Path, params: &Params) -> Result<LoadedLedger, Error> {
    let storage = open_or_create(path, &LoadedLedger::file_head(params))?;
    load_ledger(path, storage)
}

/// Opens the chain file of the headers of this network, or creates it.
pub(super) fn open_or_create_headers(
    path: &Path,
    params: &bitcoin::Params,
) -> Result<LoadedHeaders, Error> {
    let storage = open_or_create(path, &LoadedHeaders::file_head(params))?;
    let loaded = LoadedHeaders::open(storage);
    let loaded = loaded.map_err(|source| Error::ChainFile { path: path.into(), source })?;
    tell_of_opening(path, loaded.store.file().opening());
    Ok(loaded)
}

/// Opens the chain file of the blocks of this network, or creates it.
pub(super) fn open_or_create_blocks(
    path: &Path,
    params: &bitcoin::Params,
) -> Result<LoadedBlocks, Error> {
    let storage = open_or_create(path, &LoadedBlocks::file_head(params))?;
    let loaded = LoadedBlocks::open(storage, |_| Ok(()));
    let loaded = loaded.map_err(|source| Error::ChainFile { path: path.into(), source })?;
    tell_of_opening(path, loaded.store.file().opening());
    Ok(loaded)
}

/// The network of a chain file of Bitcoin's, if there is such a file: a dump that goes on from there need
/// not show it.
pub(super) fn network_of(path: &Path) -> Result<Option<bitcoin::Params>, Error> {
    let failed = |source| Error::ChainFile { path: path.into(), source };
    if !path.try_exists().map_err(|error| failed(error.into()))? {
        return Ok(None);
    }
    let storage = FileStorage::open_for_reading(path).map_err(|error| failed(error.into()))?;
    let head = FileHead::of(&storage).map_err(failed)?;
    // A file that cannot take this dump is refused when it is opened, with a better reason.
    Ok(bitcoin::params_of_head(&head).ok())
}

/// Tells what opening a file found out, if it is more than nothing.
pub(super) fn tell_of_opening(path: &Path, opening: &Opening) {
    let path = path.display();
    if let Some(slot) = opening.bad_slot {
        output::warning(&format!(
            "{path}: commit slot {slot} is damaged; {} bytes behind the other slot's commit were \
             kept because they verify",
            opening.kept
        ));
    }
    if opening.dropped > 0 && opening.bad_slot.is_some() {
        let dropped = opening.dropped;
        output::warning(&format!(
            "{path}: {dropped} bytes behind that do not verify and are left out; they MAY HAVE BEEN \
             COMMITTED: keep a copy of the file, and validate the dump again"
        ));
    } else if opening.dropped > 0 {
        let dropped = opening.dropped;
        output::warning(&format!(
            "{path}: {dropped} bytes of a commit that was never completed are dropped"
        ));
    }
}

/// Where commits are acknowledged: one JSON document a line, after each sync.
pub(super) struct Acks {
    to: Option<(PathBuf, File)>,
}

impl Acks {
    /// Opens a file to append to, or takes an open file descriptor by its number.
    pub(super) fn open(to: Option<&PathBuf>) -> Result<Self, Error> {
        let Some(name) = to else { return Ok(Self { to: None }) };
        let unwritable = |source| Error::Unwritable { path: name.clone(), source };
        let number = name.to_str().and_then(|name| name.parse::<u32>().ok());
        let path = match number {
            Some(number) if cfg!(unix) => PathBuf::from(format!("/dev/fd/{number}")),
            _ => name.clone(),
        };
        let mut options = OpenOptions::new();
        options.append(true).create(number.is_none());
        let file = options.open(path).map_err(unwritable)?;
        Ok(Self { to: Some((name.clone(), file)) })
    }

    /// Acknowledges a commit.
    pub(super) fn committed(&mut self, height: u32, id: &Hash256) -> Result<(), Error> {
        let Some((path, file)) = &mut self.to else { return Ok(()) };
        let line = serde_json::json!({ "height": height, "hash": id.to_string() });
        // In one piece, so that no reader sees half a line.
        let written = file.write_all(format!("{line}\n").as_bytes());
        written.map_err(|source| Error::Unwritable { path: path.clone(), source })
    }
}
