//! Where passphrases come from: a terminal that does not echo them, or a file.

use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::Path;
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::error::Error;
use crate::keys::{KeyError, PASSPHRASE_LEN_MAX, Passphrase};

use super::args::PassphraseArgs;
use super::interrupt::on_interrupt;
use super::output;

/// Whether a mistyped passphrase would show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// It is for a key that is there: a wrong one does not open it.
    Once,
    /// It is for a new key: a wrong one would lock it for ever.
    Twice,
}

/// The passphrase for the key in `key`.
pub(super) fn passphrase(args: &PassphraseArgs, key: &Path, ask: Ask) -> Result<Passphrase, Error> {
    let bytes = match &args.passphrase_file {
        Some(path) => {
            first_line(path).map_err(|source| Error::Key { path: path.clone(), source })?
        }
        None => prompt(key, ask)?,
    };
    Passphrase::new(bytes).map_err(|error| match error {
        KeyError::NoPassphrase => Error::usage("an empty passphrase is none"),
        other => Error::usage(other.to_string()),
    })
}

fn prompt(key: &Path, ask: Ask) -> Result<Zeroizing<Vec<u8>>, Error> {
    // The prompt opens the terminal itself. A program without one of its own may still belong to one
    // that nobody watches, which is not to be waited for.
    if !io::stdin().is_terminal() && !io::stderr().is_terminal() {
        return Err(no_terminal(ask));
    }
    // While a prompt waits, Ctrl-C must not end the process before the terminal echoes again.
    on_interrupt(|| (), Arc::new(|| "interrupted".into()));
    let typed = ask_for(&format!("passphrase for {}: ", key.display()), ask)?;
    if ask == Ask::Twice && !typed.is_empty() && ask_for("the same again: ", ask)? != typed {
        return Err(Error::usage("the two passphrases differ; nothing was written"));
    }
    Ok(typed)
}

fn ask_for(prompt: &str, ask: Ask) -> Result<Zeroizing<Vec<u8>>, Error> {
    match rpassword::prompt_password(prompt) {
        Ok(typed) => Ok(Zeroizing::new(typed.into_bytes())),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(Error::Interrupted),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Err(Error::usage("no passphrase was typed"))
        }
        Err(_) => Err(no_terminal(ask)),
    }
}

fn no_terminal(ask: Ask) -> Error {
    let besides = match ask {
        Ask::Once => "",
        Ask::Twice => ", or --no-passphrase if the key shall not be encrypted",
    };
    Error::usage(format!(
        "there is no terminal to ask for the passphrase on; give --passphrase-file FILE{besides}"
    ))
}

/// The first line of a file, without its end.
fn first_line(path: &Path) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let mut file = if path == Path::new("-") { standard_input()? } else { open(path)? };
    // In place and with room from the start: neither a buffered reader nor a vector that grows
    // overwrites what it leaves behind. The end of a line may be two bytes.
    let mut line = Zeroizing::new(vec![0; PASSPHRASE_LEN_MAX + 2]);
    let mut len = 0;
    while len < line.len() && !line[..len].contains(&b'\n') {
        match file.read(&mut line[len..]) {
            Ok(0) => break,
            Ok(read) => len += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    let end = line[..len].iter().position(|&byte| byte == b'\n');
    // A full buffer without an end is too long, which is said by who looks at it.
    let end = end.unwrap_or(len);
    let end = if line[..end].ends_with(b"\r") { end - 1 } else { end };
    line.truncate(end);
    Ok(line)
}

fn open(path: &Path) -> Result<Box<dyn Read>, KeyError> {
    let file = File::open(path)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let metadata = file.metadata()?;
        if metadata.is_file() && metadata.permissions().mode() & 0o077 != 0 {
            output::warning(&format!(
                "group or others may open {}, and it holds a passphrase",
                path.display()
            ));
        }
    }
    Ok(Box::new(file))
}

/// Standard input, not through the buffer of the standard library, which nobody overwrites.
fn standard_input() -> Result<Box<dyn Read>, KeyError> {
    #[cfg(unix)]
    {
        use std::os::fd::AsFd;
        Ok(Box::new(File::from(io::stdin().as_fd().try_clone_to_owned()?)))
    }
    #[cfg(not(unix))]
    Ok(Box::new(io::stdin()))
}
