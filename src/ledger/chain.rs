//! A ledger in a chain file: read back into a state, and appended to.

use std::io;

use crate::chain::file::{
    AnyStorage, BranchFile, ChainFile, ChainFileError, FileHead, FileLevel, Frame, FrameType,
    leading_count, payload_at,
};
use crate::chain::{Ancestor, HeaderTree, Start};
use crate::primitives::{Hash256, Header};

use super::compact::{self, Accounts, Nonces, Parent};
use super::{Block, BodyRules, Effects, HeaderRules, Params, State};

/// What a chain file holds, read whole.
pub struct LoadedLedger {
    /// The file, to append to.
    pub store: LedgerStore,
    /// Every block that was ever on its best branch.
    pub tree: HeaderTree<HeaderRules>,
    /// The accounts at its tip.
    pub state: State,
    /// Transactions on its best branch.
    pub transactions: u64,
}

/// The chain file of a ledger, open for appending.
pub struct LedgerStore {
    branch: BranchFile,
    params: Params,
    accounts: Accounts,
    /// Where the frame of each block is, by its number in the tree.
    offsets: Vec<Option<u64>>,
    /// Memory for the next payload.
    payload: Vec<u8>,
}

/// A block as a chain file holds it, while the file is read.
#[derive(Clone, Copy, Debug)]
pub struct StoredBlock<'a> {
    /// The height.
    pub height: u32,
    /// The block id.
    pub id: Hash256,
    /// The canonical encoding.
    pub bytes: &'a [u8],
    /// The offset of its frame.
    pub offset: u64,
}

/// What happens while a chain file is read.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// A block follows the tip.
    Block(StoredBlock<'a>),
    /// The tip is taken back.
    TakenBack(StoredBlock<'a>),
}

impl LoadedLedger {
    /// The head of a file for the ledger with these parameters.
    #[must_use]
    pub fn file_head(params: &Params) -> FileHead {
        FileHead {
            is_ledger: true,
            level: FileLevel::Full,
            chain_id: params.chain_id(),
            params: params.encode(),
        }
    }

    /// The bytes of a new file.
    #[must_use]
    pub fn empty_file(params: &Params) -> Vec<u8> {
        ChainFile::<AnyStorage>::empty(&Self::file_head(params))
    }

    /// Reads a file: every rule on headers and every balance is checked again, signatures are not.
    /// `inspect` sees every block after it was applied.
    ///
    /// # Errors
    /// If it is no chain file of a ledger, or damaged, or if `inspect` fails.
    pub fn open(
        storage: AnyStorage,
        mut inspect: impl FnMut(&State, Event<'_>) -> Result<(), ChainFileError>,
    ) -> Result<Self, ChainFileError> {
        let mut loading: Option<Loading> = None;
        let file = ChainFile::open(storage, |storage, head, offset, frame| {
            let loading = match &mut loading {
                Some(loading) => loading,
                none => none.insert(Loading::new(head)?),
            };
            loading.take(storage, offset, frame, &mut inspect)
        })?;
        let loading = match loading {
            Some(loading) => loading,
            None => Loading::new(file.head())?,
        };
        let branch = BranchFile::new(file, loading.tip, loading.tree.block(loading.tip))?;
        Ok(Self {
            store: LedgerStore {
                branch,
                params: loading.params,
                accounts: loading.accounts,
                offsets: loading.offsets,
                payload: Vec::new(),
            },
            tree: loading.tree,
            state: loading.state,
            transactions: loading.transactions,
        })
    }
}

/// The parameters in the head of a ledger's chain file.
///
/// # Errors
/// If it is another family's, of another level, or its chain id is not that of its parameters.
pub fn params_of_head(head: &FileHead) -> Result<Params, ChainFileError> {
    let no = |why: String| Err(ChainFileError::NotAChainFile(why));
    if !head.is_ledger {
        return no("a chain file of Bitcoin, not of a ledger".into());
    }
    if head.level != FileLevel::Full {
        return no(format!("a ledger's chain file of level {}", head.level.name()));
    }
    let params = match Params::decode(&head.params) {
        Ok(params) => params,
        Err(why) => return no(format!("the chain file's parameters: {why}")),
    };
    if params.chain_id() != head.chain_id {
        return no("the chain file's chain id is not that of its parameters".into());
    }
    Ok(params)
}

/// A file that is being read.
struct Loading {
    params: Params,
    rules: HeaderRules,
    accounts: Accounts,
    tree: HeaderTree<HeaderRules>,
    state: State,
    offsets: Vec<Option<u64>>,
    tip: u32,
    transactions: u64,
}

impl Loading {
    fn new(head: &FileHead) -> Result<Self, ChainFileError> {
        let params = params_of_head(head)?;
        // What was accepted once stays accepted, whatever the clock says today.
        let rules = HeaderRules::new(&params, u64::MAX);
        Ok(Self {
            accounts: Accounts::of(&params),
            tree: HeaderTree::new(rules.clone(), Start::Genesis, 0),
            rules,
            state: State::genesis(&params),
            params,
            offsets: vec![None],
            tip: START,
            transactions: 0,
        })
    }

    fn take(
        &mut self,
        storage: &AnyStorage,
        offset: u64,
        frame: &Frame<'_>,
        inspect: &mut impl FnMut(&State, Event<'_>) -> Result<(), ChainFileError>,
    ) -> Result<(), ChainFileError> {
        let height = self.tree.block(self.tip).height();
        let damaged = |what: String| ChainFileError::Damaged { offset, height, what };
        match frame.kind {
            FrameType::Block => {
                let parent = parent_of(&self.rules, self.tree.block(self.tip));
                let state = &self.state;
                let bytes = compact::decode(
                    frame.payload,
                    &self.params,
                    &parent,
                    &mut self.accounts,
                    Nonces::Before,
                    |account| state.account(account).nonce,
                );
                let bytes = bytes.map_err(|error| damaged(error.to_string()))?;
                let block = Block::decode(&bytes).map_err(|error| damaged(error.to_string()))?;
                let id = block.header.id();
                let broken = |violation: crate::verdict::Violation| {
                    let (rule, found) = (violation.rule(), violation.found());
                    damaged(format!("block {id} breaks {rule}: {found}"))
                };
                let node = self.tree.insert_known(&block.header, id).map_err(broken)?;
                // The state takes only what has passed these.
                let shape = BodyRules::new(&self.params).check_shape(&block, Some(height + 1));
                shape.map_err(broken)?;
                self.state.apply(block.effects()).map_err(broken)?;
                self.transactions += u64::from(block.count());
                self.offsets.resize(self.offsets.len().max(node as usize + 1), None);
                self.offsets[node as usize] = Some(offset);
                self.tip = node;
                let stored = StoredBlock { height: height + 1, id, bytes: &bytes, offset };
                inspect(&self.state, Event::Block(stored))
            }
            FrameType::TakeBack => {
                for _ in 0..leading_count(frame) {
                    self.take_back(storage, inspect)?;
                }
                Ok(())
            }
            FrameType::Headers => Err(damaged("headers without bodies in a ledger".into())),
            FrameType::Unknown(_) => Ok(()),
        }
    }

    /// Takes the tip back.
    fn take_back(
        &mut self,
        storage: &AnyStorage,
        inspect: &mut impl FnMut(&State, Event<'_>) -> Result<(), ChainFileError>,
    ) -> Result<(), ChainFileError> {
        let tip = self.tree.block(self.tip);
        let (height, id) = (tip.height(), tip.id());
        let offset = self.offsets[self.tip as usize].unwrap_or(0);
        let damaged = |what: String| ChainFileError::Damaged { offset, height, what };
        let payload = payload_at(storage, offset)?;
        let bytes = stored_bytes(
            &payload,
            &self.params,
            &self.rules,
            tip,
            &mut self.accounts,
            Nonces::After,
            &self.state,
        );
        let bytes = bytes.map_err(damaged)?;
        let block = Block::decode(&bytes).map_err(|error| damaged(error.to_string()))?;
        self.state.undo(block.effects());
        self.transactions -= u64::from(block.count());
        let parent = self.tree.parent(self.tip);
        self.tip = parent.ok_or_else(|| damaged("genesis cannot be taken back".into()))?;
        inspect(&self.state, Event::TakenBack(StoredBlock { height, id, bytes: &bytes, offset }))
    }
}

/// The number of genesis in the tree.
const START: u32 = crate::chain::BlockTree::<HeaderRules>::START;

/// What the block after `block` needs to know of it.
fn parent_of(rules: &HeaderRules, block: Ancestor<'_>) -> Parent {
    Parent {
        id: block.id(),
        height: block.height(),
        time: block.time(),
        next_bits: rules.next_bits(block.height(), block.time()),
    }
}

/// The canonical encoding of a block that stands in the file as `payload`.
fn stored_bytes(
    payload: &[u8],
    params: &Params,
    rules: &HeaderRules,
    block: Ancestor<'_>,
    accounts: &mut Accounts,
    nonces: Nonces,
    state: &State,
) -> Result<Vec<u8>, String> {
    let parent = block.parent().ok_or("genesis has no body")?;
    let parent = parent_of(rules, parent);
    let nonce = |account: &super::Account| state.account(account).nonce;
    let bytes = compact::decode(payload, params, &parent, accounts, nonces, nonce);
    let bytes = bytes.map_err(|error| error.to_string())?;
    let header = bytes.first_chunk::<{ Header::LEN }>().map(|bytes| Header::from_bytes(*bytes));
    if header.map(|header| header.id()) == Some(block.id()) {
        Ok(bytes)
    } else {
        Err("the block is not the one that was there before".into())
    }
}

impl LedgerStore {
    /// The file, with its best branch.
    pub(crate) const fn branch(&self) -> &BranchFile {
        &self.branch
    }

    /// The file, to append to.
    pub(crate) const fn branch_mut(&mut self) -> &mut BranchFile {
        &mut self.branch
    }

    /// The parameters of the ledger.
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

    /// Whether the file holds the body of a block.
    #[must_use]
    pub fn holds(&self, block: u32) -> bool {
        self.offset(block).is_some()
    }

    fn offset(&self, block: u32) -> Option<u64> {
        self.offsets.get(block as usize).copied().flatten()
    }

    /// The canonical encoding of a block of the file, where `state` is that before it, or with `after`
    /// that after it.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn body(
        &mut self,
        number: u32,
        block: Ancestor<'_>,
        rules: &HeaderRules,
        state: &State,
        after: bool,
    ) -> Result<Vec<u8>, ChainFileError> {
        let height = block.height();
        let offset = self.offset(number).unwrap_or(0);
        let payload = self.branch.file_mut().payload(offset)?;
        let nonces = if after { Nonces::After } else { Nonces::Before };
        stored_bytes(&payload, &self.params, rules, block, &mut self.accounts, nonces, state)
            .map_err(|what| ChainFileError::Damaged { offset, height, what })
    }

    /// Appends a sound block, whose parent is the tip. All that is said of it must be that of one block.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn append(
        &mut self,
        number: u32,
        id: &Hash256,
        bytes: &[u8],
        effects: &Effects,
        parent_time: u32,
    ) -> Result<(), ChainFileError> {
        let mut payload = std::mem::take(&mut self.payload);
        payload.clear();
        let accounts = &mut self.accounts;
        compact::encode(bytes, effects, &self.params, parent_time, accounts, &mut payload);
        let appended = self.branch.file_mut().append_block(&payload);
        self.payload = payload;
        self.offsets.resize(self.offsets.len().max(number as usize + 1), None);
        self.offsets[number as usize] = Some(appended?);
        self.branch.extended(number, id);
        Ok(())
    }

    /// Takes blocks back; `tip` is the block that is the tip then.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn take_back(&mut self, blocks: u32, tip: u32) -> Result<(), ChainFileError> {
        self.branch.take_back(blocks, tip)
    }

    /// The same, written by a thread of its own: see [`ChainFile::write_behind`].
    pub(crate) fn write_behind(self) -> io::Result<Self> {
        Ok(Self { branch: self.branch.write_behind()?, ..self })
    }

    /// Commits what was appended. `tip` is the tip in the tree.
    ///
    /// # Errors
    /// If the file cannot be written; see [`ChainFile::commit`].
    pub fn commit(&mut self, tip: Ancestor<'_>) -> Result<(), ChainFileError> {
        self.branch.commit(tip)
    }
}
