//! `blockmill mine`: mines blocks of a ledger into its chain file.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::compute::select::{Job, Wish, select};
use crate::compute::{Backend, CrossCheck};
use crate::error::Error;
use crate::ledger::pending::{self, Pending};
use crate::ledger::{HeaderRules, LoadedLedger};
use crate::miner::{Effort, Mined, MiningTimes, NotMined, Template, mine_block};
use crate::stages::NotAccepted;

use super::args::MineArgs;
use super::chain_file::{Acks, open_ledger, open_or_create_ledger};
use super::interrupt::{EXIT_CODE, on_interrupt};
use super::output::{self, duration, grouped, scaled};
use super::status::Status;
use super::validate::{read_params, system_time};

/// What the status line and the last words need, kept up to date.
#[derive(Default)]
struct Counters {
    tried: AtomicU64,
    blocks: AtomicU32,
    height: AtomicU32,
    /// The expected number of hashes for the next block.
    work: AtomicU64,
    stop: AtomicBool,
}

pub(super) fn run(args: &MineArgs) -> Result<u8, Error> {
    let mut ledger = match &args.params {
        Some(params) => open_or_create_ledger(&args.chain, &read_params(params)?)?,
        None if !args.chain.exists() => return Err(no_such_file(&args.chain)),
        None => open_ledger(&args.chain)?,
    };
    let mut acks = Acks::open(args.acks.as_ref())?;
    let wish = args.compute.wish()?;
    let job = Job::Search { hashes: next_work(&ledger) * f64::from(args.blocks) };
    let selected = select(&wish, job, args.compute.threads(), CrossCheck::OFF)?;
    if let Some(note) = selected.note
        && wish == Wish::Auto
    {
        output::note(&note);
    }
    let backend = &*selected.backend;
    let counters = Arc::new(Counters::default());
    end_on_interrupt(&counters);
    let start = Instant::now();
    let mut times = MiningTimes::default();
    let ended = {
        let _status = status_line(args.blocks, Arc::clone(&counters));
        mine(args, &mut ledger, backend, &counters, &mut times, &mut acks)
    };
    if let Some(why) = &backend.tally().off {
        output::warning(&format!(
            "{} was switched off and the CPU took over: {why}",
            backend.device()
        ));
    }
    tell_what_it_took(&counters, backend, &times, start.elapsed());
    ended?;
    if counters.stop.load(Relaxed) {
        output::note(&last_words(&counters));
        return Ok(EXIT_CODE);
    }
    Ok(if backend.tally().mismatches > 0 { 4 } else { 0 })
}

fn mine(
    args: &MineArgs,
    ledger: &mut LoadedLedger,
    backend: &dyn Backend,
    counters: &Counters,
    times: &mut MiningTimes,
    acks: &mut Acks,
) -> Result<(), Error> {
    let chain_id = ledger.store.params().chain_id();
    let clock = || args.now.unwrap_or_else(system_time);
    for _ in 0..args.blocks {
        // Read anew for each block: more may have come.
        let waiting = match &args.transactions {
            Some(path) => pending::read(path, &chain_id)?,
            None => Vec::new(),
        };
        let candidates = candidates(&waiting);
        note_difficulty(ledger, counters);
        let mined = mine_block(
            ledger,
            &candidates,
            args.reward_to,
            &clock,
            backend,
            Effort { times: &mut *times, tried: &counters.tried, stop: &counters.stop },
        );
        let mined = match mined {
            Ok(mined) => mined,
            Err(NotMined::Stopped) => return Ok(()),
            Err(NotMined::NotAccepted(NotAccepted::ChainFile(source))) => {
                return Err(Error::ChainFile { path: args.chain.clone(), source });
            }
            // With a clock from the arguments, it is the arguments that make no sense.
            Err(error @ NotMined::TooEarly { .. }) if args.now.is_some() => {
                return Err(Error::usage(error.to_string()));
            }
            Err(error) => return Err(Error::Device(error.to_string())),
        };
        acks.committed(mined.height, &mined.id)?;
        counters.blocks.fetch_add(1, Relaxed);
        counters.height.store(mined.height, Relaxed);
        output::print(&line_of(&mined))?;
    }
    let Some(path) = &args.transactions else { return Ok(()) };
    tell_what_was_left(ledger, &pending::read(path, &chain_id)?);
    Ok(())
}

fn candidates(waiting: &[Pending]) -> Vec<(crate::ledger::Transaction<'_>, usize)> {
    waiting.iter().map(|each| (each.transaction(), each.encoding().len())).collect()
}

fn line_of(mined: &Mined) -> String {
    let count = mined.taken.len() as u64;
    let plural = if count == 1 { "" } else { "s" };
    format!(
        "height {}  {}  {} transaction{plural}, fees {}\n",
        grouped(mined.height.into()),
        mined.id,
        grouped(count),
        grouped(mined.fees)
    )
}

/// Says of each transaction that no block took which rule keeps it out.
fn tell_what_was_left(ledger: &LoadedLedger, waiting: &[Pending]) {
    let candidates = candidates(waiting);
    let height = ledger.tree.block(ledger.store.tip()).height() + 1;
    let template = Template::fill(ledger.store.params(), &ledger.state, height, &candidates);
    let state = &ledger.state;
    let is_done = |index: usize| {
        let (transaction, _) = &candidates[index];
        let done = transaction.sender().map(|sender| state.account(sender).nonce);
        transaction.nonce() < done
    };
    let left_out = template.left_out.iter().filter(|(index, _)| !is_done(*index));
    for (index, broken) in left_out {
        output::note(&format!(
            "not included: {}: {}: expected {}, found {}",
            waiting[*index].id(),
            broken.rule(),
            broken.expected(),
            broken.found()
        ));
    }
    if !template.taken.is_empty() {
        let count = grouped(template.taken.len() as u64);
        output::note(&format!("{count} more fit the next block"));
    }
}

fn note_difficulty(ledger: &LoadedLedger, counters: &Counters) {
    let height = ledger.tree.block(ledger.store.tip()).height();
    counters.height.store(height, Relaxed);
    counters.work.store(next_work(ledger).to_bits(), Relaxed);
}

/// How many hashes the next block takes, about.
fn next_work(ledger: &LoadedLedger) -> f64 {
    let tip = ledger.tree.block(ledger.store.tip());
    let bits = HeaderRules::new(ledger.store.params(), 0).next_bits(tip.height(), tip.time());
    bits.decode().map_or(0.0, |target| target.work().to_f64())
}

fn tell_what_it_took(
    counters: &Counters,
    backend: &dyn Backend,
    times: &MiningTimes,
    elapsed: Duration,
) {
    let elapsed_s = elapsed.as_secs_f64().max(1e-9);
    let share = |part: Duration| 100.0 * part.as_secs_f64() / elapsed_s;
    let rate = counters.tried.load(Relaxed) as f64 / times.search.as_secs_f64().max(1e-9);
    output::note(&format!(
        "mined {} in {} on {} ({}): {} hashes/s; search {:.0} %, template {:.0} %, validation \
         and disk {:.0} %",
        blocks(counters.blocks.load(Relaxed)),
        duration(elapsed_s),
        backend.name(),
        backend.device(),
        scaled(rate),
        share(times.search),
        share(times.template),
        share(times.append),
    ));
}

fn status_line(blocks: u32, counters: Arc<Counters>) -> Status {
    Status::start(move |elapsed| {
        let rate = counters.tried.load(Relaxed) as f64 / elapsed;
        let work = f64::from_bits(counters.work.load(Relaxed));
        format!(
            "height {} · {} of {} blocks · {} hashes/s · a block takes {} on average",
            grouped(counters.height.load(Relaxed).into()),
            grouped(counters.blocks.load(Relaxed).into()),
            grouped(blocks.into()),
            scaled(rate),
            duration(work / rate.max(1.0)),
        )
    })
}

fn end_on_interrupt(counters: &Arc<Counters>) {
    let (stop, last) = (Arc::clone(counters), Arc::clone(counters));
    on_interrupt(move || stop.stop.store(true, Relaxed), Arc::new(move || last_words(&last)));
}

fn last_words(counters: &Counters) -> String {
    format!(
        "interrupted after {}, and what was mined is committed; the same command goes on from there",
        blocks(counters.blocks.load(Relaxed))
    )
}

fn blocks(count: u32) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{} block{plural}", grouped(count.into()))
}

fn no_such_file(path: &Path) -> Error {
    Error::usage(format!(
        "{} is not there; to begin a ledger, name its parameters with --params",
        path.display()
    ))
}
