//! The guard against devices that search wrongly: the lowest winner is found all the same, and the
//! device is off after the first dispatch that shows what it is.

#![cfg(feature = "mine")]

mod common;

use std::collections::HashSet;

use blockmill::compute::{
    Backend, CrossCheck, Guarded, HIT_LIST_CAPACITY, SEARCH_GROUP, SearchJob,
};
use blockmill::primitives::{Header, Target};

use common::faulty::{Fault, LIMITS, assert_caught, guarded, is_candidate};
use common::oracle;
use common::search_faults::SearchFault;

/// Where ranges begin: there is room for hits on both sides.
const FIRST: u32 = 100_000;

fn header() -> Header {
    oracle::headers(3, 1)[0]
}

/// A target whose most significant word is `top`, and whose others are zero.
fn bare(top: u32) -> Target {
    let mut bytes = [0; 32];
    bytes[..4].copy_from_slice(&top.to_be_bytes());
    Target::from_be_bytes(bytes)
}

/// `count` nonces, not a multiple of a workgroup.
fn job(target: Target, count: u32) -> SearchJob {
    SearchJob { header: header(), target, first: FIRST, last: FIRST + (count - 1) }
}

/// About ten hits, all of which win.
fn few_hits() -> SearchJob {
    job(bare(u32::MAX / 100), 1000)
}

/// One hit, which shares the target's top word and does not win.
fn one_losing_hit() -> SearchJob {
    let top = |nonce| oracle::top_word(&header().with_nonce(nonce).id());
    job(bare((FIRST..FIRST + 1000).map(top).min().expect("not empty")), 1000)
}

/// One hit, which wins.
fn one_winning_hit() -> SearchJob {
    let losing = one_losing_hit();
    let mut target = losing.target.to_be_bytes();
    target[4..].fill(0xff);
    SearchJob { target: Target::from_be_bytes(target), ..losing }
}

/// More hits than a list holds.
fn full_list() -> SearchJob {
    job(bare(u32::MAX / 10 * 9), 1000)
}

/// No hit at all.
fn no_hits() -> SearchJob {
    job(bare(0), 1000)
}

fn hits(job: &SearchJob) -> usize {
    job.nonces().filter(|&nonce| is_candidate(&job.header, job.target, nonce)).count()
}

fn assert_right(backend: &Guarded, job: &SearchJob, what: &str) {
    assert_eq!(backend.search(job), oracle::search(job), "{what}: {job:?}");
}

#[test]
fn the_jobs_are_what_they_say() {
    assert!((4..20).contains(&hits(&few_hits())));
    assert_eq!((hits(&one_losing_hit()), oracle::search(&one_losing_hit())), (1, None));
    assert_eq!(hits(&one_winning_hit()), 1);
    assert!(oracle::search(&one_winning_hit()).is_some());
    assert!(hits(&full_list()) > 3 * HIT_LIST_CAPACITY);
    assert_eq!(hits(&no_hits()), 0);
}

#[test]
fn wholesale_faults_are_caught_in_the_first_dispatch() {
    for job in [few_hits(), one_losing_hit(), one_winning_hit(), full_list(), no_hits()] {
        for fault in Fault::WHOLESALE {
            // A search has no next header to read ids from.
            if matches!(fault, Fault::EchoParent) {
                continue;
            }
            let what = format!("{fault:?}");
            let (backend, log) = guarded(fault, CrossCheck::OFF);
            // The same search twice: yesterday's hits would be right today.
            assert_right(&backend, &job, &what);
            assert_eq!(backend.tally().fallbacks, 0);
            log.arm();
            assert_right(&backend, &job, &what);
            assert_caught(&backend, &log, &what);
            // Off is off.
            assert_right(&backend, &job, &what);
            assert_caught(&backend, &log, &what);
            assert_eq!(backend.tally().fallbacks, 2, "{what}");
        }
    }
}

#[test]
fn every_wrong_statement_about_hits_is_caught() {
    for fault in SearchFault::ALL {
        let (backend, log) = guarded(Fault::Search(fault), CrossCheck::OFF);
        log.arm();
        assert_right(&backend, &few_hits(), &format!("{fault:?}"));
        assert_caught(&backend, &log, &format!("{fault:?}"));
    }
}

#[test]
fn wrong_statements_about_a_full_list_are_caught_or_harmless() {
    let mut harmless = Vec::new();
    for fault in SearchFault::ALL {
        let (backend, log) = guarded(Fault::Search(fault), CrossCheck::OFF);
        log.arm();
        assert_right(&backend, &full_list(), &format!("{fault:?}"));
        assert_eq!(log.lies(), 1, "{fault:?}");
        if backend.tally().mismatches == 0 {
            harmless.push(fault);
        } else {
            assert_caught(&backend, &log, &format!("{fault:?}"));
        }
    }
    // Where a list is full nothing depends on how many hits it leaves out.
    assert_eq!(harmless, [SearchFault::CountTooHigh, SearchFault::CountTooLow]);
}

#[test]
fn wrong_statements_about_one_hit_or_none_are_caught() {
    for (job, fault) in [one_losing_hit(), one_winning_hit(), no_hits()]
        .iter()
        .flat_map(|job| SearchFault::ALL.map(|fault| (job, fault)))
    {
        // Around a range without hits there may be none to add.
        if matches!(fault, SearchFault::BelowRange | SearchFault::AboveRange) && hits(job) == 0 {
            continue;
        }
        let (backend, log) = guarded(Fault::Search(fault), CrossCheck::OFF);
        log.arm();
        assert_right(&backend, job, &format!("{fault:?}"));
        // With so few hits some of these statements are no lies.
        if log.lies() > 0 {
            assert_caught(&backend, &log, &format!("{fault:?}"));
        }
    }
}

/// Ranges at both ends of the nonces, where a wrong hit could overflow.
#[test]
fn faults_at_the_ends_of_the_nonces_are_caught() {
    let faults = [
        SearchFault::CountTooHigh,
        SearchFault::CountBeyondRange,
        SearchFault::LowestTooLow,
        SearchFault::LowestTooHigh,
        SearchFault::Duplicate,
        SearchFault::DropAll,
    ];
    for first in [0, u32::MAX - 999] {
        for target in [bare(u32::MAX / 100), bare(u32::MAX / 10 * 9), Target::MAX] {
            let job = SearchJob { header: header(), target, first, last: first + 999 };
            for fault in faults {
                let (backend, log) = guarded(Fault::Search(fault), CrossCheck::OFF);
                log.arm();
                assert_right(&backend, &job, &format!("{fault:?}"));
                let counted = fault == SearchFault::CountTooHigh && hits(&job) < 1000;
                if !(counted && hits(&job) > HIT_LIST_CAPACITY) {
                    assert_caught(&backend, &log, &format!("{fault:?}"));
                }
            }
        }
    }
}

#[test]
fn one_flipped_bit_in_any_output_word_is_caught() {
    let job = few_hits();
    let mut words = 0;
    // Counts, lowest nonces and every listed nonce, of the header and then of the decoy.
    while words < 4 + hits(&job) + 1 {
        for bit in [0, 1, 5, 8, 13, 21, 30, 31] {
            let (backend, log) = guarded(Fault::FlipWord { word: words, bit }, CrossCheck::OFF);
            log.arm();
            assert_right(&backend, &job, "one flipped bit");
            assert_caught(&backend, &log, &format!("word {words}, bit {bit}"));
        }
        words += 1;
    }
}

#[test]
fn a_search_of_several_dispatches_survives_a_fault_in_any_of_them() {
    // The winner is in the third dispatch: the lowest hash of many nonces, and a target it meets.
    let id = |nonce| header().with_nonce(nonce).id();
    let winner = (FIRST..FIRST + 20_000)
        .min_by_key(|&nonce| oracle::top_word(&id(nonce)))
        .expect("not empty");
    let target = Target::from_le_bytes(*id(winner).as_bytes());
    let first = winner - (2 * LIMITS.nonces + 100);
    let job = SearchJob { header: header(), target, first, last: winner + 5000 };
    assert_eq!(oracle::search(&job), Some(winner));

    let (backend, log) = guarded(Fault::None, CrossCheck::OFF);
    log.arm();
    assert_eq!(backend.search(&job), Some(winner));
    // Of what is beyond the winner, no more is searched than was under way.
    assert_eq!((log.calls(), backend.tally().fallbacks), (4, 0));

    for honest in 0..3 {
        let (backend, log) = guarded(Fault::Search(SearchFault::DropAll), CrossCheck::OFF);
        let before = SearchJob { last: first + honest * LIMITS.nonces, ..job };
        if honest > 0 {
            let before = SearchJob { last: before.last - 1, ..before };
            assert_eq!(backend.search(&before), None);
        }
        log.arm();
        let rest = SearchJob { first: before.last, ..job };
        assert_eq!(backend.search(&rest), Some(winner));
        let tally = backend.tally();
        // Whatever else was under way goes with the one that was caught.
        assert!((1..=2).contains(&log.calls()), "{}", log.calls());
        assert_eq!((tally.mismatches, tally.fallbacks), (1, 1), "{tally:?}");
        assert!(tally.off.is_some(), "{tally:?}");
    }
}

#[test]
fn every_dispatch_carries_fresh_noise_and_a_fresh_decoy() {
    const DISPATCHES: usize = 40;
    let job = few_hits();
    let (backend, log) = guarded(Fault::None, CrossCheck::OFF);
    log.arm();
    for _ in 0..DISPATCHES {
        assert_right(&backend, &job, "honest");
    }
    let groups = 1000u32.div_ceil(SEARCH_GROUP);
    let (mut noise, mut decoys, mut places) = (HashSet::new(), HashSet::new(), HashSet::new());
    let dispatches = log.take_dispatches();
    for dispatch in &dispatches {
        // A new decoy is found by its hash, and a result buffer that was not filled by its zeros.
        noise.insert(&dispatch.noise);
        decoys.insert(&dispatch.jobs[1]);
        let place = dispatch.decoy_group.expect("a search");
        assert!(place <= groups);
        places.insert(place);
        assert_eq!(dispatch.jobs[0], header().as_bytes());
    }
    assert_eq!((noise.len(), decoys.len()), (DISPATCHES, DISPATCHES));
    // Each of five places is missed by forty draws with a chance of 10^-4; three by next to none.
    assert!(places.len() > 2, "{places:?}");
}
