//! Validation of Bitcoin's blocks by every rule that needs no other transaction's outputs: all headers
//! first, then the bodies along the branch with the most work.
//!
//! ```text
//! first reading    blocks -> headers -> ids -> network, header tree
//! second reading   bodies -> own bytes and context, along the best branch
//! and then         bodies beside it -> own bytes and context
//! ```

use std::io;
use std::sync::Arc;

use crate::bitcoin::{Block, BlockContext, BlockStore, HeaderRules, Params, claimed_height};
use crate::chain::file::{BranchFile, ChainFileError};
use crate::chain::{Ancestor, BlockTree};
use crate::compute::Backend;
use crate::dump::{Bodies, HeaderReader, Inputs, Progress};
use crate::error::Error;
use crate::verdict::{Position, Violation};

use super::block_bodies::{BLOCK_COST, BodyJudge};
use super::family::{self, BranchStore};
use super::follow::{Follower, Sink, Threads};
use super::hash;
use super::judge::{Judge, JudgedHeaders, nothing_connects};
use super::pipeline::{self, Overlap};
use super::target::{Append, AppendBlocks, Opened};
use super::{Busy, Family, Level, Options, Validation, WAITING_BATCHES, goes_on, scan_threads};

/// The number of the block that the tree starts with.
const START: u32 = BlockTree::<HeaderRules>::START;

/// The memory that a transaction takes while it is judged, beside its bytes: where its parts are, its ids,
/// and its places in two trees.
const TRANSACTION_COST: usize = 192;

/// What to validate, and how.
#[derive(Clone, Debug)]
pub struct BlockOptions {
    /// What there is to say of headers.
    pub headers: Options,
    /// By how many bytes a chain file grows, about, from one commit to the next.
    pub commit_bytes: u64,
}

/// Validates chains of blocks, and appends what passes to a chain file if there is one.
///
/// # Errors
/// If the question cannot be answered as it was put (two networks, or none to be recognised), if a
/// resource is missing, or if `progress` asks to stop. Whatever is wrong with the input itself is in the
/// [`Validation`].
pub fn validate_blocks(
    inputs: Inputs,
    backend: &dyn Backend,
    options: &BlockOptions,
    progress: &Arc<Progress>,
    append_to: Option<AppendBlocks<'_>>,
) -> Result<Validation, Error> {
    let confirm = append_to.is_some();
    let append = append_to.map_or(Append::Nothing, Append::Blocks);
    let mut judge = Judge::new(&options.headers, 0, true, append)?;
    let threads = scan_threads(options.headers.overlap, options.headers.threads);
    let reader = HeaderReader::with_bodies(inputs, options.headers.batch);
    let mut reader = reader.on_threads(threads);
    let mut busy = Busy::default();
    pipeline::run(
        Overlap { overlap: options.headers.overlap, workers: 1, waiting: WAITING_BATCHES },
        [&mut busy.read, &mut busy.hash, &mut busy.connect],
        || reader.next_batch().transpose(),
        |_, batch| batch.map(|batch| hash::hash(batch, backend, confirm)),
        |hashed| {
            judge.take(&hashed?)?;
            goes_on(progress, &judge)
        },
    )?;
    let (files, mut unreadable, bodies) = reader.finish_with_bodies();
    let Some(headers) = judge.into_bodies(&files, &mut unreadable)? else {
        let nothing = Validation::nothing(Family::Bitcoin, files, busy);
        return Ok(Validation { level: Level::Blocks, error: unreadable, ..nothing });
    };
    let JudgedHeaders { tree, trusted, opened, first } = headers;
    let params = tree.rules().params().clone();
    let (at, sink) = match opened {
        Opened::Blocks(store, commits) => {
            let overlap = options.headers.overlap;
            (store.tip(), Some(Sink::new(store, commits, options.commit_bytes, overlap)?))
        }
        Opened::Nothing | Opened::Headers(_) => (START, None),
    };
    let mut follower = Follower {
        tree: tree.into_blocks(options.headers.rejections_max),
        family: BlockFamily { params: &params, backend },
        at,
        sink,
        bodies: &bodies,
        threads: Threads::new(options.headers.threads)?,
        batch: options.headers.batch,
        overlap: options.headers.overlap,
        progress,
        busy,
    };
    follower.run()?;
    let stored = follower.sink.as_ref().map(Sink::stored);
    let Follower { tree, at, busy, .. } = follower;
    let outcome = tree.finish(at);
    let claimed = first.and_then(|(_, position)| claimed_height_of(position, &bodies));
    let error = unreadable.or_else(|| nothing_connects(&params, &outcome, first, claimed, &files));
    Ok(Validation {
        params: Some(params),
        outcome: Some(outcome),
        trusted,
        level: Level::Blocks,
        error,
        stored,
        ..Validation::nothing(Family::Bitcoin, files, busy)
    })
}

/// The height that the block at `position` names in its coinbase, if it does.
fn claimed_height_of(position: Position, bodies: &Bodies) -> Option<u32> {
    let bytes = bodies.reader().read(position).ok()?;
    claimed_height(&Block::parse(&bytes).ok()?)
}

/// Bitcoin, as far as no block needs another block's outputs: there is no state.
struct BlockFamily<'a> {
    params: &'a Params,
    backend: &'a dyn Backend,
}

impl<'a> family::Family for BlockFamily<'a> {
    type Rules = HeaderRules;
    type Context = BlockContext;
    /// What the chain file will hold of its transactions, if that was asked for.
    type Prepared = Option<Vec<u8>>;
    type Judge = BodyJudge<'a>;
    type Store = BlockStore;

    const HAS_STATE: bool = false;

    fn cost(bytes: &[u8]) -> usize {
        BLOCK_COST + bytes.len() + Block::claimed_count(bytes) * TRANSACTION_COST
    }

    fn judge(&self, packs: bool) -> BodyJudge<'a> {
        BodyJudge::new(self.params, self.backend, packs)
    }

    fn context(&self, block: Option<Ancestor<'_>>) -> BlockContext {
        block.map(BlockContext::of).unwrap_or_default()
    }

    fn prepare(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn apply(&mut self, _: &Option<Vec<u8>>) -> Result<(), Violation> {
        Ok(())
    }

    fn undo(&mut self, _: &[u8]) {}

    fn stored_body(
        &self,
        store: &mut BlockStore,
        number: u32,
        block: Ancestor<'_>,
        _: &HeaderRules,
        _: bool,
    ) -> Result<Vec<u8>, ChainFileError> {
        store.body(number, block)
    }

    fn append(
        &self,
        store: &mut BlockStore,
        number: u32,
        block: Ancestor<'_>,
        bytes: &[u8],
        packed: &Option<Vec<u8>>,
    ) -> Result<(), ChainFileError> {
        let parent = block.parent().expect("genesis is never appended");
        match packed {
            Some(packed) => store.append_packed(number, bytes, packed, parent.time()),
            None => store.append(number, bytes, parent.time()),
        }
    }
}

impl BranchStore for BlockStore {
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
