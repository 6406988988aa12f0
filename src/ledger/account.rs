//! Accounts: a kind and a public key, shown as bech32m with the prefix `bm`.
//!
//! Encoding, 33 bytes: the kind (one byte; 0 is an Ed25519 key, others are for later schemes), then
//! the key (32 bytes). A key that is no point of the curve is an account all the same: it can receive,
//! and nobody can spend.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use bech32::{Bech32m, Hrp};

use crate::wire::{Fault, Malformed, Reader};

/// The human-readable part.
const PREFIX: Hrp = Hrp::parse_unchecked("bm");

/// An account with an Ed25519 key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Account([u8; 32]);

/// As four words, which hashers take faster than a string of bytes.
impl Hash for Account {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        let (words, _) = self.0.as_chunks::<8>();
        words.iter().for_each(|word| state.write_u64(u64::from_le_bytes(*word)));
    }
}

impl Account {
    /// The length of the encoding in bytes.
    pub const LEN: usize = 33;

    /// The kind of accounts with an Ed25519 key.
    pub(super) const ED25519: u8 = 0;

    /// The account of a public key.
    #[must_use]
    pub const fn from_key(key: [u8; 32]) -> Self {
        Self(key)
    }

    /// The public key.
    #[must_use]
    pub const fn key(&self) -> &[u8; 32] {
        &self.0
    }

    /// Appends the encoding.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.push(Self::ED25519);
        out.extend_from_slice(&self.0);
    }

    #[inline(always)]
    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let start = reader.offset();
        if reader.u8()? != Self::ED25519 {
            return Err(Reader::fault_at(start, Fault::Unknown));
        }
        Ok(Self(reader.array()?))
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = Vec::with_capacity(Self::LEN);
        self.encode(&mut bytes);
        bech32::encode_to_fmt::<Bech32m, _>(f, PREFIX, &bytes).map_err(|_| fmt::Error)
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that names no account.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is no account: {why}")]
pub struct ParseAccountError {
    text: String,
    why: String,
}

impl FromStr for Account {
    type Err = ParseAccountError;

    fn from_str(text: &str) -> Result<Self, ParseAccountError> {
        let error = |why: &str| ParseAccountError { text: text.into(), why: why.into() };
        let checked = bech32::primitives::decode::CheckedHrpstring::new::<Bech32m>(text);
        let checked = checked.map_err(|reason| error(&reason.to_string()))?;
        if checked.hrp() != PREFIX {
            return Err(error("it does not begin with 'bm1'"));
        }
        let bytes: Vec<u8> = checked.byte_iter().collect();
        let mut reader = Reader::new(&bytes);
        let account = Self::decode(&mut reader).map_err(|reason| error(&reason.to_string()))?;
        reader.finish().map_err(|reason| error(&reason.to_string()))?;
        Ok(account)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_back() {
        let account = Account::from_key([7; 32]);
        let text = account.to_string();
        assert!(text.starts_with("bm1"));
        assert_eq!(text.parse(), Ok(account));
        assert_eq!(text.to_uppercase().parse(), Ok(account));
    }

    #[test]
    fn other_texts_are_refused() {
        let text = Account::from_key([7; 32]).to_string();
        let mut typo = text.clone().into_bytes();
        typo[10] = if typo[10] == b'q' { b'p' } else { b'q' };
        let encode = |prefix: &str, bytes: &[u8]| {
            bech32::encode::<Bech32m>(Hrp::parse(prefix).expect("a prefix"), bytes).expect("short")
        };
        let other_checksum =
            bech32::encode::<bech32::Bech32>(PREFIX, &[0; 33]).expect("short enough");
        for wrong in [
            String::from_utf8(typo).expect("text"),
            String::new(),
            "bm1".into(),
            encode("bc", &[0; 33]),
            encode("bm", &[0; 32]),
            encode("bm", &[0; 34]),
            encode("bm", &[1; 33]),
            other_checksum,
        ] {
            assert!(wrong.parse::<Account>().is_err(), "{wrong}");
        }
    }
}
