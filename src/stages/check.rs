//! The check of a ledger's chain file: everything that validation checked, again.

use std::path::Path;

use crate::chain::Body;
use crate::chain::file::{AnyStorage, ChainFileError, FileHead};
use crate::compute::Backend;
use crate::error::Error;
use crate::ledger::{Event, LoadedLedger, Params, StoredBlock, params_of_head};

use super::family::{JudgeBodies, Known, ReadBody, Task};
use super::follow::{BATCH_BYTES, thread_pool};
use super::ledger_bodies::BodyJudge;

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
    let mut waiting = Waiting::new(&params, backend);
    let loaded = LoadedLedger::open(storage, |_, event| match event {
        Event::Block(block) => {
            waiting.push(&block);
            if waiting.bytes < BATCH_BYTES {
                return Ok(());
            }
            pool.install(|| waiting.judge())
        }
        Event::TakenBack(_) => Ok(()),
    });
    // Blocks that wait come before whatever ended the reading.
    pool.install(|| waiting.judge()).map_err(failed)?;
    loaded.map_err(failed)
}

/// Blocks that wait to be judged by their own bytes.
struct Waiting<'a> {
    judge: BodyJudge<'a>,
    bodies: Vec<ReadBody<()>>,
    /// The height and the offset of each.
    places: Vec<(u32, u64)>,
    bytes: usize,
}

impl<'a> Waiting<'a> {
    fn new(params: &'a Params, backend: &'a dyn Backend) -> Self {
        let judge = BodyJudge::new(params, backend);
        Self { judge, bodies: Vec::new(), places: Vec::new(), bytes: 0 }
    }

    fn push(&mut self, block: &StoredBlock<'_>) {
        let number = u32::try_from(self.bodies.len()).expect("a batch is small");
        let body = Body::outside(number, block.height);
        let task = Task { body, id: block.id, known: Known::Nothing, context: () };
        self.bodies.push(ReadBody { task, bytes: block.bytes.to_vec() });
        self.places.push((block.height, block.offset));
        self.bytes += block.bytes.len();
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
