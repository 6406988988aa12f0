//! One block at a time into a chain file: judged like any other, applied, appended, committed.

use crate::chain::Body;
use crate::chain::file::ChainFileError;
use crate::compute::Backend;
use crate::ledger::{HeaderRules, LoadedLedger};
use crate::primitives::{Hash256, Header, sha256d};
use crate::verdict::Violation;

use super::family::{JudgeBodies, Known, ReadBody, Task};
use super::ledger_bodies::BodyJudge;

/// Why a block was not taken.
#[derive(Debug, thiserror::Error)]
pub enum NotAccepted {
    /// It breaks a rule.
    #[error("{}: expected {}, found {}", .0.rule(), .0.expected(), .0.found())]
    Rejected(Violation),
    /// The chain file cannot be written.
    #[error(transparent)]
    ChainFile(#[from] ChainFileError),
}

impl From<Violation> for NotAccepted {
    fn from(violation: Violation) -> Self {
        Self::Rejected(violation)
    }
}

/// Appends a block to the tip, if it passes every rule at `now` seconds since 1970-01-01.
///
/// # Errors
/// The first rule that it breaks, or what kept the file from being written.
pub fn accept(
    ledger: &mut LoadedLedger,
    bytes: &[u8],
    now: u64,
    backend: &dyn Backend,
) -> Result<(), NotAccepted> {
    let LoadedLedger { store, tree, state, transactions } = ledger;
    let params = store.params().clone();
    let parent = tree.block(store.tip());
    let (height, parent_id, parent_time) = (parent.height() + 1, parent.id(), parent.time());
    // The number is the one that the block will get.
    let id = bytes.get(..Header::LEN).map_or(Hash256::ZERO, sha256d);
    let task =
        Task { body: Body::outside(u32::MAX, height), id, known: Known::Nothing, context: () };
    let read = ReadBody { task, bytes: bytes.to_vec() };
    let judged = BodyJudge::new(&params, backend).judge(vec![read]).pop().expect("one for one");
    judged.verdict?;
    let header = bytes.first_chunk().map(|bytes| Header::from_bytes(*bytes));
    let header = header.expect("a sound body has a header");
    if header.parent() != parent_id {
        return Err(Violation::BadPrevBlk { parent: header.parent() }.into());
    }
    // Genesis, which needs no look, has no such parent.
    let effects = judged.prepared.expect("a sound body was looked at");
    tree.set_rules(HeaderRules::new(&params, now));
    let number = tree.insert_known(&header, id)?;
    state.apply(&effects)?;
    *transactions += effects.transactions() as u64;
    store.append(number, &id, bytes, &effects, parent_time)?;
    store.commit(tree.block(number))?;
    Ok(())
}
