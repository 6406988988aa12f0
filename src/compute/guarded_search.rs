//! The guard's part in a search: the decoy, and the check of every hit.

use std::cell::Cell;
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

/// The dispatches that one call takes well: nothing is under way between two calls, and few enough
/// pass that the caller is asked soon whether to go on.
pub(super) const DISPATCHES_PER_CALL: u32 = 8;

impl Guarded {
    /// Searches the job's range a dispatch at a time, lowest nonces first, with the next dispatch under
    /// way while the host looks at the result of the one before.
    pub(super) fn search_in_dispatches(&self, job: &SearchJob) -> Option<u32> {
        // What is searched stays so, whoever goes on after a failure.
        let done = Cell::new(0);
        self.batch(
            |device, rng, _| self.search_on_device(device, rng, job, &done),
            |cpu| from(job, done.get()).and_then(|rest| cpu.search(&rest)),
        )
    }

    /// The lowest winner behind the first `done` nonces, a count that it keeps.
    fn search_on_device(
        &self,
        device: &mut dyn Device,
        rng: &mut StdRng,
        job: &SearchJob,
        done: &Cell<u64>,
    ) -> Result<Option<u32>, Fault> {
        let mut started = done.get();
        let mut under_way = VecDeque::new();
        let mut free_since = Instant::now();
        loop {
            while under_way.len() < SEARCHES_AT_ONCE
                && let Some(rest) = from(job, started)
            {
                let most = self.nonces_per_dispatch() - 1;
                let last = rest.first.saturating_add(most).min(rest.last);
                let part = SearchJob { last, ..rest };
                under_way.push_back(Search::start(device, rng, part)?);
                started += part.count();
            }
            let Some(search) = under_way.pop_front() else { return Ok(None) };
            let found = search.finish(device, self.cpu())?;
            self.tune(search.part.count(), search.since.max(free_since).elapsed());
            free_since = Instant::now();
            if found.is_some() {
                // The others come to an end as well, and their decoys are looked at.
                for search in under_way {
                    search.finish(device, self.cpu())?;
                }
                return Ok(found);
            }
            done.set(done.get() + search.part.count());
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

/// The job without its first `done` nonces, if that leaves any.
fn from(job: &SearchJob, done: u64) -> Option<SearchJob> {
    let first = u32::try_from(u64::from(job.first) + done).ok()?;
    (first <= job.last).then_some(SearchJob { first, ..*job })
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
    fn what_is_left_of_a_job_ends_with_it() {
        let header = Header::from_bytes([0; Header::LEN]);
        let job = SearchJob { header, target: Target::MAX, first: u32::MAX - 9, last: u32::MAX };
        let left = |done| from(&job, done).map(|rest| rest.nonces());
        assert_eq!(left(0), Some(job.nonces()));
        assert_eq!(left(9), Some(u32::MAX..=u32::MAX));
        assert_eq!((left(10), left(1 << 32)), (None, None));
    }
}
