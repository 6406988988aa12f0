//! The guard against devices that compute Merkle roots wrongly. A single wrong root among right
//! ones can pass; it would cause a rejection, and before one is believed the CPU computes it again.

mod common;

use std::collections::HashSet;

use blockmill::compute::{Backend, CrossCheck, Guarded};
use blockmill::primitives::{Hash256, Trees};

use common::faulty::{Fault, KNOWN, LIMITS, assert_caught, flip, guarded};
use common::trees::{Shape, trees};

/// Sixty trees with five leaves on average: two dispatches.
fn several_dispatches() -> Trees {
    trees((0..60).map(|index| 1 + index % 9))
}

fn assert_right(backend: &Guarded, shape: Shape, trees: &Trees, what: &str) {
    let found = shape.roots_by(backend, trees);
    assert!(found == shape.roots(trees), "{what}: {} {shape:?} trees", trees.len());
}

/// The device gives a root with one bit flipped for one tree, whichever others are with it.
fn lie(shape: Shape, about: &[Hash256]) -> Fault {
    let mut digest = shape.root(about);
    flip(&mut digest, 3, 17);
    Fault::Answer { job: about.iter().flat_map(|leaf| *leaf.as_bytes()).collect(), digest }
}

#[test]
fn wholesale_faults_are_caught_in_the_first_dispatch() {
    for shape in Shape::ALL {
        for trees in [trees([1]), trees([2]), trees([7, 1, 4]), several_dispatches()] {
            for fault in Fault::WHOLESALE {
                let what = format!("{fault:?}, {shape:?}");
                let (backend, log) = guarded(fault, CrossCheck::OFF);
                assert_right(&backend, shape, &trees, &what);
                assert_eq!(backend.tally().fallbacks, 0);
                log.arm();
                assert_right(&backend, shape, &trees, &what);
                assert_caught(&backend, &log, &what);
                assert_eq!(backend.tally().fallbacks, 1, "{what}");
                // Off is off.
                assert_right(&backend, shape, &trees, &what);
                assert_caught(&backend, &log, &what);
                assert_eq!(backend.tally().fallbacks, 2, "{what}");
            }
        }
    }
}

/// Computes a root again on the CPU, as is done before one causes a rejection: it must be wrong.
fn confirm(backend: &Guarded, shape: Shape, leaves: &[Hash256], found: Hash256) {
    let right = shape.root(leaves);
    match shape {
        Shape::Bitcoin => assert_eq!(backend.confirm_merkle_root(leaves, found), right),
        Shape::Rfc6962 => backend.was_wrong(format!("a root was {found}, right is {right}")),
    }
}

#[test]
fn one_flipped_bit_is_caught_at_once_or_when_the_root_is_confirmed() {
    for shape in Shape::ALL {
        let trees = trees([3, 1, 8]);
        let right = shape.roots(&trees);
        let words = 8 * (trees.len() + KNOWN);
        let (mut at_once, mut on_confirmation) = (0, 0);
        for word in 0..words {
            let bit = word * 5 % 32;
            let (backend, log) = guarded(Fault::FlipWord { word, bit }, CrossCheck::OFF);
            log.arm();
            let found = shape.roots_by(&backend, &trees);
            assert_eq!((log.lies(), log.calls()), (1, 1));
            if found == right {
                // It hit a known answer.
                at_once += 1;
            } else {
                on_confirmation += 1;
                let wrong: Vec<_> = (0..trees.len()).filter(|&n| found[n] != right[n]).collect();
                let [wrong] = wrong[..] else { panic!("one bit is in one root: {wrong:?}") };
                assert_eq!(backend.tally().mismatches, 0);
                confirm(&backend, shape, trees.get(wrong), found[wrong]);
                // From now on the CPU's.
                assert_right(&backend, shape, &trees, "after the confirmation");
            }
            assert_caught(&backend, &log, &format!("word {word}"));
        }
        // Places are drawn: three in eleven words belong to wanted roots. That all 88 fall on one side
        // has a chance of 10^-12.
        assert!(at_once > 0 && on_confirmation > 0, "{at_once} and {on_confirmation}");
    }
}

#[test]
fn confirming_a_right_root_is_no_mismatch() {
    let trees = trees([6]);
    let right = Shape::Bitcoin.root(trees.get(0));
    let (backend, log) = guarded(Fault::None, CrossCheck::OFF);
    log.arm();
    assert_eq!(backend.confirm_merkle_root(trees.get(0), right), right);
    assert_right(&backend, Shape::Bitcoin, &trees, "still on the device");
    let tally = backend.tally();
    assert_eq!((tally.mismatches, tally.fallbacks, tally.off), (0, 0, None));
    assert_eq!(log.calls(), 1, "a confirmation is the CPU's");
}

#[test]
fn cross_check_catches_a_single_wrong_root() {
    for shape in Shape::ALL {
        let trees = several_dispatches();
        let share = CrossCheck::percent(100.0).expect("a share");
        for index in [0, 1, 30, 58, 59] {
            let (backend, log) = guarded(lie(shape, trees.get(index)), share);
            log.arm();
            assert_right(&backend, shape, &trees, "a cross-checked batch");
            let tally = backend.tally();
            assert_eq!((tally.mismatches, log.lies()), (1, 1), "tree {index}");
            // The dispatch that was wrong and the ones after it are the CPU's.
            assert_eq!(tally.fallbacks, 3 - log.calls() as u64, "tree {index}");
        }
        let (backend, log) = guarded(Fault::None, share);
        log.arm();
        assert_right(&backend, shape, &trees, "honest");
        let tally = backend.tally();
        assert_eq!(tally.cross_checked, trees.len() as u64);
        assert_eq!((tally.mismatches, tally.off, log.calls()), (0, None, 2));
    }
}

#[test]
fn a_tree_larger_than_a_dispatch_is_no_fault() {
    for shape in Shape::ALL {
        let trees = trees([3, LIMITS.leaves + 1, 2]);
        let (backend, log) = guarded(Fault::None, CrossCheck::OFF);
        log.arm();
        assert_right(&backend, shape, &trees, "a large tree");
        let tally = backend.tally();
        assert_eq!((tally.fallbacks, tally.mismatches, tally.off), (0, 0, None));
        // The others share a dispatch.
        assert_eq!(log.calls(), 1);
    }
}

#[test]
fn every_dispatch_carries_fresh_noise_and_fresh_known_answers() {
    for shape in Shape::ALL {
        const DISPATCHES: usize = 20;
        let trees = trees([2, 5, 1, 9, 3]);
        let (backend, log) = guarded(Fault::None, CrossCheck::OFF);
        log.arm();
        for _ in 0..DISPATCHES {
            assert_right(&backend, shape, &trees, "honest");
        }
        let bytes = |leaves: &[Hash256]| leaves.iter().flat_map(|leaf| *leaf.as_bytes()).collect();
        let wanted: Vec<Vec<u8>> = trees.iter().map(bytes).collect();
        let (mut noise, mut known, mut places) = (HashSet::new(), HashSet::new(), HashSet::new());
        let dispatches = log.take_dispatches();
        for dispatch in &dispatches {
            assert_eq!(dispatch.noise.len(), 32 * dispatch.jobs.len());
            noise.extend(dispatch.noise.chunks(32));
            places.insert(dispatch.jobs.iter().map(|job| wanted.contains(job)).collect::<Vec<_>>());
            let (asked, others): (Vec<_>, Vec<_>) =
                dispatch.jobs.iter().partition(|job| wanted.contains(job));
            assert!(asked.into_iter().eq(&wanted), "what was asked stays in order");
            // A root that is its own only leaf would be known to a device that echoes.
            assert!(others.iter().all(|leaves| leaves.len() > 32));
            known.extend(others);
        }
        assert_eq!(noise.len(), DISPATCHES * (trees.len() + KNOWN));
        assert_eq!(known.len(), DISPATCHES * KNOWN);
        assert!(places.len() > DISPATCHES / 2);
    }
}
