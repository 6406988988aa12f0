//! The pipeline: the only place that knows the order of the work.
//!
//! Headers alone, as of Bitcoin:
//!
//! ```text
//! read            hash             judge
//! files -> Batch  -> HashedBatch   -> header tree -> Outcome
//! (dump)          (compute)        (bitcoin, chain)
//! ```
//!
//! A ledger, whose bodies come after all headers: see [`validate_ledger`].
//!
//! Every stage takes its input whole and returns the next type; none reaches back. With more than
//! one thread the stages overlap: while a batch is judged the next is hashed and the one after that
//! is read, and no more than a few wait between two stages. A chain file is then written by a thread of its own, and
//! what headers become in it is made by another.

mod accept;
mod block_bodies;
mod blocks;
mod budget;
mod check;
mod family;
mod follow;
mod hash;
mod header_sink;
mod judge;
mod ledger;
mod ledger_bodies;
mod pipeline;
mod target;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use crate::bitcoin::Params;
use crate::chain::Outcome;
pub use crate::chain::file::FileLevel as Level;
use crate::compute::Backend;
use crate::dump::{FileTable, HeaderReader, Inputs, Progress};
use crate::error::Error;
use crate::primitives::{Hash256, Header};

use judge::Judge;
use pipeline::Overlap;
use target::Append;

pub use accept::{NotAccepted, accept};
pub use block_bodies::judge_blocks;
pub use blocks::{BlockOptions, validate_blocks};
pub use check::{check_blocks, check_ledger};
pub use ledger::{LedgerOptions, LedgerSummary, validate_ledger};
pub use target::{AppendBlocks, AppendHeaders, AppendLedger, AppendTo, open_or_create};

/// Batches of headers that may be between the first stage and the end of the last, besides the one that is
/// hashed: one is read, one is judged, and two wait on each side.
const WAITING_BATCHES: usize = 6;

/// What to validate, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// The network; `None` to recognise it from a genesis header or a child of one.
    pub network: Option<Params>,
    /// Soft forks moved by hand, for regtest.
    pub activation_heights: Vec<(String, u32)>,
    /// The height of the first block of the input, if its parent is to be taken on trust.
    pub start_height: Option<u32>,
    /// The clock, in seconds since 1970-01-01.
    pub now: u64,
    /// Headers in a batch.
    pub batch: usize,
    /// Whether the stages overlap.
    pub overlap: bool,
    /// Threads that judge bodies; zero means one for each core. As many, up to a few, look for blocks in large files.
    pub threads: usize,
    /// How many rejections are listed.
    pub rejections_max: usize,
}

/// Threads that look for blocks at the same time, of those that there are.
const fn scan_threads(overlap: bool, threads: usize) -> usize {
    if overlap { threads } else { 1 }
}

/// What validation found.
#[derive(Debug)]
pub struct Validation {
    /// Which kind of chain it is.
    pub family: Family,
    /// Bitcoin: the network's parameters, unless the input ended before they were known.
    pub params: Option<Params>,
    /// A ledger: its parameters, and what it holds at its tip.
    pub ledger: Option<LedgerSummary>,
    /// The verdict on every block, unless the network is not known.
    pub outcome: Option<Outcome>,
    /// What was taken on trust, if anything.
    pub trusted: Option<Trusted>,
    /// The files.
    pub files: FileTable,
    /// How thoroughly the blocks were judged.
    pub level: Level,
    /// The chain file that took what passed, if there is one.
    pub stored: Option<Stored>,
    /// What kept the input from being judged whole, if anything did.
    pub error: Option<Error>,
    /// Busy time by stage.
    pub busy: Busy,
}

impl Validation {
    /// What is known before anything was judged.
    fn nothing(family: Family, files: FileTable, busy: Busy) -> Self {
        Self {
            family,
            params: None,
            ledger: None,
            outcome: None,
            trusted: None,
            files,
            level: if family == Family::Ledger { Level::Full } else { Level::Headers },
            stored: None,
            error: None,
            busy,
        }
    }
}

/// What a chain file holds after a validation.
#[derive(Clone, Debug)]
pub struct Stored {
    /// The file as the user named it.
    pub path: PathBuf,
    /// The height of its tip.
    pub height: u32,
    /// The id of its tip.
    pub id: Hash256,
    /// Its length.
    pub bytes: u64,
}

/// A kind of chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Bitcoin and its test networks.
    Bitcoin,
    /// A ledger of signed transactions.
    Ledger,
}

/// The start of a dump that does not begin at genesis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trusted {
    /// The id of the block before the first.
    pub parent: Hash256,
    /// The height of the first block.
    pub height: u32,
    /// The first height at which the median of eleven known blocks is checked.
    pub median_from: u32,
    /// The first retarget whose window is known whole; `None` where the difficulty never changes.
    pub retarget_from: Option<u32>,
    /// Whether there is a retarget before that one, which is checked by its range alone.
    pub first_retarget_in_part: bool,
}

/// How long each stage was busy.
#[derive(Clone, Copy, Debug, Default)]
pub struct Busy {
    /// Reading, decompressing and framing.
    pub read: Duration,
    /// Hashing.
    pub hash: Duration,
    /// Judging bodies by their own bytes.
    pub bodies: Duration,
    /// Judging headers, and applying blocks to the state.
    pub connect: Duration,
    /// Encoding for the chain file, writing it, and waiting for the disk.
    pub append: Duration,
}

/// Validates chains of headers, and appends what passes to a chain file if there is one.
///
/// # Errors
/// If the question cannot be answered as it was put (two networks, or none to be recognised), or if
/// `progress` asks to stop. Whatever is wrong with the input itself is in the [`Validation`].
pub fn validate_headers(
    inputs: Inputs,
    backend: &dyn Backend,
    options: &Options,
    progress: &Arc<Progress>,
    append_to: Option<AppendHeaders<'_>>,
) -> Result<Validation, Error> {
    let confirm = append_to.is_some();
    // Compressed or piped input holds more than this; the tree then grows.
    let expected = inputs.bytes_on_disk().unwrap_or(0) / Header::LEN as u64;
    let expected = usize::try_from(expected).unwrap_or(usize::MAX);
    let append = append_to.map_or(Append::Nothing, Append::Headers);
    let mut judge = Judge::new(options, expected, false, append)?;
    let mut reader = HeaderReader::new(inputs, options.batch)
        .on_threads(scan_threads(options.overlap, options.threads));
    let mut busy = Busy::default();
    let judged = pipeline::run(
        Overlap { overlap: options.overlap, workers: 1, waiting: WAITING_BATCHES },
        [&mut busy.read, &mut busy.hash, &mut busy.connect],
        || reader.next_batch().transpose(),
        |_, batch| batch.map(|batch| hash::hash(batch, backend, confirm)),
        |hashed| {
            judge.take(&hashed?)?;
            goes_on(progress, &judge)
        },
    );
    if let Err(error) = judged {
        // What passed stays, whatever came after it; what failed before this fails it too.
        let _ = judge.follow();
        return Err(error);
    }
    let (files, unreadable) = reader.finish();
    judge.finish(files, unreadable, busy)
}

/// Whether another batch can still change the answer.
fn goes_on(progress: &Progress, judge: &Judge<'_>) -> Result<bool, Error> {
    progress.blocks.store(judge.seen(), Relaxed);
    progress.height.store(u64::from(judge.best_height()), Relaxed);
    if progress.is_stopped() { Err(Error::Interrupted) } else { Ok(!judge.is_stuck()) }
}
