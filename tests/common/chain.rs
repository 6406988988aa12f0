//! Chains of headers mined on the spot: on regtest's limit a header costs two hashes.

use blockmill::bitcoin::Params;
use blockmill::primitives::{CompactTarget, Hash256, Header, sha256d};

/// A header to be mined; every field can be set.
#[derive(Clone, Copy)]
pub struct Draft {
    pub version: i32,
    pub parent: Hash256,
    pub time: u32,
    pub bits: CompactTarget,
    /// Makes headers differ that agree in everything else.
    pub salt: u64,
}

impl Draft {
    /// A sound child of `parent`: same bits, ten minutes later.
    pub fn after(parent: &Header) -> Self {
        Self {
            version: 0x2000_0000,
            parent: parent.id(),
            time: parent.time() + 600,
            bits: parent.bits(),
            salt: 0,
        }
    }

    /// The header with its lowest winning nonce.
    pub fn mine(self) -> Header {
        self.nonce_where(true)
    }

    /// The header with its lowest losing nonce.
    pub fn unmined(self) -> Header {
        self.nonce_where(false)
    }

    /// The header whatever its id.
    pub fn raw(self) -> Header {
        let root = sha256d(&self.salt.to_le_bytes());
        Header::from_fields(self.version, self.parent, root, self.time, self.bits, 0)
    }

    fn nonce_where(self, wins: bool) -> Header {
        let header = self.raw();
        let target = self.bits.decode().expect("a draft that is mined has valid bits");
        (0..=u32::MAX)
            .map(|nonce| header.with_nonce(nonce))
            .find(|header| target.is_met_by(&header.id()) == wins)
            .expect("an easy target")
    }
}

/// `length` sound headers after `parent`.
pub fn extend(parent: &Header, length: usize, salt: u64) -> Vec<Header> {
    let mut chain = Vec::with_capacity(length);
    let mut last = *parent;
    for index in 0..length as u64 {
        last = Draft { salt: salt << 32 | index, ..Draft::after(&last) }.mine();
        chain.push(last);
    }
    chain
}

/// The genesis of `params` and `length` sound headers after it.
pub fn from_genesis(params: &Params, length: usize) -> Vec<Header> {
    let mut chain = vec![params.genesis];
    chain.extend(extend(&params.genesis, length, 0));
    chain
}

/// The bytes of a dump.
pub fn dump(headers: &[Header]) -> Vec<u8> {
    headers.iter().flat_map(|header| *header.as_bytes()).collect()
}
