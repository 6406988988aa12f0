//! What can be typed after `blockmill chain`.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Subcommand};

use crate::ledger::Account;
use crate::primitives::Hash256;

use crate::cli::output::Format;

#[derive(Debug, Args)]
pub(in crate::cli) struct ChainArgs {
    #[command(subcommand)]
    pub(in crate::cli) command: ChainCommand,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum ChainCommand {
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
pub(in crate::cli) struct ShowArgs {
    /// The chain file.
    #[arg(value_name = "FILE")]
    pub(in crate::cli) file: PathBuf,

    /// A block, with its transactions.
    #[arg(long, value_name = "HEIGHT|ID", group = "what")]
    pub(in crate::cli) block: Option<BlockName>,

    /// A transaction of a ledger, with its block.
    #[arg(long, value_name = "ID", group = "what")]
    pub(in crate::cli) transaction: Option<Hash256>,

    /// An account of a ledger: its balance, its next nonce and its history.
    #[arg(long, value_name = "ACCOUNT", group = "what")]
    pub(in crate::cli) account: Option<Account>,

    /// How to write it.
    #[arg(long, value_enum, default_value = "human")]
    pub(in crate::cli) format: Format,
}

/// What names a block.
#[derive(Clone, Copy, Debug)]
pub(in crate::cli) enum BlockName {
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
pub(in crate::cli) struct ExportArgs {
    /// The chain file.
    #[arg(value_name = "FILE")]
    pub(in crate::cli) file: PathBuf,

    /// The dump to write, or - for standard output.
    #[arg(value_name = "OUT")]
    pub(in crate::cli) out: PathBuf,

    /// Replace OUT if it is there, and an OUT.part that a killed run left.
    #[arg(long)]
    pub(in crate::cli) force: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct CheckArgs {
    /// The chain file.
    #[arg(value_name = "FILE")]
    pub(in crate::cli) file: PathBuf,

    /// Check only that the bytes are those that were committed: checksums, digest and slots.
    #[arg(long)]
    pub(in crate::cli) quick: bool,

    /// CPU threads; by default one for each core.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(in crate::cli) threads: Option<u16>,

    /// How to write the report.
    #[arg(long, value_enum, default_value = "human")]
    pub(in crate::cli) format: Format,
}
