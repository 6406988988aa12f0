//! The check of a chain file with bodies: everything that validation checked, again.

use std::path::Path;

use crate::bitcoin::{self, BlockEvent, LoadedBlocks};
use crate::chain::Body;
use crate::chain::file::{AnyStorage, ChainFileError, FileHead};
use crate::compute::Backend;
use crate::error::Error;
use crate::ledger::{Event, LoadedLedger, params_of_head};
use crate::primitives::Hash256;

use super::family::{JudgeBodies, Known, ReadBody, Task};
use super::follow::{BATCH_BYTES_MAX, thread_pool};
use super::{block_bodies, ledger_bodies};

/// Reads the chain file of a ledger and judges every block that was ever in it by every rule,
/// signatures included, on `threads` threads (zero means one for each core). `path` is for errors.
///
/// # Errors
/// If the file is damaged, or if a resource is missing.
pub fn check_ledger(
    path: &Path,
    storage: AnyStorage,
    backend: &dyn Backend,
    threads: usize,
) -> Result<LoadedLedger, Error> {
    let failed = |source| Error::ChainFile { path: path.into(), source };
    let head = FileHead::of(&storage).map_err(failed)?;
    let params = params_of_head(&head).map_err(failed)?;
    let pool = thread_pool(threads)?;
    let mut waiting = Waiting::new(ledger_bodies::BodyJudge::new(&params, backend));
    let loaded = LoadedLedger::open(storage, |_, event| match event {
        Event::Block(block) => {
            waiting.push(block.height, block.offset, block.id, block.bytes, ());
            waiting.judge_if_many(&pool)
        }
        Event::TakenBack(_) => Ok(()),
    });
    // Blocks that wait come before whatever ended the reading.
    pool.install(|| waiting.judge()).map_err(failed)?;
    loaded.map_err(failed)
}

/// Reads the chain file of Bitcoin's blocks and judges every block that was ever in it by every rule of its
/// level, on `threads` threads (zero means one for each core). `path` is for errors.
///
/// # Errors
/// If the file is damaged, or if a resource is missing.
pub fn check_blocks(
    path: &Path,
    storage: AnyStorage,
    backend: &dyn Backend,
    threads: usize,
) -> Result<LoadedBlocks, Error> {
    let failed = |source| Error::ChainFile { path: path.into(), source };
    let head = FileHead::of(&storage).map_err(failed)?;
    let params = bitcoin::params_of_head(&head).map_err(failed)?;
    let pool = thread_pool(threads)?;
    let mut waiting = Waiting::new(block_bodies::BodyJudge::new(&params, backend, false));
    let loaded = LoadedBlocks::open(storage, |event| match event {
        BlockEvent::Block(block) => {
            waiting.push(block.height, block.offset, block.id, block.bytes, block.context);
            waiting.judge_if_many(&pool)
        }
        BlockEvent::TakenBack(_) => Ok(()),
    });
    pool.install(|| waiting.judge()).map_err(failed)?;
    loaded.map_err(failed)
}

/// Blocks that wait to be judged by their own bytes.
struct Waiting<J, C> {
    judge: J,
    bodies: Vec<ReadBody<C>>,
    /// The height and the offset of each.
    places: Vec<(u32, u64)>,
    bytes: usize,
}

impl<C, J: JudgeBodies<C> + Send> Waiting<J, C>
where
    C: Copy + Send,
{
    const fn new(judge: J) -> Self {
        Self { judge, bodies: Vec::new(), places: Vec::new(), bytes: 0 }
    }

    fn push(&mut self, height: u32, offset: u64, id: Hash256, bytes: &[u8], context: C) {
        let number = u32::try_from(self.bodies.len()).expect("a batch is small");
        let body = Body::outside(number, height);
        let task = Task { body, id, known: Known::Nothing, context };
        self.bodies.push(ReadBody { task, bytes: bytes.to_vec() });
        self.places.push((height, offset));
        self.bytes += bytes.len();
    }

    fn judge_if_many(&mut self, pool: &rayon::ThreadPool) -> Result<(), ChainFileError> {
        if self.bytes < BATCH_BYTES_MAX { Ok(()) } else { pool.install(|| self.judge()) }
    }

    fn judge(&mut self) -> Result<(), ChainFileError> {
        self.bytes = 0;
        let judged = self.judge.judge(std::mem::take(&mut self.bodies));
        for (judged, (height, offset)) in judged.iter().zip(self.places.drain(..)) {
            if let Err(violation) = judged.verdict {
                let (rule, found) = (violation.rule(), violation.found());
                let which = violation.transaction();
                let which = which.map_or(String::new(), |index| format!(", transaction {index}"));
                let what = format!("block {height}{which}, breaks {rule}: {found}");
                return Err(ChainFileError::Damaged { offset, height: height - 1, what });
            }
        }
        Ok(())
    }
}
