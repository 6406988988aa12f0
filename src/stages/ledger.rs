//! Validation of a ledger: all headers first, then the bodies along the branch with the most work.
//!
//! ```text
//! first reading    heads, headers -> ids -> header tree
//! second reading   bodies -> own bytes -> state, along the best branch
//! and then         bodies beside it -> own bytes
//! ```
//!
//! [`Follower`] does the second and the third.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use crate::chain::file::{BranchFile, ChainFileError};
use crate::chain::{Ancestor, BlockTree, HeaderTree, Outcome, Start};
use crate::compute::Backend;
use crate::dump::{Batch, FileTable, Inputs, LedgerReader, Progress};
use crate::error::Error;
use crate::ledger::{Block, Effects, HeaderRules, LedgerStore, Params, State};
use crate::verdict::{Position, Violation};

use super::family::{self, BranchStore};
use super::follow::{Follower, Sink, Threads};
use super::hash::{self, HashedBatch};
use super::ledger_bodies::BodyJudge;
use super::pipeline::{self, Overlap};
use super::target::{AppendLedger, AppendTo, Commits};
use super::{Busy, Family, Validation, WAITING_BATCHES, scan_threads};

/// The number of genesis.
const START: u32 = BlockTree::<HeaderRules>::START;

/// The memory that a block takes while it is judged: where it stands in several lists, and for each of its
/// bytes itself and what is made of it. A reward, the shortest transaction, has 38 bytes, and becomes 16 of a
/// leaf, an account of 40, twice that where a list has just grown, and 4 to 8 in a table. A transfer has at
/// least 137, and becomes 48 of effects besides, and 200 while signatures are judged, of some of them at a time.
const BLOCK_COST: usize = 512;
const COST_PER_BYTE: usize = 4;

/// What to validate, and how.
#[derive(Clone, Debug)]
pub struct LedgerOptions {
    /// The parameters that every dump must have; `None` to take those of the dumps.
    pub params: Option<Params>,
    /// The clock, in seconds since 1970-01-01.
    pub now: u64,
    /// The most headers or bodies in a batch.
    pub batch: usize,
    /// Threads that judge bodies; zero means one for each core.
    pub threads: usize,
    /// Whether the stages overlap.
    pub overlap: bool,
    /// How many rejections are listed.
    pub rejections_max: usize,
    /// By how many bytes a chain file grows, about, from one commit to the next.
    pub commit_bytes: u64,
}

impl LedgerOptions {
    /// How far a chain file grows from one commit to the next where nobody says otherwise.
    pub const COMMIT_BYTES: u64 = 4 << 20;
}

/// What a ledger holds at its tip.
#[derive(Clone, Debug)]
pub struct LedgerSummary {
    /// Its parameters.
    pub params: Params,
    /// Whether the dump itself said so, and nobody else.
    pub params_from_dump: bool,
    /// Transactions on the best branch, rewards included.
    pub transactions: u64,
    /// Accounts that hold coins or have made a transaction.
    pub accounts: u64,
    /// All coins there are.
    pub supply: u64,
}

/// Validates dumps of a ledger, whole.
///
/// # Errors
/// If the question cannot be answered as it was put (two ledgers), if a resource is missing, or if
/// `progress` asks to stop. Whatever is wrong with the input itself is in the [`Validation`].
pub fn validate_ledger(
    inputs: Inputs,
    backend: &dyn Backend,
    options: &LedgerOptions,
    progress: &Arc<Progress>,
    append_to: Option<AppendLedger<'_>>,
) -> Result<Validation, Error> {
    let mut busy = Busy::default();
    let threads = scan_threads(options.overlap, options.threads);
    let reader = LedgerReader::new(inputs, options.params.clone(), options.batch);
    let mut reader = reader.on_threads(threads);
    let Some(params) = reader.open_first()?.cloned() else {
        let (files, error, _) = reader.finish();
        return Ok(Validation { error, ..Validation::nothing(Family::Ledger, files, busy) });
    };
    let mut tree = HeaderTree::new(HeaderRules::new(&params, options.now), Start::Genesis, 0);
    let mut state = State::genesis(&params);
    let (mut at, mut transactions, mut sink) = (START, 0, None);
    let confirm = append_to.is_some();
    if let Some(AppendTo { path, mut open, committed }) = append_to {
        let loaded = open(&params)?;
        (tree, state, transactions) = (loaded.tree, loaded.state, loaded.transactions);
        tree.set_rules(HeaderRules::new(&params, options.now));
        at = loaded.store.tip();
        let commits = Commits::new(path, committed);
        sink = Some(Sink::new(loaded.store, commits, options.commit_bytes, options.overlap)?);
    }
    tree = tree.with_bodies();
    let hash = |batch| hash::hash(batch, backend, confirm);
    read_headers(&mut reader, &mut tree, hash, options, progress, &mut busy)?;
    let params_from_dump = reader.is_from_dump();
    let first_height = reader.first_height();
    let (files, unreadable, bodies) = reader.finish();
    let mut follower = Follower {
        tree: tree.into_blocks(options.rejections_max),
        family: LedgerFamily { state, transactions, params: &params, backend },
        at,
        sink,
        bodies: &bodies,
        threads: Threads::new(options.threads)?,
        batch: options.batch,
        overlap: options.overlap,
        progress,
        busy,
    };
    follower.run()?;
    let stored = follower.sink.as_ref().map(Sink::stored);
    let Follower { tree, family, at, busy, .. } = follower;
    let LedgerFamily { state, transactions, .. } = family;
    let outcome = tree.finish(at);
    let error = unreadable.or_else(|| nothing_connects(&outcome, first_height, &files));
    Ok(Validation {
        outcome: Some(outcome),
        ledger: Some(LedgerSummary {
            params_from_dump,
            transactions,
            accounts: state.len() as u64,
            supply: state.supply(),
            params,
        }),
        error,
        stored,
        ..Validation::nothing(Family::Ledger, files, busy)
    })
}

/// The first reading.
fn read_headers(
    reader: &mut LedgerReader,
    tree: &mut HeaderTree<HeaderRules>,
    hash: impl Fn(Batch) -> HashedBatch + Sync,
    options: &LedgerOptions,
    progress: &Progress,
    busy: &mut Busy,
) -> Result<(), Error> {
    pipeline::run(
        Overlap { overlap: options.overlap, workers: 1, waiting: WAITING_BATCHES },
        [&mut busy.read, &mut busy.hash, &mut busy.connect],
        || reader.next_batch().transpose(),
        |_, batch| batch.map(&hash),
        |hashed| {
            for (header, id, position) in hashed?.iter() {
                tree.insert(header, *id, position);
            }
            progress.blocks.store(tree.seen(), Relaxed);
            if progress.is_stopped() { Err(Error::Interrupted) } else { Ok(true) }
        },
    )
}

/// A ledger: its bodies, and the state that the best branch leads to.
struct LedgerFamily<'a> {
    state: State,
    /// Transactions on the branch up to there.
    transactions: u64,
    params: &'a Params,
    backend: &'a dyn Backend,
}

impl<'a> family::Family for LedgerFamily<'a> {
    type Rules = HeaderRules;
    /// Bodies know their height, and need no more.
    type Context = ();
    type Prepared = Effects;
    type Judge = BodyJudge<'a>;
    type Store = LedgerStore;

    const HAS_STATE: bool = true;

    fn cost(bytes: &[u8]) -> usize {
        BLOCK_COST + bytes.len() * COST_PER_BYTE
    }

    /// A file needs nothing that the state does not need as well.
    fn judge(&self, _: bool) -> BodyJudge<'a> {
        BodyJudge::new(self.params, self.backend)
    }

    fn context(&self, _: Option<Ancestor<'_>>) {}

    fn prepare(&self, bytes: &[u8]) -> Effects {
        Block::decode(bytes).expect("it was decoded before").into_effects()
    }

    fn apply(&mut self, effects: &Effects) -> Result<(), Violation> {
        self.state.apply(effects)?;
        self.transactions += effects.transactions() as u64;
        Ok(())
    }

    fn undo(&mut self, bytes: &[u8]) {
        let effects = self.prepare(bytes);
        self.state.undo(&effects);
        self.transactions -= effects.transactions() as u64;
    }

    fn stored_body(
        &self,
        store: &mut LedgerStore,
        number: u32,
        block: Ancestor<'_>,
        rules: &HeaderRules,
        after: bool,
    ) -> Result<Vec<u8>, ChainFileError> {
        store.body(number, block, rules, &self.state, after)
    }

    fn append(
        &self,
        store: &mut LedgerStore,
        number: u32,
        block: Ancestor<'_>,
        bytes: &[u8],
        effects: &Effects,
    ) -> Result<(), ChainFileError> {
        let parent = block.parent().expect("genesis is never appended");
        store.append(number, &block.id(), bytes, effects, parent.time())
    }
}

impl BranchStore for LedgerStore {
    fn write_behind(self) -> io::Result<Self> {
        self.write_behind()
    }

    fn branch(&self) -> &BranchFile {
        self.branch()
    }

    fn branch_mut(&mut self) -> &mut BranchFile {
        self.branch_mut()
    }

    fn holds(&self, block: u32) -> bool {
        self.holds(block)
    }
}

/// A dump that begins in the middle says so itself.
fn nothing_connects(outcome: &Outcome, first_height: u64, files: &FileTable) -> Option<Error> {
    let blocks = outcome.blocks;
    let connected = blocks.best_branch + blocks.side + blocks.unconnected;
    if blocks.orphans == 0 || connected > 0 {
        return None;
    }
    let message = format!(
        "nothing connects to genesis: the dump begins at height {first_height}; name the dumps with \
         the blocks before it as well"
    );
    let first = outcome.orphan_groups.first().map_or(Position(0), |group| group.position);
    Some(Error::NothingConnects { message, place: files.place(first) })
}
