//! The guard's part in a search: the decoy, and the check of every hit.

use rand::rngs::StdRng;
use rand::{Rng, RngExt};

use crate::primitives::{Header, Target};

use super::guard::Fault;
use super::{
    Backend, Cpu, Device, Guarded, HIT_LIST_CAPACITY, Hits, SEARCH_GROUP, SearchDispatch, SearchJob,
};

impl Guarded {
    /// Searches the job's range a dispatch at a time, lowest nonces first.
    pub(super) fn search_in_dispatches(&self, job: &SearchJob) -> Option<u32> {
        let mut first = u64::from(job.first);
        let end = first + job.count();
        while first < end {
            let count = (end - first).min(u64::from(self.limits().nonces));
            let part = SearchJob {
                first: u32::try_from(first).expect("below the end of the range"),
                last: u32::try_from(first + count - 1).expect("the range ends at u32::MAX"),
                ..*job
            };
            let found = self.batch(
                |device, rng, _| search_on_device(device, rng, &part, self.cpu()),
                |cpu| cpu.search(&part),
            );
            if found.is_some() {
                return found;
            }
            first += count;
        }
        None
    }
}

fn search_on_device(
    device: &mut dyn Device,
    rng: &mut StdRng,
    job: &SearchJob,
    cpu: &Cpu,
) -> Result<Option<u32>, Fault> {
    let decoy = Decoy::random(rng);
    let mut dispatch = SearchDispatch {
        header: job.header,
        target: job.target,
        first: job.first,
        // A dispatch is shorter than 2^32 nonces.
        count: job.last - job.first + 1,
        decoy: decoy.header,
        decoy_target: decoy.target,
        decoy_first: decoy.first,
        decoy_group: 0,
    };
    dispatch.decoy_group = rng.random_range(0..=dispatch.work_groups());
    let result = device.search(&dispatch, &mut |bytes| rng.fill_bytes(bytes))?;
    decoy.expect_found(result.decoy)?;
    lowest_winner(job, &result.header, cpu)
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
