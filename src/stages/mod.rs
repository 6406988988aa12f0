//! The pipeline: the only place that knows the order of the work.
//!
//! ```text
//! read            hash             judge
//! files -> Batch  -> HashedBatch   -> header tree -> Outcome
//! (dump)          (compute)        (bitcoin, chain)
//! ```
//!
//! Every stage takes its input whole and returns the next type; none reaches back. With more than
//! one thread the stages overlap: while a batch is judged the next is hashed and the one after that
//! is read, and no more than two batches wait between two stages.

mod hash;
mod judge;

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::bitcoin::Params;
use crate::chain::Outcome;
use crate::compute::Backend;
use crate::dump::{Batch, FileTable, HeaderReader, Inputs, Progress};
use crate::error::Error;
use crate::primitives::Header;

use hash::HashedBatch;
use judge::Judge;

/// Batches that wait between two stages.
const QUEUE: usize = 2;

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
    /// How many rejections are listed.
    pub rejections_max: usize,
}

/// What validation found.
#[derive(Debug)]
pub struct Validation {
    /// The network's parameters, unless the input ended before they were known.
    pub params: Option<Params>,
    /// The verdict on every header, unless the network is not known.
    pub outcome: Option<Outcome>,
    /// What was taken on trust, if anything.
    pub trusted: Option<Trusted>,
    /// The files.
    pub files: FileTable,
    /// What kept the input from being judged whole, if anything did.
    pub error: Option<Error>,
    /// Busy time by stage.
    pub busy: Busy,
}

/// The start of a dump that does not begin at genesis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trusted {
    /// The id of the block before the first.
    pub parent: crate::primitives::Hash256,
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
    /// Judging headers.
    pub connect: Duration,
}

/// Validates chains of headers.
///
/// # Errors
/// If the question cannot be answered as it was put (two networks, or none to be recognised), or if
/// `progress` asks to stop. Whatever is wrong with the input itself is in the [`Validation`].
pub fn validate_headers(
    inputs: Inputs,
    backend: &dyn Backend,
    options: &Options,
    progress: &Arc<Progress>,
) -> Result<Validation, Error> {
    // Compressed or piped input holds more than this; the tree then grows.
    let expected = inputs.bytes_on_disk().unwrap_or(0) / Header::LEN as u64;
    let mut judge = Judge::new(options, usize::try_from(expected).unwrap_or(usize::MAX))?;
    let mut reader = HeaderReader::new(inputs, options.batch);
    let mut busy = Busy::default();
    if options.overlap {
        overlapped(&mut reader, backend, &mut judge, &mut busy, progress)?;
    } else {
        while let Some(batch) = timed(&mut busy.read, || reader.next_batch()) {
            let hashed = timed(&mut busy.hash, || hash::hash(batch, backend));
            timed(&mut busy.connect, || judge.take(&hashed));
            if !goes_on(progress, &judge)? {
                break;
            }
        }
    }
    let (files, unreadable) = reader.finish();
    judge.finish(files, unreadable, busy)
}

/// Runs the stages on threads of their own, the last one on this thread.
fn overlapped(
    reader: &mut HeaderReader,
    backend: &dyn Backend,
    judge: &mut Judge,
    busy: &mut Busy,
    progress: &Progress,
) -> Result<(), Error> {
    let Busy { read, hash, connect } = busy;
    thread::scope(|scope| {
        let (decoded_in, decoded) = sync_channel(QUEUE);
        let (hashed_in, hashed) = sync_channel(QUEUE);
        scope.spawn(move || read_all(reader, &decoded_in, read));
        scope.spawn(move || hash_all(&decoded, backend, &hashed_in, hash));
        // Dropping `hashed` on an early end makes both threads end at their next send.
        for batch in hashed {
            timed(connect, || judge.take(&batch));
            if !goes_on(progress, judge)? {
                break;
            }
        }
        Ok(())
    })
}

fn read_all(reader: &mut HeaderReader, to: &SyncSender<Batch>, busy: &mut Duration) {
    while let Some(batch) = timed(busy, || reader.next_batch()) {
        if to.send(batch).is_err() {
            return;
        }
    }
}

fn hash_all(
    from: &Receiver<Batch>,
    backend: &dyn Backend,
    to: &SyncSender<HashedBatch>,
    busy: &mut Duration,
) {
    while let Ok(batch) = from.recv() {
        let hashed = timed(busy, || hash::hash(batch, backend));
        if to.send(hashed).is_err() {
            return;
        }
    }
}

/// Whether another batch can still change the answer.
fn goes_on(progress: &Progress, judge: &Judge) -> Result<bool, Error> {
    progress.blocks.store(judge.seen(), Relaxed);
    progress.height.store(u64::from(judge.best_height()), Relaxed);
    if progress.is_stopped() { Err(Error::Interrupted) } else { Ok(!judge.is_stuck()) }
}

fn timed<T>(total: &mut Duration, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = work();
    *total += start.elapsed();
    result
}
