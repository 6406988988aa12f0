//! Mines the next block of a ledger.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::compute::Backend;
use crate::ledger::{Account, Block, HeaderRules, LoadedLedger, RULES_VERSION, Transaction};
use crate::primitives::{CompactTarget, Hash256, Header, Target, rfc6962};
use crate::stages::{NotAccepted, accept};
use crate::verdict::Violation;

use super::grind::{Grind, grind_in_turn};
use super::{Ground, Template};

/// A block that was mined and is committed.
#[derive(Clone, Debug)]
pub struct Mined {
    /// Its height.
    pub height: u32,
    /// Its id.
    pub id: Hash256,
    /// Which of the candidates it holds, in order.
    pub taken: Vec<usize>,
    /// The fees of all of them.
    pub fees: u64,
    /// The other candidates, each with the rule that it would break.
    pub left_out: Vec<(usize, Violation)>,
}

/// Where the time of mining went.
#[derive(Clone, Copy, Debug, Default)]
pub struct MiningTimes {
    /// Choosing transactions.
    pub template: Duration,
    /// Searching nonces.
    pub search: Duration,
    /// Validating the block, appending it and waiting for the disk.
    pub append: Duration,
}

/// What mining costs, and what ends it.
#[derive(Debug)]
pub struct Effort<'a> {
    /// Raised by the time that each part of the work takes.
    pub times: &'a mut MiningTimes,
    /// Raised by every nonce that was tried.
    pub tried: &'a AtomicU64,
    /// Ends the work once it is set.
    pub stop: &'a AtomicBool,
}

/// Why no block was mined.
#[derive(Debug, thiserror::Error)]
pub enum NotMined {
    /// It was told to stop.
    #[error("interrupted")]
    Stopped,
    /// The clock does not allow a block yet.
    #[error(
        "the next block needs a time after {median}, and at most {latest} is allowed: the clock is \
         behind the chain"
    )]
    TooEarly {
        /// The median time of the last blocks.
        median: u32,
        /// The latest time allowed.
        latest: u64,
    },
    /// The block was not taken.
    #[error(transparent)]
    NotAccepted(#[from] NotAccepted),
}

/// Mines one block on the tip of `ledger` and appends it, with as many of the candidates as fit: each
/// a transaction with a good signature and the length of its encoding.
///
/// When all 2^32 nonces of a header are spent, the reward's extranonce is raised and the time read
/// anew.
///
/// # Errors
/// If it was told to stop, or the block cannot be appended. The file is then as it was.
pub fn mine_block(
    ledger: &mut LoadedLedger,
    candidates: &[(Transaction<'_>, usize)],
    reward_to: Account,
    clock: &dyn Fn() -> u64,
    backend: &dyn Backend,
    effort: Effort<'_>,
) -> Result<Mined, NotMined> {
    let Effort { times, tried, stop } = effort;
    let params = ledger.store.params().clone();
    let tip = ledger.tree.block(ledger.store.tip());
    let (height, median) = (tip.height() + 1, tip.median_time_past());
    let template =
        timed(&mut times.template, || Template::fill(&params, &ledger.state, height, candidates));
    let bits = HeaderRules::new(&params, 0).next_bits(tip.height(), tip.time());
    let target = target_of(bits);
    let parent = tip.id();
    let amount = params.subsidy(height.into()) + template.fees;
    let mut transactions: Vec<_> =
        vec![Transaction::Reward { height: height.into(), to: reward_to, amount, extranonce: 0 }];
    transactions.extend(template.taken.iter().map(|&index| candidates[index].0));
    let mut leaves = leaf_hashes(&transactions);
    // Of each header so far the root, by its extranonce.
    let mut roots = Vec::new();
    let mut too_early = None;
    let ground = timed(&mut times.search, || {
        let mut grinds = (0..).map_while(|extranonce| {
            set_extranonce(&mut transactions, extranonce);
            leaves[0] = leaf_hashes(&transactions[..1])[0];
            let root = rfc6962::root(&leaves);
            roots.push(root);
            match block_time(median, clock(), params.future_max_s()) {
                Ok(time) => {
                    let header = Header::from_fields(RULES_VERSION, parent, root, time, bits, 0);
                    Some(Grind { header, target, first: 0, last: u32::MAX })
                }
                Err(error) => {
                    too_early = Some(error);
                    None
                }
            }
        });
        let before = tried.load(Relaxed);
        grind_in_turn(&mut grinds, backend, &|done| tried.store(before + done, Relaxed), stop)
    });
    let found = match ground {
        Ground::Found(header) => header,
        Ground::Stopped => return Err(NotMined::Stopped),
        Ground::Exhausted => return Err(too_early.expect("extranonces do not end")),
    };
    let extranonce = roots.iter().position(|root| *root == found.merkle_root());
    set_extranonce(&mut transactions, extranonce.expect("it is one of those headers") as u64);
    let mut bytes = Vec::new();
    Block::encode(&found, &transactions, &mut bytes);
    timed(&mut times.append, || accept(ledger, &bytes, clock(), backend))?;
    Ok(Mined {
        height,
        id: found.id(),
        taken: template.taken,
        fees: template.fees,
        left_out: template.left_out,
    })
}

fn set_extranonce(transactions: &mut [Transaction<'_>], to: u64) {
    if let Some(Transaction::Reward { extranonce, .. }) = transactions.first_mut() {
        *extranonce = to;
    }
}

fn target_of(bits: CompactTarget) -> Target {
    bits.decode().expect("the difficulty rule gives targets")
}

/// The time of the next block: the clock's, but after the median and not too far ahead.
fn block_time(median: u32, now: u64, future_max_s: u64) -> Result<u32, NotMined> {
    let latest = now.saturating_add(future_max_s);
    let time = now.max(u64::from(median) + 1);
    u32::try_from(time)
        .ok()
        .filter(|&time| u64::from(time) <= latest)
        .ok_or(NotMined::TooEarly { median, latest })
}

fn leaf_hashes(transactions: &[Transaction<'_>]) -> Vec<Hash256> {
    let mut leaf = Vec::new();
    let hash = |transaction: &Transaction<'_>| {
        leaf.clear();
        transaction.encode(&mut leaf);
        rfc6962::leaf_hash(&leaf)
    };
    transactions.iter().map(hash).collect()
}

fn timed<T>(total: &mut Duration, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = work();
    *total += start.elapsed();
    result
}
