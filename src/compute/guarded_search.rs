//! The guard's part in a search: the decoy, and the check of every hit.

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, RngExt};

use crate::primitives::{Header, Target};

use super::guard::Fault;
use super::{
    Backend, Cpu, Device, Guarded, HIT_LIST_CAPACITY, Hits, SEARCH_GROUP, SEARCHES_AT_ONCE,
    SearchDispatch, SearchJob,
};

/// How long a dispatch should take: so long that handing it over does not count, and too short for
/// anybody who works at the screen to notice, or for a watchdog to reset the device.
const DISPATCH_TIME: RangeInclusive<Duration> =
    Duration::from_millis(20)..=Duration::from_millis(50);

/// The nonces of the first dispatch, before anything is measured, if the device takes as many.
pub(super) const NONCES_AT_FIRST: u32 = 1 << 18;

/// The fewest nonces of a dispatch, unless the device takes fewer or the job has no more.
const NONCES_MIN: u32 = 1 << 14;

impl Guarded {
    /// Searches the jobs a dispatch at a time, lowest nonces first, with the next dispatch under way while
    /// the host looks at the result of the one before, also where that is the next job's.
    pub(super) fn search_in_dispatches(
        &self,
        jobs: &mut dyn Iterator<Item = SearchJob>,
    ) -> Option<(SearchJob, u32)> {
        // What is searched stays so, whoever goes on after a failure.
        let mut parts = Parts { jobs, open: VecDeque::new(), rest: None };
        let found = self.on_device(|device, rng, _| self.search_on_device(device, rng, &mut parts));
        found.unwrap_or_else(|| parts.search_on(self.cpu()))
    }

    fn search_on_device(
        &self,
        device: &mut dyn Device,
        rng: &mut StdRng,
        parts: &mut Parts<'_>,
    ) -> Result<Option<(SearchJob, u32)>, Fault> {
        let mut under_way = VecDeque::new();
        let mut free_since = Instant::now();
        loop {
            while under_way.len() < SEARCHES_AT_ONCE
                && let Some(part) = parts.get(under_way.len(), self.nonces_per_dispatch())
            {
                under_way.push_back(Search::start(device, rng, part)?);
            }
            let Some(search) = under_way.pop_front() else { return Ok(None) };
            let found = search.finish(device, self.cpu())?;
            self.tune(search.part.count(), search.since.max(free_since).elapsed());
            free_since = Instant::now();
            let job = parts.done();
            if let Some(nonce) = found {
                // The others come to an end as well, and their decoys are looked at.
                for search in under_way {
                    search.finish(device, self.cpu())?;
                }
                return Ok(Some((job, nonce)));
            }
        }
    }

    /// Learns how long a dispatch took.
    fn tune(&self, nonces: u64, took: Duration) {
        let now = self.nonces_per_dispatch();
        // The last dispatch of a range is shorter, and another call may have learnt before.
        if nonces == u64::from(now) {
            self.set_nonces_per_dispatch(tuned(now, took, self.limits().nonces));
        }
    }
}

/// The nonces of the next dispatch, after one of `now` nonces took so long.
fn tuned(now: u32, took: Duration, most: u32) -> u32 {
    if DISPATCH_TIME.contains(&took) {
        return now;
    }
    let aim = (*DISPATCH_TIME.start() + *DISPATCH_TIME.end()) / 2;
    // One measurement may be off: no step is large.
    let factor = (aim.as_secs_f64() / took.as_secs_f64().max(1e-9)).clamp(0.25, 4.0);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "conversions to integers saturate"
    )]
    let next = (f64::from(now) * factor) as u32;
    (next / SEARCH_GROUP * SEARCH_GROUP).clamp(NONCES_MIN.min(most), most)
}

/// Jobs cut into parts, each for one dispatch.
struct Parts<'a> {
    jobs: &'a mut dyn Iterator<Item = SearchJob>,
    /// The parts that were asked for and are not done, each with its job, lowest first.
    open: VecDeque<(SearchJob, SearchJob)>,
    /// The last job, and what of it is in no part yet.
    rest: Option<(SearchJob, SearchJob)>,
}

impl Parts<'_> {
    /// The part with this number among those that are not done, if there is one; a new one has `most`
    /// nonces at most.
    fn get(&mut self, number: usize, most: u32) -> Option<SearchJob> {
        if number == self.open.len() {
            let cut = self.cut(most)?;
            self.open.push_back(cut);
        }
        self.open.get(number).map(|(_, part)| *part)
    }

    fn cut(&mut self, most: u32) -> Option<(SearchJob, SearchJob)> {
        let mut jobs = &mut *self.jobs;
        let fresh = || Iterator::find(&mut jobs, |job| job.count() > 0).map(|job| (job, job));
        let (job, rest) = self.rest.take().or_else(fresh)?;
        let last = rest.first.saturating_add(most - 1).min(rest.last);
        if last < rest.last {
            self.rest = Some((job, SearchJob { first: last + 1, ..rest }));
        }
        Some((job, SearchJob { last, ..rest }))
    }

    /// The first part is done. Its job.
    fn done(&mut self) -> SearchJob {
        self.open.pop_front().expect("a part that was asked for").0
    }

    fn search_on(&mut self, cpu: &Cpu) -> Option<(SearchJob, u32)> {
        while let Some(part) = self.get(0, u32::MAX) {
            let found = cpu.search(&part);
            let job = self.done();
            if let Some(nonce) = found {
                return Some((job, nonce));
            }
        }
        None
    }
}

/// A search that is under way on a device.
struct Search {
    part: SearchJob,
    decoy: Decoy,
    since: Instant,
}

impl Search {
    fn start(device: &mut dyn Device, rng: &mut StdRng, part: SearchJob) -> Result<Self, Fault> {
        let decoy = Decoy::random(rng);
        let mut dispatch = SearchDispatch {
            header: part.header,
            target: part.target,
            first: part.first,
            // A dispatch is shorter than 2^32 nonces.
            count: part.last - part.first + 1,
            decoy: decoy.header,
            decoy_target: decoy.target,
            decoy_first: decoy.first,
            decoy_group: 0,
        };
        dispatch.decoy_group = rng.random_range(0..=dispatch.work_groups());
        let since = Instant::now();
        device.start_search(&dispatch, &mut |bytes| rng.fill_bytes(bytes))?;
        Ok(Self { part, decoy, since })
    }

    /// Waits for the search, which is the first of those under way; returns its lowest winner.
    fn finish(&self, device: &mut dyn Device, cpu: &Cpu) -> Result<Option<u32>, Fault> {
        let result = device.finish_search()?;
        self.decoy.expect_found(result.decoy)?;
        lowest_winner(&self.part, &result.header, cpu)
    }
}

/// A header whose candidates in one workgroup the CPU knows.
struct Decoy {
    header: Header,
    target: Target,
    first: u32,
    /// The candidates, lowest first; at least one.
    nonces: Vec<u32>,
}

impl Decoy {
    fn random(rng: &mut StdRng) -> Self {
        let mut bytes = [0; Header::LEN];
        rng.fill_bytes(&mut bytes);
        let header = Header::from_bytes(bytes);
        let first = rng.random_range(0..=u32::MAX - (SEARCH_GROUP - 1));
        let tops: Vec<_> = (first..=first + (SEARCH_GROUP - 1))
            .map(|nonce| (header.with_nonce(nonce).id().top_word(), nonce))
            .collect();
        // Few candidates: the device cannot guess which it may not miss.
        let mut order: Vec<_> = tops.iter().map(|&(top, _)| top).collect();
        order.sort_unstable();
        let threshold = order[rng.random_range(0..4)];
        let nonces = tops.iter().filter(|&&(top, _)| top <= threshold).map(|&(_, n)| n).collect();
        let mut target = [0xff; 32];
        target[..4].copy_from_slice(&threshold.to_be_bytes());
        Self { header, target: Target::from_be_bytes(target), first, nonces }
    }

    fn expect_found(&self, mut found: Hits) -> Result<(), Fault> {
        found.nonces.sort_unstable();
        let expected = &self.nonces;
        if found.count as usize == expected.len()
            && found.lowest == expected[0]
            && found.nonces == *expected
        {
            return Ok(());
        }
        Err(Fault::Wrong(format!(
            "a search missed known nonces: {} found of {}, lowest {}",
            found.count,
            expected.len(),
            found.lowest
        )))
    }
}

/// The lowest nonce that wins, after everything that the device said was checked.
fn lowest_winner(job: &SearchJob, hits: &Hits, cpu: &Cpu) -> Result<Option<u32>, Fault> {
    let wrong = |what: String| Err(Fault::Wrong(format!("a search returned {what}")));
    let listed = usize::try_from(hits.count).unwrap_or(usize::MAX).min(HIT_LIST_CAPACITY);
    if u64::from(hits.count) > job.count() || hits.nonces.len() != listed {
        return wrong(format!("{} hits and a list of {}", hits.count, hits.nonces.len()));
    }
    let mut nonces = hits.nonces.clone();
    nonces.sort_unstable();
    if nonces.windows(2).any(|pair| pair[0] == pair[1]) {
        return wrong("one hit twice".into());
    }
    for &nonce in nonces.iter().chain((listed > 0).then_some(&hits.lowest)) {
        let top = job.header.with_nonce(nonce).id().top_word();
        if !job.nonces().contains(&nonce) || top > job.target.top_word() {
            return wrong(format!("nonce {nonce}, which is no hit"));
        }
    }
    let overflowed = hits.count as usize > HIT_LIST_CAPACITY;
    match nonces.first() {
        // A count that lost its last bit leaves the hit's nonce behind.
        None if hits.lowest != u32::MAX => {
            return wrong(format!("no hits and {} as the lowest", hits.lowest));
        }
        None => return Ok(None),
        Some(&first) if hits.lowest > first || (!overflowed && hits.lowest != first) => {
            return wrong(format!("{} as the lowest of a list with {first}", hits.lowest));
        }
        Some(_) => {}
    }
    if job.is_won_by(hits.lowest) {
        return Ok(Some(hits.lowest));
    }
    if !overflowed {
        return Ok(nonces.into_iter().find(|&nonce| job.is_won_by(nonce)));
    }
    // More hits than the list holds, and the lowest shares the target's top word but not the rest:
    // hits are so dense that the CPU meets the next winner soon.
    Ok(hits.lowest.checked_add(1).and_then(|first| cpu.search(&SearchJob { first, ..*job })))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: u32 = 1 << 29;

    fn after(now: u32, milliseconds: u64) -> u32 {
        tuned(now, Duration::from_millis(milliseconds), MOST)
    }

    #[test]
    fn dispatches_grow_and_shrink_until_they_take_as_long_as_they_should() {
        for nonces_per_ms in [100, 10_000, 6_000_000] {
            for first in [NONCES_MIN, NONCES_AT_FIRST, MOST] {
                let mut now = first;
                for _ in 0..10 {
                    now = after(now, u64::from(now / nonces_per_ms));
                }
                let settled =
                    DISPATCH_TIME.contains(&Duration::from_millis((now / nonces_per_ms).into()));
                assert!(settled || now == NONCES_MIN, "{nonces_per_ms} {first} {now}");
                assert!(now.is_multiple_of(SEARCH_GROUP));
            }
        }
    }

    #[test]
    fn one_measurement_changes_little_and_no_limit_is_passed() {
        assert_eq!(after(1 << 20, 35), 1 << 20);
        assert_eq!(after(1 << 20, 0), 1 << 22);
        assert_eq!(after(1 << 20, 100_000), 1 << 18);
        assert_eq!(after(MOST, 0), MOST);
        assert_eq!(after(NONCES_MIN, 1000), NONCES_MIN);
        // A device that takes fewer than the fewest.
        assert_eq!(tuned(1024, Duration::from_secs(1), 1024), 1024);
    }

    #[test]
    fn parts_are_the_jobs_in_turn_and_go_on_where_they_ended() {
        let header = Header::from_bytes([0; Header::LEN]);
        let job = |first, last| SearchJob { header, target: Target::MAX, first, last };
        let empty = job(1, 0);
        let jobs = [job(u32::MAX - 9, u32::MAX), empty, job(7, 7), empty, job(3, 5)];
        let mut jobs = jobs.into_iter();
        let mut parts = Parts { jobs: &mut jobs, open: VecDeque::new(), rest: None };
        assert_eq!(parts.get(0, 8), Some(job(u32::MAX - 9, u32::MAX - 2)));
        assert_eq!(parts.get(1, 8), Some(job(u32::MAX - 1, u32::MAX)));
        // After a failure they are begun again, however much a dispatch takes by then.
        assert_eq!(parts.get(0, 2), Some(job(u32::MAX - 9, u32::MAX - 2)));
        assert_eq!(parts.done(), job(u32::MAX - 9, u32::MAX));
        assert_eq!(parts.get(0, 8), Some(job(u32::MAX - 1, u32::MAX)));
        assert_eq!(parts.get(1, 8), Some(job(7, 7)));
        assert_eq!(parts.get(2, 2), Some(job(3, 4)));
        assert_eq!(parts.get(3, 2), Some(job(5, 5)));
        assert_eq!(parts.get(4, 2), None);
        let ends = [u32::MAX, 7, 5, 5];
        assert_eq!(ends.map(|_| parts.done().last), ends);
        assert_eq!(parts.get(0, 2), None);
    }
}
