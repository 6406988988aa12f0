//! Whole validations over a device that lies or fails: the same verdict as on the CPU, whatever the
//! device does and however the input is cut into batches.

mod common;

use std::io::Write;
use std::sync::Arc;

use blockmill::bitcoin::{Network, Params};
use blockmill::compute::{Backend, Cpu, CrossCheck, DeviceError, Reference};
use blockmill::dump::{Inputs, Progress};
use blockmill::primitives::{Hash256, Header};
use blockmill::stages::{Options, validate_headers};

use common::chain::{self, Draft};
use common::faulty::{Fault, flip, guarded};

/// The parts of a validation that a backend must not change, in words.
fn validate(headers: &[Header], backend: &dyn Backend, batch: usize, overlap: bool) -> String {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(&chain::dump(headers)).expect("a temporary file can be written");
    let progress = Arc::new(Progress::default());
    let inputs = Inputs::open(&[file.path().into()], None, Arc::clone(&progress));
    let options = Options {
        network: Some(Params::of(Network::Regtest)),
        activation_heights: Vec::new(),
        start_height: None,
        now: 4_000_000_000,
        batch,
        overlap,
        threads: 1,
        rejections_max: 1000,
    };
    let inputs = inputs.expect("headers are recognised");
    let validation = validate_headers(inputs, backend, &options, &progress, None);
    let validation = validation.expect("a question that can be answered");
    format!("{:?} {:?}", validation.outcome.expect("a known network"), validation.error)
}

/// Thirty blocks; a shorter branch leaves after the tenth and arrives in the midst of the others.
fn with_a_side_branch() -> Vec<Header> {
    let main = chain::from_genesis(&Params::of(Network::Regtest), 30);
    let side = chain::extend(&main[10], 5, 1);
    [&main[..16], &side, &main[16..]].concat()
}

/// Twenty blocks; then one without proof of work, with two children, and the honest rest.
fn with_a_rejected_header() -> Vec<Header> {
    let main = chain::from_genesis(&Params::of(Network::Regtest), 20);
    let bad = Draft { salt: 99, ..Draft::after(&main[12]) }.unmined();
    let children = chain::extend(&bad, 2, 2);
    [&main[..13], &[bad], &children, &main[13..]].concat()
}

fn dumps() -> [Vec<Header>; 2] {
    [with_a_side_branch(), with_a_rejected_header()]
}

/// The verdicts that every other one is held to.
fn right(headers: &[Header]) -> String {
    let verdict = validate(headers, &Reference, headers.len(), false);
    let cpu = Cpu::new(2).expect("two threads");
    assert_eq!(validate(headers, &cpu, 5, true), verdict);
    verdict
}

fn batches(headers: &[Header]) -> [usize; 3] {
    [1, 7, headers.len()]
}

/// The verdict over a faulty device is the right one, and a wrong answer was found out.
fn assert_same(headers: &[Header], fault: &Fault, right: &str) {
    for batch in batches(headers) {
        for overlap in [false, true] {
            let (backend, log) = guarded(fault.clone(), CrossCheck::OFF);
            log.arm();
            let verdict = validate(headers, &backend, batch, overlap);
            assert_eq!(verdict, right, "{fault:?}, batches of {batch}");
            let tally = backend.tally();
            // The first lie is the last: the device is off.
            assert!(log.lies() <= 1, "{fault:?}, batches of {batch}");
            assert_eq!(tally.mismatches, log.lies() as u64, "{fault:?}, batches of {batch}");
            assert_eq!(tally.off.is_some(), log.lies() > 0, "{fault:?}, batches of {batch}");
        }
    }
}

#[test]
fn the_dumps_are_what_they_say() {
    let side = right(&with_a_side_branch());
    assert!(side.contains("best_branch: 31, side: 5") && side.contains("rejected: 0"), "{side}");
    let rejected = right(&with_a_rejected_header());
    assert!(rejected.contains("height: 20") && rejected.contains("rejected: 3"), "{rejected}");
}

#[test]
fn an_honest_device_changes_nothing() {
    for headers in dumps() {
        assert_same(&headers, &Fault::None, &right(&headers));
    }
}

#[test]
fn wholesale_faults_change_nothing() {
    for headers in dumps() {
        let right = right(&headers);
        for fault in Fault::WHOLESALE {
            assert_same(&headers, &fault, &right);
        }
    }
}

/// Every single header in turn is hashed wrongly, by a flip that keeps its proof of work, or so
/// that it seems to have none, or all.
#[test]
fn one_wrong_id_anywhere_changes_nothing() {
    for headers in dumps() {
        let right = right(&headers);
        for header in &headers {
            let mut kept = header.id();
            flip(&mut kept, 2, 9);
            let mut lost = header.id();
            flip(&mut lost, 7, 31);
            for digest in [kept, lost, Hash256::ZERO, header.parent()] {
                // The parent of the genesis is zero as well; it is a lie all the same.
                let fault = Fault::Answer { job: header.as_bytes().to_vec(), digest };
                let (backend, log) = guarded(fault.clone(), CrossCheck::OFF);
                log.arm();
                assert_eq!(validate(&headers, &backend, 7, false), right, "{fault:?}");
                assert_eq!((log.lies(), backend.tally().mismatches), (1, 1), "{fault:?}");
            }
        }
        // In batches of other sizes for a few places: the ends and the fork.
        for header in [headers[0], headers[13], headers[headers.len() - 1]] {
            let mut digest = header.id();
            flip(&mut digest, 2, 9);
            let fault = Fault::Answer { job: header.as_bytes().to_vec(), digest };
            assert_same(&headers, &fault, &right);
        }
    }
}

#[test]
fn failures_change_nothing() {
    let after: fn(usize) -> bool = |call| call > 0;
    for headers in dumps() {
        let right = right(&headers);
        for error in [DeviceError::Lost("reset".into()), DeviceError::OutOfMemory] {
            for (at, comes_back) in [(after, true), (after, false), (|call| call == 0, true)] {
                let fault = Fault::Fails { error: error.clone(), at, comes_back };
                for batch in batches(&headers) {
                    let (backend, log) = guarded(fault.clone(), CrossCheck::OFF);
                    log.arm();
                    assert_eq!(validate(&headers, &backend, batch, true), right, "{fault:?}");
                    assert_eq!(backend.tally().mismatches, 0, "{fault:?}");
                    assert!(log.rebuilds() <= 1, "{fault:?}");
                }
            }
        }
    }
}
