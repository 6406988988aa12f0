//! The search for a header's nonce, in stretches that can be interrupted.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crate::compute::{Backend, SEARCHES_AT_ONCE, SearchJob};
use crate::primitives::{Header, Target};

/// A header and the nonces to try.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grind {
    /// The header; its own nonce is ignored.
    pub(super) header: Header,
    /// What its id must meet.
    pub(super) target: Target,
    /// The first nonce to try.
    pub(super) first: u32,
    /// The last nonce to try, not below the first.
    pub(super) last: u32,
}

/// How a grind ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ground {
    /// With the first header that is solved.
    Found(Header),
    /// Without a solution in the range.
    Exhausted,
    /// Before the end of the range, because it was told to.
    Stopped,
}

/// Tries one header after the other, in stretches of nonces, lowest first, until one is solved; tells
/// `tried` now and then how many nonces of all together are tried, and at the end how many were; ends
/// early once `stop` is set.
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
    /// The last stretches, as many as may be under way, each with the number of nonces before it.
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
        if self.latest.len() > SEARCHES_AT_ONCE {
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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::compute::Cpu;
    use crate::primitives::{CompactTarget, Hash256, HashFunction, Trees};

    /// Asks for each stretch while it is at the one before, and says of one of them that its first nonce wins.
    struct Ahead {
        cpu: Cpu,
        lie: Mutex<Option<u32>>,
    }

    impl Backend for Ahead {
        fn name(&self) -> &'static str {
            "ahead"
        }
        fn device(&self) -> String {
            String::new()
        }
        fn header_ids(&self, _: &[Header], _: &mut [Hash256]) {}
        fn merkle_roots(&self, _: &Trees, _: &mut [Hash256]) {}
        fn hash_messages(&self, _: HashFunction, _: &[&[u8]], _: &mut [Hash256]) {}
        fn rfc6962_roots(&self, _: &Trees, _: &mut [Hash256]) {}
        fn search(&self, job: &SearchJob) -> Option<u32> {
            self.cpu.search(job)
        }
        fn search_in_turn(
            &self,
            jobs: &mut dyn Iterator<Item = SearchJob>,
        ) -> Option<(SearchJob, u32)> {
            let mut next = jobs.next();
            while let Some(job) = next {
                next = jobs.next();
                let lie = self.lie.lock().expect("one thread").take_if(|lie| *lie == job.first);
                if let Some(nonce) = lie.or_else(|| self.search(&job)) {
                    return Some((job, nonce));
                }
            }
            None
        }
        fn search_span(&self) -> u32 {
            1 << 10
        }
    }

    /// Block 100000 of Bitcoin's main network, under a target that one in 65,536 ids meets.
    fn grind(first: u32, last: u32) -> Grind {
        let target = CompactTarget::from_bits(0x1f00_ffff).decode().expect("valid bits");
        Grind { header: crate::compute::published_header(), target, first, last }
    }

    fn run(grinds: &[Grind], backend: &dyn Backend, tried: &dyn Fn(u64)) -> Ground {
        grind_in_turn(&mut grinds.iter().copied(), backend, tried, &AtomicBool::new(false))
    }

    #[test]
    fn a_wrong_answer_loses_no_stretch_that_is_under_way_behind_it() {
        let cpu = || Cpu::new(1).expect("a thread");
        let honest = run(&[grind(0, u32::MAX)], &cpu(), &|_| ());
        let Ground::Found(right) = honest else { panic!("one in 65,536 wins") };
        let stretch = right.nonce() >> 10 << 10;
        assert!(stretch >= 4 << 10, "there are stretches before it");
        // In the winner's own stretch, in the one before, which ends with the winner's under way, and
        // before that.
        for lie in [0, 1, 2, 4].map(|before| stretch - (before << 10)) {
            let backend = Ahead { cpu: cpu(), lie: Mutex::new(Some(lie)) };
            let tried = std::cell::Cell::new(0);
            let ground = run(&[grind(0, u32::MAX)], &backend, &|count| tried.set(count));
            assert_eq!(ground, Ground::Found(right), "{lie}");
            assert_eq!(tried.get(), u64::from(right.nonce()) + 1);
            assert!(backend.lie.lock().expect("one thread").is_none(), "it lied");
        }
    }

    #[test]
    fn headers_are_ground_in_turn_and_counted_together() {
        let cpu = Cpu::new(1).expect("a thread");
        let ground = run(&[grind(0, u32::MAX)], &cpu, &|_| ());
        let Ground::Found(right) = ground else { panic!("one in 65,536 wins") };
        let loses = grind(0, right.nonce() - 1);
        let count = u64::from(right.nonce());
        let tried = std::cell::Cell::new(0);
        let run = |grinds: &[Grind]| run(grinds, &cpu, &|count| tried.set(count));
        assert_eq!(run(&[loses, loses]), Ground::Exhausted);
        assert_eq!(tried.get(), 2 * count);
        let found = run(&[loses, grind(0, u32::MAX), loses]);
        assert_eq!(found, Ground::Found(right));
        assert_eq!(tried.get(), 2 * count + 1);
    }
}
