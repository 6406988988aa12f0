//! Batches of signatures beside ed25519-zebra's, in one process, on one thread, on the same data.
//!
//! Each case runs both by turns, so that a busy machine slows both; what is printed are medians and
//! their ratio. Arguments: a part of the cases' names, to run those alone.

use std::time::{Duration, Instant};

use blockmill::signature::{Item, KeptItem, PublicKey, verify_batch, verify_batch_kept};
use ed25519_dalek::{Signer, SigningKey};
use ed25519_zebra::{Signature, VerificationKeyBytes, batch};

/// A ledger's transfer is about as long, its domain included.
const MESSAGE_LEN: usize = 150;

/// Both sides of a case run so often.
const ROUNDS: usize = 11;

/// A round is repeated until it comes to so many signatures.
const SIGNATURES_MIN: usize = 1 << 12;

struct Signed {
    key: [u8; 32],
    message: Vec<u8>,
    signature: [u8; 64],
}

/// `count` good signatures, of `accounts` keys by turns.
fn sign(count: usize, accounts: usize) -> Vec<Signed> {
    let signers: Vec<_> = (0..accounts as u64)
        .map(|number| {
            let mut seed = [7; 32];
            seed[..8].copy_from_slice(&number.to_le_bytes());
            SigningKey::from_bytes(&seed)
        })
        .collect();
    (0..count)
        .map(|number| {
            let signer = &signers[number % accounts];
            let mut message = vec![0x5a; MESSAGE_LEN];
            message[..8].copy_from_slice(&(number as u64).to_le_bytes());
            let signature = signer.sign(&message).to_bytes();
            Signed { key: signer.verifying_key().to_bytes(), message, signature }
        })
        .collect()
}

fn items(signed: &[Signed]) -> Vec<Item<'_>> {
    signed
        .iter()
        .map(|Signed { key, message, signature }| Item { key, message, signature })
        .collect()
}

fn zebra(signed: &[Signed]) {
    let mut verifier = batch::Verifier::new();
    for one in signed {
        let key = VerificationKeyBytes::from(one.key);
        verifier.queue((key, Signature::from(one.signature), &one.message));
    }
    verifier.verify(rand::rng()).expect("all are good");
}

fn singly(signed: &[Signed]) -> Option<usize> {
    let verify = blockmill::signature::verify;
    signed.iter().position(|one| verify(&one.key, &one.message, &one.signature).is_err())
}

/// Runs `ours` and `theirs` by turns and prints their medians.
fn compare(name: &str, count: usize, mut ours: impl FnMut(), mut theirs: impl FnMut()) {
    // Linux counts a thread's time in steps of milliseconds, which small cases do not fill.
    let repeats = (SIGNATURES_MIN / count).max(1);
    let time = |work: &mut dyn FnMut()| {
        let (start, start_of_thread) = (Instant::now(), thread_time());
        for _ in 0..repeats {
            work();
        }
        match (start_of_thread, thread_time()) {
            (Some(start), Some(end)) => end.saturating_sub(start),
            _ => start.elapsed(),
        }
    };
    ours();
    theirs();
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        first.push(time(&mut ours));
        second.push(time(&mut theirs));
    }
    let median = |times: &mut Vec<Duration>| {
        times.sort_unstable();
        times[times.len() / 2].as_secs_f64()
    };
    let (ours, theirs) = (median(&mut first), median(&mut second));
    let rate = |seconds: f64| (count * repeats) as f64 / seconds / 1e3;
    println!(
        "{name:<44} {:>7.1} k/s, peer {:>6.1} k/s, {:>5.2} times as fast, {:.2} of the time",
        rate(ours),
        rate(theirs),
        theirs / ours,
        ours / theirs,
    );
}

/// The processor time of this thread, where Linux tells it: other processes do not count.
fn thread_time() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(Duration::from_nanos(text.split(' ').next()?.parse().ok()?))
}

fn is_wanted(name: &str) -> bool {
    let mut wanted = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).peekable();
    wanted.peek().is_none() || wanted.any(|part| name.contains(&part))
}

fn against_zebra(name: &str, count: usize, accounts: usize, kept: bool) {
    let name = format!("{name}, {count}");
    if !is_wanted(&name) {
        return;
    }
    let signed = sign(count, accounts);
    let items = items(&signed);
    let keys: Vec<_> =
        signed.iter().map(|one| PublicKey::from_bytes(&one.key).expect("a key")).collect();
    let kept_items: Vec<_> = items
        .iter()
        .zip(&keys)
        .map(|(Item { message, signature, .. }, key)| KeptItem {
            key,
            domain: &[],
            message,
            signature,
        })
        .collect();
    let ours = || match kept {
        true => verify_batch_kept(&kept_items).expect("all are good"),
        false => verify_batch(&items).expect("all are good"),
    };
    compare(&name, count, ours, || zebra(&signed));
}

/// One bad signature at `place`, and all singly as the peer.
fn against_singles(count: usize, place: usize) {
    let name = format!("lowest bad, {place} of {count}, singly");
    if !is_wanted(&name) {
        return;
    }
    let mut signed = sign(count, count);
    let items = |signed| items(signed);
    // Singly, all are looked at: those behind the first bad one might be good or not.
    let good = sign(count, count);
    signed[place].message.push(0);
    let bad = items(&signed);
    compare(
        &name,
        count,
        || assert_eq!(verify_batch(&bad).map_err(|bad| bad.index), Err(place)),
        || assert_eq!(singly(&good), None),
    );
}

fn main() {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a thread");
    pool.install(|| {
        for count in [256, 1_024, 4_096, 16_384] {
            against_zebra("distinct keys", count, count, false);
        }
        for count in [256, 1_024, 4_096, 16_384] {
            against_zebra("distinct keys, known", count, count, true);
        }
        against_zebra("1,000 accounts, known", 16_384, 1_000, true);
        against_zebra("1,000 accounts", 16_384, 1_000, false);
        for count in [16, 32, 64, 96, 128, 256, 1_024, 4_096] {
            for place in [0, count / 2 - 1, count - 1] {
                against_singles(count, place);
            }
        }
    });
}
