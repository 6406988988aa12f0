//! What can be typed, and the help that teaches it.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::bitcoin::Network;
use crate::compute::CrossCheck;
use crate::compute::select::Wish;
use crate::dump::Kind;
use crate::error::Error;
#[cfg(feature = "mine")]
use crate::ledger::Account;
#[cfg(feature = "mine")]
use crate::miner::VersionMask;
use crate::stages::LedgerOptions;

use super::output::Format;

mod bench;
mod chain;
mod key;
mod ledger;
mod send;

pub(super) use bench::{BenchArgs, SuiteName};
pub(super) use chain::*;
pub(super) use key::{KeyArgs, KeyCommand, KeyNewArgs, KeyShowArgs, PassphraseArgs};
pub(super) use ledger::*;
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
    /// Find the nonce of a block header, and on request its version.
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
  blockmill validate ~/.bitcoin/blocks
      The block files of a node, as they lie there; those of a running node as well.
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

    /// How thorough to be; by default as the input allows: headers allow `headers`, Bitcoin's blocks
    /// `blocks`, ledgers `full`.
    #[arg(long, value_enum)]
    pub(super) level: Option<Level>,

    /// What the files hold, instead of recognising it: headers, hex, blk, block, ledger.
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

    /// Headers, or bodies, judged at a time.
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
Prints the 160 hex digits of the solved header and nothing else; the lowest nonce wins, of the lowest version.

Examples:
  blockmill grind --from 2083000000 --count 1000000 0100000000000000000000000000000000000000000000000000000000000000000000003ba3edfd7a7b12b27ac72c3e67768f617fc81bc3888a51323a9fb8aa4b1e5e4a29ab5f49ffff001d00000000
      The genesis header of the main network, from a million nonces around the known one.
  blockmill grind --device software --threads 2 HEX80
      Every nonce, on the software adapter.
  blockmill grind --roll-version HEX80
      Every nonce of every version from the header's own on, as far as BIP320 lets miners choose it.";

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

    /// How many headers to try at most; by default all that are left.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) count: Option<u64>,

    /// Once the nonces of a version are spent, go on with the next that differs in these bits alone: hex
    /// digits, and without any the bits that BIP320 leaves to miners.
    #[arg(
        long,
        value_name = "MASK",
        num_args = 0..=1,
        require_equals = true,
        default_value_t = VersionMask::NONE,
        default_missing_value = "1fffe000",
        hide_default_value = true
    )]
    pub(super) roll_version: VersionMask,

    #[command(flatten)]
    pub(super) compute: ComputeArgs,
}

#[derive(Debug, Args)]
pub(super) struct DevicesArgs {
    /// How to write the list.
    #[arg(long, value_enum, default_value = "human")]
    pub(super) format: Format,
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
