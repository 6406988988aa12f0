//! `blockmill bench`: the same work on every backend, side by side.

mod charts;
mod compare;
mod document;
mod html;
mod machine;
mod run;

use std::sync::Arc;

use crate::error::Error;

use super::args::BenchArgs;
use super::interrupt::on_interrupt;
use super::output::{self, ErrorReport, Format};
use super::output_file::OutputFile;
use super::validate::system_time;
use compare::Comparison;
use document::Document;

/// Runs the command.
pub(super) fn run(args: &BenchArgs) -> Result<u8, Error> {
    match measured(args) {
        Err(error) if args.format == Format::Json && error.exit_code() != 2 => {
            output::error(&error.to_string());
            let document = Document { error: Some(ErrorReport::of(&error)), ..Document::empty() };
            output::print_json(&document)?;
            Ok(error.exit_code())
        }
        ended => ended,
    }
}

fn measured(args: &BenchArgs) -> Result<u8, Error> {
    // Whatever is wrong with the files is said before anything is measured.
    let old = args.compare.as_deref().map(Document::read).transpose()?;
    let kept = args.results.as_deref().map(Document::read).transpose()?;
    let mut page = page(args)?;
    let part = page.as_ref().and_then(OutputFile::part_path);
    let last_words = move || {
        if let Some(part) = &part {
            let _ = std::fs::remove_file(part);
        }
        "interrupted".into()
    };
    on_interrupt(|| (), Arc::new(last_words));
    let mut document = match kept {
        Some(kept) => {
            if args.format == Format::Human {
                kept.suites.iter().try_for_each(|suite| output::print(&suite.to_text()))?;
            }
            kept
        }
        None => measure(args)?,
    };
    if let Some(old) = &old {
        document.comparison = Some(Comparison::new(old, &document, args.threshold)?);
    }
    if let Some(page) = page.take() {
        write_page(page, &document)?;
    }
    print(args, &document)?;
    let is_slower = document.comparison.as_ref().is_some_and(Comparison::is_slower);
    Ok(match (document.has_disagreements(), is_slower) {
        (true, _) => 4,
        (false, true) => 1,
        (false, false) => 0,
    })
}

/// The file of `--html`, if there shall be one.
fn page(args: &BenchArgs) -> Result<Option<OutputFile>, Error> {
    match &args.html {
        None => Ok(None),
        // The results go there.
        Some(name) if name.as_os_str() == "-" => Err(Error::usage("--html takes a file, not -")),
        Some(name) => OutputFile::create(name, args.force).map(Some),
    }
}

fn write_page(mut page: OutputFile, document: &Document) -> Result<(), Error> {
    let text = html::page(document);
    let written = std::io::Write::write_all(page.writer(), text.as_bytes());
    written.map_err(|error| page.error(error))?;
    page.complete()
}

fn measure(args: &BenchArgs) -> Result<Document, Error> {
    Ok(Document {
        version: Some(env!("CARGO_PKG_VERSION").into()),
        date: Some(machine::iso_time(system_time())),
        command: Some(machine::command_line(
            std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()),
        )),
        quick: Some(args.quick),
        note: args.note.clone(),
        machine: Some(machine::this_machine()),
        suites: run::suites(args)?,
        ..Document::empty()
    })
}

/// Prints what was not printed while it was measured.
fn print(args: &BenchArgs, document: &Document) -> Result<(), Error> {
    if args.format == Format::Json {
        return output::print_json(document);
    }
    if document.results().any(|(_, result)| result.software) {
        output::print("A software adapter runs on the CPU: its rates are not a GPU's.\n")?;
    }
    if let Some(comparison) = &document.comparison {
        output::print(&comparison.to_text())?;
    }
    Ok(())
}
