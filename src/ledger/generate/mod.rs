//! Synthetic dumps of a ledger: valid, of any size, and the same bytes for the same options.
//!
//! They are for benchmarks, for tests and for trying things out. **The secret keys of all their
//! accounts follow from the seed**, which anybody can guess: never use such a ledger for anything else.
//!
//! The same [`Options`] give the same bytes on every platform and for every number of threads. To that
//! end every choice comes from the generator below, and never from a library's default.
//!
//! # Random numbers
//!
//! A *stream* is an endless sequence of 64-bit numbers, four from each digest, little-endian. It
//! belongs to a seed (the bytes of its UTF-8), a domain and a place (a list of numbers):
//!
//! ```text
//! key      = SHA-256("bmgen1" || domain (1) || numbers in the place (1) || each of them (8, little-endian) || seed)
//! digest i = SHA-256(key || i (8, little-endian))        i = 0, 1, 2 …
//! ```
//!
//! A draw *below n* takes numbers until one is not among the 2^64 mod n highest; it is that number
//! modulo n. A draw *of a range* adds its first number to a draw below its size. *Bytes* are the
//! little-endian bytes of as many numbers as it takes; what is left of the last is not used.
//!
//! | domain | place | drawn, in this order |
//! |---|---|---|
//! | 0 salt | all options in the order of [`Options`] but the seed; ranges as first and last | the salt: 32 bytes |
//! | 1 secret | account, from 0 | its Ed25519 secret key: 32 bytes |
//! | 2 block | branch, height | the rewarded account; for each transaction its sender |
//! | 3 transaction | branch, height, index (from 0, the reward aside) | below 100, a record if less than the percentage; fee 1 to 1,000; then of a record the tag (below their number), the payload's length, its bytes; of a transfer the recipient, the amount 1 to 100,000, the memo's length, its bytes |
//! | 4 fork | side branch, from 0 | its length, 1 to 3 and at most what leaves it a block behind; its delay, 1 to 30 s; below 2, and 1 is *early* |
//!
//! Accounts are drawn by number, below how many there are. The main branch is branch 0, side branch i
//! is branch i + 1. Tags are those of [`TAGS`].
//!
//! # The ledger
//!
//! Name `generated`, 2020-01-01, a block each minute, half-life two days, limit `207fffff` (every
//! second nonce wins), subsidy 5,000,000,000 halved every 210,000 blocks, blocks of at most 4,000,000
//! bytes or whatever the longest possible one needs. Every account is allocated what it would spend
//! if it sent every transaction, at the highest amount and fee, so that none can fail.
//!
//! # The blocks
//!
//! The block at height h has the time of genesis plus h minutes, in a side branch the delay more; its
//! bits are those of the schedule (see [`super::asert`]), its nonce the lowest that wins. Its reward
//! is all that is allowed.
//!
//! Of n blocks and f side branches, side branch i leaves the main one after height
//! floor((2i + 1)(n - 1) / 2f). At each height the blocks of early side branches stand first, then
//! that of the main branch, then those of other side branches, each group by number. A node that reads an early
//! one follows it for a while and then goes back; it never follows another.
//!
//! # Memory
//!
//! A batch of blocks, 8 MiB or one block, in three copies, and about 400 bytes for each account,
//! whatever the size of the dump.

mod chain;
mod plan;
mod random;
mod sign;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::primitives::{Hash256, Header};

use super::{Account, DumpHead, MEMO_LEN_MAX, PAYLOAD_LEN_MAX, Params, SIGNATURE_LEN, Transaction};
use chain::Chain;
use plan::{Draft, MAIN, Plan};
use random::{Domain, Random};
use sign::{Signers, account_of, derive_keys, go_on};

/// The time of genesis, 2020-01-01.
const START_TIME: u32 = 1_577_836_800;

/// The distance between blocks, in seconds.
const SPACING_S: u32 = 60;

/// The most blocks: the last of them still lies in 2025, so that no clock finds it too new.
pub const BLOCKS_MAX: u32 = 3_000_000;
const _: () =
    assert!(START_TIME as u64 + SPACING_S as u64 * (BLOCKS_MAX as u64 + 1) < 1_767_225_600);

/// The most accounts: their allocations fit the head of a dump.
pub const ACCOUNTS_MAX: u32 = 1_000_000;

/// The new coins of the first blocks, and after how many blocks they are halved.
const SUBSIDY: u64 = 5_000_000_000;
const HALVING_BLOCKS: u64 = 210_000;

/// More than all subsidies together: each era creates half of what the one before it did.
const SUBSIDIES_MAX: u64 = 2 * SUBSIDY * HALVING_BLOCKS;

/// The application tags of generated records.
pub const TAGS: [&str; 4] = ["review", "loan", "sensor", "notary"];

/// The largest amount of a transfer.
const AMOUNT_MAX: u64 = 100_000;

/// The largest fee.
const FEE_MAX: u64 = 1_000;

/// The size of blocks up to which generated ledgers all have the same limit.
const BLOCK_BYTES_USUAL: u64 = 4_000_000;

/// The largest limit that parameters allow.
const BLOCK_BYTES_MAX: u64 = 32 << 20;

/// A number of six bytes, above every nonce: no transaction is shorter than 100 bytes.
const NONCE_MAX: u64 = (1 << 42) - 1;
const _: () = assert!(BLOCKS_MAX as u64 * (BLOCK_BYTES_MAX / 100) < NONCE_MAX);

/// Blocks are signed together until they may have as many bytes.
const BATCH_BYTES: u64 = 8 << 20;

/// What is generated. The order of the fields is part of the specification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Any text; all randomness follows from it.
    pub seed: String,
    /// Blocks on the main branch, at least one.
    pub blocks: u32,
    /// Transactions in each block, its reward aside.
    pub transactions: u32,
    /// Accounts, at least one.
    pub accounts: u32,
    /// The shortest and the longest payload of records.
    pub payload_bytes: (u16, u16),
    /// The shortest and the longest memo of transfers.
    pub memo_bytes: (u16, u16),
    /// The share of records among transactions.
    pub records_percent: u8,
    /// Side branches, fewer than blocks.
    pub forks: u32,
}

/// An option that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{option}: {why}")]
pub struct InvalidOption {
    /// Its name on the command line.
    pub option: &'static str,
    /// What is wrong with it.
    pub why: String,
}

/// Why no dump, or not all of it, was generated.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// The options make no dump.
    #[error(transparent)]
    Option(#[from] InvalidOption),
    /// The operating system refuses threads.
    #[error("no threads to sign with: {0}")]
    Threads(#[from] rayon::ThreadPoolBuildError),
    /// The dump cannot be written.
    #[error(transparent)]
    Write(#[from] io::Error),
    /// [`Progress::stop`] was set.
    #[error("stopped")]
    Stopped,
}

/// How far the work is, for those who watch it or end it.
#[derive(Debug, Default)]
pub struct Progress {
    /// Ends the work soon after it is set.
    pub stop: AtomicBool,
    /// Blocks written so far.
    pub blocks: AtomicU64,
    /// Transactions in them, rewards aside.
    pub transactions: AtomicU64,
    /// Bytes written so far.
    pub bytes: AtomicU64,
}

/// What was generated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Generated {
    /// The bytes of the dump.
    pub bytes: u64,
    /// All blocks.
    pub blocks: u64,
    /// Those of side branches among them.
    pub side_blocks: u64,
    /// All transactions, rewards aside.
    pub transactions: u64,
    /// The ledger's chain id.
    pub chain_id: Hash256,
    /// The id of the last block of the main branch, whose height is the number of its blocks.
    pub tip: Hash256,
}

impl Options {
    /// Whether there is such a dump.
    ///
    /// # Errors
    /// The first option that is out of range.
    pub fn check(&self) -> Result<(), InvalidOption> {
        in_range("blocks", self.blocks, 1, BLOCKS_MAX)?;
        in_range("accounts", self.accounts, 1, ACCOUNTS_MAX)?;
        is_range_within("payload", self.payload_bytes, PAYLOAD_LEN_MAX)?;
        is_range_within("memo", self.memo_bytes, MEMO_LEN_MAX)?;
        in_range("records", u32::from(self.records_percent), 0, 100)?;
        // Each leaves the main branch at a height of its own and loses.
        in_range("forks", self.forks, 0, self.blocks - 1)?;
        if self.block_bytes_max() > BLOCK_BYTES_MAX {
            let room = BLOCK_BYTES_MAX - self.block_bytes_without_transactions();
            let why = format!(
                "a block of them could exceed the limit of 32 MiB; of this length at most {} fit",
                room / self.transaction_bytes_max()
            );
            return Err(InvalidOption { option: "transactions", why });
        }
        if self.allocation().is_none() {
            return Err(too_much());
        }
        Ok(())
    }

    /// The allocation of each account: more than it can spend.
    fn allocation(&self) -> Option<u64> {
        let transactions = u64::from(self.blocks) * u64::from(self.transactions);
        let each = transactions.max(1).checked_mul(AMOUNT_MAX + FEE_MAX)?;
        let allocated = each.checked_mul(u64::from(self.accounts))?;
        allocated.checked_add(SUBSIDIES_MAX).map(|_| each)
    }

    /// The longest encoding that a transaction can have, with the length before it.
    fn transaction_bytes_max(&self) -> u64 {
        let account = Account::from_key([0; 32]);
        let nonce = NONCE_MAX;
        let bytes = |len: (u16, u16)| vec![0; usize::from(len.1)];
        let (payload, memo) = (bytes(self.payload_bytes), bytes(self.memo_bytes));
        let tag = TAGS.into_iter().max_by_key(|tag| tag.len()).unwrap_or_default().as_bytes();
        let signature = [0; SIGNATURE_LEN];
        let record = Transaction::Record {
            from: account,
            fee: FEE_MAX,
            nonce,
            tag,
            payload: &payload,
            signature,
        };
        let transfer = Transaction::Transfer {
            from: account,
            to: account,
            amount: AMOUNT_MAX,
            fee: FEE_MAX,
            nonce,
            memo: &memo,
            signature,
        };
        let records = (self.records_percent > 0).then_some(record);
        let transfers = (self.records_percent < 100).then_some(transfer);
        let lens = records.iter().chain(&transfers).map(prefixed_len);
        lens.max().unwrap_or_default()
    }

    /// The most bytes of a block beside its transactions.
    fn block_bytes_without_transactions(&self) -> u64 {
        let to = Account::from_key([0; 32]);
        let height = u64::from(self.blocks);
        let reward = Transaction::Reward { height, to, amount: u64::MAX, extranonce: 0 };
        // A count of 32 bits takes at most five bytes.
        Header::LEN as u64 + 5 + prefixed_len(&reward)
    }

    /// The most bytes that a block can have.
    fn block_bytes_max(&self) -> u64 {
        let transactions = u64::from(self.transactions) * self.transaction_bytes_max();
        self.block_bytes_without_transactions() + transactions
    }

    /// The salt, which differs for whatever differs in the options.
    fn salt(&self) -> Vec<u8> {
        let shape = [
            self.blocks,
            self.transactions,
            self.accounts,
            u32::from(self.payload_bytes.0),
            u32::from(self.payload_bytes.1),
            u32::from(self.memo_bytes.0),
            u32::from(self.memo_bytes.1),
            u32::from(self.records_percent),
            self.forks,
        ];
        Random::new(self.seed.as_bytes(), Domain::Salt, &shape.map(u64::from)).bytes(32)
    }

    /// The parameters of the ledger with these accounts.
    fn params(&self, accounts: impl Iterator<Item = Account>) -> Result<Params, InvalidOption> {
        let toml = format!(
            "format = 1\nname = \"generated\"\ntime = {START_TIME}\nsalt = \"{}\"\n\
             target_spacing_s = {SPACING_S}\nhalf_life_s = 172800\npow_limit = \"207fffff\"\n\
             subsidy = {SUBSIDY}\nhalving_blocks = {HALVING_BLOCKS}\nblock_bytes_max = {}\n",
            hex::encode(self.salt()),
            self.block_bytes_max().max(BLOCK_BYTES_USUAL)
        );
        let each = self.allocation().ok_or_else(too_much)?;
        let allocations: BTreeMap<_, _> = accounts.map(|account| (account, each)).collect();
        let params =
            Params::from_toml(&toml).and_then(|params| params.with_allocations(allocations));
        // Every value is fixed or was checked.
        params.map_err(|invalid| InvalidOption { option: "blocks", why: invalid.to_string() })
    }
}

fn too_much() -> InvalidOption {
    let why = "blocks, transactions and accounts together need more coins than fit 64 bits";
    InvalidOption { option: "accounts", why: why.into() }
}

fn in_range(option: &'static str, value: u32, first: u32, last: u32) -> Result<(), InvalidOption> {
    if (first..=last).contains(&value) {
        return Ok(());
    }
    Err(InvalidOption { option, why: format!("{value} is not within {first} and {last}") })
}

fn is_range_within(
    option: &'static str,
    (first, last): (u16, u16),
    last_max: usize,
) -> Result<(), InvalidOption> {
    if first > last {
        return Err(InvalidOption { option, why: format!("{first} is above {last}") });
    }
    if usize::from(last) > last_max {
        let why = format!("{last} bytes are more than the {last_max} that are allowed");
        return Err(InvalidOption { option, why });
    }
    Ok(())
}

/// The length of a transaction in a block, with the length before it.
fn prefixed_len(transaction: &Transaction<'_>) -> u64 {
    let (mut leaf, mut prefixed) = (Vec::new(), Vec::new());
    transaction.encode(&mut leaf);
    crate::wire::put_prefixed(&mut prefixed, &leaf);
    prefixed.len() as u64
}

/// Writes the dump that `options` describe, on `threads` threads (zero means one for each core).
///
/// # Errors
/// If the options make no dump, the operating system refuses, or `progress` says to stop. What was
/// written by then is the beginning of the dump.
pub fn generate(
    options: &Options,
    threads: usize,
    progress: &Progress,
    out: &mut impl Write,
) -> Result<Generated, GenerateError> {
    options.check()?;
    let pool = ThreadPoolBuilder::new().num_threads(threads).build()?;
    let keys = pool.install(|| derive_keys(options, progress))?;
    let params = options.params(keys.iter().map(account_of))?;
    let signers = Signers::new(options, &params, keys);
    let head = DumpHead { params, first_height: 1 };
    let encoded = head.encode();
    out.write_all(&encoded)?;
    progress.bytes.store(encoded.len() as u64, Relaxed);
    let run = Run { options, pool, signers, progress };
    let (tip, side_blocks) = run.blocks(&head.params, out)?;
    out.flush()?;
    Ok(Generated {
        bytes: progress.bytes.load(Relaxed),
        blocks: progress.blocks.load(Relaxed),
        side_blocks,
        transactions: progress.transactions.load(Relaxed),
        chain_id: head.params.chain_id(),
        tip,
    })
}

/// What all batches of one dump share.
struct Run<'o> {
    options: &'o Options,
    pool: ThreadPool,
    signers: Signers<'o>,
    progress: &'o Progress,
}

impl Run<'_> {
    /// Writes all blocks; the id of the last on the main branch, and how many stand beside it.
    fn blocks(
        &self,
        params: &Params,
        out: &mut impl Write,
    ) -> Result<(Hash256, u64), GenerateError> {
        let mut plan = Plan::new(self.options);
        let mut chain = Chain::new(params);
        let mut side_blocks = 0;
        loop {
            let batch = self.next_batch(&mut plan);
            if batch.is_empty() {
                return Ok((chain.tip(), side_blocks));
            }
            let signed = self.pool.install(|| self.signers.sign(&batch, self.progress))?;
            for (draft, signed) in batch.iter().zip(signed) {
                go_on(self.progress)?;
                let bytes = chain.append(draft, &signed, &self.signers, out)?;
                self.progress.bytes.fetch_add(bytes, Relaxed);
                self.progress.blocks.fetch_add(1, Relaxed);
                self.progress.transactions.fetch_add(draft.senders.len() as u64, Relaxed);
                side_blocks += u64::from(draft.branch != MAIN);
            }
        }
    }

    /// Blocks of up to [`BATCH_BYTES`] together, or one that is longer.
    fn next_batch(&self, plan: &mut Plan<'_>) -> Vec<Draft> {
        let blocks = (BATCH_BYTES / self.options.block_bytes_max()).max(1);
        plan.take(usize::try_from(blocks).unwrap_or(usize::MAX)).collect()
    }
}
