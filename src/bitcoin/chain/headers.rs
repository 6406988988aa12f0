//! Bitcoin's headers in a chain file: read back into a tree, and appended to.
//!
//! Previous id, height and bits of a header are not there: they follow from the headers before, of
//! which the file holds all from genesis on. Genesis itself follows from the network. Numbers marked *v* are of
//! varying size (see [`crate::wire`]), the others little-endian.
//!
//! # Run of headers
//!
//! | field | bytes |
//! |---|---|
//! | count | v; at least 1 |
//! | versions | until all headers have one: v how many headers in a row, 4 their version; neighbours differ |
//! | headers | count times: time (v, zigzag; difference to the parent's), Merkle root (32), nonce (4) |

use std::io;

use crate::chain::file::{
    AnyStorage, BranchFile, ChainFile, ChainFileError, FileHead, FileLevel, Frame, FrameType,
    leading_count,
};
use crate::chain::{Ancestor, BlockTree, HeaderTree, Start};
use crate::primitives::{Hash256, Header};
use crate::wire::{Fault, Malformed, Reader, put_varint, put_zigzag};

use super::params::{file_head, params_at_level};
use crate::bitcoin::difficulty::Required;
use crate::bitcoin::{HeaderRules, Params};

/// The shortest header: time, Merkle root, nonce.
const HEADER_LEN_MIN: usize = 1 + 32 + 4;

/// What a chain file holds, read whole.
pub struct LoadedHeaders {
    /// The file, to append to.
    pub store: HeaderStore,
    /// Every header that was ever on its best branch.
    pub tree: HeaderTree<HeaderRules>,
}

/// The chain file of a chain of headers, open for appending.
pub struct HeaderStore {
    branch: BranchFile,
    params: Params,
    runs: Runs,
    /// The run that was looked up last.
    at_hand: Option<(u32, Vec<Fields>)>,
}

/// Headers that follow the tip of a chain file: the first is a child of the tip, and each of the others of
/// the one before it.
#[derive(Debug)]
pub(crate) struct NextHeaders {
    /// The height of the tip.
    pub(crate) parent_height: u32,
    /// The time of the tip, in seconds since 1970-01-01.
    pub(crate) parent_time: u32,
    /// The number of each header in the tree.
    pub(crate) numbers: Vec<u32>,
    /// As many headers.
    pub(crate) headers: Vec<Header>,
}

/// Where headers stand in the file.
#[derive(Default)]
struct Runs {
    /// The offset of each frame, and the height of its first header.
    frames: Vec<(u64, u32)>,
    /// The number of the frame of each header, by its number in the tree.
    frame_of: Vec<Option<u32>>,
}

impl Runs {
    fn add(&mut self, offset: u64, first_height: u32) -> u32 {
        let run = u32::try_from(self.frames.len()).expect("fewer frames than headers");
        self.frames.push((offset, first_height));
        run
    }

    fn set(&mut self, number: u32, run: u32) {
        let number = number as usize;
        if number >= self.frame_of.len() {
            self.frame_of.resize(number + 1, None);
        }
        self.frame_of[number] = Some(run);
    }

    fn of(&self, number: u32) -> Option<u32> {
        self.frame_of.get(number as usize).copied().flatten()
    }
}

impl LoadedHeaders {
    /// The head of a file for the network with these parameters.
    #[must_use]
    pub fn file_head(params: &Params) -> FileHead {
        file_head(params, FileLevel::Headers)
    }

    /// The bytes of a new file.
    #[must_use]
    pub fn empty_file(params: &Params) -> Vec<u8> {
        ChainFile::<AnyStorage>::empty(&Self::file_head(params))
    }

    /// Reads a file: every rule is checked again.
    ///
    /// # Errors
    /// If it is no chain file of Bitcoin's headers, or damaged.
    pub fn open(storage: AnyStorage) -> Result<Self, ChainFileError> {
        let mut loading: Option<Loading> = None;
        let file = ChainFile::open(storage, |_, head, offset, frame| {
            let loading = match &mut loading {
                Some(loading) => loading,
                none => none.insert(Loading::new(head)?),
            };
            loading.take(offset, frame)
        })?;
        let loading = match loading {
            Some(loading) => loading,
            None => Loading::new(file.head())?,
        };
        let branch = BranchFile::new(file, loading.tip, loading.tree.block(loading.tip))?;
        let Loading { tree, runs, .. } = loading;
        let params = tree.rules().params().clone();
        Ok(Self { store: HeaderStore { branch, params, runs, at_hand: None }, tree })
    }
}

/// What the file holds of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fields {
    version: i32,
    /// The difference to the parent's time.
    step: i64,
    merkle_root: Hash256,
    nonce: u32,
}

fn encode_run<'h>(
    parent_time: u32,
    headers: impl ExactSizeIterator<Item = &'h Header> + Clone,
) -> Vec<u8> {
    let mut out = Vec::with_capacity((headers.len() + 1) * (HEADER_LEN_MIN + 2));
    put_varint(&mut out, headers.len() as u64);
    let mut versions = headers.clone().map(Header::version).peekable();
    while let Some(version) = versions.next() {
        let mut len = 1;
        while versions.next_if_eq(&version).is_some() {
            len += 1;
        }
        put_varint(&mut out, len);
        out.extend_from_slice(&version.to_le_bytes());
    }
    let mut before = i64::from(parent_time);
    for header in headers {
        let time = i64::from(header.time());
        put_zigzag(&mut out, time - before);
        out.extend_from_slice(header.merkle_root().as_bytes());
        out.extend_from_slice(&header.nonce().to_le_bytes());
        before = time;
    }
    out
}

fn decode_run(payload: &[u8]) -> Result<Vec<Fields>, Malformed> {
    let mut reader = Reader::new(payload);
    let count = reader.count(HEADER_LEN_MIN)?;
    if count == 0 {
        return Err(Reader::fault_at(0, Fault::NotAllowed("a run without headers")));
    }
    let mut versions: Vec<i32> = Vec::with_capacity(count);
    while versions.len() < count {
        let at = reader.offset();
        let same = usize::try_from(reader.varint()?).unwrap_or(usize::MAX);
        if same == 0 || same > count - versions.len() {
            let fault = Fault::NotAllowed("versions for more or fewer headers than there are");
            return Err(Reader::fault_at(at, fault));
        }
        let version = i32::from_le_bytes(reader.array()?);
        if versions.last() == Some(&version) {
            return Err(Reader::fault_at(at, Fault::NotAllowed("two stretches of one version")));
        }
        versions.resize(versions.len() + same, version);
    }
    let mut fields = Vec::with_capacity(count);
    for version in versions {
        fields.push(Fields {
            version,
            step: reader.zigzag()?,
            merkle_root: Hash256::from_bytes(reader.array()?),
            nonce: reader.u32()?,
        });
    }
    reader.finish()?;
    Ok(fields)
}

/// A file that is being read.
struct Loading {
    tree: HeaderTree<HeaderRules>,
    runs: Runs,
    tip: u32,
}

impl Loading {
    fn new(head: &FileHead) -> Result<Self, ChainFileError> {
        // What was accepted once stays accepted, whatever the clock says today.
        let rules = HeaderRules::new(params_at_level(head, FileLevel::Headers)?, u64::MAX);
        let tree = HeaderTree::new(rules, Start::Genesis, 0);
        Ok(Self { tree, runs: Runs::default(), tip: BlockTree::<HeaderRules>::START })
    }

    fn take(&mut self, offset: u64, frame: &Frame<'_>) -> Result<(), ChainFileError> {
        let height = self.tree.block(self.tip).height();
        let damaged = |what: String| ChainFileError::Damaged { offset, height, what };
        match frame.kind {
            FrameType::Headers => {
                let run = self.runs.add(offset, height + 1);
                let fields = decode_run(frame.payload);
                for fields in fields.map_err(|malformed| damaged(malformed.to_string()))? {
                    self.append(run, &fields).map_err(|what| ChainFileError::Damaged {
                        offset,
                        height: self.tree.block(self.tip).height(),
                        what,
                    })?;
                }
                Ok(())
            }
            FrameType::TakeBack => {
                for _ in 0..leading_count(frame) {
                    let parent = self.tree.parent(self.tip);
                    self.tip =
                        parent.ok_or_else(|| damaged("genesis cannot be taken back".into()))?;
                }
                Ok(())
            }
            FrameType::Block => Err(damaged("a block in a file of headers".into())),
            FrameType::Unknown(_) => Ok(()),
        }
    }

    fn append(&mut self, run: u32, fields: &Fields) -> Result<(), String> {
        let parent = self.tree.block(self.tip);
        let time = i64::from(parent.time()).checked_add(fields.step);
        let time = time.and_then(|time| u32::try_from(time).ok()).ok_or("a time out of range")?;
        let Required::Exactly(bits) = self.tree.rules().required_bits(time, parent) else {
            unreachable!("the file begins at genesis")
        };
        let Fields { version, merkle_root, nonce, .. } = *fields;
        let header = Header::from_fields(version, parent.id(), merkle_root, time, bits, nonce);
        let id = header.id();
        let inserted = self.tree.insert_known(&header, id);
        let number = inserted.map_err(|violation| {
            let (rule, found) = (violation.rule(), violation.found());
            format!("header {id} breaks {rule}: {found}")
        })?;
        self.runs.set(number, run);
        self.tip = number;
        Ok(())
    }
}

impl HeaderStore {
    /// The most headers in a frame.
    pub(crate) const RUN_MAX: usize = 1 << 12;

    /// The network.
    #[must_use]
    pub const fn params(&self) -> &Params {
        &self.params
    }

    /// The number of the tip in the tree.
    #[must_use]
    pub const fn tip(&self) -> u32 {
        self.branch.tip()
    }

    /// The file, to append to.
    pub(crate) const fn branch_mut(&mut self) -> &mut BranchFile {
        &mut self.branch
    }

    /// The file.
    #[must_use]
    pub const fn file(&self) -> &ChainFile<AnyStorage> {
        self.branch.file()
    }

    /// A header of the file, whole. `number` is that of `block` in the tree.
    ///
    /// # Errors
    /// If it cannot be read, or is not what was read before.
    pub fn header(&mut self, number: u32, block: Ancestor<'_>) -> Result<Header, ChainFileError> {
        let height = block.height();
        let damaged = |offset, what: &str| {
            let what = what.into();
            Err(ChainFileError::Damaged { offset, height, what })
        };
        let Some((run, parent)) = self.runs.of(number).zip(block.parent()) else {
            return if block.parent().is_none() {
                Ok(self.params.genesis)
            } else {
                damaged(0, "the file does not hold this header")
            };
        };
        let (offset, first_height) = self.runs.frames[run as usize];
        if self.at_hand.as_ref().is_none_or(|(at_hand, _)| *at_hand != run) {
            let payload = self.branch.file_mut().payload(offset)?;
            match decode_run(&payload) {
                Ok(fields) => self.at_hand = Some((run, fields)),
                Err(malformed) => return damaged(offset, &malformed.to_string()),
            }
        }
        let place = height.checked_sub(first_height).map(|place| place as usize);
        let fields = self.at_hand.as_ref().zip(place).and_then(|((_, run), at)| run.get(at));
        if let Some(Fields { merkle_root, nonce, .. }) = fields.copied() {
            let (version, time, bits) = (block.version(), block.time(), block.bits());
            let header = Header::from_fields(version, parent.id(), merkle_root, time, bits, nonce);
            if header.id() == block.id() {
                return Ok(header);
            }
        }
        damaged(offset, "the header is not the one that was there before")
    }

    /// Appends sound headers.
    ///
    /// # Errors
    /// If the file cannot be written.
    ///
    /// # Panics
    /// If there are none, or not as many as numbers.
    pub(crate) fn append(&mut self, next: &NextHeaders) -> Result<(), ChainFileError> {
        let NextHeaders { parent_height, parent_time, numbers, headers } = next;
        assert_eq!(numbers.len(), headers.len(), "a number for each header");
        let (tip, last) = numbers.last().zip(headers.last()).expect("a header at least");
        // Each header names the id of the one before it, which need not be computed again.
        let last_id = last.id();
        let id = |next: usize| headers.get(next).map_or(last_id, Header::parent);
        let ids = (1..headers.len() + 1).map(id);
        let runs = &mut self.runs;
        self.branch.append_headers(*tip, ids, |file| {
            let (mut height, mut time) = (*parent_height, *parent_time);
            for (numbers, headers) in
                numbers.chunks(Self::RUN_MAX).zip(headers.chunks(Self::RUN_MAX))
            {
                let offset = file.append_headers(&encode_run(time, headers.iter()))?;
                let run = runs.add(offset, height + 1);
                numbers.iter().for_each(|number| runs.set(*number, run));
                height += u32::try_from(headers.len()).expect("as many as there are numbers");
                time = headers.last().map_or(time, Header::time);
            }
            Ok(())
        })
    }

    /// Takes headers back; `tip` is the one that is the tip then.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn take_back(&mut self, headers: u32, tip: u32) -> Result<(), ChainFileError> {
        self.branch.take_back(headers, tip)
    }

    /// The same, written by a thread of its own: see [`ChainFile::write_behind`].
    pub(crate) fn write_behind(self) -> io::Result<Self> {
        Ok(Self { branch: self.branch.write_behind()?, ..self })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bitcoin::Network;

    fn headers(versions: &[i32]) -> Vec<Header> {
        let bits = Params::of(Network::Regtest).genesis.bits();
        let mut time = 1_000_000;
        let headers = versions.iter().zip(0..).map(|(version, index)| {
            time = if index % 3 == 2 { time - 100 } else { time + 10_000 };
            let root = Hash256::from_bytes([index; 32]);
            Header::from_fields(*version, Hash256::ZERO, root, time, bits, u32::from(index))
        });
        headers.collect()
    }

    #[test]
    fn runs_come_back() {
        for versions in [&[1][..], &[1, 1, 2, 2, 2, 1], &[i32::MIN, -1, 0, i32::MAX]] {
            let headers = headers(versions);
            let payload = encode_run(999_000, headers.iter());
            let fields = decode_run(&payload).expect("a run");
            let mut time = 999_000;
            for (fields, header) in fields.iter().zip(&headers) {
                time += fields.step;
                assert_eq!(time, i64::from(header.time()));
                assert_eq!(fields.version, header.version());
                assert_eq!(fields.merkle_root, header.merkle_root());
                assert_eq!(fields.nonce, header.nonce());
            }
            assert_eq!(fields.len(), headers.len());
            for cut in 0..payload.len() {
                assert!(decode_run(&payload[..cut]).is_err(), "cut at {cut}");
            }
            assert!(decode_run(&[&payload[..], &[0]].concat()).is_err());
        }
    }

    #[test]
    fn runs_have_one_encoding() {
        let good = encode_run(0, headers(&[1, 1]).iter());
        assert_eq!(good[..6], [2, 2, 1, 0, 0, 0]);
        let with_versions = |versions: &[u8]| [&good[..1], versions, &good[6..]].concat();
        assert!(decode_run(&with_versions(&[2, 1, 0, 0, 0])).is_ok());
        assert!(decode_run(&with_versions(&[1, 1, 0, 0, 0, 1, 2, 0, 0, 0])).is_ok());
        for wrong in [
            &[1, 1, 0, 0, 0, 1, 1, 0, 0, 0][..], // one version twice
            &[3, 1, 0, 0, 0],                    // too many
            &[0, 1, 0, 0, 0, 2, 1, 0, 0, 0],     // none
        ] {
            assert!(decode_run(&with_versions(wrong)).is_err(), "{wrong:?}");
        }
        assert!(decode_run(&[0]).is_err());
        // A count that the bytes cannot hold reserves nothing.
        let mut lying = Vec::new();
        put_varint(&mut lying, u64::MAX);
        assert!(decode_run(&lying).is_err());
    }
}
