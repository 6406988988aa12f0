//! Recognises what a file holds from how it begins.

use std::fmt;
use std::str::FromStr;

use crate::bitcoin::UnknownName;
use crate::chain::file::CHAIN_FILE_MAGIC;
use crate::ledger::DUMP_MAGIC;
use crate::primitives::Header;

use super::block_head::{find_record, network_at};
use super::hex_lines::{BYTE_ORDER_MARK, HEX_LINE_LEN};

/// How much of a file decides what it is.
pub(super) const PREFIX_LEN: usize = 4096;

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Concatenated 80-byte headers.
    Headers,
    /// One header in hex a line.
    Hex,
    /// Bitcoin block records: magic, length, block.
    Blk,
    /// One raw Bitcoin block.
    Block,
    /// The dump of a ledger.
    Ledger,
    /// None of these; only in a directory, where it is passed over.
    Other,
}

impl Kind {
    /// The name on the command line and in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Headers => "headers",
            Self::Hex => "hex",
            Self::Blk => "blk",
            Self::Block => "block",
            Self::Ledger => "ledger",
            Self::Other => "other",
        }
    }

    /// Recognises a file from its first [`PREFIX_LEN`] bytes, or from all of it if it is shorter.
    ///
    /// # Errors
    /// What the file looks like, if it is nothing that is known.
    pub(super) fn of(prefix: &[u8]) -> Result<Self, String> {
        if prefix.is_empty() {
            return Err("the file is empty".into());
        }
        // Text first: a header's bits byte can be a space, so text can look like an easy header.
        let text = prefix.strip_prefix(BYTE_ORDER_MARK).unwrap_or(prefix);
        if text.iter().all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace()) {
            return hex_or_text(text);
        }
        if prefix.starts_with(&CHAIN_FILE_MAGIC) && !is_chain(prefix) {
            return Err("a chain file: `blockmill chain check` verifies it".into());
        }
        if prefix.starts_with(&DUMP_MAGIC) && !is_chain(prefix) {
            return Ok(Self::Ledger);
        }
        if !is_chain(prefix) && network_at(prefix).is_some() {
            return Ok(Self::Blk);
        }
        // Other bytes may stand before the first record, a few of which can look like an easy header.
        let holds_record = || find_record(prefix).is_some();
        let (headers, _) = prefix.as_chunks::<{ Header::LEN }>();
        let Some(first) = headers.first() else {
            // No record is that short.
            return Err(format!("{} bytes, too short for a header of 80", prefix.len()));
        };
        if proves_work(&Header::from_bytes(*first)) {
            let is_block = starts_with_coinbase(&prefix[Header::LEN..]);
            return Ok(if is_block {
                Self::Block
            } else if !is_chain(prefix) && holds_record() {
                Self::Blk
            } else {
                Self::Headers
            });
        }
        // A damaged first header is for the rules to reject, if what follows is clearly a chain.
        if let [_, second, third, ..] = headers {
            let (second, third) = (Header::from_bytes(*second), Header::from_bytes(*third));
            if proves_work(&second) && proves_work(&third) && third.parent() == second.id() {
                return Ok(Self::Headers);
            }
        }
        if holds_record() {
            return Ok(Self::Blk);
        }
        Err("not recognised: neither headers, hex lines, a Bitcoin block file nor a dump of a ledger".into())
    }
}

/// Text is taken for headers if one of its first lines is one; the others are reported later.
fn hex_or_text(prefix: &[u8]) -> Result<Kind, String> {
    let mut lines = prefix.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii);
    let is_header =
        |line: &[u8]| line.len() == HEX_LINE_LEN && line.iter().all(u8::is_ascii_hexdigit);
    if lines.any(is_header) {
        return Ok(Kind::Hex);
    }
    Err("a text file without a line of 160 hex digits, which would be a header".into())
}

/// Whether the header proves work by its own account, whatever the network.
fn proves_work(header: &Header) -> bool {
    header.is_solved_by(&header.id())
}

/// Whether these are headers beyond doubt, although their first bytes, a version, may be those that
/// open another kind of file: the first proves work and the second names it as its parent, or the
/// first proves more work than chance can.
pub(super) fn is_chain(prefix: &[u8]) -> bool {
    let (headers, _) = prefix.as_chunks::<{ Header::LEN }>();
    let Some(first) = headers.first().map(|bytes| Header::from_bytes(*bytes)) else {
        return false;
    };
    let id = first.id();
    let named = || headers.get(1).is_some_and(|bytes| Header::from_bytes(*bytes).parent() == id);
    first.is_solved_by(&id) && (id.top_word() == 0 || named())
}

/// Whether the bytes after a header are the start of a block's transactions: a count, a version, a
/// segwit marker perhaps, and one input that spends nothing.
pub(super) fn starts_with_coinbase(bytes: &[u8]) -> bool {
    let count_len = match bytes.first() {
        None | Some(0) => return false,
        Some(0xfd) => 3,
        Some(0xfe) => 5,
        Some(0xff) => 9,
        Some(_) => 1,
    };
    let Some(inputs) = bytes.get(count_len + size_of::<u32>()..) else { return false };
    let inputs = inputs.strip_prefix(&[0, 1]).unwrap_or(inputs);
    let Some(outpoint) = inputs.strip_prefix(&[1]) else { return false };
    outpoint.starts_with(&[0; 32]) && outpoint[32..].starts_with(&[0xff; 4])
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Kind {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        [Self::Headers, Self::Hex, Self::Blk, Self::Block, Self::Ledger]
            .into_iter()
            .find(|kind| kind.name() == name)
            .ok_or_else(|| UnknownName {
                what: "kind of input",
                name: name.into(),
                known: "headers, hex, blk, block, ledger",
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bitcoin::{Network, Params};
    use crate::dump::test_blocks::{block, record};

    #[test]
    fn text_is_never_taken_for_a_header() {
        // Byte 75, the exponent of the bits, is a space: as a header, half of such texts would
        // prove work.
        let mut text = [b'a'; 400];
        text[75] = b' ';
        assert!(Kind::of(&text).is_err());
        assert!(Kind::of(b"").is_err());
        assert!(Kind::of(b"\n \r\n").is_err());
    }

    #[test]
    fn headers_blocks_and_block_files_are_told_apart() {
        let genesis = ::bitcoin::constants::genesis_block(::bitcoin::Network::Bitcoin);
        let block = ::bitcoin::consensus::encode::serialize(&genesis);
        assert_eq!(Kind::of(&block), Ok(Kind::Block));
        assert_eq!(Kind::of(&block[..80]), Ok(Kind::Headers));
        let record = [&Network::Main.magic()[..], &[29, 1, 0, 0], &block].concat();
        assert_eq!(Kind::of(&record), Ok(Kind::Blk));
        let line = hex::encode_upper(&block[..80]);
        assert_eq!(Kind::of(format!("\r\n {line} \r\n").as_bytes()), Ok(Kind::Hex));
        assert!(Kind::of(format!("{line}00\n").as_bytes()).is_err());
        assert!(Kind::of(&block[..79]).is_err());
    }

    #[test]
    fn a_block_file_may_begin_with_other_bytes() {
        let record = record(&block(1, 200));
        for first in [0, 7] {
            for len in [1, 80, 1000, PREFIX_LEN - 88] {
                let bytes = [&vec![first; len][..], &record].concat();
                let prefix = &bytes[..bytes.len().min(PREFIX_LEN)];
                assert_eq!(Kind::of(prefix), Ok(Kind::Blk), "{len}");
                // Without work nothing tells it from chance.
                let mut chance = prefix.to_vec();
                chance[len + 8 + 75] = 0;
                assert!(Kind::of(&chance).is_err(), "{len}");
            }
        }
        // The first bytes happen to be an easy header.
        let easy = block(2, 200)[..80].to_vec();
        assert_eq!(Kind::of(&[&easy[..], &[7; 9], &record].concat()), Ok(Kind::Blk));
        assert_eq!(Kind::of(&easy), Ok(Kind::Headers));
    }

    #[test]
    fn a_damaged_first_header_does_not_hide_a_chain() {
        let genesis = Params::of(Network::Regtest).genesis;
        let child = |parent: &Header| {
            let header = Header::from_fields(
                4,
                parent.id(),
                parent.merkle_root(),
                parent.time() + 1,
                parent.bits(),
                0,
            );
            (0..).map(|nonce| header.with_nonce(nonce)).find(proves_work).expect("easy")
        };
        let second = child(&genesis);
        let third = child(&second);
        let damaged = (3..)
            .map(|nonce| genesis.with_nonce(nonce))
            .find(|header| !proves_work(header))
            .expect("half of all nonces");
        let chain = [damaged, second, third].map(|header| *header.as_bytes()).concat();
        assert_eq!(Kind::of(&chain), Ok(Kind::Headers));
        assert!(Kind::of(&chain[..160]).is_err());
    }
}
