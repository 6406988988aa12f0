//! The guard against devices that hash messages wrongly. A single wrong digest among right ones can
//! pass; it would cause a rejection, and who finds it wrong on the CPU tells the backend.

mod common;

use std::collections::HashSet;

use blockmill::compute::{Backend, CrossCheck, Guarded};
use blockmill::primitives::{HashFunction, Messages};

use common::faulty::{Fault, KNOWN, LIMITS, MESSAGE_ROOM, assert_caught, flip, guarded};
use common::messages::{FUNCTIONS, digests, digests_by, messages};
use common::oracle;

/// Two hundred messages of 25 bytes on average: two dispatches, each full of messages and not of
/// bytes.
fn several_dispatches() -> Messages {
    messages((0..200).map(|index| index % 51))
}

fn assert_right(backend: &Guarded, function: HashFunction, messages: &Messages, what: &str) {
    let found = digests_by(backend, function, messages);
    assert!(found == digests(function, messages), "{what}: {} messages", messages.len());
}

/// The device gives a digest with one bit flipped for one message, whichever others are with it.
fn lie(function: HashFunction, about: &[u8]) -> Fault {
    let mut digest = oracle::digest(function, about);
    flip(&mut digest, 3, 17);
    Fault::Answer { job: about.to_vec(), digest }
}

#[test]
fn wholesale_faults_are_caught_in_the_first_dispatch() {
    for function in FUNCTIONS {
        for messages in
            [messages([0]), messages([32]), messages([700, 0, 64]), several_dispatches()]
        {
            for fault in Fault::WHOLESALE {
                let what = format!("{fault:?}, {function:?}");
                let (backend, log) = guarded(fault, CrossCheck::OFF);
                assert_right(&backend, function, &messages, &what);
                assert_eq!(backend.tally().fallbacks, 0);
                log.arm();
                assert_right(&backend, function, &messages, &what);
                assert_caught(&backend, &log, &what);
                assert_eq!(backend.tally().fallbacks, 1, "{what}");
                // Off is off.
                assert_right(&backend, function, &messages, &what);
                assert_caught(&backend, &log, &what);
                assert_eq!(backend.tally().fallbacks, 2, "{what}");
            }
        }
    }
}

#[test]
fn one_flipped_bit_is_caught_at_once_or_when_the_backend_is_told() {
    let messages = messages([3, 64, 200]);
    let function = HashFunction::Sha256;
    let right = digests(function, &messages);
    let (mut at_once, mut when_told) = (0, 0);
    for word in 0..8 * (messages.len() + KNOWN) {
        let bit = word * 5 % 32;
        let (backend, log) = guarded(Fault::FlipWord { word, bit }, CrossCheck::OFF);
        log.arm();
        let found = digests_by(&backend, function, &messages);
        assert_eq!((log.lies(), log.calls()), (1, 1));
        if found == right {
            // It hit a known answer.
            at_once += 1;
        } else {
            when_told += 1;
            let wrong = found.iter().zip(&right).filter(|(found, right)| found != right).count();
            assert_eq!(wrong, 1, "one bit is in one digest");
            assert_eq!(backend.tally().mismatches, 0);
            backend.was_wrong("a digest, says its caller".into());
            assert_eq!(backend.tally().off.as_deref(), Some("a digest, says its caller"));
            // From now on the CPU's.
            assert_right(&backend, function, &messages, "after it was told");
        }
        assert_caught(&backend, &log, &format!("word {word}"));
    }
    // Places are drawn: three in eleven words belong to wanted digests. That all 88 fall on one side
    // has a chance of 10^-12.
    assert!(at_once > 0 && when_told > 0, "{at_once} and {when_told}");
}

#[test]
fn cross_check_catches_a_single_wrong_digest() {
    let messages = several_dispatches();
    let share = CrossCheck::percent(100.0).expect("a share");
    for function in FUNCTIONS {
        for index in [1, 30, 125, 126, 199] {
            let (backend, log) = guarded(lie(function, messages.get(index)), share);
            log.arm();
            assert_right(&backend, function, &messages, "a cross-checked batch");
            let tally = backend.tally();
            assert_eq!((tally.mismatches, log.lies()), (1, 1), "message {index}");
            // The dispatch that was wrong and the ones after it are the CPU's.
            assert_eq!(tally.fallbacks, 3 - log.calls() as u64, "message {index}");
        }
        let (backend, log) = guarded(Fault::None, share);
        log.arm();
        assert_right(&backend, function, &messages, "honest");
        let tally = backend.tally();
        assert_eq!(tally.cross_checked, messages.len() as u64);
        assert_eq!((tally.mismatches, tally.off, log.calls()), (0, None, 2));
    }
}

#[test]
fn a_message_too_long_for_the_device_is_no_fault() {
    let most = LIMITS.longest_message;
    // Those too long stand first, last, side by side and alone; those as long as may be fill a
    // dispatch, and one is left.
    let fill = vec![most; MESSAGE_ROOM / most];
    let long = [&[most + 1, 5, most, 3000, 100_000][..], &fill, &[0, most + 1]].concat();
    for (messages, calls) in [(messages(long), 2), (messages([most + 1, most + 1]), 0)] {
        for function in FUNCTIONS {
            let (backend, log) = guarded(Fault::None, CrossCheck::OFF);
            log.arm();
            assert_right(&backend, function, &messages, "long messages");
            let tally = backend.tally();
            assert_eq!((tally.fallbacks, tally.mismatches, tally.off), (0, 0, None));
            assert_eq!(log.calls(), calls);
            let asked = log.take_dispatches().into_iter().flat_map(|dispatch| dispatch.jobs);
            assert!(asked.into_iter().all(|message| message.len() <= most));
        }
    }
}

#[test]
fn dispatches_are_as_full_as_the_limits_allow() {
    let count = LIMITS.messages - KNOWN;
    let (most, part) = (LIMITS.longest_message, MESSAGE_ROOM / 50);
    let full = vec![most; MESSAGE_ROOM / most];
    for (lengths, calls) in [
        (vec![0; count], 1),
        (vec![0; count + 1], 2),
        (full.clone(), 1),
        ([full, vec![1]].concat(), 2),
        (vec![part; 50], 1),
        (vec![part + 1; 50], 2),
    ] {
        let messages = messages(lengths);
        let (backend, log) = guarded(Fault::None, CrossCheck::OFF);
        log.arm();
        assert_right(&backend, HashFunction::Sha256d, &messages, "an edge");
        assert_eq!((log.calls(), backend.tally().off), (calls, None));
    }
}

#[test]
fn every_dispatch_carries_fresh_noise_and_fresh_known_answers() {
    const DISPATCHES: usize = 20;
    let messages = messages([300, 0, 64, 900, 3]);
    let (backend, log) = guarded(Fault::None, CrossCheck::OFF);
    log.arm();
    for _ in 0..DISPATCHES {
        assert_right(&backend, HashFunction::Sha256, &messages, "honest");
    }
    let wanted: Vec<Vec<u8>> = messages.iter().map(<[u8]>::to_vec).collect();
    let (mut noise, mut known, mut places) = (HashSet::new(), HashSet::new(), HashSet::new());
    let dispatches = log.take_dispatches();
    for dispatch in &dispatches {
        assert_eq!(dispatch.noise.len(), 32 * dispatch.jobs.len());
        noise.extend(dispatch.noise.chunks(32));
        places.insert(dispatch.jobs.iter().map(|job| wanted.contains(job)).collect::<Vec<_>>());
        let (asked, others): (Vec<_>, Vec<_>) =
            dispatch.jobs.iter().partition(|job| wanted.contains(job));
        assert!(asked.into_iter().eq(&wanted), "what was asked stays in order");
        known.extend(others);
    }
    assert_eq!(noise.len(), DISPATCHES * (messages.len() + KNOWN));
    assert_eq!(known.len(), DISPATCHES * KNOWN);
    assert!(places.len() > DISPATCHES / 2);
    // Of 160 lengths a tenth each is drawn from those of the two long messages, and the others from
    // many: that either is not among them has a chance of 10^-7.
    let lengths: HashSet<_> = known.iter().map(|message| message.len()).collect();
    assert!(lengths.contains(&300) && lengths.contains(&900) && lengths.len() > 20, "{lengths:?}");
}
