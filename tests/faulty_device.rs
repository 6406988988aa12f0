//! The guard against devices that fail, and the self-test that keeps broken ones out. Wrong answers
//! have files of their own, one for each kind of job.

mod common;

use std::collections::HashSet;
use std::sync::Arc;

use blockmill::compute::crossover::{Crossover, Crossovers, JobKind};
use blockmill::compute::{
    Backend, CrossCheck, DeviceError, Guarded, HASHES_AT_ONCE, SelfTestFailure, Tested,
};
use blockmill::primitives::{Hash256, HashFunction};

use common::faulty::{
    Fault, Faulty, KNOWN, LIMITS, Log, MESSAGE_ROOM, SELF_TEST_CALLS, Simulated, guarded,
};
use common::groves;
use common::messages::{digests, digests_by, messages};
use common::oracle;
#[cfg(feature = "mine")]
use common::search_faults::SearchFault;
use common::trees::{Shape, trees};

/// Three dispatches of each kind of job.
const DISPATCHES: usize = 3;

/// Something that takes [`DISPATCHES`] dispatches.
struct Job {
    name: &'static str,
    /// Asks for it, and holds that the answer is right.
    run: fn(&dyn Backend),
    /// The batches that the CPU does if the device does none.
    batches: usize,
    /// The most dispatches under way at a time, which are lost together.
    at_once: usize,
}

const JOBS: &[Job] = &[
    of_digests("headers", hash_headers),
    of_digests("Bitcoin's trees", |backend| hash_trees(backend, Shape::Bitcoin)),
    of_digests("RFC 6962's trees", |backend| hash_trees(backend, Shape::Rfc6962)),
    of_digests("SHA-256", |backend| hash_messages(backend, HashFunction::Sha256)),
    of_digests("SHA-256d", |backend| hash_messages(backend, HashFunction::Sha256d)),
    #[cfg(feature = "mine")]
    Job { name: "search", run: search, batches: 1, at_once: 2 },
];

const fn of_digests(name: &'static str, run: fn(&dyn Backend)) -> Job {
    Job { name, run, batches: 1, at_once: HASHES_AT_ONCE }
}

fn hash_headers(backend: &dyn Backend) {
    let headers = oracle::headers(21, 2 * (LIMITS.headers - KNOWN) + 1);
    let mut ids = vec![Hash256::default(); headers.len()];
    backend.header_ids(&headers, &mut ids);
    assert!(ids == oracle::ids(&headers));
}

fn hash_trees(backend: &dyn Backend, shape: Shape) {
    // Known answers take 72 of 288 leaves, so that two of these trees fill a dispatch.
    let trees = trees([100; 5]);
    assert!(shape.roots_by(backend, &trees) == shape.roots(&trees));
}

fn hash_messages(backend: &dyn Backend, function: HashFunction) {
    let of_dispatch = MESSAGE_ROOM / LIMITS.longest_message;
    let messages = messages(vec![LIMITS.longest_message; 2 * of_dispatch + 1]);
    assert!(digests_by(backend, function, &messages) == digests(function, &messages));
}

#[cfg(feature = "mine")]
fn search(backend: &dyn Backend) {
    use blockmill::compute::SearchJob;
    use blockmill::primitives::Target;

    // The winner is the last nonce of the third dispatch: the lowest hash for a long stretch.
    let header = oracle::headers(3, 1)[0];
    let top = |nonce: u32| oracle::top_word(&oracle::id(&header.with_nonce(nonce)));
    let winner = (10_000..30_000).min_by_key(|&nonce| top(nonce)).expect("not empty");
    let target = Target::from_le_bytes(*oracle::id(&header.with_nonce(winner)).as_bytes());
    let job = SearchJob { header, target, first: winner - (3 * LIMITS.nonces - 1), last: winner };
    assert_eq!(backend.search(&job), Some(winner));
}

fn errors() -> [DeviceError; 5] {
    [
        DeviceError::Unavailable("gone".into()),
        DeviceError::Lost("reset".into()),
        DeviceError::OutOfMemory,
        DeviceError::TimedOut { seconds: 10 },
        DeviceError::Refused("no".into()),
    ]
}

/// Every error on every kind of job.
fn on_every_job(
    at: fn(usize) -> bool,
    comes_back: bool,
    holds: impl Fn(&Guarded, &Arc<Log>, &Job, &str),
) {
    for error in errors() {
        for job in JOBS {
            let fault = Fault::Fails { error: error.clone(), at, comes_back };
            let (backend, log) = guarded(fault, CrossCheck::OFF);
            log.arm();
            (job.run)(&backend);
            assert_eq!(backend.tally().mismatches, 0, "a failure is no wrong answer");
            holds(&backend, &log, job, &format!("{}, {error:?}", job.name));
        }
    }
}

#[test]
fn an_honest_device_does_all_the_work() {
    for Job { name, run, .. } in JOBS {
        let (backend, log) = guarded(Fault::None, CrossCheck::OFF);
        log.arm();
        run(&backend);
        let tally = backend.tally();
        assert_eq!((log.calls(), tally.fallbacks, tally.off), (DISPATCHES, 0, None), "{name}");
    }
}

#[test]
fn what_the_cpu_does_faster_is_left_to_it() {
    // Of everything the device gets as little as one, or nothing.
    for (from, calls) in [(Some(1), DISPATCHES), (Some(usize::MAX), 0), (None, 0)] {
        let crossovers: Crossovers = JobKind::ALL
            .iter()
            .map(|&job| Crossover { job, from, batch: 1, device_rate: 1.0, cpu_rate: 1.0 })
            .collect();
        // Searches are not cut off: whoever searches chose the device for that.
        for job in JOBS.iter().filter(|job| job.name != "search") {
            let (backend, log) = guarded(Fault::None, CrossCheck::OFF);
            let backend = backend.obeying(crossovers.clone(), CrossCheck::OFF);
            log.arm();
            (job.run)(&backend);
            assert_eq!((log.calls(), backend.tally().fallbacks), (calls, 0), "{}", job.name);
        }
    }
    // Each kind has a crossover of its own.
    let of_headers = Crossover {
        job: JobKind::Headers,
        from: Some(1),
        batch: 1,
        device_rate: 1.0,
        cpu_rate: 1.0,
    };
    for job in JOBS.iter().filter(|job| job.name != "search") {
        let (backend, log) = guarded(Fault::None, CrossCheck::OFF);
        let backend = backend.obeying([of_headers].into_iter().collect(), CrossCheck::OFF);
        log.arm();
        (job.run)(&backend);
        assert_eq!(log.calls() > 0, job.name == "headers", "{}", job.name);
    }
}

#[test]
fn nobody_learns_a_digest_on_a_device_s_word() {
    let bytes = groves::bytes(5_000);
    let all: Vec<_> = (0..9).map(|first| groves::grove(&bytes[first..], 4, 60)).collect();
    let of = |job, from| Crossover { job, from, batch: 1, device_rate: 1.0, cpu_rate: 1.0 };
    let [messages, trees] = [JobKind::Messages, JobKind::BitcoinTrees];
    let (function, shape) = groves::KINDS[0];
    // The device hashes both, messages alone, trees alone.
    for takes in [[true, true], [true, false], [false, true]] {
        let [first, second] = takes.map(|takes| takes.then_some(1));
        let (backend, log) = guarded(Fault::None, CrossCheck::OFF);
        let crossovers = [of(messages, first), of(trees, second)].into_iter().collect();
        let backend = backend.obeying(crossovers, CrossCheck::OFF);
        log.arm();
        let learnt = groves::learnt(&backend, function, shape, &all);
        let right = if takes[0] { Vec::new() } else { groves::digests(function, &all) };
        assert_eq!((learnt, log.calls() > 0), (right, true), "{takes:?}");
    }
    // Where it fails, the host does it.
    let fault = Fault::Fails { error: errors()[0].clone(), at: |_| true, comes_back: false };
    let (backend, log) = guarded(fault, CrossCheck::OFF);
    log.arm();
    assert_eq!(groves::learnt(&backend, function, shape, &all), []);
    assert!(backend.tally().off.is_some());
    let learnt = groves::learnt(&backend, function, shape, &all);
    assert_eq!(learnt, groves::digests(function, &all));
}

#[test]
fn one_failure_costs_a_rebuild_and_no_batch() {
    // In the first and in the last dispatch.
    let last: fn(usize) -> bool = |call| call == DISPATCHES - 1;
    for at in [|call| call == 0, last] {
        on_every_job(at, true, |backend, log, job, what| {
            let tally = backend.tally();
            assert_eq!((log.rebuilds(), tally.fallbacks, tally.off), (1, 0, None), "{what}");
            // What was under way, once more, after the self-test of the rebuilt device.
            let again = log.calls() - DISPATCHES - SELF_TEST_CALLS;
            assert!((1..=job.at_once).contains(&again), "{what}: {again}");
        });
    }
}

#[test]
fn a_device_that_does_not_come_back_is_off() {
    on_every_job(
        |_| true,
        false,
        |backend, log, job, what| {
            let tally = backend.tally();
            assert_eq!(log.rebuilds(), 1, "{what}");
            assert!((1..=job.at_once).contains(&log.calls()), "{what}: {}", log.calls());
            assert_eq!(tally.fallbacks, job.batches as u64, "{what}");
            let why = tally.off.expect("off");
            assert!(why.contains("it does not come back"), "{what}: {why}");
        },
    );
}

#[test]
fn a_device_that_always_fails_is_rebuilt_once() {
    on_every_job(
        |_| true,
        true,
        |backend, log, job, what| {
            let tally = backend.tally();
            // What was under way, and the first call of the self-test.
            assert_eq!(log.rebuilds(), 1, "{what}");
            assert!((2..=1 + job.at_once).contains(&log.calls()), "{what}: {}", log.calls());
            assert_eq!(tally.fallbacks, job.batches as u64, "{what}");
            assert!(tally.off.expect("off").contains("self-test"), "{what}");
        },
    );
}

#[test]
fn a_second_failure_is_the_last() {
    // The self-test of the rebuilt device fails.
    on_every_job(
        |call| call == 0 || call == 1 + SELF_TEST_CALLS,
        true,
        |backend, log, job, what| {
            let tally = backend.tally();
            assert_eq!((log.rebuilds(), log.calls()), (1, 2 + SELF_TEST_CALLS), "{what}");
            assert_eq!(tally.fallbacks, job.batches as u64, "{what}");
            assert!(tally.off.is_some(), "{what}");
        },
    );
    // It works, and what was queued again fails again; others may have begun before that shows.
    on_every_job(
        |call| call == 0 || call == 3 + SELF_TEST_CALLS,
        true,
        |backend, log, job, what| {
            let tally = backend.tally();
            assert_eq!(log.rebuilds(), 1, "{what}");
            let calls = log.calls() - SELF_TEST_CALLS;
            assert!((4..4 + job.at_once).contains(&calls), "{what}: {calls}");
            assert_eq!(tally.fallbacks, 1, "{what}");
            assert!(tally.off.is_some(), "{what}");
        },
    );
}

#[test]
fn a_device_that_comes_back_wrong_is_not_used() {
    for Job { name, run, batches, at_once } in JOBS {
        let (backend, log) = guarded(Fault::ComesBackWrong, CrossCheck::OFF);
        log.arm();
        run(&backend);
        let tally = backend.tally();
        assert_eq!(log.rebuilds(), 1, "{name}");
        assert!((2..=1 + at_once).contains(&log.calls()), "{name}: {}", log.calls());
        assert_eq!(tally.fallbacks, *batches as u64, "{name}");
        assert!(tally.off.expect("off").contains("self-test failed"), "{name}");
    }
}

/// What the self-test says about a device that is wrong from the start.
fn self_test_of(fault: Fault) -> Option<SelfTestFailure> {
    let (device, log) = Faulty::new(Box::new(Simulated::new()), fault);
    log.arm();
    Tested::new(Box::new(device)).err()
}

#[test]
fn broken_devices_fail_the_self_test() {
    assert_eq!(self_test_of(Fault::None), None);
    for fault in Fault::WHOLESALE {
        // Nothing was right before, so nothing can be stale.
        if !matches!(fault, Fault::Stale) {
            let failure = self_test_of(fault.clone());
            assert!(matches!(failure, Some(SelfTestFailure::Wrong { .. })), "{fault:?}");
        }
    }
    for error in errors() {
        // In each kernel.
        let nth: [fn(usize) -> bool; 8] = [
            |call| call == 0,
            |call| call == 1,
            |call| call == 2,
            |call| call == 3,
            |call| call == 4,
            |call| call == 5,
            |call| call == 6,
            |call| call == 7,
        ];
        for at in &nth[..SELF_TEST_CALLS] {
            let fault = Fault::Fails { error: error.clone(), at: *at, comes_back: true };
            assert_eq!(self_test_of(fault), Some(SelfTestFailure::Device(error.clone())));
        }
    }
}

/// One wrong digest anywhere in the self-test, of any kernel.
#[test]
fn the_self_test_looks_at_every_result() {
    let (device, log) = Faulty::new(Box::new(Simulated::new()), Fault::None);
    log.arm();
    assert!(Tested::new(Box::new(device)).is_ok());
    let digests = log.take_dispatches().into_iter().filter(|call| call.decoy_group.is_none());
    let names = [
        "header ids",
        "Merkle roots",
        "SHA-256 digests",
        "SHA-256d digests",
        "RFC 6962 roots",
        "groves of blocks",
        "groves of ledgers",
    ];
    let digests: Vec<_> = digests.collect();
    assert_eq!(digests.len(), names.len());
    let mut asked = HashSet::new();
    for (what, call) in names.into_iter().zip(digests) {
        // Every tree, and others all over the batch.
        for job in call.jobs.iter().step_by(call.jobs.len().div_ceil(20)).chain(call.jobs.last()) {
            // The empty message is hashed by both functions, and the first one would tell.
            if !asked.insert(job.clone()) {
                continue;
            }
            let fault = Fault::Answer { job: job.clone(), digest: Hash256::ZERO };
            assert_eq!(self_test_of(fault), Some(SelfTestFailure::Wrong { what }));
        }
    }
}

#[cfg(feature = "mine")]
#[test]
fn wrong_searches_fail_the_self_test() {
    for fault in SearchFault::ALL {
        // These need several hits, or others beside the range.
        let several = [
            SearchFault::LowestTooHigh,
            SearchFault::Duplicate,
            SearchFault::BelowRange,
            SearchFault::AboveRange,
        ];
        if !several.contains(&fault) {
            let wrong = SelfTestFailure::Wrong { what: "search hits" };
            assert_eq!(self_test_of(Fault::Search(fault)), Some(wrong), "{fault:?}");
        }
    }
}

/// The same wrapper over a real driver.
#[cfg(feature = "gpu")]
#[test]
fn the_software_gpu_is_not_believed_either() {
    use common::faulty::{assert_caught, guarded_over};

    let Some(adapter) = common::test_adapter() else { return };
    let open = || Box::new(adapter.open().expect("the adapter opens"));
    for (fault, Job { name, run, .. }) in
        [Fault::FlipEveryWord, Fault::Nothing, Fault::Zeros].iter().cycle().zip(JOBS)
    {
        let (backend, log) = guarded_over(open(), fault.clone(), CrossCheck::OFF);
        run(&backend);
        assert_eq!(backend.tally().fallbacks, 0, "{name}");
        log.arm();
        run(&backend);
        assert_caught(&backend, &log, name);
    }
    // And lost, for a moment: the driver's device is really opened anew.
    let error = DeviceError::Lost("reset".into());
    let fault = Fault::Fails { error, at: |call| call == 0, comes_back: true };
    let (backend, log) = guarded_over(open(), fault, CrossCheck::OFF);
    log.arm();
    JOBS.iter().for_each(|job| (job.run)(&backend));
    let tally = backend.tally();
    assert_eq!((log.rebuilds(), tally.fallbacks, tally.off), (1, 0, None));
}
