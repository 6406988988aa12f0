//! `blockmill key`: makes secret keys, and says whose they are.

use std::fs;
use std::path::Path;

use crate::error::Error;
use crate::keys::{KeyError, KeyFile, SecretKey};

use super::args::{KeyCommand, KeyNewArgs, KeyShowArgs, PassphraseArgs};
use super::output;
use super::passphrase::{Ask, passphrase};

/// Runs one of the commands.
pub(super) fn run(command: &KeyCommand) -> Result<u8, Error> {
    match command {
        KeyCommand::New(args) => new(args),
        KeyCommand::Show(args) => show(args),
    }
}

fn new(args: &KeyNewArgs) -> Result<u8, Error> {
    // Before anybody types a passphrase; creating it looks again.
    if fs::symlink_metadata(&args.file).is_ok() {
        return Err(unusable(&args.file)(KeyError::Exists));
    }
    let passphrase = match args.no_passphrase {
        true => None,
        false => Some(passphrase(&args.passphrase, &args.file, Ask::Twice)?),
    };
    let key = SecretKey::generate().map_err(unusable(&args.file))?;
    key.create_file(&args.file, passphrase.as_ref()).map_err(unusable(&args.file))?;
    output::print(&format!("{}\n", key.account()))?;
    let how = if passphrase.is_some() { "encrypted" } else { "NOT encrypted" };
    output::note(&format!(
        "written to {}, {how}; keep a copy of it: nothing else can spend what this account gets",
        args.file.display()
    ));
    Ok(0)
}

fn show(args: &KeyShowArgs) -> Result<u8, Error> {
    let account = unlock(&args.file, &args.passphrase)?.account();
    output::print(&format!("account     {account}\npublic key  {}\n", hex::encode(account.key())))?;
    Ok(0)
}

/// The key in a file, after asking for its passphrase if it has one.
pub(super) fn unlock(file: &Path, args: &PassphraseArgs) -> Result<SecretKey, Error> {
    let locked = KeyFile::open(file).map_err(unusable(file))?;
    let passphrase = match locked.is_encrypted() {
        true => Some(passphrase(args, file, Ask::Once)?),
        false => {
            output::warning(&format!("{} is not encrypted", file.display()));
            None
        }
    };
    locked.unlock(passphrase.as_ref()).map_err(unusable(file))
}

/// A name that is taken is the user's choice; everything else is a key that cannot be had.
fn unusable(path: &Path) -> impl Fn(KeyError) -> Error {
    move |source| match source {
        KeyError::Exists => Error::usage(format!("{}: {source}", path.display())),
        _ => Error::Key { path: path.into(), source },
    }
}
