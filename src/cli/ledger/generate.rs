//! `blockmill ledger generate`: writes a synthetic dump.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use crate::cli::args::GenerateArgs;
use crate::cli::interrupt::{EXIT_CODE, on_interrupt};
use crate::cli::output::{self, duration, grouped, scaled};
use crate::cli::output_file::OutputFile;
use crate::cli::status::Status;
use crate::error::Error;
use crate::ledger::generate::{
    GenerateError, Generated, InvalidOption, Options, Progress, generate,
};

/// Runs the command.
pub(super) fn run(args: &GenerateArgs) -> Result<u8, Error> {
    let options = options(args);
    // Before any file is opened.
    options.check().map_err(|invalid| usage(&invalid))?;
    let mut file = OutputFile::create(&args.file, args.force)?;
    let progress = Arc::new(Progress::default());
    end_on_interrupt(&progress, file.part_path());
    let ended = {
        let _status = status_line(&options, Arc::clone(&progress));
        generate(&options, usize::from(args.threads.unwrap_or(0)), &progress, file.writer())
    };
    let generated = match ended {
        Ok(generated) => generated,
        Err(GenerateError::Stopped) => {
            let how_far = how_far(&progress, file.part_path());
            drop(file);
            output::note(&how_far);
            return Ok(EXIT_CODE);
        }
        Err(GenerateError::Option(invalid)) => return Err(usage(&invalid)),
        Err(GenerateError::Write(source)) => return Err(file.error(source)),
        Err(error @ GenerateError::Threads(_)) => return Err(Error::Device(error.to_string())),
    };
    file.complete()?;
    let lines = closing_lines(args, &generated);
    if args.file.to_str() == Some("-") {
        output::note(&lines);
    } else {
        output::print(&format!("{lines}\n"))?;
    }
    Ok(0)
}

fn options(args: &GenerateArgs) -> Options {
    Options {
        seed: args.seed.clone(),
        blocks: args.blocks,
        transactions: args.transactions,
        accounts: args.accounts,
        payload_bytes: args.payload,
        memo_bytes: args.memo,
        records_percent: args.records,
        forks: args.forks,
    }
}

/// The options have the names of the library's fields.
fn usage(invalid: &InvalidOption) -> Error {
    Error::usage(format!("--{invalid}"))
}

fn end_on_interrupt(progress: &Arc<Progress>, part: Option<PathBuf>) {
    let (stopped, last) = (Arc::clone(progress), Arc::clone(progress));
    let last_words = move || {
        // The work did not end in time; what it wrote goes all the same.
        if let Some(part) = &part {
            let _ = fs::remove_file(part);
        }
        how_far(&last, part.clone())
    };
    on_interrupt(move || stopped.stop.store(true, Relaxed), Arc::new(last_words));
}

fn how_far(progress: &Progress, part: Option<PathBuf>) -> String {
    let blocks = grouped(progress.blocks.load(Relaxed));
    match part {
        Some(part) => format!("interrupted after {blocks} blocks; {} is removed", part.display()),
        None => format!("interrupted after {blocks} blocks; what was written is incomplete"),
    }
}

fn status_line(options: &Options, progress: Arc<Progress>) -> Status {
    // Side branches are a few blocks more.
    let total = f64::from(options.blocks);
    Status::start(move |elapsed| {
        let blocks = progress.blocks.load(Relaxed) as f64;
        let transactions = progress.transactions.load(Relaxed) as f64;
        let bytes = progress.bytes.load(Relaxed) as f64;
        let left = (total - blocks).max(0.0) * elapsed / blocks.max(1.0);
        format!(
            "{:.0} % of the blocks · {} transactions/s · {}bytes · {} left",
            (100.0 * blocks / total).min(100.0),
            scaled(transactions / elapsed),
            scaled(bytes),
            duration(left)
        )
    })
}

fn closing_lines(args: &GenerateArgs, generated: &Generated) -> String {
    let name = match args.file.to_str() {
        Some("-") => "to standard output".into(),
        _ => args.file.display().to_string(),
    };
    format!(
        "written    {name}: {} bytes, {} blocks ({} on side branches), {} transactions and a reward \
         in each block\n\
         chain id   {}\n\
         tip        height {}, {}",
        grouped(generated.bytes),
        grouped(generated.blocks),
        grouped(generated.side_blocks),
        grouped(generated.transactions),
        generated.chain_id,
        grouped(u64::from(args.blocks)),
        generated.tip,
    )
}
