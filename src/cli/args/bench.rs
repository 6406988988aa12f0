//! What can be typed behind `bench`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::cli::output::Format;

const BENCH_HELP: &str = "\
Examples:
  blockmill bench
      Every suite on the CPU and on every graphics card.
  blockmill bench --suite headers --device software
      One suite, and the software adapter too, which never counts as a GPU.
  blockmill bench --format json > old.json
  blockmill bench --compare old.json --threshold 10
      Two runs side by side; exit code 1 if a figure is more than 10 % below the old one.
  blockmill bench --results old.json --html old.html
      Charts of a run that was kept.";

#[derive(Debug, Args)]
#[command(after_help = BENCH_HELP)]
pub(in crate::cli) struct BenchArgs {
    /// The suites to run; all of them by default.
    #[arg(long, value_enum, value_name = "NAME")]
    pub(in crate::cli) suite: Vec<SuiteName>,

    /// A further device to measure, such as `software`; graphics cards are measured anyway.
    #[arg(long, value_name = "ID")]
    pub(in crate::cli) device: Vec<String>,

    /// CPU threads; by default one for each core.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(in crate::cli) threads: Option<u16>,

    /// Shorter runs and fewer batch sizes, for a first impression.
    #[arg(long)]
    pub(in crate::cli) quick: bool,

    /// A remark on the circumstances, for whoever reads the results.
    #[arg(long, value_name = "TEXT")]
    pub(in crate::cli) note: Option<String>,

    /// Where the suite `append` writes its files; by default the folder for temporary files.
    #[arg(long, value_name = "FOLDER")]
    pub(in crate::cli) folder: Option<PathBuf>,

    /// Take the results from this document of `--format json` instead of measuring.
    #[arg(long, value_name = "FILE",
        conflicts_with_all = ["suite", "device", "threads", "quick", "note", "folder"])]
    pub(in crate::cli) results: Option<PathBuf>,

    /// Compare with this document of `--format json`; exit code 1 if a figure is slower.
    #[arg(long, value_name = "OLD")]
    pub(in crate::cli) compare: Option<PathBuf>,

    /// How many percent below the old figure is slower.
    #[arg(long, value_name = "PERCENT", default_value_t = 20.0, value_parser = threshold,
        requires = "compare")]
    pub(in crate::cli) threshold: f64,

    /// Write charts to this file, one page that needs nothing else.
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) html: Option<PathBuf>,

    /// Replace the file of `--html` if it exists.
    #[arg(long, requires = "html")]
    pub(in crate::cli) force: bool,

    /// How to write the results.
    #[arg(long, value_enum, default_value = "human")]
    pub(in crate::cli) format: Format,
}

/// A suite of `bench`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum SuiteName {
    /// Nonces tried for a header.
    #[cfg(feature = "mine")]
    Search,
    /// Header ids.
    Headers,
    /// Nodes of Bitcoin's Merkle trees.
    Merkle,
    /// Messages of 64, 250 and 1,024 bytes.
    Hash,
    /// Ed25519 signatures.
    Signatures,
    /// Whole chains from a file, by every rule.
    Validate,
    /// Commits of a chain file.
    Append,
}

fn threshold(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').unwrap_or(text);
    let percent: f64 = number.parse().map_err(|_| format!("'{text}' is no percentage"))?;
    let is_one = (0.0..100.0).contains(&percent);
    is_one.then_some(percent).ok_or_else(|| format!("{percent} % is not from 0 to below 100"))
}
