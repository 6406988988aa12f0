//! What can be typed, and the help that teaches it.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::bitcoin::Network;
use crate::compute::CrossCheck;
use crate::compute::select::Wish;
use crate::dump::Kind;
use crate::error::Error;
use crate::ledger::Account;
#[cfg(feature = "mine")]
use crate::ledger::generate::{ACCOUNTS_MAX, BLOCKS_MAX};
use crate::primitives::{CompactTarget, Hash256};
use crate::stages::LedgerOptions;

use super::output::Format;

mod key;
mod send;

pub(super) use key::{KeyArgs, KeyCommand, KeyNewArgs, KeyShowArgs, PassphraseArgs};
pub(super) use send::SendArgs;

/// Validates block chains, mines headers, and compares CPU and GPU.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true, after_help = EXIT_CODES)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub(super) command: Command,
}

const EXIT_CODES: &str = "\
Exit codes (when several hold, the first of 130, 5, 4, 1, 3, 0):
    0  valid, or done
    1  at least one block was rejected, or nothing was found
    2  the arguments make no sense
    3  the input could not be judged whole
    4  GPU and CPU disagreed
    5  a device or a resource failed
  130  interrupted";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Judge a dump of blocks or headers by every rule of its network or ledger.
    Validate(ValidateArgs),
    /// Mine blocks of a ledger into its chain file.
    #[cfg(feature = "mine")]
    Mine(MineArgs),
    /// Find the nonce of a block header.
    #[cfg(feature = "mine")]
    Grind(GrindArgs),
    /// Begin a ledger, sign transactions for it, or make a dump of one to try things on.
    Ledger(LedgerArgs),
    /// Look into a chain file, check it, or make a dump of it.
    Chain(ChainArgs),
    /// Make the secret key of an account, or say whose a key is.
    Key(KeyArgs),
    /// List what can compute here, and whether it computes right.
    Devices(DevicesArgs),
    /// Measure CPU and GPU on the same work, after comparing their answers.
    Bench(BenchArgs),
}

const VALIDATE_HELP: &str = "\
Examples:
  blockmill validate headers.dat
      Judge a file of 80-byte headers; network and kind are recognised.
  blockmill validate part1.hdr.xz part2.hdr.zst
      Several files are one chain; compressed ones are recognised too.
  blockmill validate --network main --start-height 840000 later.hdr
      A dump that begins in the middle of the chain.
  bitcoin-cli getblockheader \"$hash\" false | blockmill validate -
      Hex lines from a pipe.
  blockmill validate --network params.toml ledger.dump
      The dump of a ledger, which must be the one with these parameters.
  blockmill validate ledger.dump --to ledger.chain
      What passes is kept in a chain file; the same command goes on from there.
  blockmill validate --format json dump/ | jq .tip
      A whole directory, as one JSON document.";

#[derive(Debug, Args)]
#[command(after_help = VALIDATE_HELP)]
pub(super) struct ValidateArgs {
    /// Files, directories, or - for standard input; together they are one chain, in this order.
    #[arg(required = true, value_name = "DUMP")]
    pub(super) dumps: Vec<PathBuf>,

    /// main, testnet3, testnet4, signet or regtest, or the parameters of a ledger; recognised where
    /// the dump shows it.
    #[arg(long, value_name = "NAME|PARAMS.toml")]
    pub(super) network: Option<NetworkName>,

    /// How thorough to be; by default as the input allows. Headers allow `headers`.
    #[arg(long, value_enum)]
    pub(super) level: Option<Level>,

    /// What the files hold, instead of recognising it: headers, hex, ledger.
    #[arg(long, value_name = "KIND")]
    pub(super) input: Option<Kind>,

    /// The height of the first block, for a dump that does not begin at genesis: its parent, height
    /// and difficulty are then taken on trust.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..4_000_000_000))]
    pub(super) start_height: Option<u32>,

    /// The clock to judge by, in seconds since 1970, instead of this computer's.
    #[arg(long, value_name = "UNIXTIME")]
    pub(super) now: Option<u64>,

    /// Move a soft fork (bip34, dersig, cltv, csv, segwit) to another height; regtest only.
    #[arg(long, value_name = "NAME@N", value_parser = activation_height)]
    pub(super) activation_height: Vec<(String, u32)>,

    #[command(flatten)]
    pub(super) compute: ComputeArgs,

    /// Headers, or bodies of a ledger, judged at a time.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) batch: Option<u64>,

    /// Compute this share of the GPU's results again on the CPU.
    #[arg(long, value_name = "N%", value_parser = percentage)]
    pub(super) cross_check: Option<CrossCheck>,

    /// A chain file to append what passes to; created if it is not there.
    #[arg(long, value_name = "CHAINFILE")]
    pub(super) to: Option<PathBuf>,

    /// Where to write a JSON line for each commit to the chain file, once it is safe: a file, or the
    /// number of an open file descriptor.
    #[arg(long, value_name = "FILE|FD", requires = "to")]
    pub(super) acks: Option<PathBuf>,

    /// Commit to the chain file each time that it has grown by about so many bytes.
    #[arg(long, value_name = "BYTES", requires = "to", default_value_t = LedgerOptions::COMMIT_BYTES)]
    pub(super) commit_bytes: u64,

    /// How many rejected blocks to list.
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub(super) rejections: u32,

    /// How to write the report.
    #[arg(long, value_enum, default_value = "human")]
    pub(super) format: Format,
}

/// What `--network` names.
#[derive(Clone, Debug)]
pub(super) enum NetworkName {
    /// One of Bitcoin's networks.
    Bitcoin(Network),
    /// A ledger, by the file of its parameters.
    Ledger(PathBuf),
}

impl FromStr for NetworkName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let path = PathBuf::from(text);
        match text.parse() {
            Ok(network) => Ok(Self::Bitcoin(network)),
            Err(_) if path.extension().is_some_and(|end| end == "toml") => Ok(Self::Ledger(path)),
            Err(error) => Err(format!("{error}; or the parameters of a ledger, PARAMS.toml")),
        }
    }
}

/// How thorough a validation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Level {
    /// Proof of work, linkage, difficulty, times, versions, and the branch with the most work.
    Headers,
    /// All of that, and every rule on a block's own bytes.
    Blocks,
    /// All of that, and inputs, amounts and scripts.
    Full,
}

/// What computes.
#[derive(Debug, Args)]
pub(super) struct ComputeArgs {
    /// What computes; auto says what it took and why.
    #[arg(long, value_enum, default_value = "auto")]
    pub(super) backend: BackendName,

    /// A device as `blockmill devices` prints it, a unique beginning of its id, or `software`.
    #[arg(long, value_name = "ID")]
    pub(super) device: Option<String>,

    /// CPU threads; by default one for each core.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(super) threads: Option<u16>,
}

/// A backend on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum BackendName {
    /// The fastest for the job.
    Auto,
    /// Every core.
    Cpu,
    /// The best graphics card.
    Gpu,
    /// The naive definition of the answers, slow on purpose.
    Reference,
}

impl ComputeArgs {
    /// What the user wishes for.
    pub(super) fn wish(&self) -> Result<Wish, Error> {
        match (self.backend, &self.device) {
            (BackendName::Auto | BackendName::Gpu, Some(id)) => Ok(Wish::Device(id.clone())),
            (_, Some(_)) => Err(Error::usage("--device needs --backend gpu, or none")),
            (BackendName::Auto, None) => Ok(Wish::Auto),
            (BackendName::Cpu, None) => Ok(Wish::Cpu),
            (BackendName::Gpu, None) => Ok(Wish::Gpu),
            (BackendName::Reference, None) => Ok(Wish::Reference),
        }
    }

    /// The number of threads, or zero for one per core.
    pub(super) fn threads(&self) -> usize {
        usize::from(self.threads.unwrap_or(0))
    }
}

#[cfg(feature = "mine")]
const MINE_HELP: &str = "\
Prints a line for each block: height, id, how many transactions it took, their fees. A block is
validated like any other before it is appended, and committed before it is printed.

Examples:
  blockmill mine --chain ledger.chain --params ledger.toml --reward-to bm1...
      The first block of a new ledger.
  blockmill mine --chain ledger.chain --transactions pending.jsonl --reward-to bm1... --blocks 10
      Ten blocks, with what waits; the file of what waits is read again for each block.";

#[cfg(feature = "mine")]
#[derive(Debug, Args)]
#[command(after_help = MINE_HELP)]
pub(super) struct MineArgs {
    /// The chain file of the ledger.
    #[arg(long, value_name = "CHAINFILE")]
    pub(super) chain: PathBuf,

    /// The parameters of the ledger: if the chain file is not there, it is created.
    #[arg(long, value_name = "PARAMS.toml")]
    pub(super) params: Option<PathBuf>,

    /// Transactions that wait, as `ledger send` writes them.
    #[arg(long, value_name = "PENDING.jsonl")]
    pub(super) transactions: Option<PathBuf>,

    /// The account that gets subsidy and fees.
    #[arg(long, value_name = "ACCOUNT")]
    pub(super) reward_to: Account,

    /// How many blocks to mine.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(super) blocks: u32,

    /// Where to write a JSON line for each block, once it is safe: a file, or the number of an open
    /// file descriptor.
    #[arg(long, value_name = "FILE|FD")]
    pub(super) acks: Option<PathBuf>,

    /// The clock to mine by, in seconds since 1970, instead of this computer's.
    #[arg(long, value_name = "UNIXTIME")]
    pub(super) now: Option<u64>,

    #[command(flatten)]
    pub(super) compute: ComputeArgs,
}

#[cfg(feature = "mine")]
const GRIND_HELP: &str = "\
Prints the 160 hex digits of the solved header and nothing else; the lowest nonce wins.

Examples:
  blockmill grind --from 2083000000 --count 1000000 0100000000000000000000000000000000000000000000000000000000000000000000003ba3edfd7a7b12b27ac72c3e67768f617fc81bc3888a51323a9fb8aa4b1e5e4a29ab5f49ffff001d00000000
      The genesis header of the main network, from a million nonces around the known one.
  blockmill grind --device software --threads 2 HEX80
      Every nonce, on the software adapter.";

#[cfg(feature = "mine")]
#[derive(Debug, Args)]
#[command(after_help = GRIND_HELP)]
pub(super) struct GrindArgs {
    /// An 80-byte header in hex; the nonce in it is ignored, the target is that of its bits.
    #[arg(value_name = "HEX80")]
    pub(super) header: String,

    /// The first nonce to try.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(super) from: u32,

    /// How many nonces to try; by default all that are left.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1 << 32))]
    pub(super) count: Option<u64>,

    #[command(flatten)]
    pub(super) compute: ComputeArgs,
}

#[derive(Debug, Args)]
pub(super) struct LedgerArgs {
    #[command(subcommand)]
    pub(super) command: LedgerCommand,
}

#[derive(Debug, Subcommand)]
pub(super) enum LedgerCommand {
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
pub(super) struct NewArgs {
    /// The file to write, or - for standard output.
    #[arg(value_name = "FILE")]
    pub(super) file: PathBuf,

    /// A name for people, 1 to 64 bytes.
    #[arg(long, value_name = "TEXT", default_value = "ledger")]
    pub(super) name: String,

    /// The time of genesis in seconds since 1970, instead of now.
    #[arg(long, value_name = "UNIXTIME")]
    pub(super) time: Option<u32>,

    /// Seconds between blocks.
    #[arg(long, value_name = "S", default_value_t = 600, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) target_spacing: u32,

    /// How many seconds behind schedule make the target twice as easy; by default 288 spacings.
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) half_life: Option<u32>,

    /// The easiest target, and that of the first block, in compact form: 1e00ffff takes 2^24 hashes,
    /// a few seconds of one core; 207fffff takes two.
    #[arg(long, value_name = "BITS", default_value = "1e00ffff", value_parser = compact_target)]
    pub(super) pow_limit: CompactTarget,

    /// New coins in a block.
    #[arg(long, value_name = "N", default_value_t = 5_000_000_000)]
    pub(super) subsidy: u64,

    /// After how many blocks the subsidy is halved.
    #[arg(long, value_name = "BLOCKS", default_value_t = 210_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) halving: u32,

    /// The largest block in bytes, 8192 to 33554432.
    #[arg(long, value_name = "BYTES", default_value_t = 4_000_000, value_parser = clap::value_parser!(u32).range(8 << 10..=32 << 20))]
    pub(super) block_bytes_max: u32,

    /// How many seconds a block may lie after the clock; by default, and at most, 7200 or a 24th of the
    /// half-life, whichever is less.
    #[arg(long, value_name = "S")]
    pub(super) future_max: Option<u32>,

    /// A balance before the first block; may be given many times.
    #[arg(long, value_name = "ACCOUNT=AMOUNT", value_parser = allocation)]
    pub(super) allocate: Vec<(Account, u64)>,
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
pub(super) struct GenerateArgs {
    /// The file to write, or - for standard output.
    #[arg(value_name = "FILE")]
    pub(super) file: PathBuf,

    /// Any text; everything random follows from it.
    #[arg(long, value_name = "TEXT", default_value = "0")]
    pub(super) seed: String,

    /// Blocks, without those of side branches.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=i64::from(BLOCKS_MAX)))]
    pub(super) blocks: u32,

    /// Transactions in each block, its reward aside.
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(super) transactions: u32,

    /// Accounts that send and receive.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=i64::from(ACCOUNTS_MAX)))]
    pub(super) accounts: u32,

    /// The share of records among transactions; the others are transfers.
    #[arg(long, value_name = "PERCENT", default_value = "10", value_parser = whole_percentage)]
    pub(super) records: u8,

    /// Bytes in a record's payload, both included, at most 4096; or one number.
    #[arg(long, value_name = "MIN..MAX", default_value = "50..500", value_parser = length_range)]
    pub(super) payload: (u16, u16),

    /// Bytes in a transfer's memo, both included, at most 256; or one number.
    #[arg(long, value_name = "MIN..MAX", default_value = "0", value_parser = length_range)]
    pub(super) memo: (u16, u16),

    /// Side branches of one to three blocks, at evenly spread heights; fewer than blocks.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(super) forks: u32,

    /// Threads that sign; by default one for each core. The dump is the same for any number.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(super) threads: Option<u16>,

    /// Replace FILE if it is there, and a FILE.part that a killed run left.
    #[arg(long)]
    pub(super) force: bool,
}

#[derive(Debug, Args)]
pub(super) struct ChainArgs {
    #[command(subcommand)]
    pub(super) command: ChainCommand,
}

#[derive(Debug, Subcommand)]
pub(super) enum ChainCommand {
    /// Say what a chain file holds: its tip, a block, a transaction, or an account.
    Show(ShowArgs),
    /// Write the best branch of a chain file as a dump that anybody can validate.
    Export(ExportArgs),
    /// Derive and verify again everything that a chain file holds.
    Check(CheckArgs),
}

const SHOW_HELP: &str = "\
Only what is committed is shown, also while another process writes the file.

Examples:
  blockmill chain show ledger.chain
      The tip, and how much there is.
  blockmill chain show ledger.chain --block 7
      A block with its transactions; an id does as well as a height.
  blockmill chain show ledger.chain --account bm1... --format json | jq -r .account.balance
      What an account holds.";

#[derive(Debug, Args)]
#[command(after_help = SHOW_HELP)]
pub(super) struct ShowArgs {
    /// The chain file.
    #[arg(value_name = "FILE")]
    pub(super) file: PathBuf,

    /// A block, with its transactions.
    #[arg(long, value_name = "HEIGHT|ID", group = "what")]
    pub(super) block: Option<BlockName>,

    /// A transaction of a ledger, with its block.
    #[arg(long, value_name = "ID", group = "what")]
    pub(super) transaction: Option<Hash256>,

    /// An account of a ledger: its balance, its next nonce and its history.
    #[arg(long, value_name = "ACCOUNT", group = "what")]
    pub(super) account: Option<Account>,

    /// How to write it.
    #[arg(long, value_enum, default_value = "human")]
    pub(super) format: Format,
}

/// What names a block.
#[derive(Clone, Copy, Debug)]
pub(super) enum BlockName {
    /// Its place on the best branch.
    Height(u32),
    /// Its id.
    Id(Hash256),
}

impl FromStr for BlockName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let height = text.parse().map(Self::Height).ok();
        let name = height.or_else(|| text.parse().map(Self::Id).ok());
        name.ok_or_else(|| "a height, or an id of 64 hex digits".into())
    }
}

const EXPORT_HELP: &str = "\
A ledger becomes a ledger dump, headers become 80 bytes each, genesis first. The dump grows in
OUT.part, which becomes OUT when it is complete; special files are written in place.

Examples:
  blockmill chain export ledger.chain ledger.bmdump
      For whoever wants to validate the ledger.
  blockmill chain export headers.chain - | blockmill validate -
      Through a pipe.";

#[derive(Debug, Args)]
#[command(after_help = EXPORT_HELP)]
pub(super) struct ExportArgs {
    /// The chain file.
    #[arg(value_name = "FILE")]
    pub(super) file: PathBuf,

    /// The dump to write, or - for standard output.
    #[arg(value_name = "OUT")]
    pub(super) out: PathBuf,

    /// Replace OUT if it is there, and an OUT.part that a killed run left.
    #[arg(long)]
    pub(super) force: bool,
}

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// The chain file.
    #[arg(value_name = "FILE")]
    pub(super) file: PathBuf,

    /// Check only that the bytes are those that were committed: checksums, digest and slots.
    #[arg(long)]
    pub(super) quick: bool,

    /// CPU threads; by default one for each core.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(super) threads: Option<u16>,

    /// How to write the report.
    #[arg(long, value_enum, default_value = "human")]
    pub(super) format: Format,
}

#[derive(Debug, Args)]
pub(super) struct DevicesArgs {
    /// How to write the list.
    #[arg(long, value_enum, default_value = "human")]
    pub(super) format: Format,
}

const BENCH_HELP: &str = "\
Examples:
  blockmill bench
      Every suite on the CPU and on every graphics card.
  blockmill bench --suite headers --device software
      One suite, and the software adapter too, which never counts as a GPU.";

#[derive(Debug, Args)]
#[command(after_help = BENCH_HELP)]
pub(super) struct BenchArgs {
    /// The suites to run; all of them by default.
    #[arg(long, value_enum, value_name = "NAME")]
    pub(super) suite: Vec<SuiteName>,

    /// A further device to measure, such as `software`; graphics cards are measured anyway.
    #[arg(long, value_name = "ID")]
    pub(super) device: Vec<String>,

    /// CPU threads; by default one for each core.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(super) threads: Option<u16>,

    /// Shorter runs and fewer batch sizes, for a first impression.
    #[arg(long)]
    pub(super) quick: bool,

    /// How to write the results.
    #[arg(long, value_enum, default_value = "human")]
    pub(super) format: Format,
}

/// A suite of `bench`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum SuiteName {
    /// Nonces tried for a header.
    #[cfg(feature = "mine")]
    Search,
    /// Header ids.
    Headers,
    /// Nodes of Bitcoin's Merkle trees.
    Merkle,
}

fn activation_height(text: &str) -> Result<(String, u32), String> {
    let (name, height) = text.split_once('@').ok_or("write NAME@HEIGHT, such as bip34@2")?;
    let height = height.parse().map_err(|_| format!("'{height}' is no height"))?;
    Ok((name.into(), height))
}

fn percentage(text: &str) -> Result<CrossCheck, String> {
    let number = text.strip_suffix('%').unwrap_or(text);
    let percent = f64::from_str(number).map_err(|_| format!("'{text}' is no percentage"))?;
    CrossCheck::percent(percent).ok_or_else(|| format!("{percent} % is not between 0 and 100"))
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
