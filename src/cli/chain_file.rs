//! Chain files as commands open them, and what they tell of commits.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
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

/// The most bytes of an acknowledgement, its line feed included.
const ACK_BYTES_MAX: usize = 128;

/// How each acknowledgement begins.
const ACK_BEGINNING: &[u8] = b"{\"hash\":\"";

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
        let mut file = options.open(&path).map_err(unwritable)?;
        if number.is_none() && file.metadata().map_err(unwritable)?.is_file() {
            end_last_line(&path, &mut file).map_err(unwritable)?;
        }
        Ok(Self { to: Some((name.clone(), file)) })
    }

    /// Acknowledges a commit.
    pub(super) fn committed(&mut self, height: u32, id: &Hash256) -> Result<(), Error> {
        let Some((path, file)) = &mut self.to else { return Ok(()) };
        let line = serde_json::json!({ "height": height, "hash": id.to_string() });
        // In one piece: half a line is left only by a kill in the middle of the write.
        let written = file.write_all(format!("{line}\n").as_bytes());
        written.map_err(|source| Error::Unwritable { path: path.clone(), source })
    }
}

/// Makes `file`, which is open for appending, end with a whole line.
///
/// Linux cuts a write short at the end of a page when the process is killed meanwhile. What that left of an
/// acknowledgement is taken away, since nobody was told of it as a line; the commit itself stands.
fn end_last_line(path: &Path, file: &mut File) -> io::Result<()> {
    let length = file.metadata()?.len();
    let mut end = Vec::new();
    let mut reader = File::open(path)?;
    reader.seek(SeekFrom::Start(length.saturating_sub(ACK_BYTES_MAX as u64)))?;
    reader.take(ACK_BYTES_MAX as u64).read_to_end(&mut end)?;
    let whole = end.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
    let rest = &end[whole..];
    let is_ours = rest.iter().zip(ACK_BEGINNING).all(|(found, ours)| found == ours);
    if rest.is_empty() {
        Ok(())
    } else if is_ours && serde_json::from_slice::<serde_json::Value>(rest).is_err() {
        file.set_len(length - rest.len() as u64)
    } else {
        // A whole acknowledgement, or something of the user's: it stays, on a line of its own.
        file.write_all(b"\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is in the file after `before` was found there and one commit acknowledged.
    fn after(before: &str) -> String {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("acks");
        std::fs::write(&path, before).expect("a file");
        let mut acks = Acks::open(Some(&path)).expect("it opens");
        acks.committed(7, &Hash256::ZERO).expect("it is written");
        std::fs::read_to_string(&path).expect("text")
    }

    #[test]
    fn a_line_that_a_kill_cut_short_goes_and_nothing_else() {
        let ack = after("");
        assert!(ack.as_bytes().starts_with(ACK_BEGINNING) && ack.ends_with("}\n"), "{ack}");
        let longest = after("").replace('7', &u32::MAX.to_string());
        assert!(longest.len() <= ACK_BYTES_MAX);
        for cut in 0..ack.len() - 1 {
            assert_eq!(after(&ack[..cut]), ack, "{cut}");
            assert_eq!(after(&format!("{ack}{ack}{}", &ack[..cut])), [&*ack; 3].concat(), "{cut}");
        }
        assert_eq!(after(ack.trim_end()), [&*ack; 2].concat(), "whole but for its end");
        for text in ["a remark", "{\"height\":", &"x".repeat(1000)] {
            assert_eq!(after(text), format!("{text}\n{ack}"));
            assert_eq!(after(&format!("{text}\n")), format!("{text}\n{ack}"));
        }
    }
}
