//! `blockmill chain`: looks into chain files. None of these commands writes one.

mod check;
mod export;
mod show;
mod summary;

use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::chain::file::{AnyStorage, ChainFileError, FileHead, FileStorage};
use crate::error::{Error, Place};

use super::args::ChainCommand;
use super::chain_file::tell_of_opening;
use super::interrupt::on_interrupt;

/// Runs the command.
pub(super) fn run(command: &ChainCommand) -> Result<u8, Error> {
    match command {
        ChainCommand::Show(args) => show::run(args),
        ChainCommand::Export(args) => export::run(args),
        ChainCommand::Check(args) => check::run(args),
    }
}

/// Opens a chain file, whoever writes it at the same time, and gives its head as well.
fn open(path: &Path) -> Result<(AnyStorage, FileHead), Error> {
    let storage = FileStorage::open_for_reading(path).map_err(unreadable(path))?;
    let head = FileHead::of(&storage).map_err(failed(path))?;
    Ok((Box::new(storage), head))
}

/// What to say when a chain file cannot be read, or used.
fn failed(path: &Path) -> impl Fn(ChainFileError) -> Error {
    move |source| match source {
        ChainFileError::Io(source) => unreadable(path)(source),
        source => Error::ChainFile { path: path.into(), source },
    }
}

fn unreadable(path: &Path) -> impl Fn(io::Error) -> Error {
    move |source| Error::Unreadable { place: Place { path: path.into(), offset: 0 }, source }
}

/// Ends the process on Ctrl-C: nothing is lost by it.
fn end_on_interrupt() {
    on_interrupt(|| {}, Arc::new(|| "interrupted".into()));
}
