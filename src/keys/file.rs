//! The file on the disk: who may open it, and what is refused.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::path::Path;

use zeroize::Zeroizing;

use crate::new_file::{Access, write_new};

use super::pkcs8::Pem;
use super::{KeyError, Passphrase, SecretKey};

/// The longest file that is read; a key takes 300 bytes, and some programs put a text before it.
const FILE_LEN_MAX: u64 = 16 << 10;

/// A key file that was read, and is perhaps locked.
pub struct KeyFile(Pem);

impl KeyFile {
    /// Reads a file.
    ///
    /// # Errors
    /// If it is not there, if others may open it, if it is a link, or if it holds no key.
    pub fn open(path: &Path) -> Result<Self, KeyError> {
        let file = open_itself(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(KeyError::NotAFile);
        }
        check_permissions(&metadata)?;
        let too_long = KeyError::TooLong { max: FILE_LEN_MAX };
        let Some(room) =
            usize::try_from(metadata.len()).ok().filter(|_| metadata.len() <= FILE_LEN_MAX)
        else {
            return Err(too_long);
        };
        // With room for all of it from the start, so that growing leaves no copy behind; and a bound
        // of its own, because the file may have grown meanwhile.
        let mut text = Zeroizing::new(Vec::with_capacity(room + 1));
        file.take(metadata.len() + 1).read_to_end(&mut text)?;
        if text.len() > room {
            return Err(too_long);
        }
        Pem::parse(&text).map(Self)
    }

    /// Whether a passphrase is needed.
    #[must_use]
    pub const fn is_encrypted(&self) -> bool {
        self.0.is_encrypted
    }

    /// The key. A passphrase for a file that is not encrypted is not looked at.
    ///
    /// # Errors
    /// If the passphrase is wrong or missing, or what it unlocks is no key.
    pub fn unlock(&self, passphrase: Option<&Passphrase>) -> Result<SecretKey, KeyError> {
        self.0.unlock(passphrase)
    }
}

impl SecretKey {
    /// Writes a new key file, and returns when it is on the disk.
    ///
    /// # Errors
    /// [`KeyError::Exists`] if there is anything of that name. If the file cannot be completed, or kept
    /// from others; it is removed then.
    pub fn create_file(
        &self,
        path: &Path,
        passphrase: Option<&Passphrase>,
    ) -> Result<(), KeyError> {
        let text = self.to_pem(passphrase)?;
        write_new(path, text.as_bytes(), Access::Owner).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => KeyError::Exists,
            _ => error.into(),
        })?;
        // Some file systems know no permissions.
        let kept = fs::symlink_metadata(path).map_err(KeyError::Io);
        kept.and_then(|metadata| check_permissions(&metadata)).inspect_err(|_| {
            let _ = fs::remove_file(path);
        })
    }
}

/// Opens the file of this name and not one that it points to; a pipe does not keep it waiting.
fn open_itself(path: &Path) -> Result<File, KeyError> {
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    }
    #[cfg(not(unix))]
    if is_link(path) {
        return Err(KeyError::Link);
    }
    options.open(path).map_err(|error| if is_link(path) { KeyError::Link } else { error.into() })
}

fn is_link(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink())
}

/// That nobody but the owner may open it, where that is a matter of mode bits.
fn check_permissions(metadata: &Metadata) -> Result<(), KeyError> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = metadata.permissions().mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(KeyError::Permissions { mode });
        }
    }
    #[cfg(not(unix))]
    let _ = metadata;
    Ok(())
}
