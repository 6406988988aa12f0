//! `blockmill chain check`.

use serde::Serialize;

use crate::bitcoin::LoadedHeaders;
use crate::chain::file::{AnyStorage, ChainFile, ChainFileError, FileLevel};
use crate::cli::args::CheckArgs;
use crate::cli::output::{self, ErrorReport, Format};
use crate::compute::Cpu;
use crate::error::Error;
use crate::stages::{check_blocks, check_ledger};

use super::summary::Summary;
use super::{end_on_interrupt, failed, open, tell_of_opening};

/// The document.
#[derive(Debug, Serialize)]
struct Report {
    schema: u32,
    /// `valid` or `damaged`; null if it could not be told.
    verdict: Option<&'static str>,
    /// `all`, or with `--quick` `bytes`.
    checked: &'static str,
    #[serde(flatten)]
    summary: Summary,
    opening: Option<OpeningReport>,
    error: Option<ErrorReport>,
}

/// What opening the file found besides its contents.
#[derive(Debug, Serialize)]
struct OpeningReport {
    bad_slot: Option<char>,
    kept: u64,
    dropped: u64,
}

/// Runs the command.
pub(super) fn run(args: &CheckArgs) -> Result<u8, Error> {
    end_on_interrupt();
    let mut report = Report {
        schema: 1,
        verdict: None,
        checked: if args.quick { "bytes" } else { "all" },
        summary: Summary::new(&args.file),
        opening: None,
        error: None,
    };
    let code = match check(args, &mut report) {
        Ok(()) => {
            report.verdict = Some("valid");
            0
        }
        Err(error) => {
            if let Error::ChainFile { source: ChainFileError::Damaged { .. }, .. } = error {
                report.verdict = Some("damaged");
            }
            output::error(&error.to_string());
            report.error = Some(ErrorReport::of(&error));
            error.exit_code()
        }
    };
    match args.format {
        Format::Json => output::print_json(&report)?,
        Format::Human => output::print(&report.to_text())?,
    }
    Ok(code)
}

fn check(args: &CheckArgs, report: &mut Report) -> Result<(), Error> {
    let (storage, head) = open(&args.file)?;
    report.summary.read_head(&head);
    let failed = failed(&args.file);
    if args.quick {
        let file = ChainFile::open(storage, |_, _, _, _| Ok(())).map_err(failed)?;
        report.summary.read_commit(&file);
        return report.opened(args, &file);
    }
    if !head.is_ledger && head.level == FileLevel::Headers {
        let loaded = LoadedHeaders::open(storage).map_err(failed)?;
        report.summary.read_headers(&loaded);
        return report.opened(args, loaded.store.file());
    }
    let threads = usize::from(args.threads.unwrap_or(0));
    let cpu = Cpu::new(threads).map_err(|error| Error::Device(error.to_string()))?;
    if !head.is_ledger {
        let loaded = check_blocks(&args.file, storage, &cpu, threads)?;
        report.summary.read_blocks(&loaded);
        return report.opened(args, loaded.store.file());
    }
    let loaded = check_ledger(&args.file, storage, &cpu, threads)?;
    report.summary.read_ledger(&loaded);
    report.opened(args, loaded.store.file())
}

impl Report {
    /// Learns what opening found. A slot that does not hold is damage, though the other one holds.
    fn opened(&mut self, args: &CheckArgs, file: &ChainFile<AnyStorage>) -> Result<(), Error> {
        let opening = file.opening();
        let (kept, dropped) = (opening.kept, opening.dropped);
        self.opening = Some(OpeningReport { bad_slot: opening.bad_slot, kept, dropped });
        let Some((slot, offset)) = file.bad_slot() else {
            tell_of_opening(&args.file, opening);
            return Ok(());
        };
        let lost = match (kept, dropped) {
            (0, 0) => "as far as can be told, nothing that was committed is lost".into(),
            (_, 0) => format!("the {kept} bytes behind it hold as well, so nothing is lost"),
            _ => format!("of the bytes behind it, {kept} hold and {dropped} do not"),
        };
        let height = file.commit_record().tip.height;
        let what = format!("commit slot {slot} does not hold; the other one does, and {lost}");
        Err(failed(&args.file)(ChainFileError::Damaged { offset, height, what }))
    }

    fn to_text(&self) -> String {
        let mut text = match (self.verdict, self.checked) {
            (Some("valid"), "bytes") => {
                "verdict    valid: the bytes are those that were committed\n".into()
            }
            (Some("valid"), _) => {
                "verdict    valid: everything was derived and verified again\n".into()
            }
            (Some(_), _) => String::from("verdict    DAMAGED\n"),
            (None, _) => "verdict    none: the file could not be judged\n".into(),
        };
        self.summary.write(&mut text).expect("a string takes any text");
        text
    }
}
