//! Bitcoin's blocks in a chain file: read back into a tree, and appended to.
//!
//! Previous id, height, bits and Merkle root of a header are not there: they follow from the headers before
//! and from the transactions. The transactions stand there byte by byte, compressed. Genesis is not there;
//! it follows from the network.
//!
//! # Block
//!
//! Numbers marked *v* are of varying size (see [`crate::wire`]), the others little-endian.
//!
//! | field | bytes |
//! |---|---|
//! | version | 4 |
//! | time | v, zigzag; difference to the parent's |
//! | nonce | 4 |
//! | length | v; of the transactions: all bytes of the block behind its header |
//! | transactions | a zstd frame (RFC 8878), up to the end |

use rayon::prelude::*;

use crate::bitcoin::difficulty::{Required, required_bits};
use crate::bitcoin::{Block, BlockContext, HeaderRules, Params, genesis_block};
use crate::chain::file::{
    AnyStorage, BranchFile, ChainFile, ChainFileError, FileHead, FileLevel, Frame, FrameType,
    leading_count,
};
use crate::chain::{Ancestor, BlockTree, HeaderTree, Start};
use crate::primitives::{Hash256, Header};
use crate::wire::{Fault, Malformed, Reader, put_varint, put_zigzag};

use super::params::{file_head, params_at_level};

/// The longest block that is read, in bytes: no sound one is longer than its weight.
const BLOCK_LEN_MAX: usize = 4_000_000;

/// How hard zstd tries: its own default.
const COMPRESSION_LEVEL: i32 = 3;

/// What a chain file holds, read whole.
pub struct LoadedBlocks {
    /// The file, to append to.
    pub store: BlockStore,
    /// Every block that was ever on its best branch.
    pub tree: HeaderTree<HeaderRules>,
}

/// The chain file of a chain of blocks, open for appending.
pub struct BlockStore {
    branch: BranchFile,
    params: Params,
    /// Where the frame of each block is, by its number in the tree.
    offsets: Vec<Option<u64>>,
}

/// A block as a chain file holds it, while the file is read.
#[derive(Clone, Copy, Debug)]
pub struct StoredBlock<'a> {
    /// The height.
    pub height: u32,
    /// The block id.
    pub id: Hash256,
    /// The block, byte by byte as it came.
    pub bytes: &'a [u8],
    /// The offset of its frame.
    pub offset: u64,
    /// What the rules must know of the blocks before it.
    pub context: BlockContext,
}

/// What happens while a chain file is read.
#[derive(Clone, Copy, Debug)]
pub enum BlockEvent<'a> {
    /// A block follows the tip.
    Block(StoredBlock<'a>),
    /// So many blocks are taken back, the tip first.
    TakenBack(u32),
}

impl LoadedBlocks {
    /// The head of a file for the network with these parameters.
    #[must_use]
    pub fn file_head(params: &Params) -> FileHead {
        file_head(params, FileLevel::Blocks)
    }

    /// The bytes of a new file.
    #[must_use]
    pub fn empty_file(params: &Params) -> Vec<u8> {
        ChainFile::<AnyStorage>::empty(&Self::file_head(params))
    }

    /// Reads a file: every rule on headers is checked again, and that the transactions are those that the
    /// headers name. `inspect` sees every block.
    ///
    /// # Errors
    /// If it is no chain file of Bitcoin's blocks, or damaged, or if `inspect` fails.
    pub fn open(
        storage: AnyStorage,
        mut inspect: impl FnMut(BlockEvent<'_>) -> Result<(), ChainFileError>,
    ) -> Result<Self, ChainFileError> {
        let mut loading: Option<Loading> = None;
        let file = ChainFile::open(storage, |_, head, offset, frame| {
            let loading = match &mut loading {
                Some(loading) => loading,
                none => none.insert(Loading::new(head)?),
            };
            loading.take(offset, frame, &mut inspect)
        })?;
        let loading = match loading {
            Some(loading) => loading,
            None => Loading::new(file.head())?,
        };
        let branch = BranchFile::new(file, loading.tip, loading.tree.block(loading.tip))?;
        let Loading { tree, offsets, .. } = loading;
        let params = tree.rules().params().clone();
        Ok(Self { store: BlockStore { branch, params, offsets }, tree })
    }
}

/// A file that is being read.
struct Loading {
    tree: HeaderTree<HeaderRules>,
    offsets: Vec<Option<u64>>,
    tip: u32,
}

impl Loading {
    fn new(head: &FileHead) -> Result<Self, ChainFileError> {
        // What was accepted once stays accepted, whatever the clock says today.
        let rules = HeaderRules::new(params_at_level(head, FileLevel::Blocks)?, u64::MAX);
        let tree = HeaderTree::new(rules, Start::Genesis, 0);
        Ok(Self { tree, offsets: vec![None], tip: BlockTree::<HeaderRules>::START })
    }

    fn take(
        &mut self,
        offset: u64,
        frame: &Frame<'_>,
        inspect: &mut impl FnMut(BlockEvent<'_>) -> Result<(), ChainFileError>,
    ) -> Result<(), ChainFileError> {
        let height = self.tree.block(self.tip).height();
        let damaged = |what: String| ChainFileError::Damaged { offset, height, what };
        match frame.kind {
            FrameType::Block => {
                let parent = self.tree.block(self.tip);
                let bytes = decode(frame.payload, self.tree.rules().params(), parent);
                let bytes = bytes.map_err(damaged)?;
                let header = header_of(&bytes);
                let id = header.id();
                let inserted = self.tree.insert_known(&header, id);
                let node = inserted.map_err(|violation| {
                    let (rule, found) = (violation.rule(), violation.found());
                    damaged(format!("block {id} breaks {rule}: {found}"))
                })?;
                self.offsets.resize(self.offsets.len().max(node as usize + 1), None);
                self.offsets[node as usize] = Some(offset);
                self.tip = node;
                let context = BlockContext::of(self.tree.block(node));
                let block = StoredBlock { height: height + 1, id, bytes: &bytes, offset, context };
                inspect(BlockEvent::Block(block))
            }
            FrameType::TakeBack => {
                let count = leading_count(frame);
                for _ in 0..count {
                    let parent = self.tree.parent(self.tip);
                    self.tip =
                        parent.ok_or_else(|| damaged("genesis cannot be taken back".into()))?;
                }
                inspect(BlockEvent::TakenBack(count))
            }
            FrameType::Headers => Err(damaged("headers without bodies in a file of blocks".into())),
            FrameType::Unknown(_) => Ok(()),
        }
    }
}

fn header_of(bytes: &[u8]) -> Header {
    let header = bytes.first_chunk().expect("a block begins with its header");
    Header::from_bytes(*header)
}

/// The payload of a block.
fn encode(bytes: &[u8], parent_time: u32) -> Vec<u8> {
    let header = header_of(bytes);
    let transactions = &bytes[Header::LEN..];
    let mut out = Vec::new();
    out.extend_from_slice(&header.version().to_le_bytes());
    put_zigzag(&mut out, i64::from(header.time()) - i64::from(parent_time));
    out.extend_from_slice(&header.nonce().to_le_bytes());
    put_varint(&mut out, transactions.len() as u64);
    let compressed = zstd::bulk::compress(transactions, COMPRESSION_LEVEL);
    out.extend(compressed.expect("memory takes any block"));
    out
}

/// The block that stands in the file as `payload` behind `parent`.
fn decode(payload: &[u8], params: &Params, parent: Ancestor<'_>) -> Result<Vec<u8>, String> {
    let fields = Fields::decode(payload).map_err(|malformed| malformed.to_string())?;
    let time = i64::from(parent.time()).checked_add(fields.step);
    let time = time.and_then(|time| u32::try_from(time).ok()).ok_or("a time out of range")?;
    let Required::Exactly(bits) = required_bits(params, time, parent) else {
        unreachable!("the file begins at genesis")
    };
    let transactions = zstd::bulk::decompress(fields.compressed, fields.len);
    let transactions = transactions.map_err(|error| format!("the transactions: {error}"))?;
    if transactions.len() != fields.len {
        return Err(format!("{} bytes of transactions, not {}", transactions.len(), fields.len));
    }
    let Fields { version, nonce, .. } = fields;
    let header = |root| Header::from_fields(version, parent.id(), root, time, bits, nonce);
    let mut bytes = header(Hash256::ZERO).as_bytes().to_vec();
    bytes.extend_from_slice(&transactions);
    let root = merkle_root(&bytes)?;
    bytes[..Header::LEN].copy_from_slice(header(root).as_bytes());
    Ok(bytes)
}

/// The root of the tree of a block's transaction ids, on all threads.
fn merkle_root(bytes: &[u8]) -> Result<Hash256, String> {
    let block = Block::parse(bytes).map_err(|error| error.to_string())?;
    let ids: Vec<_> = block.transactions().par_iter().map(|each| each.id()).collect();
    Ok(crate::primitives::merkle_root(&ids))
}

/// What the file holds of a block.
struct Fields<'a> {
    version: i32,
    /// The difference to the parent's time.
    step: i64,
    nonce: u32,
    /// The length of the transactions.
    len: usize,
    compressed: &'a [u8],
}

impl<'a> Fields<'a> {
    fn decode(payload: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(payload);
        let version = i32::from_le_bytes(reader.array()?);
        let step = reader.zigzag()?;
        let nonce = reader.u32()?;
        let at = reader.offset();
        // Before anybody makes room for it.
        let len = usize::try_from(reader.varint()?).ok().filter(|&len| len <= BLOCK_LEN_MAX);
        let len = len.ok_or(Reader::fault_at(at, Fault::TooLarge))?;
        let compressed = reader.take(reader.remaining())?;
        Ok(Self { version, step, nonce, len, compressed })
    }
}

impl BlockStore {
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

    /// The file.
    #[must_use]
    pub const fn file(&self) -> &ChainFile<AnyStorage> {
        self.branch.file()
    }

    /// The file, with its best branch.
    pub(crate) const fn branch(&self) -> &BranchFile {
        &self.branch
    }

    /// The file, to append to.
    pub(crate) const fn branch_mut(&mut self) -> &mut BranchFile {
        &mut self.branch
    }

    /// Whether the file holds the body of a block.
    #[must_use]
    pub fn holds(&self, block: u32) -> bool {
        self.offset(block).is_some()
    }

    fn offset(&self, block: u32) -> Option<u64> {
        self.offsets.get(block as usize).copied().flatten()
    }

    /// A block of the file, byte by byte as it came; or genesis.
    ///
    /// # Errors
    /// If it cannot be read, or is not what was read before.
    pub fn body(&mut self, number: u32, block: Ancestor<'_>) -> Result<Vec<u8>, ChainFileError> {
        let (height, offset) = (block.height(), self.offset(number).unwrap_or(0));
        let damaged = |what: String| ChainFileError::Damaged { offset, height, what };
        let Some(parent) = block.parent() else {
            let network = self.params.name.parse();
            return network.map(genesis_block).map_err(|error| damaged(error.to_string()));
        };
        let payload = self.branch.file_mut().payload(offset)?;
        let bytes = decode(&payload, &self.params, parent).map_err(damaged)?;
        if header_of(&bytes).id() == block.id() {
            return Ok(bytes);
        }
        Err(damaged("the block is not the one that was there before".into()))
    }

    /// Appends a sound block, whose parent is the tip.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn append(
        &mut self,
        number: u32,
        bytes: &[u8],
        parent_time: u32,
    ) -> Result<(), ChainFileError> {
        let offset = self.branch.file_mut().append_block(&encode(bytes, parent_time))?;
        self.offsets.resize(self.offsets.len().max(number as usize + 1), None);
        self.offsets[number as usize] = Some(offset);
        self.branch.extended(number, &header_of(bytes).id());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block() -> Vec<u8> {
        let genesis = ::bitcoin::constants::genesis_block(::bitcoin::Network::Regtest);
        ::bitcoin::consensus::encode::serialize(&genesis)
    }

    #[test]
    fn fields_come_back_and_no_cut_is_taken_for_a_block() {
        let bytes = block();
        let header = header_of(&bytes);
        let payload = encode(&bytes, header.time() - 600);
        let fields = Fields::decode(&payload).expect("a block");
        assert_eq!((fields.version, fields.nonce), (header.version(), header.nonce()));
        assert_eq!((fields.step, fields.len), (600, bytes.len() - Header::LEN));
        let rules = HeaderRules::new(Params::of(crate::bitcoin::Network::Regtest), u64::MAX);
        let tree = HeaderTree::new(rules, Start::Genesis, 0);
        let parent = tree.block(BlockTree::<HeaderRules>::START);
        let decoded = |payload: &[u8]| decode(payload, tree.rules().params(), parent);
        let again = decoded(&encode(&bytes, parent.time())).expect("a block");
        assert_eq!(again[Header::LEN..], bytes[Header::LEN..]);
        assert_eq!(header_of(&again).merkle_root(), header.merkle_root());
        for cut in 0..payload.len() {
            assert!(decoded(&payload[..cut]).is_err(), "cut at {cut}");
        }
        assert!(decoded(&[&payload[..], &[0]].concat()).is_err());
    }

    #[test]
    fn a_lying_length_makes_no_room() {
        let mut payload = vec![0; 4];
        put_zigzag(&mut payload, 0);
        payload.extend([0; 4]);
        let head = payload.clone();
        put_varint(&mut payload, BLOCK_LEN_MAX as u64 + 1);
        let fault = Fields::decode(&payload).map(|fields| fields.len);
        assert_eq!(fault, Err(Reader::fault_at(head.len(), Fault::TooLarge)));
    }
}
