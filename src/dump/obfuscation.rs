//! Block files as Bitcoin Core writes them since version 28: each byte XORed with one of a key.
//!
//! The key is eight random bytes in a file of its own, `xor.dat`, beside the block files; byte `i` of a
//! file is XORed with byte `i % 8` of the key. A key of zeros leaves the files plain.
//! (Bitcoin Core: `InitBlocksdirXorKey`, `-blocksxor`.)

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use crate::bitcoin::Network;

use super::Kind;
use super::block_head::{BlockHead, RECORD_LOOK, find_record, network_at};
use super::kind::{is_chain, starts_with_coinbase};

/// The name of the file that holds the key.
pub(super) const KEY_FILE: &str = "xor.dat";

/// Where the id of the parent ends in a file that begins with a record.
const PARENT_END: usize = BlockHead::LEN + 4 + 32;

/// How many bytes behind a header tell whether a coinbase begins there.
const COINBASE_LOOK: usize = 9 + 4 + 2 + 1 + 36;

/// What the bytes of a file are XORed with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Key(pub(super) [u8; Key::LEN]);

impl Key {
    /// The length of a key in bytes.
    pub(super) const LEN: usize = 8;

    /// The key of files that are as they are.
    pub(super) const PLAIN: Self = Self([0; Self::LEN]);

    /// The byte of the key that belongs to a byte of the file.
    pub(super) const fn index(offset: u64) -> usize {
        offset.to_le_bytes()[0] as usize % Self::LEN
    }

    /// What the first bytes of a file were before.
    fn applied(self, prefix: &[u8]) -> Vec<u8> {
        let mut bytes = prefix.to_vec();
        self.apply(&mut bytes, 0);
        bytes
    }

    /// Makes bytes of the file, from `offset` on, what they were before, or the other way round.
    pub(super) fn apply(self, bytes: &mut [u8], offset: u64) {
        if self == Self::PLAIN {
            return;
        }
        let first = Self::index(offset);
        let key: [u8; Self::LEN] = std::array::from_fn(|index| self.0[(first + index) % Self::LEN]);
        let (chunks, rest) = bytes.as_chunks_mut::<{ Self::LEN }>();
        let word = u64::from_le_bytes(key);
        for chunk in chunks {
            *chunk = (u64::from_le_bytes(*chunk) ^ word).to_le_bytes();
        }
        for (byte, key) in rest.iter_mut().zip(key) {
            *byte ^= key;
        }
    }
}

/// What stands beside a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Beside {
    /// Nothing can: it is a pipe.
    Pipe,
    /// No key.
    Nothing,
    /// A key, perhaps of zeros.
    Key(Key),
    /// A file that should hold the key and does not.
    Unusable(String),
}

impl Beside {
    /// Looks for the key of the block file at `path`.
    pub(super) fn of(path: &Path) -> Self {
        let path = path.with_file_name(KEY_FILE);
        match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Self::Nothing,
            Ok(metadata) if metadata.is_file() => {}
            Ok(_) => return Self::Unusable(format!("{KEY_FILE} beside it is no regular file")),
            Err(error) => return Self::unreadable(&error),
        }
        let mut bytes = Vec::new();
        let read = File::open(&path)
            .and_then(|file| file.take(Key::LEN as u64 + 1).read_to_end(&mut bytes));
        match (read, <[u8; Key::LEN]>::try_from(&bytes[..])) {
            (Err(error), _) => Self::unreadable(&error),
            (Ok(_), Ok(key)) => Self::Key(Key(key)),
            (Ok(_), Err(_)) => {
                let more = if bytes.len() > Key::LEN { "more than " } else { "" };
                let len = bytes.len().min(Key::LEN);
                Self::Unusable(format!(
                    "{KEY_FILE} beside it has {more}{len} bytes, and a key has {}",
                    Key::LEN
                ))
            }
        }
    }

    fn unreadable(error: &io::Error) -> Self {
        Self::Unusable(format!("{KEY_FILE} beside it cannot be read: {error}"))
    }
}

/// What a file holds, and the key to it. `is_block_file` says whether it has the name of a block file,
/// and `forced` what the user says of it.
///
/// # Errors
/// What the file looks like, if it is nothing that is known.
pub(super) fn recognise(
    prefix: &[u8],
    beside: &Beside,
    is_block_file: bool,
    forced: Option<Kind>,
) -> Result<(Kind, Key), String> {
    if let Some(kind) = forced.filter(|kind| *kind != Kind::Blk && !prefix.is_empty()) {
        return Ok((kind, Key::PLAIN));
    }
    let key = match beside {
        Beside::Key(key) if *key != Key::PLAIN => Some(*key),
        _ => None,
    };
    // Where there is little work, a wrong key may show records that prove some; no key shows another one.
    let shown = key_of_coinbase(prefix);
    match key {
        Some(key) if shown == Some(key) => return Ok((Kind::Blk, key)),
        // Half of a key is enough for the magic, and none is needed if that half is zero.
        _ if shown.is_some() && (key.is_some() || network_at(prefix).is_some()) => {
            return Err(missing(beside));
        }
        _ => {}
    }
    let plain = || Kind::of(prefix).map(|kind| (forced.unwrap_or(kind), Key::PLAIN));
    if shows_blocks(Key::PLAIN, prefix) {
        return plain();
    }
    if let Some(key) = key.filter(|key| shows_blocks(*key, prefix)) {
        return Ok((Kind::Blk, key));
    }
    if opens(Key::PLAIN, prefix) {
        return plain();
    }
    if let Some(key) = key.filter(|key| opens(*key, prefix)) {
        return Ok((Kind::Blk, key));
    }
    if BlockHead::plausible(prefix).is_some() {
        return plain();
    }
    // Room reserved for blocks, and none written yet; should some follow, they need the key.
    let is_reserved = !prefix.is_empty() && prefix.iter().all(|&byte| byte == 0);
    if is_reserved && (is_block_file || forced.is_some()) {
        return Ok((Kind::Blk, key.unwrap_or(Key::PLAIN)));
    }
    if looks_obfuscated(prefix) {
        return Err(missing(beside));
    }
    match (Kind::of(prefix), forced) {
        // One in two thousand keys makes a block look like a header that proves a little work.
        (Ok(Kind::Headers), None) if is_block_file && !is_chain(prefix) => {
            Err(unknown("not recognised", beside))
        }
        (Ok(Kind::Blk), _) => Ok((Kind::Blk, Key::PLAIN)),
        (_, Some(kind)) if !prefix.is_empty() => Ok((kind, key.unwrap_or(Key::PLAIN))),
        (Ok(kind), _) => Ok((kind, Key::PLAIN)),
        (Err(why), _) if is_block_file && !prefix.is_empty() => Err(unknown(&why, beside)),
        (Err(why), _) => Err(why),
    }
}

/// Whether with this key there is a block among the first bytes of a file, beyond doubt: a record whose
/// header proves work, and as far as it is there, a coinbase behind it. Where there is little work, half of
/// all headers prove some.
fn shows_blocks(key: Key, prefix: &[u8]) -> bool {
    let plain = key.applied(prefix);
    find_record(&plain).is_some_and(|at| {
        let body = &plain[at + RECORD_LOOK..];
        body.len() < COINBASE_LOOK || starts_with_coinbase(body)
    })
}

/// Whether the key makes a block file of what begins with these bytes: a record whose header proves work,
/// or one that begins a block all the same, or as much of one as there is.
pub(super) fn opens(key: Key, prefix: &[u8]) -> bool {
    let plain = key.applied(prefix);
    if find_record(&plain).is_some() {
        return true;
    }
    match plain.get(RECORD_LOOK..) {
        None => network_at(&plain).is_some(),
        Some(body) => BlockHead::plausible(&plain).is_some() && starts_with_coinbase(body),
    }
}

/// The key with which the bytes begin with a record, unless they do so as they are. A coinbase spends
/// nothing, which is 32 zeros, and they show all of it.
fn key_of_coinbase(prefix: &[u8]) -> Option<Key> {
    let places = [1, 3].into_iter().flat_map(|count_len| {
        [0, 2].map(|marker_len| RECORD_LOOK + count_len + size_of::<u32>() + marker_len + 1)
    });
    let key_at = |at: usize| {
        let (words, _) = prefix.get(at..at + 32)?.as_chunks::<{ Key::LEN }>();
        let is_periodic = words.iter().all(|word| *word == words[0]);
        let first = Key::LEN - at % Key::LEN;
        let key = Key(std::array::from_fn(|index| words[0][(first + index) % Key::LEN]));
        let begins = || BlockHead::plausible(&key.applied(prefix)).is_some();
        (is_periodic && key != Key::PLAIN && begins()).then_some(key)
    };
    places.filter_map(key_at).next()
}

/// Whether the bytes are beyond doubt the first of an obfuscated block file.
pub(super) fn is_obfuscated(prefix: &[u8]) -> bool {
    looks_obfuscated(prefix) || key_of_coinbase(prefix).is_some()
}

/// Whether the bytes look like the first of an obfuscated block file. The first four bytes of the key follow
/// from the magic, whichever it is; the last four of the parent's id, which stand at a multiple of the
/// key's length, are zero wherever there is much work, and in every child of nothing.
fn looks_obfuscated(prefix: &[u8]) -> bool {
    let (Some(magic), Some(parent)) = (prefix.get(..4), prefix.get(PARENT_END - 4..PARENT_END))
    else {
        return false;
    };
    let matches = |network: &Network| {
        let key = magic.iter().zip(network.magic()).map(|(byte, magic)| byte ^ magic);
        key.eq(parent.iter().copied()) && parent != [0; 4]
    };
    Network::ALL.iter().any(matches)
}

/// Why an obfuscated file cannot be read.
fn missing(beside: &Beside) -> String {
    const WHAT: &str = "obfuscated by Bitcoin Core (28 or later)";
    match beside {
        Beside::Pipe => format!("{WHAT}, and no key is beside a pipe: name the file instead"),
        Beside::Nothing => format!("{WHAT}, and its key, {KEY_FILE}, is not beside it"),
        Beside::Key(_) => format!("{WHAT}, and {KEY_FILE} is not the key of this file"),
        Beside::Unusable(why) => format!("{WHAT}, and {why}"),
    }
}

/// Why a file that has the name of a block file is none.
fn unknown(why: &str, beside: &Beside) -> String {
    let maybe = "Bitcoin Core (28 or later) may have obfuscated it";
    match beside {
        Beside::Pipe | Beside::Nothing => {
            format!("{why}; {maybe}, and its key, {KEY_FILE}, is not beside it")
        }
        Beside::Key(_) => {
            format!("{why}; {maybe}, and then {KEY_FILE} is not the key of this file")
        }
        Beside::Unusable(unusable) => format!("{why}; {maybe}, and {unusable}"),
    }
}

/// De-obfuscates what it reads.
pub(super) struct Deobfuscated<R> {
    reader: R,
    key: Key,
    offset: u64,
}

impl<R: Read> Deobfuscated<R> {
    /// `reader` stands at the start of the file.
    pub(super) const fn new(reader: R, key: Key) -> Self {
        Self::from_offset(reader, key, 0)
    }

    /// `reader` stands at `offset` of the file.
    pub(super) const fn from_offset(reader: R, key: Key, offset: u64) -> Self {
        Self { reader, key, offset }
    }
}

impl<R: Read> Read for Deobfuscated<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(out)?;
        self.key.apply(&mut out[..read], self.offset);
        self.offset += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dump::test_blocks::block;

    #[test]
    fn a_key_goes_on_from_any_offset() {
        let key = Key([1, 2, 3, 4, 5, 6, 7, 8]);
        let mut whole = [0; 40];
        key.apply(&mut whole, 0);
        assert_eq!(whole[..10], [1, 2, 3, 4, 5, 6, 7, 8, 1, 2]);
        for start in 0..20_u8 {
            for len in 0..20 {
                let mut part = vec![0; len];
                key.apply(&mut part, start.into());
                assert_eq!(part, whole[usize::from(start)..][..len]);
            }
        }
    }

    /// One header with a little work, by chance, is not enough in a file that should hold blocks.
    #[test]
    fn a_block_file_is_not_taken_for_headers_by_chance() {
        let chance = [&block(1, 200)[..80], &[0x93; 1000]].concat();
        let headers = Ok((Kind::Headers, Key::PLAIN));
        assert_eq!(recognise(&chance, &Beside::Nothing, false, None), headers);
        let error = recognise(&chance, &Beside::Nothing, true, None).expect_err("no block file");
        assert!(error.contains(KEY_FILE), "{error}");
        // What the user says of it is believed.
        let forced = Some(Kind::Headers);
        assert_eq!(recognise(&chance, &Beside::Nothing, true, forced), headers);
        let forced = recognise(&chance, &Beside::Key(Key([9; 8])), true, Some(Kind::Blk));
        assert_eq!(forced, Ok((Kind::Blk, Key([9; 8]))));
    }
}
