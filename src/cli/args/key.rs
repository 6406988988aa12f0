//! What can be typed after `blockmill key`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Args)]
pub(in crate::cli) struct KeyArgs {
    #[command(subcommand)]
    pub(in crate::cli) command: KeyCommand,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum KeyCommand {
    /// Make a secret key, keep it in a file, and print its account.
    New(KeyNewArgs),
    /// Print the account and the public key of a secret key.
    Show(KeyShowArgs),
}

/// Where the passphrase comes from. Never from an argument or the environment, which other programs
/// can see.
#[derive(Debug, Args)]
pub(in crate::cli) struct PassphraseArgs {
    /// Take the passphrase from the first line of a file, or - for standard input, instead of asking
    /// on the terminal.
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) passphrase_file: Option<PathBuf>,
}

const KEY_NEW_HELP: &str = "\
Prints the account on stdout, and nothing else there. The file is for its owner alone (mode 0600) and
encrypted; an existing one is never touched. It is PKCS#8, which `openssl pkey -in FILE` reads too.
Whoever has file and passphrase can spend; without them, nobody can, and nothing brings them back.

Examples:
  blockmill key new alice.pem
      Asks for a passphrase, twice.
  account=$(blockmill key new alice.pem --passphrase-file secret.txt)
      In a script.
  blockmill key new test.pem --no-passphrase
      Not encrypted: to try things out.";

#[derive(Debug, Args)]
#[command(after_help = KEY_NEW_HELP)]
pub(in crate::cli) struct KeyNewArgs {
    /// The file to write.
    #[arg(value_name = "FILE")]
    pub(in crate::cli) file: PathBuf,

    #[command(flatten)]
    pub(in crate::cli) passphrase: PassphraseArgs,

    /// Do not encrypt the key: whoever reads the file has it.
    #[arg(long, conflicts_with = "passphrase_file")]
    pub(in crate::cli) no_passphrase: bool,
}

const KEY_SHOW_HELP: &str = "\
An encrypted file holds nothing that is readable without its passphrase, so that is asked for.

Examples:
  blockmill key show alice.pem
      Asks for the passphrase.
  pass show ledger/alice | blockmill key show alice.pem --passphrase-file -
      From a password manager.";

#[derive(Debug, Args)]
#[command(after_help = KEY_SHOW_HELP)]
pub(in crate::cli) struct KeyShowArgs {
    /// The key: PKCS#8 of Ed25519 in PEM, as `key new` and `openssl genpkey` write it.
    #[arg(value_name = "FILE")]
    pub(in crate::cli) file: PathBuf,

    #[command(flatten)]
    pub(in crate::cli) passphrase: PassphraseArgs,
}
