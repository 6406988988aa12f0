//! `blockmill grind`: finds the nonce of a header, and on request its version.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use crate::compute::CrossCheck;
use crate::compute::select::{Job, Wish, select};
use crate::error::Error;
use crate::miner::{Ground, HeaderRange};
use crate::primitives::{Header, Work};

use super::args::GrindArgs;
use super::interrupt::on_interrupt;
use super::output::{self, duration, grouped, scaled};
use super::status::Status;

/// The exit code of a range without a solution.
const NOT_FOUND: u8 = 1;

pub(super) fn run(args: &GrindArgs) -> Result<u8, Error> {
    let range = parse(args)?;
    let tried = Arc::new(AtomicU64::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    end_on_interrupt(range, &tried, &stop);

    let wish = args.compute.wish()?;
    let job = Job::Search { hashes: range.expected_hashes() };
    let selected = select(&wish, job, args.compute.threads(), CrossCheck::OFF)?;
    if let Some(note) = selected.note
        && wish == Wish::Auto
    {
        output::note(&note);
    }
    let backend = &*selected.backend;
    let ground = {
        let _status = status_line(range, Arc::clone(&tried));
        range.grind(backend, |done| tried.store(done, Relaxed), &stop)
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
            output::note(&format!("no solution among {}", all_of(&range)));
            NOT_FOUND
        }
        Ground::Stopped => {
            output::note(&how_far(&range, tried.load(Relaxed)));
            return Ok(super::interrupt::EXIT_CODE);
        }
    };
    // A device that was caught matters more than whether there was a solution.
    Ok(if tally.mismatches > 0 { 4 } else { code })
}

fn parse(args: &GrindArgs) -> Result<HeaderRange, Error> {
    let mut bytes = [0; Header::LEN];
    let decoded = hex::decode_to_slice(args.header.trim(), &mut bytes);
    decoded.map_err(|error| {
        let digits = args.header.trim().len();
        Error::usage(format!("a header is 160 hex digits, and this is {digits}: {error}"))
    })?;
    let header = Header::from_bytes(bytes).with_nonce(args.from);
    let range = HeaderRange::starting_at(header, args.roll_version).map_err(|why| {
        Error::usage(format!("the header's bits {} name no target: {why}", header.bits()))
    })?;
    Ok(args.count.map_or(range, |count| range.take(count)))
}

/// The headers of a range, for people.
fn all_of(range: &HeaderRange) -> String {
    let (first, last) = (range.first(), range.last());
    if first.version() == last.version() {
        return format!("nonces {} to {}", first.nonce(), last.nonce());
    }
    format!(
        "versions {:08x} to {:08x}, from nonce {} to {}",
        first.version(),
        last.version(),
        first.nonce(),
        last.nonce()
    )
}

fn end_on_interrupt(range: HeaderRange, tried: &Arc<AtomicU64>, stop: &Arc<AtomicBool>) {
    let (tried, stop) = (Arc::clone(tried), Arc::clone(stop));
    on_interrupt(
        move || stop.store(true, Relaxed),
        Arc::new(move || how_far(&range, tried.load(Relaxed))),
    );
}

fn how_far(range: &HeaderRange, tried: u64) -> String {
    let Some(rest) = range.skip(tried) else {
        return "interrupted: no solution in the whole range".into();
    };
    let first = rest.first();
    let with_header = if first.version() == range.first().version() {
        String::new()
    } else {
        format!(" and the header {}", hex::encode(first.as_bytes()))
    };
    format!(
        "interrupted: no solution among the first {} headers; go on with --from {} --count {}{with_header}",
        grouped(tried),
        first.nonce(),
        rest.count()
    )
}

fn status_line(range: HeaderRange, tried: Arc<AtomicU64>) -> Status {
    let expected: Work = range.target().work();
    Status::start(move |elapsed| {
        let tried = tried.load(Relaxed);
        let rate = tried as f64 / elapsed;
        let share = 100.0 * tried as f64 / range.count() as f64;
        let left = (range.count() - tried) as f64 / rate.max(1.0);
        format!(
            "{} nonces/s · {share:.1} % of the range, {} left · a solution takes {} on average",
            scaled(rate),
            duration(left),
            duration(expected.to_f64() / rate.max(1.0)),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::miner::VersionMask;

    #[test]
    fn an_interrupted_search_says_how_to_go_on() {
        let mut bytes = [0; Header::LEN];
        bytes[..4].copy_from_slice(&0x2000_0000i32.to_le_bytes());
        bytes[72..76].copy_from_slice(&0x1d00_ffffu32.to_le_bytes());
        let first = Header::from_bytes(bytes).with_nonce(u32::MAX - 9);
        let range = HeaderRange::starting_at(first, VersionMask::BIP320).expect("bits").take(1_000);
        let same = how_far(&range, 4);
        assert!(same.ends_with("go on with --from 4294967290 --count 996"), "{same}");
        let other = hex::encode(first.with_version(0x2000_2000).with_nonce(2).as_bytes());
        let expected = format!("go on with --from 2 --count 988 and the header {other}");
        let next = how_far(&range, 12);
        assert!(next.ends_with(&expected), "{next}");
        assert!(how_far(&range, 1_000).contains("whole range"));
    }
}
