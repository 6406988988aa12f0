//! One body of tests that every platform goes through, against the reference and published digests.

use std::io::Write;

#[cfg(target_arch = "x86_64")]
use super::Kind;
use super::Platform;
use crate::compute::{Backend, Reference};
use crate::primitives::{Hash256, HashFunction, Header, Messages, Trees};

#[test]
fn portable() {
    is_right(Some(Platform::portable()), "portable");
}

#[test]
fn avx512() {
    is_right(Platform::avx512(), "AVX-512");
}

/// As on processors without SHA-NI, which hashes what is left over where it is there.
#[test]
fn avx512_alone() {
    #[cfg(target_arch = "x86_64")]
    let alone = super::avx512::Avx512::detect().map(|proof| Platform(Kind::Avx512(proof.alone())));
    #[cfg(not(target_arch = "x86_64"))]
    let alone = None;
    is_right(alone, "AVX-512");
}

#[test]
fn sha_ni() {
    is_right(Platform::sha_ni(), "SHA-NI");
}

#[test]
fn avx2() {
    is_right(Platform::avx2(), "AVX2");
}

#[test]
fn armv8() {
    is_right(Platform::armv8(), "ARMv8 SHA-2");
}

#[test]
fn the_fastest_platform_is_detected() {
    let all: Vec<_> = Platform::all().collect();
    assert_eq!(all[0], Platform::detect());
    assert_eq!(all.last(), Some(&Platform::portable()));
    let named = [Platform::avx512(), Platform::sha_ni(), Platform::avx2(), Platform::armv8()];
    assert!(named.into_iter().flatten().all(|platform| all.contains(&platform)));
}

/// All that a platform promises. Says so if this processor does not have it.
fn is_right(platform: Option<Platform>, name: &str) {
    let Some(platform) = platform else {
        // Not `eprintln!`, which the harness captures; and in one piece, as tests run side by side.
        let skipped = format!("SKIPPED: this processor has no {name}\n");
        let _ = std::io::stderr().write_all(skipped.as_bytes());
        return;
    };
    headers(platform);
    parents(platform);
    published_messages(platform);
    messages(platform);
    #[cfg(feature = "mine")]
    search::is_right(platform);
}

/// Bytes in which no two words are alike, other ones for each seed: lanes that are mixed up, and words
/// or bytes out of order, change the digest.
fn bytes(seed: usize, length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15 ^ (seed as u64) << 20;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let mut bytes: Vec<u8> = (0..length.div_ceil(8)).flat_map(|_| next()).collect();
    bytes.truncate(length);
    bytes
}

fn header(seed: usize) -> Header {
    Header::from_bytes(bytes(seed, Header::LEN).try_into().expect("80 bytes"))
}

/// What stands in the results before a call, and must not stand there after it.
fn unwritten(count: usize) -> Vec<Hash256> {
    vec![Hash256::from_bytes([0xa5; 32]); count]
}

/// Every rest that sixteen, eight, four or two lanes leave, several times over; and primes.
fn counts() -> impl Iterator<Item = usize> {
    (0..=50).chain([97, 257])
}

fn headers(platform: Platform) {
    let headers: Vec<_> = (0..257).map(header).collect();
    let mut expected = unwritten(headers.len());
    Reference.header_ids(&headers, &mut expected);
    for count in counts() {
        let mut ids = unwritten(count);
        platform.header_ids(&headers[..count], &mut ids);
        assert!(ids == expected[..count], "{} headers with {}", count, platform.name());
    }
}

fn parents(platform: Platform) {
    let nodes: Vec<_> = (0..2 * 257)
        .map(|seed| Hash256::from_bytes(bytes(seed, 32).try_into().expect("32 bytes")))
        .collect();
    let mut trees = Trees::new();
    nodes.chunks(2).for_each(|pair| trees.push(pair));
    let (mut bitcoin, mut rfc6962) = (unwritten(trees.len()), unwritten(trees.len()));
    Reference.merkle_roots(&trees, &mut bitcoin);
    Reference.rfc6962_roots(&trees, &mut rfc6962);
    for count in counts() {
        let mut parents = unwritten(count);
        platform.merkle_parents(&nodes[..2 * count], &mut parents);
        assert!(parents == bitcoin[..count], "{} pairs with {}", count, platform.name());
        let mut parents = unwritten(count);
        platform.rfc6962_parents(&nodes[..2 * count], &mut parents);
        assert!(parents == rfc6962[..count], "{} nodes with {}", count, platform.name());
    }
}

/// FIPS 180-2, appendix B, and the example of the Bitcoin wiki's protocol documentation; several of
/// each, so that every lane gets one.
fn published_messages(platform: Platform) {
    let million = "a".repeat(1_000_000);
    let published = [
        (
            HashFunction::Sha256,
            "abc",
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        ),
        (
            HashFunction::Sha256,
            "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
        ),
        (
            HashFunction::Sha256,
            &million,
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0",
        ),
        (
            HashFunction::Sha256d,
            "hello",
            "9595c9df90075148eb06860365df33584b75bff782a510c6cd4883a419833d50",
        ),
    ];
    for (function, message, digest) in published {
        let mut messages = Messages::new();
        (0..19).for_each(|_| messages.push(&[message.as_bytes()]));
        let mut digests = unwritten(messages.len());
        platform.hash_messages(function, &messages.slices(), &mut digests);
        assert!(digests.iter().all(|found| hex::encode(found.as_bytes()) == digest), "{digest}");
    }
}

/// Hashes messages of these lengths together, by both functions.
fn holds(platform: Platform, lengths: &[usize]) {
    let mut messages = Messages::new();
    lengths.iter().enumerate().for_each(|(seed, &length)| messages.push(&[&bytes(seed, length)]));
    for function in [HashFunction::Sha256, HashFunction::Sha256d] {
        let (mut digests, mut expected) = (unwritten(lengths.len()), unwritten(lengths.len()));
        platform.hash_messages(function, &messages.slices(), &mut digests);
        Reference.hash_messages(function, &messages.slices(), &mut expected);
        let count = lengths.len();
        assert!(digests == expected, "{function:?} of {count} with {}", platform.name());
    }
}

fn messages(platform: Platform) {
    holds(platform, &[]);
    // Every length alone, of which all lanes but one are idle, then all of them together, from short
    // to long and back, then in twos, so that lanes end at the same time.
    (0..=300).for_each(|length| holds(platform, &[length]));
    holds(platform, &(0..=300).collect::<Vec<_>>());
    holds(platform, &(0..=300).rev().collect::<Vec<_>>());
    holds(platform, &(0..=300).flat_map(|length| [length; 2]).collect::<Vec<_>>());
    // Every number of lanes that are left at the end, with messages of one, two and more blocks.
    for count in counts() {
        [0, 55, 56, 63, 64, 119, 120, 1024].iter().for_each(|&length| {
            holds(platform, &vec![length; count]);
        });
        // And with any of them.
        holds(platform, &bytes(count, count).into_iter().map(usize::from).collect::<Vec<_>>());
    }
    // One that outlasts all others, wherever it stands.
    for place in 0..40 {
        let mut lengths: Vec<_> = (0..40).map(|index| 37 * index % 200).collect();
        lengths[place] = 20_000;
        holds(platform, &lengths);
    }
    let mixed: Vec<_> =
        bytes(7, 499).chunks(1).map(|byte| usize::from(byte[0]).pow(2) / 16).collect();
    holds(platform, &mixed);
}

#[cfg(feature = "mine")]
mod search {
    use super::*;
    use crate::compute::{SearchJob, published_header};
    use crate::primitives::Target;

    pub(super) fn is_right(platform: Platform) {
        let header = header(3);
        let tops: Vec<_> = (0..100).map(|nonce| (nonce, top(&header, nonce))).collect();
        empty_and_full_ranges(platform, header);
        every_lane_can_win(platform, header, &tops);
        candidates_can_lose(platform, header, &tops);
        ends_of_the_nonces(platform, header);
        published_nonce(platform);
    }

    fn top(header: &Header, nonce: u32) -> u32 {
        header.with_nonce(nonce).id().top_word()
    }

    /// The target that the id with this nonce meets, and no larger id does.
    fn exactly(header: &Header, nonce: u32) -> Target {
        Target::from_le_bytes(*header.with_nonce(nonce).id().as_bytes())
    }

    /// The answer, which is the reference's.
    fn answer(platform: Platform, job: &SearchJob) -> Option<u32> {
        let found = platform.search(job);
        assert_eq!(found, Reference.search(job), "{job:?} with {}", platform.name());
        found
    }

    fn empty_and_full_ranges(platform: Platform, header: Header) {
        let job = SearchJob { header, target: Target::MAX, first: 1, last: 0 };
        assert_eq!(answer(platform, &job), None);
        assert_eq!(answer(platform, &SearchJob { first: u32::MAX, last: 0, ..job }), None);
        let none = Target::from_be_bytes([0; 32]);
        // All numbers of lanes, of which each nonce wins, and none does.
        for last in 100..140 {
            let full = SearchJob { first: 100, last, ..job };
            assert_eq!(answer(platform, &full), Some(100));
            assert_eq!(answer(platform, &SearchJob { target: none, ..full }), None);
        }
    }

    /// Whatever the lane of the winner, and whatever other lanes win as well, the lowest nonce does.
    fn every_lane_can_win(platform: Platform, header: Header, tops: &[(u32, u32)]) {
        for first in 0..20 {
            for winner in first..60 {
                let target = exactly(&header, winner);
                let job = SearchJob { header, target, first, last: 99 };
                answer(platform, &job);
                // Alone, where no earlier one wins.
                let alone = SearchJob { first: winner, last: winner, ..job };
                assert_eq!(answer(platform, &alone), Some(winner));
            }
        }
        // Two neighbours win, in one group of lanes or in two.
        for pair in tops.windows(2) {
            let [(first, a), (second, b)] = pair else { unreachable!("windows of two") };
            let target = exactly(&header, if a > b { *first } else { *second });
            let job = SearchJob { header, target, first: *first, last: *second };
            assert_eq!(answer(platform, &job), Some(*first));
        }
    }

    /// A nonce whose id shares its most significant word with the target, and is above it.
    fn candidates_can_lose(platform: Platform, header: Header, tops: &[(u32, u32)]) {
        for &(nonce, top) in tops {
            let mut bytes = [0; 32];
            bytes[..4].copy_from_slice(&top.to_be_bytes());
            let target = Target::from_be_bytes(bytes);
            let job = SearchJob { header, target, first: nonce, last: 99 };
            let next = tops.iter().find(|(later, lower)| *later > nonce && *lower < top);
            assert_eq!(answer(platform, &job), next.map(|(later, _)| *later));
            assert_eq!(answer(platform, &SearchJob { last: nonce, ..job }), None);
        }
    }

    fn ends_of_the_nonces(platform: Platform, header: Header) {
        // Both ends, and the change of sign between them.
        for first in [0, (1 << 31) - 20, u32::MAX - 40] {
            for winner in first..=first + 40 {
                let target = exactly(&header, winner);
                let job = SearchJob { header, target, first: winner, last: first + 40 };
                assert_eq!(answer(platform, &job), Some(winner));
                answer(platform, &SearchJob { first, ..job });
            }
            let none = Target::from_be_bytes([0; 32]);
            let job = SearchJob { header, target: none, first, last: first + 40 };
            assert_eq!(answer(platform, &job), None);
        }
        // The very last nonce is a candidate, and loses.
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&top(&header, u32::MAX).to_be_bytes());
        let target = Target::from_be_bytes(bytes);
        for first in [u32::MAX, u32::MAX - 1, u32::MAX - 15, u32::MAX - 31] {
            let job = SearchJob { header, target, first, last: u32::MAX };
            answer(platform, &job);
        }
    }

    /// Block 100000 of Bitcoin's main network.
    fn published_nonce(platform: Platform) {
        let header = published_header();
        let target = header.bits().decode().expect("published bits");
        for distance in 0..20 {
            let first = header.nonce() - 700 - distance;
            let job = SearchJob { header, target, first, last: header.nonce() + 5 };
            assert_eq!(platform.search(&job), Some(header.nonce()));
            let before = SearchJob { last: header.nonce() - 1, ..job };
            assert_eq!(platform.search(&before), None);
        }
    }
}
