//! What can be typed after `blockmill ledger send`.

use std::path::PathBuf;

use clap::{ArgGroup, Args};

use crate::ledger::Account;

use super::PassphraseArgs;

const SEND_HELP: &str = "\
Prints the transaction id on stdout, and nothing else there. The nonce is the sender's next one after
the chain and what already waits in the file; several senders at once do not take the same one.
Nothing is appended that is known to fail: a wrong length, an amount above the balance, a file of
another chain.

With --params alone only the start of the ledger is known: the allocations are the balances and the
first nonce is 0. For an account that has made transactions since, give --nonce; the balance is then
not known, and not judged.

Examples:
  blockmill ledger send --key alice.pem --pending wait.jsonl --params club.toml \\
      --to bm1... --amount 500 --fee 1 --memo 'for the book'
      A transfer.
  blockmill ledger send --key alice.pem --pending wait.jsonl --params club.toml \\
      --record review --payload '{\"isbn\": \"9780131103627\", \"stars\": 5}'
      A record, for the application `review`.
  gpg --detach-sign < deed.pdf | blockmill ledger send --key alice.pem --pending wait.jsonl \\
      --params club.toml --record notary --payload-file -
      A record of bytes from a pipe.";

#[derive(Debug, Args)]
#[command(
    after_help = SEND_HELP,
    group = ArgGroup::new("ledger").args(["chain", "params"]).required(true),
    group = ArgGroup::new("what").args(["to", "record"]).required(true),
    group = ArgGroup::new("data").args(["payload", "payload_file"]),
)]
pub(in crate::cli) struct SendArgs {
    /// The sender's secret key.
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) key: PathBuf,

    #[command(flatten)]
    pub(in crate::cli) passphrase: PassphraseArgs,

    /// The file of pending transactions to append to; it is begun if it is not there.
    #[arg(long, value_name = "P.jsonl")]
    pub(in crate::cli) pending: PathBuf,

    /// The ledger, by its chain file.
    #[arg(long, value_name = "CHAINFILE")]
    pub(in crate::cli) chain: Option<PathBuf>,

    /// The ledger, by its parameters.
    #[arg(long, value_name = "PARAMS.toml")]
    pub(in crate::cli) params: Option<PathBuf>,

    /// Who is paid: makes it a transfer.
    #[arg(long, value_name = "ACCOUNT", requires = "amount")]
    pub(in crate::cli) to: Option<Account>,

    /// How much.
    #[arg(long, value_name = "N", requires = "to")]
    pub(in crate::cli) amount: Option<u64>,

    /// What the miner gets besides.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(in crate::cli) fee: u64,

    /// A remark that everybody can read, at most 256 bytes.
    #[arg(long, value_name = "TEXT", requires = "to", conflicts_with = "memo_hex")]
    pub(in crate::cli) memo: Option<String>,

    /// A remark of any bytes.
    #[arg(long, value_name = "HEX", requires = "to")]
    pub(in crate::cli) memo_hex: Option<String>,

    /// The application's tag, 1 to 32 bytes: makes it a record.
    #[arg(long, value_name = "TAG", requires = "data")]
    pub(in crate::cli) record: Option<String>,

    /// What is recorded, at most 4096 bytes that everybody can read.
    #[arg(long, value_name = "TEXT", requires = "record")]
    pub(in crate::cli) payload: Option<String>,

    /// What is recorded, from a file, or - for standard input.
    #[arg(long, value_name = "FILE", requires = "record")]
    pub(in crate::cli) payload_file: Option<PathBuf>,

    /// The number of transactions the sender made before, instead of finding it out.
    #[arg(long, value_name = "N")]
    pub(in crate::cli) nonce: Option<u64>,
}
