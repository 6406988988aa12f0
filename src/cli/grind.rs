//! `blockmill grind`: finds the nonce of one header.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use crate::compute::CrossCheck;
use crate::compute::select::{Job, Wish, select};
use crate::error::Error;
use crate::miner::{Grind, Ground};
use crate::primitives::{Header, Work};

use super::args::GrindArgs;
use super::interrupt::on_interrupt;
use super::output::{self, duration, grouped, scaled};
use super::status::Status;

/// The exit code of a range without a solution.
const NOT_FOUND: u8 = 1;

pub(super) fn run(args: &GrindArgs) -> Result<u8, Error> {
    let grind = parse(args)?;
    let tried = Arc::new(AtomicU64::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    end_on_interrupt(grind, &tried, &stop);

    let wish = args.compute.wish()?;
    let job = Job::Search { hashes: grind.expected_hashes() };
    let selected = select(&wish, job, args.compute.threads(), CrossCheck::OFF)?;
    if let Some(note) = selected.note
        && wish == Wish::Auto
    {
        output::note(&note);
    }
    let backend = &*selected.backend;
    let ground = {
        let _status = status_line(grind, Arc::clone(&tried));
        grind.run(backend, |done| tried.store(done, Relaxed), &stop)
    };
    let tally = backend.tally();
    if let Some(why) = &tally.off {
        output::warning(&format!(
            "{} was switched off and the CPU took over: {why}",
            backend.device()
        ));
    }
    let code = match ground {
        Ground::Found(header) => {
            output::print(&format!("{}\n", hex::encode(header.as_bytes())))?;
            0
        }
        Ground::Exhausted => {
            output::note(&format!("no solution among nonces {} to {}", grind.first, grind.last));
            NOT_FOUND
        }
        Ground::Stopped => {
            output::note(&how_far(&grind, tried.load(Relaxed)));
            return Ok(super::interrupt::EXIT_CODE);
        }
    };
    // A device that was caught matters more than whether there was a solution.
    Ok(if tally.mismatches > 0 { 4 } else { code })
}

fn parse(args: &GrindArgs) -> Result<Grind, Error> {
    let mut bytes = [0; Header::LEN];
    let decoded = hex::decode_to_slice(args.header.trim(), &mut bytes);
    decoded.map_err(|error| {
        let digits = args.header.trim().len();
        Error::usage(format!("a header is 160 hex digits, and this is {digits}: {error}"))
    })?;
    let header = Header::from_bytes(bytes);
    let target = header.bits().decode().map_err(|why| {
        Error::usage(format!("the header's bits {} name no target: {why}", header.bits()))
    })?;
    let room = (1u64 << 32) - u64::from(args.from);
    let count = args.count.unwrap_or(room).min(room);
    let last = u64::from(args.from) + count - 1;
    let last = u32::try_from(last).map_err(|_| Error::usage("nonces end at 4294967295"))?;
    Ok(Grind { header, target, first: args.from, last })
}

fn end_on_interrupt(grind: Grind, tried: &Arc<AtomicU64>, stop: &Arc<AtomicBool>) {
    let (tried, stop) = (Arc::clone(tried), Arc::clone(stop));
    on_interrupt(
        move || stop.store(true, Relaxed),
        Arc::new(move || how_far(&grind, tried.load(Relaxed))),
    );
}

fn how_far(grind: &Grind, tried: u64) -> String {
    match grind.next_after(tried) {
        Some(next) => format!(
            "interrupted: no solution among the first {} nonces; go on with --from {next} --count {}",
            grouped(tried),
            grind.count() - tried
        ),
        None => "interrupted: no solution in the whole range".into(),
    }
}

fn status_line(grind: Grind, tried: Arc<AtomicU64>) -> Status {
    let expected: Work = grind.target.work();
    Status::start(move |elapsed| {
        let tried = tried.load(Relaxed);
        let rate = tried as f64 / elapsed;
        let share = 100.0 * tried as f64 / grind.count() as f64;
        let left = (grind.count() - tried) as f64 / rate.max(1.0);
        format!(
            "{} nonces/s · {share:.1} % of the range, {} left · a solution takes {} on average",
            scaled(rate),
            duration(left),
            duration(expected.to_f64() / rate.max(1.0)),
        )
    })
}
