//! Bitcoin's blocks in a chain file: read back into a tree, and appended to.
//!
//! [`super::body`] says what a frame holds of a block. Genesis is not there; it follows from the network.

use std::io;

use crate::bitcoin::{BlockContext, HeaderRules, Params, genesis_block};
use crate::chain::file::{
    AnyStorage, BranchFile, ChainFile, ChainFileError, FileHead, FileLevel, Frame, FrameType,
    leading_count,
};
use crate::chain::{Ancestor, BlockTree, HeaderTree, Start};
use crate::primitives::Hash256;

use super::body::{Packer, Unpacked, claimed_len, decode, encode, header_of};
use super::params::{file_head, params_at_level};

/// How many bytes of payloads and blocks are read ahead and unpacked at a time, unless one block has more.
const AHEAD_BYTES: usize = 16 << 20;

/// And how many blocks.
const AHEAD_BLOCKS: usize = 1 << 12;

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
        let opened = ChainFile::open(storage, |_, head, offset, frame| {
            let loading = match &mut loading {
                Some(loading) => loading,
                none => none.insert(Loading::new(head)?),
            };
            loading.take(offset, frame, &mut inspect)
        });
        // Blocks that wait come before whatever ended the reading.
        if let Some(loading) = &mut loading {
            loading.catch_up(&mut inspect)?;
        }
        let file = opened?;
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
    /// Payloads of blocks that wait to be unpacked together, and the offsets of their frames.
    ahead: Vec<Vec<u8>>,
    ahead_offsets: Vec<u64>,
    /// How long both they and their blocks are.
    ahead_bytes: usize,
}

impl Loading {
    fn new(head: &FileHead) -> Result<Self, ChainFileError> {
        // What was accepted once stays accepted, whatever the clock says today.
        let rules = HeaderRules::new(params_at_level(head, FileLevel::Blocks)?, u64::MAX);
        Ok(Self {
            tree: HeaderTree::new(rules, Start::Genesis, 0),
            offsets: vec![None],
            tip: BlockTree::<HeaderRules>::START,
            ahead: Vec::new(),
            ahead_offsets: Vec::new(),
            ahead_bytes: 0,
        })
    }

    fn take(
        &mut self,
        offset: u64,
        frame: &Frame<'_>,
        inspect: &mut impl FnMut(BlockEvent<'_>) -> Result<(), ChainFileError>,
    ) -> Result<(), ChainFileError> {
        if frame.kind == FrameType::Block {
            self.ahead_bytes += frame.payload.len() + claimed_len(frame.payload);
            self.ahead.push(frame.payload.to_vec());
            self.ahead_offsets.push(offset);
            let is_enough = self.ahead_bytes >= AHEAD_BYTES || self.ahead.len() >= AHEAD_BLOCKS;
            return if is_enough { self.catch_up(inspect) } else { Ok(()) };
        }
        self.catch_up(inspect)?;
        match frame.kind {
            FrameType::TakeBack => {
                let count = leading_count(frame);
                for _ in 0..count {
                    let parent = self.tree.parent(self.tip);
                    let why = "genesis cannot be taken back";
                    self.tip = parent.ok_or_else(|| self.damaged(offset, why.into()))?;
                }
                inspect(BlockEvent::TakenBack(count))
            }
            FrameType::Headers => {
                Err(self.damaged(offset, "headers without bodies in a file of blocks".into()))
            }
            FrameType::Block | FrameType::Unknown(_) => Ok(()),
        }
    }

    /// Takes the blocks that wait.
    fn catch_up(
        &mut self,
        inspect: &mut impl FnMut(BlockEvent<'_>) -> Result<(), ChainFileError>,
    ) -> Result<(), ChainFileError> {
        self.ahead_bytes = 0;
        let unpacked = Unpacked::of_all(&std::mem::take(&mut self.ahead));
        let offsets = std::mem::take(&mut self.ahead_offsets);
        offsets
            .into_iter()
            .zip(unpacked)
            .try_for_each(|(offset, unpacked)| self.take_block(offset, unpacked, inspect))
    }

    fn take_block(
        &mut self,
        offset: u64,
        unpacked: Result<Unpacked, String>,
        inspect: &mut impl FnMut(BlockEvent<'_>) -> Result<(), ChainFileError>,
    ) -> Result<(), ChainFileError> {
        let parent = self.tree.block(self.tip);
        let height = parent.height() + 1;
        let bytes = unpacked.and_then(|block| block.behind(self.tree.rules().params(), parent));
        let bytes = bytes.map_err(|what| self.damaged(offset, what))?;
        let header = header_of(&bytes);
        let id = header.id();
        let node = self.tree.insert_known(&header, id).map_err(|violation| {
            let (rule, found) = (violation.rule(), violation.found());
            self.damaged(offset, format!("block {id} breaks {rule}: {found}"))
        })?;
        self.offsets.resize(self.offsets.len().max(node as usize + 1), None);
        self.offsets[node as usize] = Some(offset);
        self.tip = node;
        let context = BlockContext::of(self.tree.block(node));
        inspect(BlockEvent::Block(StoredBlock { height, id, bytes: &bytes, offset, context }))
    }

    fn damaged(&self, offset: u64, what: String) -> ChainFileError {
        ChainFileError::Damaged { offset, height: self.tree.block(self.tip).height(), what }
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
        self.append_packed(number, bytes, &Packer::new().pack(bytes, None), parent_time)
    }

    /// The same of a block that was packed before.
    pub(crate) fn append_packed(
        &mut self,
        number: u32,
        bytes: &[u8],
        packed: &[u8],
        parent_time: u32,
    ) -> Result<(), ChainFileError> {
        let payload = encode(bytes, packed, parent_time);
        let offset = self.branch.file_mut().append_block(&payload)?;
        self.offsets.resize(self.offsets.len().max(number as usize + 1), None);
        self.offsets[number as usize] = Some(offset);
        self.branch.extended(number, &header_of(bytes).id());
        Ok(())
    }

    /// The same, written by a thread of its own: see [`ChainFile::write_behind`].
    pub(crate) fn write_behind(self) -> io::Result<Self> {
        Ok(Self { branch: self.branch.write_behind()?, ..self })
    }

    /// Commits what was appended. `tip` is the tip in the tree.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn commit(&mut self, tip: Ancestor<'_>) -> Result<(), ChainFileError> {
        self.branch.commit(tip)
    }
}
