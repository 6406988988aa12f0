//! Secret keys, and the files that keep them.
//!
//! A key file is PKCS#8 in PEM (RFC 5958, RFC 7468), as RFC 8410 lays down for Ed25519: what
//! `openssl pkey` reads and `openssl genpkey -algorithm ed25519` writes. Written are
//!
//! - version 1, without the public key, because OpenSSL 3.0 does not read version 2;
//! - encrypted by PBES2 (RFC 8018): AES-256-CBC under scrypt with N = 2^14, r = 8, p = 5, which makes
//!   every guess at a passphrase cost 16 MiB five times over, and is what OpenSSL's limit of 32 MiB
//!   allows; or not encrypted at all, if that is said.
//!
//! Read are both versions (a public key must then be the right one), and whatever PBES2 of scrypt or
//! PBKDF2 with SHA-2 and AES a file names, up to a cost that no honest file has.
//!
//! A file is created for its owner alone (mode 0600), never over another and never through a symbolic
//! link; one that others can read, a link, or anything but a regular file is refused on reading.
//! PBES2 has no checksum, so a wrong passphrase and a damaged file look the same.
//!
//! What is secret lives in memory that is overwritten when it is dropped, and none of the types that
//! hold it can be printed.

mod file;
mod pkcs8;

use std::io;

use ed25519_dalek::{Signer, SigningKey};
use rand::TryRng;
use rand::rngs::SysRng;
use zeroize::Zeroizing;

use crate::ledger::{Account, Signature};

pub use file::KeyFile;

/// The length of a secret key in bytes.
const SECRET_LEN: usize = 32;

/// The longest passphrase, in bytes.
pub const PASSPHRASE_LEN_MAX: usize = 1024;

/// The secret key of an account. It has no `Debug`, on purpose.
pub struct SecretKey(SigningKey);

impl SecretKey {
    /// A new key, from the operating system's randomness.
    ///
    /// # Errors
    /// [`KeyError::Randomness`].
    pub fn generate() -> Result<Self, KeyError> {
        let mut secret = Zeroizing::new([0; SECRET_LEN]);
        fill_random(secret.as_mut())?;
        Ok(Self::from_bytes(&secret))
    }

    /// The key of these bytes, which RFC 8032 calls the seed.
    #[must_use]
    pub fn from_bytes(secret: &[u8; SECRET_LEN]) -> Self {
        Self(SigningKey::from_bytes(secret))
    }

    /// The account that it signs for.
    #[must_use]
    pub fn account(&self) -> Account {
        Account::from_key(self.0.verifying_key().to_bytes())
    }

    /// Signs, as RFC 8032 lays down: the same message has the same signature.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Signature {
        self.0.sign(message).to_bytes()
    }
}

/// What a key file is encrypted with: 1 to [`PASSPHRASE_LEN_MAX`] bytes. It has no `Debug`, on purpose.
#[derive(PartialEq, Eq)]
pub struct Passphrase(Zeroizing<Vec<u8>>);

impl Passphrase {
    /// Takes over a passphrase.
    ///
    /// # Errors
    /// [`KeyError::NoPassphrase`] if it is empty, [`KeyError::LongPassphrase`].
    pub fn new(bytes: Zeroizing<Vec<u8>>) -> Result<Self, KeyError> {
        match bytes.len() {
            0 => Err(KeyError::NoPassphrase),
            1..=PASSPHRASE_LEN_MAX => Ok(Self(bytes)),
            _ => Err(KeyError::LongPassphrase),
        }
    }
}

/// Why a key cannot be had, or not be kept. None of this says anything about a secret.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The operating system gave up.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// There is such a file, and keys are never overwritten.
    #[error("it exists, and keys are never overwritten; choose another name")]
    Exists,
    /// The name is that of a symbolic link.
    #[error("it is a symbolic link, and keys are not read through one; name the file itself")]
    Link,
    /// A folder, a pipe, a device.
    #[error("it is no regular file")]
    NotAFile,
    /// More people than its owner may open it.
    #[error(
        "group or others may open it (mode {mode:04o}); if nobody did, \
         `chmod 600` on it makes it usable"
    )]
    Permissions {
        /// The lower twelve bits of the mode.
        mode: u32,
    },
    /// Longer than any key file.
    #[error("it is longer than {max} bytes, and so no key")]
    TooLong {
        /// The longest that is read.
        max: u64,
    },
    /// Something else, or damaged.
    #[error("it is no key that can be used: {0}")]
    NotAKey(&'static str),
    /// Encrypted in a way that is not read here.
    #[error(
        "its encryption is not one of PBES2 with scrypt or PBKDF2-HMAC-SHA-2 and AES at a sane cost; \
         `openssl pkcs8 -topk8 -scrypt` writes one that is"
    )]
    Encryption,
    /// Encrypted, and no passphrase was given; or the one given is empty.
    #[error("a passphrase is needed, and an empty one is none")]
    NoPassphrase,
    /// Longer than [`PASSPHRASE_LEN_MAX`].
    #[error("the passphrase is longer than {PASSPHRASE_LEN_MAX} bytes")]
    LongPassphrase,
    /// It does not decrypt to a key.
    #[error("the passphrase is wrong, or the file is damaged")]
    WrongPassphrase,
    /// The library that writes PKCS#8 gave up.
    #[error("it cannot be written: {0}")]
    Encoding(::pkcs8::Error),
    /// There is no randomness to be had.
    #[error("the operating system has no randomness: {0}")]
    Randomness(rand::rngs::SysError),
}

fn fill_random(bytes: &mut [u8]) -> Result<(), KeyError> {
    SysRng.try_fill_bytes(bytes).map_err(KeyError::Randomness)
}
