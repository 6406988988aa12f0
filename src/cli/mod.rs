//! The command line: one file per command.
//!
//! Results go to stdout, everything else to stderr; progress only if stderr is a terminal.

mod args;
mod bench;
mod chain;
mod chain_file;
mod devices;
#[cfg(feature = "mine")]
mod grind;
mod interrupt;
mod key;
mod ledger;
#[cfg(feature = "mine")]
mod mine;
mod output;
mod output_file;
mod passphrase;
mod report;
mod status;
mod validate;

use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command};

/// Parses the arguments, runs the command, and says how it ended.
#[must_use]
pub fn main() -> ExitCode {
    crate::keep_freed_memory();
    // clap ends the process itself, with 2, when the arguments make no sense.
    let ended = match Cli::parse().command {
        Command::Validate(args) => validate::run(&args),
        #[cfg(feature = "mine")]
        Command::Grind(args) => grind::run(&args),
        #[cfg(feature = "mine")]
        Command::Mine(args) => mine::run(&args),
        Command::Ledger(args) => ledger::run(&args.command),
        Command::Chain(args) => chain::run(&args.command),
        Command::Key(args) => key::run(&args.command),
        Command::Devices(args) => devices::run(&args),
        Command::Bench(args) => bench::run(&args),
    };
    match ended {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            output::error(&error.to_string());
            ExitCode::from(error.exit_code())
        }
    }
}
