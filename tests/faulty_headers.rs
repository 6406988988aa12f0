//! The guard against devices that hash headers wrongly: the answers stay right, and the device is
//! off after the first batch that shows it.

mod common;

use std::collections::HashSet;
use std::sync::LazyLock;

use blockmill::bitcoin::{Network, Params};
use blockmill::compute::{Backend, CrossCheck, Guarded, HASHES_AT_ONCE};
use blockmill::primitives::{Hash256, Header};

use common::chain::{self, Draft};
use common::faulty::{Fault, KNOWN, LIMITS, assert_caught, flip, guarded};
use common::oracle;

/// The headers that one dispatch takes beside the known answers.
const ROOM: usize = LIMITS.headers - KNOWN;

/// A sound chain that needs three dispatches.
static LONG_CHAIN: LazyLock<Vec<Header>> =
    LazyLock::new(|| chain::from_genesis(&Params::of(Network::Regtest), 2 * ROOM + 10));

fn percent(percent: f64) -> CrossCheck {
    CrossCheck::percent(percent).expect("a share")
}

fn ids(backend: &Guarded, headers: &[Header]) -> Vec<Hash256> {
    let mut ids = vec![Hash256::default(); headers.len()];
    backend.header_ids(headers, &mut ids);
    ids
}

fn assert_right(backend: &Guarded, headers: &[Header], what: &str) {
    assert!(ids(backend, headers) == oracle::ids(headers), "{what}: {} headers", headers.len());
}

/// The device gives `wrong` for one header, whichever others are with it.
fn lie(about: &Header, wrong: Hash256) -> Fault {
    Fault::Answer { job: about.as_bytes().to_vec(), digest: wrong }
}

#[test]
fn wholesale_faults_are_caught_in_the_first_dispatch() {
    let unlinked = oracle::headers(5, 40);
    for headers in [&LONG_CHAIN[..1], &LONG_CHAIN[..20], &LONG_CHAIN, &unlinked[..1], &unlinked] {
        for fault in Fault::WHOLESALE {
            let what = format!("{fault:?}");
            let (backend, log) = guarded(fault, CrossCheck::OFF);
            // The same batch twice: yesterday's answers would be right today.
            assert_right(&backend, headers, &what);
            assert_eq!(backend.tally().fallbacks, 0);
            log.arm();
            assert_right(&backend, headers, &what);
            assert_caught(&backend, &log, &what);
            assert_eq!(backend.tally().fallbacks, 1, "{what}");
            // Off is off.
            assert_right(&backend, headers, &what);
            assert_caught(&backend, &log, &what);
            assert_eq!(backend.tally().fallbacks, 2, "{what}");
        }
    }
}

#[test]
fn one_flipped_bit_in_any_output_word_is_caught() {
    // Most of the words belong to known answers, the others to headers linked or not.
    for headers in [&LONG_CHAIN[..3], &oracle::headers(9, 3)] {
        let words = 8 * (headers.len() + KNOWN);
        for word in 0..=words {
            let bit = word * 5 % 32;
            let (backend, log) = guarded(Fault::FlipWord { word, bit }, CrossCheck::OFF);
            log.arm();
            assert_right(&backend, headers, "one flipped bit");
            // The word after the last one is not there.
            assert_eq!(log.lies(), usize::from(word < words));
            assert_eq!(backend.tally().mismatches, u64::from(word < words), "word {word}");
        }
    }
}

#[test]
fn a_flip_that_keeps_the_proof_of_work_is_caught_anywhere_in_a_chain() {
    let chain = &LONG_CHAIN[..10];
    for (index, header) in chain.iter().enumerate() {
        for word in 0..8 {
            let mut wrong = header.id();
            flip(&mut wrong, word, index);
            assert!(header.bits().decode().expect("regtest").is_met_by(&wrong));
            let (backend, log) = guarded(lie(header, wrong), CrossCheck::OFF);
            log.arm();
            assert_right(&backend, chain, "a flip in a chain");
            assert_caught(&backend, &log, &format!("header {index}, word {word}"));
        }
    }
}

#[test]
fn a_flip_at_the_edge_of_a_dispatch_is_caught_in_that_dispatch() {
    let last = LONG_CHAIN.len() - 1;
    for index in [0, ROOM - 1, ROOM, 2 * ROOM - 1, 2 * ROOM, last] {
        let header = &LONG_CHAIN[index];
        let mut wrong = header.id();
        flip(&mut wrong, 0, 0);
        let (backend, log) = guarded(lie(header, wrong), CrossCheck::OFF);
        log.arm();
        assert_right(&backend, &LONG_CHAIN, "an edge");
        // The dispatches before it passed, and those under way with it were the last.
        let (right, tally) = (index / ROOM, backend.tally());
        assert_eq!((tally.mismatches, tally.fallbacks), (1, 1), "header {index}");
        let calls = right + 1..=right + HASHES_AT_ONCE;
        assert!(calls.contains(&log.calls()), "header {index}: {}", log.calls());
    }
}

/// A device that sees both headers could answer what the second one says about the first. It is
/// believed only where that answer is also a proof of work.
#[test]
fn an_id_named_as_parent_must_meet_its_target() {
    let header = LONG_CHAIN[1];
    let mut claimed = header.id();
    flip(&mut claimed, 7, 31);
    assert!(!header.bits().decode().expect("regtest").is_met_by(&claimed));
    let child = Draft { parent: claimed, ..Draft::after(&header) }.mine();
    let (backend, log) = guarded(lie(&header, claimed), CrossCheck::OFF);
    log.arm();
    assert_right(&backend, &[header, child], "a parent without proof of work");
    assert_caught(&backend, &log, "a parent without proof of work");
}

/// What the guard alone would believe: a lie that another header in the dump was made to support.
#[test]
fn cross_check_catches_a_lie_that_the_next_header_confirms() {
    let header = LONG_CHAIN[1];
    let mut claimed = header.id();
    flip(&mut claimed, 0, 0);
    let child = Draft { parent: claimed, ..Draft::after(&header) }.mine();
    let (backend, log) = guarded(lie(&header, claimed), percent(100.0));
    log.arm();
    assert_right(&backend, &[header, child], "a supported lie");
    assert_caught(&backend, &log, "a supported lie");
}

#[test]
fn cross_check_counts_what_it_computes_again() {
    for (share, of_each_dispatch) in
        [(0.0, [0, 0, 0]), (0.01, [1, 1, 1]), (10.0, [103, 103, 2]), (100.0, [ROOM, ROOM, 11])]
    {
        let (backend, log) = guarded(Fault::None, percent(share));
        log.arm();
        assert_right(&backend, &LONG_CHAIN, "honest");
        let expected: usize = of_each_dispatch.iter().sum();
        let tally = backend.tally();
        assert_eq!(tally.cross_checked, expected as u64, "{share} %");
        assert_eq!((tally.mismatches, tally.off, log.calls()), (0, None, 3), "{share} %");
    }
    for no_share in [-0.1, 100.1, f64::NAN, f64::INFINITY] {
        assert_eq!(CrossCheck::percent(no_share), None);
    }
}

#[test]
fn every_dispatch_carries_fresh_noise_and_fresh_known_answers() {
    const DISPATCHES: usize = 20;
    let headers = oracle::headers(11, 5);
    let (backend, log) = guarded(Fault::None, CrossCheck::OFF);
    log.arm();
    for _ in 0..DISPATCHES {
        assert_right(&backend, &headers, "honest");
    }
    let wanted: Vec<_> = headers.iter().map(|header| header.as_bytes().to_vec()).collect();
    let (mut noise, mut known, mut places) = (HashSet::new(), HashSet::new(), HashSet::new());
    let dispatches = log.take_dispatches();
    for dispatch in &dispatches {
        assert_eq!(dispatch.noise.len(), 32 * dispatch.jobs.len());
        noise.extend(dispatch.noise.chunks(32));
        let is_wanted: Vec<_> = dispatch.jobs.iter().map(|job| wanted.contains(job)).collect();
        let (asked, others): (Vec<_>, Vec<_>) =
            dispatch.jobs.iter().partition(|job| wanted.contains(job));
        assert!(asked.into_iter().eq(&wanted), "what was asked stays in order");
        known.extend(others);
        places.insert(is_wanted);
    }
    // Nothing is ever used again; of 1,287 ways to choose eight places of thirteen a few may be.
    assert_eq!(noise.len(), DISPATCHES * (headers.len() + KNOWN));
    assert_eq!(known.len(), DISPATCHES * KNOWN);
    assert!(places.len() > DISPATCHES / 2);
}
