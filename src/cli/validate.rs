//! `blockmill validate`.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::bitcoin::Params;
use crate::compute::select::{Job, Wish, select};
use crate::compute::{Backend, CrossCheck};
use crate::dump::{Inputs, Kind, Progress};
use crate::error::{Error, Place};
use crate::ledger;
use crate::stages::{
    AppendTo, BlockOptions, LedgerOptions, Options, Validation, validate_blocks, validate_headers,
    validate_ledger,
};

use super::args::{Level, NetworkName, ValidateArgs};
use super::chain_file::{
    Acks, network_of, open_or_create_blocks, open_or_create_headers, open_or_create_ledger,
};
use super::interrupt::{EXIT_CODE, on_interrupt};
use super::output::{self, Format, counted, duration, grouped, scaled};
use super::report::Report;
use super::status::Status;

/// Headers in a batch: on the CPU what fits its caches, on a device what keeps it busy.
const CPU_BATCH: usize = 1 << 12;
const GPU_BATCH: usize = 1 << 17;

pub(super) fn run(args: &ValidateArgs) -> Result<u8, Error> {
    let start = Instant::now();
    let progress = Arc::new(Progress::default());
    end_on_interrupt(&progress, args.to.is_some());
    let mut backend = None;
    let (mut report, error) = match judge(args, &progress, &mut backend) {
        Ok(validation) => (Report::of(&validation), validation.error),
        Err(Error::Interrupted) => {
            output::note(&how_far(&progress, args.to.is_some()));
            return Ok(EXIT_CODE);
        }
        // Without a report to go with, `main` writes the error.
        Err(error) if args.format == Format::Human || error.exit_code() == 2 => return Err(error),
        Err(error) => (Report::failed(&error), Some(error)),
    };
    report.elapsed(start.elapsed());
    if let Some(backend) = &backend {
        report.computed_by(&**backend);
    }
    if let Some(warning) = report.warning() {
        output::warning(&warning);
    }
    if let Some(error) = error {
        output::error(&error.to_string());
    }
    match args.format {
        Format::Json => output::print_json(&report)?,
        Format::Human => output::print(&report.to_text())?,
    }
    Ok(report.exit_code())
}

fn judge(
    args: &ValidateArgs,
    progress: &Arc<Progress>,
    backend: &mut Option<Box<dyn Backend>>,
) -> Result<Validation, Error> {
    let wish = args.compute.wish()?;
    let inputs = Inputs::open(&args.dumps, args.input, Arc::clone(progress))?;
    let level = level_of(args.level, &inputs)?;
    let cross_check = args.cross_check.unwrap_or(CrossCheck::OFF);
    let job = Job::Validate { bytes: inputs.bytes_on_disk() };
    let selected = select(&wish, job, args.compute.threads(), cross_check)?;
    if let Some(note) = selected.note
        && wish == Wish::Auto
        && args.format == Format::Human
    {
        output::note(&note);
    }
    let backend = &**backend.insert(selected.backend);
    if cross_check != CrossCheck::OFF && backend.name() != "gpu" {
        output::warning("--cross-check has nothing to do: the backend is the CPU itself");
    }
    let batch = batch_size(args, backend);
    let now = args.now.unwrap_or_else(system_time);
    let overlap = args.compute.threads != Some(1);
    let rejections_max = args.rejections as usize;
    let mut acks = Acks::open(args.acks.as_ref())?;
    if level == Level::Full {
        let options = LedgerOptions {
            params: ledger_params(args)?,
            now,
            batch,
            threads: args.compute.threads(),
            overlap,
            rejections_max,
            commit_bytes: args.commit_bytes,
        };
        let _status = status_line(Arc::clone(progress), inputs.bytes_on_disk());
        let append_to = args.to.as_ref().map(|path| AppendTo {
            path: path.clone(),
            open: Box::new(|params| open_or_create_ledger(path, params)),
            committed: Box::new(|height, id| acks.committed(height, id)),
        });
        return validate_ledger(inputs, backend, &options, progress, append_to);
    }
    let network = match &args.network {
        None => args.to.as_deref().map_or(Ok(None), network_of)?,
        Some(NetworkName::Bitcoin(network)) => Some(Params::of(*network)),
        Some(NetworkName::Ledger(path)) => {
            let path = path.display();
            let message = format!("--network {path} names a ledger, and this is no dump of one");
            return Err(Error::usage(message));
        }
    };
    let options = Options {
        network,
        activation_heights: args.activation_height.clone(),
        start_height: args.start_height,
        now,
        batch,
        overlap,
        threads: args.compute.threads(),
        rejections_max,
    };
    let _status = status_line(Arc::clone(progress), inputs.bytes_on_disk());
    if level == Level::Blocks {
        let append_to = args.to.as_ref().map(|path| AppendTo {
            path: path.clone(),
            open: Box::new(|params| open_or_create_blocks(path, params)),
            committed: Box::new(|height, id| acks.committed(height, id)),
        });
        let options = BlockOptions { headers: options, commit_bytes: args.commit_bytes };
        return validate_blocks(inputs, backend, &options, progress, append_to);
    }
    let append_to = args.to.as_ref().map(|path| AppendTo {
        path: path.clone(),
        open: Box::new(|params| open_or_create_headers(path, params)),
        committed: Box::new(|height, id| acks.committed(height, id)),
    });
    validate_headers(inputs, backend, &options, progress, append_to)
}

/// The parameters that the dumps of a ledger must have, if the user named any.
fn ledger_params(args: &ValidateArgs) -> Result<Option<ledger::Params>, Error> {
    if args.start_height.is_some() {
        return Err(Error::usage("--start-height is not for ledgers: nothing is taken on trust"));
    }
    if !args.activation_height.is_empty() {
        return Err(Error::usage("--activation-height is for regtest, and this is a ledger"));
    }
    match &args.network {
        None => Ok(None),
        Some(NetworkName::Bitcoin(network)) => {
            Err(Error::usage(format!("--network {network} is Bitcoin's, and this is a ledger")))
        }
        Some(NetworkName::Ledger(path)) => read_params(path).map(Some),
    }
}

/// Reads the TOML file of a ledger's parameters.
pub(super) fn read_params(path: &Path) -> Result<ledger::Params, Error> {
    let usage = |why: String| Error::Usage {
        message: format!("{}: {why}", path.display()),
        place: Some(Place { path: path.into(), offset: 0 }),
    };
    let text = std::fs::read_to_string(path).map_err(|error| usage(error.to_string()))?;
    ledger::Params::from_toml(&text).map_err(|error| usage(error.to_string()))
}

fn batch_size(args: &ValidateArgs, backend: &dyn Backend) -> usize {
    let default = if backend.name() == "gpu" { GPU_BATCH } else { CPU_BATCH };
    args.batch.map_or(default, |batch| usize::try_from(batch).unwrap_or(usize::MAX))
}

pub(super) fn system_time() -> u64 {
    // A clock before 1970 is one that was never set: every block is then too new, and says so.
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// How thorough to be: as the user wishes, else as the input allows. A ledger is judged whole, headers at level
/// `headers` alone, and Bitcoin's blocks at that or at `blocks`.
fn level_of(wish: Option<Level>, inputs: &Inputs) -> Result<Level, Error> {
    let mut highest = None;
    for (kind, path) in inputs.kinds() {
        let usage = |message: String| {
            let place = Some(Place { path: path.into(), offset: 0 });
            Err(Error::Usage { message, place })
        };
        let allowed = match kind {
            Kind::Ledger => Level::Full,
            Kind::Blk | Kind::Block => Level::Blocks,
            Kind::Headers | Kind::Hex | Kind::Other => Level::Headers,
        };
        let is_ledger = allowed == Level::Full;
        if highest.is_some_and(|highest| (highest == Level::Full) != is_ledger) {
            let which = if is_ledger { "is" } else { "is not" };
            return usage(format!(
                "two networks in one run: {} {which} the dump of a ledger, and those before it are \
                 different",
                path.display()
            ));
        }
        match wish {
            Some(Level::Headers | Level::Blocks) if is_ledger => {
                let message = "a ledger is validated whole: leave --level out, or say full";
                return usage(message.into());
            }
            Some(Level::Blocks | Level::Full) if allowed == Level::Headers => {
                let level = if wish == Some(Level::Blocks) { "blocks" } else { "full" };
                return usage(format!(
                    "--level {level} needs block bodies, and {} holds headers alone",
                    path.display()
                ));
            }
            Some(Level::Full) if !is_ledger => {
                let message = "--level full, which needs inputs and scripts, is not there yet for \
                               Bitcoin: say blocks";
                return usage(message.into());
            }
            _ => {}
        }
        // One file of headers alone, and all is judged as such.
        let is_lower = highest == Some(Level::Headers);
        highest = Some(if is_lower { Level::Headers } else { allowed });
    }
    Ok(wish.or(highest).unwrap_or(Level::Headers))
}

fn status_line(progress: Arc<Progress>, total: Option<u64>) -> Status {
    Status::start(move |elapsed| {
        let blocks = progress.blocks.load(Relaxed);
        let height = grouped(progress.height.load(Relaxed));
        let bodies = progress.bodies.load(Relaxed);
        if bodies > 0 {
            let left = blocks.saturating_sub(bodies) as f64 * elapsed / bodies as f64;
            let percent = 100.0 * bodies as f64 / blocks.max(1) as f64;
            let (bodies, blocks) = (grouped(bodies), grouped(blocks));
            let left = duration(left);
            return format!(
                "height {height} · {bodies} of {blocks} bodies · {percent:.0} %, {left} left"
            );
        }
        let bytes = progress.bytes.load(Relaxed);
        let rate = blocks as f64 / elapsed;
        let read = match total.filter(|&total| total > 0) {
            Some(total) => {
                let left = total.saturating_sub(bytes) as f64 * elapsed / (bytes.max(1) as f64);
                let percent = 100.0 * bytes as f64 / total as f64;
                format!("{percent:.0} % of {} bytes, {} left", scaled(total as f64), duration(left))
            }
            None => format!("{} bytes read", scaled(bytes as f64)),
        };
        let blocks = grouped(blocks);
        format!("height {height} · {blocks} headers · {} headers/s · {read}", scaled(rate))
    })
}

fn end_on_interrupt(progress: &Arc<Progress>, writes: bool) {
    let (stopped, last) = (Arc::clone(progress), Arc::clone(progress));
    let how_far = Arc::new(move || how_far(&last, writes));
    on_interrupt(move || stopped.stop.store(true, Relaxed), how_far);
}

fn how_far(progress: &Progress, writes: bool) -> String {
    let blocks = counted(progress.blocks.load(Relaxed), "header");
    let stays = if writes {
        "what was committed stays, and the same command goes on from there"
    } else {
        "nothing was written"
    };
    format!("interrupted after {blocks}; {stays}")
}
