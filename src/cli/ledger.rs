//! `blockmill ledger`: begins ledgers, signs transactions for them, and generates dumps of them.

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use crate::error::Error;
use crate::ledger::{InvalidParams, Params, future_max_of};
use crate::new_file::{Access, write_new};

use super::args::{LedgerCommand, NewArgs};
use super::output;
use super::validate::system_time;

#[cfg(feature = "mine")]
mod generate;
mod send;

/// The default half-life, in blocks on schedule: that of the aserti3-2d specification.
const HALF_LIFE_BLOCKS: u32 = 288;

/// Runs one of the commands.
pub(super) fn run(command: &LedgerCommand) -> Result<u8, Error> {
    match command {
        LedgerCommand::New(args) => new(args),
        LedgerCommand::Send(args) => send::run(args),
        #[cfg(feature = "mine")]
        LedgerCommand::Generate(args) => generate::run(args),
    }
}

fn new(args: &NewArgs) -> Result<u8, Error> {
    let text = params_toml(args, &rand::random())?;
    // What is written must be what the program reads: parsing it is the check of all values.
    let params = Params::from_toml(&text).map_err(|invalid| usage(&invalid))?;
    if args.file == Path::new("-") {
        output::print(&text)?;
        output::note(&closing_lines(args, &params));
        return Ok(0);
    }
    write_new(&args.file, text.as_bytes(), Access::Default).map_err(|error| {
        match error.kind() {
            io::ErrorKind::AlreadyExists => Error::usage(format!(
                "{} exists, and parameters are never overwritten; choose another name",
                args.file.display()
            )),
            _ => Error::Unwritable { path: args.file.clone(), source: error },
        }
    })?;
    output::print(&format!("{}\n", closing_lines(args, &params)))?;
    Ok(0)
}

/// The file, with a word on every key.
fn params_toml(args: &NewArgs, salt: &[u8; 32]) -> Result<String, Error> {
    let time = match args.time {
        Some(time) => time,
        None => u32::try_from(system_time())
            .map_err(|_| Error::usage("the clock is past 2106; --time sets the time of genesis"))?,
    };
    let spacing = args.target_spacing;
    let half_life = args.half_life.unwrap_or_else(|| spacing.saturating_mul(HALF_LIFE_BLOCKS));
    let future_max = args.future_max.map_or_else(|| future_max_of(u64::from(half_life)), u64::from);
    let rows = [
        ("format", "1".into(), "of this file"),
        ("name", toml::Value::from(args.name.as_str()).to_string(), "for people"),
        ("time", time.to_string(), "of genesis, in seconds since 1970-01-01"),
        ("salt", format!("\"{}\"", hex::encode(salt)), "makes the chain id unlike any other"),
        ("target_spacing_s", spacing.to_string(), "seconds between blocks"),
        (
            "half_life_s",
            half_life.to_string(),
            "so far behind schedule, the target is twice as easy",
        ),
        ("pow_limit", format!("\"{}\"", args.pow_limit), "the easiest target, in compact form"),
        ("subsidy", amount(args.subsidy), "new coins in a block"),
        ("halving_blocks", args.halving.to_string(), "after so many blocks, half of it"),
        ("future_max_s", future_max.to_string(), "how far a block may lie after the clock"),
        ("block_bytes_max", args.block_bytes_max.to_string(), "the largest block, header included"),
    ];
    let mut text = String::from(
        "# The parameters of a ledger. Everybody who takes part needs this file as it is: genesis and\n\
         # chain id follow from its values, and another value is another ledger.\n\n",
    );
    for (key, value, what) in rows {
        // The salt is as long as a line; its remark stands above it.
        let row = match key {
            "salt" => format!("# {what}:\n{key} = {value}\n"),
            _ => format!("{:<32} # {what}\n", format!("{key} = {value}")),
        };
        text.push_str(&row);
    }
    if !args.allocate.is_empty() {
        text.push_str("\n# Balances before the first block.\n");
    }
    for (account, balance) in &args.allocate {
        let balance = amount(*balance);
        // Writing to a string does not fail.
        let _ = write!(text, "[[allocation]]\naccount = \"{account}\"\namount = {balance}\n");
    }
    Ok(text)
}

/// An amount: an integer, or a string where TOML's integers end.
fn amount(value: u64) -> String {
    match i64::try_from(value) {
        Ok(value) => value.to_string(),
        Err(_) => format!("\"{value}\""),
    }
}

/// What is wrong, in the words of the command line.
fn usage(invalid: &InvalidParams) -> Error {
    let InvalidParams::Value { field, why } = invalid else {
        return Error::usage(invalid.to_string());
    };
    let option = match *field {
        "target_spacing_s" => "--target-spacing",
        "half_life_s" => "--half-life",
        "pow_limit" => "--pow-limit",
        "subsidy" => "--subsidy and --allocate",
        "halving_blocks" => "--halving",
        "future_max_s" => "--future-max",
        "block_bytes_max" => "--block-bytes-max",
        "allocation" => "--allocate",
        "name" => "--name",
        other => other,
    };
    Error::usage(format!("{option}: {why}"))
}

fn closing_lines(args: &NewArgs, params: &Params) -> String {
    let allocated = params.allocations().len();
    let plural = if allocated == 1 { "" } else { "s" };
    let written = match args.file.to_str() {
        Some("-") => "to standard output".into(),
        _ => args.file.display().to_string(),
    };
    format!(
        "written    {written}\n\
         ledger     {}, {allocated} allocation{plural}, a block each {} s\n\
         chain id   {}\n\
         next       give this file, as it is, to everybody who takes part, and keep the chain id to \
         compare",
        params.name(),
        params.target_spacing_s(),
        params.chain_id(),
    )
}
