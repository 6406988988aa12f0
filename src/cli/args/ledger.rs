//! What can be typed after `blockmill ledger`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::ledger::Account;
#[cfg(feature = "mine")]
use crate::ledger::generate::{ACCOUNTS_MAX, BLOCKS_MAX};
use crate::primitives::CompactTarget;

use super::SendArgs;

#[derive(Debug, Args)]
pub(in crate::cli) struct LedgerArgs {
    #[command(subcommand)]
    pub(in crate::cli) command: LedgerCommand,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum LedgerCommand {
    /// Write the parameters of a new ledger, from which its genesis block and chain id follow.
    New(NewArgs),
    /// Sign a transfer or a record, and append it to the file of those that wait for a miner.
    Send(Box<SendArgs>),
    /// Write a synthetic dump: valid, of any size, the same bytes for the same options.
    #[cfg(feature = "mine")]
    Generate(GenerateArgs),
}

const NEW_HELP: &str = "\
Writes a TOML file with a salt of its own, so that no two ledgers share a chain id. An
existing file is never touched.

Examples:
  blockmill ledger new reviews.toml --name reviews
      A ledger with a block every ten minutes.
  blockmill ledger new test.toml --target-spacing 5 --pow-limit 207fffff
      A block every five seconds, and every second hash wins at first: to try things out.
  blockmill ledger new club.toml --allocate bm1...=1000000 --allocate bm1...=500
      Balances before the first block.";

#[derive(Debug, Args)]
#[command(after_help = NEW_HELP)]
pub(in crate::cli) struct NewArgs {
    /// The file to write, or - for standard output.
    #[arg(value_name = "FILE")]
    pub(in crate::cli) file: PathBuf,

    /// A name for people, 1 to 64 bytes.
    #[arg(long, value_name = "TEXT", default_value = "ledger")]
    pub(in crate::cli) name: String,

    /// The time of genesis in seconds since 1970, instead of now.
    #[arg(long, value_name = "UNIXTIME")]
    pub(in crate::cli) time: Option<u32>,

    /// Seconds between blocks.
    #[arg(long, value_name = "S", default_value_t = 600, value_parser = clap::value_parser!(u32).range(1..))]
    pub(in crate::cli) target_spacing: u32,

    /// How many seconds behind schedule make the target twice as easy; by default 288 spacings.
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u32).range(1..))]
    pub(in crate::cli) half_life: Option<u32>,

    /// The easiest target, and that of the first block, in compact form: 1e00ffff takes 2^24 hashes,
    /// a few seconds of one core; 207fffff takes two.
    #[arg(long, value_name = "BITS", default_value = "1e00ffff", value_parser = compact_target)]
    pub(in crate::cli) pow_limit: CompactTarget,

    /// New coins in a block.
    #[arg(long, value_name = "N", default_value_t = 5_000_000_000)]
    pub(in crate::cli) subsidy: u64,

    /// After how many blocks the subsidy is halved.
    #[arg(long, value_name = "BLOCKS", default_value_t = 210_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(in crate::cli) halving: u32,

    /// The largest block in bytes, 8192 to 33554432.
    #[arg(long, value_name = "BYTES", default_value_t = 4_000_000, value_parser = clap::value_parser!(u32).range(8 << 10..=32 << 20))]
    pub(in crate::cli) block_bytes_max: u32,

    /// How many seconds a block may lie after the clock; by default, and at most, 7200 or a 24th of the
    /// half-life, whichever is less.
    #[arg(long, value_name = "S")]
    pub(in crate::cli) future_max: Option<u32>,

    /// A balance before the first block; may be given many times.
    #[arg(long, value_name = "ACCOUNT=AMOUNT", value_parser = allocation)]
    pub(in crate::cli) allocate: Vec<(Account, u64)>,
}

#[cfg(feature = "mine")]
const GENERATE_HELP: &str = "\
For benchmarks, tests and trying things out. The secret keys of all accounts follow from the
seed, so never use such a ledger for anything else. The dump grows in FILE.part, which becomes
FILE when it is complete and is removed when it cannot be; special files are written in place.

Examples:
  blockmill ledger generate small.bmdump
      100 blocks of 100 transactions.
  blockmill ledger generate forks.bmdump --blocks 1000 --forks 20 --seed 'another one'
      With 20 side branches, which lose.
  blockmill ledger generate big.bmdump --blocks 3000 --transactions 4000 --records 0
      Twelve million transfers, 1.7 GB.
  blockmill ledger generate - --records 100 --payload 4096 | zstd > records.bmdump.zst
      Records of the longest payload, through a pipe.";

#[cfg(feature = "mine")]
#[derive(Debug, Args)]
#[command(after_help = GENERATE_HELP)]
pub(in crate::cli) struct GenerateArgs {
    /// The file to write, or - for standard output.
    #[arg(value_name = "FILE")]
    pub(in crate::cli) file: PathBuf,

    /// Any text; everything random follows from it.
    #[arg(long, value_name = "TEXT", default_value = "0")]
    pub(in crate::cli) seed: String,

    /// Blocks, without those of side branches.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=i64::from(BLOCKS_MAX)))]
    pub(in crate::cli) blocks: u32,

    /// Transactions in each block, its reward aside.
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(in crate::cli) transactions: u32,

    /// Accounts that send and receive.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=i64::from(ACCOUNTS_MAX)))]
    pub(in crate::cli) accounts: u32,

    /// The share of records among transactions; the others are transfers.
    #[arg(long, value_name = "PERCENT", default_value = "10", value_parser = whole_percentage)]
    pub(in crate::cli) records: u8,

    /// Bytes in a record's payload, both included, at most 4096; or one number.
    #[arg(long, value_name = "MIN..MAX", default_value = "50..500", value_parser = length_range)]
    pub(in crate::cli) payload: (u16, u16),

    /// Bytes in a transfer's memo, both included, at most 256; or one number.
    #[arg(long, value_name = "MIN..MAX", default_value = "0", value_parser = length_range)]
    pub(in crate::cli) memo: (u16, u16),

    /// Side branches of one to three blocks, at evenly spread heights; fewer than blocks.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(in crate::cli) forks: u32,

    /// Threads that sign; by default one for each core. The dump is the same for any number.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(in crate::cli) threads: Option<u16>,

    /// Replace FILE if it is there, and a FILE.part that a killed run left.
    #[arg(long)]
    pub(in crate::cli) force: bool,
}

fn compact_target(text: &str) -> Result<CompactTarget, String> {
    let digits = text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let bits = u32::from_str_radix(text, 16).ok().filter(|_| digits);
    bits.map(CompactTarget::from_bits).ok_or_else(|| "8 hex digits, such as 1e00ffff".into())
}

fn allocation(text: &str) -> Result<(Account, u64), String> {
    let (account, amount) = text.split_once('=').ok_or("write ACCOUNT=AMOUNT")?;
    let account = account.parse().map_err(|error| format!("{error}"))?;
    let is_plain = amount.bytes().all(|byte| byte.is_ascii_digit());
    let amount = amount.parse().ok().filter(|_| is_plain);
    Ok((account, amount.ok_or("an amount is a decimal number below 2^64")?))
}

#[cfg(feature = "mine")]
fn whole_percentage(text: &str) -> Result<u8, String> {
    let number = text.strip_suffix('%').unwrap_or(text).parse().ok();
    number.filter(|percent| *percent <= 100).ok_or_else(|| "a whole number from 0 to 100".into())
}

#[cfg(feature = "mine")]
fn length_range(text: &str) -> Result<(u16, u16), String> {
    let (first, last) = text.split_once("..").unwrap_or((text, text));
    match (first.parse(), last.parse()) {
        (Ok(first), Ok(last)) => Ok((first, last)),
        _ => Err("write MIN..MAX, such as 50..500, or one number".into()),
    }
}
