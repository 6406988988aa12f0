//! The search for one header's nonce, in stretches that can be interrupted.

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

    /// Tries one stretch after the other, lowest nonces first; tells `tried` after each how many there
    /// were, and ends early once `stop` is set.
    pub fn run(&self, backend: &dyn Backend, tried: impl Fn(u64), stop: &AtomicBool) -> Ground {
        let span = backend.search_span().max(1);
        let mut done = 0;
        while let Some(first) = self.next_after(done) {
            if stop.load(Relaxed) {
                return Ground::Stopped;
            }
            let last = first.saturating_add(span - 1).min(self.last);
            let job = SearchJob { header: self.header, target: self.target, first, last };
            if let Some(nonce) = winner(backend, &job) {
                return Ground::Found(self.header.with_nonce(nonce));
            }
            done += job.count();
            tried(done);
        }
        Ground::Exhausted
    }
}

/// The lowest winner by the backend's word, and never one that does not win: the CPU has the last word.
fn winner(backend: &dyn Backend, job: &SearchJob) -> Option<u32> {
    for _ in 0..2 {
        let nonce = backend.search(job)?;
        if job.nonces().contains(&nonce) && job.is_won_by(nonce) {
            return Some(nonce);
        }
        // A device is off after this; asked again, the backend computes on the CPU.
        backend.was_wrong(format!("nonce {nonce} was found, and does not win"));
    }
    job.nonces().find(|&nonce| job.is_won_by(nonce))
}
