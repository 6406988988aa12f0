//! PKCS#8: the bytes of a key file.

use pkcs8::der::asn1::{ObjectIdentifier, OctetStringRef};
use pkcs8::pkcs5::pbes2::{EncryptionScheme as Cipher, Kdf, Parameters, Salt, ScryptParams};
use pkcs8::pkcs5::{self, EncryptionScheme};
use pkcs8::{
    AlgorithmIdentifierRef, EncryptedPrivateKeyInfoRef, LineEnding, PrivateKeyInfoRef,
    SecretDocument,
};
use zeroize::Zeroizing;

use super::{KeyError, Passphrase, SECRET_LEN, SecretKey, fill_random};

/// id-Ed25519 of RFC 8410.
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

/// The labels of RFC 7468.
const PLAIN: &str = "PRIVATE KEY";
const ENCRYPTED: &str = "ENCRYPTED PRIVATE KEY";

/// The cost of scrypt in what is written.
const N: u64 = 1 << 14;
const R: u16 = 8;
const P: u16 = 5;

/// The highest cost in what is read: some seconds, and a share of the memory of any computer. Whoever
/// made the file chose its cost.
const SCRYPT_BYTES_MAX: u64 = 256 << 20;
const SCRYPT_PASSES_MAX: u16 = 16;
const PBKDF2_ROUNDS_MAX: u32 = 10_000_000;
const _: () = assert!(128 * R as u64 * N <= SCRYPT_BYTES_MAX && P <= SCRYPT_PASSES_MAX);

/// A key as it stands in a file.
pub(super) struct Pem {
    document: SecretDocument,
    pub(super) is_encrypted: bool,
}

impl Pem {
    pub(super) fn parse(text: &[u8]) -> Result<Self, KeyError> {
        let not_pem = KeyError::NotAKey("not one PKCS#8 key in PEM");
        let Ok(text) = std::str::from_utf8(text) else { return Err(not_pem) };
        let Ok((label, document)) = SecretDocument::from_pem(text) else { return Err(not_pem) };
        match label {
            PLAIN | ENCRYPTED => Ok(Self { document, is_encrypted: label == ENCRYPTED }),
            _ => Err(KeyError::NotAKey("PEM of something else than a PKCS#8 private key")),
        }
    }

    /// The key inside. A passphrase for a key that is not encrypted is not looked at.
    pub(super) fn unlock(&self, passphrase: Option<&Passphrase>) -> Result<SecretKey, KeyError> {
        if !self.is_encrypted {
            return decode(&self.document);
        }
        let passphrase = passphrase.ok_or(KeyError::NoPassphrase)?;
        let sealed: EncryptedPrivateKeyInfoRef<'_> =
            self.document.decode_msg().map_err(|_| KeyError::Encryption)?;
        if !is_sane(&sealed.encryption_algorithm) {
            return Err(KeyError::Encryption);
        }
        match sealed.decrypt(&*passphrase.0) {
            // What comes out of a wrong passphrase is noise, which may look like anything.
            Ok(document) => decode(&document).map_err(|_| KeyError::WrongPassphrase),
            Err(pkcs8::Error::EncryptedPrivateKey(
                pkcs5::Error::AlgorithmParametersInvalid { .. }
                | pkcs5::Error::NoPbes1CryptSupport
                | pkcs5::Error::UnsupportedAlgorithm { .. },
            )) => Err(KeyError::Encryption),
            Err(_) => Err(KeyError::WrongPassphrase),
        }
    }
}

/// Whether a decryption would cost no more than it may, and has parameters that mean something.
fn is_sane(scheme: &EncryptionScheme) -> bool {
    let EncryptionScheme::Pbes2(parameters) = scheme else { return false };
    match &parameters.kdf {
        Kdf::Pbkdf2(kdf) => (1..=PBKDF2_ROUNDS_MAX).contains(&kdf.iteration_count),
        Kdf::Scrypt(kdf) => {
            let block = 128 * u64::from(kdf.block_size);
            // A cost of zero is a panic in the library, so this is not left to it.
            kdf.cost_parameter.is_power_of_two()
                && block.checked_mul(kdf.cost_parameter).is_some_and(|b| b <= SCRYPT_BYTES_MAX)
                && kdf.parallelization <= SCRYPT_PASSES_MAX
        }
        _ => false,
    }
}

/// Decodes RFC 8410: an octet string within the octet string of PKCS#8.
fn decode(document: &SecretDocument) -> Result<SecretKey, KeyError> {
    let info: PrivateKeyInfoRef<'_> =
        document.decode_msg().map_err(|_| KeyError::NotAKey("its PKCS#8 is damaged"))?;
    if info.algorithm.oid != ED25519 || info.algorithm.parameters.is_some() {
        return Err(KeyError::NotAKey("not of Ed25519"));
    }
    let Some(([0x04, 0x20], secret)) = info.private_key.as_bytes().split_first_chunk() else {
        return Err(KeyError::NotAKey("not 32 bytes"));
    };
    let secret = <&[u8; SECRET_LEN]>::try_from(secret);
    let key = SecretKey::from_bytes(secret.map_err(|_| KeyError::NotAKey("not 32 bytes"))?);
    if let Some(public) = info.public_key
        && public.as_bytes() != Some(key.account().key())
    {
        return Err(KeyError::NotAKey("the public key beside it belongs to another"));
    }
    Ok(key)
}

impl SecretKey {
    /// The text of a key file.
    ///
    /// # Errors
    /// [`KeyError::Randomness`] or [`KeyError::Encoding`].
    pub fn to_pem(&self, passphrase: Option<&Passphrase>) -> Result<Zeroizing<String>, KeyError> {
        let mut octets = Zeroizing::new([0; 2 + SECRET_LEN]);
        octets[..2].copy_from_slice(&[0x04, 0x20]);
        octets[2..].copy_from_slice(self.0.as_bytes());
        let algorithm = AlgorithmIdentifierRef { oid: ED25519, parameters: None };
        let octets = OctetStringRef::new(&octets[..]).map_err(encoding)?;
        let info = PrivateKeyInfoRef::new(algorithm, octets);
        let (document, label) = match passphrase {
            None => (SecretDocument::encode_msg(&info).map_err(encoding)?, PLAIN),
            Some(passphrase) => {
                let sealed = info.encrypt_with_params(parameters()?, &*passphrase.0);
                (sealed.map_err(encoding)?, ENCRYPTED)
            }
        };
        document.to_pem(label, LineEnding::LF).map_err(encoding)
    }
}

/// With a salt and an initial vector of their own.
fn parameters() -> Result<Parameters, KeyError> {
    let (mut salt, mut iv) = ([0; 16], [0; 16]);
    fill_random(&mut salt)?;
    fill_random(&mut iv)?;
    let kdf = Kdf::Scrypt(ScryptParams {
        salt: Salt::new(salt).map_err(encoding)?,
        cost_parameter: N,
        block_size: R,
        parallelization: P,
        key_length: None,
    });
    Ok(Parameters { kdf, encryption: Cipher::Aes256Cbc { iv } })
}

fn encoding(error: impl Into<pkcs8::Error>) -> KeyError {
    KeyError::Encoding(error.into())
}
