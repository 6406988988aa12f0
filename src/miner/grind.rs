//! The search for a header's nonce, in stretches that can be interrupted.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crate::compute::{Backend, SearchJob};
use crate::primitives::{Header, Target};

/// A header and the nonces to try.
#[derive(Clone, Copy, Debug)]
pub struct Grind {
    /// The header; its own nonce is ignored.
    pub header: Header,
    /// What its id must meet.
    pub target: Target,
    /// The first nonce to try.
    pub first: u32,
    /// The last nonce to try, not below the first.
    pub last: u32,
}

/// How a grind ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ground {
    /// With the solved header, of the lowest winning nonce.
    Found(Header),
    /// Without a solution in the range.
    Exhausted,
    /// Before the end of the range, because it was told to.
    Stopped,
}

impl Grind {
    /// How many hashes it will take, about: as many as the target asks for, or the whole range.
    #[must_use]
    pub fn expected_hashes(&self) -> f64 {
        self.target.work().to_f64().min(self.count() as f64)
    }

    /// The number of nonces in the range.
    #[must_use]
    pub fn count(&self) -> u64 {
        u64::from(self.last) - u64::from(self.first) + 1
    }

    /// The nonce after the first `tried`, if the range has one.
    #[must_use]
    pub fn next_after(&self, tried: u64) -> Option<u32> {
        let next = u64::from(self.first) + tried;
        u32::try_from(next).ok().filter(|next| *next <= self.last)
    }

    /// Tries one stretch after the other, lowest nonces first; tells `tried` now and then how many are
    /// tried, and at the end how many were; ends early once `stop` is set.
    pub fn run(&self, backend: &dyn Backend, tried: impl Fn(u64), stop: &AtomicBool) -> Ground {
        grind_in_turn(&mut std::iter::once(*self), backend, &tried, stop)
    }
}

/// Grinds one header after the other until one is solved, as [`Grind::run`] does one; counts are those of
/// all together.
///
/// A header is asked for while the last nonces of the one before are on their way, so that the hardware
/// never waits for it.
pub(super) fn grind_in_turn(
    grinds: &mut dyn Iterator<Item = Grind>,
    backend: &dyn Backend,
    tried: &dyn Fn(u64),
    stop: &AtomicBool,
) -> Ground {
    let mut stretches =
        Stretches { grinds, backend, tried, stop, rest: None, asked: 0, latest: Vec::new() };
    while let Some((job, nonce)) = backend.search_in_turn(&mut stretches) {
        if let Some((tries, header)) = stretches.confirm(&job, nonce) {
            tried(tries);
            return Ground::Found(header);
        }
    }
    tried(stretches.asked);
    if stop.load(Relaxed) { Ground::Stopped } else { Ground::Exhausted }
}

/// The stretches that may be under way when another is asked for, that one included.
const UNDER_WAY_MAX: usize = 2;

/// Headers cut into stretches of nonces, as a backend asks for them.
struct Stretches<'a> {
    grinds: &'a mut dyn Iterator<Item = Grind>,
    backend: &'a dyn Backend,
    tried: &'a dyn Fn(u64),
    stop: &'a AtomicBool,
    /// What is left of the header of the last stretch.
    rest: Option<Grind>,
    /// The nonces of all stretches so far.
    asked: u64,
    /// The last stretches, each with the number of nonces before it.
    latest: Vec<(u64, SearchJob)>,
}

impl Iterator for Stretches<'_> {
    type Item = SearchJob;

    fn next(&mut self) -> Option<SearchJob> {
        if self.stop.load(Relaxed) {
            return None;
        }
        let grind = self.rest.take().or_else(|| self.grinds.next())?;
        let Grind { header, target, first, .. } = grind;
        let span = self.backend.search_span().max(1);
        let last = first.saturating_add(span - 1).min(grind.last);
        if last < grind.last {
            self.rest = Some(Grind { first: last + 1, ..grind });
        }
        let job = SearchJob { header, target, first, last };
        self.latest.push((self.asked, job));
        if self.latest.len() > UNDER_WAY_MAX {
            self.latest.remove(0);
        }
        // All but those that may be under way still.
        (self.tried)(self.latest[0].0);
        self.asked += job.count();
        Some(job)
    }
}

impl Stretches<'_> {
    /// The lowest winner from `job` on, of which the backend says that `nonce` is one, and the nonces up to
    /// it. `None` if no stretch so far holds one.
    fn confirm(&mut self, job: &SearchJob, nonce: u32) -> Option<(u64, Header)> {
        let from = self.latest.iter().position(|(_, latest)| latest == job).unwrap_or(0);
        let latest = self.latest.split_off(from);
        latest.into_iter().enumerate().find_map(|(index, (before, job))| {
            // Those behind the first were under way, and nobody has seen what came of it.
            let said = if index == 0 { Some(nonce) } else { self.backend.search(&job) };
            let nonce = winner(self.backend, &job, said?)?;
            Some((before + u64::from(nonce - job.first) + 1, job.header.with_nonce(nonce)))
        })
    }
}

/// The lowest winner by what the backend said, and never one that does not win: the CPU has the last word.
fn winner(backend: &dyn Backend, job: &SearchJob, mut said: u32) -> Option<u32> {
    for is_last in [false, true] {
        if job.nonces().contains(&said) && job.is_won_by(said) {
            return Some(said);
        }
        // A device is off after this; asked again, the backend computes on the CPU.
        backend.was_wrong(format!("nonce {said} was found, and does not win"));
        if !is_last {
            said = backend.search(job)?;
        }
    }
    job.nonces().find(|&nonce| job.is_won_by(nonce))
}
