//! The guard against devices that hash messages and the trees over them wrongly.

mod common;

use blockmill::compute::{Backend, CrossCheck, Guarded};
use blockmill::primitives::{Grove, Hash256, HashFunction, Leaf};

use common::faulty::{Fault, KNOWN, LIMITS, assert_caught, flip, guarded};
use common::groves::{KINDS, by, bytes, grove, right, roots, trees};
use common::trees::Shape;

type Kind = (HashFunction, Shape);

fn assert_right(backend: &Guarded, (function, shape): Kind, groves: &[Grove<'_>], what: &str) {
    let found = by(backend, function, shape, groves);
    assert!(found == right(function, shape, groves), "{what}: {} groves", groves.len());
}

/// A grove of messages that are too long for the device, and others, with three trees.
fn mixed(bytes: &[u8]) -> Grove<'_> {
    let most = LIMITS.longest_message;
    // The first and the last are long, and some come in parts.
    let lengths = [most + 1, 30, most + 1, most, 0, 3 * most, 7, most + 1];
    let mut mixed = Grove::with_capacity(lengths.len());
    for (index, length) in lengths.into_iter().enumerate() {
        let cut = if index % 2 == 0 { length / 3 } else { 0 };
        let (before, after) = bytes[index..index + length].split_at(cut);
        mixed.push(&[before, after]);
    }
    let given = Leaf::Given(Hash256::from_bytes([7; 32]));
    mixed.push_tree((0..8).map(Leaf::Digest));
    mixed.push_tree([Leaf::Digest(0)].into_iter());
    mixed.push_tree([given, Leaf::Digest(5), Leaf::Digest(6), Leaf::Digest(5)].into_iter());
    mixed
}

#[test]
fn wholesale_faults_are_caught_in_the_first_dispatch() {
    let bytes = bytes(4000);
    let few = [grove(&bytes, 1, 200)];
    // Of several sizes, empty ones among them, in two dispatches; and with messages that are the CPU's.
    let mut many: Vec<_> =
        (0..40).map(|index| grove(&bytes[10 * index..], index % 7, 200)).collect();
    many.insert(17, mixed(&bytes));
    for kind in KINDS {
        for groves in [&few[..], &many] {
            for fault in Fault::WHOLESALE {
                let what = format!("{fault:?}, {kind:?}");
                let (backend, log) = guarded(fault, CrossCheck::OFF);
                assert_right(&backend, kind, groves, &what);
                assert_eq!(backend.tally().fallbacks, 0);
                log.arm();
                assert_right(&backend, kind, groves, &what);
                assert_caught(&backend, &log, &what);
                assert_eq!(backend.tally().fallbacks, 1, "{what}");
                // Off is off.
                assert_right(&backend, kind, groves, &what);
                assert_caught(&backend, &log, &what);
                assert_eq!(backend.tally().fallbacks, 2, "{what}");
            }
        }
    }
}

/// Every root is held to the CPU's.
#[test]
fn cross_check_catches_a_single_wrong_root() {
    let bytes = bytes(4000);
    let mut groves: Vec<_> = (0..60).map(|index| grove(&bytes[10 * index..], 5, 90)).collect();
    groves.push(mixed(&bytes));
    let share = CrossCheck::percent(100.0).expect("a share");
    for (function, shape) in KINDS {
        for (index, tree) in [(0, 1), (7, 0), (13, 1), (19, 0), (60, 0), (60, 2)] {
            let leaves = &trees(function, &groves[index])[tree];
            let job = leaves.iter().flat_map(|leaf| *leaf.as_bytes()).collect();
            let mut digest = roots(function, shape, &groves[index])[tree];
            flip(&mut digest, 3, 17);
            let (backend, log) = guarded(Fault::Answer { job, digest }, share);
            log.arm();
            let what = format!("tree {tree} of grove {index}");
            assert_right(&backend, (function, shape), &groves, &what);
            assert_eq!((backend.tally().mismatches, log.lies()), (1, 1), "{what}");
        }
        let (backend, log) = guarded(Fault::None, share);
        log.arm();
        assert_right(&backend, (function, shape), &groves, "honest");
        let tally = backend.tally();
        assert_eq!((tally.cross_checked, tally.mismatches, tally.off), (2 * 60 + 3, 0, None));
        assert!(log.calls() > 1, "several dispatches");
    }
}

/// Messages that are too long for the device are the CPU's, and nothing else of their grove is.
#[test]
fn a_long_message_leaves_its_grove_to_the_device() {
    let bytes = bytes(10_000);
    let most = LIMITS.longest_message;
    let (mixed, given) = (mixed(&bytes), Leaf::Given(Hash256::from_bytes([7; 32])));
    let mut alone = Grove::with_capacity(1);
    alone.push(&[&bytes[..=most]]);
    alone.push_tree([Leaf::Digest(0), given].into_iter());
    for kind in KINDS {
        let groves = [grove(&bytes, 3, 50), mixed.clone(), alone.clone(), grove(&bytes, 9, 50)];
        let (backend, log) = guarded(Fault::None, CrossCheck::OFF);
        log.arm();
        assert_right(&backend, kind, &groves, "long messages");
        let tally = backend.tally();
        assert_eq!((tally.fallbacks, tally.mismatches, tally.off), (0, 0, None));
        let asked: Vec<_> = log.take_dispatches().into_iter().flat_map(|one| one.jobs).collect();
        // All trees but that of the grove which has no other message, and the known answers.
        assert_eq!(asked.len(), 2 + 3 + 2 + KNOWN);
    }
}

/// Groves that no dispatch takes stand among others, whose order is kept.
#[test]
fn a_grove_too_large_for_the_device_is_no_fault() {
    let bytes = bytes(60_000);
    let most = LIMITS.longest_message;
    let full = |count| grove(&bytes, count, 20);
    // Too many messages, too many leaves and too many bytes.
    let large = [full(LIMITS.messages + 1), grove(&bytes, 130, most)];
    for kind in KINDS {
        let groves = [full(3), full(1), large[0].clone(), large[1].clone(), full(9)];
        let (backend, log) = guarded(Fault::None, CrossCheck::OFF);
        log.arm();
        assert_right(&backend, kind, &groves, "large ones");
        let tally = backend.tally();
        assert_eq!((tally.fallbacks, tally.mismatches, tally.off), (0, 0, None));
        assert_eq!(log.calls(), 1, "the others fit one dispatch");
        let asked = log.take_dispatches().remove(0).jobs;
        // Two roots of what is wanted, and one of each known answer.
        assert_eq!(asked.len(), 3 * 2 + KNOWN);
    }
}

/// However groves are cut into dispatches, none exceeds what the device takes: it would refuse.
#[test]
fn dispatches_keep_within_every_limit() {
    let bytes = bytes(3000);
    for (messages, longest) in [(1, 0), (2, 3), (20, 10), (3, 900), (0, 0)] {
        let groves: Vec<_> =
            (0..300).map(|index| grove(&bytes[index..], messages, longest)).collect();
        for kind in KINDS {
            let (backend, log) = guarded(Fault::None, CrossCheck::OFF);
            log.arm();
            assert_right(&backend, kind, &groves, "many");
            let tally = backend.tally();
            assert_eq!((tally.fallbacks, tally.off), (0, None), "{messages} of {longest}");
            assert_eq!(log.calls() == 0, messages == 0, "{messages} of {longest}");
        }
    }
}
