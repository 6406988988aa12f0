//! The head of a record in a block file, and where one begins.
//!
//! | field of a record | bytes |
//! |---|---|
//! | magic of the network | 4 |
//! | length of the block | 4, little-endian |
//! | block | as the length says |
//!
//! (Bitcoin Core: `BlockManager::WriteBlock`, and `ChainstateManager::LoadExternalBlockFile`, which reads
//! them back.)

use std::io::Read;

use memchr::memmem;

use crate::bitcoin::Network;
use crate::primitives::Header;

use super::window::Window;

/// The longest block.  (Bitcoin Core: `MAX_BLOCK_SERIALIZED_SIZE`.)
pub(super) const BLOCK_LEN_MAX: usize = 4_000_000;

/// The shortest block: a header, and the count of its transactions.
const BLOCK_LEN_MIN: usize = Header::LEN + 1;

/// How many bytes tell whether a record begins with them.
pub(super) const RECORD_LOOK: usize = BlockHead::LEN + Header::LEN;

/// What stands before a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BlockHead {
    /// The network that the magic names.
    pub(super) network: Network,
    /// The length of the block in bytes, as far as it can be believed.
    pub(super) len: usize,
}

impl BlockHead {
    /// The length of a head in bytes.
    pub(super) const LEN: usize = 8;

    /// The head that the bytes begin with, whatever length it tells.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let network = network_at(bytes)?;
        let len = u32::from_le_bytes(*bytes[4..].first_chunk()?);
        Some(Self { network, len: usize::try_from(len).unwrap_or(usize::MAX) })
    }

    /// The head that the bytes begin with, if a block can have its length.  (Bitcoin Core asks for 80
    /// bytes at least, and then fails to read a block of 80.)
    pub(super) fn plausible(bytes: &[u8]) -> Option<Self> {
        Self::parse(bytes).filter(Self::is_plausible)
    }

    /// Whether a block can have this length.
    pub(super) fn is_plausible(&self) -> bool {
        (BLOCK_LEN_MIN..=BLOCK_LEN_MAX).contains(&self.len)
    }
}

/// The network whose magic the bytes begin with.
pub(super) fn network_at(bytes: &[u8]) -> Option<Network> {
    Network::ALL.into_iter().find(|network| bytes.starts_with(&network.magic()))
}

/// Whether a record begins here that needs no record before it to be believed: its header proves work.
pub(super) fn is_record(bytes: &[u8]) -> bool {
    let Some(header) = bytes.get(BlockHead::LEN..RECORD_LOOK) else { return false };
    if BlockHead::plausible(bytes).is_none() {
        return false;
    }
    let header = Header::from_bytes(*header.first_chunk().expect("eighty bytes"));
    // Most of what is no header is told by its bits alone.
    header.bits().decode().is_ok() && header.is_solved_by(&header.id())
}

/// The first place where a record begins that needs no record before it to be believed.
pub(super) fn find_record(bytes: &[u8]) -> Option<usize> {
    (0..bytes.len()).find(|&at| may_begin(bytes[at]) && is_record(&bytes[at..]))
}

/// The first place where a record of this network begins that needs no record before it to be believed.
fn find_record_of(network: Network, bytes: &[u8]) -> Option<usize> {
    memmem::find_iter(bytes, &network.magic()).find(|&at| is_record(&bytes[at..]))
}

/// The first place, among the first bytes of what is read, where a record begins that needs no record before
/// it to be believed. Those of one network alone are found sooner.
pub(super) fn seek_record(reader: impl Read, first: u64, network: Option<Network>) -> Option<u64> {
    let mut window = Window::new(reader, None);
    while window.offset() < first && window.fill(RECORD_LOOK) {
        let rest = window.rest();
        let found = match network {
            Some(network) => find_record_of(network, rest),
            None => find_record(rest),
        };
        if let Some(at) = found {
            return Some(window.offset() + at as u64).filter(|at| *at < first);
        }
        // A record at the last of these places is not there whole.
        let done = rest.len() - (RECORD_LOOK - 1);
        window.advance(done);
    }
    None
}

/// Whether the bytes, the last of a file, may be the first of a record, whose magic is whole.
pub(super) fn is_cut_record(bytes: &[u8]) -> bool {
    match bytes.len() {
        0..4 | RECORD_LOOK.. => false,
        4..BlockHead::LEN => network_at(bytes).is_some(),
        _ => BlockHead::plausible(bytes).is_some(),
    }
}

/// Whether the bytes, the last of a file, may be the first of a head.
pub(super) fn is_cut_head(bytes: &[u8]) -> bool {
    let len = bytes.len().min(4);
    let begins = |network: Network| network.magic()[..len] == bytes[..len];
    (1..BlockHead::LEN).contains(&bytes.len()) && Network::ALL.into_iter().any(begins)
}

/// Whether a magic begins with this byte.
pub(super) const fn may_begin(byte: u8) -> bool {
    const FIRST: [bool; 256] = {
        let mut first = [false; 256];
        let mut index = 0;
        while index < Network::ALL.len() {
            first[Network::ALL[index].magic()[0] as usize] = true;
            index += 1;
        }
        first
    };
    FIRST[byte as usize]
}
